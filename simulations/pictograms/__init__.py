"""Builds the backbone that ships with Shoal: a small text-to-image model drawn from open emoji sets."""
