"""What runs on the person's device: learning, the vault, and the part it takes in rounds."""
