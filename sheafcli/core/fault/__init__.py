"""The evidence for a fault in one place of a network."""
