"""Activations with kinks as their own means, so that what follows slopes can pass the kinks.

A kink stops every method that follows slopes: on either side of it they say another thing. Softened,
max(z, 0) is its own mean over a stalk that is uncertain by +-eps,

    rho(z) = E max(z + u, 0) = eps c^2 + max(z - eps, 0),   c = rho'(z) = min(max((z / eps + 1) / 2, 0), 1),

u uniform on [-eps, eps]. It is max(z, 0) beyond eps, has a continuous slope, and for eps = 0 is the kink
itself, where zero counts as active. An activation g whose slope jumps by J_k at the knots t_k is a line plus
sum_k J_k max(z - t_k, 0), and its mean that line plus sum_k J_k rho(z - t_k).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from sheafcli.core.operation import Kind, Kinked
from sheafcli.core.operations.maps import Maps, diagonal
from sheafcli.core.softened import Lines
from sheafcli.core.types import Array, Shape


def rectified(z: Array, eps: float, slope: Array) -> Array:
    """Return rho(z) from its slope; max(z, 0) for eps = 0."""
    if eps == 0.0:
        return np.maximum(z, 0.0)
    mean, beyond = slope * slope, z - eps
    mean *= eps
    mean += np.maximum(beyond, 0.0, out=beyond)
    return np.asarray(mean)


def slope_of(z: Array, eps: float) -> Array:
    """Return rho'(z): for eps = 0 the pattern, as 0 and 1."""
    if eps == 0.0:
        return (z >= 0.0).astype(np.float64)
    slope = z * (0.5 / eps)
    slope += 0.5
    np.maximum(slope, 0.0, out=slope)
    return np.asarray(np.minimum(slope, 1.0, out=slope))


@dataclass(frozen=True, eq=False)
class Averaged:
    """An activation without parameters as its mean over an input uncertain by +-eps.

    `eps` holds one number, which whoever owns the array may change: the operation follows.
    """

    operation: Kinked
    eps: Array
    kind: ClassVar[Kind] = "activation"

    def shape(self, parent: Shape) -> Shape:
        """Return the same shape."""
        return self.operation.shape(parent)

    def forward(self, x: Array) -> Array:
        """Return the mean of g."""
        mean = self.operation.forward(x)
        if self.eps > 0.0:
            for knot, jump in self._jumps:
                z, eps = x - knot, float(self.eps)
                mean = mean + jump * (rectified(z, eps, slope_of(z, eps)) - np.maximum(z, 0.0))
        return mean

    def at(self, x: Array) -> Maps:
        """Return the slopes of the mean."""
        slopes = self.operation.at(x).jvp(np.ones_like(x))
        if self.eps > 0.0:
            for knot, jump in self._jumps:
                slopes = slopes + jump * (slope_of(x - knot, float(self.eps)) - (x >= knot))
        return diagonal(slopes)

    @cached_property
    def _jumps(self) -> list[tuple[float, float]]:
        """The knots, and by how much the slope jumps there."""
        slopes = Lines.of(self.operation, ()).slopes
        return list(zip(self.operation.knots, np.diff(slopes).tolist(), strict=True))
