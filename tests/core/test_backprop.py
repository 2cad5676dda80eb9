"""Back-propagation against finite differences of the loss."""

import numpy as np
import pytest
from oracles import PHI, problem

from sheafcli.core.network import Network
from sheafcli.core.outputs import output_named
from sheafcli.core.training.backprop import Backprop, gradient
from sheafcli.core.training.optimizers import SGD, Adam
from sheafcli.core.training.protocol import Diverged


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


@pytest.mark.parametrize("optimizer", [SGD(0.05), Adam(0.01)])
def test_a_restored_session_goes_on_bit_for_bit(optimizer):
    network, X, y = problem("sigmoid")
    method = Backprop(epochs=90, optimizer=optimizer)
    whole, restored = method.start(network, X, y), method.start(network, X, y)
    whole.advance(40)
    state = whole.state()
    whole.advance(1000)
    restored.restore(state)
    assert restored.step == 40
    restored.advance(1000)
    assert restored.step == whole.step == 90
    for name, array in whole.state().items():
        if name != "seconds":
            np.testing.assert_array_equal(restored.state()[name], array, err_msg=name)
    assert whole.network().output is network.output


def test_the_discord_of_a_forward_pass_is_all_at_the_output():
    network, X, y = problem("softmax")
    session = Backprop(epochs=5, optimizer=SGD(0.1)).start(network, X, y)
    discords = {edge.name: value for edge, value in session.discord().items()}
    cross_entropy = loss("softmax", network.weights, network.biases, X, y)
    assert discords.pop("output") == pytest.approx(cross_entropy, rel=1e-12)
    assert max(discords.values()) < 1e-28
    assert session.energy() == pytest.approx(cross_entropy, rel=1e-12)


def test_divergence_is_raised_and_leaves_the_chunk_start():
    network, X, y = problem()
    session = Backprop(epochs=5000, optimizer=SGD(1e3)).start(network, X, y)
    before = session.state()
    with pytest.raises(Diverged, match="smaller learning_rate") as raised:
        session.advance(5000)
    assert raised.value.step > 0
    assert session.step == 0
    for name, array in before.items():
        np.testing.assert_array_equal(session.state()[name], array)


def test_progress_is_told():
    network, X, y = problem()
    told = []
    Backprop(epochs=250, optimizer=SGD(0.01)).start(network, X, y).advance(1000, lambda *news: told.append(news))
    assert told == [(100, 0.4), (200, 0.8), (250, 1.0)]
