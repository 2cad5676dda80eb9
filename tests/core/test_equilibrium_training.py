"""Training at the equilibrium of the stalks: against back-propagation, the solver, and its own energy."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from closed_form import effective_resistance
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from oracles import problem
from scipy.optimize import minimize
from strategies import networks, seeds

from sheafcli.core.chain.cochain import Cochain
from sheafcli.core.chain.extension import extend
from sheafcli.core.chain.network import Network
from sheafcli.core.chain.sheaf import pattern_of
from sheafcli.core.chain.training.backprop import gradient
from sheafcli.core.chain.training.equilibrium import TOLERANCE, EquilibriumRule
from sheafcli.core.chain.training.layers import Batch, Parameters
from sheafcli.core.discord import residuals, training_discord, training_energy
from sheafcli.core.edge import edges
from sheafcli.core.training.equilibrium import Equilibrium
from sheafcli.core.training.optimizers import SGD, Adam

EXACT, STEP = 1e-13, 1e-5
OUTPUTS = ["identity", "sigmoid", "softmax"]
HIDDEN = [(), (5,), (5, 4), (4, 4, 3)]
named_outputs = st.sampled_from(OUTPUTS)


@st.composite
def problems(draw):
    """Draw a network of 0 to 3 hidden layers with one or several outputs, inputs, and targets."""
    output = draw(named_outputs)
    n = draw(st.lists(st.integers(1, 5), min_size=2, max_size=5))
    if output == "softmax":
        n[-1] = max(n[-1], 2)
    network = draw(networks(output, widths=st.just(n), scales=st.floats(0.1, 1.5)))
    rng, samples, outputs = np.random.default_rng(draw(seeds)), draw(st.integers(1, 12)), n[-1]
    y = {
        "identity": lambda: rng.normal(size=(samples, outputs)),
        "sigmoid": lambda: rng.integers(0, 2, size=(samples, outputs)).astype(float),
        "softmax": lambda: np.eye(outputs)[rng.integers(0, outputs, size=samples)],
    }[output]()
    return network, rng.normal(size=(samples, n[0])), y


def evaluated(network, X, y, gamma, tolerance=EXACT, guess=None):
    """Return the rule after one evaluation, and the gradient it wrote, packed and by layer."""
    parameters, batch = Parameters(network, np.float64), Batch(network.widths, len(X), np.float64)
    batch.load(X, y)
    rule = EquilibriumRule(gamma, tolerance)
    rule.evaluate(parameters, batch, guess)
    pull = rule.pull
    return SimpleNamespace(rule=rule, pull=pull, gradient=parameters.gradient, layers=parameters.G)


def packed(slopes):
    """Return back-propagation's gradient packed as the rule's is."""
    return np.concatenate([np.hstack([dW, db[:, None]]).ravel() for dW, db in slopes])


def first_step(network, X, y, gamma):
    """Return the gradient that the first step of a session takes, by its effect on the weights."""
    session = Equilibrium(gamma=gamma, optimizer=SGD(1.0), epochs=1).start(network, X, y)
    before = session.state()["parameters"]
    session.advance(1)
    return before - session.state()["parameters"]


def largest_resistance(network, X):
    R = [pattern_of(z) for z in network.pre_activations(X)[:-1]]
    return np.max(np.abs(effective_resistance(network, R, len(X))))


# Back-propagation is the limit.


@given(problems())
@settings(max_examples=80)
def test_it_tends_to_back_propagation_in_proportion_to_gamma(drawn):
    network, X, y = drawn
    expected = packed(gradient(network, X, y))
    size = np.linalg.norm(expected)
    assume(size > 1e-4)
    S = largest_resistance(network, X)
    assume(S < 100)
    errors = {
        gamma: np.linalg.norm(evaluated(network, X, y, gamma).gradient - expected) / size
        for gamma in (1e-3, 1e-4, 1e-5, 1e-8)
    }
    assert errors[1e-8] < 1e-5
    # The second order in gamma is some S times smaller than the first once gamma S is small.
    assert errors[1e-4] == 0.0 or errors[1e-5] < 1e-9 or 9.0 < errors[1e-4] / errors[1e-5] < 11.0
    if S < 10 and errors[1e-4] > 1e-9:
        assert 8.0 < errors[1e-3] / errors[1e-4] < 12.0


@given(problems())
@settings(max_examples=40)
def test_its_own_tolerance_does_not_spoil_the_limit(drawn):
    network, X, y = drawn
    expected = packed(gradient(network, X, y))
    size = np.linalg.norm(expected)
    assume(size > 1e-4)
    assume(largest_resistance(network, X) < 100)
    found = first_step(network, X, y, 1e-8)
    assert np.linalg.norm(found - expected) < 1e-5 * size


@given(networks(widths=st.lists(st.integers(1, 5), min_size=2, max_size=2)), seeds, st.floats(-6, 3))
@settings(max_examples=30)
def test_without_hidden_layers_regression_differs_by_a_factor(network, seed, exponent):
    """S = I: lambda is (y - f) / (1 + 1 / gamma), and the gradient back-propagation's over 1 + gamma."""
    rng, gamma = np.random.default_rng(seed), 10.0**exponent
    X, y = rng.normal(size=(6, network.widths[0])), rng.normal(size=(6, network.widths[-1]))
    expected = packed(gradient(network, X, y)) / (1.0 + gamma)
    found = evaluated(network, X, y, gamma).gradient
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11 * np.max(np.abs(expected)) * (1 + gamma))


