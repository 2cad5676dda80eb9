"""The pinned equilibrium against its closed form by effective resistance."""

import numpy as np
import pytest
from hypothesis import given, settings
from oracles import Plain, golden, golden_network, problem
from strategies import extreme_networks, seeds

from sheafcli.core.chain.cochain import Cochain
from sheafcli.core.chain.extension import extend
from sheafcli.core.chain.network import Network
from sheafcli.core.diffusion import diffuse
from sheafcli.core.discord import residuals
from sheafcli.core.edge import activation_edge, affine_edge
from sheafcli.core.outputs import output_named
from sheafcli.core.pins import Pin


@pytest.mark.parametrize("hidden", [(), (5,), (5, 4), (4, 4, 3)])
@pytest.mark.parametrize("stiffness", [None, 0.1, 3.0])
@pytest.mark.parametrize("seed", range(3))
def test_closed_form_of_the_pinned_equilibrium(hidden, stiffness, seed):
    network, X, _ = problem(hidden=hidden, seed=seed)
    stalks = network.pre_activations(X)
    # Targets so near the prediction that no neuron leaves the pattern of the forward pass.
    nearest = min((np.min(np.abs(z)) for z in stalks[:-1]), default=1.0)
    error = 0.02 * nearest * np.random.default_rng(seed).normal(size=stalks[-1].shape)
    settled = extend(network, X, target=stalks[-1] + error, stiffness=stiffness, tolerance=1e-13)
    found = residuals(network, X, settled.cochain)
    for sample in range(len(X)):
        R = [(z[sample] >= 0).astype(float) for z in stalks[:-1]]
        J, D = [], []
        chain = np.eye(network.widths[-1])
        for layer in range(network.depth, 0, -1):
            chain = chain @ network.weights[layer]
            J.insert(0, chain)
            D.insert(0, 1.0 + R[layer - 1])
            chain = chain * R[layer - 1]
        resistance = np.eye(network.widths[-1]) + sum(
            J_l * D_l @ J_l.T for J_l, D_l in zip(J, D, strict=True)
        )
        # A spring at the output adds its own resistance, 1 / gamma.
        spring = np.zeros_like(resistance) if stiffness is None else np.eye(len(resistance)) / stiffness
        multiplier = np.linalg.solve(resistance + spring, error[sample])
        size = 1e-7 * np.linalg.norm(multiplier)
        assert settled.energy[sample] == pytest.approx(0.5 * error[sample] @ multiplier, rel=1e-6)
        last = found[affine_edge(network.depth + 1)][sample]
        np.testing.assert_allclose(np.abs(last), np.abs(multiplier), rtol=0, atol=size)
        for layer in range(1, network.depth + 1):
            u = J[layer - 1].T @ multiplier
            s, r = found[activation_edge(layer)][sample], found[affine_edge(layer)][sample]
            np.testing.assert_allclose(np.abs(s), np.abs(u), rtol=0, atol=10 * size)
            np.testing.assert_allclose(np.abs(r), np.abs(R[layer - 1] * u), rtol=0, atol=10 * size)


@pytest.mark.parametrize("output", ["identity", "sigmoid", "softmax"])
def test_nothing_pinned_but_the_input_is_the_forward_pass(output):
    network, X, _ = problem(output)
    settled = extend(network, X)
    assert settled.converged.all()
    np.testing.assert_allclose(settled.energy, 0.0, atol=1e-25)
    assert (settled.cochain.y is not None) == network.has_output_vertex
    for layer, z in enumerate(network.pre_activations(X), start=1):
        np.testing.assert_allclose(settled.cochain.z[layer], z, rtol=0, atol=1e-13)


def test_an_unfinished_extension_says_so():
    network, X, y = problem()
    settled = extend(network, X, target=y, start=Cochain.forward(network, X), max_iterations=0)
    assert not settled.converged.any()
    assert (settled.certificate > 1e-3).all()
    assert (settled.iterations == 0).all()


