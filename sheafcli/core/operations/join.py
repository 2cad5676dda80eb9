"""Operations of several values: sums, differences, concatenation; products of entries and of matrices."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sheafcli.core.operation import Kind
from sheafcli.core.operations.parameters import check_axis
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
        return self.at(*x).jvp(*x)

    def at(self, *x: Array) -> Sum:
        """Return the same maps at all values."""
        return Sum(tuple(value.shape[1:] for value in x), (1,) * len(x))


@dataclass(frozen=True)
class Subtract:
    """The first value minus the second; an axis of length 1 is repeated to the other's length."""

    kind: ClassVar[Kind] = "exact"

    def shape(self, first: Shape, second: Shape) -> Shape:
        """Return the shape that both broadcast to."""
        return broadcast(first, second)

    def forward(self, first: Array, second: Array) -> Array:
        """Return the difference."""
        return first - second

    def at(self, first: Array, second: Array) -> Sum:
        """Return the same maps at all values."""
        return Sum((first.shape[1:], second.shape[1:]), (1, -1))


@dataclass(frozen=True)
class Sum:
    """The sum of stalks of these shapes, each with its sign, broadcast to one shape."""

    parents: tuple[Shape, ...]
    signs: tuple[int, ...]

    def jvp(self, *dx: Array) -> Array:
        """Return the sum."""
        total = dx[0]
        for value, sign in zip(dx[1:], self.signs[1:], strict=True):
            total = total + value if sign > 0 else total - value
        return np.asarray(total)

    def vjp(self, v: Array) -> tuple[Array, ...]:
        """Return v for every parent, summed where it was repeated, with its sign."""
        parts = (narrowed(v, shape) for shape in self.parents)
        return tuple(part if sign > 0 else -part for part, sign in zip(parts, self.signs, strict=True))

    def norm(self) -> tuple[float, ...]:
        """Return the roots of how often entries are repeated."""
        size = math.prod(broadcast(*self.parents))
        return tuple(math.sqrt(size / math.prod(shape)) for shape in self.parents)


@dataclass(frozen=True)
class Concatenate:
    """Values side by side along an axis of the stalk, counted from the end: -3 for an image's channels."""

    axis: int
    kind: ClassVar[Kind] = "exact"

    def shape(self, *parents: Shape) -> Shape:
        """Return the shape with the lengths along the axis added up."""
        check_axis(self.axis, parents[0])
        place = len(parents[0]) + self.axis
        if any(
            (*s[:place], *s[place + 1 :]) != (*parents[0][:place], *parents[0][place + 1 :]) for s in parents
        ):
            raise ValueError(f"the shapes {_listed(parents)} differ in more than axis {self.axis}")
        return (*parents[0][:place], sum(shape[place] for shape in parents), *parents[0][place + 1 :])

    def forward(self, *x: Array) -> Array:
        """Return the values one after the other."""
        return np.concatenate(x, axis=self.axis)

    def at(self, *x: Array) -> Concatenated:
        """Return the same maps at all values."""
        return Concatenated(self.axis, tuple(value.shape[1:] for value in x))


@dataclass(frozen=True)
class Concatenated:
    """The linear map of a concatenation of stalks of these shapes."""

    axis: int
    parents: tuple[Shape, ...]

    def jvp(self, *dx: Array) -> Array:
        """Return them one after the other."""
        return np.concatenate(dx, axis=self.axis)

    def vjp(self, v: Array) -> tuple[Array, ...]:
        """Return the parts of v."""
        ends = np.cumsum([shape[self.axis] for shape in self.parents])[:-1]
        return tuple(np.split(v, ends, axis=self.axis))

    def norm(self) -> tuple[float, ...]:
        """Return 1 for every parent."""
        return (1.0,) * len(self.parents)


@dataclass(frozen=True)
class Multiply:
    """The product of two values, entry by entry; an axis of length 1 is repeated to the other's length."""

    kind: ClassVar[Kind] = "multiply"

    def shape(self, first: Shape, second: Shape) -> Shape:
        """Return the shape that both broadcast to."""
        return broadcast(first, second)

    def forward(self, first: Array, second: Array) -> Array:
        """Return the product."""
        return np.asarray(first * second)

    def at(self, first: Array, second: Array) -> Product:
        """Return diag(second) and diag(first)."""
        return Product(first, second)


@dataclass(frozen=True, eq=False)
class Product:
    """d(x y) = y dx + x dy, entry by entry."""

    first: Array
    second: Array

    def jvp(self, dx: Array, dy: Array) -> Array:
        """Return y dx + x dy."""
        return np.asarray(dx * self.second + self.first * dy)

    def vjp(self, v: Array) -> tuple[Array, Array]:
        """Return y v and x v, summed where a value was repeated."""
        shapes = self.first.shape[1:], self.second.shape[1:]
        return narrowed(v * self.second, shapes[0]), narrowed(v * self.first, shapes[1])

    def norm(self) -> tuple[float, float]:
        """Return max |y| and max |x|, times the roots of how often entries are repeated."""
        x, y = self.first, self.second
        size = math.prod(broadcast(x.shape[1:], y.shape[1:]))
        by_y, by_x = float(np.max(np.abs(y))), float(np.max(np.abs(x)))
        return by_y * math.sqrt(size / x[0].size), by_x * math.sqrt(size / y[0].size)


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

    def at(self, first: Array, second: Array) -> BilinearProduct:
        """Return the derivatives in both."""
        return BilinearProduct(first, second)


@dataclass(frozen=True, eq=False)
class BilinearProduct:
    """d(X Y) = dX Y + X dY."""

    first: Array
    second: Array

    def jvp(self, dx: Array, dy: Array) -> Array:
        """Return dX Y + X dY."""
        return np.asarray(np.matmul(dx, self.second) + np.matmul(self.first, dy))

    def vjp(self, v: Array) -> tuple[Array, Array]:
        """Return V Y^T and X^T V."""
        return (
            np.matmul(v, np.swapaxes(self.second, -1, -2)),
            np.matmul(np.swapaxes(self.first, -1, -2), v),
        )

    def norm(self) -> tuple[float, float]:
        """Return the largest |Y|_2 and |X|_2."""
        by_y, by_x = (np.linalg.norm(value, 2, axis=(-2, -1)) for value in (self.second, self.first))
        return float(np.max(by_y)), float(np.max(by_x))


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


def narrowed(v: Array, shape: Shape) -> Array:
    """Return v, (...) x stalk, summed over the axes of the stalk that are of length 1 in `shape`."""
    first = v.ndim - len(shape)
    repeated = tuple(first + i for i, n in enumerate(shape) if n == 1 and v.shape[first + i] != 1)
    return np.asarray(v.sum(axis=repeated, keepdims=True)) if repeated else v


def _listed(shapes: tuple[Shape, ...]) -> str:
    return " and ".join(map(str, shapes))
