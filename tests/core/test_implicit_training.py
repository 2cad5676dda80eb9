"""Implicit steps: against dense normal equations, back-propagation and equilibria; what never happens."""

import itertools

import numpy as np
import pytest
from closed_form import equilibrium
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import problem
from scipy.optimize import approx_fprime, minimize
from sklearn.linear_model import BayesianRidge
from strategies import seeds

from sheafcli.core.averaged import rectified, slope_of
from sheafcli.core.chain.cochain import Cochain
from sheafcli.core.chain.network import Network
from sheafcli.core.chain.training.backprop import gradient
from sheafcli.core.chain.training.implicit import ChainModel, balance, revive
from sheafcli.core.chain.training.layers import Parameters
from sheafcli.core.chain.training.least_squares import ChainLeastSquares, forward, sensitivities
from sheafcli.core.discord import training_energy
from sheafcli.core.outputs import output_named
from sheafcli.core.training import implicit
from sheafcli.core.training.cost import Cost
from sheafcli.core.training.cycle import CYCLE, SOFT_STEPS, Path, softness
from sheafcli.core.training.descent import StopWhen
from sheafcli.core.training.envelope import Envelope
from sheafcli.core.training.implicit import Implicit
from sheafcli.core.training.least_squares import telling

OUTPUTS = ["identity", "sigmoid", "softmax"]


def inputs_of(X):
    return np.vstack([X.T, np.ones((1, len(X)))])


def linearised(network, X, y, decay=0.0, softness=0.0, give=None, of_biases=0.0):
    """Return parameters, the least-squares problem of a network, and its J, one row a sample and column."""
    parameters = Parameters(network, np.float64)
    here = forward(parameters.H, inputs_of(X), [softness] * network.depth)
    T, rho = Envelope(network.output, y, give).root(here.f)
    M = sensitivities(parameters.W, here.slopes, np.ascontiguousarray(T.transpose(2, 1, 0)))
    decays = decay * np.where(ChainModel(network, X).weighs, 1.0, of_biases)
    return parameters, ChainLeastSquares(parameters.flat, here.a, M, rho.T.copy(), decays), T, rho


def outputs_of(flat, network, X, eps):
    """Return z_{k+1} of packed parameters, written plainly, samples x outputs."""
    a, start = X, 0
    for layer, (m, n) in enumerate(itertools.pairwise(network.widths)):
        H = flat[start : start + n * (m + 1)].reshape(n, m + 1)
        start += H.size
        z = a @ H[:, :-1].T + H[:, -1]
        a = rectified(z, eps, slope_of(z, eps)) if layer < network.depth else z
    return a


def dense_jacobian(network, X, eps):
    """Return the Jacobian of all outputs by complex steps' poor cousin: central differences of high order."""
    flat, h = Parameters(network, np.float64).flat.copy(), 1e-4
    columns = []
    for i in range(flat.size):
        shifted = [flat + s * h * np.eye(flat.size)[i] for s in (-2, -1, 1, 2)]
        far_below, below, above, far_above = (outputs_of(w, network, X, eps) for w in shifted)
        columns.append((far_below - 8.0 * below + 8.0 * above - far_above) / (12.0 * h))
    return np.stack(columns, axis=-1)  # samples x outputs x parameters


