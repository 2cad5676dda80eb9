"""The pinned equilibrium by a semismooth Newton method on the reduced energy.

Every z_l is eliminated (`reduction.py`), which leaves the energy as a function of the a_l and
z_{k+1}, piecewise quadratic. For given states of the neurons it is a linear-Gaussian chain,

    a_l = rho_l h_l + m_l + w_l,   h_{l+1} = W_{l+1} a_l + b_{l+1},   w_l of variance D_l

(2 where active, 1 where not), observed at the output and wherever a kink or a pin pulls on h. With G_l
the sensitivity of all observed h to a_l and C = sum_l G_l D_l G_l^T, the multipliers nu of the
observations solve a small system per sample. Every solve is one Newton step; a line search on the energy
makes the method end, in a few steps, where the states agree with themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.chain.cochain import Cochain
from sheafcli.core.chain.network import Network
from sheafcli.core.chain.reduction import Held, HiddenLayer, OutputEdge, Quadratic, Rows, States, Transition
from sheafcli.core.chain.sheaf import pattern_of
from sheafcli.core.pins import Pin
from sheafcli.core.types import Array

# A Newton system is split over its samples so that no work array has more entries.
BLOCK_ENTRIES = 1 << 24
# A step must lower the energy by this share of what its slope promises, up to rounding.
ARMIJO, ROUNDING = 1e-4, 1e-14
HALVINGS = 40


@dataclass(frozen=True, eq=False)
class Point:
    """Some samples' a_l and z_{k+1} with all that follows: h_1, ..., h_{k+1}, states, costs, energy."""

    a: Sequence[Array]
    z: Array
    h: list[Array]
    states: list[States]
    costs: list[Quadratic]
    energy: Array


