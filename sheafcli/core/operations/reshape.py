"""Exact operations that move entries, leave some out, repeat them, or put zeros around them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from sheafcli.core.operation import Kind
from sheafcli.core.operations.maps import Maps
from sheafcli.core.operations.windows import Index
from sheafcli.core.types import Array, Shape


class Moves(ABC):
    """Every entry of the value is one of the parent's, or zero.

    A subclass says where entries go (`move`) and sends them back (`back`), both for any number of axes
    before those of the stalk; the restriction follows, the same at all values.
    """

    kind: ClassVar[Kind] = "exact"

    @abstractmethod
    def shape(self, parent: Shape) -> Shape:
        """Return the shape of the value, or raise ValueError."""

    @abstractmethod
    def move(self, x: Array, parent: Shape) -> Array:
        """Return the value of x, (...) x the parent's stalk."""

    @abstractmethod
    def back(self, v: Array, parent: Shape) -> Array:
        """Return every entry of v, (...) x own stalk, where it came from, added up."""

    def forward(self, x: Array) -> Array:
        """Return the entries moved."""
        return self.move(x, x.shape[1:])

    def at(self, x: Array) -> Maps:
        """Return the same map at all values; its norm is the root of how often an entry is repeated."""
        parent = x.shape[1:]
        return Maps(
            lambda dx: self.move(dx, parent),
            lambda v: (self.back(v, parent),),
            lambda: (float(np.sqrt(np.max(self.back(np.ones(self.shape(parent)), parent)))),),
        )


@dataclass(frozen=True)
class Identity(Moves):
    """x itself, as of a dropout that is not at work."""

    def shape(self, parent: Shape) -> Shape:
        """Return the same shape."""
        return parent

    def move(self, x: Array, parent: Shape) -> Array:
        """Return x."""
        return x

    def back(self, v: Array, parent: Shape) -> Array:
        """Return v."""
        return v


@dataclass(frozen=True)
class Reshape(Moves):
    """The same entries in the same order in a `target` shape, in which one length may be -1: the rest."""

    target: Shape

    def shape(self, parent: Shape) -> Shape:
        """Return the target with its -1 filled in."""
        known = math.prod(n for n in self.target if n != -1)
        rest = math.prod(parent) // known if known > 0 else 0
        shape = tuple(rest if n == -1 else n for n in self.target)
        if self.target.count(-1) > 1 or min(shape, default=1) < 1 or math.prod(shape) != math.prod(parent):
            raise ValueError(
                f"{math.prod(parent)} entries of shape {parent} do not fill the shape {self.target}"
            )
        return shape

    def move(self, x: Array, parent: Shape) -> Array:
        """Return x in the target's shape."""
        return x.reshape(*_before(x, parent), *self.shape(parent))

    def back(self, v: Array, parent: Shape) -> Array:
        """Return v in the parent's shape."""
        return v.reshape(*v.shape[: v.ndim - len(self.target)], *parent)


@dataclass(frozen=True)
class Flatten(Reshape):
    """All entries of a stalk as one vector."""

    target: Shape = field(default=(-1,), init=False)


@dataclass(frozen=True)
class Transpose(Moves):
    """The axes of the stalk in another order: axis i of the value is axis order[i], counted from the end."""

    order: Shape

    def shape(self, parent: Shape) -> Shape:
        """Return the lengths in the new order."""
        if sorted(self.order) != list(range(-len(parent), 0)):
            raise ValueError(
                f"the axes {self.order} are not all of {tuple(range(-len(parent), 0))}, each once"
            )
        return tuple(parent[axis] for axis in self.order)

    def move(self, x: Array, parent: Shape) -> Array:
        """Return x with its last axes in the new order."""
        return _permuted(x, self.order)

    def back(self, v: Array, parent: Shape) -> Array:
        """Return v with its last axes in the old order."""
        n = len(self.order)
        return _permuted(v, [self.order.index(axis) - n for axis in range(-n, 0)])