# One step, against dense linear algebra.


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("hidden", [(), (4,), (4, 3)])
@pytest.mark.parametrize("samples", [3, 40])
@pytest.mark.parametrize(("decay", "of_biases"), [(0.0, 0.0), (0.3, 0.0), (0.3, 1.0), (0.3, 0.5)])
@pytest.mark.parametrize("mu", [1e-3, 1.0])
def test_a_step_solves_the_dense_normal_equations(output, hidden, samples, decay, of_biases, mu):
    """(J^T J + D) dw = J^T rho - decay W, with J assembled by Kronecker products, in either form."""
    network, X, y = problem(output, hidden, samples)
    parameters, squares, T, rho = linearised(network, X, y, decay, of_biases=of_biases)
    rows = []
    stalks = network.pre_activations(X)
    for i in range(samples):
        M, parts = T[i], []
        inputs = [X[i]] + [np.maximum(z[i], 0.0) for z in stalks[:-1]]
        for layer in range(network.depth, -1, -1):
            parts.insert(0, np.stack([np.outer(row, np.append(inputs[layer], 1.0)).ravel() for row in M]))
            if layer > 0:
                M = (M @ network.weights[layer]) * (stalks[layer - 1][i] >= 0.0)
        rows.append(np.hstack(parts))
    J, weighs = np.vstack(rows), np.ones(parameters.flat.size)
    for place, H in zip(np.cumsum([0] + [H.size for H in parameters.H]), parameters.H, strict=False):
        weighs[place : place + H.size].reshape(H.shape)[:, -1] = of_biases
    slope = J.T @ rho.ravel() - decay * weighs * parameters.flat
    expected = np.linalg.solve(J.T @ J + np.diag(mu + decay * weighs), slope)
    np.testing.assert_allclose(squares.slope, slope, rtol=0, atol=1e-12 * np.abs(slope).max())
    np.testing.assert_allclose(squares.solution(mu), expected, rtol=0, atol=1e-10 * np.abs(expected).max())
    assert squares.largest() == pytest.approx(np.max(np.diag(J.T @ J)))


@pytest.mark.parametrize("output", OUTPUTS)
def test_rows_are_the_slopes_of_softened_outputs(output):
    network, X, y = problem(output, (4, 3), 6)
    eps = 0.7
    _, squares, T, _ = linearised(network, X, y, softness=eps)
    J = np.einsum("nrc,ncp->rnp", T, dense_jacobian(network, X, eps))
    for i, column in enumerate(np.eye(J.shape[-1])):
        np.testing.assert_allclose(squares.times(column), J[:, :, i], rtol=0, atol=1e-6)


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("samples", [4, 60])
def test_a_step_tends_to_that_of_back_propagation(output, samples):
    """As eta = 1 / mu goes to 0, dw / eta is minus the gradient of the summed potential, off by O(eta)."""
    network, X, y = problem(output, (5, 4), samples)
    scale = network.output.loss_scale(y.shape[1]) / samples
    slopes = gradient(network, X, y)
    expected = -np.concatenate([np.hstack([dW, db[:, None]]).ravel() for dW, db in slopes]) / scale
    _, squares, _, _ = linearised(network, X, y)
    errors = []
    for eta in (1e-3, 1e-4, 1e-5):
        errors.append(np.linalg.norm(squares.solution(1.0 / eta) / eta - expected))
    assert errors[2] < 2e-3 * np.linalg.norm(expected) * max(squares.largest(), 1.0)
    for larger, smaller in itertools.pairwise(errors):
        assert smaller == pytest.approx(0.1 * larger, rel=0.2)


# The energy.


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("kappa", [0.01, 1.0, 10.0])
def test_the_envelope_has_the_slope_and_curvature_it_says(output, kappa):
    network, _, y = problem(output, (), 5)
    rng = np.random.default_rng(1)
    B = rng.normal(size=(5, y.shape[1], y.shape[1]))
    envelope = Envelope(network.output, y, kappa * (np.eye(y.shape[1]) + B @ np.swapaxes(B, 1, 2)))
    f = rng.normal(size=y.shape)
    T, _ = envelope.root(f)

    def slope(v):
        T, rho = envelope.root(v.reshape(f.shape))
        return -np.einsum("nrc,nr->nc", T, rho)

    by_differences = approx_fprime(f.ravel(), lambda v: envelope.value(v.reshape(f.shape)), 1e-6)
    np.testing.assert_allclose(slope(f).ravel(), by_differences, rtol=0, atol=1e-4)
    for i in range(y.shape[1]):
        moved = f.copy()
        moved[:, i] += 1e-5
        bend = (slope(moved) - slope(f)) / 1e-5
        np.testing.assert_allclose(np.einsum("nrc,nr->nc", T, T[:, :, i]), bend, rtol=0, atol=1e-3)


