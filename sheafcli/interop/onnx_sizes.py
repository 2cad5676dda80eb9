"""The sizes of arrays of which not all are known: that of the sample axis never is.

A size is a whole number. One that the file leaves open stands as a negative number below -2^30, so that
shapes can be computed with as numbers are: what only moves sizes about (Shape, Gather, Concat, ...) does
not see the difference. The axis along which the samples lie has the open size SAMPLES, also where the file
fixes their number: a network does the same to each sample, so a batch of one says all.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

Shape = tuple[int, ...]

SAMPLES = -(2**30)
"""The size of the sample axis; every open size is this or below."""


def is_open(size: int) -> bool:
    """Return whether a size is left open."""
    return size <= SAMPLES


def sample_axis(shape: Shape) -> int | None:
    """Return which axis the samples lie along; None if the array is one sample."""
    return shape.index(SAMPLES) if SAMPLES in shape else None


def features(shape: Shape) -> Shape:
    """Return the sizes of one sample."""
    return tuple(size for size in shape if size != SAMPLES)


@dataclass(frozen=True)
class Product:
    """A product of sizes: a number, times open sizes with their powers."""

    number: int
    open: Counter[int]

    def __truediv__(self, other: Product) -> Product | None:
        """Return the quotient, None if there is none."""
        if other.number == 0 or self.number % other.number or not other.open <= self.open:
            return None
        return Product(self.number // other.number, self.open - other.open)

    def __mul__(self, other: Product) -> Product:
        """Return the product."""
        return Product(self.number * other.number, self.open + other.open)


@dataclass
class Sizes:
    """The open sizes of one graph, and the rules that need to know more of them than their values.

    Attributes
    ----------
    batch : the number of samples that the file fixes, None if it leaves it open.
    names : what the file calls the open sizes.
    products : open sizes that are products of others, such as of rows and columns once they stand flat.
    known : open sizes that turned out to be fixed, by the arrays that they are multiplied with.
    merged : whether samples may share an axis with features, as they do with the heads of attention.
    outer : for such axes, over how many features the samples are repeated; where it says nothing, one.
    """

    batch: int | None = None
    names: dict[str, int] = field(default_factory=dict)
    products: dict[int, Product] = field(default_factory=dict)
    known: dict[int, int] = field(default_factory=dict)
    merged: bool = False
    outer: dict[int, Product] = field(default_factory=dict)

    def holds_samples(self, size: int) -> bool:
        """Return whether an axis of this size holds the samples, alone or with features."""
        return size == SAMPLES or (size in self.products and SAMPLES in self.products[size].open)

    def named(self, name: str) -> int:
        """Return the open size of a name."""
        return self.names.setdefault(name, SAMPLES - 1 - len(self.names))

    def product(self, sizes: Iterable[int]) -> Product:
        """Return the product of sizes, in factors."""
        number, factors = 1, Counter[int]()
        for size in sizes:
            if size in self.products:
                number *= self.products[size].number
                factors += self.products[size].open
            elif is_open(size):
                factors[size] += 1
            else:
                number *= size
        return Product(number, factors)

    def single(self, product: Product) -> int | None:
        """Return a product as one size; None if samples and features are mixed in it."""
        if not product.open:
            return product.number
        if product.number == 1 and product.open.total() == 1:
            return next(iter(product.open))
        if SAMPLES in product.open and not (self.merged and product.open.total() == 1):
            return None
        factors = sorted(product.open.elements(), reverse=True)
        size = self.named("*".join(map(str, [product.number, *factors])))
        self.products[size] = product
        return size

    def equal(self, one: int, other: int) -> bool:
        """Return whether two sizes can be the same, and note what this makes known."""
        if one == other:
            return True
        if SAMPLES in (one, other) or not (is_open(one) or is_open(other)):
            return False
        open_one, fixed = (one, other) if is_open(one) else (other, one)
        self.known.setdefault(open_one, fixed)
        return True

    def reshaped(self, shape: Shape, target: Shape) -> Shape | None:
        """Return the shape that Reshape makes, with samples apart; None if it does not keep them apart.

        A fixed size in `target` may stand for the samples if it is the number of them that the file
        fixes. Where it fixes one, or its Reshape works for one only, they may lose their axis.
        """
        for source, goal in self._readings(shape, target):
            filled = self._filled(source, goal)
            made = None if filled is None else self._apart(source, filled)
            if made is not None:
                return made
        return None

    def _readings(self, shape: Shape, target: Shape) -> Iterator[tuple[Shape, Shape]]:
        yield shape, target
        if not any(map(self.holds_samples, shape)):
            return
        for axis, size in enumerate(target):
            if size == self.batch:
                yield shape, (*target[:axis], SAMPLES, *target[axis + 1 :])
        if self.batch in (1, None):
            yield one_sample(shape), one_sample(target)

    def _filled(self, shape: Shape, target: Shape) -> Shape | None:
        """Return the target with -1 in it replaced by what is left over; None if nothing whole is."""
        rest = self.product(shape) / self.product(size for size in target if size != -1)
        if rest is None:
            return None
        left = self.single(rest)
        if -1 not in target:
            return target if left == 1 else None
        if left is None or target.count(-1) > 1:
            return None
        return tuple(left if size == -1 else size for size in target)

    def _apart(self, shape: Shape, made: Shape) -> Shape | None:
        """Return a shape made of another if each sample keeps its own numbers; None if it does not.

        That is so if as many numbers stand before the samples as did, within their axis or before it.
        """
        places = [[axis for axis, size in enumerate(s) if self.holds_samples(size)] for s in (shape, made)]
        if not places[0]:
            return None if places[1] else made
        if len(places[1]) != 1:
            return None
        (old, *_), (new,) = places
        one = Product(1, Counter())
        outer = (self.product(shape[:old]) * self.outer.get(shape[old], one)) / self.product(made[:new])
        if made[new] == SAMPLES or outer is None or outer == one:
            return made if outer == one else None
        if outer.open or self.products[made[new]].number % outer.number:
            return None
        merged = self.named(f"{outer.number} outside of {made[new]}")
        self.products[merged], self.outer[merged] = self.products[made[new]], outer
        return (*made[:new], merged, *made[new + 1 :])


def one_sample(shape: Shape) -> Shape:
    """Return a shape for a batch of one."""
    return tuple(1 if size == SAMPLES else size for size in shape)


def count(shape: Shape) -> int | None:
    """Return how many numbers a sample has; None if the file leaves it open."""
    sizes = features(shape)
    return None if any(map(is_open, sizes)) else math.prod(sizes)
