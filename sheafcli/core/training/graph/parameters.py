"""The parameters of a graph in one array, and the samples of one batch.

An optimizer is a dozen passes over the array, however many operations there are. These read views of it: the
graph is built and checked once, and follows what is done to the array. OverflowError names what the precision
does not hold.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import numpy as np
from numpy.typing import DTypeLike

from sheafcli.core.blocks import blocks
from sheafcli.core.graph import Graph
from sheafcli.core.network import GraphNetwork
from sheafcli.core.operation import Designed, Learnable
from sheafcli.core.types import Array, Shape

# Entries of all stalks of the samples that are worked on together.
ENTRIES = 1 << 22


class GraphParameters:
    """The parameters of all operations, one after the other in `flat`; and `gradient`, packed likewise.

    `graph` is the network's with views of `flat` as parameters. `slopes` holds the gradient by the index of
    the vertex and the name of the field, `G` the same in order; `W` are the weights of what is linear in
    them, dense layers and convolutions: views as well.
    """

    def __init__(self, network: GraphNetwork, dtype: DTypeLike):
        self.output = network.output
        named = network.graph.parameters
        if not named:
            raise ValueError("the network has no parameters, so there is nothing to train")
        shapes = [array.shape for fields in named.values() for array in fields.values()]
        self.flat: Array = np.empty(sum(math.prod(shape) for shape in shapes), dtype)
        self.gradient: Array = np.zeros_like(self.flat)
        self.G = split(self.gradient, shapes)
        views = _renamed(named, split(self.flat, shapes))
        with np.errstate(over="ignore"):
            for name, fields in named.items():
                for field, array in fields.items():
                    views[name][field][...] = array
        if not np.isfinite(self.flat).all():
            raise OverflowError("parameters of the network")
        self.graph = network.graph.with_parameters(views)
        slopes = _renamed(named, self.G)
        learning = [vertex for vertex in self.graph.vertices if vertex.name in named]
        self.slopes = {vertex.index: slopes[vertex.name] for vertex in learning}
        self._operations = {vertex.index: cast(Learnable, vertex.operation) for vertex in learning}
        designed = [made for made in self._operations.values() if isinstance(made, Designed)]
        self.W = [made.parameters["weight"] for made in designed]

    def batch(self, size: int) -> GraphBatch:
        """Return room for so many samples."""
        return GraphBatch(self.graph, size, self.flat.dtype)

    def learn(self, vertex: int, x: Array, v: Array) -> None:
        """Add the gradient of sum(v * g(x)), g the vertex's operation, to that of its parameters."""
        gradient = self._operations[vertex].gradient(x, v)
        for field, slope in self.slopes[vertex].items():
            np.add(slope, gradient[field], out=slope)

    def network(self) -> GraphNetwork:
        """Return the network as it is now, in double precision."""
        copies = {
            name: {field: np.array(array, dtype=np.float64) for field, array in fields.items()}
            for name, fields in self.graph.parameters.items()
        }
        return GraphNetwork(self.graph.with_parameters(copies), self.output)


class GraphBatch:
    """Samples of one batch, `X` samples x input shape and `y` samples x outputs."""

    def __init__(self, graph: Graph, size: int, dtype: DTypeLike):
        self.size = size
        self.X: Array = np.empty((size, *graph.input_shape), dtype)
        self.y: Array = np.empty((size, graph.output.size), dtype)
        self._entries = sum(vertex.size for vertex in graph.vertices)

    def load(self, X: Array, y: Array) -> None:
        """Take samples x input shape and samples x outputs."""
        self.X[...], self.y[...] = X, y
        if not np.isfinite(self.X).all():
            raise OverflowError("inputs")

    def blocks(self) -> Iterator[slice]:
        """Yield the samples in blocks that bound the memory."""
        return blocks(self.size, self._entries, ENTRIES)


def split(flat: Array, shapes: Sequence[Shape]) -> list[Array]:
    """Return views of these shapes, one after the other."""
    ends = np.cumsum([0, *(math.prod(shape) for shape in shapes)]).tolist()
    parts = zip(ends, ends[1:], shapes, strict=False)
    return [flat[first:end].reshape(shape) for first, end, shape in parts]


def _renamed(named: Mapping[str, Mapping[str, Array]], views: Sequence[Array]) -> dict[str, dict[str, Array]]:
    """Return views, one for every array and in their order, by the arrays' names."""
    order = iter(views)
    return {name: {field: next(order) for field in fields} for name, fields in named.items()}
