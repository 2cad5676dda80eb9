"""Where a window that moves over an image looks: the geometry of convolutions and pooling."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from sheafcli.core.types import Array, Shape

PerAxis = int | Sequence[int]
Padding = int | Sequence[int] | Sequence[tuple[int, int]]
# What stands between the brackets of an array.
Index = tuple[Any, ...]


@dataclass(frozen=True)
class Windows:
    """A window of `kernel` entries an axis, `dilation` apart, that moves by `stride` from -padding[i][0].

    `padding` holds what is imagined before and after each axis. With `ceil` a last window may stand over the
    end, if it begins before the end of the padded axis (as PyTorch and ONNX have it).
    """

    kernel: Shape
    stride: Shape
    padding: tuple[tuple[int, int], ...]
    dilation: Shape
    ceil: bool = False

    @classmethod
    def of(
        cls, kernel: Shape, stride: PerAxis, padding: Padding, dilation: PerAxis, *, ceil: bool = False
    ) -> Windows:
        """Return the windows; one number stands for all axes of the kernel, and for both ends of them."""
        axes = len(kernel)
        kernel, stride = _per_axis("kernel", kernel, axes), _per_axis("stride", stride, axes)
        return cls(kernel, stride, _pairs(padding, axes), _per_axis("dilation", dilation, axes), ceil)

    def out(self, spatial: Shape) -> Shape:
        """Return how many places the window has along each axis, or raise ValueError where it has none."""
        places = []
        for n, k, s, (low, high), d in zip(
            spatial, self.kernel, self.stride, self.padding, self.dilation, strict=True
        ):
            room = n + low + high - d * (k - 1) - 1
            count = (math.ceil(room / s) if self.ceil else room // s) + 1
            # A window may not begin beyond the axis and the padding before it.
            if self.ceil and (count - 1) * s >= n + low:
                count -= 1
            if room < 0 or count < 1:
                raise ValueError(
                    f"a window of {self.kernel}, {self.dilation} apart, is larger than the image of "
                    f"{spatial} with the padding {self.padding}"
                )
            places.append(count)
        return tuple(places)

    def see(self, spatial: Shape) -> bool:
        """Return whether every window sees an entry of the image, however long kernel and padding are."""
        axes = zip(spatial, self.kernel, self.stride, self.padding, self.dilation, strict=True)
        for places, (n, k, s, (low, _), d) in zip(self.out(spatial), axes, strict=True):
            starts = s * np.arange(places) - low
            # Where each window first meets the image, if it is long enough.
            first = starts + d * np.maximum(0, -(starts // d))
            if not np.all((first < n) & (first <= starts + d * (k - 1))):
                return False
        return True

    def taps(self, spatial: Shape) -> Iterator[tuple[Index, Index]]:
        """Yield, for every entry of the kernel in C order, which entries of the image meet which places.

        Both are indices of an array's last axes, for entries of equal number; what would lie in the padding
        is left out.
        """
        axes = [
            [_meeting(n, places, k * d - low, s) for k in range(size)]
            for n, places, size, s, (low, _), d in zip(
                spatial, self.out(spatial), self.kernel, self.stride, self.padding, self.dilation, strict=True
            )
        ]
        for tap in product(*axes):
            yield (..., *(image for image, _ in tap)), (..., *(place for _, place in tap))

    @property
    def overlap(self) -> int:
        """How many windows an entry of the image lies in, at most."""
        return math.prod(
            math.ceil(k / (s // math.gcd(s, d)))
            for k, s, d in zip(self.kernel, self.stride, self.dilation, strict=True)
        )


def columns(windows: Windows, images: Array, empty: float = 0.0) -> Array:
    """Return what the windows see of images x channels x spatial: images x channels x kernel x places.

    What would lie in the padding is `empty`.
    """
    spatial = images.shape[2:]
    shape = (*images.shape[:2], math.prod(windows.kernel), *windows.out(spatial))
    seen: Array = np.full(shape, empty, dtype=images.dtype)
    for k, (image, place) in enumerate(windows.taps(spatial)):
        seen[:, :, k][place] = images[image]
    return seen


def placed(windows: Windows, seen: Array, spatial: Shape) -> Array:
    """Return the transpose of `columns`: all that windows see added up where they looked."""
    images: Array = np.zeros((*seen.shape[:2], *spatial), dtype=seen.dtype)
    for k, (image, place) in enumerate(windows.taps(spatial)):
        images[image] += seen[:, :, k][place]
    return images


def _meeting(n: int, places: int, offset: int, stride: int) -> tuple[slice, slice]:
    """Return which entries of an axis of length n meet which places p, entry p * stride + offset."""
    first = max(0, -(offset // stride))
    last = min(places, (n - 1 - offset) // stride + 1)
    if last <= first:
        return slice(0, 0), slice(0, 0)
    begin = first * stride + offset
    return slice(begin, begin + (last - first - 1) * stride + 1, stride), slice(first, last)


def _per_axis(name: str, value: PerAxis, axes: int) -> Shape:
    numbers = _tuple(value, axes)
    if len(numbers) != axes or not _whole(numbers, 1):
        raise ValueError(f"{name} must be {axes} whole numbers of at least 1, got {value}")
    return tuple(int(n) for n in numbers)


def _pairs(padding: Padding, axes: int) -> tuple[tuple[int, int], ...]:
    pairs = [_tuple(ends, 2) for ends in _tuple(padding, axes)]
    if len(pairs) != axes or any(len(pair) != 2 or not _whole(pair, 0) for pair in pairs):
        raise ValueError(
            f"padding must be one whole number of at least 0 for all axes, or one or a pair for each, "
            f"got {padding}"
        )
    return tuple((int(low), int(high)) for low, high in pairs)


def _tuple(value: Any, axes: int) -> tuple[Any, ...]:
    return (value,) * axes if np.isscalar(value) else tuple(value)


def _whole(numbers: Sequence[Any], least: int) -> bool:
    return all(isinstance(n, int | np.integer) and n >= least for n in numbers)
