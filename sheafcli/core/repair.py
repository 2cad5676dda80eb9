"""Which layer is at fault: what each could mend alone, weighed against how easily it mends anything.

Every edge is stiff but one, affine l, whose map may change within a *part* of [W_l, b_l]: the whole layer,
the weights into one neuron, or those out of one coordinate of a_{l-1}. With theta the change and a prior
N(0, tau^2 I) on it, the evidence for a fault in that part is, by Laplace's method (MacKay 1992),

    log E = -C(theta) - |theta|^2 / (2 tau^2) - 1/2 sum_i log(1 + tau^2 w_i),

theta where the first two terms are largest, w_i the eigenvalues of the Gauss-Newton curvature of C there.
C is the negative log likelihood of the targets: the sum of the output's potential over the samples for
classes; N/2 log L with N = samples x outputs for the identity, whose noise variance L, the mean squared
error, is profiled out. tau is the best of a few multiples of the layer's root mean square weight. No fault at
all has theta = 0, and log E = -C(0): `evidence` is counted from there, in nats.

The sum of logarithms is Occam's factor: a layer that could mend any error at all explains an error less well
than one that could mend few, and mends this one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize

from sheafcli.core.network import Network
from sheafcli.core.outputs import Array, Identity
from sheafcli.core.parts import Input, Kind, Neuron, Part, Taken, WholeLayer, gram
from sheafcli.core.sheaf import pattern_of

# tau in units of the layer's root mean square weight, the widest first.
PRIORS = (5.0, 1.0, 0.3, 0.1)
# L-BFGS steps for a whole layer and for a part of it, under the widest prior.
LAYER_STEPS, PART_STEPS = 150, 60
# How many neurons and inputs of a layer are tried, those first that one linear step mends best.
MOST_TRIED = 3
# How far along a linear step a new start is looked for; a cross-entropy flattens far from its minimum.
STEPS = (0.25, 1.0, 4.0)
# In wide layers so many neurons are looked at closely, those under the strongest pull.
MOST_SCREENED = 48
RIDGE, TINY = 1e-6, 1e-30
# The least variance of a target's noise, in units of its mean square.
NOISE = 1e-12

Start = tuple[Part, Array]
"""A part, and the entries from which its repair begins."""


@dataclass(frozen=True, eq=False)
class Repair:
    """What a part of one layer can mend alone.

    `kind` says which part, the whole `layer`, a `neuron` or an `input`, and `index` which of them; `network`
    is the repaired one, `loss` its loss on the samples, and `evidence` the log evidence for a fault
    there against none, in nats.
    """

    layer: int
    kind: Kind
    index: int | None
    network: Network
    loss: float
    evidence: float


def repairs(network: Network, X: Array, y: Array) -> Iterator[list[Repair]]:
    """Yield for every layer from the first its repairs: the whole layer, then the best neuron and input."""
    for layer in range(1, network.depth + 2):
        bench = _Bench.of(network, X, y, layer)
        whole = WholeLayer.of(bench.taken)
        found = [bench.repaired((whole, whole.entries), LAYER_STEPS)]
        for starts in (bench.neurons(), bench.inputs()):
            tried = [bench.repaired(start, PART_STEPS) for start in starts]
            found += sorted(tried, key=lambda repair: -repair.evidence)[:1]
        yield found


@dataclass(frozen=True, eq=False)
class _Bench:
    """One layer taken out, and what is wanted of it.

    `tail` holds W and b of the layers after it; `nothing` is C where nothing is changed.
    """

    network: Network
    number: int
    taken: Taken
    tail: tuple[tuple[Array, Array], ...]
    y: Array
    nothing: float

    @classmethod
    def of(cls, network: Network, X: Array, y: Array, layer: int) -> _Bench:
        a = X
        for W, b in zip(network.weights[: layer - 1], network.biases[: layer - 1], strict=True):
            a = np.maximum(a @ W.T + b, 0.0)
        inputs = np.hstack([a, np.ones((len(a), 1))])
        matrix = np.hstack([network.weights[layer - 1], network.biases[layer - 1][:, None]])
        taken = Taken(inputs, matrix, inputs @ matrix.T)
        tail = tuple(zip(network.weights[layer:], network.biases[layer:], strict=True))
        bench = cls(network, layer, taken, tail, y, np.nan)
        return replace(bench, nothing=bench.misfit(bench.potential(taken.z)))

    def misfit(self, potential: float) -> float:
        """Return C, the negative log likelihood, from the mean potential per sample."""
        if isinstance(self.network.output, Identity):
            return float(0.5 * self.y.size * np.log(self._variance(potential)))
        return len(self.y) * potential

    def _variance(self, potential: float) -> float:
        """Return the variance of the noise: the mean squared error, or 1 where a likelihood has none."""
        if isinstance(self.network.output, Identity):
            # No target is better known than to so many digits: a perfect fit has a likelihood, too.
            known = NOISE * float(np.mean(self.y * self.y)) + TINY
            return 2.0 * potential / float(self.y.shape[1]) + known
        return 1.0

    def _slope(self, potential: float) -> float:
        """Return dC / d (mean potential)."""
        if isinstance(self.network.output, Identity):
            return len(self.y) / self._variance(potential)
        return float(len(self.y))

    def stalks(self, z: Array) -> list[Array]:
        """Return z_l, ..., z_{k+1} from z_l."""
        found = [z]
        for W, b in self.tail:
            found.append(np.maximum(found[-1], 0.0) @ W.T + b)
        return found

    def potential(self, z: Array) -> float:
        """Return the mean potential per sample at z_l."""
        return float(np.mean(self.network.output.potential(self.stalks(z)[-1], self.y)))

    def gradient(self, z: Array) -> tuple[float, Array]:
        """Return the mean potential and its gradient in z_l."""
        stalks = self.stalks(z)
        on_z = (self.network.output.value(stalks[-1]) - self.y) / len(self.y)
        for (W, _), before in zip(self.tail[::-1], stalks[-2::-1], strict=True):
            on_z = (on_z @ W) * (before > 0.0)
        return float(np.mean(self.network.output.potential(stalks[-1], self.y))), on_z

    def sensitivities(self, z: Array) -> tuple[Array, Array, Array]:
        """Return z_{k+1}, G = d z_{k+1} / d z_l and d z_{k+1} / d a_l, these samples x n_{k+1} x n_l."""
        stalks = self.stalks(z)
        outputs = stalks[-1].shape[1]
        G = H = np.broadcast_to(np.eye(outputs), (len(z), outputs, outputs))
        for (W, _), before in zip(self.tail[::-1], stalks[-2::-1], strict=True):
            H = G @ W
            G = H * pattern_of(before)[:, None, :]
        return stalks[-1], G, H

    def repaired(self, begin: Start, steps: int) -> Repair:
        """Find the likeliest change of a part under the prior that explains most."""
        part, entries = begin
        rms = float(np.sqrt(np.mean(self.taken.matrix[:, :-1] ** 2))) or 1.0
        best: tuple[float, Array] | None = None
        for place, scale in enumerate(PRIORS):
            # Each begins where the wider one before it ended.
            share = steps if place == 0 else steps // 3
            entries, value = self._likeliest(part, entries, scale * rms, share)
            cost = value + self._occam(part, entries, scale * rms)
            if best is None or cost < best[0]:
                best = cost, entries
        assert best is not None
        cost, entries = best
        M = part.placed(entries)
        weights, biases = list(self.network.weights), list(self.network.biases)
        weights[self.number - 1], biases[self.number - 1] = M[:, :-1], M[:, -1]
        network = Network(tuple(weights), tuple(biases), self.network.output)
        loss = self.potential(part.stalk(entries)) * network.output.loss_scale(self.y.shape[1])
        return Repair(self.number, part.kind, part.index, network, loss, self.nothing - cost)

    def _likeliest(self, part: Part, start: Array, tau: float, steps: int) -> tuple[Array, float]:
        """Minimise C + |theta|^2 / (2 tau^2) over a part; return its entries and the minimum."""
        now = part.entries

        def descend(entries: Array) -> tuple[float, Array]:
            potential, on_z = self.gradient(part.stalk(entries))
            theta = entries - now
            value = self.misfit(potential) + 0.5 * float(theta @ theta) / tau**2
            return value, part.slope(on_z) * self._slope(potential) + theta / tau**2

        options = {"maxiter": steps, "maxfun": 2 * steps}
        found = minimize(descend, start, jac=True, method="L-BFGS-B", options=options)
        return found.x, float(found.fun)

    def _occam(self, part: Part, entries: Array, tau: float) -> float:
        """Return 1/2 sum_i log(1 + tau^2 w_i) at a repair."""
        z = part.stalk(entries)
        scale = tau**2 / self._variance(self.potential(z))
        last, G, _ = self.sensitivities(z)
        A = scale * part.curvature(G, self.network.output.jacobian(last))
        try:
            return float(np.sum(np.log(np.diag(np.linalg.cholesky(np.eye(len(A)) + A)))))
        except np.linalg.LinAlgError:  # the least eigenvalues, 1, are lost in the rounding of the largest
            return float(0.5 * np.sum(np.log1p(np.maximum(np.linalg.eigvalsh(A), 0.0))))

    def inputs(self) -> list[Start]:
        """Return the inputs that seem to mend most, were their effects linear."""
        last, G, _ = self.sensitivities(self.taken.z)
        error = self.y - self.network.output.value(last)
        a = self.taken.inputs[:, :-1]
        pull = np.einsum("ioj,io->ij", G, error).T @ a
        bend = _steadied(gram(G, self.network.output.jacobian(last) @ G) / len(G))
        gains = np.sum(pull * np.linalg.solve(bend, pull), axis=0) / np.maximum(np.sum(a * a, axis=0), TINY)
        parts = [Input(self.taken, int(i)) for i in np.argsort(-gains, kind="stable")[:MOST_TRIED]]
        return [(part, part.entries) for part in parts]

    def neurons(self) -> list[Start]:
        """Return the neurons that seem to mend most, each with the weights to start from."""
        last, G, H = self.sensitivities(self.taken.z)
        error, jacobian = self.y - self.network.output.value(last), self.network.output.jacobian(last)
        pull, bend = _pulls(G, jacobian, error)
        starts = self._linear_starts(pull, bend, keep=True)
        dead: list[Start] = []
        if self.tail:
            # As if the neuron were linear, and not there yet.
            z = self.taken.z
            pull, bend = _pulls(H, jacobian, error)
            pull += bend * np.maximum(z, 0.0)
            starts += self._linear_starts(pull, bend, keep=False)
            # One that is never active has no slope to follow: its bias is moved until it is, half the time.
            silent = np.asarray(~pattern_of(z).any(axis=0))
            for j in _strongest(pull * silent, bend)[:MOST_TRIED]:
                if silent[j]:
                    part = Neuron(self.taken, j)
                    row = part.entries.copy()
                    row[-1] -= np.median(z[:, j])
                    dead.append((part, row))
        values = [self.potential(part.stalk(row)) for part, row in starts]
        order = np.argsort(values, kind="stable")[:MOST_TRIED]
        return [starts[place] for place in order if np.isfinite(values[place])] + dead

    def _linear_starts(self, pull: Array, bend: Array, *, keep: bool) -> list[Start]:
        """Return neurons with weights some way along what would mend most, were all linear.

        From their own weights on, or from none if these are not to be kept.
        """
        a = self.taken.inputs
        over_samples = a @ a.T if len(a) < a.shape[1] else None
        starts: list[Start] = []
        for j in _strongest(pull, bend):
            part = Neuron(self.taken, j)
            step = _newton_step(a, pull[:, j], bend[:, j], over_samples)
            begin = part.entries if keep else np.zeros_like(step)
            starts += [(part, begin + length * step) for length in STEPS]
        return starts


def _newton_step(a: Array, pull: Array, bend: Array, over_samples: Array | None) -> Array:
    """Return (a^T B a + r I)^-1 a^T pull, B = diag(bend), r a small ridge.

    With fewer samples than weights, as a^T (B a a^T + r I)^-1 pull from `over_samples`, a a^T.
    """
    if over_samples is None:
        return np.asarray(np.linalg.solve(_steadied((a * bend[:, None]).T @ a), pull @ a))
    ridge = RIDGE * float(bend @ np.diag(over_samples)) / a.shape[1] + TINY
    return np.asarray(np.linalg.solve(bend[:, None] * over_samples + ridge * np.eye(len(a)), pull) @ a)


def _pulls(G: Array, jacobian: Array, error: Array) -> tuple[Array, Array]:
    """Return G^T error and the diagonal of G^T J_phi G, both samples x n_l."""
    return np.einsum("ioj,io->ij", G, error), np.sum(G * (jacobian @ G), axis=1)


def _strongest(pull: Array, bend: Array) -> list[int]:
    """Return the neurons to look at more closely: all of a narrow layer, the most strained of a wide one."""
    gains = np.sum(pull * pull, axis=0) / np.maximum(bend.sum(axis=0), TINY)
    return [int(j) for j in np.argsort(-gains, kind="stable")[:MOST_SCREENED]]


def _steadied(A: Array) -> Array:
    """Return a positive semidefinite matrix with a ridge that makes it invertible."""
    return np.asarray(A + (RIDGE * np.trace(A) / len(A) + TINY) * np.eye(len(A)))
