"""The least change of a free input that makes a rigid network meet an aim, on the true network.

With x = mu + A w, w ~ N(0, I), what is minimised is

    |w|^2 / 2 + what pulls at o(x)   subject to   equations and inequalities of o(x), low <= x <= high.

At values every step is a least distance problem, exact for the linearised network with all constraints:
with one equation and nothing else it is w = (J A)^T lambda, (J P^-1 J^T) lambda = y - f + J (x - mu), P^-1 =
A A^T. Pulls are met by slack variables that cost as much. A line search on the true network, with what is
missed of equations at a price above its multipliers, makes a step safe (Nocedal and Wright, "Numerical
optimization", 2006, chapter 18).

Minima often lie where the network has a kink, where such steps go to and fro. `settle` ends them on the
linear region they are in: the kinks around it become inequalities, so that the least distance on the closed
region is exact; where that ends at kinks that push, the regions beyond them are tried. On networks that are
linear in pieces a walk ends after finitely many regions, in a minimum that no region beyond a kink it lies
on betters.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.inference.aim import Aim, Wanted
from sheafcli.core.inference.least_distance import Nearest, least_distance
from sheafcli.core.operation import Kinked, Restriction
from sheafcli.core.operations.maps import diagonal
from sheafcli.core.softened import Lines
from sheafcli.core.sweep import Linearization, forward, push_forward
from sheafcli.core.types import Array

STEPS, HALVINGS, ARMIJO = 15, 20, 1e-4
# The price of what is missed, at first, for what is near and far; by how much it stays above the multipliers.
PRICE, FAR_PRICE, ABOVE = 10.0, 1e4, 2.0
# Regions that a walk may pass, and kinks that are crossed one by one where all of them at once do not help.
REGIONS, SINGLE = 100, 12
# A linear region with more entries than that in its constraints is left to steps alone.
LARGEST_REGION = 2_000_000
BETTER = 1e-10
# Shares of the way to the minimum on a region.
LENGTHS = 0.5 ** np.arange(12.0)

Pieces = dict[int, NDArray[np.intp]]
# A vertex, an entry of its stalk, and how its number of a piece changes beyond.
Kink = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Search:
    """Samples that share a root: means and bounds samples x coordinates, the aim of each.

    `floor`, if not None, is the least value that any w may have: see `sparse`. `price` is that of what is
    missed, to begin with.
    """

    aim: Aim
    mean: Array
    root: Array
    low: Array
    high: Array
    floor: float | None = None
    price: float = PRICE

    @classmethod
    def sparse(cls, dense: Search, threshold: float) -> Search:
        """Return a search whose energy gains threshold |w|_1, in which few w change.

        With w = p - n, p' = p + threshold and n' likewise, |w|^2 / 2 + threshold |w|_1 is, up to a constant,
        (|p'|^2 + |n'|^2) / 2 with p', n' >= threshold: soft thresholding is a least distance as well.
        """
        return replace(dense, root=np.concatenate([dense.root, -dense.root], axis=1), floor=threshold)

    def take(self, rows: NDArray[np.intp]) -> Search:
        """Return the search for some samples, in that order."""
        means, ends = self.mean[rows], (self.low[rows], self.high[rows])
        return Search(self.aim.take(rows), means, self.root, *ends, self.floor, self.price)

    def inputs(self, w: Array) -> Array:
        """Return x, samples x coordinates."""
        return np.asarray(self.mean + w @ self.root.T)

    def cost(self, w: Array, o: Array, price: Array) -> Array:
        """Return the energy, with what is missed at a price."""
        x = self.inputs(w)
        out = np.maximum(np.maximum(self.low - x, x - self.high), 0.0)
        spread = np.sqrt(np.sum(self.root * self.root, axis=1))
        out = np.sum(out / np.where(spread > 0.0, spread, np.inf), axis=1)
        if self.floor is not None:
            out += np.sum(np.maximum(self.floor - w, 0.0), axis=1)
        return np.asarray(self.energy(w, o) + price * (self.aim.missed(o) + out))

    def energy(self, w: Array, o: Array) -> Array:
        """Return the energy alone."""
        return np.asarray(0.5 * np.sum(w * w, axis=1) + self.aim.energy(o))


def descend(search: Search, w: Array) -> tuple[Array, Array]:
    """Return w, samples x rank, after steps with a line search, and the price that was paid in the end."""
    w, n = w.copy(), len(w)
    price, moving = np.full(n, search.price), np.ones(n, dtype=bool)
    o = search.aim.look(search.inputs(w))
    for _ in range(STEPS):
        rows = np.flatnonzero(moving)
        if not len(rows):
            break
        part, now, seen = search.take(rows), w[rows], o[rows]
        goal, priced, promised = _step(part, now, seen)
        price[rows] = np.maximum(price[rows], ABOVE * priced)
        step = goal - now
        size = np.linalg.norm(step, axis=1)
        still = size <= 1e-10 * (1.0 + np.linalg.norm(now, axis=1))
        before = part.cost(now, seen, price[rows])
        promise = np.maximum(before - promised, 0.0)
        length = np.where(still, 0.0, 1.0)
        for _ in range(HALVINGS):
            there = now + length[:, None] * step
            look = part.aim.look(part.inputs(there))
            after = part.cost(there, look, price[rows])
            short = ~still & ~(after <= before - ARMIJO * length * promise) & (length > 0.0)
            if not short.any():
                break
            length[short] *= 0.5
        stuck = still | short
        w[rows] = np.where(short[:, None], now, there)
        o[rows] = np.where(short[:, None], seen, look)
        moving[rows[stuck]] = False
    return w, price


def _step(search: Search, w: Array, o: Array) -> tuple[Array, Array, Array]:
    """Return where the linearised problem has its minimum, the largest multiplier, and the cost there."""
    aim = search.aim
    wanted = aim.wanted(o)
    J = aim.slopes(search.inputs(w)) @ search.root
    C, c, rows, h = _rows(wanted, J, w)
    gram = C @ np.swapaxes(C, 1, 2)
    multipliers = np.einsum("bij,bj->bi", np.linalg.pinv(gram, rcond=1e-12, hermitian=True), c)
    v = np.einsum("bij,bi->bj", C, multipliers)
    rank, hard = w.shape[1], wanted.missing.shape[1]
    goal = v[:, :rank]
    priced = np.abs(multipliers[:, :hard]).max(axis=1, initial=0.0)
    cost = 0.5 * np.sum(v * v, axis=1)
    x = search.inputs(goal)
    tight = 1e-9 * np.maximum(1.0, np.abs(x))
    outside = ((x < search.low - tight) | (x > search.high + tight)).any(axis=1)
    below = (np.einsum("bij,bj->bi", rows, goal) < h - 1e-9).any(axis=1)
    below |= False if search.floor is None else (goal < search.floor).any(axis=1)
    for i in np.flatnonzero(outside | below).tolist():
        G, g = bounds(search, i)
        found = _nearest(C[i], c[i], np.concatenate([rows[i], G]), np.concatenate([h[i], g]), rank, hard)
        goal[i], cost[i] = found.v[:rank], 0.5 * float(found.v @ found.v)
        pushed = found.push[: len(h[i])]
        priced[i] = max(np.abs(found.equal[:hard]).max(initial=0.0), pushed.max(initial=0.0))
    return goal, priced, cost


def _rows(wanted: Wanted, J: Array, w: Array) -> tuple[Array, Array, Array, Array]:
    """Return C v = c and D w' >= h in v = [w', slack], of samples with slopes J, looked at x rank."""
    E, T = wanted.equations @ J, wanted.pulls @ J
    n, pulls = len(w), T.shape[1]
    slack = np.broadcast_to(-np.eye(pulls), (n, pulls, pulls))
    nothing = np.zeros((n, E.shape[1], pulls))
    C = np.concatenate([np.concatenate([E, nothing], axis=2), np.concatenate([T, slack], axis=2)], axis=1)
    c = np.concatenate(
        [np.einsum("bij,bj->bi", E, w) + wanted.missing, np.einsum("bij,bj->bi", T, w) + wanted.rho], axis=1
    )
    D = wanted.rivals @ J
    return C, c, D, np.einsum("bij,bj->bi", D, w) + wanted.short


def bounds(search: Search, i: int) -> tuple[Array, Array]:
    """Return the bounds of one sample as rows G w >= g, in units of the coordinates' spreads."""
    spread = np.linalg.norm(search.root, axis=1)
    rows, sides = [], []
    for sign, bound in ((1.0, search.low[i]), (-1.0, search.high[i])):
        held = np.isfinite(bound) & (spread > 0.0)
        rows.append(sign * search.root[held] / spread[held, None])
        sides.append(sign * (bound - search.mean[i])[held] / spread[held])
    if search.floor is not None:
        rank = search.root.shape[1]
        rows.append(np.eye(rank))
        sides.append(np.full(rank, search.floor))
    return np.concatenate(rows), np.concatenate(sides)


