"""Pinned equilibrium, resistance and spectrum of graphs: against chains, least squares, dense matrices."""

import numpy as np
import pytest
import scipy.sparse as sp
from assembled import assemble
from closed_form import effective_resistance as chain_resistance
from closed_form import equilibrium, resistances
from graphs import graph_of, graphs
from hypothesis import given, settings
from scipy.sparse.linalg import splu
from strategies import networks, seeds

from sheafcli.core.chain.network import Network
from sheafcli.core.chain.sheaf import pattern_of
from sheafcli.core.edge import edges as chain_edges
from sheafcli.core.graph import Graph, Node
from sheafcli.core.lanczos import inverse_product, laplacian_product, spectrum_ends
from sheafcli.core.operations import (
    Add,
    AveragePooling,
    BatchNormalization,
    Concatenate,
    Convolution,
    Dense,
    Flatten,
    MaxPooling,
    Mean,
    Multiply,
    ReLU,
    Sigmoid,
    Tanh,
)
from sheafcli.core.outputs import Identity, Softmax, output_named
from sheafcli.core.pinned import pinned
from sheafcli.core.resistance import FEW, conjugate_gradients, effective_resistance
from sheafcli.core.sweep import forward, linearize, output
from sheafcli.core.theorems import forward_coordinates

OUTPUTS = ["identity", "sigmoid", "softmax"]


def draw(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def target(name, seed, samples, outputs):
    if name == "identity":
        return draw(seed, samples, outputs)
    if name == "sigmoid":
        return (draw(seed, samples, outputs) > 0).astype(float)
    return np.eye(outputs)[np.random.default_rng(seed).integers(0, outputs, samples)]


def convolutional(seed=0):
    """A small network with a residual block, pooling, normalisation and a gate by channel."""
    rng = np.random.default_rng(seed)

    def weight(*shape):
        return rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))

    def norm(n):
        return BatchNormalization(
            1 + 0.1 * rng.normal(size=n), rng.normal(size=n), rng.normal(size=n), np.ones(n)
        )

    return Graph(
        (2, 8, 8),
        (
            Node("conv1", Convolution(weight(4, 2, 3, 3), rng.normal(size=4), padding=1), ("x",)),
            Node("bn1", norm(4), ("conv1",)),
            Node("relu1", ReLU(), ("bn1",)),
            Node("pool1", MaxPooling((2, 2)), ("relu1",)),
            Node("conv2", Convolution(weight(4, 4, 3, 3), padding=1), ("pool1",)),
            Node("relu2", ReLU(), ("conv2",)),
            Node("conv3", Convolution(weight(4, 4, 3, 3), rng.normal(size=4), padding=1), ("relu2",)),
            Node("add", Add(), ("conv3", "pool1")),
            Node("tanh", Tanh(), ("add",)),
            Node("mean", Mean((-1, -2)), ("tanh",)),
            Node("squeeze", Convolution(weight(4, 4, 1, 1)), ("mean",)),
            Node("gate", Sigmoid(), ("squeeze",)),
            Node("excite", Multiply(), ("tanh", "gate")),
            Node("average", AveragePooling((2, 2)), ("excite",)),
            Node("flatten", Flatten(), ("average",)),
            Node("dense", Dense(weight(3, 16), rng.normal(size=3)), ("flatten",)),
        ),
    )


def least_squares(graph, x, y):
    """Return the residuals of the equilibrium of one sample with the output pinned to y, edge after edge.

    min |delta d|^2 over the stalks' moves d from the forward pass, those of the output given, as one sparse
    system assembled from the matrices of the operations.
    """
    delta = sp.csc_array(assemble(linearize(graph, x[None]), 0))
    out = graph.places[graph.output.index]
    inner = np.setdiff1d(np.arange(graph.dimension), np.arange(out.start, out.stop))
    given = delta[:, np.arange(out.start, out.stop)] @ (y - output(graph, x[None])[0])
    A = delta[:, inner]
    # The augmented system [[I, A], [A^T, 0]] keeps the digits that normal equations would lose.
    augmented = sp.block_array([[sp.eye_array(graph.dimension), A], [A.T, None]], format="csc")
    solved = splu(augmented).solve(np.concatenate([-given, np.zeros(len(inner))]))
    return -solved[: graph.dimension]


