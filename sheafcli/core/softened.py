"""Kinks where an equilibrium rests: rounded off, until their slopes are known.

The edge of a kinked operation g costs (g(u) - x)^2 / 2. Where the slope of that jumps up, minima may lie on
the kink; where it jumps down none does. The former are rounded: a convex kink is a maximum over mixtures of
its slopes, of which those near a mixture s' are favoured,

    max(u_1, ..., u_K) >= max over s >= 0, sum s = 1, of s u - eps |s - s'|^2 / 2,

with equality where s' is the best s. There the cost has a continuous slope, and a second derivative, springs
of stiffness k. With s' = s round after round both become one: s are slopes of Clarke's subdifferential, and
eps need not vanish (the method of multipliers; Rockafellar, "Augmented Lagrangians and applications of the
proximal point algorithm in convex programming", Mathematics of Operations Research 1, 1976). With
low <= g <= high, convex kinks rounded in `low` and concave ones in `high`, the residual is

    r = max(low(u) - x, 0) + min(high(u) - x, 0).

A knot t of an activation, where the slope jumps by J, is the maximum of 0 and J (u - t): c in [0, 1] is the
nearest to c' + (u - t) / eps, and k = |r J| / eps on u for 0 < c < 1. In a window of K entries s is the
projection of s' + u / eps to the simplex (Held, Wolfe and Crowder, "Validation of subgradient optimization",
Mathematical Programming 6, 1974), and k = r / eps on how far entries that share lie from their mean.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.operation import Kinked, Operation, Restriction
from sheafcli.core.operations import MaxPooling
from sheafcli.core.operations.maps import Maps, diagonal
from sheafcli.core.operations.windows import columns, placed
from sheafcli.core.types import Array, Shape


class Softened(NamedTuple):
    """An edge at given values: residual, restriction, and the springs of stiffness k on C u.

    `error` is by how much the residual misses that of g itself, `mixture` is c or s, samples x kinks x stalk.
    `stiffness` is samples x rows of C, 0 where there is no spring; `read` is u -> C u, `place` its transpose.
    """

    residual: Array
    error: Array
    mixture: Array
    restriction: Restriction
    stiffness: Array
    read: Callable[[Array], Array]
    place: Callable[[Array], Array]


def soften(operation: Operation, u: Array, x: Array, eps: Array, mixture: Array | float) -> Softened:
    """Return the edge from u to x of a kinked activation or a maximum, rounded around a mixture.

    eps broadcasts against u, the mixture is one that this returned, or a number for all.
    """
    if isinstance(operation, MaxPooling):
        return _maximum(operation, u, x, eps, mixture)
    assert isinstance(operation, Kinked)
    return _activation(operation, u, x, eps, mixture)


class Lines(NamedTuple):
    """The lines that a kinked activation is made of, g(u) = slope u + offset, each pieces x stalk."""

    slopes: Array
    offsets: Array

    @classmethod
    def of(cls, operation: Kinked, stalk: Shape) -> Lines:
        """Read them off g between its knots."""
        knots = np.array(operation.knots)
        inside = np.concatenate([knots[:1] - 1.0, 0.5 * (knots[:-1] + knots[1:]), knots[-1:] + 1.0])
        inside = np.broadcast_to(inside.reshape(-1, *(1,) * len(stalk)), (len(inside), *stalk))
        slopes = operation.at(inside).jvp(np.ones(inside.shape))
        return cls(slopes, operation.forward(inside) - slopes * inside)

    def on(self, piece: NDArray[np.integer[Any]]) -> tuple[Array, Array]:
        """Return slope and offset on the piece of every entry, samples x stalk."""
        slope, offset = self.slopes[0], self.offsets[0]
        for number, (steeper, higher) in enumerate(zip(self.slopes[1:], self.offsets[1:], strict=True), 1):
            there = piece >= number
            slope, offset = np.where(there, steeper, slope), np.where(there, higher, offset)
        return slope, offset


def _activation(operation: Kinked, u: Array, x: Array, eps: Array, mixture: Array | float) -> Softened:
    jumps = np.broadcast_to(
        np.diff(Lines.of(operation, u.shape[1:]).slopes, axis=0), (len(u), len(operation.knots), *u.shape[1:])
    )
    v = np.stack([u - knot for knot in operation.knots], axis=1)
    wide = eps[:, None]
    c = np.clip(mixture + v / wide, 0.0, 1.0)
    # By how much what is rounded lies below its kink, and its slope beyond that from the right.
    below = np.maximum(v, 0.0) - c * v + 0.5 * wide * (c - mixture) ** 2
    turn, between = c - (v >= 0.0), (c > 0.0) & (c < 1.0)
    convex = jumps > 0.0
    value = operation.forward(u)
    low, high = (value - np.sum(jumps * side * below, axis=1) for side in (convex, ~convex))
    residual = np.maximum(low - x, 0.0) + np.minimum(high - x, 0.0)
    acts = jumps * (convex == (low > x)[:, None])
    slope = operation.at(u).jvp(np.ones_like(u)) + np.sum(acts * turn, axis=1)
    stiffness = np.abs(residual) * np.sum(np.abs(acts) * between, axis=1) / eps
    return Softened(residual, value - x - residual, c, diagonal(slope), stiffness, lambda du: du, lambda m: m)


def _maximum(operation: MaxPooling, u: Array, x: Array, eps: Array, mixture: Array | float) -> Softened:
    value, windows, spatial = operation.forward(u), operation.windows, u.shape[2:]
    wide = eps[:, None]
    v = columns(windows, u, -np.inf) - value[:, :, None]
    # No entry that far below has a share.
    target = np.maximum(mixture + v / wide, -3.0)
    ordered = -np.sort(-target, axis=2)
    sums = np.cumsum(ordered, axis=2)
    count = np.arange(1.0, 1.0 + v.shape[2]).reshape(-1, *(1,) * len(spatial))
    sharing = np.sum(1.0 + count * ordered > sums, axis=2, keepdims=True)
    level = (np.take_along_axis(sums, sharing - 1, axis=2) - 1.0) / sharing
    s = np.maximum(target - level, 0.0)
    low = value + np.sum(s * np.where(s > 0.0, v, 0.0) - 0.5 * wide * (s - mixture) ** 2, axis=2)
    residual = np.maximum(low - x, 0.0) + np.minimum(value - x, 0.0)
    above = (low > x)[:, :, None]
    tied = above & (sharing > 1) & (s > 0.0)
    stiffness = tied * np.maximum(residual, 0.0)[:, :, None] / wide
    shares = np.where(above, s, operation.pattern(u)[:, :, None] == count - 1.0)

    def centred(rows: Array) -> Array:
        return np.asarray(tied * (rows - np.sum(rows * tied, axis=2, keepdims=True) / sharing))

    return Softened(
        residual,
        value - x - residual,
        s,
        Maps(
            lambda du: np.asarray(np.sum(shares * columns(windows, du), axis=2)),
            lambda w: (placed(windows, shares * w[:, :, None], spatial),),
            lambda: (math.sqrt(windows.overlap),),
        ),
        stiffness,
        lambda du: centred(columns(windows, du)),
        lambda m: placed(windows, centred(m), spatial),
    )
