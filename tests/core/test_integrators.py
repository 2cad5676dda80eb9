"""The integrators against matrix exponentials, the literal Euler scheme, finite differences and `extend`."""

from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from oracles import jacobian as differences
from oracles import problem
from scipy.linalg import expm
from strategies import networks, seeds, widths

from sheafcli.core.chain.cochain import Cochain
from sheafcli.core.chain.diffusion import HeatEquation
from sheafcli.core.chain.extension import extend
from sheafcli.core.chain.network import Network
from sheafcli.core.diffusion import diffuse
from sheafcli.core.integrators import STABLE, Chebyshev, Euler, Stiff, _chebyshev_step
from sheafcli.core.outputs import output_named
from sheafcli.core.pins import Pin

STIFF = [Chebyshev(), Stiff("BDF"), Stiff("Radau")]


def packed(cochain):
    """Return a single sample's stalks in path order."""
    return np.concatenate([stalk[0] for stalk in cochain.stalks().values()])


def unpack(cochain, v):
    """Write a single sample's stalks in path order."""
    ends = np.cumsum([stalk.shape[1] for stalk in cochain.stalks().values()])
    for stalk, part in zip(cochain.stalks().values(), np.split(v, ends[:-1]), strict=True):
        stalk[0] = part


def near_the_forward_pass(alpha=1.0):
    """Return an equation whose pattern cannot change, its start less the equilibrium, and its matrix."""
    network, X, _ = problem(hidden=(5, 4), samples=1)
    forward = Cochain.forward(network, X)
    margin = min(np.abs(forward.z[layer]).min() for layer in forward.a)
    d = np.random.default_rng(0).normal(size=packed(forward).size)
    d *= 0.5 * margin / np.linalg.norm(d)  # the 2-norm of the distance never grows
    start = forward.copy()
    unpack(start, packed(forward) + d)
    equation = HeatEquation(network, X, start, alpha=alpha)
    return equation, packed(forward), d, equation.jacobian().toarray()


FREE = (-np.inf, np.inf)


def chebyshev_step(equation, h, stages):
    """Take one step of RKC, of that size and number of stages."""
    force = equation.sliding_rate().copy(order="F")
    _chebyshev_step(equation, h, equation.cochain.data.copy(order="F"), force, FREE, stages)


@pytest.mark.parametrize("stages", [2, 3, 7, 40])
def test_a_chebyshev_step_is_of_second_order(stages):
    errors = []
    for h in (0.04, 0.02):
        equation, rest, d, J = near_the_forward_pass()
        chebyshev_step(equation, h, stages)
        errors.append(np.linalg.norm(packed(equation.cochain) - rest - expm(h * J) @ d))
    # The local error of a method of order 2 falls by 2^3.
    assert 7.0 < errors[0] / errors[1] < 9.0


@pytest.mark.parametrize("stages", [2, 3, 7, 40, 200])
def test_a_chebyshev_step_is_stable_as_far_as_it_says(stages):
    equation, rest, d, J = near_the_forward_pass()
    h = STABLE * (stages**2 - 1) / np.linalg.norm(J, 2)
    for _ in range(100):
        chebyshev_step(equation, h, stages)
    assert np.linalg.norm(packed(equation.cochain) - rest) < 0.05 * np.linalg.norm(d)


def test_chebyshev_takes_its_longest_step_and_stays_stable():
    equation, rest, d, _ = near_the_forward_pass()
    longest = STABLE * 3.0 / equation.largest_eigenvalue()
    distances, taken = [np.linalg.norm(d)], []
    for dt in islice(Chebyshev(max_stages=2).steps(equation), 60):
        distances.append(np.linalg.norm(packed(equation.cochain) - rest))
        taken.append(dt)
    assert max(taken) == pytest.approx(longest)
    assert np.all(np.diff(distances) < 0.0)


@pytest.mark.parametrize("alpha", [1.0, 2.5])
@pytest.mark.parametrize("integrator", [Chebyshev(1e-8), *STIFF[1:]], ids=repr)
def test_the_flow_on_a_fixed_pattern_is_a_matrix_exponential(integrator, alpha):
    equation, rest, d, J = near_the_forward_pass(alpha)
    time = 0.0
    for dt in islice(integrator.steps(equation), 30):
        time += dt
        exact = expm(time * J) @ d
        np.testing.assert_allclose(
            packed(equation.cochain) - rest, exact, rtol=0, atol=3e-4 * np.linalg.norm(d)
        )
    assert time > 0.3 / alpha


