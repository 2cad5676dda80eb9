"""Rearrangements: what was planted is undone to the last bit, and what that is worth is counted by hand."""

from itertools import permutations
from math import factorial, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import problem

from sheafcli.core.chain.network import Network
from sheafcli.core.chain.rearrangement import FACTORS, FAMILIES
from sheafcli.core.chain.repair import repairs

OUTPUTS = {"identity": 3, "sigmoid": 1, "softmax": 4}


def truth_of(output, seed, hidden=(4, 4)):
    """Draw a network, and enough samples of it to tell any two orders apart."""
    rng = np.random.default_rng(seed)
    network = Network.he([5, *hidden, OUTPUTS[output]], output, rng)
    network = Network(
        tuple(2.0 * W for W in network.weights),
        tuple(0.6 + 0.3 * rng.normal(size=b.shape) for b in network.biases),
        network.output,
    )
    X = rng.normal(size=(400, 5))
    p = network.predict(X)
    # The likelihood of probabilities is highest where they are predicted.
    return network, X, p + 0.02 * rng.normal(size=p.shape) if output == "identity" else p


def with_matrix(network, layer, W, b=None):
    weights, biases = list(network.weights), list(network.biases)
    weights[layer - 1] = W
    biases[layer - 1] = biases[layer - 1] if b is None else b
    return Network(tuple(weights), tuple(biases), network.output)


def cost(network, X, y):
    """The negative log likelihood of the targets: N/2 log of the mean squared error, or the cross-entropy."""
    z = network.logits(X)
    if network.output.name == "identity":
        return 0.5 * y.size * np.log(np.mean((z - y) ** 2) + 1e-12 * np.mean(y * y))
    return float(np.sum(network.output.potential(z, y)))


def moved(W, rng, count, axis):
    """Return W with so many of its rows or columns in another order, and none of them where it was."""
    some = rng.choice(W.shape[axis], count, replace=False)
    order = np.arange(W.shape[axis])
    order[some] = np.roll(some, 1)
    return np.take(W, order, axis=axis), order


def plant(kind, truth, rng):
    """Return the network with a rearrangement, its layer, what it is called, and how many are alike."""
    first, middle, last = truth.weights
    if kind == "transposed":
        return with_matrix(truth, 2, middle.T), 2, "transposed", 1
    if kind == "inputs":
        W, _ = moved(first, rng, 3, 1)
        return with_matrix(truth, 1, W), 1, "inputs shuffled", factorial(5) / factorial(5 - 3)
    if kind == "outputs":
        W, order = moved(last, rng, 2, 0)
        n = len(last)
        ways = factorial(n) / factorial(n - 2)
        return with_matrix(truth, 3, W, truth.biases[2][order]), 3, "outputs shuffled", ways
    if kind == "sign":
        return with_matrix(truth, 3, -last, -truth.biases[2]), 3, "sign flipped", 1
    if kind == "column":
        W = first.copy()
        j = int(rng.integers(5))
        W[:, [j]], _ = moved(W[:, [j]], rng, 2, 0)
        return with_matrix(truth, 1, W), 1, f"input {j} shuffled", 5 * factorial(4) / factorial(2)
    W = middle.copy()
    i, j = rng.integers(W.shape)
    W[i, j] *= {"sign bit": -1.0, "exponent bit": 16.0}[kind]
    return with_matrix(truth, 2, W), 2, f"weight {i},{j}", len(FACTORS) * W.size


def worst(kind, truth, X, y, seed):
    """Return the plant that matters most of a few."""
    drawn = [plant(kind, truth, np.random.default_rng([seed, draw])) for draw in range(12)]
    return max(drawn, key=lambda one: cost(one[0], X, y))


CASES = [
    (kind, output)
    for output in OUTPUTS
    for kind in ("transposed", "inputs", "outputs", "sign", "column", "sign bit", "exponent bit")
    if (kind == "sign") == (output == "sigmoid" and kind in ("sign", "outputs"))
]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("kind", "output"), CASES)
def test_what_was_planted_is_undone(kind, output, seed):
    """To the last bit; and its evidence is what the likelihood gains, less the log of how many are alike."""
    truth, X, y = truth_of(output, seed)
    sick, layer, name, ways = worst(kind, truth, X, y, seed)
    found = list(repairs(sick, X, y))[layer - 1][-1]
    expected = cost(sick, X, y) - cost(truth, X, y) - log(FAMILIES * ways)
    if found.part != name:  # two weights exchanged may look like a sign, and are fewer to tell
        assert kind in ("column", "sign bit")
        assert found.evidence > expected
        return
    for W, right in zip(found.network.weights, truth.weights, strict=True):
        np.testing.assert_array_equal(W, right)
    assert found.evidence == pytest.approx(expected, rel=1e-9)
    assert found.loss == pytest.approx(truth.output.loss(truth.logits(X), y), rel=1e-9)


@pytest.mark.parametrize("kind", ["transposed", "inputs", "outputs", "exponent bit"])
def test_no_other_layer_explains_it_so_well(kind):
    truth, X, y = truth_of("softmax", 4)
    sick, layer, _, _ = worst(kind, truth, X, y, 4)
    evidence = [tried[-1].evidence for tried in repairs(sick, X, y)]
    assert np.argmax(evidence) == layer - 1
    assert evidence[layer - 1] - np.delete(evidence, layer - 1).max() > 10.0


@given(st.integers(0, 2**16), st.sampled_from(["identity", "softmax"]))
def test_four_inputs_in_any_order_are_as_well_found_as_by_trying_all(seed, output):
    """The exchange of pairs ends where no pair helps; of four inputs of a linear model that is the best."""
    rng = np.random.default_rng(seed)
    truth = Network.he([4, 3], output, rng)
    X = rng.normal(size=(60, 4))
    z = truth.logits(X)
    y = z if output == "identity" else np.eye(3)[z.argmax(axis=1)]
    order = rng.permutation(4)
    sick = with_matrix(truth, 1, truth.weights[0][:, order])
    ((*_, found),) = repairs(sick, X, y)
    best = min(cost(with_matrix(sick, 1, sick.weights[0][:, p]), X, y) for p in permutations(range(4)))
    if found.part == "inputs shuffled":
        # A pair at a time may end before the best; it never ends worse than the best single pair.
        assert cost(found.network, X, y) >= best - 1e-6
    assert cost(found.network, X, y) <= cost(sick, X, y) + 1e-9


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_network_that_is_the_truth_has_nothing_to_rearrange(output):
    truth, X, y = truth_of(output, 7)
    for tried in repairs(truth, X, y):
        assert tried[-1].evidence < 0.0
        assert tried[-1].loss <= truth.output.loss(truth.logits(X), y) * (1 + 1e-12)


@pytest.mark.parametrize("output", ["identity", "sigmoid", "softmax"])
def test_what_is_rearranged_is_still_there(output):
    """A permutation, a transposition and a sign keep the sizes of all weights; one weight alone may not."""
    network, X, y = problem(output, (6, 5), samples=40, features=3)
    for layer, tried in enumerate(repairs(network, X, y)):
        found = tried[-1]
        W, V = network.weights[layer], found.network.weights[layer]
        if found.part.startswith("weight"):
            assert np.sum(W != V) <= 1
        else:
            np.testing.assert_array_equal(np.sort(np.abs(V), axis=None), np.sort(np.abs(W), axis=None))
