"""The identity of an edge of the sheaf, and the edges of a path, the sheaf of a chain of dense layers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Edge:
    """An edge of the sheaf: its name in tables, what kind of operation it is, and its layer.

    Layers are counted from 1. A layer begins at every operation that mixes its inputs by weights (dense,
    convolution); any other operation belongs to the latest layer that it reads. The output edge, which pulls
    towards a target, is called output and belongs to the last layer.
    """

    name: str
    operation: str
    layer: int


def affine_edge(layer: int) -> Edge:
    """Return the edge of W_l, b_l on a path."""
    return Edge(f"affine_{layer}", "affine", layer)


def activation_edge(layer: int) -> Edge:
    """Return the edge of the ReLUs of layer l on a path."""
    return Edge(f"activation_{layer}", "activation", layer)


def output_edge(layer: int) -> Edge:
    """Return the edge that pulls the output, in the last layer, towards a target."""
    return Edge("output", "output", layer)


def edges(depth: int, *, output: bool = True) -> list[Edge]:
    """Return the edges of a path with so many hidden layers, in order; the output edge last if asked for."""
    path = []
    for layer in range(1, depth + 1):
        path += [affine_edge(layer), activation_edge(layer)]
    path.append(affine_edge(depth + 1))
    return [*path, output_edge(depth + 1)] if output else path