def test_euler_is_the_literal_scheme():
    network, X, y = problem("sigmoid")
    start = Cochain.random(network.widths, len(X), 3, output_vertex=True)
    equation = HeatEquation(network, X, start.copy(), target=y, alpha=1.5)
    rate, expected = HeatEquation(network, X, start, target=y, alpha=1.5), start.data
    for dt in islice(Euler(0.02).steps(equation), 20):
        assert dt == 0.02
        force = rate.rate().copy()
        expected += 1.5 * 0.02 * force
        start.y[:] = y
        np.testing.assert_allclose(equation.cochain.data, expected, rtol=0, atol=1e-14)


def test_a_neuron_at_zero_slides_only_where_both_sides_push_back():
    """One hidden neuron with z = 0: forces h + a on its active side, h on the other."""
    network = Network((np.eye(1), np.zeros((1, 1))), (np.zeros(1), np.zeros(1)), output_named("identity"))
    h = np.array([1.0, 1.0, -1.0, -1.0])
    a = np.array([-2.0, 0.5, 0.5, 2.0])
    cochain = Cochain(network.widths, 4)
    cochain.a[1][:, 0] = a
    equation = HeatEquation(network, h[:, None], cochain)
    literal = equation.rate()[:, 0].copy()
    np.testing.assert_array_equal(literal, h + a)
    np.testing.assert_array_equal(equation.sliding_rate()[:, 0], [0.0, 1.5, -1.0, 1.0])


@pytest.mark.parametrize("output", ["identity", "sigmoid", "softmax"])
@pytest.mark.parametrize("force", ["loss", "least_squares"])
@pytest.mark.parametrize("pinned", [False, True])
@pytest.mark.parametrize("target", [False, True])
def test_jacobian_is_that_of_the_force(output, force, pinned, target):
    network, X, y = problem(output)
    h = X @ network.weights[0].T + network.biases[0]
    sample, slides = np.unravel_index(np.argmax(h), h.shape)
    X, y, h = X[[sample]], y[[sample]], h[sample, slides]
    cochain = Cochain.random(network.widths, 1, 5, output_vertex=network.has_output_vertex)
    if cochain.y is not None and not target:
        # Gauss-Newton leaves out what the residual of the output edge multiplies.
        cochain.y[:] = network.output.value(cochain.z[3])
    elif force == "least_squares" and target:
        y = network.output.value(cochain.z[3])
    pins = [Pin("a1", 1, 0.4), Pin("z2", 0, -0.3), Pin("z1", 2, 0.1, 3.0), Pin("z3", 0, 1.0, 0.5)]
    equation = HeatEquation(
        network,
        X,
        cochain,
        target=y if target else None,
        pins=pins if pinned else [],
        output_force=force,
        alpha=1.7,
    )
    equation.pin()
    assert h > 0
    cochain.z[1][0, slides], cochain.a[1][0, slides] = 0.0, -1.0 - h
    v, rates = packed(cochain), Cochain(network.widths, 1, output_vertex=network.has_output_vertex)

    def velocity(v):
        unpack(cochain, v)
        np.copyto(rates.data, 1.7 * equation.sliding_rate())
        return packed(rates)

    found = equation.jacobian().toarray()
    expected = differences(velocity, v, step=1e-6)
    # The rate is discontinuous in the z that is 0.
    others = np.arange(len(v)) != slides
    np.testing.assert_allclose(found[:, others], expected[:, others], rtol=0, atol=1e-7)
    assert not found[slides].any()


@given(networks(widths=widths.map(lambda n: n[:5])), seeds)
@settings(max_examples=15)
def test_from_random_stalks_to_the_forward_pass(network, seed):
    x = np.random.default_rng(seed).normal(size=(1, network.widths[0]))
    forward = Cochain.forward(network, x)
    smallest = -np.linalg.eigvalsh(HeatEquation(network, x, forward.copy()).jacobian().toarray())[-1]
    found = diffuse(network, x, seed=seed, integrator=Chebyshev(), tolerance=1e-9 * smallest, steps=20_000)
    if smallest > 1e-6:
        assert found.converged.all()
        np.testing.assert_allclose(found.cochain.data, forward.data, rtol=0, atol=1e-6)