def _nearest(C: Array, c: Array, G: Array, g: Array, rank: int, hard: int) -> Nearest:
    """Return the nearest point; where inequalities leave none, equations pull as hard as they may."""
    wide = np.concatenate([G, np.zeros((len(G), C.shape[1] - rank))], axis=1)
    found = least_distance(C, c, wide, g)
    if found is not None:
        return found
    # Each equation gets a slack of its own that is dear: what it leaves is as small as the bounds allow.
    dear = 1e-4
    eased = np.concatenate([C, np.vstack([dear * np.eye(hard), np.zeros((len(C) - hard, hard))])], axis=1)
    found = least_distance(eased, c, np.concatenate([wide, np.zeros((len(wide), hard))], axis=1), g)
    if found is None:  # the inequalities alone contradict one another: stay with the equations
        return least_distance(C, c, np.zeros((0, C.shape[1])), np.zeros(0)) or _origin(C, g)
    return Nearest(found.v[: C.shape[1]], np.clip(found.equal, -1e3, 1e3), found.push)


def _origin(C: Array, g: Array) -> Nearest:
    return Nearest(np.zeros(C.shape[1]), np.zeros(len(C)), np.zeros(len(g)))


def settle(search: Search, w: Array, price: float) -> tuple[Array, float, bool]:
    """Return w, 1 x rank, its cost, and whether it is a minimum, from where steps of one sample ended."""
    here = _pieces(search, w)
    best = float(search.cost(w, search.aim.look(search.inputs(w)), np.array([price]))[0])
    if sum(piece.size for piece in here.values()) * w.shape[1] > LARGEST_REGION:
        return w, best, False
    regions, tension = deque([here]), 0.0
    for _ in range(REGIONS):
        if not regions:
            return w, best, True
        region = regions.popleft()
        goal, promised, kinks, tension = _on_region(search, w, region, tension)
        there, cost = _towards(search, w, goal, price)
        if cost < best - BETTER * (1.0 + abs(best)):
            w, best, here = there, cost, region
            # Within a region that is curved the next step is from there.
            is_flat = abs(cost - promised) <= 1e-8 * (1.0 + abs(promised))
            regions = deque(_beyond(region, kinks) if is_flat else [region])
        elif region is here:
            regions.extend(_beyond(region, kinks))
    return w, best, False


