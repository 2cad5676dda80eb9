"""Update rules against their published formulas and closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import seeds

from sheafcli.core.training.optimizers import SGD, Adam


def run(optimizer, w, gradient, steps):
    """Return the iterates of an optimizer from w, whose gradient is a function of w and the step."""
    w, memory, iterates = w.copy(), [np.zeros_like(w) for _ in range(optimizer.slots)], []
    for step in range(1, steps + 1):
        optimizer.update(w, gradient(w, step).copy(), memory, step, optimizer.learning_rate)
        iterates.append(w.copy())
    return iterates


def test_sgd_on_a_quadratic_is_a_geometric_sequence():
    curvature, start = np.array([[1.0, 2.0], [5.0, 15.0]]), np.array([[1.0, -2.0], [0.5, 1.0]])
    for step, w in enumerate(run(SGD(0.1), start, lambda w, _: curvature * w, 20), start=1):
        np.testing.assert_allclose(w, (1 - 0.1 * curvature) ** step * start, rtol=1e-12, atol=1e-14)
    assert SGD(0.1).slots == 0


def test_adam_under_a_constant_gradient_takes_equal_steps():
    start, gradient = np.array([1.0, 2.0, 3.0]), np.array([1e-3, -2.0, 50.0])
    for step, w in enumerate(run(Adam(0.01), start, lambda _w, _t: gradient, 50), start=1):
        expected = start - step * 0.01 * gradient / (np.abs(gradient) + 1e-8)
        np.testing.assert_allclose(w, expected, rtol=1e-10)


@given(seeds, st.floats(0.5, 0.95), st.floats(0.9, 0.9999), st.floats(1e-10, 1e-2))
@settings(max_examples=20)
def test_adam_is_algorithm_1_of_kingma_and_ba(seed, beta1, beta2, epsilon):
    rng = np.random.default_rng(seed)
    gradients, start = rng.normal(size=(30, 2, 3)), rng.normal(size=(2, 3))
    found = run(Adam(0.05, beta1, beta2, epsilon), start, lambda _w, t: gradients[t - 1], 30)
    for t in (1, 2, 30):
        theta = start.copy()
        for s in range(1, t + 1):
            # The moving averages written out as sums over all gradients so far.
            m = sum((1 - beta1) * beta1 ** (s - i) * gradients[i - 1] for i in range(1, s + 1))
            v = sum((1 - beta2) * beta2 ** (s - i) * gradients[i - 1] ** 2 for i in range(1, s + 1))
            theta -= 0.05 * (m / (1 - beta1**s)) / (np.sqrt(v / (1 - beta2**s)) + epsilon)
        np.testing.assert_allclose(found[t - 1], theta, rtol=1e-9, atol=1e-12)


def test_adam_defaults_are_the_papers():
    adam = Adam(0.001)
    assert (adam.beta1, adam.beta2, adam.epsilon, adam.slots) == (0.9, 0.999, 1e-8, 2)


@pytest.mark.parametrize("optimizer", [SGD(0.1), Adam(0.1)])
def test_the_gradient_is_left_alone(optimizer):
    gradient = np.array([1.0, 2.0])
    run(optimizer, np.zeros(2), lambda _w, _t: gradient, 3)
    np.testing.assert_array_equal(gradient, [1.0, 2.0])
