"""A plain chain is told from other graphs, and both read the same network."""

import numpy as np
import pytest
from hypothesis import given
from strategies import networks, seeds

from sheafcli.core.chain.network import Network
from sheafcli.core.graph import Graph
from sheafcli.core.network import GraphNetwork, network_of
from sheafcli.core.operations import Dense, LeakyReLU, ReLU
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