def _towards(search: Search, w: Array, goal: Array, price: float) -> tuple[Array, float]:
    """Return the best of some points on the way to a goal, and its cost."""
    there = w + LENGTHS[:, None] * (goal - w)
    search = search.take(np.zeros(len(there), dtype=np.intp))
    costs = search.cost(there, search.aim.look(search.inputs(there)), np.full(len(there), price))
    least = int(np.argmin(costs))
    return there[least : least + 1], float(costs[least])


def _beyond(pieces: Pieces, kinks: Sequence[Kink]) -> Iterator[Pieces]:
    """Yield the regions beyond kinks: beyond all of them, then beyond each."""
    sets = [kinks, *([kink] for kink in kinks[:SINGLE])] if len(kinks) > 1 else [kinks] if kinks else []
    for crossed in sets:
        moved = {index: piece.copy() for index, piece in pieces.items()}
        for index, entry, side in crossed:
            moved[index].reshape(-1)[entry] += side
        yield moved


def _pieces(search: Search, w: Array) -> Pieces:
    graph = search.aim.network.graph
    X = search.inputs(w).reshape(-1, *graph.input_shape)
    return {
        step.vertex.index: step.vertex.operation.pattern(step.parents[0]).astype(np.intp)
        for step in forward(graph, X)
        if isinstance(step.vertex.operation, Kinked)
    }


