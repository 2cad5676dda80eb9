"""What the units of a network do on given samples: the entries of a vector, the channels of an image.

A unit of a stalk of more than one axis is a slice of it across the axis that weights run over: the first for
a convolution, channels x positions, the last for a dense layer, positions x features. Other operations have
those of what they read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.blocks import blocks
from sheafcli.core.edge import Edge
from sheafcli.core.graph import Graph, Vertex
from sheafcli.core.operations import Convolution, Dense, LeakyReLU, PReLU, ReLU
from sheafcli.core.sweep import forward
from sheafcli.core.types import Array

# Activations that let through what is positive: of them a unit can be said to be active.
GATES = (ReLU, LeakyReLU, PReLU)


@dataclass(frozen=True, eq=False)
class Values:
    """The values of a vertex over samples and positions, a number a unit each.

    `spread` is the standard deviation.
    """

    lowest: Array
    highest: Array
    mean: Array
    spread: Array


def unit_axes(graph: Graph) -> tuple[int, ...]:
    """Return the axis of every vertex's stalk along which its units lie, by the index of the vertex."""
    axes: list[int] = []
    for vertex in graph.vertices:
        last = len(vertex.shape) - 1
        parents = [p for p in vertex.parents if len(graph.vertices[p].shape) == len(vertex.shape)]
        if isinstance(vertex.operation, Dense):
            axes.append(last)
        elif isinstance(vertex.operation, Convolution) or not parents:
            axes.append(0)
        else:
            axes.append(axes[parents[0]])
    return tuple(axes)


def positions(vertex: Vertex, axis: int) -> tuple[int, ...]:
    """Return the axes, of samples x stalk, along which the entries of one unit lie, the samples' first."""
    return tuple(a for a in range(len(vertex.shape) + 1) if a != axis + 1)


def values_of(graph: Graph, parts: Sequence[Array]) -> dict[int, Values]:
    """Return what the forward pass of all parts, samples x input shape each, has at every vertex, by index.

    Constants are left out.
    """
    axes = unit_axes(graph)
    found: dict[int, list[Values]] = {}
    counts = []
    for X in _blocks(graph, parts):
        found.setdefault(0, []).append(_values(X, positions(graph.vertices[0], axes[0])))
        for step in forward(graph, X):
            place = step.vertex.index
            found.setdefault(place, []).append(_values(step.value, positions(step.vertex, axes[place])))
        counts.append(len(X))
    return {place: _together(some, counts) for place, some in found.items()}


def active_shares(graph: Graph, X: Array) -> dict[Edge, Array]:
    """Return the share of samples and positions with z >= 0, by unit, for every activation that has such.

    It is told of the activation's edge, and of the edge that makes its z where nothing else reads that.
    """
    axes = unit_axes(graph)
    counted: dict[Edge, Array] = {}
    for block in _blocks(graph, [X]):
        for step in forward(graph, block):
            if isinstance(step.vertex.operation, GATES):
                (parent,), (z,) = step.vertex.parents, step.parents
                active = (z >= 0.0).mean(axis=positions(step.vertex, axes[step.vertex.index])) * len(z)
                for vertex in (step.vertex, graph.vertices[parent]):
                    alone = graph.readers.get(vertex.index) == (step.vertex.index,)
                    if vertex.edge is not None and (vertex is step.vertex or alone):
                        counted[vertex.edge] = counted.get(vertex.edge, 0.0) + active / len(X)
    return counted


def gates(graph: Graph) -> Iterator[Vertex]:
    """Yield the vertices whose operation is a ReLU, in order: nothing passes a unit of it that is dead."""
    return (vertex for vertex in graph.vertices if isinstance(vertex.operation, ReLU))


def _blocks(graph: Graph, parts: Sequence[Array]) -> Iterator[Array]:
    entries = sum(vertex.size for vertex in graph.vertices)
    return (X[block] for X in parts for block in blocks(len(X), entries))


def _values(x: Array, along: tuple[int, ...]) -> Values:
    return Values(*(np.asarray(take(x, axis=along)) for take in (np.min, np.max, np.mean, np.std)))


def _together(parts: Sequence[Values], counts: Sequence[int]) -> Values:
    """Return the values over parts of the samples as those over all; a constant has no spread at all."""
    lowest, highest = np.min([p.lowest for p in parts], axis=0), np.max([p.highest for p in parts], axis=0)
    means = np.array([part.mean for part in parts])
    mean = np.average(means, axis=0, weights=counts)
    squares = np.array([part.spread for part in parts]) ** 2 + (means - mean) ** 2
    spread = np.sqrt(np.average(squares, axis=0, weights=counts))
    return Values(lowest, highest, mean, np.where(lowest == highest, 0.0, spread))


def is_live(highest: Array) -> NDArray[np.bool_]:
    """Return which units have z >= 0 somewhere, by their highest z."""
    return np.asarray(highest >= 0.0)
