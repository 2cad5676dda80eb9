"""Affine operations without windows: dense layers, and factors and offsets entry by entry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sheafcli.core.operation import Kind
from sheafcli.core.operations.maps import Maps, diagonal
from sheafcli.core.operations.parameters import Parametrised, as_parameter, check_broadcast, like, summed_to
from sheafcli.core.types import Array, Shape


@dataclass(frozen=True, eq=False)
class Dense(Parametrised):
    """W x + b along the last axis, W outputs x inputs, b of length outputs; without b, W x alone.

    Axes before the last, such as the tokens of a sequence, are carried through.
    """

    weight: Array
    bias: Array | None = None
    kind: ClassVar[Kind] = "affine"
    learned: ClassVar[tuple[str, ...]] = ("weight", "bias")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weight.ndim != 2:
            raise ValueError(f"weight must be outputs x inputs, got shape {self.weight.shape}")
        if self.bias is not None:
            as_parameter("bias", self.bias, self.weight.shape[:1])

    def shape(self, parent: Shape) -> Shape:
        """Return the shape with `outputs` as its last length."""
        outputs, inputs = self.weight.shape
        if not parent or parent[-1] != inputs:
            raise ValueError(f"the last axis must have length {inputs}, got shape {parent}")
        return (*parent[:-1], outputs)

    def forward(self, x: Array) -> Array:
        """Return x W^T + b."""
        y = times(x, like(self.weight, x).T)
        if self.bias is not None:
            y += like(self.bias, x)
        return y

    def at(self, x: Array) -> Maps:
        """Return W along the last axis, for each of the places that the axes before it have."""
        W = like(self.weight, x)
        return Maps(
            lambda dx: times(dx, W.T), lambda v: (times(v, W),), lambda: (float(np.linalg.norm(W, 2)),)
        )

    def gradient(self, x: Array, v: Array) -> dict[str, Array]:
        """Return v^T x for the weight and the sum of v for the bias."""
        v, x = v.reshape(-1, v.shape[-1]), x.reshape(-1, x.shape[-1])
        return {"weight": v.T @ x} | ({} if self.bias is None else {"bias": v.sum(axis=0)})

    def design(self, x: Array) -> Array:
        """Return x, samples x 1 x inputs x positions."""
        return np.swapaxes(x.reshape(len(x), 1, -1, x.shape[-1]), -1, -2)

    def by_group(self, v: Array) -> Array:
        """Return v, directions x samples x own stalk, as directions x samples x 1 x outputs x positions."""
        return np.swapaxes(v.reshape(*v.shape[:2], 1, -1, v.shape[-1]), -1, -2)


def times(x: Array, matrix: Array) -> Array:
    """Return x @ matrix along the last axis of x, as one product however many axes x has."""
    rows = x.reshape(-1, x.shape[-1]) @ matrix
    return rows.reshape(*x.shape[:-1], matrix.shape[1])


@dataclass(frozen=True, eq=False)
class Scale(Parametrised):
    """factor * x + offset, both broadcast over the stalk; either may be left out, as 1 or 0.

    One factor a channel of an image has shape channels x 1 x 1.
    """

    factor: Array | None = None
    offset: Array | None = None
    kind: ClassVar[Kind] = "affine"
    learned: ClassVar[tuple[str, ...]] = ("factor", "offset")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.parameters:
            raise ValueError("a scale needs a factor or an offset")

    def shape(self, parent: Shape) -> Shape:
        """Return the same shape."""
        for name, array in self.parameters.items():
            check_broadcast(name, array, parent)
        return parent

    def forward(self, x: Array) -> Array:
        """Return factor * x + offset."""
        y = x if self.factor is None else x * like(self.factor, x)
        return y if self.offset is None else y + like(self.offset, x)

    def at(self, x: Array) -> Maps:
        """Return diag(factor)."""
        factor = np.ones((), dtype=x.dtype) if self.factor is None else like(self.factor, x)
        return diagonal(np.broadcast_to(factor, x.shape))

    def gradient(self, x: Array, v: Array) -> dict[str, Array]:
        """Return the sum of v * x for the factor and that of v for the offset."""
        parts = {"factor": v * x, "offset": v}
        return {name: summed_to(parts[name], array.shape) for name, array in self.parameters.items()}
