"""Repairs: evidence against closed forms and brute-force integrals, and faults that were planted."""

import warnings

import numpy as np
import pytest
from oracles import problem
from scipy.optimize import brentq, minimize
from scipy.special import softmax
from scipy.stats import multivariate_normal

from sheafcli.core.chain.network import Network
from sheafcli.core.chain.repair import PRIORS, repairs
from sheafcli.core.chain.training.backprop import gradient

OUTPUTS = ["identity", "sigmoid", "softmax"]
KINDS = ["layer", "neuron", "input", "rearranged"]


def drawn(widths, output="identity", seed=0, scale=1.0):
    """Draw a network with biases, none of them zero."""
    rng = np.random.default_rng(seed)
    network = Network.he(widths, output, rng)
    biases = tuple(0.3 * scale * rng.normal(size=b.shape) for b in network.biases)
    return Network(tuple(scale * W for W in network.weights), biases, network.output)


def targets(network, X, seed=0, noise=0.1):
    """Draw targets of which the network is the truth."""
    rng = np.random.default_rng(seed)
    p = network.predict(X)
    if network.output.name == "identity":
        return p + noise * rng.normal(size=p.shape)
    if network.output.name == "sigmoid":
        return (rng.random(p.shape) < p).astype(float)
    return np.eye(p.shape[1])[[rng.choice(p.shape[1], p=row) for row in p]]


def with_weights(network, layer, W=None, b=None):
    weights, biases = list(network.weights), list(network.biases)
    weights[layer - 1] = weights[layer - 1] if W is None else W
    biases[layer - 1] = biases[layer - 1] if b is None else b
    return Network(tuple(weights), tuple(biases), network.output)


def potential(network, X, y):
    return float(np.sum(network.output.potential(network.logits(X), y)))


def rms(network, layer):
    return float(np.sqrt(np.mean(network.weights[layer - 1] ** 2)))


# Evidence in closed form ----------------------------------------------------------------------


def linear_evidence(A, r, tau):
    """Return the log evidence for r = A theta + noise, theta ~ N(0, tau^2), over that for r = noise.

    By the density of r, N(0, L + tau^2 A A^T), not by Laplace's method: for a linear model both agree. L, the
    variance of the noise, is the mean squared error that is left at the likeliest theta: none where
    there are as many entries as samples. The density of noise alone is at its best for L = mean r^2.
    """
    N, before = len(r), float(np.mean(r * r))

    def left(L):
        theta = np.linalg.solve(A.T @ A + L / tau**2 * np.eye(A.shape[1]), A.T @ r)
        return float(np.mean((r - A @ theta) ** 2))

    fits = A.shape[1] >= N
    L = 0.0 if fits else brentq(lambda L: left(L) / L - 1.0, 1e-9 * before, 2.0 * before, rtol=1e-13)
    marginal = multivariate_normal(cov=L * np.eye(N) + tau**2 * A @ A.T).logpdf(r)
    return marginal + N / 2 * np.log(2.0 * np.pi * before) + (0.0 if fits else N / 2)


@pytest.mark.parametrize("samples", [60, 5])  # more than columns, and fewer
@pytest.mark.parametrize("outputs", [1, 2])
def test_the_evidence_of_a_linear_network_is_that_of_linear_regression(samples, outputs):
    rng = np.random.default_rng(outputs)
    network = drawn([6, outputs], seed=3)
    X = rng.normal(size=(samples, 6))
    y = (
        network.logits(X)
        + X @ (0.5 * rng.normal(size=(6, outputs)))
        + 0.3 * rng.normal(size=(samples, outputs))
    )
    r = y - network.logits(X)
    a = np.column_stack([X, np.ones(samples)])
    ((*found, _),) = repairs(network, X, y)  # what is rearranged is one of few, and has no prior
    for repair in found:
        if repair.kind == "layer":
            A = np.kron(np.eye(outputs), a)
        elif repair.kind == "neuron":
            A = np.kron(np.eye(outputs)[:, [repair.index]], a)
        else:
            A = np.kron(np.eye(outputs), a[:, [repair.index]])
        expected = max(linear_evidence(A, r.T.ravel(), tau * rms(network, 1)) for tau in PRIORS)
        if A.shape[1] < len(A):
            assert repair.evidence == pytest.approx(expected, rel=1e-4, abs=1e-3), repair.kind
        else:  # another maximum, with noise, may be higher
            assert repair.evidence > expected - 1e-3, repair.kind


