"""The closed form of the pinned equilibrium: against the inverse Laplacian, Newton, the gradient."""

import numpy as np
import pytest
from closed_form import effective_resistance, equilibrium, resistances
from oracles import golden, golden_network, problem

from sheafcli.core.chain.cochain import Cochain
from sheafcli.core.chain.diffusion import HeatEquation
from sheafcli.core.chain.extension import extend
from sheafcli.core.chain.network import Network
from sheafcli.core.chain.sheaf import NeuralSheaf, pattern_of
from sheafcli.core.chain.training.backprop import gradient
from sheafcli.core.edge import edges

HIDDEN = [(), (5,), (5, 4), (4, 4, 3)]
OUTPUTS = ["identity", "sigmoid", "softmax"]


@pytest.mark.parametrize("hidden", HIDDEN)
def test_the_resistance_is_the_output_block_of_the_inverse_laplacian(hidden):
    network, X, _ = problem(hidden=hidden)
    R = [pattern_of(z) for z in network.pre_activations(X)[:-1]]
    S = effective_resistance(network, R, len(X))
    sheaf, outputs = NeuralSheaf(network), network.widths[-1]
    for x, found in zip(X, S, strict=True):
        inverse = np.linalg.inv(sheaf.laplacian(sheaf.pattern(x)).toarray())
        np.testing.assert_allclose(found, inverse[-outputs:, -outputs:], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("stiffness", [None, 0.01, 1.0, 20.0])
def test_it_is_what_newton_finds_where_the_pattern_is_kept(output, hidden, stiffness):
    network, X, y = problem(output, hidden, samples=20)
    closed = equilibrium(network, X, y, stiffness)
    start = Cochain.forward(network, X)
    settled = extend(network, X, target=y, stiffness=stiffness, start=start, tolerance=1e-12)
    same = closed.keeps_pattern
    for layer, states in enumerate(settled.states, start=1):
        same = same & (states == pattern_of(network.pre_activations(X)[layer - 1])).all(axis=1)
    assert same.any()
    for layer, z in enumerate(closed.z, start=1):
        np.testing.assert_allclose(z[same], settled.cochain.z[layer][same], rtol=0, atol=1e-9)
    for layer, a in enumerate(closed.a, start=1):
        np.testing.assert_allclose(a[same], settled.cochain.a[layer][same], rtol=0, atol=1e-9)


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("hidden", HIDDEN)
def test_the_heat_equation_rests_there(output, hidden):
    network, X, y = problem(output, hidden, samples=20)
    closed = equilibrium(network, X, y)
    cochain = Cochain(network.widths, len(X), output_vertex=network.has_output_vertex)
    for layer, z in enumerate(closed.z, start=1):
        cochain.z[layer][:] = z
        if layer <= network.depth:
            cochain.a[layer][:] = closed.a[layer - 1]
    if cochain.y is not None:
        cochain.y[:] = y
    rate = HeatEquation(network, X, cochain, target=y).rate()
    assert closed.keeps_pattern.any()
    assert np.max(np.abs(rate[closed.keeps_pattern])) < 1e-12


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("hidden", HIDDEN)
def test_a_soft_edge_pulls_as_the_loss_and_its_edges_follow_back_propagation(output, hidden):
    """As gamma goes to 0, r_l a_{l-1}^T / gamma tends to the gradient, the error in proportion to gamma."""
    network, X, y = problem(output, hidden, samples=20)
    exact = gradient(network, X, y)
    scale = 1.0 / len(X) if network.output.classifies else 2.0 / y.size
    errors = []
    for gamma in (1e-4, 1e-6):
        found = equilibrium(network, X, y, gamma)
        inputs = [X, *found.a]
        worst = 0.0
        for layer, (dW, _) in enumerate(exact):
            W, b = network.weights[layer], network.biases[layer]
            r = inputs[layer] @ W.T + b - found.z[layer]
            worst = max(worst, np.max(np.abs(scale / gamma * r.T @ inputs[layer] - dW)) / np.max(np.abs(dW)))
        errors.append(worst)
    assert errors[1] < 1e-3
    assert errors[1] < 0.02 * errors[0]


def test_a_neuron_that_must_leave_its_pattern_is_told():
    """The golden circular network has one sample with a neuron at its kink."""
    arrays = golden("pinned_circular_sgd")
    network = golden_network(arrays)
    found = equilibrium(network, arrays["X"], arrays["Y"])
    settled = extend(network, arrays["X"], target=arrays["Y"])
    kinks = (settled.states[0] == 2).any(axis=1)
    assert kinks.sum() == 1
    assert not found.keeps_pattern[kinks].any()


def test_far_targets_of_a_stiff_edge_are_found_without_oscillation():
    """Undamped Newton steps oscillate once the resistance is large; ours end for every sample."""
    drawn, X, y = problem("sigmoid", (6, 5), samples=30)
    network = Network(tuple(6.0 * W for W in drawn.weights), drawn.biases, drawn.output)
    found = equilibrium(network, X, y, 50.0)
    assert found.resistance.max() > 1e3
    z = found.z[-1]
    slope = found.multipliers + 50.0 * (network.output.value(z) - y)
    assert np.max(np.abs(slope)) < 1e-6


@pytest.mark.parametrize("hidden", HIDDEN)
def test_the_resistance_of_an_edge_is_what_halving_its_stiffness_adds(hidden):
    """Resistances add in series: at half the stiffness an edge counts twice, by the Laplacian's inverse."""
    network, X, _ = problem(hidden=hidden, samples=4)
    R = [pattern_of(z) for z in network.pre_activations(X)[:-1]]
    S, outputs = effective_resistance(network, R, len(X)), network.widths[-1]
    parts = dict(resistances(network, R, len(X)))
    path = edges(network.depth, output=False)
    assert list(parts) == path[::-1]
    sheaf, size = NeuralSheaf(network), [network.widths[edge.layer] for edge in path]
    for sample, x in enumerate(X):
        delta = sheaf.coboundary(sheaf.pattern(x), "free").toarray()
        for place, edge in enumerate(path):
            stiffness = np.repeat([0.5 if other == place else 1.0 for other in range(len(path))], size)
            inverse = np.linalg.inv(delta.T @ (stiffness[:, None] * delta))[-outputs:, -outputs:]
            part = np.broadcast_to(parts[edge], S.shape)[sample]
            np.testing.assert_allclose(part, inverse - S[sample], rtol=0, atol=1e-10 * np.max(S[sample]))


@pytest.mark.parametrize("hidden", HIDDEN)
def test_the_resistances_of_the_edges_are_all_of_it(hidden):
    network, X, _ = problem(hidden=hidden)
    R = [pattern_of(z) for z in network.pre_activations(X)[:-1]]
    total = sum(part for _, part in resistances(network, R, len(X)))
    S = effective_resistance(network, R, len(X))
    np.testing.assert_allclose(np.broadcast_to(total, S.shape), S, rtol=1e-14)