@given(seeds, st.sampled_from(["identity", "sigmoid"]))
@settings(max_examples=20)
def test_with_fixed_weights_and_kappa_one_it_is_the_energy_of_the_harmonic_extension(seed, output):
    """Stiffness 1 throughout: the energy of heat at the equilibrium with an output edge of stiffness 1."""
    network, X, y = problem(output, (4, 3), seed=seed)
    session = Implicit(kappa=1.0).start(network, X, y)
    settled = equilibrium(network, X, y, stiffness=1.0)
    keeps = settled.keeps_pattern
    if not keeps.any():
        return
    stalks = {f"z{i}": z[keeps] for i, z in enumerate(settled.z, start=1)}
    stalks |= {f"a{i}": a[keeps] for i, a in enumerate(settled.a, start=1)}
    cochain = Cochain.from_stalks(network.widths, stalks)
    session = Implicit(kappa=1.0).start(network, X[keeps], y[keeps])
    expected = training_energy(network, X[keeps], y[keeps], cochain)
    assert session.energy() == pytest.approx(expected, rel=1e-3)


def test_rigid_edges_have_no_discord_and_the_energy_of_the_output():
    network, X, y = problem()
    session = Implicit().start(network, X, y)
    assert session.energy() == pytest.approx(np.mean(network.output.potential(network.logits(X), y)))
    assert [value for edge, value in session.discord().items() if edge.operation != "output"] == [0.0] * 5


# Before a cycle.


@pytest.mark.parametrize("hidden", [(4,), (4, 3, 5)])
def test_balancing_changes_no_output_and_makes_norms_agree(hidden):
    network, X, _ = problem("identity", hidden, 9)
    parameters = Parameters(network, np.float64)
    for H, scale in zip(parameters.H, (1e-3, 1e2, 1.0, 10.0), strict=False):
        np.multiply(H, scale, out=H)
    before = parameters.network().logits(X)
    balance(parameters)
    np.testing.assert_allclose(parameters.network().logits(X), before, rtol=1e-12)
    into, out = np.linalg.norm(parameters.H[-2], axis=1), np.linalg.norm(parameters.W[-1], axis=0)
    np.testing.assert_allclose(into, out, rtol=1e-12)


def test_balancing_leaves_neurons_without_weights_alone():
    parameters = Parameters(Network.he([2, 3, 1]), np.float64)
    parameters.H[0][0], parameters.W[1][:, 1] = 0.0, 0.0
    before = parameters.flat.copy()
    balance(parameters)
    np.testing.assert_array_equal(parameters.H[0][:2], before[:9].reshape(3, 3)[:2])
    assert np.isfinite(parameters.flat).all()


def test_a_dead_neuron_is_moved_to_where_half_of_the_samples_activate_it():
    network, X, _ = problem("identity", (4, 3), 9)
    biases = [b.copy() for b in network.biases]
    biases[0][1] = -100.0
    network = Network(network.weights, tuple(biases), network.output)
    parameters = Parameters(network, np.float64)
    revive(parameters, inputs_of(X))
    assert np.sum(X @ parameters.W[0][1] + parameters.H[0][1, -1] >= -1e-9) == 5
    np.testing.assert_allclose(parameters.network().logits(X), network.logits(X), rtol=1e-12)
    # A layer with nobody alive keeps the weights out of it: without them it could not learn.
    biases[0][:] = -100.0
    parameters = Parameters(Network(network.weights, tuple(biases), network.output), np.float64)
    revive(parameters, inputs_of(X))
    np.testing.assert_array_equal(parameters.W[1], network.weights[1])


def test_kinks_harden_over_a_cycle():
    shares = [softness(place) for place in range(CYCLE)]
    assert shares[0] == 0.5
    assert all(later < earlier for earlier, later in itertools.pairwise(shares[: SOFT_STEPS + 1]))
    assert set(shares[SOFT_STEPS:]) == {0.0}


