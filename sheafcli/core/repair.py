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
from typing import Literal

import numpy as np
from scipy.optimize import minimize

from sheafcli.core.network import Network
from sheafcli.core.outputs import Array, Identity
from sheafcli.core.sheaf import pattern_of

Kind = Literal["layer", "neuron", "input"]

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
# The curvature of a whole layer has at most so many rows, and none so small beside the largest.
MOST_ROWS, NEGLIGIBLE = 1000, 1e-10
RIDGE, TINY = 1e-6, 1e-30


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
        found = [bench.repaired("layer", None, bench.now, LAYER_STEPS)]
        for kind in ("neuron", "input"):
            tried = [
                bench.repaired(kind, index, start, PART_STEPS) for index, start in bench.candidates(kind)
            ]
            found += sorted(tried, key=lambda repair: -repair.evidence)[:1]
        yield found


@dataclass(frozen=True, eq=False)
class _Bench:
    """One layer taken out: what goes in, what follows, and what is wanted of it.

    `inputs` is [a_{l-1}, 1], samples x (n_{l-1} + 1); `now` is [W_l, b_l]; `tail` is the network from z_l
    on, with W_l in it; `nothing` is C where nothing is changed.
    """

    network: Network
    layer: int
    inputs: Array
    now: Array
    tail: tuple[tuple[Array, Array], ...]
    y: Array
    nothing: float

    @classmethod
    def of(cls, network: Network, X: Array, y: Array, layer: int) -> _Bench:
        a = X
        for W, b in zip(network.weights[: layer - 1], network.biases[: layer - 1], strict=True):
            a = np.maximum(a @ W.T + b, 0.0)
        bench = cls(
            network,
            layer,
            np.hstack([a, np.ones((len(a), 1))]),
            np.hstack([network.weights[layer - 1], network.biases[layer - 1][:, None]]),
            tuple(zip(network.weights[layer:], network.biases[layer:], strict=True)),
            y,
            np.nan,
        )
        return replace(bench, nothing=bench.misfit(bench.potential(bench.now)))

    def misfit(self, potential: float) -> float:
        """Return C, the negative log likelihood, from the mean potential per sample."""
        if isinstance(self.network.output, Identity):
            return float(0.5 * self.y.size * np.log(self._variance(potential)))
        return len(self.y) * potential

    def _variance(self, potential: float) -> float:
        """Return the variance of the noise: the mean squared error, or 1 where a likelihood has none."""
        if isinstance(self.network.output, Identity):
            return max(2.0 * potential / float(self.y.shape[1]), TINY)
        return 1.0

    def stalks(self, M: Array) -> list[Array]:
        """Return z_l, ..., z_{k+1} with M in place of [W_l, b_l]."""
        found = [self.inputs @ M.T]
        for W, b in self.tail:
            found.append(np.maximum(found[-1], 0.0) @ W.T + b)
        return found

    def potential(self, M: Array) -> float:
        """Return the mean potential per sample with M in place of [W_l, b_l]."""
        return float(np.mean(self.network.output.potential(self.stalks(M)[-1], self.y)))

    def gradient(self, M: Array) -> tuple[float, Array]:
        """Return the mean potential and its gradient in M."""
        z = self.stalks(M)
        on_z = (self.network.output.value(z[-1]) - self.y) / len(self.y)
        for (W, _), before in zip(self.tail[::-1], z[-2::-1], strict=True):
            on_z = (on_z @ W) * (before > 0.0)
        value = float(np.mean(self.network.output.potential(z[-1], self.y)))
        return value, on_z.T @ self.inputs

    def sensitivities(self, M: Array) -> tuple[list[Array], Array, Array]:
        """Return the stalks, d z_{k+1} / d z_l and d z_{k+1} / d a_l, these samples x n_{k+1} x n_l."""
        z = self.stalks(M)
        G = H = np.broadcast_to(np.eye(z[-1].shape[1]), (*z[-1].shape, z[-1].shape[1]))
        for (W, _), before in zip(self.tail[::-1], z[-2::-1], strict=True):
            H = G @ W
            G = H * pattern_of(before)[:, None, :]
        return z, G, H

    def repaired(self, kind: Kind, index: int | None, start: Array, steps: int) -> Repair:
        """Find the likeliest change of one part, from `start` on, under the prior that explains most."""
        rms = float(np.sqrt(np.mean(self.now[:, :-1] ** 2))) or 1.0
        best: tuple[float, float, Array] | None = None
        for place, scale in enumerate(PRIORS):
            # Each begins where the wider one before it ended.
            share = steps if place == 0 else steps // 3
            start, value = self._likeliest(kind, index, start, scale * rms, share)
            cost = value + self._occam(start, kind, index, scale * rms)
            if best is None or cost < best[0]:
                best = cost, value, start
        assert best is not None
        cost, _, M = best
        weights, biases = list(self.network.weights), list(self.network.biases)
        weights[self.layer - 1], biases[self.layer - 1] = M[:, :-1], M[:, -1]
        network = Network(tuple(weights), tuple(biases), self.network.output)
        loss = self.potential(M) * network.output.loss_scale(self.y.shape[1])
        return Repair(self.layer, kind, index, network, loss, self.nothing - cost)

    def _likeliest(
        self, kind: Kind, index: int | None, start: Array, tau: float, steps: int
    ) -> tuple[Array, float]:
        """Minimise C + |theta|^2 / (2 tau^2) over a part; return the matrix and the minimum."""
        part = _part(kind, index)
        M, now = start.copy(), self.now[part].ravel()

        def descend(entries: Array) -> tuple[float, Array]:
            M[part] = entries.reshape(M[part].shape)
            potential, gradient = self.gradient(M)
            theta = entries - now
            value = self.misfit(potential) + 0.5 * float(theta @ theta) / tau**2
            return value, gradient[part].ravel() * self._slope(potential) + theta / tau**2

        found = minimize(
            descend,
            M[part].ravel(),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": steps, "maxfun": 2 * steps},
        )
        M[part] = found.x.reshape(M[part].shape)
        return M, float(found.fun)

    def _slope(self, potential: float) -> float:
        """Return dC / d (mean potential)."""
        if isinstance(self.network.output, Identity):
            return len(self.y) / self._variance(potential)
        return float(len(self.y))

    def _occam(self, M: Array, kind: Kind, index: int | None, tau: float) -> float:
        """Return 1/2 sum_i log(1 + tau^2 w_i) at a repair."""
        scale = tau**2 / self._variance(self.potential(M))
        A = self._curvature(M, kind, index)
        return float(np.sum(np.log(np.diag(np.linalg.cholesky(np.eye(len(A)) + scale * A)))))

    def _curvature(self, M: Array, kind: Kind, index: int | None) -> Array:
        """Return a matrix with the eigenvalues w_i: the sum over samples of J^T J_phi J or its Gram matrix.

        J = d z_{k+1} / d (the part).
        """
        z, G, _ = self.sensitivities(M)
        a = self.inputs
        if kind == "layer":
            return self._layer_curvature(z[-1], G)
        bent = self.network.output.jacobian(z[-1]) @ G
        if kind == "neuron":
            bend = np.sum(G[:, :, index] * bent[:, :, index], axis=1)
            return np.asarray((a * bend[:, None]).T @ a)
        return _gram(G * (a[:, index] ** 2)[:, None, None], bent)

    def _layer_curvature(self, z: Array, G: Array) -> Array:
        """Return the Gram matrix of the rows of a whole layer.

        With J_phi = sum_i d_i q_i q_i^T each sample has a row sqrt(d_i) (q_i^T G) times a^T for every output.
        Beyond MOST_ROWS the smallest are left out: where a prediction is sure they are all but 0.
        """
        d, q = np.linalg.eigh(self.network.output.jacobian(z))
        rows = np.sqrt(np.maximum(d, 0.0))[:, :, None] * (np.swapaxes(q, 1, 2) @ G)
        sample = np.repeat(np.arange(len(rows)), rows.shape[1])
        rows = rows.reshape(-1, rows.shape[2])
        size = np.sum(rows * rows, axis=1) * np.sum(self.inputs * self.inputs, axis=1)[sample]
        kept = np.argsort(-size, kind="stable")[:MOST_ROWS]
        kept = kept[size[kept] > NEGLIGIBLE * size.max()]
        rows, a = rows[kept], self.inputs[sample[kept]]
        return np.asarray((rows @ rows.T) * (a @ a.T))

    def candidates(self, kind: Kind) -> list[tuple[int, Array]]:
        """Return the neurons or inputs that seem to mend most, each with a matrix to start from."""
        z, G, H = self.sensitivities(self.now)
        error = self.y - self.network.output.value(z[-1])
        jacobian = self.network.output.jacobian(z[-1])
        if kind == "input":
            pull = np.einsum("ioj,io->ij", G, error).T @ self.inputs[:, :-1]
            bend = _steadied(_gram(G, jacobian @ G) / len(G))
            square = np.maximum(np.sum(self.inputs[:, :-1] ** 2, axis=0), TINY)
            gains = np.sum(pull * np.linalg.solve(bend, pull), axis=0) / square
            return [(int(i), self.now) for i in np.argsort(-gains, kind="stable")[:MOST_TRIED]]
        pull, bend = _pulls(G, jacobian, error)
        starts = [
            (j, start)
            for j in _strongest(pull, bend)
            for start in self._moved(j, self.now[j], self._newton_step(pull[:, j], bend[:, j]))
        ]
        dead = []
        if self.tail:
            # As if the neuron were linear, and not there yet.
            pull, bend = _pulls(H, jacobian, error)
            pull += bend * np.maximum(z[0], 0.0)
            nothing = np.zeros(self.now.shape[1])
            for j in _strongest(pull, bend):
                starts += [
                    (j, start) for start in self._moved(j, nothing, self._newton_step(pull[:, j], bend[:, j]))
                ]
            # One that is never active has no slope to follow: its bias is moved until it is, half the time.
            silent = np.asarray(~pattern_of(z[0]).any(axis=0))
            for j in _strongest(pull * silent, bend)[:MOST_TRIED]:
                if silent[j]:
                    start = self.now.copy()
                    start[j, -1] -= np.median(z[0][:, j])
                    dead.append((j, start))
        best = sorted((self.potential(start), j, place) for place, (j, start) in enumerate(starts))
        return [starts[place] for value, _, place in best[:MOST_TRIED] if np.isfinite(value)] + dead

    def _newton_step(self, pull: Array, bend: Array) -> Array:
        """Return the change of one neuron's weights that mends most, were all linear."""
        a = self.inputs
        return np.asarray(np.linalg.solve(_steadied((a * bend[:, None]).T @ a), pull @ a))

    def _moved(self, neuron: int, row: Array, step: Array) -> list[Array]:
        """Return matrices with a neuron's weights moved some way along a step."""
        starts = []
        for length in STEPS:
            start = self.now.copy()
            start[neuron] = row + length * step
            starts.append(start)
        return starts


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


def _gram(G: Array, bent: Array) -> Array:
    """Return the sum over samples and outputs of G^T (J_phi G), n_l x n_l."""
    return np.asarray(G.reshape(-1, G.shape[2]).T @ bent.reshape(-1, G.shape[2]))


def _part(kind: Kind, index: int | None) -> tuple[slice | int, slice | int]:
    everything = slice(None)
    if kind == "neuron":
        assert index is not None
        return index, everything
    if kind == "input":
        assert index is not None
        return everything, index
    return everything, everything
