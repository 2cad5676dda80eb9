"""What another run of a network may err by where all is well: each operation's own rounding, entry by entry.

An operation that sums m terms in a precision of unit u errs by lambda t_v at most, by entry,

    t_v = u sqrt(m + 4) s_v + sum over parents not recorded of |A_vp| t_p,     s_v = |A_v||x_pa(v)| + |c_v|

(4 for the rounding of parameters, inputs, bias and result), with probability 1 - 2 exp(-lambda^2 / 2) (Higham
and Mary, SIAM J. Sci. Comput. 41, 2019). Of N entries none exceeds it with probability 1 - delta where
lambda = sqrt(2 log(2 N / delta)).

*Short formats.* Layers in bfloat16 or float16 mostly sum in float32, of unit w. Then, by Hoeffding's
inequality for the rounding of their parameters and inputs, and with that of product and sum, which is sure,

    t_v = w sqrt(m + 4) s_v + u sqrt(2) |W o x|_2 + 2 u (|x_v| + |b|) / lambda.

*8-bit integers.* They are multiplied and summed as exactly as in float32. A value on steps of size h errs by
h / 2, for certain, and where the steps end it may be cut by lambda h. Weights, and inputs inside a layer, may
be rounded to steps h_W and h_x; by Hoeffding's inequality that gives

    t_v = w sqrt(m + 4) s_v + h_W |x|_2 / 2 + h_x |W|_2 / 2 + h / (2 lambda).

The steps of values are those on which they lie. h_W = max |W| / 127 is that of one scale for all of a layer's
weights, h_x is for inputs that do not lie on steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
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
    steps = (levels - levels[0]) / np.min(np.diff(levels))
    on_steps = steps[-1] < LEVELS and np.all(np.abs(steps - np.rint(steps)) < ON_STEP)
    return float((levels[-1] - levels[0]) / np.rint(steps[-1])) if on_steps else None


@dataclass(frozen=True, eq=False)
class Rounding:
    """t_v of the operations of a graph in a precision; `factor` is lambda."""

    graph: Graph
    precision: Precision
    factor: float

    @classmethod
    def of(cls, graph: Graph, precision: Precision, entries: int) -> Rounding:
        """Return the rounding with the lambda of so many entries."""
        return cls(graph, precision, math.sqrt(2.0 * math.log(2.0 * entries / FALSE_ALARM)))

    def __call__(self, step: Step, passed: Mapping[int, Array], recorded: Array | None) -> Array:
        """Return t_v, samples x stalk, where `passed` are t_p of the parents that were not recorded."""
        t = self._own(step) + self._inherited(step, passed)
        if self.precision.is_integer:
            t = t + self._steps(step, recorded)
        return np.asarray(np.maximum(t, self.precision.tiny))

    def of_input(self, X: Array, recorded: Array) -> Array:
        """Return t of an input that is rounded to the precision."""
        t = 2.0 * self.precision.unit * np.abs(X)
        if self.precision.is_integer:
            t = t + self._of_steps(X, recorded)
        return np.maximum(t, self.precision.tiny)

    def _own(self, step: Step) -> Array:
        """Return u sqrt(m + 4) s_v, or what stands in its place for a layer that sums in another unit."""
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
        root = math.sqrt(terms(step.vertex, self.graph) + ROUNDINGS)
        unit, sums = self.precision.unit, self.precision.sums
        if sums == unit or not isinstance(operation, Dense | Convolution):
            return unit * root * size
        last = np.abs(step.value)
        if operation.bias is not None:
            last = last + np.abs(replace(operation, weight=np.zeros_like(operation.weight)).forward(*sizes))
        parts = np.sqrt(2.0 * _squared(operation, operation.weight).forward(sizes[0] ** 2))
        return np.asarray(sums * root * size + unit * (parts + 2.0 * last / self.factor))

    def _steps(self, step: Step, recorded: Array | None) -> Array | float:
        """Return what the steps of 8 bits come to: of the value, and inside a layer."""
        operation, t = step.vertex.operation, np.zeros(())
        if isinstance(operation, Dense | Convolution):
            (x,) = step.parents
            weights = np.full_like(operation.weight, np.max(np.abs(operation.weight)) / (LEVELS - 2))
            t = t + np.sqrt(_squared(operation, weights).forward(x**2))
            if step_of(x) is None:  # rounded inside the layer
                inputs = np.full_like(x[:1], np.ptp(x) / (2 * (LEVELS - 1)))
                t = t + np.sqrt(_squared(operation, operation.weight).forward(inputs**2))
        if isinstance(operation, BatchNormalization):
            factor = np.full_like(operation.factor, np.max(np.abs(operation.factor)) / (LEVELS - 2))
            t = t + np.abs(
                replace(operation, factor=factor, offset=np.zeros_like(operation.offset)).forward(
                    *step.parents
                )
            )
        if recorded is None:
            return t if self._is_fused(step.vertex) else t + np.ptp(step.value) / (2 * (LEVELS - 1))
        return t + self._of_steps(step.value, recorded)

    def _of_steps(self, made: Array, recorded: Array) -> Array:
        """Return h / (2 lambda), and h for what is cut where the steps end."""
        size = step_of(recorded) or 0.0
        low, high = np.min(recorded), np.max(recorded)
        if low == high:
            # All is rounded to one step, and nothing tells how far it is to the next.
            size = 2.0 * float(np.max(np.abs(made - recorded)))
        is_cut = ((recorded == high) & (made > high)) | ((recorded == low) & (made < low))
        return np.where(is_cut, size, size / (2.0 * self.factor))

    def _is_fused(self, vertex: Vertex) -> bool:
        """Return whether what reads a vertex is mostly fused into it, so that it has no steps of its own."""
        readers = [self.graph.vertices[index] for index in self.graph.readers.get(vertex.index, ())]
        kinds = BatchNormalization | Scale | PiecewiseLinear
        return len(readers) == 1 and isinstance(readers[0].operation, kinds)

    def _inherited(self, step: Step, passed: Mapping[int, Array]) -> Array | float:
        """Return sum over parents p of |A_vp| t_p, those that were recorded left out."""
        operation, places = step.vertex.operation, step.vertex.parents
        parts = [passed.get(p) for p in places]
        if operation is None or all(part is None for part in parts):
            return 0.0
        zeros = [np.zeros_like(x) for x in step.parents]
        given = [zero if part is None else part for part, zero in zip(parts, zeros, strict=True)]
        match operation:
            case Scale() | BatchNormalization() if self.precision.is_integer:
                # The weights of a layer into which it is folded have one scale: the largest channel's.
                t = operation.at(*step.parents).norm()[0] * given[0]
            case Dense() | Convolution() | Scale() | BatchNormalization():
                t = _absolute(operation).at(*step.parents).jvp(*given)
            case MatrixProduct():
                t = operation.at(*map(np.abs, step.parents)).jvp(*given)
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
                at = operation.at(*step.parents)
                alone = ([*zeros[:i], part, *zeros[i + 1 :]] for i, part in enumerate(given))
                t = np.sum([np.abs(at.jvp(*parts)) for parts in alone], axis=0)
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


def _absolute(
    operation: Dense | Convolution | Scale | BatchNormalization,
) -> Dense | Convolution | Scale | BatchNormalization:
    """Return the operation whose value at |x| is |A||x| + |c|, of a normalisation |A|(|x| + |mean|) + |c|."""
    changed: dict[str, Any] = {name: np.abs(array) for name, array in operation.parameters.items()}
    if isinstance(operation, BatchNormalization):
        changed["mean"] = -np.abs(operation.mean)
    return replace(operation, **changed)
