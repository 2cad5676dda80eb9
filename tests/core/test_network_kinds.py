"""A plain chain is told from other graphs, and both read the same network."""

import numpy as np
import pytest
from hypothesis import given
from strategies import networks, seeds

from sheafcli.core.chain.network import Network
from sheafcli.core.graph import Graph
from sheafcli.core.network import GraphNetwork, as_inputs, as_targets, check_samples, network_of, plain_chain
from sheafcli.core.operations import Dense, Flatten, LeakyReLU, ReLU
from sheafcli.core.outputs import output_named


@given(networks(), seeds)
def test_a_chain_is_its_graph(network, seed):
    X = np.random.default_rng(seed).normal(size=(3, *network.input_shape))
    general = GraphNetwork(network.graph, network.output)
    again = network_of(network.graph, network.output)
    assert isinstance(again, Network)
    assert all(np.array_equal(W, V) for W, V in zip(again.weights, network.weights, strict=True))
    assert all(np.array_equal(b, c) for b, c in zip(again.biases, network.biases, strict=True))
    assert general.edges == network.edges
    assert (general.n_outputs, general.has_output_vertex) == (network.n_outputs, network.has_output_vertex)
    scale = max(1.0, float(np.max(np.abs(network.logits(X)))))
    np.testing.assert_allclose(general.logits(X), network.logits(X), rtol=0, atol=1e-12 * scale)
    np.testing.assert_allclose(general.predict(X), network.predict(X), rtol=0, atol=1e-12 * scale)


@pytest.mark.parametrize(
    "operations",
    [
        (Dense(np.ones((2, 3))), LeakyReLU(0.1), Dense(np.ones((1, 2)))),
        (Dense(np.ones((2, 3))), ReLU()),
        (Dense(np.ones((2, 3))), Dense(np.ones((1, 2)))),
        (ReLU(), Dense(np.ones((1, 3))), ReLU()),
    ],
)
def test_what_is_no_plain_chain_stays_a_graph(operations):
    graph = Graph.path((3,), {f"v{i}": operation for i, operation in enumerate(operations)})
    assert isinstance(network_of(graph, output_named("identity")), GraphNetwork)


def test_the_output_is_a_vector():
    with pytest.raises(ValueError, match="must be a vector"):
        GraphNetwork(Graph.path((2, 3), {"dense": Dense(np.ones((1, 3)))}), output_named("identity"))


IMAGES = GraphNetwork(
    Graph.path((2, 3, 4), {"relu": ReLU(), "flat": Flatten(), "dense": Dense(np.ones((5, 24)))}),
    output_named("identity"),
)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_flattened_images_are_the_images(dtype):
    X = np.random.default_rng(0).normal(size=(7, 2, 3, 4)).astype(dtype)
    flat = X.reshape(7, 24)
    np.testing.assert_array_equal(as_inputs(IMAGES, flat), X)
    assert as_inputs(IMAGES, flat).dtype == dtype
    assert IMAGES.predict(flat).tobytes() == IMAGES.predict(X).tobytes()


def test_a_chain_takes_inputs_in_double_precision():
    network = Network.he([3, 2], seed=0)
    assert as_inputs(network, np.ones((1, 3), np.float32)).dtype == np.float64


@pytest.mark.parametrize(
    ("X", "words"),
    [
        (np.ones((7, 23)), r"X must be samples x 24 or samples x 2 x 3 x 4, .* got shape \(7, 23\)"),
        (np.ones((7, 3, 2, 4)), r"got shape \(7, 3, 2, 4\)"),
        (np.ones((0, 24)), "at least one"),
        (np.ones(24), r"got shape \(24,\)"),
        (np.full((1, 24), np.nan), r"X\[0, 0\] is nan"),
        (np.full((1, 24), 1e71), r"X\[0, 0\] is 1e\+71"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(X, words):
    with pytest.raises(ValueError, match=words):
        as_inputs(IMAGES, X)


def test_targets_fit_the_outputs_of_any_network():
    assert as_targets(IMAGES, np.ones((7, 5)), 7).dtype == np.float64
    with pytest.raises(ValueError, match=r"must have shape \(7, 5\), got \(7, 4\)"):
        as_targets(IMAGES, np.ones((7, 4)), 7)


def test_values_that_grow_out_of_range_in_a_graph_are_named():
    huge = Graph.path((2,), {"tall": Dense(1e50 * np.eye(2)), "taller": Dense(1e50 * np.eye(2))})
    network = GraphNetwork(huge, output_named("identity"))
    check_samples(network, 1e-40 * np.ones((3, 2)), np.ones((3, 2)))
    with pytest.raises(ValueError, match=r"the values of taller grow beyond 1e\+70 at sample 1"):
        check_samples(network, np.array([[1e-9, 0.0], [1.0, 1.0]]), np.ones((2, 2)))


def test_what_needs_a_chain_says_what_the_network_has():
    assert plain_chain(Network.he([3, 2]), "this") is not None
    with pytest.raises(ValueError, match=r"this needs a plain chain .* has flat \(Flatten\)"):
        plain_chain(IMAGES, "this")
