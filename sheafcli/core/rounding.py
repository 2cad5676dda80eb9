"""What another run of a network may err by where all is well: each operation's own rounding, entry by entry.

An operation errs by lambda c_v + e_v at most, by entry, in a precision of unit u. Where it sums m terms,

    c_v = u sqrt(m + 4) s_v + sum over parents not recorded of |A_vp| c_p,     s_v = |A_v||x_pa(v)| + |c_v|

(4 for the rounding of parameters, inputs, bias and result) and e_v = 0, with probability
1 - 2 exp(-lambda^2 / 2) (Higham and Mary, SIAM J. Sci. Comput. 41, 2019). Of N entries none exceeds it with
probability 1 - delta where lambda = sqrt(2 log(2 N / delta)).

*Short formats.* Layers in bfloat16 or float16 mostly sum in float32, of unit w. Then, by Hoeffding's
inequality for the rounding of their parameters and inputs, and with what that of product and sum is at most,

    c_v = w sqrt(m + 4) s_v + u sqrt(2) |W o x|_2,     e_v = 2 u (|x_v| + |b|).

*8-bit integers.* They are multiplied and summed as exactly as in float32. A value on steps of size h errs by
h / 2, for certain. Where the steps end it may be cut: they are laid out for other samples, or other values
before, and up to a tenth of them is counted as rounding. Weights, and inputs inside a layer, may be rounded
to steps h_W and h_x; by Hoeffding's inequality that gives

    c_v = w sqrt(m + 4) s_v + min(h_W |x|_2, h_W |x|_1 / lambda) / 2 + h_x |W|_2 / 2,     e_v = h / 2.

The steps of values are those on which they lie. h_W = max |W| / 127 is that of one scale for all of a layer's
weights, h_x is for inputs that do not lie on steps. The factors of a normalisation may be on steps, too.
Biases are on steps of h_W times those of the input: half of that, over lambda, is added.

*Sums.* Of many entries n, sum d_n r_n stays below lambda (sum |d_n| c_n + (sum over levels l of
(sum of |d_n| e_n where x_n = l)^2)^(1/2)): what is rounded to one and the same number may err to one side,
what is rounded to different ones does so independently, and Hoeffding's inequality holds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.graph import Graph, Vertex
from sheafcli.core.operation import Designed, Operation
from sheafcli.core.operations import (
    Add,
    BatchNormalization,
    Convolution,
    Dense,
    LayerNormalization,
    MatrixProduct,
    MaxPooling,
    Scale,
    Softmax,
    Subtract,
)
from sheafcli.core.operations.pointwise import PiecewiseLinear, Pointwise
from sheafcli.core.sweep import Step
from sheafcli.core.types import Array

FALSE_ALARM = 0.01
"""delta: how likely any difference at all is called significant where all is rounding."""
ROUNDINGS = 4
LEVELS = 256
# How far from a whole number of steps float32 may leave a value of 8 bits.
ON_STEP = 0.05
FEW_LEVELS = 16
MOST_CUT = 0.1


@dataclass(frozen=True)
class Precision:
    """A number format: half the gap above 1, and the smallest number above 0; `is_integer` has steps.

    `sums` is the unit in which layers sum their terms.
    """

    name: str
    unit: float
    tiny: float
    sums: float
    is_integer: bool = False


SINGLE = 2.0**-24
PRECISIONS = {
    precision.name: precision
    for precision in (
        Precision("int8", SINGLE, 2.0**-149, SINGLE, is_integer=True),
        Precision("bfloat16", 2.0**-8, 2.0**-133, SINGLE),
        Precision("float16", 2.0**-11, 2.0**-24, SINGLE),
        Precision("float32", SINGLE, 2.0**-149, SINGLE),
        Precision("float64", 2.0**-53, 2.0**-1074, 2.0**-53),
    )
}
"""From coarse to fine."""


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
        return step_of(value) is not None
    fraction = np.frexp(value.astype(np.float64))[0] / precision.unit
    return bool(np.all(fraction == np.rint(fraction)))


def step_of(value: NDArray[Any]) -> float | None:
    """Return the size of the at most 256 equal steps on which all entries lie; None where they do not.

    Where all entries are the same it is 0: they lie on any.
    """
    if len(np.unique(value.flat[: 8 * LEVELS])) > LEVELS:
        return None
    levels = np.unique(value.astype(np.float64))
    if len(levels) == 1:
        return 0.0
    gaps = (levels - levels[0]) / np.min(np.diff(levels))
    # Values on coarser steps before have none next to each other: of many, the least gap may be several.
    most = int((LEVELS - 0.5) / gaps[-1]) if len(levels) > FEW_LEVELS else 1
    for several in range(1, most + 1):
        steps = several * gaps
        if np.rint(steps[-1]) < LEVELS and np.all(np.abs(steps - np.rint(steps)) < ON_STEP):
            return float((levels[-1] - levels[0]) / np.rint(steps[-1]))
    return None


@dataclass(frozen=True, eq=False)
class Allowance:
    """What one operation may err by: c_v and e_v, samples x stalk, and lambda."""

    probable: Array
    certain: Array
    factor: float

    @property
    def alone(self) -> Array:
        """c_v with e_v counted to it, so that lambda times it is the most that an entry may err by."""
        return self.probable + self.certain / self.factor

    def times(self, residual: Array) -> float:
        """Return the largest (|r_v| - e_v) / c_v; infinity where all terms are zero and the value is not."""
        beyond = np.abs(residual) - self.certain
        with np.errstate(over="ignore"):
            return float(np.max(np.maximum(beyond, 0.0) / self.probable))

    def times_in_sum(self, residual: Array, weights: Array, recorded: Array, axis: int) -> float:
        """Return the largest sum d r, in units of what it may be, over the slices across an axis.

        `weights` are d.
        """

        def rows(x: Array) -> Array:
            return np.moveaxis(x, axis, 0).reshape(x.shape[axis], -1)

        d = rows(np.abs(weights))
        sums = np.abs(np.sum(rows(weights) * rows(residual), axis=1))
        probable, certain = np.sum(d * rows(self.probable), axis=1), d * rows(self.certain)
        apart = np.zeros(len(d))
        for i, (row, values) in enumerate(zip(certain, rows(recorded), strict=True)):
            if row.any():
                levels = np.unique(values, return_inverse=True)[1]
                apart[i] = np.linalg.norm(np.bincount(levels, row))
        return float(np.max(sums[probable > 0.0] / (probable + apart)[probable > 0.0], initial=0.0))


@dataclass(frozen=True, eq=False)
class Rounding:
    """What the operations of a graph may err by in a precision; `factor` is lambda."""

    graph: Graph
    precision: Precision
    factor: float

    @classmethod
    def of(cls, graph: Graph, precision: Precision, entries: int) -> Rounding:
        """Return the rounding with the lambda of so many entries."""
        return cls(graph, precision, math.sqrt(2.0 * math.log(2.0 * entries / FALSE_ALARM)))

    def __call__(self, step: Step, passed: Mapping[int, Array], recorded: Array | None) -> Allowance:
        """Return what an operation may err by; `passed` are c_p of the parents that were not recorded."""
        probable = self._sums(step) + self._inherited(step, passed)
        certain = np.zeros_like(step.value)
        if self.precision.is_integer:
            probable = probable + self._inner_steps(step, is_recorded=recorded is not None)
            certain = certain if recorded is None else self._of_steps(step.value, recorded)
        elif isinstance(step.vertex.operation, Dense | Convolution) and self._sums_in_single:
            bias = step.vertex.operation.forward(np.zeros_like(step.parents[0]))
            certain = 2.0 * self.precision.unit * (np.abs(step.value) + np.abs(bias))
        return self._allowance(probable, certain)

    def of_input(self, X: Array, recorded: Array) -> Allowance:
        """Return what an input may err by that is rounded to the precision."""
        certain = self._of_steps(X, recorded) if self.precision.is_integer else np.zeros_like(X)
        return self._allowance(2.0 * self.precision.unit * np.abs(X), certain)

    def _allowance(self, probable: Array, certain: Array) -> Allowance:
        return Allowance(np.maximum(probable, self.precision.tiny), certain, self.factor)

    @property
    def _sums_in_single(self) -> bool:
        return self.precision.sums != self.precision.unit

    def _sums(self, step: Step) -> Array:
        """Return u sqrt(m + 4) s_v, or what stands in its place for a layer that sums in another unit."""
        operation, sizes = step.vertex.operation, [np.abs(x) for x in step.parents]
        assert operation is not None
        match operation:
            case Pointwise():
                size = sizes[0] + np.abs(step.value)
            case LayerNormalization() | Softmax():
                (norm,) = operation.at(*step.parents).norm()
                size = np.abs(step.value) + norm * np.max(
                    sizes[0], axis=tuple(range(1, sizes[0].ndim)), keepdims=True
                )
            case _:
                size = np.abs(_absolute(operation).forward(*sizes))
        root = math.sqrt(terms(step.vertex, self.graph) + ROUNDINGS)
        unit, sums = self.precision.unit, self.precision.sums
        if not (self._sums_in_single and isinstance(operation, Dense | Convolution)):
            return np.asarray(unit * root * size)
        parts = _squared(operation, operation.weight).forward(sizes[0] ** 2)
        return np.asarray(sums * root * size + unit * np.sqrt(2.0 * parts))

    def _inner_steps(self, step: Step, *, is_recorded: bool) -> Array:
        """Return what steps of 8 bits come to that are not those of a recorded value."""
        operation, c = step.vertex.operation, np.zeros_like(step.value)
        if isinstance(operation, Dense | Convolution):
            (x,) = step.parents
            weights = np.full_like(operation.weight, np.max(np.abs(operation.weight)) / (LEVELS - 2))
            most = replace(operation, weight=weights, bias=None).forward(np.abs(x)) / self.factor
            c += np.minimum(np.sqrt(_squared(operation, weights).forward(x**2)), most)
            size = step_of(x)
            c += (size or 0.0) * weights.flat[0] / self.factor
            if size is None:
                inputs = np.full_like(x[:1], np.ptp(x) / (2 * (LEVELS - 1)))
                c += np.sqrt(_squared(operation, operation.weight).forward(inputs**2))
        if isinstance(operation, BatchNormalization):
            factor = np.full_like(operation.factor, np.max(np.abs(operation.factor)) / (LEVELS - 2))
            changed = replace(operation, factor=factor, offset=np.zeros_like(operation.offset))
            offset = (step_of(step.parents[0]) or 0.0) * factor[0]
            c += (np.abs(changed.forward(*step.parents)) + offset) / self.factor
        if not is_recorded and not self._is_fused(step.vertex):
            c += np.ptp(step.value) / (2 * (LEVELS - 1))
        return c

    def _of_steps(self, made: Array, recorded: Array) -> Array:
        """Return h / 2, and a tenth of all steps for what is cut where they end."""
        size, levels = step_of(recorded), np.unique(recorded)
        low, high = levels[0], levels[-1]
        if low == high:
            # All is rounded to one step, and nothing tells how far it is to the next.
            size = 2.0 * float(np.max(np.abs(made - recorded)))
        elif size is None:
            # A few numbers may be any steps apart; more, and they do not lie on steps.
            size = float(np.min(np.diff(levels))) if len(levels) <= FEW_LEVELS else 0.0
        is_cut = ((recorded == high) & (made > high)) | ((recorded == low) & (made < low))
        return np.where(is_cut, max(MOST_CUT * (high - low), 0.5 * size), 0.5 * size)

    def _is_fused(self, vertex: Vertex) -> bool:
        """Return whether what reads a vertex is mostly fused into it, so that it has no steps of its own."""
        readers = [self.graph.vertices[index] for index in self.graph.readers.get(vertex.index, ())]
        kinds = BatchNormalization | Scale | PiecewiseLinear
        return len(readers) == 1 and isinstance(readers[0].operation, kinds)

    def _inherited(self, step: Step, passed: Mapping[int, Array]) -> Array | float:
        """Return sum over parents p of |A_vp| c_p, those that were recorded left out."""
        operation, places = step.vertex.operation, step.vertex.parents
        parts = [passed.get(p) for p in places]
        if operation is None or all(part is None for part in parts):
            return 0.0
        given = [
            np.zeros_like(x) if part is None else part for part, x in zip(parts, step.parents, strict=True)
        ]
        match operation:
            case Scale() | BatchNormalization() if self.precision.is_integer:
                # The weights of a layer into which it is folded have one scale: the largest channel's.
                t = operation.at(*step.parents).norm()[0] * given[0]
            case MaxPooling():
                t = operation.forward(given[0])
            case Pointwise():
                # As far as the value can move, across kinks too.
                moves = [
                    operation.forward(step.parents[0] + sign * self.factor * given[0]) for sign in (1, -1)
                ]
                t = np.max([np.abs(move - step.value) for move in moves], axis=0) / self.factor
            case LayerNormalization() | Softmax():
                size = np.sqrt(np.sum(given[0] ** 2, axis=tuple(range(1, given[0].ndim)), keepdims=True))
                t = operation.at(*step.parents).norm()[0] * size
            case _:
                t = _absolute(operation).at(*map(np.abs, step.parents)).jvp(*given)
        return np.asarray(t)


def terms(vertex: Vertex, graph: Graph) -> int:
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


def _squared(operation: Dense | Convolution, weight: Array) -> Dense | Convolution:
    """Return the operation whose value at x^2 is |W o x|_2^2, by entry."""
    return replace(operation, weight=weight**2, bias=None)


def _absolute(operation: Operation) -> Operation:
    """Return the operation whose value at |x| is |A||x| + |c|, of a normalisation |A|(|x| + |mean|) + |c|.

    Most that have no parameters have no sign to lose.
    """
    if isinstance(operation, Subtract):
        return Add()
    if not isinstance(operation, Dense | Convolution | Scale | BatchNormalization):
        return operation
    changed: dict[str, Any] = {name: np.abs(array) for name, array in operation.parameters.items()}
    if isinstance(operation, BatchNormalization):
        changed["mean"] = -np.abs(operation.mean)
    return replace(operation, **changed)
