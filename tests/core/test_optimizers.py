"""Update rules against their published formulas and closed forms."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import seeds

from sheafcli.core.training.optimizers import OPTIMIZERS, SGD, Adam, Momentum


def run(optimizer, w, gradient, steps, rate=None):
    """Return the iterates of an optimizer from w, whose gradient is a function of w and the step.

    `rate` is what a schedule makes of the step size, a function of the step.
    """
    w, memory, iterates = w.copy(), [np.zeros_like(w) for _ in range(optimizer.slots)], []
    for step in range(1, steps + 1):
        eta = optimizer.learning_rate if rate is None else rate(step)
        optimizer.update(w, gradient(w, step).copy(), memory, step, eta)
        iterates.append(w.copy())
    return iterates


def test_sgd_on_a_quadratic_is_a_geometric_sequence():
    curvature, start = np.array([[1.0, 2.0], [5.0, 15.0]]), np.array([[1.0, -2.0], [0.5, 1.0]])
    for step, w in enumerate(run(SGD(0.1), start, lambda w, _: curvature * w, 20), start=1):
        np.testing.assert_allclose(w, (1 - 0.1 * curvature) ** step * start, rtol=1e-12, atol=1e-14)
    assert SGD(0.1).slots == 0


@given(st.floats(0.01, 0.95), st.floats(0.05, 5.0))
@settings(max_examples=30)
def test_momentum_on_a_quadratic_is_the_heavy_balls_recurrence(momentum, curvature):
    """w_{t+1} = (1 + momentum - rate curvature) w_t - momentum w_{t-1}: a sum of two geometric sequences."""
    roots = np.roots([1.0, 0.1 * curvature - 1.0 - momentum, momentum]).astype(complex)
    assume(abs(roots[0] - roots[1]) > 1e-3)
    # The ball starts at rest: w_{-1} = w_0.
    share = np.linalg.solve(np.array([[1.0, 1.0], 1.0 / roots]), np.array([1.0, 1.0]))
    found = run(Momentum(0.1, momentum), np.array([2.0]), lambda w, _: curvature * w, 40)
    for step, w in enumerate(found, start=1):
        assert w[0] == pytest.approx(2.0 * np.sum(share * roots**step).real, rel=1e-6, abs=1e-9)


def test_momentum_under_a_constant_gradient_gathers_speed():
    start, gradient = np.array([1.0, 2.0]), np.array([3.0, -0.5])
    for step, w in enumerate(run(Momentum(0.1), start, lambda _w, _t: gradient, 30), start=1):
        speeds = (1.0 - 0.9 ** np.arange(1, step + 1)) / (1.0 - 0.9)
        np.testing.assert_allclose(w, start - 0.1 * gradient * np.sum(speeds), rtol=1e-12)
    assert Momentum(0.1).slots == 1


def test_no_momentum_is_gradient_descent():
    start = np.array([1.0, -2.0])
    for a, b in zip(
        run(Momentum(0.1, 0.0), start, lambda w, _: 3.0 * w, 10),
        run(SGD(0.1), start, lambda w, _: 3.0 * w, 10),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-14)


@pytest.mark.parametrize("optimizer", [SGD(7.0), Momentum(7.0, 0.5), Adam(7.0)])
def test_the_rate_of_an_update_is_the_one_it_is_given(optimizer):
    """Half the rate from a fresh memory is half the step; the rate the object holds does not enter."""
    gradient = np.array([0.3, -2.0])
    steps = {
        rate: run(optimizer, np.zeros(2), lambda _w, _t: gradient, 1, lambda _t, rate=rate: rate)[0]
        for rate in (0.1, 0.2)
    }
    np.testing.assert_allclose(steps[0.2], 2.0 * steps[0.1], rtol=1e-14)
    expected = np.sign(gradient) if isinstance(optimizer, Adam) else gradient
    np.testing.assert_allclose(steps[0.1], -0.1 * expected, rtol=1e-6)


def test_a_falling_rate_leaves_the_velocity_as_it_is():
    """The memory holds gradients, not steps: v does not depend on the rates."""
    memories = []
    for rate in (0.1, 0.001):
        w, memory = np.zeros(2), [np.zeros(2)]
        for step in (1, 2, 3):
            Momentum(0.5).update(w, np.array([1.0, 2.0]), memory, step, rate / step)
        memories.append(memory[0])
    np.testing.assert_array_equal(memories[0], memories[1])
    np.testing.assert_allclose(memories[0], (1.0 + 0.9 + 0.81) * np.array([1.0, 2.0]))


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


@pytest.mark.parametrize("kind", OPTIMIZERS.values())
def test_entries_do_not_know_of_each_other(kind):
    """What an edge does depends on its own gradient alone: apart or together, the same bits."""
    gradients = np.random.default_rng(0).normal(size=(10, 6))
    whole = run(kind(0.1), np.zeros(6), lambda _w, t: gradients[t - 1], 10)[-1]
    halves = [
        run(kind(0.1), np.zeros(3), lambda _w, t, i=i: gradients[t - 1, i : i + 3], 10)[-1] for i in (0, 3)
    ]
    np.testing.assert_allclose(whole, np.concatenate(halves), rtol=1e-14)


@pytest.mark.parametrize("kind", OPTIMIZERS.values())
@pytest.mark.parametrize("rate", [0.0, -0.1, np.inf, np.nan])
def test_a_rate_without_sense(kind, rate):
    with pytest.raises(ValueError, match=f"learning_rate must be above 0 and finite, got {rate}"):
        kind(rate)


@pytest.mark.parametrize("kind", OPTIMIZERS.values())
def test_arrays_keep_their_precision_and_place(kind):
    optimizer = kind(0.1)
    w, gradient = np.ones(3, np.float32), np.ones(3, np.float32)
    memory = [np.zeros(3, np.float32) for _ in range(optimizer.slots)]
    held = [w, *memory]
    optimizer.update(w, gradient, memory, 1, np.float64(0.1))
    for now, before in zip([w, *memory], held, strict=True):
        assert now is before
        assert now.dtype == np.float32
        assert (now != (1.0 if now is w else 0.0)).all()
