"""All weights of a network as one least-squares problem: what a joint step of stalks and weights solves.

On the slopes of a forward pass, changes dw of all weights move the output of a sample by M dw, M = df / dw,
and J = R^T M has a row a sample and column of R, R R^T the curvature at the output.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.curvature import cholesky, log_determinant
from sheafcli.core.types import Array

# Rows whose squares, or slopes, are below this share of the largest are lost in the rounding of J^T J, or g;
# that much below, since rows of T alone do not tell how far the weights move an output.
NEGLIGIBLE = 1e-18
# To pick rows costs about what a quarter of them does.
MOST_TOLD = 0.75


class LeastSquares(ABC):
    """The least of |J dw - rho|^2 + mu |dw|^2 + (w + dw)^T diag(decay) (w + dw).

    With D = mu + decay and g = J^T rho - decay w, it is solved in the smaller number of the unknowns P and
    the rows N:

        (J^T J + D) dw = g,   or   (J D^-1 J^T + I) x = rho + J D^-1 decay w,  dw = D^-1 (J^T x - decay w).

    `decay` has a number for every entry of w: one for all weights of a layer, one for all its biases.
    `slope` is g. What has a number a row is laid out as rho is, whatever its shape.
    """

    def __init__(self, w: Array, rho: Array, decay: Array):
        self._rho, self._decay = rho, decay
        self._gram: Array | None = None
        self._pull = decay * w
        self.slope: Array = self.transposed(rho) - self._pull

    @abstractmethod
    def transposed(self, u: Array) -> Array:
        """Return J^T u."""

    @abstractmethod
    def times(self, dw: Array) -> Array:
        """Return J dw."""

    @abstractmethod
    def largest(self) -> float:
        """Return the largest entry on the diagonal of J^T J."""

    @abstractmethod
    def over_unknowns(self) -> Array:
        """Return J^T J, of which only the upper triangle is read, in an array that may be written to."""

    @abstractmethod
    def over_rows(self, ratio: Array) -> Array:
        """Return J diag(ratio) J^T, ratio as `decay`."""

    def determined(self, mu: float) -> float:
        """Return how many of the unknowns that decay the rows determine; NaN where `solution` has none.

        That is the trace over these of J^T J (J^T J + D)^-1, or tr J_w D_w^-1 J_w^T (J D^-1 J^T + I)^-1.
        """
        decays = self._decay > 0.0
        if self._rho.size < len(self.slope):
            A = self.over_rows(mu / (mu + self._decay))
            solved = cholesky(A, mu)
            part = A - self.over_rows(np.where(decays, 0.0, 1.0))
            return np.nan if solved is None else float(np.trace(solved(part)))
        solved = cholesky(self.over_unknowns() + np.diag(self._decay), mu)
        if solved is None:
            return np.nan
        left = (mu + self._decay) * np.diag(solved(np.eye(len(self.slope))))
        return float(np.sum(1.0 - left[decays]))

    def log_determinant(self, decay: float) -> float:
        """Return log det(I + J^T J / decay); NaN where that is not finite."""
        of_rows = self._rho.size < len(self.slope)
        A = self.over_rows(np.ones_like(self._decay)) if of_rows else self.over_unknowns()
        return log_determinant(A, 1.0 / decay)

    def solution(self, mu: float) -> Array | None:
        """Return dw; None where rounding has made the matrix indefinite, or it is not finite."""
        if self._rho.size >= len(self.slope):
            if self._gram is None:
                self._gram = self.over_unknowns()
                self._gram.flat[:: len(self.slope) + 1] += self._decay
            solved = cholesky(self._gram, mu)
            return None if solved is None else solved(self.slope)
        solved = cholesky(self.over_rows(mu / (mu + self._decay)), mu)
        if solved is None:
            return None
        D = mu + self._decay
        drift = self._pull / D
        rhs = self._rho + self.times(drift) if self._decay.any() else self._rho
        return mu / D * self.transposed(solved(rhs.ravel()).reshape(rhs.shape)) - drift


def telling(T: Array, rho: Array, most: float) -> tuple[slice | NDArray[np.intp], Array, Array]:
    """Return the rows that are not negligible, with the sample of each: T is then N x 1 x n_{k+1}, rho N x 1.

    Where classes part, most samples have no doubt left and tell nothing. If more rows than `most` are not
    negligible, all samples, as slice(None), and T and rho are returned as they are.
    """
    squares = np.einsum("ijk,ijk->ij", T, T)
    pulls = squares * rho * rho
    told = (squares > NEGLIGIBLE * squares.max()) | (pulls > NEGLIGIBLE**2 * pulls.max())
    if not 0 < np.count_nonzero(told) <= most:
        return slice(None), T, rho
    samples, columns = np.nonzero(told)
    return samples, T[samples, columns][:, np.newaxis], rho[samples, columns][:, np.newaxis]
