"""The joint flow of a plain chain's stalks and weights, on packed arrays.

With r_l = W_l a_{l-1} + b_l - z_l the stalks follow `sheafcli.core.chain.flow`, and the weights, from the
same old state,

    dW_l/dt = -beta r_l a_{l-1}^T,   db_l/dt = -beta r_l,   summed over the samples.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import scipy

from sheafcli.core.chain.cochain import Cochain
from sheafcli.core.chain.flow import Flow, InputEdge, homogeneous_maps, network_of, with_ones
from sheafcli.core.chain.network import Network
from sheafcli.core.chain.stability import largest_eigenvalue_bound, spectral_norm
from sheafcli.core.discord import training_discord, training_energy
from sheafcli.core.edge import Edge, activation_edge, affine_edge
from sheafcli.core.types import Array


class _LearningInput(InputEdge):
    """The first affine edge with weights that learn, as a product with the data."""

    def __init__(self, X: Array, H1: Array):
        self._X, self._H1 = with_ones(X), H1
        self._dgemm = scipy.linalg.blas.dgemm

    def residual(self, r1: Array) -> None:
        self._dgemm(1.0, self._X, self._H1, -1.0, r1, 0, 1, 1)

    def learn(self, rate: float, r1: Array) -> None:
        """W_1 <- W_1 - rate r_1^T [x, 1]."""
        self._dgemm(-rate, r1, self._X, 1.0, self._H1, 1, 0, 1)

    def settle(self) -> None:
        """Bring H1 up to date: it always is."""

    def refresh(self) -> None:
        """Read H1 anew: nothing is derived from it."""


class _GramInput(InputEdge):
    """The same edge through h_1 = W_1 x + b_1 alone, for fewer samples than inputs.

    A step changes h_1 by -rate K r_1 with K = X X^T + 1 (samples x samples), which costs n n_1
    products a sample instead of 2 n_0 n_1. The sum P of the rate r_1 is kept, and W_1 - P^T [x, 1] is
    formed by `settle`, when someone looks.
    """

    def __init__(self, X: Array, H1: Array):
        self._X, self._H1 = with_ones(X), H1
        self._K = np.asfortranarray(self._X @ self._X.T)
        self._P = np.zeros((len(X), H1.shape[0]), order="F")
        self._p_flat = self._P.T.reshape(-1)
        self._h = np.zeros_like(self._P)
        self.refresh()

    def residual(self, r1: Array) -> None:
        np.subtract(self._h, r1, out=r1)

    def learn(self, rate: float, r1: Array) -> None:
        scipy.linalg.blas.dsymm(-rate, self._K, r1, 1.0, self._h, 0, 0, 1)
        scipy.linalg.blas.daxpy(r1.T.reshape(-1), self._p_flat, a=rate)

    def settle(self) -> None:
        """Bring H1 up to date and start the sum anew."""
        scipy.linalg.blas.dgemm(-1.0, self._P, self._X, 1.0, self._H1, 1, 0, 1)
        self.refresh()

    def refresh(self) -> None:
        """Read H1 anew and forget the sum."""
        self._P[:] = 0.0
        scipy.linalg.blas.dgemm(1.0, self._X, self._H1, 0.0, self._h, 0, 1, 1)


class ChainFlow:
    """The state of the flow; see `sheafcli.core.training.heat.JointFlow`."""

    def __init__(self, network: Network, X: Array, y: Array, alpha: float, beta: float):
        self._X, self._y = X, np.asfortranarray(y)
        self._output = network.output
        self._alpha, self._beta = alpha, beta
        self.cochain = Cochain(network.widths, len(X))
        self._maps = homogeneous_maps(network)
        self._input_norm = spectral_norm(with_ones(X))
        gram = X.shape[0] < X.shape[1]
        self._first = (_GramInput if gram else _LearningInput)(X, self._maps[0])
        self._flow = Flow(self._maps[1:], self._first, self.cochain)
        self._dgemm = scipy.linalg.blas.dgemm

    def restart(self, stalks: str | Mapping[str, Array], seed: np.random.SeedSequence) -> None:
        """Begin the stalks anew."""
        self._first.settle()
        widths, n = self.cochain.widths, self.cochain.n_samples
        if not isinstance(stalks, str):
            fresh = Cochain.from_stalks(widths, stalks)
            if fresh.n_samples != n:
                raise ValueError(f"start stalks hold {fresh.n_samples} samples, the data {n}")
        elif stalks == "random":
            fresh = Cochain.random(widths, n, seed)
        elif stalks == "forward":
            fresh = Cochain.forward(self.network(), self._X)
        else:
            fresh = Cochain(widths, n)
        np.copyto(self.cochain.data, fresh.data)

    def step(self, dt: float) -> None:
        """Take one joint Euler step: all forces from the old state, then weights and stalks move."""
        flow, rate = self._flow, dt * self._beta
        flow.residuals()
        flow.pull_back()
        self._first.learn(rate, flow.r[1])
        for H, _, a, r, _ in flow.links:
            self._dgemm(-rate, r, a, 1.0, H, 1, 0, 1)  # H <- H - rate r^T a, in place
        last = len(self._maps)
        r_last = flow.r[last]
        np.subtract(r_last, self._output.value(self.cochain.z[last]), out=r_last)
        np.add(r_last, self._y, out=r_last)
        flow.gather()
        flow.move(dt * self._alpha)

    def settle(self) -> None:
        """Bring the weights of the first layer up to date."""
        self._first.settle()

    def squares(self) -> float:
        """Return the sum of the squares that the last step, or `largest_eigenvalue`, has left."""
        return self._flow.squares()

    def largest_eigenvalue(self) -> float:
        """Return a bound of the joint flow's largest eigenvalue, in units of alpha."""
        flow, scale = self._flow, np.sqrt(self._beta / self._alpha)
        flow.residuals()
        return largest_eigenvalue_bound(
            [spectral_norm(W[: r.shape[1]]) for _, W, _, r, _ in flow.links],
            output_stiffness=self._output.curvature,
            input_norms=[
                scale * norm
                for norm in (self._input_norm, *(spectral_norm(a) for _, _, a, _, _ in flow.links))
            ],
            residual_norms=[scale * float(np.linalg.norm(r)) for _, _, _, r, _ in flow.links],
        )

    def worst_edge(self) -> Edge:
        """Return the edge with the largest residual, one that is not finite before all others."""
        flow = self._flow
        flow.residuals()
        sizes: dict[Edge, float] = {}
        for layer, r in flow.r.items():
            sizes[affine_edge(layer)] = float(np.sum(r * r))
            if layer <= len(self.cochain.blocks):
                s = flow.s[:, self.cochain.blocks[layer - 1]]
                sizes[activation_edge(layer)] = float(np.sum(s * s))
        return max(sizes, key=lambda edge: np.nan_to_num(sizes[edge], nan=np.inf))

    def network(self) -> Network:
        """Return the network as it is now."""
        return network_of(self._maps, self._output)

    def stalks(self) -> dict[str, Array]:
        """Return copies of z1, a1, z2, ..., samples x n_l."""
        return self.cochain.copy().stalks()

    def energy(self) -> float:
        """Return half the discord of the stalks plus the output's potential, a mean per sample."""
        return training_energy(self.network(), self._X, self._y, self.cochain)

    def discord(self) -> dict[Edge, float]:
        """Return the training discord."""
        return training_discord(self.network(), self._X, self._y, self.cochain)

    def state(self) -> dict[str, Array]:
        """Return weights and stalks."""
        maps = {f"H{layer}": H.copy() for layer, H in enumerate(self._maps, start=1)}
        return {"stalks": self.cochain.data.copy()} | maps

    def restore(self, state: Mapping[str, Array]) -> None:
        """Take over a state of `state`, in place: the flow holds views of these arrays."""
        np.copyto(self.cochain.data, state["stalks"])
        for layer, H in enumerate(self._maps, start=1):
            np.copyto(H, state[f"H{layer}"])
        self._first.refresh()