def assert_close(found, expected, digits=1e-12):
    np.testing.assert_allclose(found, expected, rtol=digits, atol=digits * np.max(np.abs(expected)))


@pytest.mark.parametrize("seed", range(3))
def test_it_is_what_assembled_least_squares_find(seed):
    graph, X, y = convolutional(seed), draw(seed, 4, 2, 8, 8), draw(seed + 10, 4, 3)
    found = pinned(graph, Identity(), X, y)
    assert found.edges == graph.edges
    for i in range(len(X)):
        residuals = least_squares(graph, X[i], y[i])
        squares = [np.sum(residuals[place] ** 2) for place in graph.places.values()]
        assert_close(found.squares[i], squares)
    assert np.max(found.left) < 1e-12


@settings(max_examples=40)
@given(graphs(), seeds)
def test_it_is_that_on_random_graphs_too(graph, seed):
    X = draw(seed, 1, *graph.input_shape)
    y = output(graph, X) + draw(seed + 1, 1, graph.output.size)
    found = pinned(graph, Identity(), X, y)
    residuals = least_squares(graph, X[0], y[0])
    squares = np.array([np.sum(residuals[place] ** 2) for place in graph.places.values()])
    assert_close(found.squares[0], squares, 1e-9)


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("stiffness", [None, 0.1, 10.0])
@pytest.mark.parametrize("hidden", [(), (5,), (6, 5), (4, 4, 3)])
def test_of_a_chain_it_is_the_closed_form(name, stiffness, hidden):
    network = Network.he([3, *hidden, 3], output=name, seed=1)
    X, y = draw(0, 20, 3), target(name, 1, 20, 3)
    found = pinned(graph_of(network), output_named(name), X, y, stiffness)
    closed = equilibrium(network, X, y, stiffness)
    assert_close(found.multipliers, closed.multipliers, 1e-12)
    np.testing.assert_array_equal(found.leaving == 0.0, closed.keeps_pattern)
    # |s_l| = |u_l|, |r_l| = |R_l u_l|, with u_l = J_l^T lambda (the closed form keeps its stalks, not these).
    u, expected = closed.multipliers, []
    forward_pass = network.pre_activations(X)
    expected.append(np.sum(u * u, axis=1))
    for layer in range(network.depth, 0, -1):
        u = u @ network.weights[layer]
        expected.append(np.sum(u * u, axis=1))
        u = u * pattern_of(forward_pass[layer - 1])
        expected.append(np.sum(u * u, axis=1))
    squares = np.stack(expected[::-1], axis=1)
    assert_close(found.squares[:, : squares.shape[1]], squares, 1e-12)


@given(networks(), seeds)
def test_the_resistance_of_a_chain_is_its_own_and_so_are_its_edges_parts(network, seed):
    graph, X = graph_of(network), draw(seed, 4, network.widths[0])
    R = [pattern_of(z) for z in network.pre_activations(X)[:-1]]
    found = effective_resistance(linearize(graph, X))
    assert_close(found.matrix, chain_resistance(network, R, len(X)))
    traces = {e.name: np.trace(part, axis1=1, axis2=2) for e, part in resistances(network, R, len(X))}
    for i, edge in enumerate(graph.edges):
        np.testing.assert_allclose(found.traces[:, i], np.broadcast_to(traces[edge.name], 4), rtol=1e-12)
    assert [edge.name for edge in graph.edges] == [e.name for e in chain_edges(network.depth, output=False)]


@given(graphs(), seeds)
def test_the_parts_of_the_edges_make_up_the_resistance(graph, seed):
    found = effective_resistance(linearize(graph, draw(seed, 3, *graph.input_shape)))
    assert_close(found.traces.sum(axis=1), np.trace(found.matrix, axis1=1, axis2=2), 1e-12)