@dataclass(frozen=True, eq=False)
class Solution:
    """Some samples' last point, with the certificate and the number of steps that led there."""

    point: Point
    certificate: Array
    converged: NDArray[np.bool_]
    iterations: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Problem:
    """The reduced problem of some samples: minimise the energy over a_1, ..., a_k and z_{k+1}."""

    weights: tuple[Array, ...]
    biases: tuple[Array, ...]
    h1: Array
    layers: tuple[HiddenLayer, ...]
    edge: OutputEdge

    @classmethod
    def of(
        cls,
        network: Network,
        X: Array,
        target: Array | None,
        stiffness: float | None,
        squared: bool,
        pins: Sequence[Pin],
    ) -> Problem:
        """Translate what is pinned into the coefficients of the reduced problem."""
        last = network.depth + 1

        def held(stalk: str, n: int) -> Held:
            return Held.by([pin for pin in pins if pin.stalk == stalk], n)

        layers = tuple(
            HiddenLayer(held(f"z{layer}", n), held(f"a{layer}", n))
            for layer, n in enumerate(network.widths[1:-1], start=1)
        )
        rigid = target is not None and stiffness is None and not network.has_output_vertex
        if rigid and target is not None:
            edge = OutputEdge(network.output, Held.at(target), None, 0.0, False)
        else:
            output_held = held(f"z{last}", network.widths[-1])
            gamma = 1.0 if stiffness is None else stiffness
            edge = OutputEdge(network.output, output_held, target, gamma, squared)
        h1 = X @ network.weights[0].T + network.biases[0]
        return cls(network.weights, network.biases, h1, layers, edge)

    def __getitem__(self, rows: Rows) -> Problem:
        layers = tuple(layer[rows] for layer in self.layers)
        return Problem(self.weights, self.biases, self.h1[rows], layers, self.edge[rows])

    @property
    def depth(self) -> int:
        """The number k of hidden layers."""
        return len(self.layers)

    def onward(self, a: Array, layer: int) -> Array:
        """Return h_{layer+1} from a_layer."""
        return a @ self.weights[layer].T + self.biases[layer]

    def point(self, a: Sequence[Array], z: Array, before: Sequence[States]) -> Point:
        """Evaluate at a_l and z_{k+1}, the states going on from those before."""
        h, states, costs = [self.h1], [], []
        energy = self.edge.value(z)
        for i, layer in enumerate(self.layers):
            states.append(layer.states(h[i], a[i], before[i]))
            costs.append(layer.quadratic(states[i]))
            energy = energy + layer.energy(h[i], a[i], states[i])
            h.append(self.onward(a[i], i + 1))
        energy = energy + 0.5 * np.sum((z - h[-1]) ** 2, axis=1)
        return Point(a, z, h, states, costs, energy)

    def gradient(self, at: Point) -> tuple[list[Array], Array]:
        """Return the energy's gradient in a_1, ..., a_k, z_{k+1}, and the largest force in its balance."""
        back: Array = at.h[-1] - at.z
        slopes: list[Array] = [np.where(self.edge.held.hard, 0.0, self.edge.slope(at.z) - back)]
        largest: Array = np.max(np.abs(back), axis=1)
        for i in range(self.depth - 1, -1, -1):
            from_above = back @ self.weights[i + 1]
            own = at.costs[i].slope_a(at.h[i], at.a[i])
            slopes.append(np.where(self.layers[i].a_held.hard, 0.0, own + from_above))
            largest = np.maximum(largest, np.max(np.abs(from_above), axis=1))
            back = at.costs[i].slope_h(at.h[i], at.a[i])
        return slopes[::-1], largest

    def newton(self, at: Point) -> list[Array]:
        """Return the minimiser a_1, ..., a_k, z_{k+1} of the energy's quadratic model at a point."""
        chain = [layer.transition(c) for layer, c in zip(self.layers, at.costs, strict=True)]
        # Layer 1 has nothing free before it: only layers 2..k are observed, besides the output.
        observed = [_columns_with(t.tau > 0.0) if i > 0 else None for i, t in enumerate(chain)]
        size = at.z.shape[1] + sum(columns.shape[1] for columns in observed if columns is not None)
        widest = max(W.shape[0] for W in self.weights)
        if len(at.z) > 1 and len(at.z) * size * max(size, widest) > BLOCK_ENTRIES:
            halves = np.array_split(np.arange(len(at.z)), 2)
            solved = [self[rows].newton(_rows_of(at, rows)) for rows in halves]
            return [np.concatenate(pair) for pair in zip(*solved, strict=True)]
        nu = self._multipliers(at, chain, observed, size)
        return self._respond(at, chain, observed, nu)

    def _multipliers(
        self, at: Point, chain: list[Transition], observed: list[NDArray[np.intp] | None], size: int
    ) -> Array:
        """Solve for nu: first the output's, then those of layers k, ..., 2, each padded with zeros.

        An observation of layer l has nu = tau (target - h), a held output nu = y - h, a free one
        nu = -V'(z) with z = h + nu, linearised as H (z - z_0) + V'(z_0); and h = mean + C nu.
        """
        n, outputs = at.z.shape
        mean = [self.h1]
        for i, t in enumerate(chain):
            mean.append(self.onward(t.rho * mean[i] + t.m, i + 1))
        held = self.edge.held.hard
        H = np.where(held[:, :, None], np.eye(outputs), self.edge.curvature(at.z))
        aim = np.where(held, at.z, _times(H, at.z) - self.edge.slope(at.z))
        C = np.zeros((n, size, size))
        pull = np.zeros((n, size))  # the rows of B and right-hand sides, B h = right - nu
        pull[:, :outputs] = aim - _times(H, mean[-1])
        strength = np.zeros((n, size))
        G = np.broadcast_to(self.weights[-1], (n, *self.weights[-1].shape))
        used = outputs
        for i in range(self.depth - 1, -1, -1):
            t, columns = chain[i], observed[i]
            C[:, :used, :used] += (G * t.D[:, None, :]) @ np.swapaxes(G, 1, 2)
            if columns is not None:
                W, rows = self.weights[i], slice(used, used + columns.shape[1])
                tau = np.take_along_axis(t.tau, columns, axis=1)
                strength[:, rows] = tau
                pull[:, rows] = np.take_along_axis(t.tau_t - t.tau * mean[i], columns, axis=1)
                carried = ((G * t.rho[:, None, :]).reshape(-1, W.shape[0]) @ W).reshape(n, used, W.shape[1])
                G = np.concatenate([carried, W[columns]], axis=1)
                used = rows.stop
        system = strength[:, :, None] * C
        system[:, :outputs] = H @ C[:, :outputs]
        system[:, :outputs, :outputs] += np.where(held[:, :, None], 0.0, H)
        index = np.arange(size)
        system[:, index, index] += 1.0
        return np.asarray(np.linalg.solve(system, pull[:, :, None])[:, :, 0])

    def _respond(
        self, at: Point, chain: list[Transition], observed: list[NDArray[np.intp] | None], nu: Array
    ) -> list[Array]:
        """Carry the multipliers back to the pull u_l on every a_l, then respond forward with D_l u_l."""
        outputs = at.z.shape[1]
        on_h, used = nu[:, :outputs], outputs
        pulls: list[Array] = []
        for i in range(self.depth - 1, -1, -1):
            pulls.append(on_h @ self.weights[i + 1])
            on_h, columns = chain[i].rho * pulls[-1], observed[i]
            if columns is not None:
                rows = slice(used, used + columns.shape[1])
                total = np.take_along_axis(on_h, columns, axis=1) + nu[:, rows]
                np.put_along_axis(on_h, columns, total, axis=1)
                used = rows.stop
        found, h = [], self.h1
        for i, (t, u) in enumerate(zip(chain, reversed(pulls), strict=True)):
            found.append(t.rho * h + t.m + t.D * u)
            h = self.onward(found[i], i + 1)
        return [*found, np.where(self.edge.held.hard, at.z, h + nu[:, :outputs])]


