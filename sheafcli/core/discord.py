"""Discord: how much the two ends of an edge disagree, and where."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sheafcli.core.cochain import Cochain
from sheafcli.core.network import Network
from sheafcli.core.outputs import Array
from sheafcli.core.sheaf import pattern_of


@dataclass(frozen=True, order=True)
class Edge:
    """An edge of the path: its layer (from 1) and its operation, affine, activation or output."""

    layer: int
    operation: str

    @property
    def name(self) -> str:
        """The name in tables: affine_1, activation_1, ..., output."""
        return self.operation if self.operation == "output" else f"{self.operation}_{self.layer}"


def edges(depth: int, *, output: bool = True) -> list[Edge]:
    """Return the edges of a path with so many hidden layers, in order; the output edge last if asked for."""
    path = []
    for layer in range(1, depth + 1):
        path += [Edge(layer, "affine"), Edge(layer, "activation")]
    path.append(Edge(depth + 1, "affine"))
    return [*path, Edge(depth + 1, "output")] if output else path


def residuals(network: Network, X: Array, cochain: Cochain) -> dict[Edge, Array]:
    """Return the residual of every edge, samples x edge stalk.

    r_l = W_l a_{l-1} + b_l - z_l, s_l = R_l z_l - a_l with the pattern of z_l, and, where the cochain
    has an output vertex, t = phi(z_{k+1}) - y^.
    """
    found: dict[Edge, Array] = {}
    a = X
    for layer, (W, b) in enumerate(zip(network.weights, network.biases, strict=True), start=1):
        z = cochain.z[layer]
        found[Edge(layer, "affine")] = a @ W.T + b - z
        if layer <= network.depth:
            a = cochain.a[layer]
            found[Edge(layer, "activation")] = pattern_of(z) * z - a
    if cochain.y is not None:
        t = network.output.value(cochain.z[network.depth + 1]) - cochain.y
        found[Edge(network.depth + 1, "output")] = t
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
    found[Edge(last, "output")] = network.output.discord(cochain.z[last], y)
    return found


def training_energy(network: Network, X: Array, y: Array, cochain: Cochain) -> float:
    """Return the energy that joint training descends, a mean per sample.

    Half the discord of the affine and activation edges, plus the mean potential of the output edge.
    """
    stalks = sum(discord(residuals(network, X, cochain)).values())
    return 0.5 * stalks + float(np.mean(network.output.potential(cochain.z[network.depth + 1], y)))