def integrated(cost, dimensions, tau, reach, points):
    """Return log of the integral of exp(-cost(theta)) N(theta; 0, tau^2 I) on a grid."""
    grid = np.linspace(-reach, reach, points)
    thetas = np.stack(np.meshgrid(*[grid] * dimensions, indexing="ij"), axis=-1).reshape(-1, dimensions)
    logs = np.array([-cost(theta) for theta in thetas])
    logs -= np.sum(thetas**2, axis=1) / (2 * tau**2) + dimensions / 2 * np.log(2 * np.pi * tau**2)
    return logs.max() + np.log(np.sum(np.exp(logs - logs.max()))) + dimensions * np.log(grid[1] - grid[0])


@pytest.mark.parametrize(
    ("widths", "output", "layer", "kind"),
    [
        ([1, 1], "sigmoid", 1, "input"),  # one entry
        ([1, 1], "sigmoid", 1, "layer"),  # two
        ([1, 1], "sigmoid", 1, "neuron"),
        ([2, 1, 1], "sigmoid", 2, "input"),  # one, after a hidden layer
        ([2, 1, 1], "sigmoid", 1, "input"),  # one, before it: the kinks are in the integral
        ([1, 2], "softmax", 1, "input"),
        ([2, 1, 2], "softmax", 2, "input"),
    ],
)
def test_the_evidence_of_few_entries_is_near_the_integral(widths, output, layer, kind):
    """Laplace's method errs by O(1 / samples) where the cost is smooth."""
    rng = np.random.default_rng(5)
    network = drawn(widths, output, seed=4)
    if len(widths) == 3:
        network = with_weights(network, 1, np.ones((1, 2)), np.ones(1))
    X = rng.normal(size=(200, widths[0]))
    truth = with_weights(
        network, layer, network.weights[layer - 1] + np.linspace(2.0, 1.0, network.widths[layer])[:, None]
    )
    y = targets(truth, X, seed=6)
    found = list(repairs(network, X, y))[layer - 1]
    (repair,) = (repair for repair in found if repair.kind == kind)
    assert repair.evidence > 0.5
    column = repair.index if kind == "input" else None
    size = network.widths[layer] if kind == "input" else network.weights[layer - 1].size + 1

    def cost(theta):
        W, b = network.weights[layer - 1].copy(), network.biases[layer - 1].copy()
        if column is None:
            W, b = W + theta[:-1], b + theta[-1:]
        else:
            W[:, column] += theta
        return potential(with_weights(network, layer, W, b), X, y)

    expected = max(
        integrated(cost, size, tau * rms(network, layer), 4.0, 1001 if size == 1 else 61) for tau in PRIORS
    )
    expected += potential(network, X, y)
    kinks = layer < len(widths) - 1
    assert repair.evidence == pytest.approx(expected, abs=0.3 if kinks else 0.1)


# What a repair is -----------------------------------------------------------------------------


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("samples", [40, 4])
def test_a_repair_is_a_network_that_differs_in_its_part_alone(output, samples):
    network, X, y = problem(output, (6, 5), samples=samples, features=3)
    before = network.output.loss(network.logits(X), y)
    found = list(repairs(network, X, y))
    assert [[repair.kind for repair in tried] for tried in found] == [KINDS] * 3
    for layer, tried in enumerate(found, start=1):
        for repair in tried:
            assert repair.layer == layer
            assert repair.loss == pytest.approx(
                repair.network.output.loss(repair.network.logits(X), y), rel=1e-9
            )
            for place in range(3):
                same = repair.network.weights[place] == network.weights[place]
                same = np.column_stack([same, repair.network.biases[place] == network.biases[place]])
                if place != layer - 1:
                    assert same.all()
                elif repair.kind == "neuron":
                    assert np.delete(same, repair.index, axis=0).all()
                elif repair.kind == "input":
                    assert np.delete(same, repair.index, axis=1).all()
        # It begins from no change, and the prior pulls towards that.
        assert tried[0].loss <= before * (1 + 1e-12)
        assert tried[2].loss <= before * (1 + 1e-12)
        assert tried[3].loss <= before * (1 + 1e-12)


# Faults ---------------------------------------------------------------------------------------


