"""What simple predictors make of the same samples: the least that a network should have learnt from them.

Ridge regression and the mean of the nearest neighbours, each asked for every training sample without having
seen it. They are least squares, for classes too: the rows of one-hot targets, or the column of 0 and 1. A
prediction p misses the share

    u(p, y) = sum |y - p|^2 / sum |y - mean y|^2

of the targets' variance: 1 is what their mean misses, and for classes it is their Brier score over that of
the class shares (G. W. Brier, Monthly Weather Review 78 (1950) 1-3). Unlike a cross-entropy it does not
hang on a few samples that are wrong and sure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.types import Array

# Columns are cut where they leave their mean by so many standard deviations: one value decides nothing.
WIDEST = 3.0
# So many neighbours vote: the variance of their mean adds a tenth to that of a single target.
NEIGHBOURS = 10
# Ridge parameters that are tried, in units of the number of samples; columns have the variance 1.
RIDGES = 10.0 ** np.arange(-4.0, 2.0)
# Distances of so many pairs are held at a time.
BLOCK_ENTRIES = 1 << 22
# What is below 1 by rounding is not divided by.
LEAST = 1e-6


@dataclass(frozen=True, eq=False)
class Scaling:
    """The columns of X that vary, shifted and scaled to mean 0 and variance 1, and cut at WIDEST."""

    mean: Array
    spread: Array
    varies: NDArray[np.bool_]

    @classmethod
    def of(cls, X: Array) -> Scaling:
        """Return the scaling that these samples ask for."""
        varies = X.max(axis=0) > X.min(axis=0)
        return cls(X.mean(axis=0)[varies], X.std(axis=0)[varies], varies)

    def __call__(self, X: Array) -> Array:
        """Scale samples, these or others."""
        return np.asarray(np.clip((X[:, self.varies] - self.mean) / self.spread, -WIDEST, WIDEST))


@dataclass(frozen=True, eq=False)
class Reference:
    """A simple predictor: its name, and its predictions for samples that it has not been fitted to."""

    name: str
    predicted: Array


def reference(X: Array, y: Array) -> Reference:
    """Return the predictor that misses least of every sample left out in turn."""
    both = (Reference("ridge regression", ridge(X, y)), Reference("nearest neighbours", neighbours(X, y)))
    return min(both, key=lambda one: missed(one.predicted, y))


def ridge(X: Array, y: Array) -> Array:
    """Predict each sample by ridge regression on all others, at the parameter that misses least.

    With the hat matrix H and its fit f the residual of a sample that is left out is
    (y_i - f_i) / (1 - H_ii): no refitting is needed.
    """
    n = len(X)
    A = Scaling.of(X)(X)
    centre, mean = A.mean(axis=0), y.mean(axis=0)
    U, s, _ = np.linalg.svd(A - centre, full_matrices=False)
    best, least = np.broadcast_to(mean, y.shape), np.inf
    for parameter in n * RIDGES:
        shrunk = U * (s * s / (s * s + parameter))
        leverage = np.sum(shrunk * U, axis=1) + 1.0 / n
        residual = (y - mean - shrunk @ (U.T @ (y - mean))) / np.maximum(1.0 - leverage, LEAST)[:, None]
        if np.sum(residual**2) < least:
            best, least = y - residual, float(np.sum(residual**2))
    return best


def neighbours(X: Array, y: Array, queries: Array | None = None) -> Array:
    """Predict each sample, or each query, by the mean of the NEIGHBOURS samples nearest to it, never itself.

    Distances are Euclidean between scaled columns.
    """
    scaling = Scaling.of(X)
    samples = scaling(X)
    asked = samples if queries is None else scaling(queries)
    count = min(NEIGHBOURS, len(X) - 1)
    squares = np.sum(samples * samples, axis=1)
    rows = max(1, BLOCK_ENTRIES // len(X))
    predicted = []
    for first in range(0, len(asked), rows):
        block = asked[first : first + rows]
        distance = squares - 2.0 * block @ samples.T
        if queries is None:
            distance[np.arange(len(block)), first + np.arange(len(block))] = np.inf
        nearest = np.argpartition(distance, count - 1, axis=1)[:, :count]
        predicted.append(y[nearest].mean(axis=1))
    return np.concatenate(predicted)


def missed(predicted: Array, y: Array) -> float:
    """Return u(p, y), the share of the targets' variance that a prediction misses; 0 if they do not vary."""
    total = float(np.sum((y - y.mean(axis=0)) ** 2))
    with np.errstate(over="ignore"):  # a prediction beyond all bounds misses infinitely much
        return float(np.sum((y - predicted) ** 2)) / total if total > 0.0 else 0.0