@pytest.mark.parametrize("output", ["identity", "sigmoid", "softmax"])
@pytest.mark.parametrize("force", ["loss", "least_squares"])
@pytest.mark.parametrize("seed", range(3))
def test_the_flow_from_the_extension_rests(output, force, seed):
    # Away from kinks the heat equation does not move an equilibrium. Held at a kink it chatters about it.
    network, X, y = problem(output, (5, 4), seed=seed)
    pins = [Pin("a1", 0, 0.3), Pin("z2", 1, 0.2, 2.0)]
    settled = extend(network, X, target=y, pins=pins, output_force=force)
    assert settled.converged.all()
    off_kinks = ~np.any(np.hstack(settled.states) == 2, axis=1)
    assert off_kinks.any()
    flow = diffuse(
        network, X, start=settled.cochain, target=y, pins=pins, output_force=force, tolerance=1e-8, steps=50
    )
    assert flow.converged[off_kinks].all()
    drift = np.abs(flow.cochain.data - settled.cochain.data)[off_kinks]
    assert drift.max() < 1e-8


@pytest.mark.parametrize("output", ["identity", "sigmoid", "softmax"])
def test_the_flow_from_the_forward_pass_ends_at_the_extension(output):
    network, X, y = problem(output, (5, 4), seed=1)
    y = network.predict(X) + 0.3 * (y - network.predict(X))
    settled = extend(network, X, target=y)
    flow = diffuse(network, X, start="forward", target=y, steps=20_000)
    assert settled.converged.all()
    assert flow.converged.sum() >= len(X) // 2
    found, expected = settled.cochain.data[flow.converged], flow.cochain.data[flow.converged]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7)


def pinned_energy(network, x, v, springs):
    """Return half the squared residuals and springs of one sample whose free coordinates are v."""
    start, stalks = 0, {}
    for name, view in Cochain(network.widths, 1).stalks().items():
        stalks[name] = v[None, start : start + view.shape[1]]
        start += view.shape[1]
    r, s = Plain.of(network, stalks).residuals(x[None])
    spring = sum(pin.stiffness * (stalks[pin.stalk][0, pin.coordinate] - pin.value) ** 2 for pin in springs)
    return 0.5 * (sum(np.sum(part**2) for part in [*r, *s]) + spring)


@pytest.mark.parametrize("hidden", [(6,), (5, 4)])
@pytest.mark.parametrize("seed", range(4))
def test_no_small_move_lowers_the_energy(hidden, seed):
    network, X, y = problem(hidden=hidden, samples=30, seed=seed)
    hard, soft = Pin("a1", 1, -0.4), [Pin("z1", 0, 0.5, 2.0), Pin("a1", 3, -1.0, 0.7)]
    settled = extend(network, X, target=y, pins=[hard, *soft])
    assert settled.converged.all()
    stalks = settled.cochain.stalks()
    free = np.concatenate([np.ones(view.shape[1], dtype=bool) for view in stalks.values()])
    free[-2:] = False
    free[network.widths[1] + hard.coordinate] = False
    rng = np.random.default_rng(seed)
    for sample, x in enumerate(X):
        v = np.concatenate([view[sample] for view in stalks.values()])
        energy = pinned_energy(network, x, v, soft)
        assert energy == pytest.approx(settled.energy[sample], rel=1e-10)
        for size in (1e-5, 1e-3):
            for _ in range(20):
                moved = v + size * free * rng.normal(size=len(v))
                assert pinned_energy(network, x, moved, soft) >= energy - 1e-12
    # The kinks are what makes this more than a linear solve.
    assert any((states == 2).any() for states in settled.states)


def test_a_neuron_held_at_its_kink():
    # Pinned to a = -3 with h = 1: active would mean z = (h + a) / 2 = -1, inactive z = h = 1, so z = 0.
    network = Network((np.eye(1), np.eye(1)), (np.zeros(1), np.zeros(1)), output_named("identity"))
    settled = extend(network, [[1.0]], pins=[Pin("a1", 0, -3.0)])
    assert settled.converged.all()
    assert settled.states[0].item() == 2
    assert settled.cochain.z[1].item() == pytest.approx(0.0, abs=1e-12)
    assert settled.energy.item() == pytest.approx(0.5 * (1.0**2 + 3.0**2))


def test_kinks_of_a_trained_network():
    # Euler's last state has mean energy 0.034636285; the minimum, with one neuron at its kink, is lower.
    arrays = golden("pinned_circular_sgd")
    settled = extend(golden_network(arrays), arrays["X"], target=arrays["Y"])
    assert settled.converged.all()
    assert np.mean(settled.energy) == pytest.approx(0.034636204, abs=1e-9)
    assert sum(np.count_nonzero(states == 2) for states in settled.states) == 1