# The harmonic extension is where the stalks are.


def settled(network, X, y, gamma):
    """Return which samples keep the forward pattern, and the solver's stalks of all.

    A start of its own keeps the solver from the closed form: it is Newton's method that ends there.
    """
    start = Cochain.forward(network, X)
    found = extend(network, X, target=y, stiffness=gamma, start=start, tolerance=1e-13)
    rows = found.certificate < 1e-11
    for h, states in zip(network.pre_activations(X)[:-1], found.states, strict=True):
        rows = rows & (states == pattern_of(h)).all(axis=1)
    return rows, found.cochain


def rows_of(network, cochain, rows):
    """Return the stalks of some samples, without an output vertex."""
    part = Cochain(network.widths, int(np.sum(rows)), output_vertex=False)
    for layer in range(1, network.depth + 2):
        part.z[layer][:] = cochain.z[layer][rows]
        if layer <= network.depth:
            part.a[layer][:] = cochain.a[layer][rows]
    return part


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("gamma", [1.0, 0.1, 5.0])
def test_gradients_are_those_of_the_solvers_stalks(output, hidden, gamma):
    for outputs in (1, 3) if output != "softmax" else (2, 3):
        network, X, y = problem(output, hidden, samples=25, outputs=outputs)
        rows, cochain = settled(network, X, y, gamma)
        assert rows.sum() >= 5
        part = rows_of(network, cochain, rows)
        r = residuals(network, X[rows], part)
        affine = [r[edge] for edge in edges(network.depth, output=False) if edge.operation == "affine"]
        inputs = [X[rows], *(part.a[layer] for layer in range(1, network.depth + 1))]
        scale = network.output.loss_scale(outputs) / (gamma * rows.sum())
        found = evaluated(network, X[rows], y[rows], gamma)
        for r_l, a, G in zip(affine, inputs, found.layers, strict=True):
            np.testing.assert_allclose(G[:, :-1], scale * r_l.T @ a, rtol=0, atol=1e-10)
            np.testing.assert_allclose(G[:, -1], scale * np.sum(r_l, axis=0), rtol=0, atol=1e-10)


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("hidden", HIDDEN)
def test_stalks_are_the_solvers(output, hidden):
    """A sample's own gradient holds its stalks: r_l with the bias, a_{l-1} as the factor in r_l a_{l-1}^T."""
    network, X, y = problem(output, hidden, samples=25)
    rows, cochain = settled(network, X, y, 1.0)
    compared = 0
    for i in np.flatnonzero(rows):
        found = evaluated(network, X[i : i + 1], y[i : i + 1], 1.0)
        for layer, (W, b, G) in enumerate(zip(network.weights, network.biases, found.layers, strict=True)):
            r = G[:, -1] / network.output.loss_scale(y.shape[1])
            if np.linalg.norm(r) < 1e-3:
                continue
            a = G[:, :-1].T @ G[:, -1] / (G[:, -1] @ G[:, -1])
            expected = cochain.a[layer][i] if layer > 0 else X[i]
            np.testing.assert_allclose(a, expected, rtol=0, atol=1e-10)
            np.testing.assert_allclose(W @ a + b - r, cochain.z[layer + 1][i], rtol=0, atol=1e-10)
            compared += 1
    assert compared >= 5 * len(network.weights)


