"""What is wanted of a network's values: a target of the output, and pins, hard or by springs.

What is looked at is o(x) = [z, pinned values], of the network as it is. Of it are wanted

    equations     o_i = t_i                          hard targets of the identity, hard pins
    inequalities  z_c - z_j >= margin, +-z_j >= m    a class, before each other one
                  z_c - log sum exp z_j >= margin    a class of given odds against all others together
    potentials    gamma potential(z, y), gamma_i (o_i - t_i)^2 / 2    what pulls by a spring.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, softmax

from sheafcli.core.network import AnyNetwork
from sheafcli.core.operation import Kinked, Restriction
from sheafcli.core.outputs import Identity, Softmax
from sheafcli.core.pins import Pin, check_pins
from sheafcli.core.sweep import Stalks, forward, linearize, pull_back
from sheafcli.core.types import Array

# So many classes at most are kept below the wanted one at a time: those that are nearest to it.
RIVALS = 10


class Wanted(NamedTuple):
    """An aim linearised: M (o' - o) = e, costs |T (o' - o) - rho|^2 / 2, and D (o' - o) >= g.

    `equations` are M, `missing` e, `pulls` T, `rivals` D and `short` g, samples x rows (x looked at).
    """

    equations: Array
    missing: Array
    pulls: Array
    rho: Array
    rivals: Array
    short: Array


@dataclass(frozen=True, eq=False)
class Aim:
    """A target y, samples x outputs, of those outputs that are `asked` for, and pins.

    `stiffness` None makes the target hard: an equation, or for classes a `margin` of the logits, of the log
    odds if `by_odds`. `scale` says how much of each output counts as one, for what is missed of hard targets.
    """

    network: AnyNetwork
    y: Array
    asked: NDArray[np.bool_]
    stiffness: float | None
    scale: Array
    margin: float = 0.0
    pins: tuple[Pin, ...] = ()
    by_odds: bool = False

    def __post_init__(self) -> None:
        zeros = {name: np.zeros((len(self.y), *shape)) for name, shape in self.network.stalks.items()}
        check_pins(self.pins, zeros)

    @property
    def is_identity(self) -> bool:
        """Whether targets are values, and not classes."""
        return isinstance(self.network.output, Identity)

    def take(self, rows: NDArray[np.intp]) -> Aim:
        """Return the aim of some samples, in that order."""
        pins = tuple(
            pin if np.ndim(pin.value) == 0 else replace(pin, value=np.asarray(pin.value)[rows])
            for pin in self.pins
        )
        return replace(self, y=self.y[rows], pins=pins)

    def pulling(self, stiffness: float) -> Aim:
        """Return the aim with everything that is hard made a spring of that stiffness, by scale."""
        pins = tuple(replace(pin, stiffness=stiffness) if pin.hard else pin for pin in self.pins)
        return replace(self, stiffness=stiffness, pins=pins)

    @property
    def watched(self) -> list[tuple[int, tuple[Any, ...]]]:
        """The vertex and the place of every pin."""
        index = {name: v.index for name, v in zip(self.network.stalks, self.network.graph.heads, strict=True)}
        return [(index[pin.stalk], pin.place) for pin in self.pins]

    def look(self, X: Array) -> Array:
        """Return o at inputs X, samples x coordinates: the logits, then what is pinned."""
        graph, watched = self.network.graph, self.watched
        kept: dict[int, Array] = {}
        for vertex, _, value in forward(graph, X.reshape(-1, *graph.input_shape)):
            if any(vertex.index == i for i, _ in watched):
                kept[vertex.index] = value
        return self._row(value, kept, watched)

    def _row(self, z: Array, kept: Stalks, watched: Sequence[tuple[int, tuple[Any, ...]]]) -> Array:
        columns = [kept[i][(slice(None), *place)][:, None] for i, place in watched]
        return np.concatenate([z, *columns], axis=1)

    def slopes(self, X: Array) -> Array:
        """Return d o / d x, samples x looked at x coordinates, by one pull-back of all of them."""
        return self.slopes_and_resistance(X)[0]

    def slopes_and_resistance(self, X: Array, near: float = 0.0) -> tuple[Array, Array]:
        """Return d o / d x, and the effective resistance between what is looked at, at the forward pass.

        What lies left of a kink by less than `near`, in units of the largest there, counts as right of it.
        """
        graph, watched, n = self.network.graph, self.watched, len(X)
        m = graph.output.size
        total = m + len(watched)
        sources = {graph.output.index: np.zeros((total, n, m))}
        sources[graph.output.index][np.arange(m), :, np.arange(m)] = 1.0
        for row, (index, place) in enumerate(watched, start=m):
            source = sources.setdefault(index, np.zeros((total, n, *graph.vertices[index].shape)))
            source[(row, slice(None), *place)] = 1.0
        S = np.zeros((n, total, total))
        at = linearize(graph, X.reshape(-1, *graph.input_shape))
        if near > 0.0:
            at = replace(at, restrictions=self._right_of_kinks(X, at.restrictions, near))
        for vertex, w in pull_back(at, sources, down_to=0):
            rows = np.swapaxes(w.reshape(total, n, -1), 0, 1)
            if vertex.edge is not None:
                S += rows @ np.swapaxes(rows, 1, 2)
        return rows, S

    def _right_of_kinks(
        self, X: Array, restrictions: Sequence[Restriction | None], near: float
    ) -> tuple[Restriction | None, ...]:
        graph, moved = self.network.graph, list(restrictions)
        for vertex, parents, _ in forward(graph, X.reshape(-1, *graph.input_shape)):
            if isinstance(vertex.operation, Kinked):
                u = parents[0]
                moved[vertex.index] = vertex.operation.at(u + near * np.abs(u).max(initial=0.0))
        return tuple(moved)

    def energy(self, o: Array) -> Array:
        """Return what pulls cost, a number a sample."""
        m, cost = self.y.shape[1], np.zeros(len(o))
        if self.stiffness is not None and self.is_identity:
            cost += (
                0.5 * self.stiffness * np.sum(((o[:, :m] - self.y) / self.scale)[:, self.asked] ** 2, axis=1)
            )
        elif self.stiffness is not None:
            cost += self.stiffness * self.network.output.potential(o[:, :m], self.y)
        for i, pin in enumerate(self.pins, start=m):
            if pin.stiffness is not None:
                cost += 0.5 * pin.stiffness * (o[:, i] - pin.value) ** 2
        return cost

    def missed(self, o: Array) -> Array:
        """Return the sum of what hard targets miss, in units of their scale, a number a sample."""
        wanted = self.wanted(o)
        missed = np.abs(wanted.missing).sum(axis=1) + np.maximum(wanted.short, 0.0).sum(axis=1)
        return np.asarray(missed)

    def wanted(self, o: Array, tension: float = 0.0) -> Wanted:
        """Return the aim linearised at what is looked at.

        Odds are curved: with their multiplier as `tension`, pulls of nothing stand for their second
        derivative, so that steps are those of Newton's method.
        """
        n, total = o.shape
        m = self.y.shape[1]
        unit = np.broadcast_to(np.eye(total), (n, total, total))
        z, hard = o[:, :m], self.stiffness is None
        equations, missing = list[Array]([unit[:, :0]]), list[Array]([o[:, :0]])
        pulls, rho = list[Array]([unit[:, :0]]), list[Array]([o[:, :0]])
        rivals, short = list[Array]([unit[:, :0]]), list[Array]([o[:, :0]])
        if self.is_identity:
            rows = unit[:, :m][:, self.asked] / self.scale[self.asked][:, None]
            off = ((self.y - z) / self.scale)[:, self.asked]
            if hard:
                equations.append(rows)
                missing.append(off)
            else:
                weight = np.sqrt(self.stiffness or 0.0)
                pulls.append(weight * rows)
                rho.append(weight * off)
        elif hard and self.asked.any():
            D, g = self._rivals(z, unit)
            rivals.append(D)
            short.append(g)
            if self.by_odds and tension > 0.0 and isinstance(self.network.output, Softmax):
                pulls.append(np.sqrt(tension) * self._bend(z, unit))
                rho.append(np.zeros_like(z))
        elif not hard:
            weight = np.sqrt(self.stiffness or 0.0)
            pulls.append(weight * self.network.output.root(z, unit[:, :m]))
            rho.append(weight * self.network.output.pull(z, self.y))
        for i, pin in enumerate(self.pins, start=m):
            off = np.broadcast_to(pin.value - o[:, i], n)[:, None]
            if pin.stiffness is None:
                equations.append(unit[:, i : i + 1])
                missing.append(off)
            else:
                pulls.append(np.sqrt(pin.stiffness) * unit[:, i : i + 1])
                rho.append(np.sqrt(pin.stiffness) * off)
        parts = (equations, missing, pulls, rho, rivals, short)
        return Wanted(*(np.concatenate(part, axis=1) for part in parts))

    def _rivals(self, z: Array, unit: Array) -> tuple[Array, Array]:
        """Return rows, and by how much they are below the margin, of what keeps the class that is wanted."""
        n, m = z.shape
        if not isinstance(self.network.output, Softmax):
            sign = np.where(self.y >= 0.5, 1.0, -1.0)
            rows = sign[:, :, None] * unit[:, :m]
            return rows[:, self.asked], (self.margin - sign * z)[:, self.asked]
        wanted = np.argmax(self.y, axis=1)
        others = z.copy()
        others[np.arange(n), wanted] = -np.inf
        if self.by_odds:
            mean = np.einsum("nj,njt->nt", softmax(others, axis=1), unit[:, :m])
            ahead = z[np.arange(n), wanted] - logsumexp(others, axis=1)
            return (unit[np.arange(n), wanted] - mean)[:, None], (self.margin - ahead)[:, None]
        nearest = np.argsort(-others, axis=1)[:, : min(RIVALS, m - 1)]
        own = unit[np.arange(n), wanted][:, None, :]
        rows = own - np.take_along_axis(unit[:, :m], nearest[:, :, None], axis=1)
        ahead = z[np.arange(n), wanted][:, None] - np.take_along_axis(z, nearest, axis=1)
        return rows, self.margin - ahead

    def _bend(self, z: Array, unit: Array) -> Array:
        """Return rows B, one a class, with B^T B the second derivative of log sum exp of the others."""
        others = np.where(self.y >= 0.5, -np.inf, z)
        shares = softmax(others, axis=1)
        mean = np.einsum("nj,njt->nt", shares, unit[:, : z.shape[1]])
        return np.asarray(np.sqrt(shares)[:, :, None] * (unit[:, : z.shape[1]] - mean[:, None]))
