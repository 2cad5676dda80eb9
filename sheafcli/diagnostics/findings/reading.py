"""Who reads a vertex: by which weights its units are read, and whether the output hangs on it."""

from __future__ import annotations

import numpy as np

from sheafcli.core.graph import Graph, Vertex
from sheafcli.core.operations import (
    AveragePooling,
    Convolution,
    Dense,
    Flatten,
    Identity,
    MaxPooling,
    Mean,
    Reshape,
)
from sheafcli.core.types import Array
from sheafcli.diagnostics.units import unit_axes

# What hands the units of a stalk on, each by itself.
PASSING = (AveragePooling, Flatten, Identity, MaxPooling, Mean, Reshape)


def outgoing(graph: Graph, vertex: Vertex) -> Array | None:
    """Return the norm of the weights by which each unit of a vertex is read.

    None where not all that reads it does so by weights: in a sum, a product or a concatenation units of
    several vertices meet, and none of them can be taken for itself.
    """
    axis = unit_axes(graph)[vertex.index]
    squares = _squares(graph, vertex, axis, vertex.shape[axis])
    return None if squares is None else np.asarray(np.sqrt(squares))


def is_bottleneck(graph: Graph, vertex: Vertex) -> bool:
    """Return whether every path from the input to the output goes through a vertex."""
    reached = {0}
    for other in graph.vertices[1:]:
        if other.index != vertex.index and not reached.isdisjoint(other.parents):
            reached.add(other.index)
    return graph.output.index not in reached


def _squares(graph: Graph, vertex: Vertex, axis: int, units: int) -> Array | None:
    """Return the sums of the squared weights that read each unit; None as in `outgoing`."""
    total = np.zeros(units)
    if vertex.index not in graph.readers:
        return None
    for place in graph.readers[vertex.index]:
        part = _read_by(graph, graph.vertices[place], vertex, axis, units)
        if part is None:
            return None
        total += part
    return total


def _read_by(graph: Graph, reader: Vertex, vertex: Vertex, axis: int, units: int) -> Array | None:
    operation = reader.operation
    if isinstance(operation, Dense) and axis == len(vertex.shape) - 1:
        # A stalk laid out flat has the positions of a channel beside one another.
        return np.asarray(np.sum(operation.weight**2, axis=0).reshape(units, -1).sum(axis=1))
    if isinstance(operation, Convolution) and axis == 0 and operation.groups == 1:
        return np.asarray(np.sum(operation.weight**2, axis=(0, *range(2, operation.weight.ndim))))
    keeps_order = axis == 0 and reader.shape[0] % units == 0
    if (
        isinstance(operation, PASSING)
        and keeps_order
        and (reader.shape[0] == units or len(reader.shape) == 1)
    ):
        return _squares(graph, reader, axis, units)
    return None
