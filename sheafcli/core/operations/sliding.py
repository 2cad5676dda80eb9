"""The fast way to correlate images with a kernel that moves by one entry.

In a padded image laid out as one row, what an entry of the kernel meets is the same row, shifted. So the last
axis of the kernel becomes shifted copies of the row, and along its other axes products with parts of the same
copies are added up. Places where the kernel would stand over the end of a line are computed in vain, and left
out.
"""

from __future__ import annotations

import math

import numpy as np

from sheafcli.core.blocks import blocks
from sheafcli.core.operations.windows import Index
from sheafcli.core.types import Array, Shape

# Entries of the arrays that are multiplied at a time: they should stay in a processor's cache.
ENTRIES = 1 << 18


class Slide:
    """A correlation with a kernel, groups x outputs a group x channels a group x axes, prepared for images.

    `spatial` is the images' size, `padding` what is imagined before and after each axis, none below 0.
    """

    def __init__(
        self, kernel: Array, padding: tuple[tuple[int, int], ...], dilation: Shape, spatial: Shape
    ) -> None:
        groups, outputs, channels, *size = kernel.shape
        self.padded = [n + low + high for n, (low, high) in zip(spatial, padding, strict=True)]
        self.places = [n - d * (k - 1) for n, k, d in zip(self.padded, size, dilation, strict=True)]
        # What is imagined after a line may be what is imagined before the next; after the last, it follows.
        line = max(spatial[-1] + max(padding[-1]), self.places[-1])
        self.tail = max(0, self.padded[-1] - line)
        self.padded[-1] = line
        # How far apart in the row are neighbours along each axis, and where does the last place lie?
        self.apart = [math.prod(self.padded[axis + 1 :]) for axis in range(len(self.padded))]
        self.end = 1 + sum(step * (n - 1) for step, n in zip(self.apart, self.places, strict=True))
        self.inside: Index | None = None
        if np.any(padding):
            self.inside = (..., *(slice(low, low + n) for n, (low, _) in zip(spatial, padding, strict=True)))
        self.copies = [k * dilation[-1] for k in range(size[-1])]
        steps = [step * d for step, d in zip(self.apart[:-1], dilation[:-1], strict=True)]
        self.shifts = [
            sum(k * step for k, step in zip(tap, steps, strict=True)) for tap in np.ndindex(*size[:-1])
        ]
        # A matrix a shift: groups x outputs x (last axis x channels).
        last_first = np.moveaxis(kernel, -1, 2).reshape(
            groups, outputs, size[-1] * channels, len(self.shifts)
        )
        self.weights = list(np.ascontiguousarray(np.moveaxis(last_first, -1, 0)))

    def __call__(self, images: Array) -> Array:
        """Return images x groups x outputs a group x places, of images x groups x channels a group x axes."""
        groups, outputs, width = self.weights[0].shape
        y = np.empty((len(images), groups, outputs, *self.places), dtype=images.dtype)
        whole: Index = (..., *(slice(n) for n in self.places))
        entries = groups * (math.prod(self.padded) + self.tail) * (width + outputs)
        for block in blocks(len(images), entries, ENTRIES):
            rows = self._rows(images[block])
            wide = np.empty((len(rows), groups, outputs, self.places[0] * self.apart[0]), dtype=images.dtype)
            total = wide[..., : self.end]
            np.matmul(self.weights[0], rows[..., : self.end], out=total)
            for weight, shift in zip(self.weights[1:], self.shifts[1:], strict=True):
                total += np.matmul(weight, rows[..., shift : shift + self.end])
            y[block] = wide.reshape(*wide.shape[:3], self.places[0], *self.padded[1:])[whole]
        return y

    def _rows(self, images: Array) -> Array:
        """Return padded images as rows, each with its shifted copies: images x groups x width x length."""
        rows = images.reshape(*images.shape[:3], -1)
        if self.inside is not None:
            length = math.prod(self.padded)
            rows = np.zeros((*images.shape[:3], length + self.tail), dtype=images.dtype)
            # A view, since it only splits an axis.
            rows[..., :length].reshape(*images.shape[:3], *self.padded)[self.inside] = images
        if len(self.copies) == 1:
            return rows
        n, groups, channels, length = rows.shape
        copies = np.empty((n, groups, len(self.copies), channels, length), dtype=images.dtype)
        for k, shift in enumerate(self.copies):
            copies[:, :, k, :, : length - shift] = rows[..., shift:]
        return copies.reshape(n, groups, -1, length)
