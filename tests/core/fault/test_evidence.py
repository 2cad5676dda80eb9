"""The evidence for a fault in an edge: the chain's on a last layer, dense Laplace by scipy elsewhere."""

import numpy as np
import pytest
from graphs import graphs
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from strategies import networks, seeds

from sheafcli.core.chain.network import Network
from sheafcli.core.chain.repair import repairs
from sheafcli.core.fault import evidence as module
from sheafcli.core.fault.evidence import blame, by_layer, directions, samples_tried
from sheafcli.core.fault.misfit import PRIORS
from sheafcli.core.graph import Graph, Node
from sheafcli.core.network import GraphNetwork
from sheafcli.core.operation import Learnable
from sheafcli.core.operations import (
    Add,
    BatchNormalization,
    Convolution,
    Dense,
    Flatten,
    MaxPooling,
    Mean,
    ReLU,
    Tanh,
)
from sheafcli.core.outputs import output_named
from sheafcli.core.sweep import output as output_of

OUTPUTS = ["identity", "sigmoid", "softmax"]


def targets(name, rng, f):
    """Draw targets for outputs f: near them for a regression, and any classes."""
    if name == "identity":
        return f + np.sqrt(np.mean(f * f)) * rng.normal(size=f.shape)
    if name == "sigmoid":
        return rng.integers(0, 2, size=f.shape).astype(float)
    return np.eye(f.shape[1])[rng.integers(0, f.shape[1], len(f))]


def residual(rng, outputs):
    """Return a small residual network of images."""

    def weight(*shape):
        return rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))

    near = [0.1 * rng.normal(size=3) for _ in range(3)]
    return Graph(
        (2, 5, 5),
        (
            Node("conv1", Convolution(weight(3, 2, 3, 3), rng.normal(size=3), padding=1), ("x",)),
            Node("norm1", BatchNormalization(1.0 + near[0], near[1], near[2], np.ones(3)), ("conv1",)),
            Node("relu1", ReLU(), ("norm1",)),
            Node("conv2", Convolution(weight(3, 3, 3, 3), None, padding=1), ("relu1",)),
            Node("add", Add(), ("conv2", "relu1")),
            Node("tanh", Tanh(), ("add",)),
            Node("pool", MaxPooling((2, 2)), ("tanh",)),
            Node("mean", Mean((-1, -2)), ("pool",)),
            Node("flat", Flatten(), ("mean",)),
            Node("dense", Dense(weight(outputs, 3), rng.normal(size=outputs)), ("flat",)),
        ),
    )


@settings(max_examples=25)
@given(st.sampled_from(OUTPUTS), networks(), seeds)
def test_on_the_last_layer_it_is_the_chain_s(name, network, seed):
    rng = np.random.default_rng(seed)
    network = Network(network.weights, network.biases, output_named(name))
    X = rng.normal(size=(12, network.widths[0]))
    y = targets(name, rng, network.logits(X))
    *_, (whole, *_) = repairs(network, X, y)
    last = blame(network, X, y)[-1]
    assert last.evidence == pytest.approx(whole.evidence, abs=0.1)
    assert last.loss == pytest.approx(whole.loss, rel=1e-2, abs=1e-3)


def brute(graph, output, X, y, name, tau):
    """Return -log E but for C(f), by J from differences and scipy's minimiser over theta itself."""
    parameters, f = graph.parameters[name], output_of(graph, X)
    columns, h = [], 1e-6
    for field, array in parameters.items():
        for place in np.ndindex(array.shape):
            ends = []
            for sign in (h, -h):
                changed = array.copy()
                changed[place] += sign
                ends.append(output_of(graph.with_parameters({name: {field: changed}}), X))
            columns.append(((ends[0] - ends[1]) / (2 * h)).ravel())
    J = np.stack(columns, axis=1)

    def value(theta):
        z = f + (J @ theta).reshape(f.shape)
        slope = J.T @ (output.value(z) - y).ravel()
        if output.name == "identity":
            L = np.mean((z - y) ** 2)
            return 0.5 * y.size * np.log(L) + 0.5 * theta @ theta / tau**2, slope / L + theta / tau**2
        return np.sum(output.potential(z, y)) + 0.5 * theta @ theta / tau**2, slope + theta / tau**2

    found = minimize(value, np.zeros(J.shape[1]), jac=True, method="BFGS", options={"gtol": 1e-7})
    z = f + (J @ found.x).reshape(f.shape)
    L = np.mean((z - y) ** 2) if output.name == "identity" else 1.0
    H = output.jacobian(z)
    curvature = np.einsum("ncp,ncd,ndq->pq", J.reshape(*f.shape, -1), H, J.reshape(*f.shape, -1)) / L
    occam = 0.5 * np.linalg.slogdet(np.eye(len(curvature)) + tau**2 * curvature)[1]
    return found.fun + occam


