"""Pooling: the largest entry of every window, or the mean of its entries."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.operation import Kind
from sheafcli.core.operations.convolution import Depthwise
from sheafcli.core.operations.maps import Maps
from sheafcli.core.operations.parameters import check_axis
from sheafcli.core.operations.windows import Padding, PerAxis, Windows
from sheafcli.core.types import Array, Shape


@dataclass(frozen=True)
class Pooling:
    """One number a window of an image, channels x spatial axes, channel by channel.

    `kernel` has a length an axis. `stride`, by default the kernel, `padding` and `dilation` are one number
    for all axes or one an axis; padding may be a pair (before, after) an axis. With `ceil` a last window
    may stand over the end.
    """

    kernel: Shape
    stride: PerAxis | None = None
    padding: Padding = 0
    dilation: PerAxis = 1
    ceil: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.kernel, tuple | list):
            raise ValueError(f"kernel must have a length for every axis, got {self.kernel!r}")
        object.__setattr__(self, "kernel", self.windows.kernel)

    @property
    def windows(self) -> Windows:
        """Where it looks."""
        stride = self.kernel if self.stride is None else self.stride
        return Windows.of(self.kernel, stride, self.padding, self.dilation, ceil=self.ceil)

    def shape(self, parent: Shape) -> Shape:
        """Return channels x places of the window."""
        axes = len(self.kernel)
        if len(parent) != axes + 1:
            raise ValueError(f"images must be channels x {axes} axes, got shape {parent}")
        if not self.windows.see(parent[1:]):
            raise ValueError(f"with the padding {self.windows.padding} some windows see nothing of the image")
        return (parent[0], *self.windows.out(parent[1:]))


@dataclass(frozen=True)
class MaxPooling(Pooling):
    """The largest entry of every window, the first in C order of those that are equal; padding never is."""

    kind: ClassVar[Kind] = "pool"

    def forward(self, x: Array) -> Array:
        """Return the largest entries."""
        y = np.full((*x.shape[:2], *self.windows.out(x.shape[2:])), -np.inf, dtype=x.dtype)
        for image, place in self.windows.taps(x.shape[2:]):
            here = y[place]
            np.maximum(here, x[image], out=here)
        return y

    def at(self, x: Array) -> Maps:
        """Return the map that takes from every window its largest entry.

        Its norm is the root of how many windows an entry lies in.
        """
        winner, windows, spatial = self.pattern(x), self.windows, x.shape[2:]

        def taken(dx: Array) -> Array:
            y: Array = np.zeros((*dx.shape[: dx.ndim - len(spatial)], *winner.shape[2:]), dtype=dx.dtype)
            for k, (image, place) in enumerate(windows.taps(spatial)):
                y[place] += dx[image] * (winner[place] == k)
            return y

        def back(v: Array) -> tuple[Array]:
            dx: Array = np.zeros((*v.shape[: v.ndim - len(spatial)], *spatial), dtype=v.dtype)
            for k, (image, place) in enumerate(windows.taps(spatial)):
                dx[image] += v[place] * (winner[place] == k)
            return (dx,)

        return Maps(taken, back, lambda: (math.sqrt(windows.overlap),))

    def pattern(self, x: Array) -> NDArray[np.integer[Any]]:
        """Return which entry of its window is the largest."""
        y = np.full((*x.shape[:2], *self.windows.out(x.shape[2:])), -np.inf, dtype=x.dtype)
        few = math.prod(self.kernel) <= np.iinfo(np.uint8).max
        winner: NDArray[np.integer[Any]] = np.zeros(y.shape, dtype=np.uint8 if few else np.int32)
        for k, (image, place) in enumerate(self.windows.taps(x.shape[2:])):
            here, which, candidate = y[place], winner[place], x[image]
            # Entries come in order, so whichever is larger has the larger number: nothing branches.
            np.maximum(which, (candidate > here) * winner.dtype.type(k), out=which)
            np.maximum(here, candidate, out=here)
        return winner


@dataclass(frozen=True)
class AveragePooling(Pooling):
    """The mean of every window.

    The zeros imagined in the padding count as entries if `count_padding` is true; what a last window has
    beyond the padding never does.
    """

    count_padding: bool = True
    kind: ClassVar[Kind] = "exact"

    def forward(self, x: Array) -> Array:
        """Return the means."""
        return self.at(x).jvp(x)

    def at(self, x: Array) -> Maps:
        """Return the same map at all values: a sum over every window, divided by how many entries count."""
        windows, (channels, *spatial) = self.windows, x.shape[1:]
        counts = _counts(windows, tuple(spatial))
        if self.count_padding:
            # With the padding as part of the image, the same windows see all that counts.
            wide = tuple(n + low + high for n, (low, high) in zip(spatial, windows.padding, strict=True))
            unpadded = replace(windows, padding=((0, 0),) * len(wide))
            counts = _counts(unpadded, wide)[tuple(slice(0, n) for n in counts.shape)]
        counts = counts.astype(x.dtype)
        ones = np.ones((channels, 1, *windows.kernel), dtype=x.dtype)
        sums = Depthwise(ones, windows, channels, tuple(spatial))

        def norm() -> tuple[float]:
            """Return the root of the largest sum of a column, since no row sums to more than 1."""
            rows = np.broadcast_to(1.0 / counts, (channels, *counts.shape))
            return (float(np.sqrt(np.max(sums.vjp(rows)[0]))),)

        return Maps(lambda dx: sums.jvp(dx) / counts, lambda v: sums.vjp(v / counts), norm)


def _counts(windows: Windows, spatial: Shape) -> Array:
    """Return how many entries of the image every window sees."""
    counts: Array = np.zeros(windows.out(spatial))
    for _, place in windows.taps(spatial):
        counts[place] += 1.0
    return counts


@dataclass(frozen=True)
class Mean:
    """The mean along some axes of the stalk, counted from the end, which stay as axes of length 1.

    Over the spatial axes of an image it is global average pooling.
    """

    axes: Shape
    kind: ClassVar[Kind] = "exact"

    def shape(self, parent: Shape) -> Shape:
        """Return the shape with 1 for those axes."""
        for axis in self.axes:
            check_axis(axis, parent)
        if len(set(self.axes)) < len(self.axes):
            raise ValueError(f"the axes {self.axes} have one twice")
        return tuple(1 if axis - len(parent) in self.axes else n for axis, n in enumerate(parent))

    def forward(self, x: Array) -> Array:
        """Return the means."""
        return np.asarray(x.mean(axis=self.axes, keepdims=True))

    def at(self, x: Array) -> Maps:
        """Return the same map at all values."""
        axes, parent = self.axes, x.shape[1:]
        count = math.prod(parent[axis] for axis in axes)

        def back(v: Array) -> tuple[Array]:
            return (np.broadcast_to(v / count, (*v.shape[: v.ndim - len(parent)], *parent)),)

        return Maps(self.forward, back, lambda: (1.0 / math.sqrt(count),))