def test_single_precision_agrees_with_double():
    graph, X, y = convolutional(), draw(0, 6, 2, 8, 8), target("softmax", 1, 6, 3)
    single, double = (pinned(graph, Softmax(), X.astype(t), y) for t in (np.float32, np.float64))
    assert_close(single.squares, double.squares, 1e-4)
    assert_close(single.resistance, double.resistance, 1e-4)
    assert single.squares.dtype == np.float64
    assert np.max(single.left) < 1e-5


def test_blocks_do_not_show(monkeypatch):
    graph, X, y = convolutional(), draw(0, 5, 2, 8, 8), target("softmax", 1, 5, 3)
    whole = pinned(graph, Softmax(), X, y)
    monkeypatch.setattr("sheafcli.core.pinned.ENTRIES", 1)
    parts = pinned(graph, Softmax(), X, y)
    for name in ("squares", "resistance", "multipliers", "leaving"):
        assert_close(getattr(parts, name), getattr(whole, name), 1e-10)
    for edge, unit in whole.units.items():
        assert_close(parts.units[edge], unit, 1e-10)


def test_units_make_up_the_discord():
    graph, X, y = convolutional(), draw(0, 5, 2, 8, 8), target("softmax", 1, 5, 3)
    found = pinned(graph, Softmax(), X, y)
    assert found.edges == (*graph.edges, graph.output_edge)
    for edge, unit in found.units.items():
        assert found.discord[edge] == pytest.approx(unit.sum(), rel=1e-12)
    assert found.units[graph.edges[0]].shape == (4, 8, 8)
    assert sum(found.resistance_shares.values()) == pytest.approx(1.0)


def test_a_pulled_output_has_the_residual_of_its_spring():
    """phi(z) - y = -lambda / gamma, and the whole is in balance: the least energy is (y - f)^T lambda / 2."""
    graph, X, y = convolutional(), draw(0, 4, 2, 8, 8), draw(1, 4, 3)
    found = pinned(graph, Identity(), X, y, stiffness=0.5)
    energy = 0.5 * (found.squares[:, :-1].sum(axis=1) + 0.5 * found.squares[:, -1])
    least = 0.5 * np.sum((y - output(graph, X)) * found.multipliers, axis=1)
    np.testing.assert_allclose(energy, least, rtol=1e-10)


def test_what_leaves_its_piece_is_counted():
    """One ReLU at 1 whose output is pinned to -1 would be pulled below zero; pinned to 2 it stays."""
    graph = Graph.path((1,), {"in": Dense(np.eye(1)), "relu": ReLU(), "out": Dense(np.eye(1))})
    found = pinned(graph, Identity(), np.ones((2, 1)), np.array([[-5.0], [2.0]]))
    np.testing.assert_array_equal(found.leaving, [1.0, 0.0])


WIDE = FEW + 10


@pytest.mark.parametrize("stiffness", [None, 2.0])
@pytest.mark.parametrize("name", OUTPUTS)
def test_many_outputs_need_no_resistance_matrix(name, stiffness, monkeypatch):
    network = Network.he([4, 12, 9, WIDE], output=name, seed=3)
    graph, X, y = graph_of(network), draw(0, 6, 4), target(name, 1, 6, WIDE)
    iterated = pinned(graph, network.output, X, y, stiffness)
    monkeypatch.setattr("sheafcli.core.resistance.FEW", WIDE)
    formed = pinned(graph, network.output, X, y, stiffness)
    assert_close(iterated.squares, formed.squares, 1e-8)
    assert np.max(iterated.left) < 1e-8


def test_random_signs_have_the_traces_as_their_mean():
    network = Network.he([4, 12, WIDE], seed=3)
    at = linearize(graph_of(network), draw(0, 3, 4))
    exact = np.array([np.linalg.norm(network.weights[1], "fro") ** 2] * 3)
    estimates = [effective_resistance(at, seed) for seed in range(400)]
    assert estimates[0].matrix is None
    means = np.mean([estimate.traces for estimate in estimates], axis=0)
    np.testing.assert_allclose(means[:, 1], exact, rtol=0.05)
    np.testing.assert_allclose(means[:, -1], WIDE)


