"""The curvature J^T J of a least-squares problem, solved and measured on its smaller side.

J has a row an observation and a column an unknown. Where the rows are fewer, J J^T has the same eigenvalues
but for zeros, and (r I + c J^T J)^-1 g = (g - c J^T (r I + c J J^T)^-1 J g) / r. Where the rows are too many
for that, those that matter most precondition conjugate gradients on all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy

from sheafcli.core.types import Array

# Conjugate gradients end at this share of the right-hand side, or after so many products. Any of their steps
# lowers a quadratic model by half of what its slope says, as the last one does.
SHARE_LEFT, MOST_PRODUCTS = 1e-2, 30


def cholesky(A: Array, ridge: float) -> Callable[[Array], Array] | None:
    """Return b -> (A + ridge I)^-1 b; None where that matrix is not finite, or indefinite by rounding.

    Only the upper triangle of A is read.
    """
    # LAPACK's own functions: SciPy's wrappers take as long as a matrix of a hundred rows.
    ridged = np.array(A, order="F")
    ridged.flat[:: len(A) + 1] += ridge
    if not np.isfinite(ridged).all():
        return None
    factor, indefinite = scipy.linalg.lapack.dpotrf(ridged, clean=False, overwrite_a=True)
    if indefinite:
        return None
    # A right-hand side that overflowed has no finite solution: the caller sees that, and stops.
    return lambda b: np.asarray(scipy.linalg.lapack.dpotrs(factor, b)[0])


def log_determinant(A: Array, scale: float) -> float:
    """Return log det(I + scale A), A positive semidefinite; only its upper triangle is read.

    NaN where that matrix is not finite.
    """
    whole = scale * A.T
    whole.flat[:: len(A) + 1] += 1.0
    try:
        return 2.0 * float(np.sum(np.log(np.diag(np.linalg.cholesky(whole)))))
    except np.linalg.LinAlgError:  # the least eigenvalues, 1, are lost in the rounding of the largest
        if not np.isfinite(whole).all():
            return np.nan
        return float(np.sum(np.log(np.maximum(np.linalg.eigvalsh(whole), 1.0))))


@dataclass(frozen=True, eq=False)
class Curvature:
    """J^T J.

    `gram` is J^T J, or J J^T where `over_rows`; then `down` is v -> J v and `up` is u -> J^T u. If these have
    the largest rows alone, `product` is v -> J^T J v with all of them.
    """

    gram: Array
    over_rows: bool
    down: Callable[[Array], Array]
    up: Callable[[Array], Array]
    product: Callable[[Array], Array] | None = None

    @classmethod
    def of(cls, J: Array) -> Curvature:
        """Return the curvature of a matrix."""
        over_rows = len(J) < J.shape[1]
        return cls(J @ J.T if over_rows else J.T @ J, over_rows, lambda v: J @ v, lambda u: J.T @ u)

    @classmethod
    def of_products(cls, rows: Array, inputs: Array) -> Curvature:
        """Return that of the matrix whose every row is a row of `rows` times one of `inputs`, n x m."""
        if rows.shape[1] * inputs.shape[1] <= len(rows):
            return cls.of((rows[:, :, None] * inputs[:, None, :]).reshape(len(rows), -1))

        def down(v: Array) -> Array:
            return np.asarray(np.sum((rows @ v.reshape(rows.shape[1], -1)) * inputs, axis=1))

        def up(u: Array) -> Array:
            return np.asarray(rows.T @ (u[:, None] * inputs)).ravel()

        return cls((rows @ rows.T) * (inputs @ inputs.T), True, down, up)

    def inverse(self, scale: float, ridge: float) -> Callable[[Array], Array] | None:
        """Return g -> (ridge I + scale J^T J)^-1 g; None where rounding has made that matrix indefinite."""
        inverse = self._inverse_of_rows(scale, ridge)
        if self.product is None or inverse is None:
            return inverse
        product = self.product

        def solved(g: Array) -> Array:
            shape = (len(g), len(g))
            whole = scipy.sparse.linalg.LinearOperator(
                shape, lambda v: ridge * v + scale * product(v), dtype=np.float64
            )
            nearly = scipy.sparse.linalg.LinearOperator(shape, inverse, dtype=np.float64)
            return np.asarray(
                scipy.sparse.linalg.cg(whole, g, rtol=SHARE_LEFT, maxiter=MOST_PRODUCTS, M=nearly)[0]
            )

        return solved

    def _inverse_of_rows(self, scale: float, ridge: float) -> Callable[[Array], Array] | None:
        if len(self.gram) == 0:
            return lambda g: g / ridge
        solved = cholesky(scale * self.gram, ridge)
        if solved is None or not self.over_rows:
            return solved
        return lambda g: np.asarray((g - scale * self.up(solved(self.down(g)))) / ridge)

    def log_determinant(self, scale: float) -> float:
        """Return log det(I + scale J^T J)."""
        return log_determinant(self.gram, scale)


@dataclass(frozen=True, eq=False)
class Repeated:
    """The curvature I x J^T J of so many least-squares problems with one and the same J."""

    one: Curvature
    copies: int

    def inverse(self, scale: float, ridge: float) -> Callable[[Array], Array] | None:
        """Return g -> (ridge I + scale I x J^T J)^-1 g, as `Curvature` does."""
        solved = self.one.inverse(scale, ridge)
        if solved is None:
            return None
        return lambda g: np.concatenate([solved(part) for part in np.split(g, self.copies)])

    def log_determinant(self, scale: float) -> float:
        """Return log det(I + scale I x J^T J)."""
        return self.copies * self.one.log_determinant(scale)
