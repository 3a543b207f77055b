"""What the operator runs: rounds, the registry of priors, and the mathematics of the next version."""
