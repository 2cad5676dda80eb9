"""Discord: how much the two ends of an edge disagree, and where."""

from __future__ import annotations

import numpy as np

from sheafcli.core.edge import Edge
from sheafcli.core.network import AnyNetwork
from sheafcli.core.sweep import forward
from sheafcli.core.trace import Stalks
from sheafcli.core.types import Array


def residuals(network: AnyNetwork, X: Array, cochain: Stalks) -> dict[Edge, Array]:
    """Return the residual of every edge, samples x edge stalk: r_v = g_v(x_pa(v)) - x_v.

    Of a chain these are r_l = W_l a_{l-1} + b_l - z_l and s_l = R_l z_l - a_l, with the pattern of z_l. Where
    the cochain has an output vertex, t = phi(z) - y^ comes last. X is samples x input shape.
    """
    graph, stalks = network.graph, cochain.stalks()
    held = {v.index: stalks[name] for name, v in zip(network.stalks, graph.heads, strict=True)}
    steps = forward(graph, np.asarray(X, dtype=np.float64), held)
    found: dict[Edge, Array] = {}
    found |= {v.edge: value - held[v.index] for v, _, value in steps if v.edge is not None}
    if stalks.keys() - network.stalks.keys():
        found[graph.output_edge] = network.output.value(held[graph.output.index]) - stalks["y"]
    return found


def discord(residual: dict[Edge, Array]) -> dict[Edge, float]:
    """Return the discord of every edge: the mean over samples of the residual's squared 2-norm."""
    return {edge: float(np.sum(r * r)) / len(r) for edge, r in residual.items()}


def training_discord(network: AnyNetwork, X: Array, y: Array, cochain: Stalks) -> dict[Edge, float]:
    """Return the discord of training stalks.

    The output edge counts the mean of ||z - y||^2 for the identity and the mean cross-entropy otherwise.
    """
    found = discord(residuals(network, X, cochain))
    return found | {network.graph.output_edge: network.output.discord(_last(network, cochain), y)}


def training_energy(network: AnyNetwork, X: Array, y: Array, cochain: Stalks) -> float:
    """Return the energy that joint training descends, a mean per sample.

    Half the discord of the edges of the graph, plus the mean potential of the output edge.
    """
    stalks = sum(discord(residuals(network, X, cochain)).values())
    return 0.5 * stalks + float(np.mean(network.output.potential(_last(network, cochain), y)))


def _last(network: AnyNetwork, cochain: Stalks) -> Array:
    """Return the stalk z of the output, before phi."""
    return cochain.stalks()[[*network.stalks][-1]]
