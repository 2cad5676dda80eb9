"""The walks through a network, each written once; everything else is made of them.

At given values every operation is affine, x_v = sum_p A_vp x_p + c_v, so that the coboundary on the free
coordinates is delta_Omega = -(I - N), N strictly block lower triangular with the blocks A_vp, exact vertices
composed. Hence |det delta_Omega| = 1 for every pattern, all weights and every graph, and solving with
delta_Omega is a walk forwards, with its transpose a walk backwards: nothing is assembled.

    forward          x_v = g_v(x_pa(v))                    the network itself
    pull_back        w_v = b_v + sum_children A_cv^T w_c   w = (I - N)^-T b
    push_forward     d_v = b_v + sum_p A_vp d_p            d = (I - N)^-1 b

In each of them some vertices may be *held*: what is held is read in place of what the walk found there. So
one walk gives residuals, g_v(x_pa(v)) - x_v with all stalks held, and products with delta and its transpose.

Arrays are samples x stalk. The directions of `pull_back` and `push_forward` may have more axes before that of
the samples, the same number in all: many directions at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from sheafcli.core.graph import Graph, Vertex
from sheafcli.core.operation import Restriction
from sheafcli.core.types import Array

# Arrays by the index of their vertex.
Stalks = Mapping[int, Array]
NOTHING: Stalks = MappingProxyType({})


class Step(NamedTuple):
    """A vertex on a walk forwards, what its parents hold, and what it makes of that."""

    vertex: Vertex
    parents: tuple[Array, ...]
    value: Array


@dataclass(frozen=True, eq=False)
class Linearization:
    """A graph at given values: the restriction of every vertex's operation there, and the output.

    `restrictions` are by the index of the vertex, None on the boundary; `output` is samples x stalk.
    `residuals` are g_v(x_pa(v)) - x_v of the vertices that were held, `inputs` the values that operations of
    one parent read, of the vertices where they were to be kept.
    """

    graph: Graph
    restrictions: tuple[Restriction | None, ...]
    output: Array
    residuals: Stalks
    inputs: Stalks = field(default_factory=dict)


class Response(NamedTuple):
    """What a pull v on the output does at an equilibrium: see `respond`."""

    u: dict[int, Array]
    inputs: dict[int, Array]
    output: Array


def as_samples(graph: Graph, X: Array) -> Array:
    """Return X, samples x input shape, in its own precision, or raise ValueError where it does not fit."""
    X = np.asarray(X)
    if X.dtype not in (np.float32, np.float64):
        X = X.astype(np.float64)
    if X.shape[1:] != graph.input_shape or len(X) == 0:
        wanted = " x ".join(map(str, ("samples", *graph.input_shape)))
        raise ValueError(f"X must be {wanted}, at least one sample, got shape {X.shape}")
    if not np.isfinite(X).all():
        raise ValueError("X must be finite")
    return X


def forward(graph: Graph, X: Array, held: Stalks = NOTHING) -> Iterator[Step]:
    """Yield every vertex that has an operation, in topological order, with what it makes of its parents.

    Values are let go when the last vertex that reads them has done so.
    """
    X = as_samples(graph, X)
    values = {0: X}
    for vertex in graph.vertices[1:]:
        if vertex.operation is None:
            constant = np.asarray(vertex.constant).astype(X.dtype, copy=False)
            values[vertex.index] = np.broadcast_to(constant, (len(X), *vertex.shape))
            continue
        parents = tuple(values[p] for p in vertex.parents)
        value = vertex.operation.forward(*parents)
        yield Step(vertex, parents, value)
        values[vertex.index] = held.get(vertex.index, value)
        _let_go(graph, vertex, values)


def output(graph: Graph, X: Array, held: Stalks = NOTHING) -> Array:
    """Return what the output is computed as, samples x stalk."""
    return deque(forward(graph, X, held), maxlen=1)[0].value  # without keeping the others


def linearize(graph: Graph, X: Array, held: Stalks = NOTHING, keep: Collection[int] = ()) -> Linearization:
    """Return the restrictions at the forward pass of X, or at the values held; keep some vertices' inputs."""
    restrictions: list[Restriction | None] = [None] * len(graph.vertices)
    residuals, inputs = {}, {}
    for vertex, parents, value in forward(graph, X, held):
        assert vertex.operation is not None
        restrictions[vertex.index] = vertex.operation.at(*parents)
        if vertex.index in held:
            residuals[vertex.index] = value - held[vertex.index]
        if vertex.index in keep:
            (inputs[vertex.index],) = parents
    return Linearization(graph, tuple(restrictions), value, residuals, inputs)


