"""A Gaussian of the input, and what is left of it once some coordinates are known.

x = mu + A e with e ~ N(0, I): A is a root of the covariance, A A^T, and need not have full rank. Where data
never leaves a subspace (one-hot columns sum to 1, a column repeats another), neither does x. |e|^2 is x's
distance from mu in units of the prior.

Known coordinates K ask for A_K e = x_K - mu_K, so that e = A_K^+ (x_K - mu_K) + Z q, q ~ N(0, I), Z an
orthonormal basis of the null space of A_K: mean and root of the conditional Gaussian, without an inverse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.types import Array

# Directions in which standardised data varies by less have no part in a root.
NEGLIGIBLE = 1e-7
# What leaves the subspace of a prior is so many standard deviations off.
FAR = 1e3


@dataclass(frozen=True, eq=False)
class Gaussian:
    """The normal distribution of mean mu and covariance A A^T; A, the `root`, is coordinates x rank."""

    mean: Array
    root: Array

    @classmethod
    def of(cls, X: Array) -> Gaussian:
        """Return the Gaussian with mean and covariance of samples, samples x coordinates, at least two.

        A column that does not vary has no spread.
        """
        n = len(X)
        if n < 2:
            raise ValueError(f"a covariance needs at least two samples, got {n}")
        mean = X.mean(axis=0)
        varies = np.ptp(X, axis=0) > 0.0
        if n > 2 * X.shape[1]:
            covariance = np.atleast_2d(np.cov(X, rowvar=False))
            return cls.of_moments(mean, covariance * np.outer(varies, varies))
        spread = np.where(varies, X.std(axis=0, ddof=1), 0.0)
        scaled = (X - mean) / np.where(spread > 0.0, spread, 1.0)
        scaled[:, spread == 0.0] = 0.0
        _, sizes, turn = np.linalg.svd(scaled / np.sqrt(n - 1), full_matrices=False)
        keep = sizes > NEGLIGIBLE
        return cls(mean, spread[:, None] * turn[keep].T * sizes[keep])

    @classmethod
    def of_moments(cls, mean: Array, covariance: Array) -> Gaussian:
        """Return the Gaussian of a mean and a covariance, symmetric and positive semidefinite."""
        mean, covariance = np.asarray(mean, dtype=np.float64), np.asarray(covariance, dtype=np.float64)
        if covariance.shape != (*mean.shape, *mean.shape) or not np.allclose(covariance, covariance.T):
            raise ValueError(f"the covariance must be symmetric, {len(mean)} x {len(mean)}")
        spread = np.sqrt(np.maximum(np.diag(covariance), 0.0))
        scale = np.where(spread > 0.0, spread, 1.0)
        values, turn = np.linalg.eigh(covariance / np.outer(scale, scale))
        if values[0] < -1e-8 * max(1.0, values[-1]):
            raise ValueError("the covariance must be positive semidefinite")
        keep = values > NEGLIGIBLE**2
        root = scale[:, None] * turn[:, keep] * np.sqrt(values[keep])
        root[spread == 0.0] = 0.0
        return cls(mean, root)

    @property
    def spread(self) -> Array:
        """The standard deviation of every coordinate."""
        return np.asarray(np.sqrt(np.sum(self.root * self.root, axis=1)))

    def apart(self, together: Sequence[Sequence[int]] = ()) -> Gaussian:
        """Return the Gaussian in which coordinates are independent, but for those that stand `together`."""
        groups = [list(group) for group in together]
        taken = {j for group in groups for j in group}
        groups += [[j] for j in range(len(self.mean)) if j not in taken]
        columns = []
        for group in groups:
            U, sizes, _ = np.linalg.svd(self.root[group], full_matrices=False)
            keep = sizes > NEGLIGIBLE * max(1.0, sizes.max(initial=0.0))
            block = np.zeros((len(self.mean), int(keep.sum())))
            block[group] = U[:, keep] * sizes[keep]
            columns.append(block)
        return Gaussian(self.mean, np.concatenate(columns, axis=1))

    def given(self, known: NDArray[np.bool_], X: Array, mean: Array | None = None) -> Conditional:
        """Return what is left once the `known` coordinates are those of X, samples x coordinates.

        `mean` are other means than mu, samples x coordinates. Where known values leave the subspace of the
        prior, what is off it counts as FAR standard deviations.
        """
        mean = np.broadcast_to(self.mean, X.shape) if mean is None else mean
        A, spread = self.root[known], self.spread[known]
        scale = np.where(spread > 0.0, spread, 1.0)
        U, sizes, turn = np.linalg.svd(A / scale[:, None], full_matrices=True)
        rank = int(np.sum(sizes > NEGLIGIBLE))
        off = (X - mean)[:, known] / scale
        along = off @ U[:, :rank]
        e = (along / sizes[:rank]) @ turn[:rank]
        left = np.sum(off * off, axis=1) - np.sum(along * along, axis=1)
        distance = np.sum(e * e, axis=1) + FAR * FAR * np.maximum(left, 0.0)
        mean = mean + e @ self.root.T
        mean[:, known] = X[:, known]
        root = self.root @ turn[rank:].T
        root[known] = 0.0
        # What the known coordinates determine does not move either.
        root[np.sqrt(np.sum(root * root, axis=1)) <= NEGLIGIBLE * self.spread] = 0.0
        return Conditional(mean, _compact(root), distance)


class Conditional(NamedTuple):
    """Means, samples x coordinates, the root that they share, and |e|^2 of what became known, by sample."""

    mean: Array
    root: Array
    distance: Array


def _compact(root: Array) -> Array:
    """Return a root of the same covariance without directions that move nothing.

    What is negligible is so beside the coordinate's own spread: units do not matter.
    """
    spread = np.sqrt(np.sum(root * root, axis=1))
    scale = np.where(spread > 0.0, spread, 1.0)
    U, sizes, _ = np.linalg.svd(root / scale[:, None], full_matrices=False)
    keep = sizes > NEGLIGIBLE
    compact = scale[:, None] * U[:, keep] * sizes[keep]
    compact[spread == 0.0] = 0.0
    return np.asarray(compact)
