"""All weights of a chain as one least-squares problem; see `sheafcli.core.training.least_squares`.

On the slopes of a forward pass, changes dH_l of H_l = [W_l, b_l] move the output of a sample by

    sum_l M_l^T dH_l [a_{l-1}, 1],   M_l = dz_{k+1} / dz_l,

and by R^T that, R R^T the curvature at the output, is J dw: a row a sample and column of R. As in
`sheafcli.core.chain.training.layers`, arrays have one column a sample, and a_l is followed by a row of ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations_with_replacement, pairwise

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.averaged import rectified, slope_of
from sheafcli.core.blocks import blocks
from sheafcli.core.chain.training.layers import pull_back
from sheafcli.core.training.least_squares import LeastSquares
from sheafcli.core.types import Array

# An entry that is multiplied on its own takes as long as so many in a product of matrices.
ENTRY = 40.0


@dataclass(frozen=True, eq=False)
class Pass:
    """A forward pass: a_0, ..., a_k extended by ones; the slopes rho'(z_l), and the root mean squares of z_l.

    `f` is z_{k+1}, samples x n_{k+1}.
    """

    a: list[Array]
    slopes: list[Array]
    sizes: list[float]
    f: Array


def forward(H: Sequence[Array], inputs: Array, softness: Sequence[float]) -> Pass:
    """Pass inputs, (n_0 + 1) x samples, on through kinks softened by eps, one a hidden layer.

    See `sheafcli.core.averaged` for what softening is.
    """
    a, slopes, sizes = [inputs], [], []
    for layer, eps in zip(H[:-1], softness, strict=True):
        z = layer @ a[-1]
        sizes.append(float(np.sqrt(np.vdot(z, z) / z.size)))
        slopes.append(slope_of(z, eps))
        a.append(np.ones((len(z) + 1, z.shape[1])))
        a[-1][:-1] = rectified(z, eps, slopes[-1])
    return Pass(a, slopes, sizes, np.asarray(H[-1] @ a[-1]).T)


def sensitivities(W: Sequence[Array], slopes: Sequence[Array], R: Array) -> list[Array]:
    """Return M_l^T R, n_l x columns x samples, for l = 1..k+1, from R, n_{k+1} x columns x samples."""
    found = [R]
    for V, slope in zip(W[:0:-1], slopes[::-1], strict=True):
        passed = pull_back(V, found[-1].reshape(len(V), -1))
        found.append(passed.reshape(V.shape[1], *R.shape[1:]) * slope[:, np.newaxis, :])
    return found[::-1]


def sums_columns(widths: Sequence[int], columns: int) -> bool:
    """Say whether J^T J takes fewer operations with the columns of each sample summed first."""
    unknowns = sum((m + 1) * n for m, n in pairwise(widths))
    pairs = columns * sum(widths[1:]) ** 2 + sum(m + 1 for m in widths[:-1]) ** 2
    return ENTRY * pairs < (columns - 1) * unknowns**2


class ChainLeastSquares(LeastSquares):
    """That problem for a chain, of `a` of `forward` and `M` of `sensitivities`; rho is columns x samples."""

    def __init__(
        self,
        w: Array,
        a: Sequence[Array],
        M: Sequence[Array],
        rho: Array,
        decay: Array,
    ):
        self._a, self._M = a, M
        super().__init__(w, rho, decay)

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

    def over_unknowns(self) -> Array:
        """Return the upper triangle of J^T J, summed over blocks of samples.

        That is one product of J with itself or, with fewer operations where there are several columns of R,

            sum_i (sum_c m_ic m'_ic^T) x (a_i a'_i^T)

        for each two layers: the columns c summed first, then one product over the samples of all pairs.
        """
        columns, n = self._rho.shape
        sizes = [len(m) * len(b) for m, b in zip(self._M, self._a, strict=True)]
        ends = np.cumsum([0, *sizes]).tolist()
        total = np.zeros((ends[-1], ends[-1]))
        summed = sums_columns((len(self._a[0]) - 1, *map(len, self._M)), columns)
        for block in blocks(n, ends[-1] * columns):
            M, a = ([array[..., block] for array in arrays] for arrays in (self._M, self._a))
            if summed:
                for j, k in combinations_with_replacement(range(len(M)), 2):
                    here = total[ends[j] : ends[j + 1], ends[k] : ends[k + 1]]
                    here += _product_of_pairs(M[j], M[k], a[j], a[k])
                continue
            J = np.empty((ends[-1], columns * M[0].shape[-1]))
            for m, b, start, end in zip(M, a, ends, ends[1:], strict=False):
                rows = J[start:end].reshape(len(m), len(b), columns, -1)
                np.multiply(m[:, np.newaxis], b[:, np.newaxis], out=rows)
            total += J @ J.T
        return total

    def over_rows(self, ratio: Array) -> Array:
        """Return J diag(ratio) J^T: no row of J is ever formed."""
        columns, n = self._rho.shape
        total, start = np.zeros((columns, n, columns, n)), 0
        for m, b in zip(self._M, self._a, strict=True):
            flat, inputs, end = m.reshape(len(m), -1), b[:-1], start + len(m) * len(b)
            shared = ratio[start] * (inputs.T @ inputs) + ratio[end - 1]
            total += (flat.T @ flat).reshape(total.shape) * shared[np.newaxis, :, np.newaxis, :]
            start = end
        return total.reshape(columns * n, -1)


def _product_of_pairs(m: Array, other: Array, b: Array, beside: Array) -> Array:
    """Return sum_i (sum_c m_ic m'_ic^T) x (b_i b'_i^T), each Kronecker product laid out as [W, b] are."""
    if m is other:
        return _product_of_own_pairs(m, b)
    of_m = m[:, np.newaxis, 0] * other[:, 0]
    for c in range(1, m.shape[1]):
        of_m += m[:, np.newaxis, c] * other[:, c]
    of_b = b[:, np.newaxis] * beside
    product = of_m.reshape(-1, b.shape[1]) @ of_b.reshape(-1, b.shape[1]).T
    apart = product.reshape(len(m), len(other), len(b), len(beside))
    return apart.transpose(0, 2, 1, 3).reshape(len(m) * len(b), -1)


def _product_of_own_pairs(m: Array, b: Array) -> Array:
    """Return that of a layer with itself: of j, k and k, j one is enough."""
    (j, k), (p, q) = _pairs(len(m)), _pairs(len(b))
    of_m = m[j, 0] * m[k, 0]
    for c in range(1, m.shape[1]):
        of_m += m[j, c] * m[k, c]
    product = of_m @ (b[p] * b[q]).T
    half = np.empty((len(product), len(b), len(b)))
    half[:, p, q] = half[:, q, p] = product
    whole = np.empty((len(m), len(b), len(m), len(b)))
    whole[j, :, k] = whole[k, :, j] = half
    return whole.reshape(len(m) * len(b), -1)


@lru_cache
def _pairs(n: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return all j <= k below n."""
    first, second = np.triu_indices(n)
    return first, second