@given(problems(), st.floats(-3, 1))
@settings(max_examples=40)
def test_energy_and_discord_are_those_of_the_solvers_stalks(drawn, exponent):
    network, X, y = drawn
    gamma = 10.0**exponent
    assume(largest_resistance(network, X) < 1e3)
    rows, cochain = settled(network, X, y, gamma)
    assume(rows.any())
    part, X, y = rows_of(network, cochain, rows), X[rows], y[rows]
    rule = evaluated(network, X, y, gamma).rule
    expected = training_discord(network, X, y, part)
    found = rule.discord()
    assert list(found) == list(expected) == edges(network.depth)
    for edge, value in expected.items():
        assert found[edge] == pytest.approx(value, rel=1e-8, abs=1e-18), edge.name
    # The energy of joint training has an output edge of stiffness one.
    potential = np.mean(network.output.potential(part.z[network.depth + 1], y))
    energy = training_energy(network, X, y, part) + (gamma - 1.0) * potential
    assert rule.energy() == pytest.approx(energy, rel=1e-9)


@given(problems(), st.floats(-3, 1))
@settings(max_examples=30)
def test_minimal_energy_of_a_regression(drawn, exponent):
    """1/2 (y - f)^T (S + I / gamma)^-1 (y - f), a mean over the samples, whatever their patterns do."""
    network, X, y = drawn
    assume(network.output.name == "identity")
    gamma = 10.0**exponent
    R = [pattern_of(z) for z in network.pre_activations(X)[:-1]]
    compliance = effective_resistance(network, R, len(X)) + np.eye(y.shape[1]) / gamma
    missed = (y - network.logits(X))[:, :, None]
    expected = 0.5 * np.mean(np.swapaxes(missed, 1, 2) @ np.linalg.solve(compliance, missed))
    assert evaluated(network, X, y, gamma).rule.energy() == pytest.approx(expected, rel=1e-8)


# It descends its energy.


def moved(network, layer, index, step):
    """Return the network with one entry of [W_l, b_l] moved."""
    weights, biases = [W.copy() for W in network.weights], [b.copy() for b in network.biases]
    row, column = index
    if column < weights[layer].shape[1]:
        weights[layer][row, column] += step
    else:
        biases[layer][row] += step
    return Network(tuple(weights), tuple(biases), network.output)


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("gamma", [0.1, 1.0])
def test_the_gradient_is_the_slope_of_the_solvers_energy(output, hidden, gamma):
    """Stalks at their minimum do not count (the envelope theorem): away from kinks the slopes are r a^T."""
    network, X, y = problem(output, hidden, samples=25)
    rows, cochain = settled(network, X, y, gamma)
    for h in network.pre_activations(X)[:-1]:
        rows &= (np.abs(h) > 1e-3).all(axis=1)
    for layer in range(1, network.depth + 1):
        rows &= (np.abs(cochain.z[layer]) > 1e-3).all(axis=1)
    assert rows.sum() >= 3
    X, y = X[rows], y[rows]
    found = evaluated(network, X, y, gamma)
    unit = gamma / network.output.loss_scale(y.shape[1])
    for layer, G in enumerate(found.layers):
        for index in np.ndindex(G.shape):
            sides = [
                np.mean(extend(moved(network, layer, index, s), X, target=y, stiffness=gamma).energy)
                for s in (STEP, -STEP)
            ]
            assert unit * G[index] == pytest.approx((sides[0] - sides[1]) / (2 * STEP), rel=1e-6, abs=1e-8)


def least_energy(network, X, y, R):
    """Return the mean of min E_1 over all stalks on the patterns R, found by scipy from the definition."""
    sizes = [n for width in network.widths[1:-1] for n in (width, width)] + [network.widths[-1]]
    places = np.cumsum(sizes)[:-1]

    def energy(stalks, i):
        *hidden, last = np.split(stalks, places)
        z, a = [*hidden[0::2], last], [X[i], *hidden[1::2]]
        total = network.output.potential(last[None], y[i : i + 1])[0]
        for W, b, z_l, before in zip(network.weights, network.biases, z, a, strict=True):
            total += 0.5 * np.sum((W @ before + b - z_l) ** 2)
        for active, z_l, a_l in zip(R, z, a[1:], strict=False):
            total += 0.5 * np.sum((active[i] * z_l - a_l) ** 2)
        return total

    def least(i):
        return minimize(energy, np.zeros(sum(sizes)), args=(i,), method="BFGS", options={"gtol": 1e-9}).fun

    return np.mean([least(i) for i in range(len(X))])