# A session.


def assert_same(left, right):
    left, right = left.state(), right.state()
    assert left.keys() == right.keys()
    for name in left.keys() - {"seconds"}:
        np.testing.assert_array_equal(left[name], right[name], err_msg=name)


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize(
    "options", [{"weight_decay": 0.01}, {"weight_decay": 0.01, "kappa": 1.0}, {"regularise": "evidence"}]
)
def test_a_session_goes_on_bit_for_bit_from_any_step(output, options):
    network, X, y = problem(output, samples=12)
    method = Implicit(steps=CYCLE + 7, **options)
    whole, states = method.start(network, X, y), []
    while not whole.finished:
        states.append(whole.state())
        whole.advance(3)
    assert whole.step == CYCLE + 7
    for state in states[::5]:
        assert all(np.isfinite(array).all() for array in state.values())
        resumed = method.start(network, X, y)
        resumed.advance(2)
        resumed.restore(state)
        resumed.energy()
        resumed.advance(1000)
        assert_same(whole, resumed)
        assert (resumed.energy(), resumed.discord()) == (whole.energy(), whole.discord())


def test_a_state_of_other_data_is_refused():
    network, X, y = problem()
    state = Implicit().start(network, X, y).state()
    with pytest.raises(ValueError, match="the state is not of 6 samples"):
        Implicit().start(network, X[:-1], y[:-1]).restore(state)


@pytest.mark.parametrize(("outputs", "hidden"), [(3, (5,)), (8, ()), (8, (5, 4))])
def test_summing_over_classes_first_makes_the_same_matrix(outputs, hidden):
    """With many classes the columns are summed before the products over the samples."""
    network, X, y = problem("softmax", hidden, 50, outputs=outputs)
    parameters, squares, _, _ = linearised(network, X, y)
    J = np.stack([squares.times(column).ravel() for column in np.eye(parameters.flat.size)], axis=1)
    upper = np.triu(squares.over_unknowns())
    np.testing.assert_allclose(upper, np.triu(J.T @ J), rtol=0, atol=1e-11 * upper.max())


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("samples", [4, 60])
def test_how_many_weights_are_determined_is_a_trace(output, samples):
    network, X, y = problem(output, (5, 4), samples)
    model = ChainModel(network, X)
    _, squares, _, _ = linearised(network, X, y, decay=0.3)
    J = np.stack([squares.times(column).T.ravel() for column in np.eye(model.flat.size)], axis=1)
    D = 1e-3 + 0.3 * model.weighs
    whole = np.linalg.solve(J.T @ J + np.diag(D), J.T @ J)
    assert squares.determined(1e-3) == pytest.approx(float(model.weighs @ np.diag(whole)), rel=1e-8)
    values = np.maximum(np.linalg.eigvalsh(J.T @ J), 0.0)
    assert squares.log_determinant(0.3) == pytest.approx(np.sum(np.log1p(values / 0.3)), rel=1e-8)


