"""Another run of a network in this network's sheaf: which operation computes something else.

Let x^B be what another run computed: another runtime or precision, a converted, quantised or tuned network.
Its residual at a recorded vertex v is the local difference of that operation alone, in double precision,

    r_v = g_v(x^B_pa(v)) - x^B_v                      (samples x stalk)

since whatever differed before is in both terms. A parent that was not recorded is recomputed from what was:
the operation is then the segment between recorded vertices, named by its last one.

*Rounding.* An operation that sums m terms in a precision of unit u errs by lambda t_v at most, by entry,

    t_v = u sqrt(m + 4) s_v + sum over parents not recorded of |A_vp| t_p,      s_v = |A_v||x_pa(v)| + |c_v|

(4 for the rounding of parameters, inputs, bias and result), with probability 1 - 2 exp(-lambda^2 / 2) (Higham
and Mary, SIAM J. Sci. Comput. 41, 2019). Of N entries none exceeds it with probability 1 - delta where
lambda = sqrt(2 log(2 N / delta)): a difference beyond is *significant*. With 8-bit integers a step of x_v is
added, and what the steps of the weights come to, |max W| / 254 |x_pa(v)|_2.

*Shares.* Let y_i be the output with the first i recorded vertices set to x^B and the rest computed. Then
y_0 - y_n = f_A - f_B = D, and the effects e_i = y_{i-1} - y_i sum to D, kinks and all; the share of i is
<e_i, D> / <D, D>. To first order e_i = J_i r_i, and one walk back, J_i^T D, gives the shares of all.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.graph import Graph, Vertex
from sheafcli.core.operation import Designed
from sheafcli.core.operations import (
    BatchNormalization,
    Convolution,
    Dense,
    LayerNormalization,
    MatrixProduct,
    Scale,
    Softmax,
    Subtract,
)
from sheafcli.core.operations.pointwise import Pointwise
from sheafcli.core.sweep import Stalks, Step, forward, linearize, output, pull_back
from sheafcli.core.types import Array

FALSE_ALARM = 0.01
"""delta: how likely any difference at all is called significant where all is rounding."""
ROUNDINGS = 4
MOST_HYBRIDS = 100
"""Where more vertices differ, shares are of first order."""
LEVELS = 256
# How far from a whole number of steps float32 may leave a value of 8 bits.
ON_STEP = 0.05


@dataclass(frozen=True)
class Precision:
    """A number format: half the gap above 1, and the smallest number above 0; `is_integer` has steps."""

    name: str
    unit: float
    tiny: float
    is_integer: bool = False


PRECISIONS = {
    precision.name: precision
    for precision in (
        Precision("int8", 2.0**-24, 2.0**-149, is_integer=True),
        Precision("bfloat16", 2.0**-8, 2.0**-133),
        Precision("float16", 2.0**-11, 2.0**-24),
        Precision("float32", 2.0**-24, 2.0**-149),
        Precision("float64", 2.0**-53, 2.0**-1074),
    )
}
"""From coarse to fine. What 8-bit integers are multiplied and summed in is as exact as float32."""


@dataclass(frozen=True, eq=False)
class LocalDifference:
    """What one operation computes otherwise: r_v and t_v, samples x stalk, with all that they are made of.

    `made` is g_v(`parents`), the parents as the other run has them, `recorded` the other run's x_v.
    """

    vertex: Vertex
    parents: tuple[Array, ...]
    made: Array
    recorded: Array
    rounding: Array
    factor: float
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
    def times(self) -> float:
        """The largest |r_v| / t_v: the difference in units of rounding."""
        return float(np.max(np.abs(self.residual) / self.rounding))

    @property
    def is_significant(self) -> bool:
        """Whether the difference is more than rounding: beyond lambda, the factor."""
        return self.times > self.factor


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
    if not stalks:
        raise ValueError("no vertex of the network was recorded")
    chosen = inferred_precision(recorded) if precision is None else PRECISIONS[precision]
    entries = sum(stalk.size * _terms(graph.vertices[index], graph) for index, stalk in stalks.items())
    factor = math.sqrt(2.0 * math.log(2.0 * entries / FALSE_ALARM))
    found = tuple(_local(graph, X, stalks, chosen, factor))
    last = graph.output.index
    other = stalks[last] if last in stalks else _output(graph, X, stalks)
    D = output(graph, X) - other
    differing = [local.vertex.index for local in found if local.largest > 0.0]
    is_exact = len(differing) <= most_hybrids
    if is_exact:
        pulls = {i: float(np.vdot(e, D)) for i, e in hybrid_effects(graph, X, stalks, differing)}
    else:
        walk = pull_back(linearize(graph, X, stalks), {last: D})
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
    before, last = output(graph, X), graph.output.index
    for index in differing:
        held = {i: stalk for i, stalk in recorded.items() if i <= index}
        after = recorded[last] if index == last else _output(graph, X, held)
        yield index, before - after
        before = after


def values_of(graph: Graph, X: Array, names: set[str] | None = None) -> dict[str, Array]:
    """Return the values of vertices by name, samples x stalk; of all operations where no names are given."""
    return {
        step.vertex.name: step.value
        for step in forward(graph, X)
        if names is None or step.vertex.name in names
    }


def as_stalks(graph: Graph, n_samples: int, recorded: Mapping[str, NDArray[Any]]) -> dict[int, Array]:
    """Return recorded values as float64 by the index of their vertex, the input left out."""
    places = {vertex.name: vertex for vertex in graph.vertices}
    if unknown := sorted(set(recorded) - set(places)):
        raise ValueError(f"the network has no vertex {unknown[0]}")
    stalks: dict[int, Array] = {}
    for vertex in graph.vertices[1:]:
        if vertex.name not in recorded or vertex.operation is None:
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


def inferred_precision(recorded: Mapping[str, NDArray[Any]]) -> Precision:
    """Return the coarsest format in which most of the recorded values lie, so that one is not the rule."""
    values = [np.asarray(value) for name, value in recorded.items()]
    for precision in PRECISIONS.values():
        if 2 * sum(lies_in(value, precision) for value in values) > len(values):
            return precision
    return PRECISIONS["float64"]


def lies_in(value: NDArray[Any], precision: Precision) -> bool:
    """Return whether all entries are numbers of a format: of 8-bit integers, on 256 equal steps."""
    if precision.is_integer:
        if len(np.unique(value.flat[: 8 * LEVELS])) > LEVELS:
            return False
        levels = np.unique(value.astype(np.float64))
        steps = (levels - levels[0]) / np.min(np.diff(levels), initial=np.inf)
        return bool(steps[-1] < LEVELS and np.all(np.abs(steps - np.rint(steps)) < ON_STEP))
    fraction = np.frexp(value.astype(np.float64))[0] / precision.unit
    return bool(np.all(fraction == np.rint(fraction)))


def _local(
    graph: Graph, X: Array, recorded: Stalks, precision: Precision, factor: float
) -> Iterator[LocalDifference]:
    passed: dict[int, Array] = {}
    for step in forward(graph, X, recorded):
        index = step.vertex.index
        rounding = _own(step, graph, precision, recorded.get(index)) + _inherited(step, passed)
        rounding = np.maximum(rounding, precision.tiny)
        if index in recorded:
            yield LocalDifference(step.vertex, step.parents, step.value, recorded[index], rounding, factor)
        else:
            passed[index] = rounding


def _own(step: Step, graph: Graph, precision: Precision, recorded: Array | None) -> Array:
    """Return u sqrt(m + 4) s_v, and with integers what their steps come to."""
    operation, sizes = step.vertex.operation, [np.abs(x) for x in step.parents]
    match operation:
        case Dense() | Convolution() | Scale() | BatchNormalization():
            size = _absolute(operation).forward(*sizes)
        case Pointwise():
            size = sizes[0] + np.abs(step.value)
        case Subtract():
            size = sizes[0] + sizes[1]
        case LayerNormalization() | Softmax():
            (norm,) = operation.at(*step.parents).norm()
            size = np.abs(step.value) + norm * np.max(
                sizes[0], axis=tuple(range(1, sizes[0].ndim)), keepdims=True
            )
        case _:
            assert operation is not None
            size = np.abs(operation.forward(*sizes))
    own = precision.unit * math.sqrt(_terms(step.vertex, graph) + ROUNDINGS) * size
    if not precision.is_integer:
        return own
    made = step.value if recorded is None else recorded
    own = own + (np.max(made) - np.min(made)) / (LEVELS - 1)
    if isinstance(operation, Dense | Convolution):
        square = np.full_like(operation.weight, (np.max(np.abs(operation.weight)) / (LEVELS - 2)) ** 2)
        own = own + np.sqrt(replace(operation, weight=square, bias=None).forward(step.parents[0] ** 2))
    return own


def _inherited(step: Step, passed: Mapping[int, Array]) -> Array | float:
    """Return sum over parents p of |A_vp| t_p, those that were recorded left out."""
    operation, places = step.vertex.operation, step.vertex.parents
    parts = [passed.get(p) for p in places]
    if operation is None or all(part is None for part in parts):
        return 0.0
    zeros = [np.zeros_like(x) for x in step.parents]
    given = [zero if part is None else part for part, zero in zip(parts, zeros, strict=True)]
    if isinstance(operation, Dense | Convolution | Scale | BatchNormalization):
        return np.asarray(_absolute(operation).at(*step.parents).jvp(*given))
    if isinstance(operation, MatrixProduct):
        return np.asarray(operation.at(*map(np.abs, step.parents)).jvp(*given))
    at = operation.at(*step.parents)
    if isinstance(operation, LayerNormalization | Softmax):
        axes = tuple(range(1, given[0].ndim))
        return np.asarray(at.norm()[0] * np.sqrt(np.sum(given[0] ** 2, axis=axes, keepdims=True)))
    alone = ([*zeros[:i], part, *zeros[i + 1 :]] for i, part in enumerate(given))
    return np.asarray(np.sum([np.abs(at.jvp(*parts)) for parts in alone], axis=0))


def _absolute(
    operation: Dense | Convolution | Scale | BatchNormalization,
) -> Dense | Convolution | Scale | BatchNormalization:
    """Return the operation whose value at |x| is |A||x| + |c|, of a normalisation |A|(|x| + |mean|) + |c|."""
    changed: dict[str, Any] = {name: np.abs(array) for name, array in operation.parameters.items()}
    if isinstance(operation, BatchNormalization):
        changed["mean"] = -np.abs(operation.mean)
    return replace(operation, **changed)


def _terms(vertex: Vertex, graph: Graph) -> int:
    """Return m, how many terms one entry of the value sums."""
    operation, shapes = vertex.operation, [graph.vertices[p].shape for p in vertex.parents]
    if isinstance(operation, Designed):
        return int(operation.parameters["weight"][0].size)
    if isinstance(operation, MatrixProduct):
        return int(shapes[0][-1])
    if isinstance(operation, LayerNormalization):
        return int(operation.factor.size)
    if isinstance(operation, Softmax):
        return int(shapes[0][operation.axis])
    return max(1, sum(math.prod(shape) for shape in shapes) // max(1, vertex.size))


def _output(graph: Graph, X: Array, held: Stalks) -> Array:
    """Return the output where some vertices are held."""
    return deque(forward(graph, X, held), maxlen=1)[0].value