def blames(network, X, y):
    """Return the likeliest repair of each layer, and the posterior of each layer, without that of none."""
    likeliest = [max(tried, key=lambda repair: repair.evidence) for tried in repairs(network, X, y)]
    return likeliest, softmax([0.0, *(repair.evidence for repair in likeliest)])[1:]


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("seed", range(3))
def test_where_the_network_is_the_truth_evidence_is_chance(output, seed):
    """A Bayes factor has the mean 1 where there is no fault: of m one exceeds 20 m once in 20 times."""
    widths = [3, 8, 6, {"identity": 2, "sigmoid": 1, "softmax": 3}[output]]
    network = drawn(widths, output, seed, 1.5)
    X = np.random.default_rng(seed).normal(size=(150, 3))
    found, _ = blames(network, X, targets(network, X, seed + 1))
    for repair in found:
        hypotheses = len(PRIORS) * (1 + network.widths[repair.layer] + network.widths[repair.layer - 1])
        assert repair.evidence < np.log(20 * hypotheses)


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("hidden", [(5,), (4, 4)])
def test_on_what_a_network_has_learned_there_is_no_evidence(output, hidden):
    """Its loss is at a minimum: nothing is mended, and what could mend is paid for.

    But for what the training leaves: L-BFGS stalls at kinks some thousandths of a nat above it.
    """
    widths = [2, *hidden, {"identity": 1, "sigmoid": 1, "softmax": 3}[output]]
    truth, start = drawn(widths, output, 1, 1.5), drawn(widths, output, 2)
    X = np.random.default_rng(3).normal(size=(150, 2))
    y = targets(truth, X, 4)
    learned = converged(start, X, y)
    assert potential(learned, X, y) < 0.95 * potential(start, X, y)
    found, _ = blames(learned, X, y)
    assert max(repair.evidence for repair in found) < 0.1


def converged(network, X, y):
    """Train a network with L-BFGS until its loss does not fall."""
    shapes = [v.shape for pair in zip(network.weights, network.biases, strict=True) for v in pair]
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])

    def at(vector):
        arrays = [v.reshape(s) for v, s in zip(np.split(vector, ends[:-1]), shapes, strict=True)]
        return Network(tuple(arrays[::2]), tuple(arrays[1::2]), network.output)

    def loss(vector):
        now = at(vector)
        slopes = [v.ravel() for pair in gradient(now, X, y) for v in pair]
        return now.output.loss(now.logits(X), y), np.concatenate(slopes)

    start = [v.ravel() for pair in zip(network.weights, network.biases, strict=True) for v in pair]
    found = minimize(loss, np.concatenate(start), jac=True, method="L-BFGS-B", options={"maxiter": 3000})
    return at(found.x)


def scrambled(network, layer, neuron, seed):
    """Draw the weights into a neuron anew."""
    W = network.weights[layer - 1].copy()
    W[neuron] = np.random.default_rng(seed).normal(size=W.shape[1]) * np.sqrt(2.0 / W.shape[1]) * 1.5
    return with_weights(network, layer, W)


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("layer", [1, 2, 3])
def test_a_scrambled_neuron_is_named(output, layer):
    widths = [3, 8, 6, {"identity": 2, "sigmoid": 2, "softmax": 3}[output]]
    truth = drawn(widths, output, 11, 2.0)
    # A class says less than a number: there must be more of them for the same odds.
    X = np.random.default_rng(1).normal(size=(900 if output == "softmax" else 300, 3))
    y = targets(truth, X, 2, 0.05)
    # The neuron whose loss would be felt most.
    losses = []
    for neuron in range(widths[layer]):
        sick = scrambled(truth, layer, neuron, neuron)
        losses.append(sick.output.loss(sick.logits(X), y))
    neuron = int(np.argmax(losses))
    found, posterior = blames(scrambled(truth, layer, neuron, neuron), X, y)
    assert np.argmax(posterior) == layer - 1
    assert posterior[layer - 1] > 0.8
    if output != "softmax" or layer == 3:  # few bits a sample: the layer is told, the neuron not always
        assert (found[layer - 1].kind, found[layer - 1].index) == ("neuron", neuron)


@pytest.mark.parametrize("layer", [1, 2])
def test_a_dead_neuron_is_named(layer):
    """It has no gradient at all: its bias must be moved before anything is learned."""
    truth = drawn([3, 6, 5, 1], "identity", 2, 1.5)
    X = np.random.default_rng(1).normal(size=(200, 3))
    y = targets(truth, X, 2, 0.02)
    felt = []
    for neuron in range(truth.widths[layer]):
        b = truth.biases[layer - 1].copy()
        b[neuron] = -50.0
        sick = with_weights(truth, layer, b=b)
        felt.append((sick.output.loss(sick.logits(X), y), neuron, sick))
    _, neuron, sick = max(felt, key=lambda row: row[0])
    found, posterior = blames(sick, X, y)
    assert np.argmax(posterior) == layer - 1
    assert posterior[layer - 1] > 0.9
    assert (found[layer - 1].kind, found[layer - 1].index) == ("neuron", neuron)


