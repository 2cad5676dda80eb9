"""The lowest of several minima: where searches start, and which of them is kept.

The energy of a free input has many minima, since a network is not convex. Points at all distances are looked
at first, all in one pass; steps go on from those that cost least and from as many draws of the prior, and
walks by regions end the best of these. One free direction is looked at on a grid instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.blocks import blocks
from sheafcli.core.inference.rigid import Search, descend, settle
from sheafcli.core.types import Array

# Points that are looked at, where steps start from, and how many ends are settled.
DRAWS, STARTS, ENDS = 400, 32, 16
# One direction is looked at from -REACH to REACH standard deviations.
REACH, GRID = 8.0, 1601
# What is missed counts as much against standard deviations, when draws are compared.
LOOK_PRICE = 30.0


@dataclass(frozen=True, eq=False)
class Least:
    """The lowest minimum that was found, w samples x rank; `settled` where it is one for certain."""

    w: Array
    settled: NDArray[np.bool_]


def least(search: Search, seed: int, begin: Array | None = None, many: int = STARTS) -> Least:
    """Return the lowest minimum of every sample. `begin`, samples x rank, is searched from as well.

    `many` says from how many starts.
    """
    n, rank = len(search.mean), search.root.shape[1]
    if rank == 0:
        return Least(np.zeros((n, 0)), np.ones(n, dtype=bool))
    rng = np.random.default_rng(seed)
    starts = [np.zeros((n, 1, rank)) if search.floor is None else np.full((n, 1, rank), search.floor)]
    if begin is not None:
        starts.append(begin[:, None])
    if rank == 1:
        starts.append(_cheapest(search, np.linspace(-REACH, REACH, GRID)[:, None], many))
    else:
        starts.append(_cheapest(search, _draws(search, rng, DRAWS, wide=True), many // 2))
        drawn = _draws(search, rng, many - many // 2, wide=False)
        starts.append(np.broadcast_to(drawn, (n, *drawn.shape)))
    w = np.concatenate(starts, axis=1)
    each = w.shape[1]
    rows = np.repeat(np.arange(n), each)
    ended, price = descend(search.take(rows), w.reshape(-1, rank))
    ended, price = ended.reshape(n, each, rank), price.reshape(n, each).max(axis=1)
    best, settled = np.empty((n, rank)), np.zeros(n, dtype=bool)
    for i in range(n):
        best[i], settled[i] = _settled(search.take(np.array([i])), ended[i], float(price[i]))
    return Least(best, settled)


def _draws(search: Search, rng: np.random.Generator, count: int, *, wide: bool) -> Array:
    """Return draws x rank of the prior; `wide` draws have all distances alike, up to beyond the usual."""
    rank = search.root.shape[1]
    signed = rank if search.floor is None else rank // 2
    w = rng.normal(size=(count, signed))
    if wide:
        far = rng.uniform(0.0, 2.0 + np.sqrt(signed), size=(count, 1))
        w *= far / np.linalg.norm(w, axis=1, keepdims=True)
    if search.floor is None:
        return w
    return search.floor + np.concatenate([np.maximum(w, 0.0), np.maximum(-w, 0.0)], axis=1)


def _cheapest(search: Search, drawn: Array, many: int) -> Array:
    """Return the draws that cost least, samples x starts x rank; on a grid its lowest minima."""
    n, looked = len(search.mean), len(drawn)
    chosen = np.empty((n, many, drawn.shape[1]))
    for block in blocks(n, looked * (search.mean.shape[1] + search.aim.network.graph.dimension)):
        samples = np.arange(block.start, block.stop)
        w = np.tile(drawn, (len(samples), 1))
        part = search.take(np.repeat(samples, looked))
        cost = part.cost(w, part.aim.look(part.inputs(w)), np.full(len(w), LOOK_PRICE))
        cost = cost.reshape(len(samples), looked)
        if drawn.shape[1] == 1:
            sides = np.pad(cost, ((0, 0), (1, 1)), constant_values=np.inf)
            is_low = (cost <= sides[:, :-2]) & (cost <= sides[:, 2:])
            cost = np.where(is_low, cost, np.inf)
        order = np.argsort(cost, axis=1)[:, :many]
        chosen[samples] = drawn[order]
    return chosen


def _settled(search: Search, ended: Array, price: float) -> tuple[Array, bool]:
    """Return the best minimum from the ends of steps, of one sample, and whether it is settled."""
    part = search.take(np.zeros(len(ended), dtype=np.intp))
    cost = part.cost(ended, part.aim.look(part.inputs(ended)), np.full(len(ended), price))
    kept: list[Array] = []
    for i in np.argsort(cost):
        near = (np.linalg.norm(ended[i] - w) <= 1e-3 * (1.0 + np.linalg.norm(w)) for w in kept)
        if len(kept) < ENDS and not any(near):
            kept.append(ended[i])
    walked = [settle(search, w[None], price) for w in kept]
    w, _, reached = min(walked, key=lambda walk: walk[1])
    return w[0], reached
