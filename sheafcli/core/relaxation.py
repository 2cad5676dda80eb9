"""The equilibrium of any graph with pins at any vertices, by the true, nonlinear energy.

With x the stalks of all heads, r_v = g_v(x_pa(v)) - x_v the residuals, soft pins, and a pull on the output z,

    E(x) = 1/2 sum |r_v|^2 + 1/2 sum_soft gamma_i (x_i - t_i)^2 + gamma potential(z, y)

is minimised over what is not held. A step is Gauss and Newton's: delta at the values at hand is
unitriangular, so that the step without pins is (I - N)^-1 r, a sweep; pins add multipliers mu,

    d = (I - N)^-1 (r + u),   u = (I - N)^-T mu,

which meet every pin's own law (hard: x + d = t, soft: mu = -gamma (x + d - t), the output's: linearised),
solved by conjugate gradients, two sweeps a product. A line search on E makes it safe.

Kinks: where a stalk is read by one activation alone, it is not moved but eliminated, and may be held at a
kink, along which the equilibrium slides (`point.py`).

Other kinks, ties of maxima and activations that read a sum or a stalk that others read, are rounded off
around slopes that are learnt round after round (`sheafcli.core.softened`): the width falls from a tenth of
what they read to a ten-thousandth, and what is rounded misses less and less. Their springs of stiffness k are
more multipliers, C d + m / k = 0. The line search is on the energy with kinks rounded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.blocks import blocks
from sheafcli.core.held import Problem
from sheafcli.core.network import AnyNetwork, as_inputs, as_targets
from sheafcli.core.operation import Kinked
from sheafcli.core.operations import MaxPooling
from sheafcli.core.pins import Pin, as_pins
from sheafcli.core.point import Point, evaluate, forces, gradient_of
from sheafcli.core.resistance import conjugate_gradients
from sheafcli.core.sweep import Stalks, forward, moved, pulled
from sheafcli.core.types import Array

# A step must lower the energy by this share of what its slope promises, up to rounding.
ARMIJO, ROUNDING, HALVINGS = 1e-4, 1e-14, 40
# What conjugate gradients may leave, as a share.
SHARE_LEFT = 1e-6
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
    for block in blocks(len(X), 16 * graph.dimension):
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


def newton(problem: Problem, at: Point, gradient: Stalks) -> dict[int, Array]:
    """Return the step of every head to the minimum of the energy linearised at a point.

    Multipliers begin where they stand: at what is held by the gradient there, else by the law of their pin.
    So what is solved for vanishes with the forces that are left, and need be known to a share of it alone.
    """
    graph, n = problem.graph, len(problem.X)
    out = graph.output.index
    x, pull, z = at.x, problem.pull, at.at.output
    fixed = {i: problem.hard[i] | at.kinks[i] if i in at.kinks else problem.hard[i] for i in x}
    acts = {i: fixed[i] | (problem.springs[i] > 0.0) for i in x}
    acts = {i: mask for i, mask in acts.items() if mask.any()}
    # Multipliers of springs k are scaled, so that neither small nor large k make the system hard to solve.
    bends = {i: np.sqrt(soft.stiffness / (1.0 + soft.stiffness)) for i, soft in at.soft.items()}
    bends = {i: weight for i, weight in bends.items() if weight.any()}
    parents = {i: graph.vertices[i].parents[0] for i in bends}
    sizes = [part[0].size for part in (*acts.values(), *bends.values())]
    ends = np.cumsum([0, *sizes]).tolist()

    def respond(pulls: Stalks, given: Stalks) -> dict[int, Array]:
        """Return (I - N)^-1 (given + (I - N)^-T pulls) at every vertex that has an operation."""
        return moved(at.at, _sum(given, pulled(at.at, pulls)))

    def read(d: Stalks) -> Array:
        """Return what multipliers see: a step where pins and bends are, and what is given at the output."""
        parts = [d[i] * mask for i, mask in acts.items()]
        parts += [weight * at.soft[i].read(d[parents[i]]) for i, weight in bends.items()]
        parts += [] if pull is None else [d[out]]
        return np.concatenate([part.reshape(n, -1) for part in parts], axis=1)

    bend = None if pull is None else pull.bend(z)

    def metric(m: Array) -> Array:
        """Return multipliers as they pull: at the output by its Hessian."""
        if bend is None:
            return m
        return np.concatenate([m[:, : ends[-1]], bend(m[:, ends[-1] :])], axis=1)

    def placed(pulls: Array) -> dict[int, Array]:
        """Return pulls where they pull."""
        parts = [pulls[:, a:b] for a, b in pairwise(ends)]
        total = {
            i: part.reshape(mask.shape) * mask for (i, mask), part in zip(acts.items(), parts, strict=False)
        }
        for (i, weight), part in zip(bends.items(), parts[len(acts) :], strict=True):
            total = _sum(total, {parents[i]: at.soft[i].place(weight * part.reshape(weight.shape))})
        return total if pull is None else _sum(total, {out: pulls[:, ends[-1] :]})

    now = {i: np.where(fixed[i], gradient[i], problem.springs[i] * (problem.values[i] - x[i])) for i in acts}
    now = now if pull is None else _sum(now, {out: -pull.slope(z)})
    free = respond(now, at.residuals)
    if not acts and not bends and pull is None:
        return {i: free[i] for i in x}
    gives = [1.0 / np.where(fixed[i] | ~mask, np.inf, problem.springs[i]) for i, mask in acts.items()]
    gives += [1.0 - weight * weight for weight in bends.values()]
    gives += [] if pull is None else [np.ones_like(z)]
    give = np.concatenate([part.reshape(n, -1) for part in gives], axis=1)

    def product(m: Array, pulls: Array) -> Array:
        return read(respond(placed(pulls), {})) + give * m

    m = conjugate_gradients(product, -read(free), SHARE_LEFT, metric)
    more = respond(placed(metric(m)), {})
    return {i: free[i] + more[i] for i in x}


def _sum(one: Stalks, other: Stalks) -> dict[int, Array]:
    both = {**one, **other}
    return {i: one[i] + other[i] if i in one and i in other else part for i, part in both.items()}


def _relaxed(
    problem: Problem, begin: Mapping[str, Array] | None, tolerance: float, max_iterations: int
) -> Relaxed:
    """Take steps with a line search until every sample has its certificate, or none gets lower."""
    graph, n = problem.graph, len(problem.X)
    if begin is None:
        x = {v.index: value for v, _, value in forward(graph, problem.X) if v.edge is not None}
    else:
        x = {i: np.asarray(begin[name], dtype=np.float64) for name, i in problem.names.items()}
    x = problem.hold(x)
    sizes = _sizes(problem, x)
    share = np.full(n, SHARES[0])
    mixtures: dict[int, Array | float] = dict.fromkeys(sizes, 0.5)
    iterations, moving = np.zeros(n, dtype=np.int64), np.ones(n, dtype=bool)
    widths = {i: _wide(share, size) * size for i, size in sizes.items()}
    at = evaluate(problem, x, x, widths, mixtures)
    while True:
        gradient = gradient_of(problem, at)
        left = forces(problem, at, gradient)
        force, largest = _largest(left), np.maximum(1.0, _largest(at.residuals))
        error = _largest({i: soft.error for i, soft in at.soft.items()}) if at.soft else np.zeros(n)
        certificate = np.maximum(force, error)
        converged = certificate <= tolerance * largest
        moving &= ~converged & (iterations < max_iterations)
        if not moving.any():
            stalks = {name: at.x[i] for name, i in problem.names.items()}
            kinks = {name: at.kinks[i] for name, i in problem.names.items() if i in at.kinks}
            missed = (soft.error * (at.residuals[i] + 0.5 * soft.error) for i, soft in at.soft.items())
            energy = at.energy + sum(part.reshape(n, -1).sum(axis=1) for part in missed)
            return Relaxed(stalks, kinks, energy, certificate, converged, iterations)
        step = newton(problem, at, gradient)
        slope = sum((g * step[i]).reshape(n, -1).sum(axis=1) for i, g in left.items())
        lengths = np.where(moving, 1.0, 0.0)
        slack = ROUNDING * (1.0 + np.abs(at.energy))
        for _ in range(HALVINGS):
            x = {i: stalk + _wide(lengths, stalk) * step[i] for i, stalk in at.x.items()}
            there = evaluate(problem, problem.hold(x), at.x, widths, mixtures)
            short = moving & ~(there.energy <= at.energy + ARMIJO * lengths * slope + slack)
            if not short.any():
                break
            lengths[short] *= 0.5
        else:
            lengths[short] = 0.0
            x = {i: stalk + _wide(lengths, stalk) * step[i] for i, stalk in at.x.items()}
            there = evaluate(problem, problem.hold(x), at.x, widths, mixtures)
        iterations += moving
        stuck = lengths == 0.0
        near = moving & (stuck | (force <= np.maximum(error, tolerance * largest)))
        if sizes and near.any():
            for i, soft in at.soft.items():
                mixtures[i] = np.where(_wide(near, soft.mixture), soft.mixture, mixtures[i])
            share = np.where(near, np.maximum(SHARPER * share, SHARES[1]), share)
            widths = {i: _wide(share, size) * size for i, size in sizes.items()}
            at = evaluate(problem, there.x, there.x, widths, mixtures)
        else:
            moving &= ~stuck
            at = there


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


def _wide(lengths: Array, stalk: Array) -> Array:
    return lengths.reshape(-1, *(1,) * (stalk.ndim - 1))


def _largest(stalks: Stalks) -> Array:
    """Return the largest entry in size, by sample."""
    sizes = [np.abs(stalk).reshape(len(stalk), -1).max(axis=1) for stalk in stalks.values()]
    return np.asarray(np.max(sizes, axis=0))
