"""The forces of the heat equation on packed stalks: the one hot loop of training and diffusion.

The energy E is half the sum of the squared residuals. With r_l = W_l a_{l-1} + b_l - z_l and
s_l = R_l z_l - a_l, the gradient flow is (MATH: heat equation)

    dz_l/dt = alpha (r_l - R_l s_l),   da_l/dt = alpha (s_l - W_{l+1}^T r_{l+1}).

Affine maps are kept homogeneous, [[W, b], [0, 1]] with one more coordinate on either side (the last
layer: [W, b]), so that each is one matrix product; the homogeneous coordinate's own residual is zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from scipy.linalg.blas import daxpy, dgemm

from sheafcli.core.cochain import Cochain
from sheafcli.core.network import Network
from sheafcli.core.outputs import Array, Output


def homogeneous_maps(network: Network) -> list[Array]:
    """Return the affine maps of a network in homogeneous coordinates, in Fortran order."""
    maps = []
    for layer, (W, b) in enumerate(zip(network.weights, network.biases, strict=True), start=1):
        hidden = layer <= network.depth
        H = np.zeros((W.shape[0] + hidden, W.shape[1] + 1), order="F")
        H[: W.shape[0], :-1], H[: W.shape[0], -1] = W, b
        if hidden:
            H[-1, -1] = 1.0
        maps.append(H)
    return maps


def network_of(maps: Sequence[Array], output: Output) -> Network:
    """Return the network with these homogeneous affine maps: the inverse of `homogeneous_maps`."""
    rows = [H.shape[0] - 1 for H in maps[:-1]] + [maps[-1].shape[0]]
    weights = tuple(H[:n, :-1] for H, n in zip(maps, rows, strict=True))
    biases = tuple(H[:n, -1] for H, n in zip(maps, rows, strict=True))
    return Network(weights, biases, output)


def with_ones(X: Array) -> Array:
    """Return X with a column of ones appended, in Fortran order."""
    extended = np.ones((X.shape[0], X.shape[1] + 1), order="F")
    extended[:, :-1] = X
    return extended


class InputEdge(Protocol):
    """The first affine edge, whose earlier vertex, the input, never moves."""

    def residual(self, r1: Array) -> None:
        """Overwrite r1, which holds z_1 (with its homogeneous column), by W_1 x + b_1 - z_1."""


class FixedInput:
    """The first affine edge while its weights rest: W_1 x + b_1 is computed once."""

    def __init__(self, X: Array, H1: Array):
        self._h1 = np.asfortranarray(with_ones(X) @ H1.T)

    def residual(self, r1: Array) -> None:
        """Overwrite z_1 in r1 by h_1 - z_1."""
        np.subtract(self._h1, r1, out=r1)


class Flow:
    """Residuals and forces of a cochain under affine maps, computed in place.

    Parameters
    ----------
    maps
        The homogeneous affine maps of layers 2..k+1; they may change between calls, in place.
    first
        The first affine edge.
    cochain
        The stalks; `move` changes them in place.

    After `residuals`, `r[l]` holds r_l (hidden layers with a zero homogeneous column) and the array
    `s` the activation residuals, packed as the cochain's hidden stalks. After `pull_back`, `s` holds
    the force on the a_l and `q` the products R_l s_l.
    """

    def __init__(self, maps: Sequence[Array], first: InputEdge, cochain: Cochain):
        self.cochain = cochain
        self.first = first
        self._r = np.zeros_like(cochain.z_all)
        self.s = np.zeros_like(cochain.z_hidden)
        self.q = np.zeros_like(self.s)
        self._active = np.zeros(self.s.shape, dtype=bool, order="F")
        self._R = np.zeros_like(self.s)
        self.r: dict[int, Array] = {
            layer: self._r[:, block] for layer, block in enumerate(cochain.blocks, start=1)
        }
        self.r[len(cochain.blocks) + 1] = self._r[:, self.s.shape[1] :]
        # A link is (W_l homogeneous, W_l alone, extended a_{l-1}, r_l, force on a_{l-1}), l >= 2.
        self.links = [
            (H, H[:, :-1], cochain.a_hidden[:, block], self.r[layer], self.s[:, block][:, :-1])
            for layer, (H, block) in enumerate(zip(maps, cochain.blocks, strict=True), start=2)
        ]
        # One-dimensional views of the packed blocks, for BLAS level 1.
        self._z_flat, self._r_flat = cochain.z_all.T.reshape(-1), self._r.T.reshape(-1)
        self._zh_flat, self._q_flat = cochain.z_hidden.T.reshape(-1), self.q.T.reshape(-1)
        self._a_flat, self._s_flat = cochain.a_hidden.T.reshape(-1), self.s.T.reshape(-1)

    def residuals(self) -> None:
        """Compute r_l and s_l from the stalks, with the pattern R_l = diag(1[z_l >= 0]) re-read."""
        z, a = self.cochain.z_hidden, self.cochain.a_hidden
        np.copyto(self._r, self.cochain.z_all)
        self.first.residual(self.r[1])
        for H, _, a_before, r, _ in self.links:
            dgemm(1.0, a_before, H, -1.0, r, 0, 1, 1)  # r <- a H^T - r, in place
        # A float copy of the pattern: a product with it costs half of one with booleans.
        np.greater_equal(z, 0.0, out=self._active)
        np.copyto(self._R, self._active)
        np.multiply(z, self._R, out=self.s)
        np.subtract(self.s, a, out=self.s)

    def pull_back(self) -> None:
        """Turn residuals into forces: q <- R_l s_l and s_l <- s_l - W_{l+1}^T r_{l+1}."""
        np.multiply(self.s, self._R, out=self.q)
        for _, W, _, r, force in self.links:
            dgemm(-1.0, r, W, 1.0, force, 0, 0, 1)  # force <- force - r W, in place

    def move(self, step: float) -> None:
        """Add step times the forces to the stalks: dz = r - q, da = s."""
        daxpy(self._r_flat, self._z_flat, a=step)
        if self._q_flat.size:
            daxpy(self._q_flat, self._zh_flat, a=-step)
            daxpy(self._s_flat, self._a_flat, a=step)

    def squared_residuals(self) -> float:
        """Return the sum of the squares that `r` and `s` hold now."""
        return float(self._r_flat @ self._r_flat + self._s_flat @ self._s_flat)
