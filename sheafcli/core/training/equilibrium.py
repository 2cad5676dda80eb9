"""Sheaf training with the fast phase solved: every step at the equilibrium of the stalks.

With the input pinned and an output edge of stiffness gamma pulling z_{k+1} towards y, the stalks of
`Heat` tend to an equilibrium while the weights stand still. Here each step finds it in closed form
(`sheafcli.core.equilibrium`), on the pattern R_l of the forward pass and without forming S: with the
pull lambda on the output stalk,

    v_{k+1} = lambda,  u_l = W_{l+1}^T v_{l+1},  v_l = R_l u_l,  d_l = u_l + v_l + R_l W_l d_{l-1},  d_0 = 0,

the residuals are r_l = -v_l and s_l = -u_l, the stalks a_l = forward + d_l, and S lambda is
lambda + W_{k+1} d_k. Each affine edge then learns from its own residual and its own input alone,

    dE_gamma / dW_l = r_l a_{l-1}^T = -v_l a_{l-1}^T,   a mean over the samples,

with E_gamma = gamma Loss + half the discord. Divided by gamma it tends to back-propagation's gradient as
gamma -> 0; gamma = 1 is the energy of `Heat`. The optimizer is given E_gamma / gamma in units of the
reported loss, so that a learning rate keeps its meaning whatever gamma is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sheafcli.core.discord import Edge
from sheafcli.core.multipliers import multipliers
from sheafcli.core.network import Network, Seed
from sheafcli.core.outputs import Array, Identity
from sheafcli.core.training.descent import Descent, DescentSession
from sheafcli.core.training.layers import Batch, Parameters, pull_back

# The largest error of lambda, as a share of gamma, that a step allows itself: far below what a step changes.
TOLERANCE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Equilibrium(Descent):
    """Descent of the equilibrium's energy; `gamma` is the stiffness of the output edge."""

    gamma: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 < self.gamma < np.inf:
            raise ValueError(f"gamma must be above 0 and finite, got {self.gamma!r}")

    def start(self, network: Network, X: Array, y: Array, seed: Seed = 0) -> DescentSession:
        """Begin a session; `seed` draws the order of mini-batches."""
        return DescentSession(self, EquilibriumRule(self.gamma), network, X, y, seed)


class EquilibriumRule:
    """The gradient of E_gamma / gamma; see `sheafcli.core.training.descent.Rule`.

    All arrays have one column a sample. The stalks' response to a pull is linear: with one output it is
    computed once, for a pull of one, and scaled by lambda; with several, for lambda itself.
    """

    def __init__(self, gamma: float, tolerance: float = TOLERANCE):
        self.gamma, self.tolerance = gamma, tolerance

    def evaluate(self, parameters: Parameters, batch: Batch, guess: Array | None) -> Array:
        """Write the gradient into `parameters`; guess and result are lambda, samples x n_{k+1}."""
        self._output, self._y = parameters.output, batch.y.T
        self._f = batch.forward(parameters.H).T
        if self._f.shape[1] > 1:
            pull = self._pull(lambda v: self._respond(parameters, batch, v.T).T, guess)
            self._resisted = self._respond(parameters, batch, pull.T).T
            scale = None
        else:
            S = self._respond(parameters, batch, np.ones_like(self._f.T)).T
            if isinstance(self._output, Identity):
                pull = (self._y - self._f) / (S + 1.0 / self.gamma)
            else:
                pull = self._pull(lambda v: S * v, guess)
            self._resisted, scale = S * pull, pull.T
        self._scale = scale
        factor = -self._output.loss_scale(self._f.shape[1]) / (self.gamma * batch.size)
        for v, d, a, G in zip(self._v, self._d, batch.a, parameters.G, strict=True):
            # v_l (a_{l-1} + d_{l-1})^T, with v and d in units of lambda where they have a scale.
            np.matmul(v, a.T if scale is None else (a * scale).T, out=G)
            if d is not None:
                G[:, :-1] += v @ (d if scale is None else d * (scale * scale)).T
            np.multiply(G, factor, out=G)
        return pull

    def energy(self) -> float:
        """Return the mean of gamma Loss + half the squared residuals, the loss in units of its potential."""
        stalks = sum(value for edge, value in self.discord().items() if edge.operation != "output")
        return self.gamma * float(np.mean(self._output.potential(self._z(), self._y))) + 0.5 * stalks

    def discord(self) -> dict[Edge, float]:
        """Return the discord of the equilibrium whose gradient was taken last, at no extra solve."""
        last = len(self._u) + 1
        found = {}
        for layer, (u, v) in enumerate(zip(self._u, self._v[:-1], strict=True), start=1):
            found[Edge(layer, "affine")] = self._square(v)
            found[Edge(layer, "activation")] = self._square(u)
        found[Edge(last, "affine")] = self._square(self._v[-1])
        return found | {Edge(last, "output"): self._output.discord(self._z(), self._y)}

    def _pull(self, resist: Callable[[Array], Array], guess: Array | None) -> Array:
        return multipliers(self._output, self._f, self._y, self.gamma, resist, guess, self.tolerance)

    def _respond(self, parameters: Parameters, batch: Batch, pull: Array) -> Array:
        """Compute u_l, v_l and d_l for a pull on the output; return S times it, outputs x samples."""
        W, R = parameters.W, batch.R
        u: list[Array] = []
        v = [pull]
        for layer in range(len(R), 0, -1):
            u.append(pull_back(W[layer], v[-1]))
            v.append(R[layer - 1] * u[-1])
        self._u, self._v = u[::-1], v[::-1]
        self._d: list[Array | None] = [None]
        moved = None
        for layer, active in enumerate(R):
            shift = self._u[layer] + self._v[layer]
            if moved is not None:
                shift += active * (W[layer] @ moved)
            moved = shift
            self._d.append(moved)
        return pull if moved is None else pull + W[-1] @ moved

    def _z(self) -> Array:
        """Return z_{k+1} of the equilibrium: there the output's force balances lambda."""
        return self._f + self._resisted

    def _square(self, residual: Array) -> float:
        scaled = residual if self._scale is None else residual * self._scale
        return float(np.sum(scaled * scaled)) / len(self._f)
