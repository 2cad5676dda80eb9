"""Which edge of any graph is at fault: the evidence for a change of its parameters alone, by Laplace.

The change theta of one edge's parameters has the prior N(0, tau^2 I). Linearised, the outputs f it leads to
are a Gaussian process with the kernel K = tau^2 J J^T, J the derivatives of the outputs of all samples in the
parameters (`kernel.py`; Rasmussen & Williams 2006, ch. 3). With C the negative log likelihood of the targets
(`misfit.py`) and L the variance of their noise, 1 for classes,

    a = (y - phi(f + K a)) / L                                                the mode, theta = tau^2 J^T a
    log E = -C(f + K a) - a^T K a / 2 - log det(I + R^T K R / L) / 2,         R R^T = J_phi at the mode,

counted from -C(f), no fault at all, in nats. tau is the best of a few multiples of the edge's root mean
square weight, the narrowest first, as in `sheafcli.core.chain.repair`: on the last layer of a chain, which is
linear in its parameters, this is the chain's evidence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy

from sheafcli.core.edge import Edge
from sheafcli.core.fault.kernel import kernel
from sheafcli.core.fault.misfit import PRIORS, Misfit
from sheafcli.core.network import AnyNetwork
from sheafcli.core.operation import Designed, Learnable
from sheafcli.core.sweep import forward, linearize, pull_back
from sheafcli.core.types import Array

# A likelihood has many minima: where two repairs of one place end, from weights 1e-6 apart, their evidence
# differs by up to six thousandths of it: three either way.
UNCERTAIN = 0.003
# Up to so many outputs all move, of more so many directions.
MOST_OUTPUTS, DIRECTIONS = 16, 4
# Affordable are so many samples, rows of J, entries of pulls on the largest stalk, and products of numbers.
MOST_SAMPLES, MOST_ROWS, MOST_ENTRIES, MOST_WORK, FEWEST_SAMPLES = 300, 1000, 1 << 25, 1e11, 5
# The search for a mode ends where a step promises fewer nats, or after so many; that for the noise likewise.
CONVERGED, MOST_STEPS, HALVINGS, MOST_NOISE_STEPS = 1e-7, 60, 30, 10_000


class Blamed(NamedTuple):
    """What a change of one edge's parameters explains.

    `evidence` is the log evidence for a fault there against none, in nats; `loss` the loss that the
    linearised network has after the likeliest change, and `prior` that change's tau, in units of a parameter.
    """

    edge: Edge
    evidence: float
    loss: float
    prior: float


class _Mode(NamedTuple):
    """The dual vector a, the mean potential at the mode, C + a^T K a / 2, and half the log determinant."""

    a: Array
    potential: float
    value: float
    occam: float


def blame(
    network: AnyNetwork, X: Array, y: Array, advance: Callable[[], object] = lambda: None
) -> list[Blamed]:
    """Return the evidence of every edge with parameters, in topological order.

    X is samples x features, y samples x outputs. All samples are used: choose them by `samples_tried`. Of
    more outputs than MOST_OUTPUTS the logits move, sample by sample, in DIRECTIONS alone: that of the error,
    and the outputs with the largest errors. Sweeps are in the precision of X. `advance` is called after each
    edge.
    """
    graph = network.graph
    X = np.asarray(X).reshape(-1, *graph.input_shape)
    misfit = Misfit(network.output, np.asarray(y, dtype=np.float64))
    at = linearize(graph, X)
    learnable = (step for step in forward(graph, X) if isinstance(step.vertex.operation, Learnable))
    read = {step.vertex.index: step.parents[0] for step in learnable}
    f = at.output.astype(np.float64)
    Q = directions(misfit.y - network.output.value(f))
    found: list[Blamed] = []
    for vertex, G in pull_back(at, {graph.output.index: np.moveaxis(Q, 2, 0).astype(at.output.dtype)}):
        if isinstance(vertex.operation, Learnable) and vertex.edge is not None:
            parameters = vertex.operation.parameters
            size = float(np.sqrt(np.mean(next(iter(parameters.values())) ** 2))) or 1.0
            found.append(
                _blamed(vertex.edge, kernel(vertex.operation, read[vertex.index], G), size, misfit, f, Q)
            )
            advance()
    return found[::-1]


def by_layer(blamed: list[Blamed]) -> dict[int, Blamed]:
    """Return for every layer that has parameters its likeliest edge, the first where none is likelier."""
    likeliest: dict[int, Blamed] = {}
    for one in blamed:
        other = likeliest.get(one.edge.layer)
        if other is None or one.evidence > other.evidence:
            likeliest[one.edge.layer] = one
    return dict(sorted(likeliest.items()))


def samples_tried(network: AnyNetwork, available: int) -> int:
    """Return on how many of the available samples, to be spread evenly, `blame` is affordable.

    MOST_SAMPLES at most; fewer where J would have more than MOST_ROWS rows, a sample and a direction each,
    where the pulls on the largest stalk have too many entries, or products with J would take too long.
    """
    graph = network.graph
    rows_a_sample = network.n_outputs if network.n_outputs <= MOST_OUTPUTS else DIRECTIONS
    products, squares = 0, 0
    for vertex in graph.heads:
        if isinstance(vertex.operation, Designed):
            weight = vertex.operation.parameters["weight"]
            places = vertex.size // len(weight)
            products += 4 * weight.size * places
            squares += weight.size if places > 1 else len(weight)
    rows = min(MOST_ROWS, MOST_ENTRIES // max(vertex.size for vertex in graph.vertices))
    while rows > 1 and rows * (products + rows * squares) > MOST_WORK:
        rows = rows * 9 // 10
    return min(available, MOST_SAMPLES, max(FEWEST_SAMPLES, rows // rows_a_sample))


def directions(error: Array) -> Array:
    """Return orthonormal directions of the outputs, samples x outputs x directions, from errors y - phi(f).

    All of few outputs; of many that of the error first, then the outputs with the largest errors.
    """
    n, outputs = error.shape
    if outputs <= MOST_OUTPUTS:
        return np.broadcast_to(np.eye(outputs), (n, outputs, outputs))
    largest = np.argsort(-np.abs(error), axis=1, kind="stable")[:, : DIRECTIONS - 1]
    spanned = np.zeros((n, outputs, DIRECTIONS))
    spanned[:, :, 0] = error
    np.put_along_axis(spanned[:, :, 1:], largest[:, None, :], 1.0, axis=1)
    return np.asarray(np.linalg.qr(spanned)[0])


def posterior(evidence: Array, uncertain: float = UNCERTAIN) -> Array:
    """Return exp(e_l / T) / (1 + sum_m exp(e_m / T)), the probability of a fault in each place.

    T is 1, or that share, `uncertain`, of the highest evidence to which Laplace's method knows it, if that is
    more: places whose evidence differs by less are not told apart. What is missing to 1 is that of no fault.
    """
    highest = max(0.0, float(evidence.max()))
    temperature = max(1.0, uncertain * highest)
    odds = np.exp((evidence - highest) / temperature)
    return np.asarray(odds / (np.exp(-highest / temperature) + odds.sum()))


def _blamed(edge: Edge, K: Array, size: float, misfit: Misfit, f: Array, Q: Array) -> Blamed:
    """Return the evidence under the best prior, one after the other while that explains more."""
    nothing = misfit.cost(misfit.potential(f))
    mode_of = _noisy_modes(K, misfit, f, Q) if misfit.profiled else _class_modes(K, misfit, f, Q)
    best = None
    for prior in PRIORS:
        tau = prior * size
        mode = mode_of(tau)
        blamed = Blamed(edge, nothing - mode.value - mode.occam, misfit.loss(mode.potential), tau)
        if best is not None and not blamed.evidence > best.evidence:
            break
        best = blamed
    assert best is not None
    return best


def _noisy_modes(K: Array, misfit: Misfit, f: Array, Q: Array) -> Callable[[float], _Mode]:
    """Return the mode for tau where the noise is profiled: a ridge regression for every L in the basis of K.

    L follows from what the regression leaves, and that from L: from no change on, ever less is left.
    """
    values, basis = np.linalg.eigh(K)
    error = basis.T @ np.einsum("nci,nc->ni", Q, misfit.y - f).ravel()
    values, n = np.maximum(values, 0.0), len(f)

    def mode_of(tau: float) -> _Mode:
        k, L, before = tau**2 * values, misfit.variance(misfit.potential(f)), np.inf
        for _ in range(MOST_NOISE_STEPS):
            left = error * (L / (k + L))
            potential = 0.5 * float(left @ left) / n
            if not before - L > CONVERGED * L / misfit.y.size:
                break
            before, L = L, misfit.variance(potential)
        a = left / L
        value = misfit.cost(potential) + 0.5 * float(a @ (k * a))
        return _Mode(a, potential, value, 0.5 * float(np.sum(np.log1p(k / L))))

    return mode_of


def _class_modes(K: Array, misfit: Misfit, f: Array, Q: Array) -> Callable[[float], _Mode]:
    """Return the mode for tau by Newton's method with a line search, the last one as the next one's start."""
    shape = (len(f), Q.shape[2])
    output, y = misfit.output, misfit.y
    start = np.zeros(K.shape[0])

    def moved(g: Array) -> Array:
        return np.asarray(f + np.einsum("nci,ni->nc", Q, g.reshape(shape)))

    def value(a: Array, g: Array) -> tuple[float, float]:
        potential = misfit.potential(moved(g))
        return potential, misfit.cost(potential) + 0.5 * float(a @ g)

    def mode_of(tau: float) -> _Mode:
        nonlocal start
        k, a = tau**2 * K, start
        g = k @ a
        potential, now = value(a, g)
        for _ in range(MOST_STEPS):
            z = moved(g)
            root = output.root(z, Q)  # R^T Q
            W = np.swapaxes(root, 1, 2) @ root
            half = _square_root(W)
            factor = scipy.linalg.cho_factor(np.eye(len(a)) + _by_blocks(half, _by_blocks(half, k).T))
            slope = np.einsum("nci,nc->ni", Q, y - output.value(z)).ravel()
            b = _by_blocks(W, g[:, None])[:, 0] + slope
            inner = scipy.linalg.cho_solve(factor, _by_blocks(half, (k @ b)[:, None]))
            step = b - _by_blocks(half, inner)[:, 0] - a
            step_g = k @ step
            promised = 0.5 * float(step_g @ (slope - a))
            if not promised > CONVERGED:
                break
            length = 1.0
            for _ in range(HALVINGS):
                potential, there = value(a + length * step, g + length * step_g)
                if there <= now - 0.1 * length * promised:
                    break
                length *= 0.5
            else:
                break
            a, g, now = a + length * step, g + length * step_g, there
        start = a
        occam = float(np.sum(np.log(np.diag(factor[0]))))
        return _Mode(a, potential, now, occam)

    return mode_of


def _square_root(W: Array) -> Array:
    """Return the symmetric roots of positive semidefinite matrices, one a sample."""
    values, vectors = np.linalg.eigh(W)
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]) @ np.swapaxes(vectors, 1, 2))


def _by_blocks(blocks: Array, M: Array) -> Array:
    """Return the block diagonal matrix of `blocks`, samples x r x r, times M, (samples r) x anything."""
    return np.asarray(np.matmul(blocks, M.reshape(len(blocks), blocks.shape[1], -1)).reshape(M.shape))
