"""The network: forward pass entry by entry, He statistics, and what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from oracles import PHI
from strategies import networks, seeds

from sheafcli.core.chain.network import Network
from sheafcli.core.outputs import output_named


@given(networks(output="sigmoid"), seeds)
@settings(max_examples=40)
def test_forward_pass(network, seed):
    X = np.random.default_rng(seed).normal(size=(3, network.widths[0]))
    expected, a = [], X
    for W, b in zip(network.weights, network.biases, strict=True):
        expected.append(np.einsum("ij,nj->ni", W, a) + b)
        a = expected[-1] * (expected[-1] > 0)
    found = network.pre_activations(X)
    assert len(found) == network.depth + 1
    for z, z_expected in zip(found, expected, strict=True):
        np.testing.assert_allclose(z, z_expected, rtol=0, atol=1e-12 * (1 + np.max(np.abs(z_expected))))
    np.testing.assert_array_equal(network.logits(X), found[-1])
    clipped = np.clip(network.logits(X), -700, 700)
    np.testing.assert_allclose(network.predict(X), PHI["sigmoid"](clipped), rtol=1e-12, atol=1e-300)


def test_widths_and_depth():
    network = Network.he([3, 5, 4, 2])
    assert network.widths == (3, 5, 4, 2)
    assert network.depth == 2
    assert [W.shape for W in network.weights] == [(5, 3), (4, 5), (2, 4)]
    assert Network.he([3, 2]).depth == 0


def test_he_draws_have_the_right_spread():
    network = Network.he([100, 200, 50, 400], seed=7)
    for W, b, before in zip(network.weights, network.biases, network.widths, strict=False):
        std = np.sqrt(2 / before)
        assert W.std() == pytest.approx(std, rel=4 / np.sqrt(2 * W.size))
        assert abs(W.mean()) < 4 * std / np.sqrt(W.size)
        # The share of a normal distribution beyond two standard deviations.
        assert np.mean(np.abs(W) > 2 * std) == pytest.approx(0.0455, abs=4 * np.sqrt(0.0455 / W.size))
        assert not b.any()


def test_he_draws_are_seeded():
    one, same, other = (Network.he([4, 6, 2], seed=seed) for seed in (1, np.random.SeedSequence(1), 2))
    for W, W_same, W_other in zip(one.weights, same.weights, other.weights, strict=True):
        np.testing.assert_array_equal(W, W_same)
        assert not np.isclose(W, W_other).any()


def test_weights_are_read_only_copies():
    W, b = np.ones((1, 2)), np.zeros(1)
    network = Network((W,), (b,), output_named("identity"))
    W[:] = 7.0
    assert network.weights[0][0, 0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        network.weights[0][0, 0] = 2.0
    with pytest.raises(ValueError, match="read-only"):
        network.biases[0][0] = 2.0


@pytest.mark.parametrize(
    ("weights", "biases", "message"),
    [
        ([], [], "at least one"),
        ([np.ones((2, 1))], [], "got 1 and 0"),
        ([np.ones(2)], [np.ones(2)], "W1 must be a matrix"),
        ([np.ones((0, 2))], [np.ones(0)], "W1 must be a matrix with entries"),
        ([np.ones((2, 1))], [np.ones(3)], r"b1 must have shape \(2,\), got \(3,\)"),
        ([np.ones((2, 1)), np.ones((1, 3))], [np.ones(2), np.ones(1)], "W2 takes 3 inputs, layer 1 gives 2"),
        ([np.full((2, 1), np.nan)], [np.ones(2)], "W1 and b1 must be finite"),
        ([np.ones((2, 1))], [np.array([1.0, np.inf])], "W1 and b1 must be finite"),
    ],
)
def test_what_is_no_network_is_refused(weights, biases, message):
    with pytest.raises(ValueError, match=message):
        Network(tuple(weights), tuple(biases), output_named("identity"))


def test_unknown_output_is_refused():
    with pytest.raises(ValueError, match="unknown output"):
        Network.he([2, 1], "relu")
