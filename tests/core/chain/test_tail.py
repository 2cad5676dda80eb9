"""What follows a layer, against plain networks, central differences and the integral that softens a kink."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import jacobian, problem

from sheafcli.core.averaged import rectified, slope_of
from sheafcli.core.chain.network import Network
from sheafcli.core.chain.tail import MOST_CLASSES, Tail

OUTPUTS = ["identity", "sigmoid", "softmax"]
softness = st.floats(1e-3, 10.0)
points = st.lists(st.floats(-20.0, 20.0), min_size=1, max_size=5).map(np.array)


@given(z=points, eps=softness)
def test_a_softened_kink_is_its_mean_over_uncertain_stalks(z, eps):
    """The midpoint rule: it is exact where no kink is in a step, and where one is errs by a step squared."""
    steps = 2000
    u = eps * ((np.arange(steps) + 0.5) / steps * 2.0 - 1.0)
    expected = np.mean(np.maximum(z[:, None] + u, 0.0), axis=1)
    np.testing.assert_allclose(rectified(z, eps, slope_of(z, eps)), expected, rtol=1e-12, atol=eps / steps**2)


@given(z=points, eps=softness)
def test_beyond_its_softness_it_is_the_kink(z, eps):
    far = np.abs(z) >= eps
    np.testing.assert_allclose(
        rectified(z, eps, slope_of(z, eps))[far], np.maximum(z, 0.0)[far], rtol=1e-12, atol=1e-12 * eps
    )
    np.testing.assert_array_equal(slope_of(z, eps)[far], (z >= 0.0)[far])


def test_without_softness_zero_counts_as_active():
    z = np.array([-1.0, -0.0, 0.0, 1.0])
    assert slope_of(z, 0.0).tolist() == [0.0, 1.0, 1.0, 1.0]
    assert rectified(z, 0.0, slope_of(z, 0.0)).tolist() == [0.0, 0.0, 0.0, 1.0]


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("layer", [1, 2, 3])
@pytest.mark.parametrize("share", [0.0, 0.3])
def test_its_slopes_are_those_of_central_differences(output, layer, share):
    network, X, y = problem(output, (5, 4), samples=20)
    z = network.pre_activations(X)[layer - 1]
    tail = Tail.of(network, layer, y)
    np.testing.assert_allclose(tail.sweep(z).stalks[-1], network.logits(X), rtol=0, atol=1e-12)
    tail = tail.softened(share, z)
    sweep = tail.sweep(z)
    on_z, _ = tail.pulls(sweep)
    summed = jacobian(
        lambda v: np.atleast_1d(len(X) * tail.misfit.potential(tail.sweep(v.reshape(z.shape)).stalks[-1])),
        z.ravel(),
        1e-6,
    )
    np.testing.assert_allclose(on_z, summed.reshape(z.shape), rtol=0, atol=1e-6)
    rooted, _ = tail.sensitivities(sweep)
    for sample in range(len(X)):
        alone = Tail(network, layer, y[[sample]], tail.softness)
        G = jacobian(lambda v, alone=alone: alone.sweep(v[None]).stalks[-1][0], z[sample], 1e-6)
        J_phi = network.output.jacobian(sweep.stalks[-1])[sample]
        np.testing.assert_allclose(rooted[sample].T @ rooted[sample], G.T @ J_phi @ G, rtol=0, atol=1e-6)


@pytest.mark.parametrize("output", OUTPUTS)
def test_what_acts_on_a_neuron_acts_on_its_stalk_where_it_is_active(output):
    network, X, y = problem(output, (5, 4), samples=20)
    z = network.pre_activations(X)[0]
    tail = Tail.of(network, 1, y)
    for on_z, on_a in (tail.pulls(tail.sweep(z)), tail.sensitivities(tail.sweep(z))):
        active = np.expand_dims(z >= 0.0, tuple(range(1, on_z.ndim - 1)))
        np.testing.assert_array_equal(on_z, on_a * active)


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("share", [0.0, 0.3])
def test_the_sensitivity_to_a_coordinate_is_its_column(output, share):
    network, X, y = problem(output, (5, 4), samples=20)
    z = network.pre_activations(X)[0]
    tail = Tail.of(network, 1, y).softened(share, z)
    sweep = tail.sweep(z)
    on_z, _ = tail.sensitivities(sweep)
    for j in range(z.shape[1]):
        alone = tail.sensitivity(sweep, j)
        # A root is unique up to a rotation: what counts is its Gram matrix.
        np.testing.assert_allclose(
            np.sum(alone * alone, axis=1), np.sum(on_z[:, :, j] ** 2, axis=1), rtol=1e-9, atol=1e-15
        )


@pytest.mark.parametrize(("output", "missed"), [("identity", 1e-12), ("softmax", 1e-3)])
def test_of_many_outputs_few_rows_say_what_all_say(output, missed):
    """Where 16 of 40 classes have all but the whole chance, J_phi is theirs but for what the others have."""
    rng = np.random.default_rng(0)
    network = Network.he((4, 6, 40), output, rng)
    biases = (network.biases[0], np.where(np.arange(40) < 12, 6.0, -6.0))
    network = Network(network.weights, biases, network.output)
    X = rng.standard_normal((10, 4))
    z = network.pre_activations(X)[0]
    tail = Tail.of(network, 1, network.predict(X))
    sweep = tail.sweep(z)
    on_z, _ = tail.sensitivities(sweep)
    assert on_z.shape[1] <= MOST_CLASSES
    J_phi = network.output.jacobian(sweep.stalks[-1])
    G = network.weights[1] * (z >= 0.0)[:, None, :]
    whole = np.swapaxes(G, 1, 2) @ J_phi @ G
    assert np.abs(np.swapaxes(on_z, 1, 2) @ on_z - whole).max() <= missed * np.abs(whole).max()
