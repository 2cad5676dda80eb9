"""Normalisation: by statistics that are known, or by a sample's own; and softmax within a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sheafcli.core.operation import Kind
from sheafcli.core.operations.maps import Maps, diagonal
from sheafcli.core.operations.parameters import Parametrised, as_parameter, check_axis, like, summed_to
from sheafcli.core.types import Array, Shape


@dataclass(frozen=True, eq=False)
class BatchNormalization(Parametrised):
    """factor (x - mean) / sqrt(variance + epsilon) + offset by channel, the first axis of the stalk.

    The form at evaluation: mean and variance are known numbers. (Those of a batch would couple its samples,
    which a sheaf over one sample does not cover.) All four are of length channels.
    """

    factor: Array
    offset: Array
    mean: Array
    variance: Array
    epsilon: float = 1e-5
    kind: ClassVar[Kind] = "affine"
    learned: ClassVar[tuple[str, ...]] = ("factor", "offset")

    def __post_init__(self) -> None:
        for name in ("factor", "offset", "mean", "variance"):
            shape = self.factor.shape if name != "factor" else None
            object.__setattr__(self, name, as_parameter(name, getattr(self, name), shape))
        if self.factor.ndim != 1:
            raise ValueError(f"factor must be a vector, one number a channel, got shape {self.factor.shape}")
        if not np.min(self.variance) + self.epsilon > 0.0:
            raise ValueError(
                f"variance + epsilon must be above 0, got {np.min(self.variance) + self.epsilon}"
            )

    def shape(self, parent: Shape) -> Shape:
        """Return the same shape."""
        if not parent or parent[0] != len(self.factor):
            raise ValueError(f"the first axis must be {len(self.factor)} channels, got shape {parent}")
        return parent

    def forward(self, x: Array) -> Array:
        """Return x times the slope, plus what is left."""
        slope, left = self._line(x)
        y = x * slope
        y += left
        return y

    def at(self, x: Array) -> Maps:
        """Return factor / sqrt(variance + epsilon) by channel."""
        return diagonal(np.broadcast_to(self._line(x)[0], x.shape))

    def gradient(self, x: Array, v: Array) -> dict[str, Array]:
        """Return the sums of v (x - mean) / sqrt(variance + epsilon) and of v by channel."""
        rest = (0, *range(2, x.ndim))
        centred = x - _by_channel(like(self.mean, x), x)
        return {
            "factor": (v * centred).sum(axis=rest) / like(self._deviation(), x),
            "offset": v.sum(axis=rest),
        }

    def _line(self, x: Array) -> tuple[Array, Array]:
        """Return slope and offset of the same map, by channel."""
        slope = self.factor / self._deviation()
        return _by_channel(like(slope, x), x), _by_channel(like(self.offset - self.mean * slope, x), x)

    def _deviation(self) -> Array:
        return np.asarray(np.sqrt(self.variance + float(self.epsilon)))


@dataclass(frozen=True, eq=False)
class LayerNormalization(Parametrised):
    """factor (x - m) / sqrt(s^2 + epsilon) + offset, m and s^2 the mean and variance within a sample.

    They are taken over the last axes, as many as `factor` has; `offset` has its shape.
    """

    factor: Array
    offset: Array | None = None
    epsilon: float = 1e-5
    kind: ClassVar[Kind] = "normalisation"
    learned: ClassVar[tuple[str, ...]] = ("factor", "offset")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.factor.ndim == 0:
            raise ValueError("factor must have the shape of what is normalised, got a number")
        if self.offset is not None:
            as_parameter("offset", self.offset, self.factor.shape)
        if not self.epsilon > 0.0:
            raise ValueError(f"epsilon must be above 0, got {self.epsilon}")

    def shape(self, parent: Shape) -> Shape:
        """Return the same shape."""
        if parent[len(parent) - self.factor.ndim :] != self.factor.shape:
            raise ValueError(f"the last axes must be {self.factor.shape}, got shape {parent}")
        return parent

    def forward(self, x: Array) -> Array:
        """Return the normalised entries times the factor, plus the offset."""
        y = self._standardised(x)[0] * like(self.factor, x)
        if self.offset is not None:
            y += like(self.offset, x)
        return y

    def at(self, x: Array) -> Maps:
        """Return diag(factor) (I - 1 1^T / n - t t^T / n) / deviation, t the n standardised entries."""
        factor, (t, deviation), axes = like(self.factor, x), self._standardised(x), self._axes()

        def project(u: Array) -> Array:
            along = (u * t).mean(axis=axes, keepdims=True)
            return np.asarray((u - u.mean(axis=axes, keepdims=True) - t * along) / deviation)

        return Maps(
            lambda dx: factor * project(dx),
            lambda v: (project(v * factor),),
            # What stands between them is a projection or less.
            lambda: (float(np.max(np.abs(factor)) / np.min(deviation)),),
        )

    def gradient(self, x: Array, v: Array) -> dict[str, Array]:
        """Return the sums of v times the normalised entries and of v."""
        parts = {"factor": v * self._standardised(x)[0], "offset": v}
        return {name: summed_to(parts[name], array.shape) for name, array in self.parameters.items()}

    def _standardised(self, x: Array) -> tuple[Array, Array]:
        """Return (x - m) / deviation, and the deviation, sqrt(s^2 + epsilon)."""
        centred = x - x.mean(axis=self._axes(), keepdims=True)
        squares = np.mean(centred * centred, axis=self._axes(), keepdims=True)
        deviation = np.sqrt(squares + float(self.epsilon))
        return centred / deviation, deviation

    def _axes(self) -> Shape:
        return tuple(range(-self.factor.ndim, 0))


@dataclass(frozen=True)
class Softmax:
    """exp(x_i) / sum_j exp(x_j) along an axis of the stalk, counted from the end."""

    axis: int = -1
    kind: ClassVar[Kind] = "activation"

    def shape(self, parent: Shape) -> Shape:
        """Return the same shape."""
        check_axis(self.axis, parent)
        return parent

    def forward(self, x: Array) -> Array:
        """Return the shares."""
        powers = np.exp(x - x.max(axis=self.axis, keepdims=True))
        powers /= powers.sum(axis=self.axis, keepdims=True)
        return np.asarray(powers)

    def at(self, x: Array) -> Maps:
        """Return diag(p) - p p^T, symmetric; no softmax's norm exceeds 1/2."""
        p = self.forward(x)

        def spread(u: Array) -> Array:
            return np.asarray(p * (u - (p * u).sum(axis=self.axis, keepdims=True)))

        return Maps(spread, lambda v: (spread(v),), lambda: (0.5,))


def _by_channel(vector: Array, x: Array) -> Array:
    return vector.reshape(-1, *(1,) * (x.ndim - 2))
