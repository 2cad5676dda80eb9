"""Inputs that differ between two parts of the data: columns that lie elsewhere, or stand in another order.

*Elsewhere*: the largest distance D between the two empirical distribution functions of a column
(Kolmogorov and Smirnov). Its bound under equal distributions holds for any of them, heavy tails, ties and
pixels that are mostly 0 included (P. Massart, Annals of Probability 18 (1990) 1269-1283, for two samples
R. M. Dudley, F. Wei, Statistics and Probability Letters 82 (2012) 636-644):

    P(D > t) <= 2 exp(-2 t^2 n m / (n + m)).

*Another order*: the order P of the columns under which the second part is likeliest by the Gaussian of the
first, the least mean of the squared Mahalanobis distance d(P x)^2. That is a quadratic assignment, walked
down by the best exchange of two columns at a time. An exchange counts if the difference that it makes
to d^2, a mean over samples, is beyond chance.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import scipy
from numpy.typing import NDArray

from sheafcli.core.types import Array
from sheafcli.diagnostics.findings.rows import spread_rows

# Two parts of one table are told apart by chance less often than in one of a thousand tables.
CHANCE = 1e-3
# Fewer than a tenth of the samples lie elsewhere: significant where there are many, and of no account.
APART = 0.1
# Values beyond these quantiles are cut before means and standard deviations are compared.
TAILS = (0.01, 0.99)
# Columns whose factors are within this share of their median, three in four at least, have one factor.
ALIKE, MOST = 0.15, 0.75
# One by which all are distributed alike is looked for so far around that median, in steps of a fiftieth,
# on so many of them.
NEARBY, N_TRIED, MOST_ASKED = 0.3, 31, 32
# An exchange costs d^3: of wider tables the order is not asked.
WIDEST = 256
# What is added to the variances of the first part's Gaussian, which may be singular, in units of their own.
RIDGE = 1e-3
# Rounding in a mean of d^2, as a share of it.
ROUNDING = 1e-9
# From a start that is right nowhere, d - 1 exchanges would do.
MOST_EXCHANGES = 2
# Distributions are compared at these quantiles.
LEVELS = np.linspace(0.02, 0.98, 25)
TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True, eq=False)
class Shift:
    """How the columns of a second part differ from those of the first.

    `factor` and `offset` say of each of `columns` that it has the values offset + factor x; `distance` is its
    D, `spread` its standard deviation in the first part. `common` is the one factor that explains all
    columns, None if none does. `order` is None, or says which column of the second part is column i of the
    first.
    """

    columns: NDArray[np.intp]
    distance: Array
    factor: Array
    offset: Array
    spread: Array
    common: float | None = None
    order: NDArray[np.intp] | None = None

    def undone(self, X: Array) -> Iterator[Array]:
        """Yield samples of the second part as they may be in the first: by one factor, or by columns."""
        if self.order is not None:
            yield X[:, self.order]
            return
        if self.common is not None:
            yield X / self.common
        scaled = X.copy()
        scaled[:, self.columns] = (X[:, self.columns] - self.offset) / self.factor
        yield scaled


def shift_between(first: Array, second: Array, targets: tuple[Array, Array]) -> Shift | None:
    """Return how the second part differs from the first; None if chance explains it, or it is of no account.

    Both are samples x columns; `targets` are those of both. Where another order leaves less than half of the
    columns elsewhere, that is the answer.
    """
    distance = distances(first, second)
    bound = _bound(first, second)
    columns = np.flatnonzero(distance > bound)
    order = order_between(first, second, targets)
    if order is not None and 2 * np.sum(distances(first, second[:, order]) > bound) <= len(columns):
        moved = np.flatnonzero(order != np.arange(len(order)))
        none = np.zeros(len(moved))
        return Shift(moved, distance[moved], none + 1.0, none, none, order=order)
    if len(columns) == 0:
        return None
    factor, offset, spread = _scales(first[:, columns], second[:, columns])
    shift = Shift(columns, distance[columns], factor, offset, spread)
    return replace(shift, common=_common_factor(first, second, shift))


def _bound(first: Array, second: Array) -> float:
    return max(APART, critical_distance(len(first), len(second), first.shape[1]))


def critical_distance(n: int, m: int, columns: int) -> float:
    """Return the D that one of so many columns exceeds by chance with probability CHANCE at most."""
    return float(np.sqrt(np.log(2.0 * columns / CHANCE) / 2.0 * (1.0 / n + 1.0 / m)))


def distances(first: Array, second: Array) -> Array:
    """Return D of every column."""
    found = np.empty(first.shape[1])
    for i, (x, y) in enumerate(zip(first.T, second.T, strict=True)):
        a, b = np.sort(x), np.sort(y)
        at = np.concatenate([a, b])
        below = [np.searchsorted(part, at, side="right") / len(part) for part in (a, b)]
        found[i] = np.max(np.abs(below[0] - below[1]))
    return found


def _common_factor(first: Array, second: Array, shift: Shift) -> float | None:
    """Return the one factor that explains how columns differ; None if there is none.

    By it, all columns must be distributed as in the first part, or nearly all must have it for their own and
    not be moved beside that: values that come in steps are distributed alike only if it is exact.
    """
    middle = float(np.median(shift.factor))
    if first.shape[1] == 1 or abs(np.log(middle)) <= ALIKE:
        return None
    some = spread_rows(first.shape[1], MOST_ASKED)
    tried = middle * np.exp(np.linspace(-NEARBY, NEARBY, N_TRIED))
    factor = min(tried, key=lambda f: float(np.sum(distances(first[:, some], second[:, some] / f))))
    if not (distances(first, second / factor) > _bound(first, second)).any():
        return float(factor)
    alike = np.abs(shift.factor / middle - 1.0) <= ALIKE
    still = np.abs(shift.offset) <= ALIKE * max(middle, 1.0) * shift.spread
    return middle if len(alike) > 1 and np.mean(alike & still) >= MOST else None


def _scales(first: Array, second: Array) -> tuple[Array, Array, Array]:
    """Return factor and offset by which columns of the first part become the second, and their spread.

    Of columns that are constant in either the factor is 1.
    """
    a, b = _cut(first), _cut(second)
    spreads = a.std(axis=0), b.std(axis=0)
    both = (spreads[0] > 0.0) & (spreads[1] > 0.0)
    factor = np.where(both, spreads[1], 1.0) / np.where(both, spreads[0], 1.0)
    return factor, b.mean(axis=0) - factor * a.mean(axis=0), spreads[0]


def _cut(X: Array) -> Array:
    low, high = np.quantile(X, TAILS, axis=0)
    return np.asarray(np.clip(X, low, high))


@dataclass(frozen=True, eq=False)
class _Exchanges:
    """The orders of the last samples' columns, by how likely the Gaussian of the first samples finds them.

    The first `movable` columns may stand in another order; those after them, the targets, stay.
    """

    precision: Array
    mean: Array
    samples: Array
    movable: int

    @classmethod
    def between(cls, first: Array, second: Array, movable: int) -> _Exchanges:
        mean, spread = first.mean(axis=0), first.std(axis=0)
        spread = np.where(spread > 0.0, spread, np.median(spread[spread > 0.0]))
        C = np.cov((first - mean) / spread, rowvar=False, bias=True) + RIDGE * np.eye(first.shape[1])
        return cls(np.linalg.inv(C) / np.outer(spread, spread), mean, second, movable)

    def ordered(self, order: NDArray[np.intp]) -> Array:
        """Return the samples with their columns in an order."""
        return np.hstack([self.samples[:, order], self.samples[:, self.movable :]])

    def squares(self, order: NDArray[np.intp]) -> Array:
        """Return d^2 of every sample."""
        away = self.ordered(order) - self.mean
        return np.asarray(np.einsum("ni,ni->n", away @ self.precision, away))

    def better(self, order: NDArray[np.intp], than: NDArray[np.intp], moved: int) -> bool:
        """Say whether log d^2 falls beyond chance from one order to another, the best that moves so many.

        Logarithms, so that no few samples far off decide. There are fewer than d^m orders that move m
        columns: of their gains, of standard normal size by chance, the largest is sqrt(2 m log d) or less.
        """
        gain = np.log(self.squares(than)) - np.log(self.squares(order))
        beyond = np.sqrt(2.0 * (moved * np.log(self.movable) - np.log(CHANCE)))
        return bool(gain.mean() > beyond * gain.std() / np.sqrt(len(gain)))

    def descend(self, order: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return the last order of the path from one."""
        return [order, *self.path(order)][-1]

    def path(self, order: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
        """Exchange two columns at a time, those that lower the mean of d^2 most, until no exchange does."""
        for _ in range(MOST_EXCHANGES * len(order)):
            change = self._changes(order)
            i, j = divmod(int(np.argmin(change)), len(change))
            if change[i, j] >= -ROUNDING * abs(float(self.squares(order).mean())):
                return
            order = order.copy()
            order[[i, j]] = order[[j, i]]
            yield order

    def _changes(self, order: NDArray[np.intp]) -> Array:
        """Return by how much every exchange of two columns changes the mean of d^2.

        With Q the precision and S the second moments of X it is <Q, S> - 2 (Q mean) . mean(X) + const, and
        an exchange of i and j changes what stands in their rows and columns alone.
        """
        X, Q, d = self.ordered(order), self.precision, self.movable
        S = X.T @ X / len(X)
        QS = Q @ S
        own, pull, centre = np.diag(QS)[:d], (Q @ self.mean)[:d], X.mean(axis=0)[:d]
        over_all = QS[:d, :d] + QS[:d, :d].T - own[:, None] - own[None, :]
        Q, S = Q[:d, :d], S[:d, :d]
        q, s = np.diag(Q), np.diag(S)
        # Of the sum over all k of (Q_ki - Q_kj) (S_kj - S_ki) the terms k = i and k = j are of another form.
        others = over_all - (q[:, None] - Q) * (S - s[:, None]) - (Q - q) * (s - S)
        change = (q[:, None] - q) * (s - s[:, None]) + 2.0 * others
        return np.asarray(change - 2.0 * (pull[:, None] - pull) * (centre - centre[:, None]))


def order_between(first: Array, second: Array, targets: tuple[Array, Array]) -> NDArray[np.intp] | None:
    """Return the order of the second part's columns that fits the first beyond chance; None if its own does.

    The targets of both parts tell columns apart by what they say. A few exchanged columns are found if
    that makes a difference; what is in disorder altogether may be put right in part only. Of several
    orders the one that moves fewest columns counts, unless another is better than it beyond chance.
    """
    d = first.shape[1]
    if not 1 < d <= WIDEST or min(len(first), len(second)) <= 2 or not _cut(first).std(axis=0).any():
        return None
    parts = [np.hstack([_cut(X), y]) for X, y in zip((first, second), targets, strict=True)]
    exchanges = _Exchanges.between(parts[0], parts[1], d)
    own = best = np.arange(d)
    starts = (own, _distributed_alike(first, second), _matched(parts[0], parts[1], d))
    tried = [*(exchanges.descend(start) for start in starts), *starts[1:]]
    # From its own order on, exchange by exchange, too: the last ones may be chance.
    for one in (*exchanges.path(own), *sorted(tried, key=lambda order: int(np.sum(order != own)))):
        if exchanges.better(one, best, moved=2):
            best = one
    return best if exchanges.better(best, own, moved=int(np.sum(best != own))) else None


def _matched(first: Array, second: Array, d: int) -> NDArray[np.intp]:
    """Match columns by what does not hang on the others' places.

    That is how they are distributed, how they go with the targets, and how with all others, sorted.
    """
    signs = []
    for part in (first, second):
        R = _correlations(part)
        signs.append((np.quantile(part[:, :d], LEVELS, axis=0).T, R[:d, d:], np.sort(R[:d, :d], axis=1)))
    scale = first[:, :d].std(axis=0)[:, None] + second[:, :d].std(axis=0) + TINY
    costs = [np.mean(np.abs(a[:, None, :] - b[None, :, :]), axis=2) for a, b in zip(*signs, strict=True)]
    return np.asarray(scipy.optimize.linear_sum_assignment(costs[0] / scale + costs[1] + costs[2])[1])


def _distributed_alike(first: Array, second: Array) -> NDArray[np.intp]:
    """Exchange those columns alone that lie elsewhere, so that they are distributed as in the first part."""
    order = np.arange(first.shape[1])
    away = np.flatnonzero(distances(first, second) > _bound(first, second))
    D = np.array([distances(np.repeat(first[:, [i]], len(away), axis=1), second[:, away]) for i in away])
    if len(away) > 1:
        order[away] = away[scipy.optimize.linear_sum_assignment(D)[1]]
    return order


def _correlations(X: Array) -> Array:
    """Return the correlations of all columns, 0 where one is constant."""
    spread = X.std(axis=0)
    Z = (X - X.mean(axis=0)) / np.where(spread > 0.0, spread, 1.0)
    return np.asarray(Z.T @ Z / len(X))
