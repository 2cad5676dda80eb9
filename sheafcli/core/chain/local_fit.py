"""What one layer can repair from its own edge alone: least squares between adjacent vertices.

At an equilibrium with input and output pinned, affine l has the residual r_l = W_l a_{l-1} + b_l - z_l. Some
of it is linear in [a_{l-1}, 1]: another map would not have it. `explainable_share` says how much; moving
W_l and b_l that way is the repair of that layer alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sheafcli.core.chain.cochain import Cochain
from sheafcli.core.chain.network import Network
from sheafcli.core.types import Array

# Directions of a_{l-1} below this share of the largest are rounding.
RANK_TOLERANCE = 1e-8
# The layers share the residual, so that a fit of one falls short: it is lengthened up to 2^DOUBLINGS times.
DOUBLINGS = 8


@dataclass(frozen=True)
class LocalFit:
    """What local least squares does for one layer.

    `explainable` is the share of the squared residual that is linear in [a_{l-1}, 1], adjusted for the number
    of samples: 1 - (SSE / (n - rank)) / (SST / n), at least 0, NaN where n <= rank; `loss` is that of the
    network after the repair.
    """

    layer: int
    explainable: float
    loss: float


def local_fits(network: Network, X: Array, y: Array, settled: Cochain) -> list[LocalFit]:
    """Repair every layer alone by least squares, from an equilibrium pinned to X and y."""
    forward = [X, *(np.maximum(z, 0.0) for z in network.pre_activations(X)[:-1])]
    found = []
    for layer, (W, b) in enumerate(zip(network.weights, network.biases, strict=True), start=1):
        z = settled.z[layer]
        a = X if layer == 1 else settled.a[layer - 1]
        share = explainable_share(z - a @ W.T - b, a)
        move, _ = _least_squares(forward[layer - 1], z - forward[layer - 1] @ W.T - b)
        found.append(LocalFit(layer, share, _loss_after(network, X, y, layer, move)))
    return found


def explainable_share(residual: Array, a: Array) -> float:
    """Return the adjusted share of a residual, samples x n_l, that is linear in [a, 1]."""
    n, total = len(residual), float(np.sum(residual * residual))
    fit, rank = _least_squares(a, residual)
    if n <= rank or total == 0.0:
        return float("nan")
    left = float(np.sum((residual - _extended(a) @ fit.T) ** 2))
    return max(0.0, 1.0 - (left / (n - rank)) / (total / n))


def _loss_after(network: Network, X: Array, y: Array, layer: int, move: Array) -> float:
    """Return the least loss along a move of [W_l, b_l] that is doubled while that helps."""
    best = network.output.loss(network.logits(X), y)
    for doubling in range(DOUBLINGS + 1):
        weights, biases = list(network.weights), list(network.biases)
        weights[layer - 1] = weights[layer - 1] + 2.0**doubling * move[:, :-1]
        biases[layer - 1] = biases[layer - 1] + 2.0**doubling * move[:, -1]
        moved = Network(tuple(weights), tuple(biases), network.output)
        loss = network.output.loss(moved.logits(X), y)
        if not loss < best:
            break
        best = loss
    return best


def _least_squares(a: Array, target: Array) -> tuple[Array, int]:
    """Return the least-norm M, n_l x (n_{l-1} + 1), with [a, 1] M^T nearest to the target, and the rank."""
    M, _, rank, _ = np.linalg.lstsq(_extended(a), target, rcond=RANK_TOLERANCE)
    return np.asarray(M.T), int(rank)


def _extended(a: Array) -> Array:
    return np.hstack([a, np.ones((len(a), 1))])
