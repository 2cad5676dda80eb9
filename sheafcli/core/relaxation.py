"""The equilibrium of any graph with pins at any vertices, by the true, nonlinear energy.

With x the stalks of all heads, r_v = g_v(x_pa(v)) - x_v the residuals, soft pins, and a pull on the output z,

    E(x) = 1/2 sum |r_v|^2 + 1/2 sum_soft gamma_i (x_i - t_i)^2 + gamma potential(z, y)

is minimised over what is not held. A step is Gauss and Newton's (`newton.py`), and a line search on E makes
it safe.

Kinks: where a stalk is read by one activation alone, it is not moved but eliminated, and may be held at a
kink, along which the equilibrium slides (`point.py`).

Other kinks, ties of maxima and activations that read a sum or a stalk that others read, are rounded off
around slopes that are learnt round after round (`sheafcli.core.softened`): the width falls from a tenth of
what they read to a ten-thousandth, and what is rounded misses less and less. Their springs of stiffness k are
more multipliers, C d + m / k = 0. The line search is on the energy with kinks rounded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.blocks import blocks
from sheafcli.core.filtered import squares
from sheafcli.core.held import Problem
from sheafcli.core.network import AnyNetwork, as_inputs, as_targets
from sheafcli.core.newton import newton
from sheafcli.core.operation import Kinked
from sheafcli.core.operations import MaxPooling
from sheafcli.core.pins import Pin, as_pins
from sheafcli.core.point import Point, evaluate, forces, gradient_of
from sheafcli.core.sweep import Stalks, forward
from sheafcli.core.types import Array

# A step must lower the energy by this share of what its slope promises, up to rounding; halves of it are
# tried some at once.
ARMIJO, ROUNDING, HALVINGS, AT_ONCE = 1e-4, 1e-14, 40, 4
# Entries of the work arrays together: 128 MB.
ENTRIES = 1 << 24
# Widths of rounded kinks, as shares of the size of what they read: at first, at last, and their ratio.
SHARES, SHARPER = (0.1, 1e-4), 0.3


@dataclass(frozen=True, eq=False)
class Relaxed:
    """A pinned equilibrium of a graph, with its certificate.

    `stalks` are those of all heads by name, samples x stalk; `kinks` says which coordinates of those that one
    activation alone reads are held at its kinks. Per sample: `energy` is E. `certificate` is the larger of
    two figures. One is the largest entry of the force that is left, at kinks with slopes of Clarke's
    subdifferential, or near them: slopes whose value s u differs from that of g by the other figure at most.
    That other is by how much a residual whose kink is rounded misses the true one. `converged` says whether
    the certificate is within the tolerance: a stationary point, which need not be the lowest. `iterations`
    counts steps.
    """

    stalks: Mapping[str, Array]
    kinks: Mapping[str, NDArray[np.bool_]]
    energy: Array
    certificate: Array
    converged: NDArray[np.bool_]
    iterations: NDArray[np.int64]

    def some(self, rows: NDArray[Any]) -> Relaxed:
        """Return those of some samples."""
        stalks, kinks = _rows(self.stalks, rows), _rows(self.kinks, rows)
        certificate, converged = self.certificate[rows], self.converged[rows]
        return Relaxed(stalks, kinks, self.energy[rows], certificate, converged, self.iterations[rows])

    @classmethod
    def joined(cls, parts: Sequence[Relaxed]) -> Relaxed:
        """Return the equilibria of some blocks of samples as one."""

        def whole(name: str) -> Any:
            found = [getattr(part, name) for part in parts]
            if isinstance(found[0], Mapping):
                return {stalk: np.concatenate([one[stalk] for one in found]) for stalk in found[0]}
            return np.concatenate(found)

        return cls(*(whole(field.name) for field in fields(cls)))


def relax(
    network: AnyNetwork,
    X: Array,
    *,
    target: Array | None = None,
    stiffness: float | None = None,
    pins: Sequence[Pin | str] = (),
    start: Mapping[str, Array] | None = None,
    squared: bool = False,
    tolerance: float = 1e-10,
    max_iterations: int = 200,
) -> Relaxed:
    """Return the equilibrium with the input held at X, and whatever else is pinned.

    `target`, samples x outputs, pins the output if phi is the identity, else pulls it by an output edge, as
    `stiffness` does for any output; `squared` makes that edge's potential half its squared residual. Pins
    name a stalk, as `network.stalks` does, and a place in it. `start` are stalks to begin from, the forward
    pass unless given. A sample has converged when its certificate is at most the tolerance, times the largest
    residual if that is above 1.
    """
    graph = network.graph
    X = as_inputs(network, X).astype(np.float64)
    target = None if target is None else as_targets(network, target, len(X))
    held = as_pins(pins)
    parts = []
    for block in blocks(len(X), 16 * graph.dimension + squares(graph), ENTRIES):
        problem = Problem.of(
            network,
            X[block],
            None if target is None else target[block],
            stiffness,
            squared,
            [pin if np.ndim(pin.value) == 0 else _part(pin, block) for pin in held],
        )
        begin = None if start is None else {name: stalk[block] for name, stalk in start.items()}
        # A step too far may overflow: it has no finite energy, and is not taken.
        with np.errstate(over="ignore", invalid="ignore"):
            parts.append(_relaxed(problem, begin, tolerance, max_iterations))
    return Relaxed.joined(parts)


def _part(pin: Pin, block: slice) -> Pin:
    return Pin(pin.stalk, pin.coordinate, np.asarray(pin.value)[block], pin.stiffness)


@dataclass(frozen=True, eq=False)
class _Search:
    """Samples on their way: how wide their kinks are rounded, around which mixtures, and who still moves.

    `rows` are their numbers among all samples; `widths` are shares, by sample, of `sizes`.
    """

    problem: Problem
    rows: NDArray[np.intp]
    sizes: Stalks
    share: Array
    mixtures: Stalks
    iterations: NDArray[np.int64]
    moving: NDArray[np.bool_]

    @classmethod
    def begun(cls, problem: Problem, x: Stalks) -> _Search:
        n, sizes = len(problem.X), _sizes(problem, x)
        halves = {i: np.full((n, *(1,) * size.ndim), 0.5) for i, size in sizes.items()}
        counts, all_of_them = np.zeros(n, dtype=np.int64), np.ones(n, dtype=bool)
        return cls(problem, np.arange(n), sizes, np.full(n, SHARES[0]), halves, counts, all_of_them)

    def some(self, rows: NDArray[Any]) -> _Search:
        return _Search(
            self.problem.some(rows),
            self.rows[rows],
            _rows(self.sizes, rows),
            self.share[rows],
            _rows(self.mixtures, rows),
            self.iterations[rows],
            self.moving[rows],
        )

    def evaluate(self, x: Stalks, before: Stalks) -> Point:
        widths = {i: _wide(self.share, size) * size for i, size in self.sizes.items()}
        return evaluate(self.problem, self.problem.hold(x), before, widths, self.mixtures)

    def stepped(self, at: Point, step: Stalks, slope: Array) -> tuple[Point, NDArray[np.bool_]]:
        """Return the point after steps that lower the energy, and which samples no step leads lower."""
        lengths = np.where(self.moving, 1.0, 0.0)
        highest = at.energy + ROUNDING * (1.0 + np.abs(at.energy))

        def along(rows: NDArray[np.intp], lengths: Array) -> dict[int, Array]:
            return {i: stalk[rows] + _wide(lengths, stalk) * step[i][rows] for i, stalk in at.x.items()}

        def low(energy: Array, rows: NDArray[np.intp], lengths: Array) -> NDArray[np.bool_]:
            return energy <= highest[rows] + ARMIJO * lengths * slope[rows]

        everyone = np.arange(len(lengths))
        there = self.evaluate(along(everyone, lengths), at.x)
        rows = np.flatnonzero(self.moving & ~low(there.energy, everyone, lengths))
        if not len(rows):
            return there, ~self.moving
        for first in range(1, HALVINGS, AT_ONCE):
            shorter = np.repeat(0.5 ** np.arange(first, first + AT_ONCE), len(rows))
            several = np.tile(rows, AT_ONCE)
            tried = self.some(several).evaluate(along(several, shorter), _rows(at.x, several))
            lower = low(tried.energy, several, shorter).reshape(AT_ONCE, -1)
            lengths[rows] = np.where(lower.any(axis=0), 0.5 ** (first + lower.argmax(axis=0)), 0.0)
            rows = rows[~lower.any(axis=0)]
            if not len(rows):
                break
        return self.evaluate(along(everyone, lengths), at.x), lengths == 0.0

    def sharpened(self, at: Point, near: NDArray[np.bool_]) -> _Search:
        """Return the search with the mixtures of samples that are near taken over, and less rounding."""
        mixtures = {
            i: np.where(_wide(near, soft.mixture), soft.mixture, self.mixtures[i])
            for i, soft in at.soft.items()
        }
        share = np.where(near, np.maximum(SHARPER * self.share, SHARES[1]), self.share)
        return replace(self, mixtures=mixtures, share=share)


def _relaxed(
    problem: Problem, begin: Mapping[str, Array] | None, tolerance: float, max_iterations: int
) -> Relaxed:
    """Take steps with a line search until every sample has its certificate, or none gets lower.

    Samples that have come to rest are left behind whenever they are half of those that are looked at.
    """
    if begin is None:
        x = {v.index: value for v, _, value in forward(problem.graph, problem.X) if v.edge is not None}
    else:
        x = {i: np.asarray(begin[name], dtype=np.float64) for name, i in problem.names.items()}
    x = problem.hold(x)
    search = _Search.begun(problem, x)
    at = search.evaluate(x, x)
    rested: list[Relaxed] = []
    rows: list[NDArray[np.intp]] = []
    while True:
        problem, n = search.problem, len(search.rows)
        gradient = gradient_of(problem, at)
        left = forces(problem, at, gradient)
        force, largest = _largest(left), np.maximum(1.0, _largest(at.residuals))
        error = _largest({i: soft.error for i, soft in at.soft.items()}) if at.soft else np.zeros(n)
        certificate = np.maximum(force, error)
        converged = certificate <= tolerance * largest
        moving = search.moving & ~converged & (search.iterations < max_iterations)
        search = replace(search, moving=moving)
        if 2 * np.count_nonzero(moving) <= n:
            stalks = {name: at.x[i] for name, i in problem.names.items()}
            kinks = {name: at.kinks[i] for name, i in problem.names.items() if i in at.kinks}
            missed = (soft.error * (at.residuals[i] + 0.5 * soft.error) for i, soft in at.soft.items())
            energy = at.energy + sum(part.reshape(n, -1).sum(axis=1) for part in missed)
            here = Relaxed(stalks, kinks, energy, certificate, converged, search.iterations)
            rested.append(here.some(~moving))
            rows.append(search.rows[~moving])
            if not moving.any():
                return Relaxed.joined(rested).some(np.argsort(np.concatenate(rows)))
            x = _rows(at.x, moving)
            search = search.some(moving)
            at = search.evaluate(x, x)
            continue
        step = newton(problem, at, gradient)
        slope = np.asarray(sum((g * step[i]).reshape(n, -1).sum(axis=1) for i, g in left.items()))
        there, stuck = search.stepped(at, step, slope)
        search = replace(search, iterations=search.iterations + moving)
        near = moving & (stuck | (force <= np.maximum(error, tolerance * largest)))
        if search.sizes and near.any():
            search = search.sharpened(at, near)
            at = search.evaluate(there.x, there.x)
        else:
            search = replace(search, moving=moving & ~stuck)
            at = there


def _rows(stalks: Mapping[Any, Any], rows: NDArray[Any]) -> dict[Any, Any]:
    return {key: stalk[rows] for key, stalk in stalks.items()}


def _sizes(problem: Problem, x: Stalks) -> dict[int, Array]:
    """Return the size, by sample, of what vertices read whose kinks are rounded: none reads the boundary."""
    sizes, vertices = {}, problem.graph.vertices
    partners = {partner.vertex.index for partner in problem.partners.values()}
    for vertex, (u, *_), _ in forward(problem.graph, problem.X, x):
        kinked = isinstance(vertex.operation, Kinked | MaxPooling)
        moves = vertices[vertex.parents[0]].operation is not None
        if kinked and moves and vertex.index not in partners:
            size = np.sqrt(np.mean(u * u, axis=tuple(range(1, u.ndim)), keepdims=True))
            sizes[vertex.index] = np.where(size > 0.0, size, 1.0)
    return sizes


def _wide(lengths: NDArray[Any], stalk: Array) -> NDArray[Any]:
    return lengths.reshape(-1, *(1,) * (stalk.ndim - 1))


def _largest(stalks: Stalks) -> Array:
    """Return the largest entry in size, by sample."""
    sizes = [np.abs(stalk).reshape(len(stalk), -1).max(axis=1) for stalk in stalks.values()]
    return np.asarray(np.max(sizes, axis=0))
