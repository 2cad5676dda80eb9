"""A free input: what it must have been, or become, for a network to give what is wanted."""
