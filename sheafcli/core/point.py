"""The energy of any graph at given stalks, with pins, and its gradient, where kinks may hold.

E is that of `relaxation.py`. Where a stalk z is read by one activation a alone, z is not moved but
eliminated: it lies where the cost of its two edges is least on the side it comes from, and that may be a
kink z = knot. There the equilibrium slides, and the step holds it. With h = sum_p A_p x_p what z is made of,
a ReLU leaves the cost

    active    z = (h + a) / 2   (a - h)^2 / 4        while h + a > 0
    inactive  z = h             a^2 / 2              while h < 0
    kink      z = 0             (h^2 + a^2) / 2      while h >= 0 and h + a <= 0,

whose slope is continuous for h >= 0; where h < 0 < h + a it keeps the state it has, as the flow does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.held import Partner, Problem
from sheafcli.core.operation import Restriction
from sheafcli.core.softened import Softened, soften
from sheafcli.core.sweep import Linearization, Stalks, coboundary_transposed, forward
from sheafcli.core.types import Array


@dataclass(frozen=True, eq=False)
class Point:
    """Stalks, residuals, where kinks hold, the graph linearised there, the output and the energy.

    `kinks` are masks of eliminated stalks, `jumps` says by how much slopes jump there, from left to right.
    `soft` are the edges whose kinks are rounded.
    """

    x: Stalks
    residuals: Stalks
    kinks: dict[int, NDArray[np.bool_]]
    jumps: Stalks
    soft: dict[int, Softened]
    at: Linearization
    energy: Array


def evaluate(
    problem: Problem, x: Stalks, before: Stalks, widths: Stalks, mixtures: Mapping[int, Array | float]
) -> Point:
    """Evaluate at stalks; those with a partner go where they cost least, from the sides they were on.

    Other kinks are rounded over `widths` around `mixtures` of their slopes.
    """
    graph, x = problem.graph, dict(x)
    energy = np.zeros(len(problem.X))
    restrictions: list[Restriction | None] = [None] * len(graph.vertices)
    residuals: dict[int, Array] = {}
    kinks: dict[int, NDArray[np.bool_]] = {}
    jumps: dict[int, Array] = {}
    soft: dict[int, Softened] = {}
    for vertex, parents, value in forward(graph, problem.X, x):
        index, operation = vertex.index, vertex.operation
        assert operation is not None
        if index in widths:
            soft[index] = soften(operation, parents[0], x[index], widths[index], mixtures[index])
        restrictions[index] = soft[index].restriction if index in soft else operation.at(*parents)
        if vertex.edge is None:
            continue
        if index in problem.partners:
            partner = problem.partners[index]
            settled = _settle(problem, partner, index, value, x[partner.vertex.index], before[index])
            x[index], kinks[index], jumps[index] = settled
        residuals[index] = soft[index].residual if index in soft else value - x[index]
        spring = problem.springs[index] * (x[index] - problem.values[index]) ** 2
        energy += 0.5 * (residuals[index] ** 2 + spring).reshape(len(energy), -1).sum(axis=1)
    z = x.get(graph.output.index, value)
    if problem.pull is not None:
        energy = energy + problem.pull.energy(z)
    at = Linearization(graph, tuple(restrictions), z, residuals, {})
    return Point(x, residuals, kinks, jumps, soft, at, energy)


def _settle(
    problem: Problem, partner: Partner, index: int, h: Array, a: Array, before: Array
) -> tuple[Array, NDArray[np.bool_], Array]:
    """Return the z that minimises (1 + gamma) (z - h')^2 / 2 + (g(z) - a)^2 / 2 nearest to where it was.

    gamma and h' = (h + gamma t) / (1 + gamma) are those of a spring on z. It goes from piece to piece as long
    as the cost goes down beyond an end. Also where it is held at a kink, and by how much the slope of g jumps
    there.
    """
    _, operation, lines = partner
    gamma, hard = problem.springs[index], problem.hard[index]
    weight, centre = 1.0 + gamma, (h + gamma * problem.values[index]) / (1.0 + gamma)
    ends = np.array([-np.inf, *operation.knots, np.inf])
    piece = operation.pattern(before).astype(np.intp)
    slope, offset = lines.on(piece)
    z, moving = centre, np.ones(h.shape, dtype=bool)
    for _ in range(2 * len(ends)):
        best = (weight * centre + slope * (a - offset)) / (weight + slope * slope)
        low, high = ends[piece], ends[piece + 1]
        z = np.where(moving, np.clip(best, low, high), z)
        left = moving & (best != z)
        if not left.any():
            break
        step = np.where(best < low, -1, 1)
        piece = np.clip(piece + step, 0, len(ends) - 2)
        slope, offset = lines.on(piece)
        pull = weight * (z - centre) + slope * (slope * z + offset - a)
        moving = left & (step * pull < 0.0)
        if not moving.any():
            break
    z = np.where(hard, problem.values[index], z)
    kink = np.logical_or.reduce([z == knot for knot in operation.knots]) & ~hard
    right = operation.pattern(z).astype(np.intp)
    return z, kink, lines.on(right)[0] - lines.on(right - kink)[0]


def gradient_of(problem: Problem, at: Point) -> dict[int, Array]:
    """Return the gradient of E, springs left out, at every head; at a kink from the right."""
    slope = {} if problem.pull is None else {problem.graph.output.index: problem.pull.slope(at.at.output)}
    return coboundary_transposed(at.at, at.residuals, slope)


def forces(problem: Problem, at: Point, gradient: Stalks) -> dict[int, Array]:
    """Return what is left of the gradient where nothing holds; at a kink the nearest to 0 of Clarke's."""
    left = {}
    for i, from_right in gradient.items():
        g = from_right + problem.springs[i] * (at.x[i] - problem.values[i])
        if i in at.kinks:
            below = g - at.jumps[i] * at.residuals[problem.partners[i].vertex.index]
            nearest = np.clip(0.0, np.minimum(below, g), np.maximum(below, g))
            g = np.where(at.kinks[i], nearest, g)
        left[i] = np.where(problem.hard[i], 0.0, g)
    return left
