"""Taste from choices: a token learned from which of two pictures a person found better."""
