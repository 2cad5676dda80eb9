"""Discord: how much the two ends of an edge disagree, and where."""

from __future__ import annotations

import numpy as np

from sheafcli.core.chain.cochain import Cochain
from sheafcli.core.chain.network import Network
from sheafcli.core.chain.sheaf import pattern_of
from sheafcli.core.edge import Edge, activation_edge, affine_edge, output_edge
from sheafcli.core.types import Array


def residuals(network: Network, X: Array, cochain: Cochain) -> dict[Edge, Array]:
    """Return the residual of every edge, samples x edge stalk.

    r_l = W_l a_{l-1} + b_l - z_l, s_l = R_l z_l - a_l with the pattern of z_l, and, where the cochain
    has an output vertex, t = phi(z_{k+1}) - y^.
    """
    found: dict[Edge, Array] = {}
    a = X
    for layer, (W, b) in enumerate(zip(network.weights, network.biases, strict=True), start=1):
        z = cochain.z[layer]
        found[affine_edge(layer)] = a @ W.T + b - z
        if layer <= network.depth:
            a = cochain.a[layer]
            found[activation_edge(layer)] = pattern_of(z) * z - a
    if cochain.y is not None:
        t = network.output.value(cochain.z[network.depth + 1]) - cochain.y
        found[output_edge(network.depth + 1)] = t
    return found


def discord(residual: dict[Edge, Array]) -> dict[Edge, float]:
    """Return the discord of every edge: the mean over samples of the residual's squared 2-norm."""
    return {edge: float(np.mean(np.sum(r * r, axis=1))) for edge, r in residual.items()}


def training_discord(network: Network, X: Array, y: Array, cochain: Cochain) -> dict[Edge, float]:
    """Return the discord of training stalks.

    The output edge counts the mean of ||z_{k+1} - y||^2 for the identity and the mean cross-entropy
    otherwise.
    """
    found = discord(residuals(network, X, cochain))
    last = network.depth + 1
    found[output_edge(last)] = network.output.discord(cochain.z[last], y)
    return found


def training_energy(network: Network, X: Array, y: Array, cochain: Cochain) -> float:
    """Return the energy that joint training descends, a mean per sample.

    Half the discord of the affine and activation edges, plus the mean potential of the output edge.
    """
    stalks = sum(discord(residuals(network, X, cochain)).values())
    return 0.5 * stalks + float(np.mean(network.output.potential(cochain.z[network.depth + 1], y)))