@pytest.mark.parametrize(("output", "outputs"), [("identity", 1), ("sigmoid", 1), ("softmax", 2)])
@pytest.mark.parametrize("hidden", [(), (2,), (2, 2)])
def test_the_gradient_is_the_slope_of_the_least_energy_there_is(output, hidden, outputs):
    """Along random directions, the patterns held as the forward pass has them."""
    network, X, y = problem(output, hidden, samples=2, outputs=outputs)
    R = [pattern_of(z) for z in network.pre_activations(X)[:-1]]
    found = evaluated(network, X, y, 1.0)
    assert found.rule.energy() == pytest.approx(least_energy(network, X, y, R), rel=1e-8)
    rng = np.random.default_rng(0)
    for _ in range(2):
        dW = [rng.normal(size=W.shape) for W in network.weights]
        db = [rng.normal(size=b.shape) for b in network.biases]
        sides = []
        for s in (1e-3, -1e-3):
            weights = tuple(W + s * d for W, d in zip(network.weights, dW, strict=True))
            biases = tuple(b + s * d for b, d in zip(network.biases, db, strict=True))
            sides.append(least_energy(Network(weights, biases, network.output), X, y, R))
        slope = found.gradient @ packed(zip(dW, db, strict=True)) / network.output.loss_scale(outputs)
        assert slope == pytest.approx((sides[0] - sides[1]) / 2e-3, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("gamma", [1e-3, 1.0, 100.0])
def test_small_steps_lower_the_energy(output, gamma):
    """While the pattern stays: where a neuron leaves it, S and with it the energy jumps."""
    network, X, y = problem(output, (6, 5), samples=20)
    session = Equilibrium(gamma=gamma, optimizer=SGD(1e-3), epochs=120).start(network, X, y)
    energies, patterns = [], []
    while not session.finished:
        # The session's own is good to its tolerance, which may be more than a step brings.
        energies.append(evaluated(session.network(), X, y, gamma).rule.energy())
        assert session.energy() == pytest.approx(energies[-1], rel=1e-3)
        patterns.append(np.hstack([pattern_of(z) for z in session.network().pre_activations(X)[:-1]]))
        session.advance(1)
    same = np.array([np.array_equal(*pair) for pair in itertools.pairwise(patterns)])
    assert same.sum() > 60
    assert (np.diff(energies)[same] < 0.0).all()


# One output or several, a guess or none: the same thing.


@given(problems(), st.floats(-3, 2))
@settings(max_examples=30)
def test_an_output_that_nothing_pulls_changes_nothing(drawn, exponent):
    """A second output of weights zero that is right already has no pull, and the first is as if alone."""
    network, X, y = drawn
    assume(network.output.name != "softmax")
    gamma = 10.0**exponent
    network = Network(
        (*network.weights[:-1], network.weights[-1][:1]),
        (*network.biases[:-1], network.biases[-1][:1]),
        network.output,
    )
    y = y[:, :1]
    wider = Network(
        (*network.weights[:-1], np.vstack([network.weights[-1], np.zeros_like(network.weights[-1])])),
        (*network.biases[:-1], np.append(network.biases[-1], 0.0)),
        network.output,
    )
    right = network.output.value(np.zeros_like(y))
    alone = evaluated(network, X, y, gamma)
    both = evaluated(wider, X, np.hstack([y, right]), gamma)
    share = network.output.loss_scale(2) / network.output.loss_scale(1)
    assert np.max(np.abs(both.pull[:, 1])) <= 1e-12 * gamma
    for G, G_both in zip(alone.layers, both.layers, strict=True):
        scale = 1e-8 * max(np.max(np.abs(alone.gradient)), 1e-6)
        np.testing.assert_allclose(G_both[: len(G)] / share, G, rtol=0, atol=scale)
    assert both.rule.discord()[edges(network.depth)[0]] == pytest.approx(
        alone.rule.discord()[edges(network.depth)[0]], rel=1e-8, abs=1e-20
    )


@given(problems(), st.floats(-2, 1))
@settings(max_examples=30)
def test_a_batch_is_the_mean_of_its_samples(drawn, exponent):
    network, X, y = drawn
    gamma = 10.0**exponent
    whole = evaluated(network, X, y, gamma)
    parts = [evaluated(network, X[i : i + 1], y[i : i + 1], gamma) for i in range(len(X))]
    scale = 1e-8 * max(1.0, *(np.max(np.abs(part.gradient)) for part in parts))
    np.testing.assert_allclose(
        whole.gradient, np.mean([p.gradient for p in parts], axis=0), rtol=0, atol=scale
    )
    assert whole.rule.energy() == pytest.approx(
        np.mean([p.rule.energy() for p in parts]), rel=1e-8, abs=1e-15
    )


@given(problems(), seeds)
@settings(max_examples=30)
def test_the_guess_does_not_show(drawn, seed):
    network, X, y = drawn
    assume(largest_resistance(network, X) < 1e3)
    guess = np.random.default_rng(seed).normal(size=y.shape)
    cold, warm = evaluated(network, X, y, 1.0), evaluated(network, X, y, 1.0, guess=guess)
    scale = 1e-9 * max(1.0, np.max(np.abs(cold.gradient)))
    np.testing.assert_allclose(warm.gradient, cold.gradient, rtol=0, atol=scale)
    np.testing.assert_allclose(warm.pull, cold.pull, rtol=0, atol=1e-9)


def test_a_neuron_at_zero_is_active():
    """z = 0 counts as active: D = 2, so that S = 1 + 2 * 2^2 for W_2 = 2, and lambda = y / (S + 1)."""
    network = Network((np.zeros((1, 1)), np.array([[2.0]])), (np.zeros(1), np.zeros(1)), problem()[0].output)
    found = evaluated(network, np.array([[3.0]]), np.array([[1.0]]), 1.0)
    pull = 1.0 / (9.0 + 1.0)
    assert found.pull.item() == pytest.approx(pull)
    # v_1 = W_2 lambda against the input and one; lambda against a_1 = 0 + d_1 = 2 W_2 lambda, and one.
    np.testing.assert_allclose(found.layers[0], [[-2.0 * 2.0 * pull * 3.0, -2.0 * 2.0 * pull]])
    np.testing.assert_allclose(found.layers[1], [[-2.0 * pull * 4.0 * pull, -2.0 * pull]])


# Where it ends.


@pytest.mark.parametrize("gamma", [1e-3, 1.0])
@pytest.mark.parametrize("outputs", [1, 2])
def test_a_linear_model_ends_at_the_least_squares_solution(gamma, outputs):
    network, X, y = problem("identity", (), samples=20, features=3, outputs=outputs)
    session = Equilibrium(gamma=gamma, optimizer=SGD(0.3), epochs=1000).start(network, X, y)
    session.advance(1000)
    design = np.hstack([X, np.ones((20, 1))])
    found = np.hstack([session.network().weights[0], session.network().biases[0][:, None]]).T
    best = np.linalg.lstsq(design, y)[0]
    # With several outputs lambda is known to a share of itself: so much of what is left may stay.
    share = 0.0 if outputs == 1 else TOLERANCE * np.linalg.norm(y - design @ best)
    assert np.linalg.norm(design @ (found - best)) <= 1e-8 + share


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("gamma", [1e-3, 1.0])
def test_data_that_can_be_fitted_are(output, gamma):
    """Without noise both energies have their minimum at 0, where the loss is 0."""
    network, X, _ = problem(output, (12,), samples=8)
    y = problem(output, (12,), samples=8, seed=5)[2]
    session = Equilibrium(gamma=gamma, optimizer=Adam(0.02), epochs=1500, schedule="linear").start(
        network, X, y
    )
    session.advance(1500)
    trained = session.network()
    assert trained.output.loss(trained.logits(X), y) < 1e-2
    assert trained.output.loss(trained.logits(X), y) < 1e-2 * network.output.loss(network.logits(X), y)


@pytest.mark.parametrize("gamma", [0.0, -1.0, np.inf, np.nan])
def test_a_stiffness_without_sense(gamma):
    with pytest.raises(ValueError, match=f"gamma must be above 0 and finite, got {gamma}"):
        Equilibrium(gamma=gamma)
