"""A free input against closed forms, fine grids, enumeration, and another optimiser on the true network."""

from itertools import product

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import logit, logsumexp

from sheafcli.core.chain.network import Network
from sheafcli.core.graph import Graph, Node
from sheafcli.core.inference.aim import Aim
from sheafcli.core.inference.choices import Levels, Whole
from sheafcli.core.inference.gaussian import Gaussian
from sheafcli.core.inference.inference import Question, infer_inputs
from sheafcli.core.inference.uncertainty import covariance_root
from sheafcli.core.network import GraphNetwork
from sheafcli.core.operations import Add, Dense, ReLU, Tanh
from sheafcli.core.outputs import output_named
from sheafcli.core.pins import Pin
from sheafcli.core.relaxation import relax


def drawn(d, seed, n=200):
    rng = np.random.default_rng(seed)
    return rng, rng.normal(size=(n, d)) @ rng.normal(size=(d, d))


def question(network, y, prior, **options):
    """Ask for all outputs, without bounds or choices, unless told otherwise."""
    d, m = len(prior.mean), network.n_outputs
    aim = Aim(
        network,
        np.asarray(y, dtype=float),
        options.pop("asked", np.ones(m, dtype=bool)),
        options.pop("stiffness", None),
        options.pop("scale", np.ones(m)),
        options.pop("margin", 0.0),
        options.pop("pins", ()),
        options.pop("by_odds", False),
    )
    defaults = {"low": np.full(d, -np.inf), "high": np.full(d, np.inf), "choices": (), "kappa": 0.0}
    return Question(aim, prior, **{**defaults, "centre": None, "sparse": False, "seed": 0, **options})


def everything(X):
    return np.ones(X.shape, dtype=bool)


def residual_network(seed, d=3, width=6, outputs=1):
    """A network that is no chain: a smooth layer, a kinked one beside it, and their sum."""
    rng = np.random.default_rng(seed)
    dense = [
        Dense(rng.normal(size=s) / np.sqrt(s[1]), rng.normal(size=s[0])) for s in [(width, d), (width, width)]
    ]
    last = Dense(rng.normal(size=(outputs, width)), rng.normal(size=outputs))
    nodes = (
        Node("first", dense[0], ("x",)),
        Node("smooth", Tanh(), ("first",)),
        Node("second", dense[1], ("smooth",)),
        Node("kinked", ReLU(), ("second",)),
        Node("sum", Add(), ("smooth", "kinked")),
        Node("last", last, ("sum",)),
    )
    return GraphNetwork(Graph((d,), nodes), output_named("identity"))


