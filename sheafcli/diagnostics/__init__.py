"""From arrays to tables: discord by edge, layer, operation and neuron, and what a run has logged."""
