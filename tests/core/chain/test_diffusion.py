"""The heat equation on fixed weights against the theorem and dense equilibria of the sheaf Laplacian."""

import numpy as np
import pytest
from hypothesis import given, settings
from oracles import jacobian, problem, sigmoid
from strategies import networks, scales, seeds, widths

from sheafcli.core.chain.cochain import Cochain
from sheafcli.core.chain.diffusion import HeatEquation
from sheafcli.core.chain.network import Network
from sheafcli.core.chain.sheaf import NeuralSheaf
from sheafcli.core.diffusion import diffuse
from sheafcli.core.integrators import Euler
from sheafcli.core.outputs import output_named
from sheafcli.core.pins import Pin


def free_names(network):
    """Return (stalk, coordinate) of every free coordinate in path order."""
    stalks = Cochain(network.widths, 1).stalks()
    return [(name, i) for name, view in stalks.items() for i in range(view.shape[1])]


def dense_equilibrium(network, x, pattern, held, springs=()):
    """Solve L_Omega v = -L[Omega, U] u for one pattern with coordinates held at values, or by springs."""
    sheaf, names = NeuralSheaf(network), free_names(network)
    L = sheaf.laplacian(pattern).toarray()
    right = -sheaf.laplacian(pattern, "boundary") @ sheaf.boundary_values(x)
    for name, value, stiffness in springs:
        L[names.index(name), names.index(name)] += stiffness
        right[names.index(name)] += stiffness * value
    fixed = [names.index(name) for name in held]
    moving = [i for i in range(len(names)) if i not in fixed]
    v = np.zeros(len(names))
    v[fixed] = list(held.values())
    v[moving] = np.linalg.solve(
        L[np.ix_(moving, moving)], right[moving] - L[np.ix_(moving, fixed)] @ v[fixed]
    )
    return v


def assert_equilibrium(network, X, settled, held=lambda _sample: {}, springs=()):
    """Demand that every sample rests where the dense system of its own pattern says."""
    assert settled.converged.all()
    stalks = settled.cochain.stalks()
    for sample, x in enumerate(X):
        pattern = [stalks[f"z{layer}"][sample] >= 0 for layer in range(1, network.depth + 1)]
        expected = dense_equilibrium(network, x, pattern, held(sample), springs)
        found = np.concatenate([view[sample] for view in stalks.values()])
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-8)


@given(networks(widths=widths.map(lambda n: n[:4]), scales=scales.map(lambda s: min(s, 0.7))), seeds)
@settings(max_examples=15)
def test_from_random_stalks_to_the_forward_pass(network, seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(3, network.widths[0]))
    start = Cochain.random(network.widths, 3, rng)
    before = start.data.copy()
    found = diffuse(network, X, start=start, tolerance=1e-11, steps=50_000)
    assert found.converged.all()
    forward = Cochain.forward(network, X)
    for name, view in found.cochain.stalks().items():
        np.testing.assert_allclose(view, forward.stalks()[name], rtol=0, atol=1e-7, err_msg=name)
    np.testing.assert_array_equal(start.data, before)


@pytest.mark.parametrize("output", ["sigmoid", "softmax"])
@pytest.mark.parametrize("force", ["loss", "least_squares"])
def test_with_an_output_vertex_to_the_forward_pass(output, force):
    network, X, _ = problem(output)
    start = Cochain.random(network.widths, len(X), 1, output_vertex=True)
    found = diffuse(network, X, start=start, output_force=force)
    assert found.converged.all()
    np.testing.assert_allclose(found.cochain.stalks()["y"], network.predict(X), rtol=0, atol=1e-8)
    np.testing.assert_allclose(found.cochain.stalks()["z3"], network.logits(X), rtol=0, atol=1e-7)


def test_hard_pins_and_a_target():
    network, X, _ = problem(hidden=(5, 4), seed=2)
    y = network.logits(X) + 0.05 * np.random.default_rng(0).normal(size=(len(X), 2))
    values = 0.4 + 0.1 * np.arange(len(X))
    settled = diffuse(network, X, start="forward", target=y, pins=[Pin("a1", 2, 0.3), Pin("a2", 0, values)])

    def held(sample):
        output = {("z3", i): y[sample, i] for i in range(2)}
        return {("a1", 2): 0.3, ("a2", 0): values[sample]} | output

    assert_equilibrium(network, X, settled, held)


def test_soft_pins():
    network, X, _ = problem(hidden=(5, 4))
    springs = [(("z1", 1), 1.0, 3.0), (("a2", 3), 0.5, 0.7), (("z3", 0), -0.5, 4.0)]
    pins = [Pin(stalk, i, value, stiffness) for (stalk, i), value, stiffness in springs]
    assert_equilibrium(network, X, diffuse(network, X, start="forward", pins=pins), springs=springs)


