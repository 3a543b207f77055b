"""Learning a token with forward passes only (ZOODiP, arXiv:2503.14868, and what we change)."""
