"""Every performance claim, each beside its baseline in the same run: ``python -m simulations.benchmarks NAME``."""
