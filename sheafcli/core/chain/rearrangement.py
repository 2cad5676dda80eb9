"""What if a layer's numbers are right, and stand in the wrong places: faults that are undone by a trial.

A transposed matrix, inputs in another order, a flipped bit: such a fault is one of finitely many, and so is
what undoes it. With C the negative log likelihood of the targets (`sheafcli.core.fault.misfit`), F families
of changes and h changes in one of them, all equally likely before, the evidence for one of these, which leads
from C(0) to C(M), against none is exactly

    log E = C(0) - C(M) - log F - log h.

Families, M = [W_l, b_l] being what layer l computes z_l = M [a, 1] with, n x (m + 1):

- `weight`: one weight times a factor, -1 or a power of two that a bit of an exponent stands for:
  h = 9 n m;
- `column`: k of the n weights out of one input permuted, h = m n! / (n - k)!;
- `inputs`: of the first layer, k of m columns permuted, h = m! / (m - k)!;
- `outputs`: of the last layer, k of n rows permuted, h = n! / (n - k)!; of a single one its sign, h = 1;
- `transposed`: a square W, h = 1.

A permutation is found by exchanging pairs, and three at a time where no pair helps, while that lowers C by
more than it costs, log n an item: of several exchanges that do, those that do so together. Where there are
too many exchanges or weights, those are tried by which C would fall most to first order, for weights to
second with the Gauss-Newton curvature. Trials see some of the samples, the evidence all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from sheafcli.core.blocks import blocks
from sheafcli.core.chain.parts import Taken
from sheafcli.core.chain.tail import Tail
from sheafcli.core.types import Array

FACTORS = np.array([-1.0, *(2.0**e for e in (-8, -4, -2, -1, 1, 2, 4, 8))])
FAMILIES = 5
# Trials see so many samples, fewer in large networks, and are so many at a time, fewer where these take more
# products.
MOST_SAMPLES, FEWEST_SAMPLES, MOST_PRODUCTS = 60, 20, 3_000_000
MOST_TRIALS, FEWEST_TRIALS, MOST_WORK = 200, 16, 100_000_000
# Exchanges are looked for among so many items, so many are taken together, and so often.
MOST_ITEMS, TOGETHER, MOST_ROUNDS = 64, 8, 40

Items = Callable[[Array], Array]
"""A view of a matrix, whose rows change places."""
Cycle = NDArray[np.intp]
"""Items, each of which takes the place of the next."""


class Rearranged(NamedTuple):
    """A layer's matrix with a change undone: what it is called, and the nats that its kind costs.

    Of items in another order `order` says which of them belongs in each place of the matrix as it was.
    """

    name: str
    matrix: Array
    nats: float
    order: tuple[int, ...] | None = None


def rearrangements(taken: Taken, tail: Tail, columns: Sequence[int]) -> Iterator[Rearranged]:
    """Yield the best change of every family; of the weights out of one input for each of `columns`."""
    bench = _Bench.of(taken, tail)
    n, m = taken.matrix.shape[0], taken.matrix.shape[1] - 1
    first, last = tail.layer == 1, not tail.weights
    yield bench.weight()
    for j in columns if n > 1 else ():
        yield bench.permuted(f"input {j} shuffled", _column(j), m)
    if first and m > 1:
        yield bench.permuted("inputs shuffled", lambda M: M[:, :-1].T, 1)
    if last and n > 1:
        yield bench.permuted("outputs shuffled", lambda M: M, 1)
    if last and n == 1:
        yield Rearranged("sign flipped", -taken.matrix, np.log(FAMILIES))
    if n == m and n > 1:
        turned = np.hstack([taken.matrix[:, :-1].T, taken.matrix[:, -1:]])
        yield Rearranged("transposed", turned, np.log(FAMILIES))


def _column(j: int) -> Items:
    return lambda M: M[:, j : j + 1]


@dataclass(frozen=True, eq=False)
class _Bench:
    """A layer taken out on some of the samples, and what follows it.

    `share` is how many all samples are to these, `trials` how many changes are tried at a time.
    """

    taken: Taken
    tail: Tail
    share: float
    trials: int

    @classmethod
    def of(cls, taken: Taken, tail: Tail) -> _Bench:
        products = taken.matrix.size + sum(W.size for W in tail.weights)
        samples = max(FEWEST_SAMPLES, min(MOST_SAMPLES, MOST_PRODUCTS // products))
        some = np.unique(np.linspace(0, len(tail.y) - 1, samples).astype(int))
        taken = replace(taken, inputs=taken.inputs[some], z=taken.z[some])
        work = len(some) * products
        trials = max(FEWEST_TRIALS, min(MOST_TRIALS, MOST_WORK // work))
        return cls(taken, replace(tail, y=tail.y[some]), len(tail.y) / len(some), trials)

    def costs(self, matrices: Array) -> Array:
        """Return C, as if of all samples, for many matrices, rounded: no rounding of sums tells two apart."""
        output, y = self.tail.network.output, self.tail.y
        biases = self.tail.network.biases[self.tail.layer :]
        widest = max([matrices.shape[1], *map(len, self.tail.weights)])
        found: list[float] = []
        for block in blocks(len(matrices), 2 * len(y) * widest + matrices[0].size):
            z = self.taken.inputs @ np.swapaxes(matrices[block], 1, 2)
            count, z = len(z), z.reshape(-1, z.shape[2])
            for W, b in zip(self.tail.weights, biases, strict=True):
                z = np.maximum(z, 0.0, out=z) @ W.T
                z += b
            potentials = output.potential(z.reshape(count, len(y), -1), y).mean(axis=1)
            found += [self.tail.misfit.cost(p) if np.isfinite(p) else np.inf for p in potentials]
        return np.round(np.multiply(found, self.share), 6)

    def slope(self, M: Array) -> Array:
        """Return the slope of the potential, summed over the samples, in M's entries."""
        pull, _ = self.tail.pulls(self.tail.sweep(self.taken.inputs @ M.T))
        return np.asarray(pull.T @ self.taken.inputs)

    def weight(self) -> Rearranged:
        """Return the matrix with one weight times a factor."""
        M = self.taken.matrix
        sensitivities, _ = self.tail.sensitivities(self.tail.sweep(self.taken.z))
        bend = (np.sum(sensitivities**2, axis=1).T @ self.taken.inputs**2)[:, :-1, None]
        slope = self.slope(M)[:, :-1, None]
        change = M[:, :-1, None] * (FACTORS - 1.0)
        gain = -slope * change - 0.5 * bend * change**2
        gain = np.nan_to_num(np.round(gain, 6), nan=-np.inf)
        least = np.partition(gain, -min(self.trials, gain.size), axis=None)[-min(self.trials, gain.size)]
        best = np.flatnonzero(gain >= least)[: self.trials]
        row, column, factor = np.unravel_index(best, gain.shape)
        tried = np.repeat(M[None], len(best), axis=0)
        tried[np.arange(len(best)), row, column] *= FACTORS[factor]
        first = int(self.costs(tried).argmin())
        return Rearranged(
            f"weight {row[first]},{column[first]}", tried[first], np.log(FAMILIES) + np.log(gain.size)
        )

    def permuted(self, name: str, items_of: Items, choices: int) -> Rearranged:
        """Return the matrix with its items in the order to which exchanges lead, items_of(M) a view of M."""
        M = self.taken.matrix.copy()
        order = np.arange(len(items_of(M)))
        now = float(self.costs(M[None])[0])
        for _ in range(MOST_ROUNDS):
            some = self._helpful(M, items_of, now, 2) or self._helpful(M, items_of, now, 3)
            if not some:
                break
            together = [some[:many] for many in range(1, len(some) + 1)]
            tried = self._exchanged(M, items_of, together)
            costs = self.costs(tried)
            best = int(costs.argmin())
            M, now = tried[best], float(costs[best])
            for cycle in together[best]:
                order[cycle] = order[np.roll(cycle, 1)]
        moved, count = int(np.sum(order != np.arange(len(order)))), len(order)
        ways = float(gammaln(count + 1) - gammaln(count - moved + 1))
        belongs = tuple(np.argsort(order).tolist()) if moved else None
        return Rearranged(name, M, np.log(FAMILIES) + np.log(choices) + ways, belongs)

    def _helpful(self, M: Array, items_of: Items, now: float, size: int) -> list[Cycle]:
        """Return cycles of so many items that lower C by what they cost, the best first, all apart."""
        cycles = self._cycles(M, items_of, size)
        some: list[Cycle] = []
        worth = (size - 1) * np.log(len(items_of(M)))
        if len(cycles):
            costs = self.costs(self._exchanged(M, items_of, [[cycle] for cycle in cycles]))
            for cycle in cycles[np.argsort(costs, kind="stable")[: int(np.sum(costs < now - worth))]]:
                if len(some) < TOGETHER and not np.isin(cycle, some).any():
                    some.append(cycle)
        return some

    def _cycles(self, M: Array, items_of: Items, size: int) -> NDArray[np.intp]:
        """Return cycles of two or three items, each of which takes the place of the next, the best first.

        S has the slope of the potential in the place of an item, times each of the items: with one of them
        there instead of its own the potential is higher by the difference, to first order.
        """
        S = items_of(self.slope(M)) @ items_of(M).T
        risen = S - np.diag(S)[:, None]
        places = np.argsort(np.round(risen, 6).min(axis=1), kind="stable")[:MOST_ITEMS]
        if size == 2:
            cycles = places[np.column_stack(np.triu_indices(len(places), 1))]
        else:
            one, two, three = np.indices((len(places),) * 3).reshape(3, -1)
            apart = (one < two) & (one < three) & (two != three)
            cycles = places[np.column_stack([one, two, three])[apart]]
        rise = sum(risen[cycles[:, at], cycles[:, at - 1]] for at in range(size))
        return cycles[np.argsort(np.round(rise, 6), kind="stable")[: self.trials]]

    @staticmethod
    def _exchanged(M: Array, items_of: Items, changes: list[list[Cycle]]) -> Array:
        tried = np.repeat(M[None], len(changes), axis=0)
        for one, cycles in zip(tried, changes, strict=True):
            items = items_of(one)
            for cycle in cycles:
                items[cycle] = items[np.roll(cycle, 1)]
        return tried