def test_conjugate_gradients_solve_every_sample():
    root = draw(0, 5, 30, 30)
    A = root @ np.swapaxes(root, 1, 2) + np.eye(30)
    b = draw(1, 5, 30)
    b[2] = 0.0
    x = conjugate_gradients(lambda v, _: np.einsum("sij,sj->si", A, v), b, 1e-13)
    assert_close(x, np.linalg.solve(A, b[:, :, None])[:, :, 0], 1e-9)


@pytest.mark.parametrize(
    ("y", "says"),
    [
        (np.ones((4, 2)), r"y must be finite and of shape \(4, 3\), got shape \(4, 2\)"),
        (np.ones(4), r"got shape \(4,\)"),
        (np.full((4, 3), np.inf), "y must be finite"),
    ],
)
def test_targets_that_do_not_fit(y, says):
    with pytest.raises(ValueError, match=says):
        pinned(convolutional(), Identity(), draw(0, 4, 2, 8, 8), y)


def test_an_output_that_is_no_vector_is_refused():
    graph = Graph.path((2, 3), {"relu": ReLU()})
    with pytest.raises(ValueError, match=r"the output must be a vector a sample, got shape \(2, 3\)"):
        pinned(graph, Identity(), np.ones((1, 2, 3)), np.ones((1, 6)))


def test_an_output_that_nothing_can_move_is_told():
    """Part of the output is the input itself, which is held."""
    nodes = (Node("dense", Dense(np.eye(3)), ("x",)), Node("both", Concatenate(-1), ("x", "dense")))
    with pytest.raises(ValueError, match="an output that no edge can move cannot be pinned"):
        pinned(Graph((3,), nodes), Identity(), np.ones((1, 3)), np.ones((1, 6)))
    pulled = pinned(Graph((3,), nodes), Identity(), np.ones((1, 3)), np.zeros((1, 6)), stiffness=1.0)
    np.testing.assert_allclose(pulled.multipliers[0], [-1, -1, -1, -0.5, -0.5, -0.5])


@settings(max_examples=40)
@given(graphs(), seeds)
def test_both_ends_are_those_of_the_dense_laplacian(graph, seed):
    x = draw(seed, 1, *graph.input_shape)
    delta = assemble(linearize(graph, x), 0).toarray()
    singular = np.linalg.svd(delta, compute_uv=False)
    found = spectrum_ends(linearize(graph, x))
    assert found.largest[0] == pytest.approx(singular[0] ** 2, rel=1e-9)
    assert found.gap[0] == pytest.approx(singular[-1] ** 2, rel=1e-8)
    assert np.max(found.left) < 1e-8
    for vector, value in ((found.fiedler[0], found.gap[0]), (found.top[0], found.largest[0])):
        assert np.linalg.norm(vector) == pytest.approx(1.0)
        assert np.linalg.norm(delta @ vector) ** 2 == pytest.approx(value, rel=1e-6)


@given(graphs(), seeds)
def test_the_products_are_those_of_the_laplacian_and_its_inverse(graph, seed):
    at = linearize(graph, draw(seed, 1, *graph.input_shape))
    delta, v = assemble(at, 0).toarray(), draw(seed + 1, graph.dimension)
    assert_close(laplacian_product(at, v[None])[0], delta.T @ (delta @ v), 1e-10)
    inverse = np.linalg.inv(delta)
    assert_close(inverse_product(at, v[None])[0], inverse @ (inverse.T @ v), 1e-9)


def test_a_forward_pass_has_no_discord():
    graph, X = convolutional(), draw(0, 3, 2, 8, 8)
    found = pinned(graph, Identity(), X, output(graph, X))
    assert np.max(found.squares) < 1e-20
    assert forward_coordinates(graph, X).shape == (3, graph.dimension)
    assert sum(step.vertex.edge is not None for step in forward(graph, X)) == len(graph.edges)
