"""The forces of the heat equation on packed stalks: the one hot loop of training and diffusion.

The energy E is half the sum of the squared residuals. With r_l = W_l a_{l-1} + b_l - z_l and
s_l = R_l z_l - a_l, the gradient flow is

    dz_l/dt = alpha (r_l - R_l s_l),   da_l/dt = alpha (s_l - W_{l+1}^T r_{l+1}).

Affine maps are kept homogeneous, [[W, b], [0, 1]] with one more coordinate on either side (the last
layer: [W, b]), so that each is one matrix product; the homogeneous coordinate's own residual is zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import scipy

from sheafcli.core.chain.cochain import Cochain
from sheafcli.core.chain.network import Network
from sheafcli.core.outputs import Output
from sheafcli.core.types import Array


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

    `rate` is packed as the cochain's data, and its parts are worked on in place. After `residuals`, `r[l]`
    holds r_l (hidden layers with a zero homogeneous column) and `s` the s_l, as the hidden a_l are packed.
    After `pull_back`, `s` holds the force on the a_l; after `gather`, `r` holds the force on the z_l.
    """

    def __init__(self, maps: Sequence[Array], first: InputEdge, cochain: Cochain):
        self.cochain = cochain
        self.first = first
        self.rate = np.zeros_like(cochain.data)
        half, zs = cochain.z_hidden.shape[1], cochain.z_all.shape[1]
        self._r = self.rate[:, :zs]
        self.s = self.rate[:, zs : zs + half]
        self._q = np.zeros_like(self.s)
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
        # One-dimensional views of packed columns, for BLAS level 1.
        self._data_flat, self._rate_flat = cochain.data.T.reshape(-1), self.rate.T.reshape(-1)
        self._rh_flat, self._q_flat = self.rate[:, :half].T.reshape(-1), self._q.T.reshape(-1)
        self._rs_flat = self.rate[:, : zs + half].T.reshape(-1)
        # Looked up once: in small networks a step takes not much longer than to look them up.
        self._dgemm, self._daxpy = scipy.linalg.blas.dgemm, scipy.linalg.blas.daxpy

    def residuals(self) -> None:
        """Compute r_l and s_l from the stalks, with the pattern R_l = diag(1[z_l >= 0]) re-read."""
        z, a = self.cochain.z_hidden, self.cochain.a_hidden
        np.copyto(self._r, self.cochain.z_all)
        self.first.residual(self.r[1])
        for H, _, a_before, r, _ in self.links:
            self._dgemm(1.0, a_before, H, -1.0, r, 0, 1, 1)  # r <- a H^T - r, in place
        # A float copy of the pattern: a product with it costs half of one with booleans.
        np.greater_equal(z, 0.0, out=self._active)
        np.copyto(self._R, self._active)
        np.multiply(z, self._R, out=self.s)
        np.subtract(self.s, a, out=self.s)

    def pull_back(self) -> None:
        """Turn s_l into the force on a_l, s_l - W_{l+1}^T r_{l+1}, and keep R_l s_l for `gather`."""
        np.multiply(self.s, self._R, out=self._q)
        for _, W, _, r, force in self.links:
            self._dgemm(-1.0, r, W, 1.0, force, 0, 0, 1)  # force <- force - r W, in place

    def gather(self) -> None:
        """Turn r_l into the force on z_l, r_l - R_l s_l."""
        if self._q_flat.size:
            self._daxpy(self._q_flat, self._rh_flat, a=-1.0)

    def move(self, step: float) -> None:
        """Add step times the rate to the stalks."""
        self._daxpy(self._rate_flat, self._data_flat, a=step)

    def squares(self) -> float:
        """Return the sum of the squares that `r` and `s` hold now."""
        return float(self._rs_flat @ self._rs_flat)