def test_the_evidence_is_that_of_bayesian_ridge_regression():
    """Without hidden layers scikit-learn has the same fixed point: MacKay's, variances with flat priors."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 6)) * [1.0, 2.0, 0.1, 1.0, 3.0, 0.5]
    y = X @ [1.0, 0.0, 0.3, -1.0, 0.1, 0.0] + 5.0 + rng.normal(size=40)
    session = Implicit(steps=10 * CYCLE, regularise="evidence").start(Network.he([6, 1]), X, y)
    session.advance(10 * CYCLE)
    flat = dict.fromkeys(("alpha_1", "alpha_2", "lambda_1", "lambda_2"), 0.0)
    ridge = BayesianRidge(max_iter=1000, tol=1e-12, **flat).fit(X, y)
    assert np.max(session._decay) == pytest.approx(ridge.lambda_ / ridge.alpha_, rel=1e-4)
    # The evidence is flat about its largest value: what is kept may be of a cycle before.
    np.testing.assert_allclose(session.network().weights[0][0], ridge.coef_, rtol=0, atol=0.02)


def test_the_evidence_tells_noise_from_shape():
    """Forty neurons on thirty noisy points of a line: without it they fit the noise."""
    rng = np.random.default_rng(0)
    X, fresh = rng.uniform(-1.0, 1.0, size=(30, 1)), np.linspace(-0.9, 0.9, 50)[:, None]
    y = 2.0 * X + 0.3 * rng.normal(size=X.shape)
    errors = {}
    for regularise in (None, "evidence"):
        session = Implicit(steps=4 * CYCLE, regularise=regularise).start(Network.he([1, 40, 1]), X, y)
        session.advance(4 * CYCLE)
        errors[regularise] = np.mean((session.network().logits(fresh) - 2.0 * fresh) ** 2)
    assert errors["evidence"] < 0.3 * errors[None]
    assert errors["evidence"] < 0.03


def test_weight_decay_shrinks_weights_to_those_of_ridge_regression():
    """Without hidden layers the minimum has a closed form: |y - X w - b|^2 / n + decay / 2 |w|^2."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 3)), rng.normal(size=(30, 1))
    session = Implicit(steps=30, weight_decay=0.5).start(Network.he([3, 1]), X, y)
    session.advance(30)
    centred = X - X.mean(axis=0)
    expected = np.linalg.solve(centred.T @ centred + 0.25 * 30 * np.eye(3), centred.T @ (y - y.mean()))
    np.testing.assert_allclose(session.network().weights[0], expected.T, rtol=1e-8)


def test_it_stops_at_a_low_loss_and_after_so_many_seconds(monkeypatch):
    network, X, y = problem(samples=5)
    session = Implicit(stop_when=StopWhen(train_loss=1e-3)).start(network, X, y)
    while not session.finished:
        session.advance(10)
    assert session.step < 60
    assert session.share_done == 1.0
    ticks = itertools.count()
    monkeypatch.setattr(implicit.time, "perf_counter", lambda: float(next(ticks)))
    session = Implicit(stop_when=StopWhen(seconds=5.0)).start(network, X, y)
    session.advance(100)
    assert (session.step, session.finished) == (5, True)


def test_progress_is_told_at_the_end_of_each_cycle(monkeypatch):
    monkeypatch.setattr(implicit, "TELL_SECONDS", np.inf)
    told, (network, X, y) = [], problem(samples=50)
    Implicit(steps=2 * CYCLE).start(network, X, y).advance(10**6, lambda *news: told.append(news))
    assert told == [(CYCLE, 0.5), (2 * CYCLE, 1.0), (2 * CYCLE, 1.0)]