@pytest.mark.parametrize("seed", range(3))
def test_a_dead_neuron_is_mended_to_the_noise(seed):
    """Its weights are right but for the bias: the network can be as good as it was."""
    truth = drawn([4, 12, 12, 2], "identity", seed, 1.5)
    X = np.random.default_rng(1).normal(size=(200, 4))
    y = targets(truth, X, 2, 0.02)
    neuron = int(np.argmax(np.linalg.norm(truth.weights[2], axis=0)))
    b = truth.biases[1].copy()
    b[neuron] = -50.0
    _, (_, mended, *_), _ = repairs(with_weights(truth, 2, b=b), X, y)
    assert (mended.kind, mended.index) == ("neuron", neuron)
    assert mended.loss < 1.1 * truth.output.loss(truth.logits(X), y)


@pytest.mark.parametrize("output", OUTPUTS)
def test_an_input_read_wrongly_is_named(output):
    outputs = {"identity": 2, "sigmoid": 2, "softmax": 3}[output]
    truth = drawn([5, 10, outputs], output, 4, 2.0)
    X = np.random.default_rng(1).normal(size=(300, 5))
    y = targets(truth, X, 2, 0.05)
    W = truth.weights[0].copy()
    W[:, 3] *= -1.0
    found, posterior = blames(with_weights(truth, 1, W), X, y)
    assert posterior[0] > 0.95
    assert (found[0].kind, found[0].index) == ("input", 3)


def test_a_neuron_of_a_wide_layer_is_named():
    """Of 80 neurons not all are looked at closely."""
    truth = drawn([10, 80, 4], "identity", 5, 1.5)
    X = np.random.default_rng(1).normal(size=(200, 10))
    y = targets(truth, X, 2, 0.02)
    neuron = int(np.argmax(np.linalg.norm(truth.weights[1], axis=0)))
    found, posterior = blames(scrambled(truth, 1, neuron, 0), X, y)
    assert posterior[0] > 0.95
    assert (found[0].kind, found[0].index) == ("neuron", neuron)


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_layer_pruned_to_zero_is_found(output):
    """Its stalk stands at the kinks, all of it: zero counts as active, or nothing would move it."""
    truth = drawn([3, 8, 6, {"identity": 2, "sigmoid": 2, "softmax": 3}[output]], output, 11, 2.0)
    X = np.random.default_rng(1).normal(size=(300, 3))
    y = targets(truth, X, 2, 0.05)
    pruned = with_weights(truth, 2, np.zeros_like(truth.weights[1]), np.zeros_like(truth.biases[1]))
    found, posterior = blames(pruned, X, y)
    assert np.argmax(posterior) == 1
    assert posterior[1] > 0.99
    assert found[1].loss < 0.5 * pruned.output.loss(pruned.logits(X), y)


# On any machine -------------------------------------------------------------------------------


def jittered(network, seed):
    """Move every weight by a millionth of itself, as no rounding could."""
    rng = np.random.default_rng(seed)
    weights, biases = (
        tuple(v * (1.0 + 1e-6 * rng.standard_normal(v.shape)) for v in arrays)
        for arrays in (network.weights, network.biases)
    )
    return Network(weights, biases, network.output)


def noisy(network, layer):
    W = network.weights[layer - 1]
    E = np.random.default_rng(layer).standard_normal(W.shape)
    return with_weights(network, layer, W + 0.5 * np.linalg.norm(W) * E / np.linalg.norm(E))


def silenced(network, layer):
    b = network.biases[layer - 1].copy()
    b[0] = -50.0
    return with_weights(network, layer, b=b)


