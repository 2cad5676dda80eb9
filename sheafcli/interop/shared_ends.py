"""Which vertex a recorded value belongs to, where one of two runs has fused what the other has not.

A batch normalisation may be folded into the layer before it, and an activation into the rounding to 8 bits
behind that. What the file calls by the layer is then the value at the end of what was fused, and the values
in between were never computed. Such a value is matched where it fits: at the vertex whose own value, made of
what the other run had before, is nearest to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.graph import Graph, Vertex
from sheafcli.core.operation import Designed
from sheafcli.core.operations import BatchNormalization, Scale
from sheafcli.core.operations.pointwise import PiecewiseLinear
from sheafcli.core.sweep import forward
from sheafcli.core.types import Array
from sheafcli.interop.quantised import rounded_value

FITS = 0.9
"""A value is taken for that of another vertex if that explains so much of its square."""

FUSED = (BatchNormalization, Scale, PiecewiseLinear)
"""What is fused into the operation before it."""

Values = Mapping[str, NDArray[Any]]


def at_shared_ends(graph: Graph, X: Array, recorded: Values, others: Values) -> tuple[Values, dict[str, str]]:
    """Return the values of vertices by name, and where one was taken for another: array by vertex.

    `recorded` are the arrays by the vertex of their name, samples x stalk, all arrays in the order in which
    they were computed being `others`. The value of a vertex is moved to one behind it that was fused into it;
    or it is replaced by the array that follows it there and that has no vertex, since the network here has
    that folded in.
    """
    names = {vertex.name for vertex in graph.vertices}
    after = {name: following for name, following in pairwise(others) if following not in names}
    held: dict[int, Array] = {}
    values, moved = dict(recorded), {}
    for step in forward(graph, X, held):
        vertex, own = step.vertex, step.value
        # What does not fit or is no number is left where it is, for an error that says so.
        if vertex.name not in values or values[vertex.name].size != own.size:
            continue
        if not np.isfinite(values[vertex.name]).all():
            break
        array = np.asarray(values[vertex.name], dtype=np.float64).reshape(own.shape)
        best, distance = vertex, float(np.sum((own - array) ** 2))
        for behind, value in _fused(graph, vertex, own, values):
            left = float(np.sum((value - array) ** 2))
            if left < distance and left <= (1.0 - FITS) * float(np.sum(array**2)):
                best, distance = behind, left
        following = after.get(vertex.name, "")
        if best is not vertex:
            moved[best.name] = vertex.name
            values[best.name] = values.pop(vertex.name)
        elif isinstance(vertex.operation, Designed) and np.size(others.get(following, ())) == own.size:
            other = np.asarray(others[following], dtype=np.float64).reshape(own.shape)
            if float(np.sum((other - own) ** 2)) < distance and rounded_value(following) is None:
                moved[vertex.name] = following
                values[vertex.name] = array = other
        held[best.index] = array
    return values, moved


def _fused(graph: Graph, vertex: Vertex, value: Array, recorded: Values) -> Iterator[tuple[Vertex, Array]]:
    """Yield the vertices behind one that may be fused into it, with what they make of its value."""
    while True:
        readers = graph.readers.get(vertex.index, ())
        if len(readers) != 1:
            return
        vertex = graph.vertices[readers[0]]
        if not isinstance(vertex.operation, FUSED) or vertex.name in recorded:
            return
        value = vertex.operation.forward(value)
        yield vertex, value
