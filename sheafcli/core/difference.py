"""Another run of a network in this network's sheaf: which operation computes something else.

Let x^B be what another run computed: another runtime or precision, a converted, quantised or tuned network.
Its residual at a recorded vertex v is the local difference of that operation alone, in double precision,

    r_v = g_v(x^B_pa(v)) - x^B_v                      (samples x stalk)

since whatever differed before is in both terms. A parent that was not recorded is recomputed from what was:
the operation is then the segment between recorded vertices, named by its last one.

Where |r_v| exceeds what the operation may err by (`rounding`), in an entry or in a sum over a channel, it is
*significant*.

*Shares.* Let y_i be the output with the first i recorded vertices set to x^B and the rest computed. Then
y_0 - y_n = f_A - f_B = D, and the effects e_i = y_{i-1} - y_i sum to D, kinks and all; the share of i is
<e_i, D> / <D, D>. To first order e_i = J_i r_i, and one walk back, J_i^T D, gives the shares of all.

The input is the first of the vertices where the other run rounds it: its r is X - x^B.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.graph import INPUT, Graph, Vertex
from sheafcli.core.operation import Designed
from sheafcli.core.operations import BatchNormalization, Convolution
from sheafcli.core.rounding import PRECISIONS, Allowance, Precision, Rounding, inferred_precision, terms
from sheafcli.core.sweep import Stalks, forward, linearize, output, pull_back
from sheafcli.core.types import Array

MOST_HYBRIDS = 100
"""Where more vertices differ, shares are of first order."""


@dataclass(frozen=True, eq=False)
class LocalDifference:
    """What one operation computes otherwise: r_v, samples x stalk, with all that it is made of.

    `made` is g_v(`parents`), the parents as the other run has them, `recorded` the other run's x_v. `segment`
    are the names of the operations that stand for it together, its own last.
    """

    vertex: Vertex
    segment: tuple[str, ...]
    parents: tuple[Array, ...]
    made: Array
    recorded: Array
    rounding: Allowance
    share: float = 0.0

    @cached_property
    def residual(self) -> Array:
        """r_v."""
        return self.made - self.recorded

    @property
    def mean_square(self) -> float:
        """The mean of r_v^2."""
        return float(np.mean(self.residual**2))

    @property
    def largest(self) -> float:
        """The largest |r_v|."""
        return float(np.max(np.abs(self.residual)))

    @property
    def channel_axis(self) -> int:
        """The axis of the units, in samples x stalk: of images the first of the stalk, else the last."""
        operation, n_axes = self.vertex.operation, self.made.ndim
        return 1 if isinstance(operation, Convolution | BatchNormalization) or n_axes > 3 else n_axes - 1

    @cached_property
    def times(self) -> float:
        """The difference in units of rounding: the most of all entries, and of two sums by channel.

        These are sum r, a shift of the channel, and sum g r, which tells that it is scaled.
        """
        times = self.rounding.times(self.residual)
        if not self.rounding.certain.any() or self.made.ndim < 2:
            return times  # such sums are below then
        for weights in (np.ones_like(self.made), self.made):
            of_sum = self.rounding.times_in_sum(self.residual, weights, self.recorded, self.channel_axis)
            times = max(times, of_sum)
        return times

    @property
    def is_significant(self) -> bool:
        """Whether the difference is more than rounding: beyond lambda, the factor."""
        return self.times > self.rounding.factor


@dataclass(frozen=True, eq=False)
class Difference:
    """The local differences of all recorded vertices in order, and D = f_A - f_B, samples x outputs.

    `is_exact` says that the shares are of hybrid runs, not of first order.
    """

    operations: tuple[LocalDifference, ...]
    output: Array
    precision: Precision
    is_exact: bool


def difference(
    graph: Graph,
    X: Array,
    recorded: Mapping[str, NDArray[Any]],
    precision: str | None = None,
    most_hybrids: int = MOST_HYBRIDS,
) -> Difference:
    """Return how another run on X, samples x input shape, differs, given its values at vertices by name.

    `precision` is what it computed in, a key of PRECISIONS; None infers it. ValueError where names or shapes
    are not those of the graph, and where values are not finite.
    """
    X = np.asarray(X, dtype=np.float64)
    stalks = as_stalks(graph, len(X), recorded)
    if not stalks.keys() - {0}:
        raise ValueError("no vertex of the network was recorded")
    chosen = inferred_precision(recorded) if precision is None else PRECISIONS[precision]
    found = _locals(graph, X, stalks, chosen)
    last, start = graph.output.index, stalks.get(0, X)
    D = output(graph, X) - (stalks[last] if last in stalks else output(graph, start, stalks))
    differing = [local.vertex.index for local in found if local.largest > 0.0]
    is_exact = len(differing) <= most_hybrids
    if is_exact:
        pulls = {i: float(np.vdot(e, D)) for i, e in hybrid_effects(graph, X, stalks, differing)}
    else:
        walk = pull_back(linearize(graph, start, stalks), {last: D}, down_to=min(stalks))
        adjoint = {vertex.index: w for vertex, w in walk if vertex.index in stalks}
        pulls = {
            local.vertex.index: float(np.vdot(adjoint[local.vertex.index], local.residual))
            for local in found
            if local.vertex.index in adjoint
        }
    size = float(np.vdot(D, D)) or 1.0
    shared = (replace(local, share=pulls.get(local.vertex.index, 0.0) / size) for local in found)
    return Difference(tuple(shared), D, chosen, is_exact)


def hybrid_effects(
    graph: Graph, X: Array, recorded: Stalks, differing: list[int]
) -> Iterator[tuple[int, Array]]:
    """Yield e_i = y_{i-1} - y_i of the vertices that differ, samples x outputs; those of all others are 0."""
    before, last, start = output(graph, X), graph.output.index, recorded.get(0, X)
    for index in differing:
        held = {i: stalk for i, stalk in recorded.items() if i <= index}
        after = recorded[last] if index == last else output(graph, start, held)
        yield index, before - after
        before = after


def mended(graph: Graph, X: Array, there: Difference, kept: Collection[str]) -> Array:
    """Return the other run's output, samples x outputs, if it computed some operations as the network does.

    Every other recorded vertex errs by what it erred by there, x_v = g_v(x_pa(v)) - r_v.
    """
    errors = {
        local.vertex.index: local.residual for local in there.operations if local.vertex.name not in kept
    }
    X = np.asarray(X, dtype=np.float64)
    held: dict[int, Array] = {}
    for step in forward(graph, X - errors.get(0, 0.0), held):
        value = step.value
        if step.vertex.index in errors:
            value = held[step.vertex.index] = value - errors[step.vertex.index]
    return value


def values_of(graph: Graph, X: Array, names: set[str] | None = None) -> dict[str, Array]:
    """Return the values of vertices by name, samples x stalk; of all operations where no names are given."""
    return {
        step.vertex.name: step.value
        for step in forward(graph, X)
        if names is None or step.vertex.name in names
    }


def as_stalks(graph: Graph, n_samples: int, recorded: Mapping[str, NDArray[Any]]) -> dict[int, Array]:
    """Return recorded values as float64 by the index of their vertex."""
    places = {vertex.name: vertex for vertex in graph.vertices}
    if unknown := sorted(set(recorded) - set(places)):
        raise ValueError(f"the network has no vertex {unknown[0]}")
    stalks: dict[int, Array] = {}
    for vertex in graph.vertices:
        if vertex.name not in recorded or vertex.constant is not None:
            continue
        value = np.asarray(recorded[vertex.name], dtype=np.float64)
        if value.shape not in ((n_samples, *vertex.shape), (n_samples, vertex.size)):
            wanted = (n_samples, *vertex.shape)
            raise ValueError(f"{vertex.name} must be samples x stalk, {wanted}, got shape {value.shape}")
        if not np.isfinite(value).all():
            sample = int(np.argmin(np.isfinite(value).reshape(n_samples, -1).all(axis=1)))
            raise ValueError(
                f"{vertex.name} is the first vertex that holds NaN or infinity, at sample {sample}: "
                "it overflowed there, or reads what did"
            )
        stalks[vertex.index] = value.reshape(n_samples, *vertex.shape)
    return stalks


def _locals(graph: Graph, X: Array, stalks: Stalks, precision: Precision) -> tuple[LocalDifference, ...]:
    """Return the local differences of all recorded vertices, in order.

    Layers of a short format are taken to sum in float32 where that explains most of them.
    """
    entries = sum(stalk.size * (terms(graph.vertices[index], graph) + 2) for index, stalk in stalks.items())
    found = tuple(_local(graph, X, stalks, Rounding.of(graph, precision, entries)))
    layers = [local for local in found if isinstance(local.vertex.operation, Designed)]
    if 2 * sum(local.is_significant for local in layers) <= len(layers) or precision.is_integer:
        return found
    plain = replace(precision, sums=precision.unit)
    return tuple(_local(graph, X, stalks, Rounding.of(graph, plain, entries)))


def _local(graph: Graph, X: Array, recorded: Stalks, rounding: Rounding) -> Iterator[LocalDifference]:
    passed: dict[int, Array] = {}
    through: dict[int, tuple[str, ...]] = {}
    if 0 in recorded:
        t = rounding.of_input(X, recorded[0])
        yield LocalDifference(graph.vertices[0], (INPUT,), (), X, recorded[0], t)
    for step in forward(graph, recorded.get(0, X), recorded):
        vertex, parents = step.vertex, step.vertex.parents
        before = [name for parent in parents for name in through.get(parent, ())]
        segment = tuple(dict.fromkeys((*before, vertex.name)))
        stalk = recorded.get(vertex.index)
        t = rounding(step, passed, stalk)
        if stalk is None:
            passed[vertex.index], through[vertex.index] = t.alone, segment
        else:
            yield LocalDifference(vertex, segment, step.parents, step.value, stalk, t)
