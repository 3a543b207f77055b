"""Attacks on what leaves a device: each gives one number, with the protection off and on."""
