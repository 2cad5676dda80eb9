"""Graphs to try things on: chains of the present core, and random directed acyclic graphs."""

from sheafcli.core.graph import Graph
from sheafcli.core.operations import Dense, ReLU


def graph_of(network):
    """Return a network of dense layers and ReLUs as a graph, without its output function."""
    operations = {}
    for layer, (W, b) in enumerate(zip(network.weights, network.biases, strict=True), start=1):
        operations[f"affine_{layer}"] = Dense(W, b)
        if layer <= network.depth:
            operations[f"activation_{layer}"] = ReLU()
    return Graph.path((network.widths[0],), operations)
