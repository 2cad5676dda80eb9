"""Equilibrium training on packed layers, one column a sample.

On the pattern R_l of the forward pass and without forming S: with the pull lambda on the output stalk,

    v_{k+1} = lambda,  u_l = W_{l+1}^T v_{l+1},  v_l = R_l u_l,  d_l = u_l + v_l + R_l W_l d_{l-1},  d_0 = 0,

the residuals are r_l = -v_l and s_l = -u_l, the stalks a_l = forward + d_l, and S lambda is
lambda + W_{k+1} d_k. Each affine edge then learns from its own residual and its own input alone,

    dE_gamma / dW_l = r_l a_{l-1}^T = -v_l a_{l-1}^T,   a mean over the samples.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sheafcli.core.chain.training.layers import Batch, Parameters, pull_back
from sheafcli.core.edge import Edge, activation_edge, affine_edge, output_edge
from sheafcli.core.multipliers import multipliers
from sheafcli.core.outputs import Identity
from sheafcli.core.training.graph.equilibrium import FROM_SCRATCH, TOLERANCE, WORST
from sheafcli.core.types import Array


class EquilibriumRule:
    """The gradient of E_gamma / gamma; see `sheafcli.core.training.descent.Rule`.

    `pull` is lambda of the batch evaluated last, samples x n_{k+1}.
    All arrays have one column a sample, but for those of outputs that `multipliers` works on.
    """

    def __init__(self, gamma: float, tolerance: float = TOLERANCE):
        self.gamma, self.tolerance = gamma, tolerance
        self.sound = True
        self._scale: Array | None = None
        self._u: list[Array] = []
        self._patterns: list[Array] = []

    def evaluate(self, parameters: Parameters, batch: Batch, guess: Array | None) -> Array | None:
        """Write the gradient into `parameters`; guess and result are lambda, samples x n_{k+1}.

        The result is None where no guess is needed, or where the resistance hardly resists: from scratch
        is nearer then.
        """
        self._output, self._y = parameters.output, batch.y.T
        self._f = batch.forward(parameters.H).T
        single = self._f.shape[1] == 1
        factor = -self._output.loss_scale(self._f.shape[1]) / (self.gamma * batch.size)
        (self._single if single else self._several)(parameters, batch, guess, factor)
        if single and isinstance(self._output, Identity):
            return None
        resisted = self.gamma * self._output.curvature * float(np.linalg.norm(self._resisted))
        return self.pull if resisted > FROM_SCRATCH * float(np.linalg.norm(self.pull)) else None

    def loss(self) -> float:
        """Return the loss of the forward pass, which the equilibrium has left behind."""
        return self._output.loss(self._f, self._y)

    def energy(self) -> float:
        """Return the mean of gamma times the output's potential plus half the squared residuals."""
        stalks = sum(value for edge, value in self.discord().items() if edge.operation != "output")
        return (
            self.gamma * float(np.mean(self._output.potential(self._f + self._resisted, self._y)))
            + 0.5 * stalks
        )

    def discord(self) -> dict[Edge, float]:
        """Return the discord of the equilibrium whose gradient was taken last, at no extra solve."""
        found = {}
        for layer, (u, R) in enumerate(zip(self._u, self._patterns, strict=True), start=1):
            found[affine_edge(layer)] = self._square(R * u)
            found[activation_edge(layer)] = self._square(u)
        last = len(self._u) + 1
        found[affine_edge(last)] = float(np.mean(np.sum(self.pull * self.pull, axis=1)))
        return found | {output_edge(last): self._output.discord(self._f + self._resisted, self._y)}

    def _single(self, parameters: Parameters, batch: Batch, guess: Array | None, factor: float) -> None:
        """Respond to a pull of one, and scale: S is a number a sample, and all is linear in lambda."""
        # With one hidden layer u is W_2^T for every sample, and all else is made of the pattern itself.
        shallow = len(batch.R) == 1
        if shallow:
            W, R = parameters.W[1], batch.R[0]
            squares = W * W
            S = (squares @ R).T + (1.0 + squares.sum())
        else:
            S = self._respond(parameters, batch, batch.one).T
        if isinstance(self._output, Identity):
            pull = (self._y - self._f) / (S + 1.0 / self.gamma)
        else:
            pull = self._multipliers(lambda v: S * v, guess)
        self.pull, self._scale, self._resisted = pull, pull.T, S * pull
        weight = factor * pull.T
        square = weight * pull.T
        np.matmul(weight, batch.a[-1].T, out=parameters.G[-1])
        if shallow:
            np.multiply(W.T, R @ (batch.a[0] * weight).T, out=parameters.G[0])
            parameters.G[1][:, :-1] += W * (square.sum() + square @ R.T)
            self._u, self._patterns = [W.T], batch.R
            return
        # lambda v_l (a_{l-1} + lambda d_{l-1})^T: the inputs are scaled, of which there are often fewer.
        for v, d, a, G in zip(self._v, self._d, batch.a, parameters.G, strict=False):
            scaled = a * weight
            if d is not None:
                scaled[:-1] += d * square
            np.matmul(v, scaled.T, out=G)
        if self._d[-1] is not None:
            parameters.G[-1][:, :-1] += square @ self._d[-1].T

    def _several(self, parameters: Parameters, batch: Batch, guess: Array | None, factor: float) -> None:
        """Find lambda by products with S, each a response, and respond to it."""

        def resist(v: Array) -> Array:
            resisted = self._resisted = self._respond(parameters, batch, v.T).T
            return resisted

        # The last response is that to lambda.
        pull = self._multipliers(resist, guess)
        self.pull, self._scale = pull, None
        for v, d, a, G in zip([*self._v, pull.T], self._d, batch.a, parameters.G, strict=True):
            scaled = factor * v
            np.matmul(scaled, a.T, out=G)
            if d is not None:
                G[:, :-1] += scaled @ d.T

    def _multipliers(self, resist: Callable[[Array], Array], guess: Array | None) -> Array:
        pull, left = multipliers(self._output, self._f, self._y, self.gamma, resist, guess, self.tolerance)
        self.sound = left <= WORST
        return pull

    def _respond(self, parameters: Parameters, batch: Batch, pull: Array) -> Array:
        """Compute u_l and v_l of the hidden layers and d_0, ..., d_k; return S times the pull."""
        W, R = parameters.W, batch.R
        self._patterns = R
        self._u, self._v = [], list[Array]()
        passed = pull
        for layer in range(len(R), 0, -1):
            u = pull_back(W[layer], passed)
            passed = R[layer - 1] * u
            self._u.insert(0, u)
            self._v.insert(0, passed)
        self._d: list[Array | None] = [None]
        for layer, (u, v) in enumerate(zip(self._u, self._v, strict=True)):
            before, moved = self._d[-1], u + v
            if before is not None:
                moved += R[layer] * (W[layer] @ before)
            self._d.append(moved)
        last = self._d[-1]
        return pull if last is None else pull + W[-1] @ last

    def _square(self, residual: Array) -> float:
        """Return the mean over samples of a residual's square, given for a pull of one or for lambda."""
        scaled = residual if self._scale is None else residual * self._scale
        return float(np.sum(scaled * scaled)) / len(self._f)