def test_pinned_output_vertex_rests_where_its_force_vanishes():
    W, b, w = 0.8, 0.5, 1.5
    network = Network(
        (np.array([[W]]), np.array([[w]])), (np.array([b]), np.array([0.2])), output_named("sigmoid")
    )
    x, y = 1.0, 1.0
    for output_force, slope in (("loss", lambda p: 1.0), ("least_squares", lambda p: p * (1.0 - p))):
        found = diffuse(
            network,
            [[x]],
            start="forward",
            target=np.array([[y]]),
            output_force=output_force,
            tolerance=1e-12,
        )
        z1, a1, z2 = (found.cochain.stalks()[name].item() for name in ("z1", "a1", "z2"))
        p, h1, h2 = sigmoid(z2), W * x + b, w * a1 + 0.2
        assert z1 > 0
        residual = slope(p) * (p - y)
        assert h2 - z2 == pytest.approx(residual, abs=1e-10)
        assert z1 - a1 == pytest.approx(w * (h2 - z2), abs=1e-10)
        assert h1 - z1 == pytest.approx(z1 - a1, abs=1e-10)
        assert found.cochain.stalks()["y"].item() == y


def test_zero_is_active_while_it_flows():
    network, X, _ = problem(hidden=(4,))
    start = Cochain.random(network.widths, len(X), 0)
    start.z[1][:] = 0.0
    after = start.copy()
    next(Euler(0.01).steps(HeatEquation(network, X, after)))
    # At z = 0 an active neuron feels its activation edge: dz = h - R (relu(z) - a) with R = 1.
    expected = 0.01 * (X @ network.weights[0].T + network.biases[0] + start.a[1])
    np.testing.assert_allclose(after.z[1], expected, rtol=0, atol=1e-15)


def test_rate_and_convergence_are_per_sample():
    # Holding a = -3 where h = 1 holds z at its kink, z = 0: there a fixed step chatters for ever.
    network = Network((np.eye(1), np.eye(1)), (np.zeros(1), np.zeros(1)), output_named("identity"))
    found = diffuse(
        network,
        [[1.0], [-1.0]],
        start="forward",
        pins=[Pin("a1", 0, -3.0)],
        integrator=Euler(0.01),
        steps=5_000,
    )
    np.testing.assert_array_equal(found.converged, [False, True])
    assert found.steps == 5_000
    assert abs(found.cochain.z[1][0, 0]) < 0.05
    assert found.rate[0] > 0.5
    assert found.rate[1] <= 1e-10
    assert found.cochain.z[1][1, 0] == pytest.approx(-1.0)


def test_steps_and_alpha():
    network, X, _ = problem()
    start = Cochain.random(network.widths, len(X), 0)
    slow = diffuse(network, X, start=start, integrator=Euler(0.02), steps=73)
    fast = diffuse(network, X, start=start, integrator=Euler(0.01), alpha=2.0, steps=73)
    assert slow.steps == fast.steps == 73
    np.testing.assert_allclose(slow.cochain.data, fast.cochain.data, rtol=0, atol=1e-13)
    np.testing.assert_allclose(2.0 * slow.rate, fast.rate, rtol=1e-9)


def velocities(network, X, cochain, **options):
    """Return a function of all free coordinates: the change of one Euler step with dt = 1."""

    def velocity(v):
        state, start = cochain.copy(), 0
        for view in state.stalks().values():
            view[:] = v[start : start + view.size].reshape(view.shape)
            start += view.size
        before = {name: view.copy() for name, view in state.stalks().items()}
        next(Euler(1.0).steps(HeatEquation(network, X, state, **options)))
        return np.concatenate([(view - before[name]).ravel() for name, view in state.stalks().items()])

    return velocity


@pytest.mark.parametrize("output", ["identity", "sigmoid", "softmax"])
@pytest.mark.parametrize("force", ["loss", "least_squares"])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("hidden", "pins"), [((), []), ((3, 4), [Pin("a1", 0, 1.0, 5.0), Pin("z2", 3, -1.0, 2.0)])]
)
def test_largest_eigenvalue_is_a_bound(output, force, seed, hidden, pins):
    network, X, _ = problem(output, hidden, samples=1, seed=seed)
    cochain = Cochain.random(network.widths, 1, seed, output_vertex=network.has_output_vertex)
    options = {"pins": pins, "output_force": force, "alpha": 1.7}
    equation = HeatEquation(network, X, cochain, **options)
    v = np.concatenate([view.ravel() for view in cochain.stalks().values()])
    J = jacobian(velocities(network, X, cochain, **options), v)
    assert np.linalg.norm(J, 2) <= equation.largest_eigenvalue() * (1 + 1e-6)


def test_where_a_diffusion_starts():
    network, X, _ = problem("softmax")
    forward = Cochain.forward(network, X, output_vertex=True)
    found = diffuse(network, X, start="forward", steps=1, integrator=Euler(1e-12))
    np.testing.assert_allclose(found.cochain.data, forward.data, rtol=0, atol=1e-12)
    assert found.converged.all()
    drawn = Cochain.random(network.widths, len(X), 5, output_vertex=True)
    found = diffuse(network, X, seed=5, steps=1, integrator=Euler(1e-12))
    np.testing.assert_allclose(found.cochain.data, drawn.data, rtol=0, atol=1e-9)
    found = diffuse(network, X, start="zeros", steps=1, integrator=Euler(1e-12))
    assert max(np.abs(view).max() for view in found.cochain.stalks().values()) < 1e-9


@pytest.mark.parametrize(
    "start",
    [
        "relaxed",
        Cochain([2, 4, 3, 2], 6),
        Cochain([2, 4, 2], 7),
        Cochain([2, 4, 3, 2], 7, output_vertex=True),
    ],
)
def test_a_start_that_does_not_fit_is_refused(start):
    network, X, _ = problem()
    with pytest.raises(ValueError, match="start"):
        diffuse(network, X, start=start)
