"""Equilibrium training on any graph: one walk forwards, and for every product with S one back and one forth.

With f the output of the forward pass, lambda the pull on the output (`sheafcli.core.multipliers`), u_v =
J_v^T lambda by a walk backwards and d_v by one forwards (`sheafcli.core.sweep.respond`), the residual of edge
v is -u_v and its input x_p + d_p. Its parameters learn from these two alone: the gradient of half the
discord is that of -sum(u_v * g_v(x_p + d_p)), a mean over the samples.

To first order in gamma, lambda is gamma (y - phi(f)). For a small gamma that is near enough, which one
product with S confirms; then a step is a walk forwards, one backwards and one forwards.
"""

from __future__ import annotations

import numpy as np

from sheafcli.core.edge import Edge
from sheafcli.core.multipliers import multipliers
from sheafcli.core.outputs import Identity
from sheafcli.core.sweep import Linearization, Response, linearize, respond
from sheafcli.core.training.graph.parameters import GraphBatch, GraphParameters
from sheafcli.core.types import Array

# The error of lambda that a step allows itself, as a share of it: far below what a step changes.
TOLERANCE = 1e-3
# To first order lambda is gamma (y - phi(f)), short by this share of it at most: nearer than the last step's.
FROM_SCRATCH = 0.01
# With more than this left, the resistance has outgrown floating point.
WORST = 0.1


class EquilibriumRule:
    """The gradient of E_gamma / gamma; see `sheafcli.core.training.descent.Rule`.

    `pull` is lambda of the batch evaluated last, samples x outputs.
    """

    def __init__(self, gamma: float, tolerance: float = TOLERANCE):
        self.gamma, self.tolerance = gamma, tolerance
        self.sound = True

    def evaluate(self, parameters: GraphParameters, batch: GraphBatch, guess: Array | None) -> Array | None:
        """Write the gradient into `parameters`; guess and result are lambda, samples x outputs.

        The result is None where no guess is needed, or where the resistance hardly resists: from scratch
        is nearer then.
        """
        graph, output = parameters.graph, parameters.output
        self._output, self._output_edge, self._y = output, graph.output_edge, batch.y
        self._f, self._resisted, self.pull = (np.empty_like(batch.y) for _ in range(3))
        self._discord = dict.fromkeys(graph.edges, 0.0)
        self.sound = True
        parameters.gradient[:] = 0.0
        for block in batch.blocks():
            at = linearize(graph, batch.X[block], keep=parameters.slopes)
            self._f[block] = at.output
            response = self._solve(parameters, at, block, None if guess is None else guess[block])
            for vertex in graph.heads:
                u = response.u[vertex.index]
                assert vertex.edge is not None
                self._discord[vertex.edge] += float(np.vdot(u, u)) / batch.size
                if vertex.index in parameters.slopes:
                    x = at.inputs[vertex.index]
                    # The input of the network does not move.
                    x = x + response.inputs[vertex.index] if min(vertex.parents) > 0 else x
                    parameters.learn(vertex.index, x, u)
        parameters.gradient *= -output.loss_scale(graph.output.size) / (self.gamma * batch.size)
        if graph.output.size == 1 and isinstance(output, Identity):
            return None
        resisted = self.gamma * output.curvature * float(np.linalg.norm(self._resisted))
        return self.pull if resisted > FROM_SCRATCH * float(np.linalg.norm(self.pull)) else None

    def loss(self) -> float:
        """Return the loss of the forward pass, which the equilibrium has left behind."""
        return self._output.loss(self._f, self._y)

    def energy(self) -> float:
        """Return the mean of gamma times the output's potential plus half the squared residuals."""
        potential = self._output.potential(self._f + self._resisted, self._y)
        return self.gamma * float(np.mean(potential)) + 0.5 * sum(self._discord.values())

    def discord(self) -> dict[Edge, float]:
        """Return the discord of the equilibrium whose gradient was taken last, at no extra solve."""
        pulled = self._output.discord(self._f + self._resisted, self._y)
        return self._discord | {self._output_edge: pulled}

    def _solve(
        self, parameters: GraphParameters, at: Linearization, block: slice, guess: Array | None
    ) -> Response:
        """Find lambda of some samples by products with S; return the last response, that to lambda."""
        response: Response | None = None

        def resist(v: Array) -> Array:
            nonlocal response
            response = respond(at, v, keep=parameters.slopes)
            return response.output

        y = self._y[block]
        pull, left = multipliers(self._output, at.output, y, self.gamma, resist, guess, self.tolerance)
        assert response is not None
        self.sound &= left <= WORST
        self.pull[block], self._resisted[block] = pull, response.output
        return response
