"""The chain rule on any graph: one walk forwards and one backwards.

With e = c (phi(z) - y) at the output z, c = 2 / (n outputs) for the identity and 1 / n otherwise, the pull on
a vertex is w_v = J_v^T e, and the gradient in its operation's parameters that of sum(w_v * g_v(x)).
"""

from __future__ import annotations

import numpy as np

from sheafcli.core.edge import Edge
from sheafcli.core.sweep import linearize, pull_back
from sheafcli.core.training.graph.parameters import GraphBatch, GraphParameters
from sheafcli.core.types import Array


class BackpropRule:
    """The chain rule; see `sheafcli.core.training.descent.Rule`."""

    sound = True

    def evaluate(self, parameters: GraphParameters, batch: GraphBatch, guess: Array | None) -> None:
        """Write the gradient of the loss into `parameters`; no guess is needed."""
        graph, output = parameters.graph, parameters.output
        self._graph, self._output, self._y = graph, output, batch.y
        self._z: Array = np.empty_like(batch.y)
        scale = output.loss_scale(graph.output.size) / batch.size
        parameters.gradient[:] = 0.0
        for block in batch.blocks():
            at = linearize(graph, batch.X[block], keep=parameters.slopes)
            self._z[block] = at.output
            error = output.value(at.output) - batch.y[block]
            error *= scale
            for vertex, w in pull_back(at, {graph.output.index: error}, down_to=min(parameters.slopes)):
                if vertex.index in parameters.slopes:
                    parameters.learn(vertex.index, at.inputs[vertex.index], w)

    def loss(self) -> float:
        """Return the loss."""
        return self._output.loss(self._z, self._y)

    def energy(self) -> float:
        """Return the output's mean potential: the forward pass has no other energy."""
        return float(np.mean(self._output.potential(self._z, self._y)))

    def discord(self) -> dict[Edge, float]:
        """Return the training discord of the forward pass: the output edge carries all of it."""
        nothing = dict.fromkeys(self._graph.edges, 0.0)
        return nothing | {self._graph.output_edge: self._output.discord(self._z, self._y)}
