"""The exact solver against every stationary point of tiny networks, found by trying all states."""

import itertools

import numpy as np
import pytest

from sheafcli.core.chain.cochain import Cochain
from sheafcli.core.chain.extension import extend
from sheafcli.core.chain.network import Network
from sheafcli.core.outputs import output_named

INACTIVE, ACTIVE, KINK = 0, 1, 2


def stationary_points(network, x, y):
    """Return (states, z and a of all hidden layers) of every consistent choice of states.

    For given states the residuals are linear in the free values, z = 0 at a kink and z_{k+1} = y: least
    squares solves for them. A choice is consistent if z > 0 where active, z < 0 where inactive, and
    h >= 0 >= h + a at a kink.
    """
    hidden = network.widths[1:-1]
    found = []
    for flat in itertools.product((INACTIVE, ACTIVE, KINK), repeat=sum(hidden)):
        states = np.split(np.array(flat), np.cumsum(hidden)[:-1])

        def edges(values, states=states):
            parts, a, position = [], x, 0
            for W, b, state in zip(network.weights, network.biases, states, strict=False):
                n = len(b)
                z = np.where(state == KINK, 0.0, values[position : position + n])
                before, a = a, values[position + n : position + 2 * n]
                parts += [W @ before + b - z, np.where(state == ACTIVE, z, 0.0) - a]
                position += 2 * n
            return np.concatenate([*parts, network.weights[-1] @ a + network.biases[-1] - y])

        size = 2 * sum(hidden)
        constant = edges(np.zeros(size))
        matrix = np.array([edges(unit) - constant for unit in np.eye(size)]).T
        values = np.linalg.lstsq(matrix, -constant, rcond=None)[0]
        if consistent(network, x, values, states):
            found.append((states, values, 0.5 * np.sum(edges(values) ** 2)))
    return found


def consistent(network, x, values, states) -> bool:
    a, position = x, 0
    for W, b, state in zip(network.weights, network.biases, states, strict=False):
        n = len(b)
        h, z = W @ a + b, values[position : position + n]
        a = values[position + n : position + 2 * n]
        position += 2 * n
        holds = np.select([state == ACTIVE, state == INACTIVE], [z > 0, z < 0], (h >= 0) & (h + a <= 0))
        if not holds.all():
            return False
    return True


@pytest.mark.parametrize("hidden", [(4,), (2, 2), (3, 2)])
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("start", ["forward", "random"])
def test_the_solver_ends_at_a_stationary_point_and_says_which(hidden, seed, start):
    rng = np.random.default_rng(seed)
    drawn = Network.he([2, *hidden, 1], seed=rng)
    biases = tuple(0.5 * rng.normal(size=b.shape) for b in drawn.biases)
    network = Network(drawn.weights, biases, output_named("identity"))
    X, y = rng.normal(size=(1, 2)), 4.0 * rng.normal(size=(1, 1))
    begin = Cochain.random(network.widths, 1, rng) if start == "random" else None
    settled = extend(network, X, target=y, start=begin)
    assert settled.converged.all()
    points = stationary_points(network, X[0], y[0])
    stalks = [settled.cochain.stalks()[f"{name}{i}"][0] for i in range(1, network.depth + 1) for name in "za"]
    ours = np.concatenate(stalks)
    same = []
    for states, values, energy in points:
        zs = np.concatenate(states) == KINK
        position, expected = 0, values.copy()
        for n in hidden:  # least squares leaves the z of a kink at zero
            expected[position : position + n][zs[:n]] = 0.0
            zs, position = zs[n:], position + 2 * n
        if np.max(np.abs(expected - ours)) < 1e-7:
            same.append((states, energy))
    assert len(same) == 1
    states, energy = same[0]
    for mine, theirs in zip(settled.states, states, strict=True):
        np.testing.assert_array_equal(mine[0], theirs)
    assert settled.energy[0] == pytest.approx(energy, rel=1e-8, abs=1e-14)


def test_a_convex_problem_has_one_stationary_point_and_it_is_found():
    """With one hidden layer and h > 0 everywhere the pinned problem is convex."""
    rng = np.random.default_rng(0)
    W1, W2 = rng.normal(size=(5, 2)), rng.uniform(1.0, 3.0, size=(1, 5))
    x = rng.normal(size=2)
    network = Network((W1, W2), (0.5 - W1 @ x, np.zeros(1)), output_named("identity"))  # h = 0.5
    points = stationary_points(network, x, np.array([-30.0]))
    settled = extend(network, x[None], target=np.array([[-30.0]]))
    assert len(points) == 1
    assert (points[0][0][0] == KINK).any()
    np.testing.assert_array_equal(settled.states[0][0], points[0][0][0])
