"""A feed-forward network as a directed acyclic graph of operations, and the edges of its sheaf.

The stalk of a vertex v is the value x_v = g_v(x_pa(v)) that one operation makes of its parents' values; the
input and constants are the boundary. Every vertex whose operation can give way has one edge, which joins it
to its parents, with the residual

    r_v = g_v(x_pa(v)) - x_v.

Operations that are exact (linear, without parameters) have none: their vertices are composed into what
reads them. For a chain of dense layers and ReLUs this is the sheaf of Bosca & Ghrist (arXiv:2603.14831).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from sheafcli.core.edge import Edge, output_edge
from sheafcli.core.operation import Designed, Learnable, Operation
from sheafcli.core.operations.parameters import as_parameter
from sheafcli.core.types import Array, Shape

INPUT = "x"
# The most entries that one stalk may have: 2 GB in double precision.
MOST_ENTRIES = 1 << 28


@dataclass(frozen=True, eq=False)
class Constant:
    """A value of the boundary that is the same for all samples, of the stalk's shape."""

    value: Array


@dataclass(frozen=True, eq=False)
class Node:
    """A vertex as one writes it down: a name, what makes its value, and the names of its parents."""

    name: str
    operation: Operation | Constant
    parents: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Vertex:
    """A vertex of a graph: its place in topological order, and its parents' places.

    The input and constants have no operation, exact vertices and these have no edge.
    """

    index: int
    name: str
    shape: Shape
    operation: Operation | None
    parents: tuple[int, ...]
    edge: Edge | None
    constant: Array | None = None

    @property
    def size(self) -> int:
        """The dimension of the stalk."""
        return math.prod(self.shape)


@dataclass(frozen=True, eq=False, repr=False)
class Graph:
    """Vertices in topological order: the input, called x, then `nodes`; the last one is the output.

    Raises ValueError where a name comes twice or is read before it is made, where shapes do not fit, where
    all operations are exact, and where nothing reads a vertex that is not the output.
    """

    input_shape: Shape
    nodes: tuple[Node, ...]

    def __repr__(self) -> str:
        shapes = (" x ".join(map(str, shape)) for shape in (self.input_shape, self.output.shape))
        return f"Graph({' to '.join(shapes)}, {len(self.nodes)} operations)"

    def __post_init__(self) -> None:
        object.__setattr__(self, "input_shape", tuple(int(n) for n in self.input_shape))
        object.__setattr__(self, "nodes", tuple(self.nodes))
        if math.prod(self.input_shape) > MOST_ENTRIES:
            raise ValueError(f"an input of shape {self.input_shape} has more than {MOST_ENTRIES:,} entries")
        if not self.nodes or min(self.input_shape, default=1) < 1:
            raise ValueError(
                f"a graph needs an input of a shape with entries and at least one operation, got the shape "
                f"{self.input_shape} and {len(self.nodes)} operations"
            )
        if not self.edges:
            raise ValueError("a graph needs an operation that can give way; all of its operations are exact")
        unread = [vertex.name for vertex in self.vertices if vertex.index not in self.readers]
        if unread != [self.output.name]:
            raise ValueError(
                f"nothing reads {', '.join(unread[:-1] or unread)}: leave out what the output, "
                f"{self.output.name}, does not depend on, and end with the output"
            )

    @classmethod
    def path(cls, input_shape: Shape, operations: Mapping[str, Operation]) -> Graph:
        """Return the chain of these operations, by name and in order."""
        names = (INPUT, *operations)
        pairs = zip(operations.items(), names, strict=False)
        return cls(input_shape, tuple(Node(name, made, (parent,)) for (name, made), parent in pairs))

    @cached_property
    def vertices(self) -> tuple[Vertex, ...]:
        """All vertices: the input first, the output last, parents before those who read them."""
        places, layers = {INPUT: 0}, [0]
        vertices = [Vertex(0, INPUT, self.input_shape, None, (), None)]
        latest = 0
        for index, node in enumerate(self.nodes, start=1):
            if node.name in places:
                raise ValueError(f"{node.name} names two vertices")
            missing = [name for name in node.parents if name not in places]
            if missing:
                raise ValueError(
                    f"{node.name} reads {missing[0]}, which nothing before it makes; parents come "
                    f"first, and a network without cycles has such an order"
                )
            parents = tuple(places[name] for name in node.parents)
            places[node.name] = index
            layer = max((layers[p] for p in parents), default=0)
            if isinstance(node.operation, Designed):
                layer = latest = latest + 1
            layers.append(layer)
            vertices.append(_vertex(index, node, tuple(vertices[p] for p in parents), max(layer, 1)))
        return tuple(vertices)

    @cached_property
    def readers(self) -> dict[int, tuple[int, ...]]:
        """The vertices that read each vertex, in order; those that nothing reads are left out."""
        readers: dict[int, tuple[int, ...]] = {}
        for vertex in self.vertices:
            for parent in dict.fromkeys(vertex.parents):
                readers[parent] = (*readers.get(parent, ()), vertex.index)
        return readers

    @property
    def output(self) -> Vertex:
        """The last vertex."""
        return self.vertices[-1]

    @cached_property
    def heads(self) -> tuple[Vertex, ...]:
        """The vertices that edges end at, in order: their stalks are the free coordinates, Omega."""
        return tuple(vertex for vertex in self.vertices if vertex.edge is not None)

    @cached_property
    def edges(self) -> tuple[Edge, ...]:
        """The edges of the sheaf in topological order, without the output edge."""
        return tuple(vertex.edge for vertex in self.vertices if vertex.edge is not None)

    @cached_property
    def output_edge(self) -> Edge:
        """The edge that pulls the output towards a target; it belongs to the last layer."""
        return output_edge(max(edge.layer for edge in self.edges))

    @property
    def dimension(self) -> int:
        """The number of free coordinates of a sample."""
        return sum(vertex.size for vertex in self.heads)

    @cached_property
    def places(self) -> dict[int, slice]:
        """Where every head's coordinates lie among the free ones of a sample, in order."""
        ends = np.cumsum([0, *(vertex.size for vertex in self.heads)]).tolist()
        return {v.index: slice(first, end) for v, first, end in zip(self.heads, ends, ends[1:], strict=False)}

    def split(self, coordinates: Array) -> dict[int, Array]:
        """Return free coordinates, (...) x samples x dimension, as stalks by the index of their head."""
        heads, before = zip(self.heads, self.places.values(), strict=True), coordinates.shape[:-1]
        return {v.index: coordinates[..., place].reshape(*before, *v.shape) for v, place in heads}

    def join(self, stalks: Mapping[int, Array]) -> Array:
        """Return stalks by the index of their head as free coordinates, (...) x samples x dimension."""
        parts = ((stalks[vertex.index], vertex.shape) for vertex in self.heads)
        return np.concatenate(
            [part.reshape(*part.shape[: part.ndim - len(shape)], -1) for part, shape in parts], axis=-1
        )

    @property
    def parameters(self) -> dict[str, dict[str, Array]]:
        """The parameters of every operation that has some, by the names of vertex and field."""
        learnable = ((node.name, node.operation) for node in self.nodes)
        return {name: made.parameters for name, made in learnable if isinstance(made, Learnable)}

    def with_parameters(self, parameters: Mapping[str, Mapping[str, Array]]) -> Graph:
        """Return the graph with other parameters where some are given, named as in `parameters`."""
        return Graph(self.input_shape, tuple(_renewed(self.nodes, parameters)))