def test_a_pinned_neuron_moves_the_layers_on_both_sides():
    network, X, _ = problem(hidden=(5, 4), seed=2)
    z1 = network.pre_activations(X)[0]
    settled = extend(network, X, pins=[Pin("a1", 2, 1.0)])
    assert settled.converged.all()
    # Before it, an active neuron meets the pin halfway and the others keep their forward pass.
    active = z1[:, 2] > 0
    assert active.any()
    expected = z1.copy()
    expected[active, 2] = 0.5 * (z1[active, 2] + 1.0)
    np.testing.assert_allclose(settled.cochain.z[1], expected, rtol=0, atol=1e-8)
    # After it, all is the forward pass of what the pin says.
    a1 = np.where(z1 > 0, z1, 0.0)
    a1[:, 2] = 1.0
    z2 = a1 @ network.weights[1].T + network.biases[1]
    z3 = np.where(z2 > 0, z2, 0.0) @ network.weights[2].T + network.biases[2]
    np.testing.assert_allclose(settled.cochain.z[2], z2, rtol=0, atol=1e-8)
    np.testing.assert_allclose(settled.cochain.z[3], z3, rtol=0, atol=1e-8)


@pytest.mark.parametrize("solve", [extend, diffuse])
@pytest.mark.parametrize(
    ("X", "target", "message"),
    [
        (np.zeros((3, 5)), None, "X must be samples x 2"),
        (np.zeros((0, 2)), None, "at least one"),
        (np.full((3, 2), np.nan), None, r"X\[0, 0\] is nan; every value must be finite"),
        (np.zeros((3, 2)), np.zeros((1, 1)), r"the target must have shape \(3, 1\), got \(1, 1\)"),
        (np.zeros((3, 2)), np.full(3, np.inf), r"y\[0, 0\] is inf; every value must be finite"),
    ],
)
def test_inputs_and_targets_that_do_not_fit_are_refused(solve, X, target, message):
    with pytest.raises(ValueError, match=message):
        solve(Network.he([2, 4, 1]), X, target=target)


def test_a_flat_target_of_one_output_is_a_column():
    network, X = Network.he([2, 4, 1], seed=3), np.random.default_rng(0).normal(size=(3, 2))
    flat = extend(network, X, target=np.arange(3.0))
    np.testing.assert_array_equal(flat.energy, extend(network, X, target=np.arange(3.0)[:, None]).energy)


@given(network=extreme_networks(), seed=seeds)
@settings(max_examples=40)
def test_a_pinned_equilibrium_has_its_certificate_on_deep_dead_and_zero_layers(network, seed):
    """The target is a little away from the output, and weights stay small so that digits are left."""
    weights = tuple(W / max(1.0, np.linalg.norm(W, 2) / 3.0) for W in network.weights)
    biases = tuple(np.clip(b, -10.0, 10.0) for b in network.biases)
    network = Network(weights, biases, network.output)
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(3, network.widths[0]))
    f = network.logits(X)
    y = f + rng.normal(size=f.shape)
    settled = extend(network, X, target=y)
    assert settled.converged.all()
    start = Cochain.forward(network, X)
    start.z[network.depth + 1][:] = y
    assert (settled.energy <= energy(network, X, start) + 1e-9).all()


def energy(network, X, cochain):
    return 0.5 * sum(np.sum(r * r, axis=1) for r in residuals(network, X, cochain).values())


@pytest.mark.parametrize("solve", [extend, diffuse])
def test_a_target_and_a_pin_on_the_same_output_are_refused(solve):
    network, X, y = problem("identity", (4,))
    with pytest.raises(ValueError, match=r"z2\[0\] is pinned twice: the target holds all of z2"):
        solve(network, X, target=y, pins=[Pin("z2", 0, 1.0)])


def test_what_the_solver_cannot_hold_is_refused():
    network, X, y = problem("sigmoid", (4,))
    with pytest.raises(ValueError, match="no free stalk 'y'; there are z1, a1, z2"):
        extend(network, X, pins=[Pin("y", 0, 1.0)])
    for stiffness in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(ValueError, match="stiffness needs a target, and to be above 0 and finite"):
            extend(network, X, target=y, stiffness=stiffness)
    with pytest.raises(ValueError, match="stiffness needs a target"):
        extend(network, X, stiffness=1.0)


def test_a_pin_on_z_of_a_soft_output_holds():
    network, X, y = problem("sigmoid", (4,))
    settled = extend(network, X, target=y, pins=[Pin("z2", 0, 0.25)])
    assert (settled.cochain.z[2] == 0.25).all()
    assert settled.converged.all()