def _columns_with(mask: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return, per row, the columns where `mask` holds, padded with others to the longest row's number."""
    longest = int(mask.sum(axis=1).max(initial=0))
    return np.argsort(~mask, axis=1, kind="stable")[:, :longest]


def _times(H: Array, v: Array) -> Array:
    return np.asarray((H @ v[:, :, None])[:, :, 0])


def _rows_of(at: Point, rows: Rows) -> Point:
    costs = [Quadratic(*(part[rows] for part in (c.alpha, c.beta, c.delta, c.p, c.q))) for c in at.costs]
    a, h = ([x[rows] for x in xs] for xs in (at.a, at.h))
    return Point(a, at.z[rows], h, [s[rows] for s in at.states], costs, at.energy[rows])


def start_point(problem: Problem, begin: Cochain, rows: Rows) -> Point:
    """Return where some samples begin: the a_l and z_{k+1} of a cochain, its pattern as their states."""
    a = [layer.a_held.hold(begin.a[i][rows]) for i, layer in enumerate(problem.layers, start=1)]
    z = problem.edge.held.hold(begin.z[problem.depth + 1][rows])
    states = [pattern_of(begin.z[i][rows]).astype(np.int8) for i in range(1, problem.depth + 1)]
    return problem.point(a, z, states)


def solve(problem: Problem, at: Point, tolerance: float, max_iterations: int) -> Solution:
    """Take Newton steps with a line search until every sample has its certificate, or none gets lower."""
    n = len(at.z)
    iterations = np.zeros(n, dtype=np.int64)
    moving = np.arange(n)
    while True:
        slopes, largest = problem.gradient(at)
        certificate = np.max([np.max(np.abs(slope), axis=1) for slope in slopes], axis=0)
        converged = certificate <= tolerance * np.maximum(1.0, largest)
        moving = moving[~converged[moving] & (iterations[moving] < max_iterations)]
        if len(moving) == 0:
            return Solution(at, certificate, converged, iterations)
        here, part = _rows_of(at, moving), problem[moving]
        steps = [new - old for new, old in zip(part.newton(here), [*here.a, here.z], strict=True)]
        slope = sum(np.sum(g[moving] * step, axis=1) for g, step in zip(slopes, steps, strict=True))
        lengths = _line_search(part, here, steps, np.asarray(slope))
        iterations[moving] += 1
        a = [x.copy() for x in at.a]
        z = at.z.copy()
        for x, step in zip([*a, z], steps, strict=True):
            x[moving] += lengths[:, None] * step
        at = problem.point(a, z, at.states)
        moving = moving[lengths > 0.0]


def _line_search(problem: Problem, here: Point, steps: list[Array], slope: Array) -> Array:
    """Return, per sample, the largest 1, 1/2, 1/4, ... that lowers the energy enough; 0 if none does."""
    lengths = np.ones(len(here.z))
    trying = np.arange(len(here.z))
    slack = ROUNDING * (1.0 + np.abs(here.energy))
    for _ in range(HALVINGS):
        t = lengths[trying, None]
        moved = [x[trying] + t * step[trying] for x, step in zip([*here.a, here.z], steps, strict=True)]
        states = [s[trying] for s in here.states]
        energy = problem[trying].point(moved[:-1], moved[-1], states).energy
        allowed = here.energy[trying] + ARMIJO * t[:, 0] * slope[trying] + slack[trying]
        trying = trying[~(energy <= allowed)]
        if len(trying) == 0:
            return lengths
        lengths[trying] *= 0.5
    lengths[trying] = 0.0
    return lengths
