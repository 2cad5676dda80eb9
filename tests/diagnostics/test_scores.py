"""What layers show of a fault: against central differences, and networks whose scores are known."""

import numpy as np
import pytest

from sheafcli.core.chain.network import Network
from sheafcli.diagnostics.scores import plain_scores


def drawn(output="softmax", widths=(4, 6, 5, 3), samples=80):
    rng = np.random.default_rng(0)
    network = Network.he(widths, output, rng)
    biases = tuple(0.1 * rng.standard_normal(b.shape) for b in network.biases)
    network = Network(network.weights, biases, network.output)
    X = rng.standard_normal((samples, widths[0]))
    y = np.eye(widths[-1])[rng.integers(0, widths[-1], samples)]
    return network, X, y


def with_layer(network, layer, W=None, b=None):
    weights, biases = list(network.weights), list(network.biases)
    weights[layer - 1] = weights[layer - 1] if W is None else W
    biases[layer - 1] = biases[layer - 1] if b is None else b
    return Network(tuple(weights), tuple(biases), network.output)


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_the_gradient_is_that_of_central_differences(layer):
    network, X, y = drawn()

    def loss(at):
        return float(np.mean(at.output.potential(at.logits(X), y)))

    squares, step = [], 1e-6
    for name, array in (("W", network.weights[layer - 1]), ("b", network.biases[layer - 1])):
        for index in np.ndindex(array.shape):
            moved = [array.copy(), array.copy()]
            moved[0][index] += step
            moved[1][index] -= step
            up, down = (loss(with_layer(network, layer, **{name: one})) for one in moved)
            squares.append(((up - down) / (2.0 * step)) ** 2)
    assert plain_scores(network, X, y)[layer - 1]["gradient"] == pytest.approx(
        0.5 * np.log(np.sum(squares)), abs=1e-6
    )


def test_weights_along_the_leading_direction_of_their_inputs_are_aligned_as_the_spectrum_says():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((500, 6)) * np.array([5.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    values, vectors = np.linalg.eigh(X.T @ X / len(X))
    network = Network(
        (np.outer(np.arange(1.0, 4.0), vectors[:, -1]),), (np.zeros(3),), Network.he((1, 1)).output
    )
    (found,) = plain_scores(network, X, np.zeros((500, 3)))
    assert found["aligned"] == pytest.approx(np.log(values[-1] / values.mean()))


def test_what_is_done_to_a_layer_shows_in_the_score_that_is_meant_for_it():
    network, X, y = drawn()
    W = network.weights[1]
    rounded = plain_scores(with_layer(network, 2, np.sign(W)), X, y)
    assert rounded[1]["distinct"] == pytest.approx(np.log(1.0 / W.size))
    pruned = plain_scores(with_layer(network, 2, np.where(np.abs(W) < np.median(np.abs(W)), 0.0, W)), X, y)
    assert pruned[1]["zeros"] == 0.5
    assert plain_scores(with_layer(network, 2, b=np.zeros(5)), X, y)[1]["zero_biases"] == 1.0
    silenced = network.biases[0].copy()
    silenced[:2] = -1e3
    assert plain_scores(with_layer(network, 1, b=silenced), X, y)[0]["never_active"] == pytest.approx(2 / 6)


@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize("of_zeros", [False, True])
def test_scores_are_finite_wherever_a_network_stands(samples, of_zeros):
    network, X, y = drawn(widths=(4, 6, 5, 20), samples=samples)
    if of_zeros:
        network = with_layer(network, 2, np.zeros_like(network.weights[1]), np.full(5, -1.0))
    found = plain_scores(network, X, y)
    assert np.isfinite([list(one.values()) for one in found]).all()