def _vertex(index: int, node: Node, parents: tuple[Vertex, ...], layer: int) -> Vertex:
    places = tuple(parent.index for parent in parents)
    if isinstance(node.operation, Constant):
        if parents:
            raise ValueError(f"{node.name} is a constant and reads {parents[0].name}; constants read nothing")
        value = as_parameter(node.name, node.operation.value)
        return Vertex(index, node.name, value.shape, None, (), None, value)
    operation, shapes = node.operation, tuple(parent.shape for parent in parents)
    if not parents:
        raise ValueError(f"{node.name} reads nothing; give it a parent, or make it a Constant")
    try:
        inspect.signature(operation.shape).bind(*shapes)
    except TypeError as error:
        raise ValueError(
            f"{node.name} reads {len(shapes)} values, which {type(operation).__name__} does not: {error}"
        ) from None
    try:
        shape = operation.shape(*shapes)
    except ValueError as error:
        read = ", ".join(f"{parent.name} of shape {parent.shape}" for parent in parents)
        raise ValueError(f"{node.name} ({type(operation).__name__}) reads {read}: {error}") from None
    if math.prod(shape) > MOST_ENTRIES:
        raise ValueError(
            f"{node.name} has {math.prod(shape):.1e} entries a sample, more than {MOST_ENTRIES:,}"
        )
    edge = None if operation.kind == "exact" else Edge(node.name, operation.kind, layer)
    return Vertex(index, node.name, shape, operation, places, edge)


def _renewed(nodes: Iterable[Node], parameters: Mapping[str, Mapping[str, Array]]) -> Iterable[Node]:
    for node in nodes:
        changed = parameters.get(node.name, {})
        if not changed:
            yield node
        elif isinstance(node.operation, Learnable) and set(changed) <= set(node.operation.parameters):
            yield replace(node, operation=replace(node.operation, **changed))  # type: ignore[type-var]
        else:
            raise ValueError(f"{node.name} has no parameters {', '.join(changed)}")