@pytest.mark.parametrize("hidden", [(30,), (8, 6, 4)])
@pytest.mark.parametrize("integrator", STIFF, ids=repr)
def test_every_stiff_integrator_arrives_across_crossings(integrator, hidden):
    network = Network.he([2, *hidden, 1], "identity", 0)
    X = np.random.default_rng(0).normal(size=(1, 2))
    start = Cochain.random(network.widths, 1, 1)
    forward = Cochain.forward(network, X)
    assert np.sum((start.z_hidden >= 0) != (forward.z_hidden >= 0)) > 5
    found = diffuse(network, X, start=start, integrator=integrator, tolerance=1e-8, steps=5_000)
    assert found.converged.all()
    np.testing.assert_allclose(found.cochain.data, forward.data, rtol=0, atol=1e-5)


@pytest.mark.parametrize("start", ["forward", "random"])
@pytest.mark.parametrize("integrator", STIFF, ids=repr)
def test_pinned_flows_end_at_the_extension_and_hold_its_kinks(integrator, start):
    kinks = 0
    for seed in (0, 6, 14, 18):
        output = ["identity", "softmax"][seed % 4 == 2]
        network = Network.he([2, 5, 4, 2], output, seed)
        X = np.random.default_rng(seed).normal(size=(1, 2))
        y = network.predict(X) - 2.0 if output == "identity" else np.eye(2)[:1]
        pins = [Pin("z1", 1, 0.3), Pin("a2", 0, -1.0, 2.0)]
        found = diffuse(
            network, X, start=start, seed=seed, target=y, pins=pins, integrator=integrator, tolerance=1e-8
        )
        settled = extend(network, X, start=found.cochain, target=y, pins=pins)
        assert found.converged.all()
        assert settled.converged.all()
        np.testing.assert_allclose(found.cochain.data, settled.cochain.data, rtol=0, atol=1e-6)
        for layer, states in enumerate(settled.states, start=1):
            held = found.cochain.z[layer] == 0.0
            np.testing.assert_array_equal(held, states == 2)
            kinks += int(held.sum())
    assert kinks > 0


def test_chebyshev_saves_most_evaluations_in_a_deep_network():
    network = Network.he([2] + [32] * 10 + [1], "identity", 0)
    X = np.random.default_rng(0).normal(size=(1, 2))
    forward = Cochain.forward(network, X)
    equation = HeatEquation(network, X, Cochain.random(network.widths, 1, 1))
    time = 0.0
    for dt in Chebyshev().steps(equation):
        time += dt
        if np.max(np.abs(equation.cochain.data - forward.data)) < 1e-6:
            break
    # Euler's distance decays as the flow's: it must go as far in time, at best at its stability limit.
    largest = -np.linalg.eigvalsh(HeatEquation(network, X, forward).jacobian().toarray())[0]
    assert time * largest / 2.0 > 5.0 * equation.evaluations


def test_ones_stay_exactly_one():
    """The homogeneous coordinates have no restoring force: rounding must not move them."""
    network = Network.he([2] + [8] * 10 + [1], "identity", 0)
    cochain = Cochain.random(network.widths, 3, 1)
    X = np.random.default_rng(0).normal(size=(3, 2))
    for _ in islice(Chebyshev().steps(HeatEquation(network, X, cochain)), 200):
        pass
    for block in cochain.blocks:
        assert (cochain.z_hidden[:, block][:, -1] == 1.0).all()
        assert (cochain.a_hidden[:, block][:, -1] == 1.0).all()


@pytest.mark.parametrize("options", [{"tolerance": 0.0}, {"tolerance": np.nan}, {"max_stages": 1}])
def test_options_that_make_no_sense(options):
    with pytest.raises(ValueError, match=r"tolerance must be above 0|at least 2 stages"):
        Chebyshev(**options)


def test_implicit_takes_a_single_sample():
    network, X, _ = problem()
    equation = HeatEquation(network, X, Cochain.random(network.widths, len(X)))
    with pytest.raises(ValueError, match="single sample, got 7"):
        next(Stiff().steps(equation))
