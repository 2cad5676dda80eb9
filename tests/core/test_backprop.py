"""Back-propagation against finite differences of the loss."""

import numpy as np
import pytest
from oracles import PHI, problem

from sheafcli.core.chain.network import Network
from sheafcli.core.chain.training.backprop import gradient
from sheafcli.core.outputs import output_named
from sheafcli.core.training.backprop import Backprop
from sheafcli.core.training.optimizers import SGD


def loss(output, weights, biases, X, y):
    """Return the mean squared error, or the mean cross-entropy, from its definition."""
    a = X
    for W, b in zip(weights, biases, strict=True):
        z = a @ W.T + b
        a = np.where(z > 0, z, 0.0)
    p = PHI[output](z)
    if output == "identity":
        return np.mean((p - y) ** 2)
    if output == "sigmoid":
        return -np.sum(y * np.log(p) + (1 - y) * np.log(1 - p)) / len(X)
    return -np.sum(y * np.log(p)) / len(X)


def differences(output, network, X, y, step=1e-5):
    """Return the gradient by central differences, one weight at a time."""
    parameters = [[W.copy() for W in network.weights], [b.copy() for b in network.biases]]
    found = []
    for array in [*parameters[0], *parameters[1]]:
        slopes = np.empty_like(array)
        for index in np.ndindex(array.shape):
            value, sides = array[index], []
            for side in (value + step, value - step):
                array[index] = side
                sides.append(loss(output, *parameters, X, y))
            array[index] = value
            slopes[index] = (sides[0] - sides[1]) / (2 * step)
        found.append(slopes)
    return list(zip(found[: len(network.weights)], found[len(network.weights) :], strict=True))


@pytest.mark.parametrize("output", ["identity", "sigmoid", "softmax"])
@pytest.mark.parametrize("hidden", [(), (4,), (4, 3), (3, 3, 2)])
def test_gradient_is_that_of_the_loss(output, hidden):
    network, X, y = problem(output, hidden)
    expected = differences(output, network, X, y)
    for found, slopes in zip(gradient(network, X, y), expected, strict=True):
        for part, expected_part in zip(found, slopes, strict=True):
            np.testing.assert_allclose(part, expected_part, rtol=0, atol=1e-8)


def test_zero_counts_as_active():
    network = Network(
        (np.zeros((1, 1)), np.array([[2.0]])), (np.zeros(1), np.zeros(1)), output_named("identity")
    )
    (dW, db), _ = gradient(network, np.array([[3.0]]), np.array([[1.0]]))
    # z_2 = 0 misses y = 1: the slope is 2 (0 - 1) times W_2 = 2, times the input.
    assert dW.item() == pytest.approx(-4.0 * 3.0)
    assert db.item() == pytest.approx(-4.0)


@pytest.mark.parametrize("output", ["identity", "softmax"])
def test_epochs_of_gradient_descent(output):
    network, X, y = problem(output)
    session = Backprop(epochs=3, optimizer=SGD(0.1)).start(network, X, y)
    session.advance(3)
    expected = network
    for _ in range(3):
        slopes = differences(output, expected, X, y)
        weights = tuple(W - 0.1 * dW for W, (dW, _) in zip(expected.weights, slopes, strict=True))
        biases = tuple(b - 0.1 * db for b, (_, db) in zip(expected.biases, slopes, strict=True))
        expected = Network(weights, biases, network.output)
    for W, b, W_expected, b_expected in zip(
        session.network().weights, session.network().biases, expected.weights, expected.biases, strict=True
    ):
        np.testing.assert_allclose(W, W_expected, rtol=0, atol=1e-8)
        np.testing.assert_allclose(b, b_expected, rtol=0, atol=1e-8)
    assert session.finished
    assert (session.step, session.time, session.share_done) == (3, 3.0, 1.0)


def test_the_discord_of_a_forward_pass_is_all_at_the_output():
    network, X, y = problem("softmax")
    session = Backprop(epochs=5, optimizer=SGD(0.1)).start(network, X, y)
    discords = {edge.name: value for edge, value in session.discord().items()}
    cross_entropy = loss("softmax", network.weights, network.biases, X, y)
    assert discords.pop("output") == pytest.approx(cross_entropy, rel=1e-12)
    assert max(discords.values()) < 1e-28
    assert session.energy() == pytest.approx(cross_entropy, rel=1e-12)