@dataclass(frozen=True)
class Pad(Moves):
    """Zeros around the last axes: `widths` is a pair (before, after) for each of them."""

    widths: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        if any(len(pair) != 2 or min(pair) < 0 for pair in self.widths):
            raise ValueError(f"widths must be pairs of numbers, none below 0, got {self.widths}")

    def shape(self, parent: Shape) -> Shape:
        """Return the lengths with what is put around them."""
        if len(self.widths) > len(parent):
            raise ValueError(f"widths for {len(self.widths)} axes do not fit the shape {parent}")
        first = len(parent) - len(self.widths)
        ends = zip(parent[first:], self.widths, strict=True)
        return (*parent[:first], *(n + low + high for n, (low, high) in ends))

    def move(self, x: Array, parent: Shape) -> Array:
        """Return x with zeros around it."""
        return np.pad(x, [(0, 0)] * (x.ndim - len(self.widths)) + list(self.widths))

    def back(self, v: Array, parent: Shape) -> Array:
        """Return v without what was put around."""
        first = len(parent) - len(self.widths)
        inner = zip(parent[first:], self.widths, strict=True)
        index: Index = (..., *(slice(low, low + n) for n, (low, _) in inner))
        return v[index]


@dataclass(frozen=True)
class Slice(Moves):
    """Some of the entries along the last axes: `slices` is one for each of them, steps may be negative."""

    slices: tuple[slice, ...]

    def shape(self, parent: Shape) -> Shape:
        """Return how many entries each slice has."""
        if len(self.slices) > len(parent):
            raise ValueError(f"{len(self.slices)} slices do not fit the shape {parent}")
        first = len(parent) - len(self.slices)
        lengths = [len(range(n)[part]) for n, part in zip(parent[first:], self.slices, strict=True)]
        if 0 in lengths:
            raise ValueError(f"the slices {self.slices} leave nothing of the shape {parent}")
        return (*parent[:first], *lengths)

    def move(self, x: Array, parent: Shape) -> Array:
        """Return those entries."""
        return x[self._index]

    def back(self, v: Array, parent: Shape) -> Array:
        """Return v among zeros."""
        x = np.zeros((*_before(v, self.shape(parent)), *parent), dtype=v.dtype)
        x[self._index] = v
        return x

    @property
    def _index(self) -> Index:
        return (..., *self.slices)


@dataclass(frozen=True)
class Upsample(Moves):
    """Every entry repeated along the last axes, `factors` times along each of them (nearest neighbour)."""

    factors: Shape

    def __post_init__(self) -> None:
        if not self.factors or min(self.factors) < 1:
            raise ValueError(f"factors must be whole numbers of at least 1, got {self.factors}")

    def shape(self, parent: Shape) -> Shape:
        """Return the lengths times the factors."""
        first = len(parent) - len(self.factors)
        if first < 0:
            raise ValueError(f"factors for {len(self.factors)} axes do not fit the shape {parent}")
        return (*parent[:first], *(n * k for n, k in zip(parent[first:], self.factors, strict=True)))

    def move(self, x: Array, parent: Shape) -> Array:
        """Return x repeated."""
        for axis, factor in zip(range(-len(self.factors), 0), self.factors, strict=True):
            x = np.repeat(x, factor, axis=axis)
        return x

    def back(self, v: Array, parent: Shape) -> Array:
        """Return the sums over the copies of every entry."""
        first = len(parent) - len(self.factors)
        pairs = [n for pair in zip(parent[first:], self.factors, strict=True) for n in pair]
        copies = v.reshape(*v.shape[: v.ndim - len(self.factors)], *pairs)
        return np.asarray(copies.sum(axis=tuple(range(1 - len(pairs), 0, 2))))


def _before(x: Array, stalk: Sequence[int]) -> Shape:
    """Return the lengths of the axes before those of a stalk."""
    return x.shape[: x.ndim - len(stalk)]


def _permuted(x: Array, order: Sequence[int]) -> Array:
    first = x.ndim - len(order)
    return np.transpose(x, (*range(first), *(x.ndim + axis for axis in order)))