@pytest.mark.parametrize("name", OUTPUTS)
def test_it_is_laplace_s_of_the_linearised_network(name):
    rng = np.random.default_rng(3)
    graph = residual(rng, 2)
    network = GraphNetwork(graph, output_named(name))
    X = rng.normal(size=(8, 2, 5, 5))
    f = output_of(graph, X)
    y = targets(name, rng, f)
    nothing = 0.5 * y.size * np.log(np.mean((f - y) ** 2))
    if name != "identity":
        nothing = np.sum(network.output.potential(f, y))
    blamed = blame(network, X.reshape(8, -1), y)
    assert [one.edge.name for one in blamed] == ["conv1", "norm1", "conv2", "dense"]
    for one in blamed:
        expected = nothing - brute(graph, network.output, X, y, one.edge.name, one.prior)
        assert one.evidence == pytest.approx(expected, abs=1e-3)
        first = next(iter(graph.parameters[one.edge.name].values()))
        assert np.min(np.abs(one.prior / np.sqrt(np.mean(first**2)) - np.array(PRIORS))) < 1e-9


@given(graphs(), st.sampled_from(OUTPUTS), seeds)
@settings(max_examples=25)
def test_every_edge_with_parameters_has_one_and_a_change_never_costs(graph, name, seed):
    rng = np.random.default_rng(seed)
    network, X = GraphNetwork(graph, output_named(name)), rng.normal(size=(4, *graph.input_shape))
    f = output_of(graph, X)
    y = targets(name, rng, f)
    blamed = blame(network, X, y)
    learnable = [v.edge for v in graph.heads if isinstance(v.operation, Learnable)]
    assert [one.edge for one in blamed] == learnable
    assert all(np.isfinite(one.evidence) for one in blamed)
    before = network.output.loss(f, y)
    assert all(one.loss <= before * (1 + 1e-9) + 1e-12 for one in blamed)
    layers = by_layer(blamed)
    assert list(layers) == sorted({edge.layer for edge in learnable})
    assert all(layers[e.edge.layer].evidence >= e.evidence for e in blamed)


def test_the_edge_that_was_spoilt_is_found():
    """A teacher whose one kernel is drawn anew: only there is a change that explains the targets."""
    rng = np.random.default_rng(0)
    for spoilt in ("conv1", "conv2"):
        graph = residual(rng, 4)
        X = rng.normal(size=(60, 2, 5, 5))
        f = output_of(graph, X)
        y = f + 0.02 * rng.normal(size=f.shape)
        kernel = graph.parameters[spoilt]["weight"]
        moved = kernel + 0.3 * rng.normal(size=kernel.shape) / np.sqrt(kernel[0].size)
        network = GraphNetwork(graph.with_parameters({spoilt: {"weight": moved}}), output_named("identity"))
        blamed = blame(network, X, y)
        assert max(blamed, key=lambda one: one.evidence).edge.name == spoilt


def test_of_many_outputs_those_directions_move_that_the_error_and_its_largest_entries_span():
    error = np.random.default_rng(0).normal(size=(3, 50))
    Q = directions(error)
    assert Q.shape == (3, 50, module.DIRECTIONS)
    np.testing.assert_allclose(np.swapaxes(Q, 1, 2) @ Q, np.broadcast_to(np.eye(4), (3, 4, 4)), atol=1e-12)
    within = np.einsum("nci,ndi,nd->nc", Q, Q, error)
    np.testing.assert_allclose(within, error, atol=1e-12)
    for i, row in enumerate(error):
        unit = np.eye(50)[np.argmax(np.abs(row))]
        np.testing.assert_allclose(Q[i] @ (Q[i].T @ unit), unit, atol=1e-12)


def test_with_as_many_directions_as_outputs_nothing_is_lost(monkeypatch):
    """Any orthonormal basis of the outputs gives the same evidence."""
    rng = np.random.default_rng(2)
    network = GraphNetwork(residual(rng, 4), output_named("softmax"))
    X = rng.normal(size=(6, 2, 5, 5))
    y = targets("softmax", rng, np.zeros((6, 4)))
    whole = blame(network, X, y)
    monkeypatch.setattr(module, "MOST_OUTPUTS", 3)
    for one, other in zip(whole, blame(network, X, y), strict=True):
        assert one.evidence == pytest.approx(other.evidence, abs=1e-6)


def test_many_outputs_and_large_networks_have_fewer_samples():
    assert samples_tried(Network.he([3, 20, 1]), 50) == 50
    assert samples_tried(Network.he([3, 20, 1]), 5000) == module.MOST_SAMPLES
    assert samples_tried(Network.he([3, 20, 10], "softmax"), 5000) == module.MOST_ROWS // 10
    assert samples_tried(Network.he([3, 20, 1000], "softmax"), 5000) == module.MOST_ROWS // module.DIRECTIONS
    wide = Graph.path((3, 64, 64), {"conv": Convolution(np.ones((256, 3, 3, 3))), "flat": Flatten()})
    graph = Graph(
        wide.input_shape, (*wide.nodes, Node("dense", Dense(np.ones((10, 256 * 62 * 62))), ("flat",)))
    )
    assert samples_tried(GraphNetwork(graph, output_named("softmax")), 5000) < 20
