"""Sheaf training of ReLU networks."""
