"""Packed parameters and batches, against the network they are made of."""

import numpy as np
import pytest
from hypothesis import given, settings
from oracles import problem
from strategies import networks, seeds

from sheafcli.core.chain.sheaf import pattern_of
from sheafcli.core.chain.training.layers import Batch, Parameters, pull_back


@given(networks())
@settings(max_examples=30)
def test_parameters_hold_the_network_in_one_array(network):
    parameters = Parameters(network, np.float64)
    assert parameters.flat.size == sum(W.size + len(W) for W in network.weights)
    assert parameters.gradient.shape == parameters.flat.shape
    held = parameters.network()
    assert held.output is network.output
    for W, b, W_held, b_held in zip(network.weights, network.biases, held.weights, held.biases, strict=True):
        np.testing.assert_array_equal(W, W_held)
        np.testing.assert_array_equal(b, b_held)


def test_layers_are_views_of_the_packed_arrays():
    network, _, _ = problem()
    parameters = Parameters(network, np.float32)
    assert parameters.flat.dtype == parameters.gradient.dtype == np.float32
    for views, packed in ((parameters.H, parameters.flat), (parameters.G, parameters.gradient)):
        packed[:] = np.arange(packed.size)
        np.testing.assert_array_equal(np.concatenate([view.ravel() for view in views]), packed)
    parameters.flat[:] = 0.0
    assert all((W == 0.0).all() for W in parameters.W)
    assert [W.shape for W in parameters.W] == [W.shape for W in network.weights]
    # What was a network before stays as it was.
    before = parameters.network()
    parameters.flat[:] = 1.0
    assert (before.weights[0] == 0.0).all()


@given(networks(), seeds)
@settings(max_examples=30)
def test_a_batch_goes_forward_as_the_network_does(network, seed):
    X = np.random.default_rng(seed).normal(size=(6, network.widths[0]))
    y = np.zeros((6, network.widths[-1]))
    parameters, batch = Parameters(network, np.float64), Batch(network.widths, 6, np.float64)
    batch.load(X, y)
    # Twice: what an earlier pass has left behind must not show.
    batch.forward([2.0 * H for H in parameters.H])
    f = batch.forward(parameters.H)
    *hidden, expected = network.pre_activations(X)
    scale = 1e-12 * max(1.0, *(np.max(np.abs(z)) for z in (*hidden, expected)))
    np.testing.assert_allclose(f.T, expected, rtol=0, atol=scale)
    for layer, z in enumerate(hidden):
        np.testing.assert_allclose(batch.a[layer + 1][:-1].T, np.maximum(z, 0.0), rtol=0, atol=scale)
        clear = np.abs(z) > scale
        np.testing.assert_array_equal(batch.R[layer].T[clear], pattern_of(z)[clear])
    for a in batch.a:
        np.testing.assert_array_equal(a[-1], 1.0)
    np.testing.assert_array_equal(batch.y.T, y)


def test_a_batch_takes_new_samples_in_place_of_the_old():
    network, X, y = problem(samples=8)
    batch = Batch(network.widths, 4, np.float64)
    for rows in (slice(0, 4), slice(4, 8)):
        batch.load(X[rows], y[rows])
        np.testing.assert_array_equal(batch.a[0][:-1].T, X[rows])
        np.testing.assert_array_equal(batch.y.T, y[rows])


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_pulling_back_is_the_transposed_product(rows):
    rng = np.random.default_rng(0)
    W, v = rng.normal(size=(rows, 3)), rng.normal(size=(rows, 7))
    np.testing.assert_allclose(pull_back(W, v), np.einsum("ij,in->jn", W, v), rtol=1e-13)
