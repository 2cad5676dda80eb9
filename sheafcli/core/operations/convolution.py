"""Convolutions over one to three axes, by products of matrices, in blocks that stay in a processor's cache.

A kernel that moves by one entry at a time is multiplied with shifted copies of the image, and so is its
transpose, the kernel turned round (`sliding.py`). Else what the windows see is laid out as columns and
multiplied by the weights, image by image; the transposed map multiplies first and adds the columns where they
came from. Where every group is one channel (depthwise), each entry of the kernel scales a shifted image.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from sheafcli.core.blocks import blocks
from sheafcli.core.operation import Kind
from sheafcli.core.operations.parameters import Parametrised, as_parameter, like
from sheafcli.core.operations.sliding import ENTRIES, Slide
from sheafcli.core.operations.windows import Index, Padding, PerAxis, Windows, columns, placed
from sheafcli.core.types import Array, Shape

# Channels times the last length of the kernel: below, products are too narrow for sliding to be fast.
WORTH_SLIDING = 16


@dataclass(frozen=True, eq=False)
class Convolution(Parametrised):
    """The cross-correlation of images, channels x spatial axes, with a kernel, as PyTorch and ONNX have it.

    `weight` is outputs x channels a group x kernel, `bias` of length outputs. Channels and outputs fall into
    `groups` that do not meet. `stride`, `padding` and `dilation` are one number for all axes or one an axis;
    padding may be a pair (before, after) an axis. Zeros are imagined in the padding.
    """

    weight: Array
    bias: Array | None = None
    stride: PerAxis = 1
    padding: Padding = 0
    dilation: PerAxis = 1
    groups: int = 1
    kind: ClassVar[Kind] = "affine"
    learned: ClassVar[tuple[str, ...]] = ("weight", "bias")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 3 <= self.weight.ndim <= 5:
            raise ValueError(
                f"weight must be outputs x channels a group x 1 to 3 axes, got shape {self.weight.shape}"
            )
        if self.groups < 1 or len(self.weight) % self.groups:
            raise ValueError(f"{len(self.weight)} outputs do not fall into {self.groups} groups")
        if self.bias is not None:
            as_parameter("bias", self.bias, self.weight.shape[:1])
        for name in ("stride", "padding", "dilation"):
            object.__setattr__(self, name, getattr(self.windows, name))

    @property
    def windows(self) -> Windows:
        """Where the kernel looks."""
        return Windows.of(self.weight.shape[2:], self.stride, self.padding, self.dilation)

    def shape(self, parent: Shape) -> Shape:
        """Return outputs x places of the kernel."""
        channels, axes = self.weight.shape[1] * self.groups, self.weight.ndim - 2
        if len(parent) != axes + 1 or parent[0] != channels:
            raise ValueError(f"images must be {channels} channels x {axes} axes, got shape {parent}")
        return (len(self.weight), *self.windows.out(parent[1:]))

    def forward(self, x: Array) -> Array:
        """Return the correlation plus the bias."""
        y = self.at(x).jvp(x)
        if self.bias is not None:
            y += like(self.bias, x).reshape(-1, *(1,) * (x.ndim - 2))
        return y

    def at(self, x: Array) -> Correlation:
        """Return the correlation without the bias."""
        kind = Depthwise if self.weight.shape[1] == 1 and self.groups > 1 else Correlation
        return kind(like(self.weight, x), self.windows, self.groups, x.shape[2:])

    def gradient(self, x: Array, v: Array) -> dict[str, Array]:
        """Return v times the transposed columns for the weight and the sum of v for the bias."""
        flat = v.reshape(len(v), self.groups, len(self.weight) // self.groups, -1)
        weight = np.zeros((*flat.shape[1:3], math.prod(self.weight.shape[1:])), dtype=x.dtype)
        for block in blocks(len(x), weight[0, 0].size * self.groups * flat.shape[-1], ENTRIES):
            weight += (flat[block] @ np.swapaxes(self.design(x[block]), -1, -2)).sum(axis=0)
        gradient = {"weight": weight.reshape(self.weight.shape)}
        if self.bias is not None:
            gradient["bias"] = flat.sum(axis=(0, 3)).ravel()
        return gradient

    def design(self, x: Array) -> Array:
        """Return what the kernel sees, samples x groups x (channels a group x kernel) x places."""
        places = math.prod(self.windows.out(x.shape[2:]))
        return columns(self.windows, x).reshape(len(x), self.groups, -1, places)

    def by_group(self, v: Array) -> Array:
        """Return v, directions x samples x own stalk, with groups x outputs a group x places as its stalk."""
        return v.reshape(*v.shape[:2], self.groups, len(self.weight) // self.groups, -1)


@dataclass(frozen=True, eq=False)
class Correlation:
    """The linear map of a convolution on images of the size `spatial`."""

    weight: Array
    windows: Windows
    groups: int
    spatial: Shape

    def jvp(self, dx: Array) -> Array:
        """Return the correlation with the kernel."""
        images = self._by_group(dx, self.spatial)
        y = self._multiply(images) if self._slide is None else self._slide(images)
        before = dx.shape[: dx.ndim - len(self.spatial) - 1]
        return y.reshape(*before, len(self.weight), *self.windows.out(self.spatial))

    def vjp(self, v: Array) -> tuple[Array]:
        """Return the transposed correlation."""
        values = self._by_group(v, self.windows.out(self.spatial))
        x = self._multiply_transposed(values) if self._slide_back is None else self._slide_back(values)
        before = v.shape[: v.ndim - len(self.spatial) - 1]
        return (x.reshape(*before, -1, *self.spatial),)

    def norm(self) -> tuple[float]:
        """Return |weight|_2 as outputs x columns, times the root of how many windows an entry lies in."""
        largest = max(float(np.linalg.norm(W, 2)) for W in self._matrix())
        return (math.sqrt(self.windows.overlap) * largest,)

    def _matrix(self) -> Array:
        """Return the weights as groups x outputs a group x (channels a group x kernel)."""
        return self.weight.reshape(self.groups, len(self.weight) // self.groups, -1)

    def _by_group(self, x: Array, spatial: Shape) -> Array:
        """Return x, (...) x channels x spatial, as images x groups x channels a group x spatial."""
        channels = x.shape[x.ndim - len(spatial) - 1]
        return x.reshape(-1, self.groups, channels // self.groups, *spatial)

    @cached_property
    def _slide(self) -> Slide | None:
        """The correlation by sliding, where it pays."""
        kernel = self.weight.reshape(self.groups, -1, *self.weight.shape[1:])
        return self._sliding(kernel, self.windows.padding, self.spatial)

    @cached_property
    def _slide_back(self) -> Slide | None:
        """The transposed correlation likewise: that with the kernel turned round."""
        kernel = np.swapaxes(self.weight.reshape(self.groups, -1, *self.weight.shape[1:]), 1, 2)
        turned = np.flip(kernel, axis=tuple(range(3, kernel.ndim)))
        reach = [d * (k - 1) for k, d in zip(self.windows.kernel, self.windows.dilation, strict=True)]
        padding = tuple((n - a, n - b) for n, (a, b) in zip(reach, self.windows.padding, strict=True))
        return self._sliding(turned, padding, self.windows.out(self.spatial))

    def _sliding(self, kernel: Array, padding: tuple[tuple[int, int], ...], spatial: Shape) -> Slide | None:
        """Return the correlation by sliding if the kernel moves by one entry and reads channels enough."""
        narrow = kernel.shape[2] * kernel.shape[-1] < WORTH_SLIDING
        if narrow or max(self.windows.stride) > 1 or np.min(padding) < 0:
            return None
        return Slide(kernel, padding, self.windows.dilation, spatial)

    def _multiply(self, images: Array) -> Array:
        """Return the weights times what the windows see."""
        W, places = self._matrix(), math.prod(self.windows.out(self.spatial))
        y = np.empty((len(images), *W.shape[:2], places), dtype=images.dtype)
        flat = images.reshape(len(images), -1, *self.spatial)
        for block in blocks(len(flat), W.shape[0] * W.shape[2] * places, ENTRIES):
            seen = columns(self.windows, flat[block])
            np.matmul(W, seen.reshape(len(seen), self.groups, -1, places), out=y[block])
        return y

    def _multiply_transposed(self, values: Array) -> Array:
        """Return the transposed weights times the values, added up where the windows looked."""
        W, out = np.swapaxes(self._matrix(), 1, 2), self.windows.out(self.spatial)
        channels, size = self.groups * self.weight.shape[1], math.prod(self.windows.kernel)
        x = np.empty((len(values), channels, *self.spatial), dtype=values.dtype)
        flat = values.reshape(*values.shape[:3], -1)
        for block in blocks(len(x), channels * size * math.prod(out), ENTRIES):
            seen = np.matmul(W, flat[block]).reshape(-1, channels, size, *out)
            x[block] = placed(self.windows, seen, self.spatial)
        return x


@dataclass(frozen=True, eq=False)
class Depthwise(Correlation):
    """The linear map of a convolution in which every group is one channel, shift by shift."""

    def _multiply(self, images: Array) -> Array:
        """Return the shifted images, times the entry of the kernel that meets them, added up."""
        out = self.windows.out(self.spatial)
        y = np.zeros((len(images), *self._matrix().shape[:2], *out), dtype=images.dtype)
        for block in blocks(len(images), y[0].size, ENTRIES):
            for factor, (image, place) in self._shifts():
                y[block][place] += factor * images[block][image]
        return y

    def _multiply_transposed(self, values: Array) -> Array:
        """Return the values, times the entries of the kernel, added up where these looked."""
        x = np.zeros((len(values), self.groups, *self.spatial), dtype=values.dtype)
        for block in blocks(len(values), values[0].size, ENTRIES):
            for factor, (image, place) in self._shifts():
                x[block][image] += (factor * values[block][place]).sum(axis=2)
        return x

    def _shifts(self) -> Iterator[tuple[Array, tuple[Index, Index]]]:
        """Yield every entry of the kernel, groups x outputs a group, with the tap that it is for."""
        factors = self._matrix()
        for k, tap in enumerate(self.windows.taps(self.spatial)):
            yield factors[..., k].reshape(*factors.shape[:2], *(1,) * len(self.spatial)), tap