@pytest.mark.parametrize("kappa", [0.0, 0.3, 1.0])
def test_a_linear_network_gives_the_gaussian_posterior(kappa):
    rng, X = drawn(6, 0)
    network, gamma = Network.he([6, 2], seed=1), 3.7
    y = rng.normal(size=(4, 2))
    found = infer_inputs(
        question(network, y, Gaussian.of(X), stiffness=gamma, kappa=kappa), X[:4], everything(X[:4])
    )
    W, b, C, mean = network.weights[0], network.biases[0], np.cov(X.T), X.mean(axis=0)
    gain = C @ W.T @ np.linalg.inv(W @ C @ W.T + np.eye(2) * (kappa + 1.0 / gamma))
    np.testing.assert_allclose(found.X, mean + (y - W @ mean - b) @ gain.T, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(
        found.deviation, np.tile(np.sqrt(np.diag(C - gain @ W @ C)), (4, 1)), rtol=1e-10
    )


def test_known_inputs_condition_the_posterior():
    rng, X = drawn(5, 1)
    network, gamma = Network.he([5, 1], seed=2), 2.0
    free = np.zeros((3, 5), dtype=bool)
    free[:, [1, 4]] = True
    y = rng.normal(size=(3, 1))
    found = infer_inputs(question(network, y, Gaussian.of(X), stiffness=gamma), X[:3], free)
    np.testing.assert_array_equal(found.X[~free], X[:3][~free])
    # The energy's only stationary point, by the precision of all inputs.
    P, W = np.linalg.inv(np.cov(X.T)), network.weights[0]
    pull = (found.X - X.mean(axis=0)) @ P + gamma * (network.logits(found.X) - y) @ W
    np.testing.assert_allclose(pull[:, [1, 4]], 0.0, atol=1e-8)
    posterior = np.linalg.inv((P + gamma * W.T @ W)[np.ix_([1, 4], [1, 4])])
    np.testing.assert_allclose(
        found.deviation[:, [1, 4]], np.tile(np.sqrt(np.diag(posterior)), (3, 1)), rtol=1e-8
    )


@pytest.mark.parametrize("seed", range(10))
def test_one_free_input_lies_where_a_fine_grid_has_its_minimum(seed):
    _, X = drawn(4, seed)
    network = Network.he([4, 15, 15, 1], seed=seed) if seed % 2 else residual_network(seed, d=4)
    rng, j, gamma = np.random.default_rng(seed), seed % 4, 25.0
    x = X[:1]
    y = network.predict(x) + 0.3 * rng.normal(size=(1, 1))
    free = np.zeros((1, 4), dtype=bool)
    free[0, j] = True
    found = infer_inputs(question(network, y, Gaussian.of(X), stiffness=gamma), x, free)
    low, high = X[:, j].min() - X[:, j].std(), X[:, j].max() + X[:, j].std()
    grid = np.repeat(x, 20_001, axis=0)
    grid[:, j] = np.linspace(low, high, len(grid))
    off = grid - X.mean(axis=0)
    energy = 0.5 * np.einsum("ij,jk,ik->i", off, np.linalg.inv(np.cov(X.T)), off)
    energy += 0.5 * gamma * (network.predict(grid) - y)[:, 0] ** 2
    assert abs(found.X[0, j] - grid[np.argmin(energy), j]) <= 1e-4 * (high - low)


def test_with_inner_edges_that_give_way_it_is_the_minimum_of_all_equilibria():
    _, X = drawn(3, 5)
    network, gamma = Network.he([3, 8, 8, 1], seed=5), 10.0
    x, free = X[:1], np.array([[False, True, False]])
    y = network.predict(x) + 1.0
    found = infer_inputs(question(network, y, Gaussian.of(X), stiffness=gamma, kappa=1.0), x, free)
    grid = np.repeat(x, 801, axis=0)
    grid[:, 1] = found.X[0, 1] + np.linspace(-2.0, 2.0, len(grid))
    off = grid - X.mean(axis=0)
    settled = relax(network, grid, target=np.repeat(y, len(grid), axis=0), stiffness=gamma)
    energy = settled.energy + 0.5 * np.einsum("ij,jk,ik->i", off, np.linalg.inv(np.cov(X.T)), off)
    assert found.settled.all()
    assert abs(found.X[0, 1] - grid[np.argmin(energy), 1]) <= 0.005


def test_the_odds_of_a_linear_network_are_met_by_the_nearest_point_of_a_plane():
    _, X = drawn(5, 3)
    network = Network.he([5, 1], "sigmoid", seed=3)
    z, C, w = network.logits(X[:4])[:, 0], np.cov(X.T), network.weights[0][0]
    y = (z < 0.0).astype(float)[:, None]
    asked = question(network, y, Gaussian.of(X), centre=X[:4], margin=np.log(4.0), by_odds=True)
    found = infer_inputs(asked, X[:4], everything(X[:4]))
    moved = np.where(z < 0.0, 1.0, -1.0) * np.log(4.0) - z
    np.testing.assert_allclose(found.X - X[:4], np.outer(moved, C @ w) / (w @ C @ w), rtol=1e-8)


@pytest.mark.parametrize(("seed", "classes", "p"), [(0, 3, 0.3), (5, 2, 0.95), (6, 3, 0.3), (7, 5, 0.8)])
def test_a_class_becomes_so_probable_by_the_least_change(seed, classes, p):
    """No change of many that another optimiser finds is smaller."""
    rng, X = drawn(4, seed)
    network = Network.he([4, 8, classes], "softmax", seed=seed)
    x = X[:1]
    c = int(np.argmin(network.predict(x)[0]))
    asked = question(network, np.eye(classes)[[c]], Gaussian.of(X), centre=x, margin=logit(p), by_odds=True)
    found = infer_inputs(asked, x, everything(x))
    assert network.predict(found.X)[0, c] >= p - 1e-9
    P, root = np.linalg.inv(np.cov(X.T)), np.linalg.cholesky(np.cov(X.T))

    def ahead(u):
        z = network.logits(u[None])[0]
        return z[c] - logsumexp(np.delete(z, c)) - logit(p)

    ends = [
        minimize(
            lambda u: 0.5 * (u - x[0]) @ P @ (u - x[0]),
            x[0] + root @ rng.normal(size=4) * rng.uniform(0.0, 3.0),
            constraints=[{"type": "ineq", "fun": ahead}],
            method="SLSQP",
        )
        for _ in range(20)
    ]
    theirs = min(np.sqrt(2.0 * end.fun) for end in ends if ahead(end.x) >= -1e-9)
    assert found.distance[0] <= theirs * (1.0 + 1e-6)


def test_the_least_change_on_a_linear_network_is_along_the_covariance():
    _, X = drawn(5, 3)
    network = Network.he([5, 1], seed=3)
    y = network.predict(X[:4]) + 1.0
    found = infer_inputs(question(network, y, Gaussian.of(X), centre=X[:4]), X[:4], everything(X[:4]))
    C, w = np.cov(X.T), network.weights[0][0]
    np.testing.assert_allclose(found.X - X[:4], np.tile(C @ w / (w @ C @ w), (4, 1)), rtol=1e-8)
    np.testing.assert_allclose(found.distance, 1.0 / np.sqrt(w @ C @ w), rtol=1e-8)
    np.testing.assert_allclose(network.predict(found.X), y, atol=1e-10)


@pytest.mark.parametrize("network", [Network.he([6, 20, 20, 1], seed=4), residual_network(4, d=6)])
def test_the_least_change_is_not_beaten_by_another_optimiser(network):
    rng, X = drawn(6, 4)
    prior = Gaussian.of(X)
    x = X[:3]
    y = np.quantile(network.predict(X), [0.2, 0.4, 0.8])[:, None]
    found = infer_inputs(question(network, y, prior, centre=x), x, everything(x))
    np.testing.assert_allclose(network.predict(found.X), y, atol=1e-6)
    rank = prior.root.shape[1]
    for i in range(len(x)):

        def cost(w, i=i):
            miss = network.predict((x[i] + prior.root @ w)[None]) - y[i]
            return 0.5 * w @ w + 5e3 * float(miss[0, 0]) ** 2

        for _ in range(3):
            other = minimize(cost, rng.normal(size=rank), method="L-BFGS-B").x
            if abs(network.predict((x[i] + prior.root @ other)[None]) - y[i]) < 1e-3:
                assert found.distance[i] <= 1.02 * np.linalg.norm(other)


def test_bounds_hold_and_the_rest_makes_up_for_them():
    _, X = drawn(5, 6)
    network, prior = Network.he([5, 1], seed=6), Gaussian.of(X)
    y = network.predict(X[:3]) + 4.0
    free = everything(X[:3])
    loose = infer_inputs(question(network, y, prior, centre=X[:3]), X[:3], free).X
    j = int(np.argmax(np.abs(loose - X[:3]).mean(axis=0)))
    low, high = np.full(5, -np.inf), np.full(5, np.inf)
    low[j], high[j] = X[:3, j].min() - 0.01, X[:3, j].max() + 0.01
    for kappa in (0.0, 1.0):
        tight = infer_inputs(
            question(network, y, prior, centre=X[:3], low=low, high=high, kappa=kappa), X[:3], free
        )
        assert ((low - 1e-9 <= tight.X) & (high + 1e-9 >= tight.X)).all()
        assert tight.bound[:, j].any()
        if kappa == 0.0:
            np.testing.assert_allclose(network.predict(tight.X), y, atol=1e-7)
            # Against the same problem with what is at its bound simply known.
            for i in np.flatnonzero(tight.bound[:, j]):
                C, w = np.cov(X.T), network.weights[0][0]
                step = tight.X[i, j] - X[i, j]
                given = C[:, j] / C[j, j]
                left = C - np.outer(given, C[j])
                rest = (y[i, 0] - network.predict(X[i : i + 1])[0, 0] - step * (w @ given)) / (w @ left @ w)
                np.testing.assert_allclose(tight.X[i] - X[i], step * given + rest * (left @ w), atol=1e-6)


def test_a_target_out_of_reach_is_missed_by_as_little_as_can_be():
    network = Network.he([2, 1], seed=0)
    _, X = drawn(2, 0)
    low, high = np.full(2, -1.0), np.full(2, 1.0)
    w, b = network.weights[0][0], network.biases[0][0]
    found = infer_inputs(
        question(network, [[1e3]], Gaussian.of(X), centre=X[:1], low=low, high=high),
        np.zeros((1, 2)),
        np.ones((1, 2), dtype=bool),
    )
    np.testing.assert_allclose(found.X[0], np.sign(w), atol=1e-6)
    np.testing.assert_allclose(found.missed, 1e3 - np.abs(w).sum() - b, rtol=1e-6)


def test_choices_are_the_best_of_all_that_there_are():
    rng, X = drawn(4, 7)
    X = np.column_stack([X[:, :2], np.eye(3)[rng.integers(0, 3, len(X))], np.round(2.0 * X[:, 3])])
    prior, network, gamma = Gaussian.of(X), Network.he([6, 1], seed=7), 8.0
    choices = (Levels((2, 3, 4), np.eye(3)), Whole((5,), 0.0, 1.0))
    y = np.array([[1.5]])
    found = infer_inputs(
        question(network, y, prior, stiffness=gamma, choices=choices), X[:1], np.ones((1, 6), dtype=bool)
    )
    C, mean = np.cov(X.T), X.mean(axis=0)
    P = np.linalg.pinv(C)

    def energy(x):
        return (
            0.5 * (x - mean) @ P @ (x - mean) + 0.5 * gamma * float(network.predict(x[None])[0, 0] - 1.5) ** 2
        )

    best = np.inf
    for level, whole in product(range(3), range(-12, 13)):
        fixed = np.concatenate([np.zeros(2), np.eye(3)[level], [whole]])
        H = P + gamma * network.weights[0].T @ network.weights[0]
        g = P @ (fixed - mean) + gamma * (network.predict(fixed[None])[0] - 1.5) @ network.weights[0]
        fixed[:2] -= np.linalg.solve(H[:2, :2], g[:2])
        best = min(best, energy(fixed))
    x = found.X[0]
    assert sorted(x[2:5].tolist()) == [0.0, 0.0, 1.0]
    assert x[5] == round(x[5])
    assert energy(x) == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize("beside", [-1e-13, 0.0, 1e-13])
def test_on_a_kink_the_deviation_is_that_of_its_right(beside):
    # y = relu(x1) + x2, a spring on y, and the prior's mean on the kink: left of it x1 would be free.
    network = Network(
        (np.eye(2), np.ones((1, 2))), (np.array([0.0, 5.0]), np.zeros(1)), output_named("identity")
    )
    x = np.array([beside, 1.0])
    aim = question(network, [[6.0]], Gaussian.of_moments(x, np.eye(2)), stiffness=4.0).aim
    root = covariance_root(aim, 0.0, x, np.eye(2), np.zeros(2, dtype=bool))
    J = np.ones((1, 2))
    np.testing.assert_allclose(root @ root.T, np.linalg.inv(np.eye(2) + 4.0 * J.T @ J), rtol=0, atol=1e-12)


def test_a_sparse_change_of_a_linear_network_is_the_input_that_needs_fewest_deviations():
    _, X = drawn(6, 8)
    network, prior = Network.he([6, 1], seed=8), Gaussian.of(X)
    y = network.predict(X[:2]) + 0.5
    found = infer_inputs(question(network, y, prior, centre=X[:2], sparse=True), X[:2], everything(X[:2]))
    moved = np.abs(found.X - X[:2]) > 1e-9
    assert moved.sum(axis=1).tolist() == [1, 1]
    assert (
        np.argmax(moved, axis=1).tolist()
        == [int(np.argmax(np.abs(network.weights[0][0]) * prior.spread))] * 2
    )
    np.testing.assert_allclose(network.predict(found.X), y, atol=1e-8)


@pytest.mark.parametrize(("name", "outputs"), [("softmax", 4), ("sigmoid", 1)])
def test_a_class_that_is_wanted_comes_first(name, outputs):
    _, X = drawn(5, 9)
    network = Network.he([5, 12, outputs], output=name, seed=9)
    if outputs == 1:
        y = 1.0 - (network.predict(X[:6]) >= 0.5)
    else:
        y = np.eye(4)[(np.argmax(network.predict(X[:6]), axis=1) + 1) % 4]
    found = infer_inputs(
        question(network, y, Gaussian.of(X), centre=X[:6], margin=1e-3), X[:6], everything(X[:6])
    )
    assert network.output.accuracy(found.logits, y) == 1.0
    # No more than it takes: the margin is met with equality.
    if outputs == 1:
        np.testing.assert_allclose(np.abs(found.logits), 1e-3, rtol=1e-5)


def test_a_sample_that_is_as_wanted_stays():
    _, X = drawn(5, 10)
    network = Network.he([5, 12, 3], output="softmax", seed=10)
    y = np.eye(3)[np.argmax(network.predict(X[:4]), axis=1)]
    found = infer_inputs(question(network, y, Gaussian.of(X), centre=X[:4]), X[:4], everything(X[:4]))
    np.testing.assert_allclose(found.X, X[:4], atol=1e-9)


def test_a_hidden_pin_of_a_rigid_network_is_met_as_a_target_is():
    _, X = drawn(5, 11)
    network = Network.he([5, 10, 1], seed=11)
    y = network.predict(X[:2]) + 0.2
    pin = Pin("a1", 3, 0.7)
    found = infer_inputs(
        question(network, y, Gaussian.of(X), centre=X[:2], pins=(pin,)), X[:2], everything(X[:2])
    )
    np.testing.assert_allclose(np.maximum(network.pre_activations(found.X)[0], 0.0)[:, 3], 0.7, atol=1e-7)
    np.testing.assert_allclose(network.predict(found.X), y, atol=1e-7)


def test_without_a_target_known_inputs_alone_speak():
    _, X = drawn(4, 12)
    network, prior = Network.he([4, 5, 1], seed=12), Gaussian.of(X)
    free = np.array([[False, True, False, True]])
    asked = np.zeros(1, dtype=bool)
    found = infer_inputs(question(network, [[0.0]], prior, asked=asked), X[:1], free)
    np.testing.assert_allclose(found.X, prior.given(~free[0], X[:1]).mean, atol=1e-9)


def test_a_class_as_a_bound_is_refused_where_inner_edges_give_way():
    _, X = drawn(3, 13)
    network = Network.he([3, 4, 2], output="softmax", seed=13)
    with pytest.raises(ValueError, match="leave kappa at 0"):
        infer_inputs(
            question(network, [[1.0, 0.0]], Gaussian.of(X), centre=X[:1], kappa=1.0), X[:1], everything(X[:1])
        )


@pytest.mark.parametrize("seed", range(4))
def test_kinks_and_all_the_least_change_is_the_best_over_all_linear_regions(seed):
    """The least change of a small network is a convex problem on each of its 256 regions."""
    rng, X = drawn(3, seed)
    network, prior = Network.he([3, 8, 1], seed=seed), Gaussian.of(X)
    network = Network(network.weights, (rng.normal(size=8), np.zeros(1)), network.output)
    x = X[:1]
    y = float(np.quantile(network.predict(X), rng.uniform(0.05, 0.95)))
    found = infer_inputs(question(network, [[y]], prior, centre=x), x, everything(x))
    assert network.predict(found.X)[0, 0] == pytest.approx(y, abs=1e-8)
    (W, V), (b, c) = network.weights, network.biases
    best = np.inf
    for pattern in product((0.0, 1.0), repeat=8):
        R = np.array(pattern)
        A, offset = W @ prior.root, W @ x[0] + b
        slope, start = (V[0] * R) @ A, float((V[0] * R) @ offset + c[0] - y)
        sides = np.where(R > 0, 1.0, -1.0)
        solved = minimize(
            lambda w: 0.5 * w @ w,
            np.zeros(3),
            jac=lambda w: w,
            method="SLSQP",
            constraints=[
                {"type": "eq", "fun": lambda w, s=slope, t=start: s @ w + t, "jac": lambda w, s=slope: s},
                {
                    "type": "ineq",
                    "fun": lambda w, s=sides: s * (W @ (x[0] + prior.root @ w) + b),
                    "jac": lambda w, s=sides: s[:, None] * (W @ prior.root),
                },
            ],
        )
        if solved.success and (sides * (A @ solved.x + offset) >= -1e-7).all():
            best = min(best, float(np.linalg.norm(solved.x)))
    assert found.distance[0] == pytest.approx(best, rel=1e-5)


def test_choices_alone_can_be_asked_of_inner_edges_that_give_way():
    rng, X = drawn(2, 14)
    X = np.column_stack([X, np.eye(2)[rng.integers(0, 2, len(X))]])
    network = Network.he([4, 5, 1], seed=14)
    free = np.array([[False, False, True, True]])
    ask = question(
        network, [[0.3]], Gaussian.of(X), stiffness=4.0, kappa=1.0, choices=(Levels((2, 3), np.eye(2)),)
    )
    found = infer_inputs(ask, X[:1], free)
    base = Gaussian.of(X).given(~free[0], X[:1])
    around = Gaussian(base.mean[0], base.root)
    costs = []
    for level in np.eye(2):
        x = np.concatenate([X[0, :2], level])[None]
        settled = relax(network, x, target=np.array([[0.3]]), stiffness=4.0)
        costs.append(settled.energy[0] + 0.5 * around.given(np.ones(4, dtype=bool), x).distance[0])
    np.testing.assert_array_equal(found.X[0, 2:], np.eye(2)[int(np.argmin(costs))])
