"""All weights of a chain as one least-squares problem: what a joint step of stalks and weights solves.

On the slopes of a forward pass, changes dH_l of H_l = [W_l, b_l] move the output of a sample by

    sum_l M_l^T dH_l [a_{l-1}, 1],   M_l = dz_{k+1} / dz_l,

and by R^T that, R R^T the curvature at the output, is J dw: a row a sample and column of R. As in
`sheafcli.core.chain.training.layers`, arrays have one column a sample, and a_l is followed by a row of ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sheafcli.core.blocks import blocks
from sheafcli.core.chain.tail import rectified, slope_of
from sheafcli.core.chain.training.layers import Parameters, pull_back
from sheafcli.core.curvature import cholesky
from sheafcli.core.types import Array


@dataclass(frozen=True, eq=False)
class Pass:
    """A forward pass: a_0, ..., a_k extended by ones; the slopes rho'(z_l), and the root mean squares of z_l.

    `f` is z_{k+1}, n_{k+1} x samples.
    """

    a: list[Array]
    slopes: list[Array]
    sizes: list[float]
    f: Array


def forward(H: Sequence[Array], inputs: Array, softness: Sequence[float]) -> Pass:
    """Pass inputs, (n_0 + 1) x samples, on through kinks softened by eps, one a hidden layer.

    See `sheafcli.core.chain.tail` for what softening is.
    """
    a, slopes, sizes = [inputs], [], []
    for layer, eps in zip(H[:-1], softness, strict=True):
        z = layer @ a[-1]
        sizes.append(float(np.sqrt(np.vdot(z, z) / z.size)))
        slopes.append(slope_of(z, eps))
        a.append(np.ones((len(z) + 1, z.shape[1])))
        a[-1][:-1] = rectified(z, eps, slopes[-1])
    return Pass(a, slopes, sizes, np.asarray(H[-1] @ a[-1]))


def sensitivities(W: Sequence[Array], slopes: Sequence[Array], R: Array) -> list[Array]:
    """Return M_l^T R, n_l x columns x samples, for l = 1..k+1, from R, n_{k+1} x columns x samples."""
    found = [R]
    for V, slope in zip(W[:0:-1], slopes[::-1], strict=True):
        passed = pull_back(V, found[-1].reshape(len(V), -1))
        found.append(passed.reshape(V.shape[1], *R.shape[1:]) * slope[:, np.newaxis, :])
    return found[::-1]


class LeastSquares:
    """The least of |J dw - rho|^2 + mu |dw|^2 + decay |W + dW|^2, in which biases do not decay.

    With D = mu + decay for weights and mu for biases and g = J^T rho - decay W, it is solved in the smaller
    number of the unknowns P and the rows N:

        (J^T J + D) dw = g,   or   (J D^-1 J^T + I) x = rho + J D^-1 decay W,  dw = D^-1 (J^T x - decay W).

    `a` and `M` are those of `forward` and `sensitivities`, rho is columns x samples.
    """

    def __init__(
        self, parameters: Parameters, a: Sequence[Array], M: Sequence[Array], rho: Array, decay: float
    ):
        self._a, self._M, self._rho, self._decay = a, M, rho, decay
        self._gram: Array | None = None
        # 1 for weights, 0 for biases, packed as the parameters are.
        weighs = [np.hstack([np.ones(W.shape), np.zeros((len(W), 1))]).ravel() for W in parameters.W]
        self._weighs = np.concatenate(weighs)
        self._pull = decay * self._weighs * parameters.flat
        self.slope: Array = self.transposed(rho) - self._pull

    def transposed(self, u: Array) -> Array:
        """Return J^T u."""
        moved = (np.sum(m * u, axis=1) @ b.T for m, b in zip(self._M, self._a, strict=True))
        return np.concatenate([G.ravel() for G in moved])

    def times(self, dw: Array) -> Array:
        """Return J dw, columns x samples."""
        moved, start = np.zeros_like(self._rho), 0
        for m, b in zip(self._M, self._a, strict=True):
            end = start + len(m) * len(b)
            moved += np.sum(m * (dw[start:end].reshape(len(m), -1) @ b)[:, np.newaxis, :], axis=0)
            start = end
        return moved

    def largest(self) -> float:
        """Return the largest entry on the diagonal of J^T J."""
        squares = (np.sum(m * m, axis=1) @ (b * b).T for m, b in zip(self._M, self._a, strict=True))
        return max(float(square.max()) for square in squares)

    def solution(self, mu: float) -> Array | None:
        """Return dw; None where rounding has made the matrix indefinite, or it is not finite."""
        if self._rho.size >= len(self.slope):
            if self._gram is None:
                self._gram = self._over_unknowns()
                self._gram.flat[:: len(self.slope) + 1] += self._decay * self._weighs
            solved = cholesky(self._gram, mu)
            return None if solved is None else solved(self.slope)
        solved = cholesky(self._over_rows(mu / (mu + self._decay)), mu)
        if solved is None:
            return None
        D = mu + self._decay * self._weighs
        drift = self._pull / D
        rhs = self._rho + self.times(drift) if self._decay else self._rho
        return mu / D * self.transposed(solved(rhs.ravel()).reshape(rhs.shape)) - drift

    def _over_unknowns(self) -> Array:
        """Return J^T J, summed over blocks of samples."""
        size, (columns, n) = len(self.slope), self._rho.shape
        total = np.zeros((size, size))
        for block in blocks(n, size * columns):
            parts = (
                (m[:, np.newaxis, :, block] * b[np.newaxis, :, np.newaxis, block]).reshape(
                    len(m) * len(b), -1
                )
                for m, b in zip(self._M, self._a, strict=True)
            )
            J = np.concatenate(list(parts))
            total += J @ J.T
        return total

    def _over_rows(self, ratio: float) -> Array:
        """Return mu J D^-1 J^T with mu / D the ratio for weights: no row of J is ever formed."""
        columns, n = self._rho.shape
        total = np.zeros((columns, n, columns, n))
        for m, b in zip(self._M, self._a, strict=True):
            flat, inputs = m.reshape(len(m), -1), b[:-1]
            shared = ratio * (inputs.T @ inputs) + 1.0
            total += (flat.T @ flat).reshape(total.shape) * shared[np.newaxis, :, np.newaxis, :]
        return total.reshape(columns * n, -1)