PLANTED = {
    "noise": noisy,
    "scrambled": lambda network, layer: scrambled(network, layer, 1, 1),
    "silenced": silenced,
}


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("layer", [1, 2])
@pytest.mark.parametrize("kind", PLANTED)
def test_the_answer_does_not_hang_on_the_last_digits(output, layer, kind):
    """Evidence is smooth in the weights: a millionth of them moves it by some millionths of itself.

    A hundredth of a nat, and 1e-4 of the evidence, are far above that, and far below what anybody acts on.
    """
    truth = drawn([3, 8, 6, {"identity": 2, "sigmoid": 2, "softmax": 3}[output]], output, 11, 2.0)
    X = np.random.default_rng(1).normal(size=(200, 3))
    y = targets(truth, X, 2, 0.05)
    sick = PLANTED[kind](truth, layer)
    found, posterior = blames(sick, X, y)
    for seed in range(2):
        again, posterior_again = blames(jittered(sick, seed), X, y)
        assert np.argmax(posterior_again) == np.argmax(posterior)
        first, second = (repairs_[int(np.argmax(posterior))] for repairs_ in (found, again))
        assert first.part == second.part
        assert second.evidence == pytest.approx(first.evidence, rel=1e-4, abs=0.01)


# At the edge ----------------------------------------------------------------------------------


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_part_without_influence_has_no_evidence(output):
    """The second layer is dead, whatever the first one does."""
    network, X, y = problem(output, (5, 4), samples=20)
    dead = with_weights(network, 2, np.zeros_like(network.weights[1]), np.full(4, -1.0))
    first, *_ = repairs(dead, X, y)
    assert first[-1].evidence < 0.0  # what was rearranged has still to be told
    for repair in first[:-1]:
        assert repair.evidence == pytest.approx(0.0, abs=1e-9)
    for repair in first:
        assert repair.loss == pytest.approx(network.output.loss(dead.logits(X), y), rel=1e-12)


def edge_cases():
    for output in OUTPUTS:
        network, X, y = problem(output, (5, 4), samples=12)
        zeros = Network(
            tuple(np.zeros_like(W) for W in network.weights),
            tuple(np.zeros_like(b) for b in network.biases),
            network.output,
        )
        dead = with_weights(network, 1, b=np.full(5, -1e3))
        huge = with_weights(network, 3, 1e6 * network.weights[2])
        tiny = with_weights(network, 3, 1e-12 * network.weights[2])
        linear, X_linear, y_linear = problem(output, (), samples=12)
        yield f"{output}, a dead layer", dead, X, y
        yield f"{output}, all weights zero", zeros, X, y
        yield f"{output}, huge logits", huge, X, y
        yield f"{output}, logits of nothing", tiny, X, y
        yield f"{output}, one sample", network, X[:1], y[:1]
        yield f"{output}, no hidden layer", linear, X_linear, y_linear
        yield f"{output}, no hidden layer, one sample", linear, X_linear[:1], y_linear[:1]
        yield f"{output}, constant inputs", network, np.ones_like(X), y
        yield f"{output}, inputs of zeros", network, np.zeros_like(X), y
        yield f"{output}, one target", network, X, np.repeat(y[:1], len(y), axis=0)
    network, X, _ = problem("identity", (5, 4), samples=12)
    yield "perfect", network, X, network.logits(X)
    yield "perfect but for rounding", network, X, network.logits(X) * (1 + 1e-15)
    yield "perfect to single precision", network, X, network.logits(X).astype(np.float32).astype(float)
    network, X, _ = problem("identity", (5, 4), samples=60)
    yield "perfect, more samples", network, X, network.logits(X)
    yield "all but perfect, more samples", network, X, network.logits(X) + 1e-9 * np.cos(37 * X[:, :1])
    for scale in (1e-100, 1e-9, 1e9, 1e100):
        yield f"targets of {scale}", network, X, scale * np.sin(X)
        yield f"inputs of {scale}", network, scale * X, np.sin(X)


EDGE_CASES = {name: case for name, *case in edge_cases()}


@pytest.mark.parametrize("name", EDGE_CASES)
def test_nothing_at_the_edge_of_what_there_is_breaks_it(name):
    network, X, y = EDGE_CASES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for tried in repairs(network, X, y):
            assert [repair.kind for repair in tried] == KINDS
            for repair in tried:
                assert np.isfinite(repair.evidence)
                assert np.isfinite(repair.loss)


@pytest.mark.parametrize("samples", [12, 60])
def test_a_perfect_network_is_not_at_fault(samples):
    network, X, _ = problem("identity", (5, 4), samples=samples)
    for tried in repairs(network, X, network.logits(X)):
        for repair in tried:
            assert repair.evidence <= 1e-9


def test_the_same_comes_out_twice():
    network, X, y = problem("softmax", (6, 5), samples=30)
    first, second = (
        [(r.part, r.evidence, r.loss) for tried in repairs(network, X, y) for r in tried] for _ in range(2)
    )
    assert first == second