def pull_back(
    at: Linearization, sources: Stalks, held: Stalks = NOTHING, down_to: int = 1
) -> Iterator[tuple[Vertex, Array]]:
    """Yield vertices from the output down, each with w_v = b_v + sum_children A_cv^T w_c.

    `sources` are b; vertices that nothing pulls at are left out. The walk ends with the vertex of index
    `down_to`: 0 includes the input. Constants are left out.
    """
    graph, pulls = at.graph, dict(sources)
    for vertex in reversed(graph.vertices[down_to:]):
        if vertex.constant is not None:
            pulls.pop(vertex.index, None)
            continue
        w = pulls.pop(vertex.index, None)
        given = held.get(vertex.index, w)
        if given is None:
            continue
        yield vertex, np.zeros_like(given) if w is None else w
        restriction = at.restrictions[vertex.index]
        read = [p >= down_to and graph.vertices[p].constant is None for p in vertex.parents]
        if restriction is None or not any(read):
            continue
        for parent, wanted, part in zip(vertex.parents, read, restriction.vjp(given), strict=True):
            if wanted:
                pulls[parent] = pulls[parent] + part if parent in pulls else part


def push_forward(at: Linearization, sources: Stalks, held: Stalks = NOTHING) -> Iterator[Step]:
    """Yield the vertices that `forward` yields, with d of their parents and d_v = b_v + sum_p A_vp d_p.

    `sources` are b: at any vertex, that of the input (index 0) included.
    """
    graph = at.graph
    # What stands before the stalks of the directions, read off any of them: many directions, and the samples.
    index, given = next(iter((*sources.items(), *held.items())), (graph.output.index, at.output))
    before = given.shape[: given.ndim - len(graph.vertices[index].shape)]
    reached: dict[int, Array] = {}
    # Vertices that nothing moves: what reads them alone need not be multiplied.
    still: set[int] = set()
    for vertex in graph.vertices:
        restriction, source = at.restrictions[vertex.index], sources.get(vertex.index)
        parents = tuple(reached[p] for p in vertex.parents)
        if restriction is None or still.issuperset(vertex.parents):
            d = np.broadcast_to(given.dtype.type(0.0), (*before, *vertex.shape)) if source is None else source
            if source is None and vertex.index not in held:
                still.add(vertex.index)
        else:
            d = restriction.jvp(*parents)
            if source is not None:
                d = d + source
        if restriction is not None:
            yield Step(vertex, parents, d)
        reached[vertex.index] = held.get(vertex.index, d)
        _let_go(graph, vertex, reached)


def pulled(at: Linearization, sources: Stalks) -> dict[int, Array]:
    """Return (I - N)^-T b by head, b the sources: how they pull at every stalk that is free."""
    return {vertex.index: w for vertex, w in pull_back(at, sources) if vertex.edge is not None}


def moved(at: Linearization, sources: Stalks) -> dict[int, Array]:
    """Return (I - N)^-1 b by every vertex that has an operation, b the sources: how far they move it."""
    return {step.vertex.index: step.value for step in push_forward(at, sources)}


def respond(at: Linearization, v: Array, keep: Collection[int] = ()) -> Response:
    """Return how an equilibrium responds to a pull v on the output, (...) x samples x output stalk.

    `u` is J_w^T v for the head w of every edge, J_w the derivative of the output in it: a pull-back. `output`
    is S v, S = sum over edges of J_w J_w^T the effective resistance: a push-forward of u. `inputs` are how
    far the inputs of some operations of one parent move on that, those of the vertices in `keep`.
    """
    u = pulled(at, {at.graph.output.index: v})
    inputs = {}
    for step in push_forward(at, u):
        if step.vertex.index in keep:
            (inputs[step.vertex.index],) = step.parents
    return Response(u, inputs, step.value)


def resist(at: Linearization, v: Array) -> Array:
    """Return S v, (...) x samples x output stalk, S the effective resistance."""
    return respond(at, v).output


def coboundary(at: Linearization, x: Stalks) -> dict[int, Array]:
    """Return delta_Omega x by head, sum_p A_vp x_p - x_v; x has the stalk of every head."""
    steps = push_forward(at, NOTHING, held=x)
    return {vertex.index: made - x[vertex.index] for vertex, _, made in steps if vertex.edge}


def coboundary_transposed(at: Linearization, r: Stalks, sources: Stalks = NOTHING) -> dict[int, Array]:
    """Return delta_Omega^T r + b by head, sum_children A_cv^T r_c - r_v + b_v.

    r has the residual of every edge, `sources` are b.
    """
    pulls = pull_back(at, sources, held=r)
    return {vertex.index: w - r[vertex.index] for vertex, w in pulls if vertex.edge}


def block_norms(at: Linearization) -> tuple[Array, Array]:
    """Return bounds of the blocks of I + delta_Omega, edges x heads, and of how vertices depend on heads.

    The latter are vertices x heads: a head depends on itself, an exact vertex on what it is composed of.
    """
    heads = [vertex.index for vertex in at.graph.heads]
    made = np.zeros((len(at.graph.vertices), len(heads)))
    read = np.zeros_like(made)
    for vertex, restriction in zip(at.graph.vertices, at.restrictions, strict=True):
        if restriction is not None:
            made[vertex.index] = restriction.norm() @ read[list(vertex.parents)]
        read[vertex.index] = made[vertex.index] if vertex.edge is None else np.equal(heads, vertex.index)
    return made[heads], read


def _let_go(graph: Graph, vertex: Vertex, values: dict[int, Array]) -> None:
    for parent in dict.fromkeys(vertex.parents):
        if graph.readers[parent][-1] == vertex.index:
            del values[parent]
