"""Normalisation: by statistics that are known, or by a sample's own; and softmax within a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sheafcli.core.operation import Kind
from sheafcli.core.operations.diagonal import Diagonal
from sheafcli.core.operations.parameters import as_parameter, check_axis, like, summed_to
from sheafcli.core.types import Array, Shape


@dataclass(frozen=True, eq=False)
class BatchNormalization:
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
        slope = self.factor / self._deviation()
        left = self.offset - self.mean * slope
        y = x * _by_channel(like(slope, x), x)
        y += _by_channel(like(left, x), x)
        return y

    def at(self, x: Array) -> Diagonal:
        """Return factor / sqrt(variance + epsilon) by channel."""
        return Diagonal(np.broadcast_to(_by_channel(like(self.factor / self._deviation(), x), x), x.shape))

    @property
    def parameters(self) -> dict[str, Array]:
        """Factor and offset; mean and variance are counted, not learned."""
        return {"factor": self.factor, "offset": self.offset}

    def gradient(self, x: Array, v: Array) -> dict[str, Array]:
        """Return the sums of v (x - mean) / sqrt(variance + epsilon) and of v by channel."""
        rest = (0, *range(2, x.ndim))
        centred = x - _by_channel(like(self.mean, x), x)
        return {
            "factor": (v * centred).sum(axis=rest) / like(self._deviation(), x),
            "offset": v.sum(axis=rest),
        }

    def _deviation(self) -> Array:
        return np.asarray(np.sqrt(self.variance + float(self.epsilon)))


@dataclass(frozen=True, eq=False)
class LayerNormalization:
    """factor (x - m) / sqrt(s^2 + epsilon) + offset, m and s^2 the mean and variance within a sample.

    They are taken over the last axes, as many as `factor` has; `offset` has its shape.
    """

    factor: Array
    offset: Array | None = None
    epsilon: float = 1e-5
    kind: ClassVar[Kind] = "normalisation"

    def __post_init__(self) -> None:
        object.__setattr__(self, "factor", as_parameter("factor", self.factor))
        if self.factor.ndim == 0:
            raise ValueError("factor must have the shape of what is normalised, got a number")
        if self.offset is not None:
            object.__setattr__(self, "offset", as_parameter("offset", self.offset, self.factor.shape))
        if not self.epsilon > 0.0:
            raise ValueError(f"epsilon must be above 0, got {self.epsilon}")

    def shape(self, parent: Shape) -> Shape:
        """Return the same shape."""
        if parent[len(parent) - self.factor.ndim :] != self.factor.shape:
            raise ValueError(f"the last axes must be {self.factor.shape}, got shape {parent}")
        return parent

    def forward(self, x: Array) -> Array:
        """Return the normalised entries times the factor, plus the offset."""
        y = self.at(x).standard * like(self.factor, x)
        if self.offset is not None:
            y += like(self.offset, x)
        return y

    def at(self, x: Array) -> Standardized:
        """Return the derivative."""
        axes = self._axes()
        centred = x - x.mean(axis=axes, keepdims=True)
        deviation = np.sqrt(np.mean(centred * centred, axis=axes, keepdims=True) + float(self.epsilon))
        return Standardized(like(self.factor, x), centred / deviation, deviation, axes)

    @property
    def parameters(self) -> dict[str, Array]:
        """Factor, and offset if there is one."""
        return {"factor": self.factor} | ({} if self.offset is None else {"offset": self.offset})

    def gradient(self, x: Array, v: Array) -> dict[str, Array]:
        """Return the sums of v times the normalised entries and of v."""
        gradient = {"factor": summed_to(v * self.at(x).standard, self.factor.shape)}
        if self.offset is not None:
            gradient["offset"] = summed_to(v, self.offset.shape)
        return gradient

    def _axes(self) -> Shape:
        return tuple(range(-self.factor.ndim, 0))


@dataclass(frozen=True, eq=False)
class Standardized:
    """diag(factor) (I - 1 1^T / n - t t^T / n) / deviation along `axes`, t the n standardised entries."""

    factor: Array
    standard: Array
    deviation: Array
    axes: Shape

    def jvp(self, dx: Array) -> Array:
        """Return factor (dx - mean(dx) - t mean(t dx)) / deviation."""
        return np.asarray(self.factor * self._project(dx))

    def vjp(self, v: Array) -> tuple[Array]:
        """Return (u - mean(u) - t mean(t u)) / deviation, u = factor v."""
        return (self._project(v * self.factor),)

    def norm(self) -> tuple[float]:
        """Return max |factor| / min deviation: what stands between them is a projection or less."""
        return (float(np.max(np.abs(self.factor)) / np.min(self.deviation)),)

    def _project(self, u: Array) -> Array:
        mean = u.mean(axis=self.axes, keepdims=True)
        along = (u * self.standard).mean(axis=self.axes, keepdims=True)
        return np.asarray((u - mean - self.standard * along) / self.deviation)


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

    def at(self, x: Array) -> Shares:
        """Return diag(p) - p p^T."""
        return Shares(self.forward(x), self.axis)


@dataclass(frozen=True, eq=False)
class Shares:
    """diag(p) - p p^T along an axis, symmetric; p is samples x stalk."""

    p: Array
    axis: int

    def jvp(self, dx: Array) -> Array:
        """Return p (dx - p . dx)."""
        return np.asarray(self.p * (dx - (self.p * dx).sum(axis=self.axis, keepdims=True)))

    def vjp(self, v: Array) -> tuple[Array]:
        """Return p (v - p . v)."""
        return (self.jvp(v),)

    def norm(self) -> tuple[float]:
        """Return 1/2, which no softmax exceeds."""
        return (0.5,)


def _by_channel(vector: Array, x: Array) -> Array:
    return vector.reshape(-1, *(1,) * (x.ndim - 2))
