"""The chain rule on packed layers, one column a sample.

With e = c (phi(z_{k+1}) - y), c = 2 / (n n_{k+1}) for the identity and 1 / n otherwise,

    dW_l = e_l^T a_{l-1},  db_l = sum of e_l,  e_{k+1} = e,  e_l = (e_{l+1} W_{l+1}) 1[z_l >= 0].
"""

from __future__ import annotations

import numpy as np

from sheafcli.core.chain.network import Network
from sheafcli.core.chain.training.layers import Batch, Parameters, pull_back
from sheafcli.core.edge import Edge, edges, output_edge
from sheafcli.core.network import as_inputs, as_targets
from sheafcli.core.types import Array


class BackpropRule:
    """The chain rule; see `sheafcli.core.training.descent.Rule`."""

    sound = True

    def evaluate(self, parameters: Parameters, batch: Batch, guess: Array | None) -> None:
        """Write the gradient of the loss into `parameters`; no guess is needed."""
        output = parameters.output
        self._depth, self._output = len(batch.R), output
        self._z, self._y = batch.forward(parameters.H).T, batch.y.T
        error: Array = output.value(self._z).T - batch.y
        error *= output.loss_scale(batch.y.shape[0]) / batch.size
        for layer in range(len(parameters.H) - 1, -1, -1):
            np.matmul(error, batch.a[layer].T, out=parameters.G[layer])
            if layer > 0:
                error = pull_back(parameters.W[layer], error)
                error *= batch.R[layer - 1]

    def loss(self) -> float:
        """Return the loss."""
        return self._output.loss(self._z, self._y)

    def energy(self) -> float:
        """Return the output's mean potential: the forward pass has no other energy."""
        return float(np.mean(self._output.potential(self._z, self._y)))

    def discord(self) -> dict[Edge, float]:
        """Return the training discord of the forward pass: the output edge carries all of it."""
        found = dict.fromkeys(edges(self._depth), 0.0)
        return found | {output_edge(self._depth + 1): self._output.discord(self._z, self._y)}


def gradient(network: Network, X: Array, y: Array) -> list[tuple[Array, Array]]:
    """Return (dLoss/dW_l, dLoss/db_l) for l = 1..k+1."""
    X = as_inputs(network, X)
    parameters, batch = Parameters(network, np.float64), Batch(network.widths, len(X), np.float64)
    batch.load(X, as_targets(network, y, len(X)))
    BackpropRule().evaluate(parameters, batch, None)
    return [(G[:, :-1], G[:, -1]) for G in parameters.G]
