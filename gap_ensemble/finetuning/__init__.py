"""Training a network on the competition's pictures."""
