"""Newton's step to the equilibrium of a graph with pins: the minimum of the energy linearised at a point.

Without pins it is a sweep, d = (I - N)^-1 r (`sweep.py`). Pins and the pull on the output add multipliers mu,

    d = (I - N)^-1 (r + u),   u = (I - N)^-T mu,

which meet the law of each (hard: x + d = t, soft: mu = -gamma (x + d - t), the output's: linearised), and so
solve (C (I - N)^-1 (I - N)^-T C^T + R) mu = b: by a filter along a path where many pins meet narrow stalks
(`filtered.py`), else by conjugate gradients, two sweeps a product.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from sheafcli.core.filtered import Held, filtered, is_cheaper
from sheafcli.core.held import Problem
from sheafcli.core.point import Point
from sheafcli.core.resistance import conjugate_gradients
from sheafcli.core.sweep import Stalks, moved, pulled
from sheafcli.core.types import Array

# What conjugate gradients may leave, as a share.
SHARE_LEFT = 1e-6


def newton(problem: Problem, at: Point, gradient: Stalks) -> dict[int, Array]:
    """Return the step of every head to the minimum of the energy linearised at a point.

    Multipliers begin where they stand: at what is held by the gradient there, else by the law of their pin.
    So what is solved for vanishes with the forces that are left, and need be known to a share of it alone.
    """
    graph, x, pull, z = problem.graph, at.x, problem.pull, at.at.output
    fixed = {i: problem.hard[i] | at.kinks[i] if i in at.kinks else problem.hard[i] for i in x}
    acts = {i: fixed[i] | (problem.springs[i] > 0.0) for i in x}
    acts = {i: mask for i, mask in acts.items() if mask.any()}
    now = {i: np.where(fixed[i], gradient[i], problem.springs[i] * (problem.values[i] - x[i])) for i in acts}
    now = now if pull is None else _sum(now, {graph.output.index: -pull.slope(z)})
    free = _responded(at, now, at.residuals)
    gives = {i: 1.0 / np.where(fixed[i] | ~mask, np.inf, problem.springs[i]) for i, mask in acts.items()}
    pins = {i: Held(mask, gives[i], -free[i] * mask) for i, mask in acts.items()}
    if not pins and pull is None and not any(soft.stiffness.any() for soft in at.soft.values()):
        return {i: free[i] for i in x}
    more = _responded(at, _pulls(problem, at, pins, free), {})
    return {i: free[i] + more[i] for i in x}


def _pulls(problem: Problem, at: Point, pins: dict[int, Held], free: Stalks) -> Stalks:
    """Return what pins, kinks that are rounded and the output pull with, where a step would lead without."""
    graph, pull, z = problem.graph, problem.pull, at.at.output
    pinned = sum(np.count_nonzero(pin.mask) for pin in pins.values()) / len(z)
    pinned += 0 if pull is None else graph.output.size
    if is_cheaper(graph, pinned) and not at.soft:
        bend = None if pull is None else pull.hessian(z)
        try:
            return filtered(at.at, pins, bend, -free[graph.output.index])
        except np.linalg.LinAlgError:  # beyond floating point: what iterations can do is done
            pass
    return _iterated(problem, at, pins, free)


def _iterated(problem: Problem, at: Point, pins: dict[int, Held], free: Stalks) -> Stalks:
    """Return the pulls of pins, of kinks that are rounded and of the output, by conjugate gradients."""
    graph, n = problem.graph, len(problem.X)
    out, pull, z = graph.output.index, problem.pull, at.at.output
    # Multipliers of springs k are scaled, so that neither small nor large k make the system hard to solve.
    bends = {i: np.sqrt(soft.stiffness / (1.0 + soft.stiffness)) for i, soft in at.soft.items()}
    bends = {i: weight for i, weight in bends.items() if weight.any()}
    parents = {i: graph.vertices[i].parents[0] for i in bends}
    sizes = [part[0].size for part in (*(pin.mask for pin in pins.values()), *bends.values())]
    ends = np.cumsum([0, *sizes]).tolist()

    def read(d: Stalks) -> Array:
        """Return what multipliers see: a step where pins and bends are, and what is given at the output."""
        parts = [d[i] * pin.mask for i, pin in pins.items()]
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
            i: part.reshape(pin.mask.shape) * pin.mask
            for (i, pin), part in zip(pins.items(), parts, strict=False)
        }
        for (i, weight), part in zip(bends.items(), parts[len(pins) :], strict=True):
            total = _sum(total, {parents[i]: at.soft[i].place(weight * part.reshape(weight.shape))})
        return total if pull is None else _sum(total, {out: pulls[:, ends[-1] :]})

    gives = [pin.give for pin in pins.values()]
    gives += [1.0 - weight * weight for weight in bends.values()]
    gives += [] if pull is None else [np.ones_like(z)]
    give = np.concatenate([part.reshape(n, -1) for part in gives], axis=1)

    def product(m: Array, pulls: Array) -> Array:
        return read(_responded(at, placed(pulls), {})) + give * m

    m = conjugate_gradients(product, -read(free), SHARE_LEFT, metric)
    return placed(metric(m))


def _responded(at: Point, pulls: Stalks, given: Stalks) -> dict[int, Array]:
    """Return (I - N)^-1 (given + (I - N)^-T pulls) at every vertex that has an operation."""
    return moved(at.at, _sum(given, pulled(at.at, pulls)))


def _sum(one: Stalks, other: Stalks) -> dict[int, Array]:
    both = {**one, **other}
    return {i: one[i] + other[i] if i in one and i in other else part for i, part in both.items()}
