"""Operations of several values: sums, differences, concatenation; products of entries and of matrices."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sheafcli.core.operation import Kind
from sheafcli.core.operations.maps import Maps
from sheafcli.core.operations.parameters import check_axis, narrowed
from sheafcli.core.types import Array, Shape


@dataclass(frozen=True)
class Add:
    """The sum of two values or more; an axis of length 1 is repeated to the others' length."""

    kind: ClassVar[Kind] = "exact"

    def shape(self, *parents: Shape) -> Shape:
        """Return the shape that all broadcast to."""
        return broadcast(*parents)

    def forward(self, *x: Array) -> Array:
        """Return the sum."""
        return np.asarray(sum(x[1:], start=x[0]))

    def at(self, *x: Array) -> Maps:
        """Return the same maps at all values."""
        shapes = _stalks(x)
        return Maps(
            self.forward, lambda v: tuple(narrowed(v, shape) for shape in shapes), lambda: repeated(*shapes)
        )


class OfTwo:
    """An operation of two values, entry by entry; an axis of length 1 is repeated to the other's length."""

    def shape(self, first: Shape, second: Shape) -> Shape:
        """Return the shape that both broadcast to."""
        return broadcast(first, second)


@dataclass(frozen=True)
class Subtract(OfTwo):
    """The first value minus the second."""

    kind: ClassVar[Kind] = "exact"

    def forward(self, first: Array, second: Array) -> Array:
        """Return the difference."""
        return first - second

    def at(self, first: Array, second: Array) -> Maps:
        """Return the same maps at all values."""
        shapes = _stalks((first, second))
        return Maps(
            self.forward,
            lambda v: (narrowed(v, shapes[0]), -narrowed(v, shapes[1])),
            lambda: repeated(*shapes),
        )


@dataclass(frozen=True)
class Concatenate:
    """Values side by side along an axis of the stalk, counted from the end: -3 for an image's channels."""

    axis: int
    kind: ClassVar[Kind] = "exact"

    def shape(self, *parents: Shape) -> Shape:
        """Return the shape with the lengths along the axis added up."""
        check_axis(self.axis, parents[0])
        place = len(parents[0]) + self.axis
        if len({(*shape[:place], None, *shape[place + 1 :]) for shape in parents}) > 1:
            raise ValueError(f"the shapes {_listed(parents)} differ in more than axis {self.axis}")
        return (*parents[0][:place], sum(shape[place] for shape in parents), *parents[0][place + 1 :])

    def forward(self, *x: Array) -> Array:
        """Return the values one after the other."""
        return np.concatenate(x, axis=self.axis)

    def at(self, *x: Array) -> Maps:
        """Return the same maps at all values."""
        ends, n = np.cumsum([value.shape[self.axis] for value in x])[:-1], len(x)
        return Maps(self.forward, lambda v: tuple(np.split(v, ends, axis=self.axis)), lambda: (1.0,) * n)


@dataclass(frozen=True)
class Multiply(OfTwo):
    """The product of two values, entry by entry."""

    kind: ClassVar[Kind] = "multiply"

    def forward(self, first: Array, second: Array) -> Array:
        """Return the product."""
        return np.asarray(first * second)

    def at(self, first: Array, second: Array) -> Maps:
        """Return d(x y) = y dx + x dy."""

        def norm() -> tuple[float, ...]:
            largest = (float(np.max(np.abs(value))) for value in (second, first))
            return tuple(a * b for a, b in zip(largest, repeated(*_stalks((first, second))), strict=True))

        return Maps(
            lambda dx, dy: np.asarray(dx * second + first * dy),
            lambda v: (narrowed(v * second, first.shape[1:]), narrowed(v * first, second.shape[1:])),
            norm,
        )


@dataclass(frozen=True)
class MatrixProduct:
    """The product of two values as matrices along their last two axes; axes before, such as heads, agree."""

    kind: ClassVar[Kind] = "multiply"

    def shape(self, first: Shape, second: Shape) -> Shape:
        """Return (...) x rows of the first x columns of the second."""
        if len(first) < 2 or first[:-2] != second[:-2] or len(second) < 2 or first[-1] != second[-2]:
            raise ValueError(f"the shapes {_listed((first, second))} are not (...) x n x m and (...) x m x k")
        return (*first[:-1], second[-1])

    def forward(self, first: Array, second: Array) -> Array:
        """Return the product."""
        return np.asarray(np.matmul(first, second))

    def at(self, first: Array, second: Array) -> Maps:
        """Return d(X Y) = dX Y + X dY."""
        return Maps(
            lambda dx, dy: np.asarray(np.matmul(dx, second) + np.matmul(first, dy)),
            lambda v: (np.matmul(v, np.swapaxes(second, -1, -2)), np.matmul(np.swapaxes(first, -1, -2), v)),
            lambda: tuple(float(np.max(np.linalg.norm(A, 2, axis=(-2, -1)))) for A in (second, first)),
        )


def broadcast(*shapes: Shape) -> Shape:
    """Return the shape that stalks of these shapes broadcast to, or raise ValueError.

    All must have as many axes: NumPy would set samples against an axis of a longer stalk.
    """
    if len({len(shape) for shape in shapes}) != 1 or len(shapes) < 2:
        raise ValueError(f"two values or more with as many axes each are needed, got {_listed(shapes)}")
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise ValueError(
            f"the shapes {_listed(shapes)} do not agree, nor are lengths 1 where they differ"
        ) from None


def repeated(*shapes: Shape) -> tuple[float, ...]:
    """Return the norms of the repetitions of stalks to one shape: the roots of how often entries come."""
    size = math.prod(broadcast(*shapes))
    return tuple(math.sqrt(size / math.prod(shape)) for shape in shapes)


def _stalks(x: tuple[Array, ...]) -> tuple[Shape, ...]:
    return tuple(value.shape[1:] for value in x)


def _listed(shapes: tuple[Shape, ...]) -> str:
    return " and ".join(map(str, shapes))
