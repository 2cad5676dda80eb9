"""Which layer is at fault: what each could mend alone, weighed against how easily it mends anything.

Every edge is stiff but one, affine l, whose map may change within a *part* of [W_l, b_l]: the whole layer,
the weights into one neuron, or those out of one coordinate of a_{l-1}. With theta the change and a prior
N(0, tau^2 I) on it, the evidence for a fault in that part is, by Laplace's method (MacKay 1992),

    log E = -C(theta) - |theta|^2 / (2 tau^2) - 1/2 log det(I + tau^2 J^T J / L),

theta where the first two terms are largest. C is the negative log likelihood of the targets: the sum of the
output's potential over the samples for classes, where L = 1; N/2 log L with N = samples x outputs for the
identity, whose noise variance L, the mean squared error, is profiled out. J^T J / L is the Gauss-Newton
curvature of C: J = R^T dz_{k+1} / dtheta, R R^T the Jacobian of the output. tau is the best of a few
multiples of the layer's root mean square weight. No fault at all has theta = 0, and log E = -C(0):
`evidence` is counted from there, in nats.

The determinant is Occam's factor: a layer that could mend any error at all explains an error less well
than one that could mend few, and mends this one.

theta is found by Levenberg's and Marquardt's method with Nielsen's damping (Madsen, Nielsen & Tingleff 2004).
It ends where its model promises less than 1e-5 nats: what is left does not hang on rounding. The
kinks of the layers after l are softened for it (`tail.py`), first more, then less: across a kink
no slope leads anywhere. The terms of the evidence are those of the network as it is.

Weights that stand in the wrong places, or are off by a bit, are put right by trial (`rearrangement.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sheafcli.core.blocks import blocks
from sheafcli.core.chain.network import Network
from sheafcli.core.chain.parts import Columns, Kind, Neuron, Part, Taken
from sheafcli.core.chain.rearrangement import rearrangements
from sheafcli.core.chain.sheaf import pattern_of
from sheafcli.core.chain.tail import Sweep, Tail
from sheafcli.core.fault.misfit import PRIORS, TINY
from sheafcli.core.types import Array

# How far kinks are softened, in units of the root mean square of the stalk that has them, first and then; and
# the nats that a step must promise to be taken.
SOFTNESS, CONVERGED = (0.1, 0.01), (0.1, 1e-5)
# The damping to begin with, in units of the prior's: where a long first step leads over many kinks hangs on
# the last digits. And the least after a step that is not taken.
FIRST_DAMPING, LEAST_DAMPING = 100.0, 0.1
# So many steps are tried, taken or not: the more where few entries of sensitivities make them cheap, and the
# most for a whole layer, of which there is one where there are many neurons and inputs.
FEWEST_STEPS, MOST_WORK = 12, 4_000_000
MOST_STEPS: dict[Kind, int] = {"layer": 400, "neuron": 100, "input": 100}
# A step is taken if it keeps this share of its promise.
LEAST_GAIN = 1e-3
# Rows of the curvature so small beside the prior's hardly change a step, and those of the second no evidence.
NEGLIGIBLE_STEP, NEGLIGIBLE = 0.1, 1e-4
# How many neurons and inputs of a layer are tried, those first that one linear step mends best: fewer where
# sweeps over the samples through all layers have more than so many entries, and a layer counts as CALLS more.
MOST_TRIED, MOST_SWEPT, CALLS = 3, 200_000, 3000
# How far along a linear step a new start is looked for; a cross-entropy flattens far from its minimum.
STEPS = (0.25, 1.0, 4.0)
# In wide layers so many neurons are looked at closely for each that is tried, those under the strongest pull.
MOST_SCREENED = 16
RIDGE = 1e-6

Start = tuple[Part, Array]
"""A part, and the entries from which its repair begins."""


@dataclass(frozen=True, eq=False)
class Repair:
    """What a part of one layer can mend alone.

    `kind` says which part, the whole `layer`, a `neuron` or an `input`, and `index` which of them; or it is
    `rearranged`, and `change` says what was, `order` which item belongs in each place. `matrix` is [W_l, b_l]
    after it, in place of that of the network `before`; `loss` is the loss on the samples then, and `evidence`
    the log evidence for a fault there against none, in nats.
    """

    layer: int
    kind: Kind
    before: Network
    matrix: Array
    loss: float
    evidence: float
    index: int | None = None
    change: str | None = None
    order: tuple[int, ...] | None = None

    @property
    def network(self) -> Network:
        """The repaired network."""
        weights, biases = list(self.before.weights), list(self.before.biases)
        weights[self.layer - 1], biases[self.layer - 1] = self.matrix[:, :-1], self.matrix[:, -1]
        return Network(tuple(weights), tuple(biases), self.before.output)

    @property
    def part(self) -> str:
        """What it changes: `layer`, `neuron 3`, `input 5`, or what was rearranged, such as `transposed`."""
        return self.change or (self.kind if self.index is None else f"{self.kind} {self.index}")


def repairs(network: Network, X: Array, y: Array) -> Iterator[list[Repair]]:
    """Yield for every layer its repairs: the whole, the best neuron, input and rearrangement."""
    for layer in range(1, network.depth + 2):
        with np.errstate(
            over="ignore", invalid="ignore"
        ):  # a step too far has no finite value, and is not taken
            found = _repairs_of(_Bench.of(network, X, y, layer))
        yield found


def _repairs_of(bench: _Bench) -> list[Repair]:
    inputs = bench.inputs()
    whole, column = (
        bench.likeliest([(part, part.entries) for part in parts], PRIORS)
        for parts in ([Columns.whole(bench.taken)], inputs)
    )
    neuron = bench.likeliest(bench.neurons(), PRIORS[::-1])
    return [
        whole,
        neuron,
        column,
        bench.rearranged([part.index for part in inputs if part.index is not None]),
    ]


@dataclass(frozen=True, eq=False)
class _Place:
    """Entries of a part with what follows: the sweep, the mean potential, and C + |theta|^2 / (2 tau^2)."""

    entries: Array
    sweep: Sweep
    potential: float
    value: float


@dataclass(frozen=True, eq=False)
class _Bench:
    """One layer taken out, and what is wanted of it.

    `tails` are what follows it, with kinks as they are and then as SOFTNESS says, `size` its root mean square
    weight, and `nothing` is C where nothing is changed.
    """

    network: Network
    number: int
    taken: Taken
    tail: Tail
    softened: tuple[Tail, ...]
    size: float
    nothing: float

    @classmethod
    def of(cls, network: Network, X: Array, y: Array, layer: int) -> _Bench:
        a = X
        for W, b in zip(network.weights[: layer - 1], network.biases[: layer - 1], strict=True):
            a = np.maximum(a @ W.T + b, 0.0)
        inputs = np.hstack([a, np.ones((len(a), 1))])
        matrix = np.hstack([network.weights[layer - 1], network.biases[layer - 1][:, None]])
        taken = Taken(inputs, matrix, inputs @ matrix.T)
        tail = Tail.of(network, layer, y)
        softened = tuple(tail.softened(share, taken.z) for share in SOFTNESS) if tail.weights else (tail,)
        size = float(np.sqrt(np.mean(network.weights[layer - 1] ** 2))) or 1.0
        nothing = tail.misfit.cost(tail.misfit.potential(tail.sweep(taken.z).stalks[-1]))
        return cls(network, layer, taken, tail, softened, size, nothing)

    @property
    def most_tried(self) -> int:
        """How many neurons, and inputs, are tried."""
        entries = sum(len(self.taken.z) * width + CALLS for width in self.network.widths[1:])
        return max(1, min(MOST_TRIED, MOST_SWEPT // entries))

    def likeliest(self, starts: Sequence[Start], priors: Sequence[float]) -> Repair:
        """Repair each part from its start under the first prior, and the likeliest under the next ones.

        Each prior starts where the last one ended, while that explains more.
        """
        first, *others = (prior * self.size for prior in priors)
        entered = [(part, self._likeliest(part, entries, first)) for part, entries in starts]
        tried = [(self._judged(part, entries, first), part, entries) for part, entries in entered]
        best, part, entries = max(tried, key=lambda one: one[0].evidence)
        for tau in others:
            entries = self._likeliest(part, entries, tau)
            repair = self._judged(part, entries, tau)
            if repair.evidence <= best.evidence:
                break
            best = repair
        return best

    def _judged(self, part: Part, entries: Array, tau: float) -> Repair:
        """Return a repair with its evidence; no change is one, too, and kept where it is the likelier."""
        here = self._at(self.tail, part, entries, tau)
        if not here.value <= self.nothing:
            here = self._at(self.tail, part, part.entries, tau)
        scale = tau**2 / self.tail.misfit.variance(here.potential)
        occam = 0.5 * part.curvature(self.tail, here.sweep, NEGLIGIBLE / scale).log_determinant(scale)
        matrix, loss = part.placed(here.entries), self.tail.misfit.loss(here.potential)
        evidence = self.nothing - here.value - occam
        return Repair(self.number, part.kind, self.network, matrix, loss, evidence, part.index)

    def rearranged(self, columns: Sequence[int]) -> Repair:
        """Return the likeliest rearrangement, of the weights out of one input for each of `columns`."""
        tried = []
        for one in rearrangements(self.taken, self.tail, columns):
            M, potential = one.matrix, self._potential(one.matrix)
            if not self.tail.misfit.cost(potential) <= self.nothing:
                M, potential = self.taken.matrix, self._potential(self.taken.matrix)
            evidence = self.nothing - self.tail.misfit.cost(potential) - one.nats
            loss = self.tail.misfit.loss(potential)
            repaired = Repair(self.number, "rearranged", self.network, M, loss, evidence)
            tried.append(replace(repaired, change=one.name, order=one.order))
        return max(tried, key=lambda repair: repair.evidence)

    def _potential(self, M: Array) -> float:
        return self.tail.misfit.potential(self.tail.sweep(self.taken.inputs @ M.T).stalks[-1])

    def _at(self, tail: Tail, part: Part, entries: Array, tau: float) -> _Place:
        sweep = tail.sweep(part.stalk(entries))
        potential = tail.misfit.potential(sweep.stalks[-1])
        theta = entries - part.entries
        value = tail.misfit.cost(potential) + 0.5 * float(theta @ theta) / tau**2
        return _Place(entries, sweep, potential, value if np.isfinite(value) else np.inf)

    def _potentials(self, starts: Sequence[Start]) -> list[float]:
        """Return the mean potential where each start begins, as of so many more samples at once."""
        y, weights, biases = self.tail.y, self.tail.weights, self.network.biases[self.number :]
        found: list[float] = []
        for block in blocks(len(starts), 2 * len(y) * max(self.network.widths[self.number :])):
            z = np.concatenate([part.stalk(entries) for part, entries in starts[block]])
            for W, b in zip(weights, biases, strict=True):
                z = np.maximum(z, 0.0) @ W.T
                z += b
            z = z.reshape(-1, len(y), z.shape[1])
            found += self.network.output.potential(z, y).mean(axis=1).tolist()
        return found

    def _likeliest(self, part: Part, entries: Array, tau: float) -> Array:
        """Minimise C + |theta|^2 / (2 tau^2) over a part, its kinks ever less soft; return its entries."""
        for stage, tail in enumerate(self.softened, start=len(CONVERGED) - len(self.softened)):
            entries = self._descended(tail, part, entries, tau, stage)
        return entries

    def _descended(self, tail: Tail, part: Part, entries: Array, tau: float, stage: int) -> Array:
        """Return the entries of the minimum by damped Gauss-Newton steps."""
        here, model = self._at(tail, part, entries, tau), None
        damping, growth = FIRST_DAMPING / tau**2, 2.0
        work = tail.y.size * sum(self.network.widths[self.number :])
        most = max(FEWEST_STEPS, min(MOST_STEPS[part.kind], MOST_WORK // work))
        for _ in range(most):
            if model is None:
                scale = 1.0 / tail.misfit.variance(here.potential)
                on_misfit = scale * part.slope(tail.pulls(here.sweep)[0])
                slope = on_misfit + (here.entries - part.entries) / tau**2
                model = part.curvature(tail, here.sweep, NEGLIGIBLE_STEP / (scale * tau**2))
            inverse = model.inverse(scale, 1.0 / tau**2 + damping)
            gain = -np.inf
            if inverse is not None:
                step = inverse(slope)
                if tail.misfit.profiled:
                    step = step + _bent(inverse, on_misfit, slope, self.tail.y.size)
                promised = 0.5 * float(slope @ step + damping * step @ step)
                if not promised > CONVERGED[stage]:
                    break
                there = self._at(tail, part, here.entries - step, tau)
                gain = (here.value - there.value) / promised
            if gain > LEAST_GAIN:
                here, model = there, None
                damping *= max(1.0 / 3.0, 1.0 - (2.0 * gain - 1.0) ** 3)
                growth = 2.0
            else:
                damping = growth * max(damping, LEAST_DAMPING / tau**2)
                growth *= 2.0
        return here.entries

    def inputs(self) -> list[Columns]:
        """Return the inputs that seem to mend most, were their effects linear."""
        sweep = self.tail.sweep(self.taken.z)
        on_z, _ = self.tail.sensitivities(sweep)
        a = self.taken.inputs[:, :-1]
        pull = self.tail.pulls(sweep)[0].T @ a
        rows = on_z.reshape(-1, on_z.shape[2])
        bend = _steadied(rows.T @ rows / len(on_z))
        gains = np.sum(pull * np.linalg.solve(bend, pull), axis=0) / np.maximum(np.sum(a * a, axis=0), TINY)
        return [
            Columns.of_input(self.taken, int(i)) for i in np.argsort(-gains, kind="stable")[: self.most_tried]
        ]

    def neurons(self) -> list[Start]:
        """Return the neurons that seem to mend most, each with the weights to start from."""
        sweep = self.tail.sweep(self.taken.z)
        sensitivities, pulls = self.tail.sensitivities(sweep), self.tail.pulls(sweep)
        pull, bend = -pulls[0], np.sum(sensitivities[0] ** 2, axis=1)
        starts = self._linear_starts(pull, bend, keep=True)
        dead: list[Start] = []
        if self.tail.weights:
            # As if the neuron were linear, and not there yet.
            z = self.taken.z
            bend = np.sum(sensitivities[1] ** 2, axis=1)
            pull = -pulls[1] + bend * np.maximum(z, 0.0)
            starts += self._linear_starts(pull, bend, keep=False)
            # One that is never active has no slope to follow: its bias is moved until it is, half the time.
            silent = np.asarray(~pattern_of(z).any(axis=0))
            for j in _strongest(pull * silent, bend, self.most_tried):
                if silent[j]:
                    part = Neuron(self.taken, j)
                    row = part.entries.copy()
                    row[-1] -= np.median(z[:, j])
                    dead.append((part, row))
        best: dict[int | None, tuple[float, Start]] = {}
        for start, value in zip(starts, self._potentials(starts), strict=True):
            index = start[0].index
            if np.isfinite(value) and (index not in best or value < best[index][0]):
                best[index] = value, start
        first = sorted(best.values(), key=lambda pair: pair[0])[: self.most_tried]
        return [start for _, start in first] + dead

    def _linear_starts(self, pull: Array, bend: Array, *, keep: bool) -> list[Start]:
        """Return neurons with weights some way along what would mend most, were all linear.

        From their own weights on, or from none if these are not to be kept.
        """
        a = self.taken.inputs
        over_samples = a @ a.T if len(a) < a.shape[1] else None
        starts: list[Start] = []
        for j in _strongest(pull, bend, MOST_SCREENED * self.most_tried):
            part = Neuron(self.taken, j)
            step = _newton_step(a, pull[:, j], bend[:, j], over_samples)
            begin = part.entries if keep else np.zeros_like(step)
            starts += [(part, begin + length * step) for length in STEPS]
        return starts


def _bent(inverse: Callable[[Array], Array], s: Array, slope: Array, size: int) -> Array:
    """Return what the bend of the logarithm adds to a step; nothing far from the minimum, where it misleads.

    The curvature of N/2 log L is J^T J / L - 2/N s s^T, s its slope: by Sherman and Morrison its inverse has
    A^-1 s s^T A^-1 / (N/2 - s^T A^-1 s) more than A^-1.
    """
    moved = inverse(s)
    share = float(s @ moved)
    if not share < 0.25 * size:
        return np.zeros_like(s)
    return moved * float(moved @ slope) / (0.5 * size - share)


def _newton_step(a: Array, pull: Array, bend: Array, over_samples: Array | None) -> Array:
    """Return (a^T B a + r I)^-1 a^T pull, B = diag(bend), r a small ridge.

    With fewer samples than weights, as a^T (B a a^T + r I)^-1 pull from `over_samples`, a a^T.
    """
    if over_samples is None:
        return np.asarray(np.linalg.solve(_steadied((a * bend[:, None]).T @ a), pull @ a))
    ridge = RIDGE * float(bend @ np.diag(over_samples)) / a.shape[1] + TINY
    return np.asarray(np.linalg.solve(bend[:, None] * over_samples + ridge * np.eye(len(a)), pull) @ a)


def _strongest(pull: Array, bend: Array, most: int) -> list[int]:
    """Return so many neurons at most, the most strained first."""
    gains = np.sum(pull * pull, axis=0) / np.maximum(bend.sum(axis=0), TINY)
    return [int(j) for j in np.argsort(-gains, kind="stable")[:most]]


def _steadied(A: Array) -> Array:
    """Return a positive semidefinite matrix with a ridge that makes it invertible."""
    return np.asarray(A + (RIDGE * np.trace(A) / len(A) + TINY) * np.eye(len(A)))