def _on_region(
    search: Search, w: Array, pieces: Pieces, tension: float
) -> tuple[Array, float, list[Kink], float]:
    """Return the minimum on a closed linear region that w lies in, the energy there, the kinks that push.

    The last is the largest multiplier of a class, with which the next step takes account of curved odds.
    """
    aim, graph = search.aim, search.aim.network.graph
    X = search.inputs(w).reshape(-1, *graph.input_shape)
    restrictions: list[Restriction | None] = [None] * len(graph.vertices)
    read: dict[int, Array] = {}
    z = X
    for step in forward(graph, X):
        operation, index = step.vertex.operation, step.vertex.index
        if index in pieces and isinstance(operation, Kinked):
            restrictions[index] = diagonal(Lines.of(operation, step.vertex.shape).on(pieces[index])[0])
            read[index] = step.parents[0]
        elif operation is not None:
            restrictions[index] = operation.at(*step.parents)
        z = step.value
    at = Linearization(graph, tuple(restrictions), z, {})
    rank = w.shape[1]
    source = search.root.T.reshape(rank, 1, *graph.input_shape)
    watched = aim.watched
    moved: dict[int, Array] = {}
    walls, sides, names = list[Array](), list[Array](), list[Kink]()
    for step in push_forward(at, {0: np.ascontiguousarray(source)}):
        index = step.vertex.index
        if any(index == i for i, _ in watched) or index == graph.output.index:
            moved[index] = step.value
        if index in pieces:
            for row, side, entries, beyond in _walls(
                step.vertex.operation, pieces[index], read[index], step.parents[0], w
            ):
                walls.append(row)
                sides.append(side)
                names += [(index, int(entry), beyond) for entry in entries]
    J = np.concatenate(
        [
            moved[graph.output.index][:, 0].T,
            *(moved[i][(slice(None), 0, *place)][None] for i, place in watched),
        ]
    )
    o = aim.look(search.inputs(w))
    wanted = aim.wanted(o, tension)
    C, c, D, h = _rows(wanted, J[None], w)
    G, g = bounds(search, 0)
    around = np.concatenate([D[0], G, *walls]), np.concatenate([h[0], g, *sides])
    found = _nearest(C[0], c[0], *around, rank, wanted.missing.shape[1])
    push = found.push[len(h[0]) + len(g) :]
    pushing = push > 1e-9 * max(1.0, float(push.max(initial=0.0)))
    kinks = [names[i] for i in np.argsort(-push) if pushing[i]]
    tension = float(found.push[: len(h[0])].max(initial=0.0))
    return found.v[None, :rank], 0.5 * float(found.v @ found.v), kinks, tension


def _walls(
    operation: object, piece: NDArray[np.intp], u: Array, moved: Array, w: Array
) -> Iterator[tuple[Array, Array, NDArray[np.intp], int]]:
    """Yield the knots at both ends of the entries' pieces: rows of norm 1, sides, entries, what is beyond."""
    assert isinstance(operation, Kinked)
    knots = np.array([-np.inf, *operation.knots, np.inf])
    slopes = moved.reshape(len(moved), -1).T
    norms = np.linalg.norm(slopes, axis=1)
    value, place = u.reshape(-1), piece.reshape(-1)
    for sign, knot in ((1, knots[place]), (-1, knots[place + 1])):
        there = np.flatnonzero(np.isfinite(knot) & (norms > 0.0))
        rows = sign * slopes[there] / norms[there, None]
        # What lies beyond, by the rounding of the step that led here, lies on the wall.
        room = np.maximum(sign * (value - knot)[there] / norms[there], 0.0)
        yield rows, rows @ w[0] - room, there, -sign