@pytest.mark.parametrize(
    "options",
    [
        {"steps": 0},
        {"steps": 1.0},
        {"steps": True},
        {"kappa": -1.0},
        {"kappa": np.nan},
        {"weight_decay": np.inf},
        {"regularise": "luck"},
        {"regularise": "evidence", "weight_decay": 0.1},
    ],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Implicit(**options)


def test_what_a_step_costs():
    """P = 12 * 10 + 13 * 3 weights beside n (C - 1) rows: the smaller is solved for."""
    network = Network.he([9, 12, 3], "softmax")
    few, many = Cost.of(network, 20), Cost.of(network, 2000)
    assert (few.unknowns, few.rows, many.rows) == (159, 40, 4000)
    assert few.bytes > 8 * 40**2
    assert many.operations > 2000 * 159**2
    assert many.bytes < 8 * 4000**2


# Data that are hardly any.


def best_losses(session, chunk=CYCLE):
    """Return the losses of the best network so far, seen every so many steps, to the end."""
    losses = []
    while True:
        network = session.network()
        losses.append(network.output.loss(network.logits(session._X), session._y))
        if session.finished:
            return losses
        session.advance(chunk)


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_single_sample_is_fitted(output):
    network, X, y = problem(output, samples=1)
    assert best_losses(Implicit(steps=2 * CYCLE).start(network, X, y))[-1] < 1e-10


def test_constant_outputs_end_with_a_loss_of_zero_and_say_so():
    network, X, _ = problem(outputs=1)
    session = Implicit().start(network, X, np.full((len(X), 1), 3.0))
    assert best_losses(session, 10)[-1] < 1e-25
    # Nothing but rounding keeps a loss from 0: zeros are met exactly.
    network = Network((np.zeros((1, 2)),), (np.zeros(1),), output_named("identity"))
    session = Implicit().start(network, X, np.zeros((len(X), 1)))
    assert session.finished
    assert session.ending == "the training loss is exactly 0: nothing is left to learn"


def test_a_loss_of_zero_reached_on_the_way_ends_it():
    network = Network((np.ones((1, 1)),), (np.zeros(1),), output_named("identity"))
    session = Implicit(steps=500).start(network, np.array([[-1.0], [1.0]]), np.array([[0.0], [0.0]]))
    assert session.ending is None
    session.advance(500)
    assert session.step < 500
    assert session.finished
    assert session.ending is not None


def test_rank_deficient_data_are_fitted_as_well_as_they_can_be():
    """Every feature is the same one, and half of the samples contradict the others."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 1))
    X, y = np.tile(x, (2, 5)), np.concatenate([x + 1.0, x - 1.0])
    losses = best_losses(Implicit(steps=3 * CYCLE).start(Network.he([5, 8, 1]), X, y))
    assert losses[-1] == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("hidden", [(6,), (6, 5)])
def test_a_network_dead_from_the_start_comes_alive(hidden):
    rng = np.random.default_rng(0)
    X = rng.uniform(-1.0, 1.0, size=(50, 2))
    network = Network.he([2, *hidden, 1])
    network = Network(
        network.weights,
        (*(np.full_like(b, -1e3) for b in network.biases[:-1]), np.zeros(1)),
        network.output,
    )
    losses = best_losses(Implicit(steps=4 * CYCLE).start(network, X, np.sum(X * X, axis=1)))
    assert losses[-1] < 0.1 * np.var(np.sum(X * X, axis=1))


@st.composite
def small_problems(draw):
    """Draw a network to depth 6, data of scales 1e-3 to 1e3, perhaps with duplicates or dead neurons."""
    output, widths = draw(st.sampled_from(OUTPUTS)), draw(st.lists(st.integers(1, 6), min_size=2, max_size=8))
    rng, n = np.random.default_rng(draw(seeds)), draw(st.integers(1, 12))
    if output == "softmax":
        widths[-1] = max(widths[-1], 2)
    scale_x, scale_y, scale_w = (10.0 ** draw(st.integers(-3, 3)) for _ in range(3))
    network = Network.he(widths, output, rng)
    biases = [scale_w * rng.normal(size=b.shape) for b in network.biases]
    if network.depth and draw(st.booleans()):
        biases[rng.integers(network.depth)][:] = -1e6
    network = Network(tuple(scale_w * W for W in network.weights), tuple(biases), network.output)
    X = scale_x * rng.normal(size=(n, widths[0]))
    if draw(st.booleans()):
        X = X[rng.integers(0, n, size=n)]
    classes = rng.integers(0, widths[-1], size=n)
    y = {
        "identity": scale_y * rng.normal(size=(n, widths[-1])),
        "sigmoid": rng.integers(0, 2, size=(n, widths[-1])).astype(float),
        "softmax": np.eye(widths[-1])[classes],
    }[output]
    return network, X, y


@given(small_problems(), st.sampled_from([0.0, 0.01]), st.sampled_from([0.0, 0.0, 1.0]))
@settings(max_examples=100, deadline=None)
def test_the_best_loss_never_rises_nothing_is_nan_and_it_ends(drawn, decay, kappa):
    network, X, y = drawn
    session = Implicit(steps=CYCLE + 20, kappa=kappa, weight_decay=decay).start(network, X, y)
    before = session._least
    while not session.finished:
        step = session.step
        session.advance(20)
        assert session.finished or session.step == step + 20
        assert session._least <= before
        before = session._least
        assert all(np.isfinite(array).all() for array in session.state().values())
    losses = best_losses(session)
    assert np.isfinite(losses[-1])
    assert np.isfinite(session.energy())


def test_a_resistance_beyond_range_is_no_number_and_no_error():
    """A step made of it is not taken: no Cholesky factor is found."""
    network, _, y = problem("identity", (4, 3))
    envelope = Envelope(network.output, y, np.full((len(y), 2, 2), np.inf))
    with np.errstate(invalid="ignore"):
        T, rho = envelope.root(np.zeros_like(y))
    assert np.isnan(T).all()
    assert np.isnan(rho).all()


def test_a_gain_beyond_all_promises_is_taken(monkeypatch):
    """Where kinks are crossed the energy may fall by more than any number of times what was promised."""
    network, X, y = problem()
    session = Implicit(steps=3).start(network, X, y)
    monkeypatch.setattr(
        Envelope, "value", lambda self, f, seen=[]: seen.append(f) or 1e250 / 1e100 ** len(seen)
    )
    session.advance(1)
    assert session._damping > 0.0
    assert np.isfinite(session._damping)


def test_an_exact_fit_by_evidence_stays_finite():
    """One sample is met to the last bit: no error is left to have a variance."""
    rng = np.random.default_rng(0)
    X, y = 100.0 * rng.normal(size=(1, 6)), rng.normal(size=(1, 6))
    session = Implicit(steps=CYCLE + 5, regularise="evidence").start(Network.he([6, 1, 5, 6]), X, y)
    session.advance(CYCLE + 5)
    assert all(np.isfinite(array).all() for array in session.state().values())
    assert session.network().output.loss(session.network().logits(X), y) < 1e-6


@pytest.mark.parametrize("output", ["sigmoid", "softmax"])
@pytest.mark.parametrize("most", [np.inf, 0])
def test_rows_that_are_left_out_are_lost_in_rounding(output, most):
    """Most samples have no doubt left; what is left of J makes the same J^T J and J^T rho."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(50, 3)) * 10.0 ** rng.uniform(-1, 3, size=(50, 1))
    y = (z > 0.0).astype(float) if output == "sigmoid" else np.eye(3)[np.argmax(z, axis=1)]
    y[0] = np.roll(y[0], 1)
    T, rho = Envelope(output_named(output), y).root(z)
    samples, some, some_rho = telling(T, rho, most)
    if most == 0:
        assert samples == slice(None)
        assert some is T
        return
    assert len(some) == len(samples) < 0.9 * rho.size
    D = rng.normal(size=(50, 3, 7))
    J, picked = (T @ D).reshape(-1, 7), (some @ D[samples]).reshape(-1, 7)
    np.testing.assert_allclose(picked.T @ picked, J.T @ J, rtol=0, atol=1e-13 * np.max(J.T @ J))
    slope = J.T @ rho.ravel()
    np.testing.assert_allclose(picked.T @ some_rho.ravel(), slope, rtol=0, atol=1e-13 * np.max(np.abs(slope)))


# What falls in the first cycle of a network for classes.


def parted(rng):
    """Return samples on both sides of a plane, with room between, and their labels."""
    X = rng.normal(size=(60, 3))
    side = X @ [1.0, -2.0, 0.5]
    far = np.abs(side) > 0.4
    return X[far], (side[far] > 0.0).astype(float)[:, np.newaxis]


def test_the_first_cycle_follows_the_path_of_logistic_regression_near_half_the_start():
    """Without hidden layers the least of loss + decay / 2 |w - w_0 / 2|^2 is one, and SciPy finds it, too."""
    X, y = parted(np.random.default_rng(0))
    inputs, start = np.hstack([X, np.ones((len(X), 1))]), Network.he([3, 1], "sigmoid", seed=1)
    centre = 0.5 * np.append(start.weights[0], start.biases[0])

    def energy(w, decay):
        misfit = np.sum(np.logaddexp(0.0, (1.0 - 2.0 * y.ravel()) * (inputs @ w)))
        return misfit + 0.5 * decay * np.sum((w - centre) ** 2)

    session = Implicit(steps=CYCLE).start(start, X, y)
    for step in (20, 30):
        session.advance(step - session.step)
        decay = np.max(session._path.decay(session.step))
        session.advance(1)
        expected = minimize(energy, centre, (decay,)).x
        network = session.network()
        found = np.append(network.weights[0], network.biases[0])
        assert np.linalg.norm(found - expected) < 0.05 * np.linalg.norm(expected)


def test_what_falls_begins_where_hardly_anything_moves_and_falls_by_equal_factors():
    X, y = parted(np.random.default_rng(0))
    network = Network.he([3, 4, 1], "sigmoid")
    model = ChainModel(network, X)
    before = model.flat.copy()
    path = Path.of(model, network.output, y)
    np.testing.assert_array_equal(model.flat, before)
    model.prepare()
    T, rho = Envelope(network.output, y).root(network.logits(X))
    problem = model.problem(model.forward(), T, rho, model.flat, 0.0 * before)
    np.testing.assert_allclose(path.decay(0), problem.largest(), rtol=1e-12)
    np.testing.assert_allclose(path.centre, 0.5 * model.flat, rtol=1e-15)
    falls = [np.max(path.decay(step)) for step in range(SOFT_STEPS)]
    np.testing.assert_allclose(np.diff(np.log(falls)), np.log(1e-7) / (SOFT_STEPS - 1), rtol=1e-9)
    assert not path.decay(SOFT_STEPS).any()


@pytest.mark.parametrize("farthest", [1, 2, 2.9, 6.5, 16, 33, 100])
def test_a_step_goes_on_twice_as_far_while_the_energy_falls(farthest):
    """Along a parabola with its least so many steps away; five doublings at most, no two of them level."""
    X, y = parted(np.random.default_rng(0))
    session = Implicit().start(Network.he([3, 4, 1], "sigmoid"), X, y)
    start, flat = session._model.flat.copy(), session._model.flat
    dw = np.random.default_rng(1).normal(size=start.shape)

    def energy_of(_):
        return ((flat - start) @ dw / (dw @ dw) - farthest) ** 2

    flat[:] = start + dw
    session._go_on(start, energy_of(None), energy_of)
    lengths = 2.0 ** np.arange(6)
    # Up to the first that is no better than the one before it.
    falls = np.diff((lengths - farthest) ** 2) < 0.0
    expected = lengths[len(falls) if falls.all() else np.argmin(falls)]
    np.testing.assert_allclose(flat, start + expected * dw, rtol=1e-9)


@pytest.mark.parametrize("scale", [1e-3, 0.1])
def test_what_falls_does_not_crush_small_weights(scale):
    """A network whose weights are all next to nothing has hardly a slope to leave from."""
    X, y = parted(np.random.default_rng(0))
    start = Network.he([3, 6, 4, 1], "sigmoid", seed=0)
    small = Network(tuple(scale * W for W in start.weights), start.biases, start.output)
    session = Implicit(steps=CYCLE).start(small, X, y)
    session.advance(CYCLE)
    assert session.network().output.loss(session.network().logits(X), y) < 1e-6


def test_nothing_falls_for_a_regression_or_where_a_decay_is_chosen():
    X, y = parted(np.random.default_rng(0))
    start = Network.he([3, 4, 1], "sigmoid")
    for method in (Implicit(weight_decay=1e-3), Implicit(regularise="evidence")):
        assert method.start(start, X, y)._path is None
    assert Implicit().start(Network.he([3, 4, 1], "identity"), X, y)._path is None
