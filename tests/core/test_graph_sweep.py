"""The walks through a network: against the chain's own code, finite differences and assembled matrices."""

import tracemalloc

import numpy as np
import pytest
from assembled import assemble
from graphs import graph_of, graphs
from hypothesis import given
from strategies import networks, seeds

from sheafcli.core.chain.sheaf import NeuralSheaf
from sheafcli.core.graph import Constant, Graph, Node
from sheafcli.core.operations import Add, Dense, ReLU
from sheafcli.core.sweep import (
    as_samples,
    coboundary,
    coboundary_transposed,
    forward,
    linearize,
    output,
    pull_back,
    push_forward,
    resist,
)


def draw(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


@given(networks(), seeds)
def test_a_chain_is_the_paper_s_sheaf(network, seed):
    graph, X = graph_of(network), draw(seed, 3, network.widths[0])
    np.testing.assert_allclose(output(graph, X), network.logits(X), rtol=1e-12, atol=1e-12)
    at, sheaf = linearize(graph, X), NeuralSheaf(network)
    for i, x in enumerate(X):
        theirs = sheaf.coboundary(sheaf.pattern(x), "free")
        np.testing.assert_array_equal(assemble(at, i).toarray(), theirs.toarray())


@given(networks(), seeds)
def test_held_stalks_show_their_residuals(network, seed):
    """With every stalk held, a step minus what is held there is the residual that the coboundary gives."""
    graph, X = graph_of(network), draw(seed, 2, network.widths[0])
    stalks = graph.split(draw(seed + 1, 2, graph.dimension))
    found = {
        step.vertex.index: step.value - stalks[step.vertex.index] for step in forward(graph, X, held=stalks)
    }
    sheaf = NeuralSheaf(network)
    pattern = [stalks[i] >= 0 for i in list(graph.places)[:-1:2]]
    for i, x in enumerate(X):
        rows = [active[i] for active in pattern]
        free, boundary = sheaf.coboundary(rows, "free"), sheaf.coboundary(rows, "boundary")
        theirs = free @ graph.join(stalks)[i] + boundary @ sheaf.boundary_values(x)
        np.testing.assert_allclose(graph.join(found)[i], theirs, rtol=1e-9, atol=1e-9)


def test_one_precision_goes_through():
    graph = Graph.path((3,), {"dense": Dense(draw(0, 4, 3), draw(1, 4)), "relu": ReLU()})
    X = draw(2, 5, 3).astype(np.float32)
    assert output(graph, X).dtype == np.float32
    at = linearize(graph, X)
    assert resist(at, np.ones((5, 4), dtype=np.float32)).dtype == np.float32


@pytest.mark.parametrize(
    ("X", "says"),
    [
        (np.ones((2, 4)), r"X must be samples x 3, at least one sample, got shape \(2, 4\)"),
        (np.ones(3), r"got shape \(3,\)"),
        (np.ones((0, 3)), r"got shape \(0, 3\)"),
        (np.full((1, 3), np.nan), "X must be finite"),
    ],
)
def test_samples_that_do_not_fit(X, says):
    graph = Graph.path((3,), {"dense": Dense(np.ones((2, 3)))})
    with pytest.raises(ValueError, match=says):
        output(graph, X)


def test_whole_numbers_become_real_ones():
    graph = Graph.path((3,), {"dense": Dense(np.ones((2, 3)))})
    assert as_samples(graph, np.ones((2, 3), dtype=int)).dtype == np.float64


@given(networks(), seeds)
def test_the_two_sweeps_solve_with_the_coboundary(network, seed):
    graph, X = graph_of(network), draw(seed, 2, network.widths[0])
    at = linearize(graph, X)
    x = graph.split(draw(seed + 1, 2, graph.dimension))
    r, w = coboundary(at, x), coboundary_transposed(at, x)
    ahead = {step.vertex.index: step.value for step in push_forward(at, {i: -v for i, v in r.items()})}
    back = {vertex.index: value for vertex, value in pull_back(at, {i: -v for i, v in w.items()})}
    for i, stalk in x.items():
        size = max(np.max(np.abs(v)) for v in (*r.values(), *w.values()))
        np.testing.assert_allclose(ahead[i], stalk, rtol=1e-8, atol=1e-9 * size)
        np.testing.assert_allclose(back[i], stalk, rtol=1e-8, atol=1e-9 * size)


@given(graphs(), seeds)
def test_single_precision_goes_through_any_graph(graph, seed):
    X = draw(seed, 2, *graph.input_shape)
    single, double = output(graph, X.astype(np.float32)), output(graph, X)
    assert single.dtype == np.float32
    at = linearize(graph, X.astype(np.float32))
    pulled = dict(pull_back(at, {graph.output.index: single}, down_to=0))
    assert {w.dtype for w in pulled.values()} == {np.dtype(np.float32)}
    assert resist(at, single).dtype == np.float32
    assert double.dtype == np.float64


def test_an_edge_may_read_constants_alone():
    """Its stalk is free, and pulls back to nothing."""
    dense = Dense(draw(0, 3, 3), draw(1, 3))
    nodes = (
        Node("constant", Constant(draw(2, 3))),
        Node("dense", dense, ("constant",)),
        Node("sum", Add(), ("x", "dense")),
        Node("out", dense, ("sum",)),
    )
    graph, X = Graph((3,), nodes), draw(3, 2, 3)
    expected = (X + nodes[0].operation.value @ dense.weight.T + dense.bias) @ dense.weight.T + dense.bias
    np.testing.assert_allclose(output(graph, X), expected)
    at, v = linearize(graph, X), draw(4, 2, 3)
    names = [vertex.name for vertex, _ in pull_back(at, {graph.output.index: v}, down_to=0)]
    assert names == ["out", "sum", "dense", "x"]
    np.testing.assert_allclose(resist(at, v), v + v @ dense.weight @ dense.weight.T)


def test_a_walk_lets_go_of_what_nothing_reads():
    """Of a long chain no more than a few values are alive at once."""
    graph = Graph.path((1000,), {f"v{i}": ReLU() for i in range(50)})
    X = draw(0, 100, 1000)
    tracemalloc.start()
    output(graph, X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * X.nbytes


@given(graphs(), seeds)
def test_directions_go_forwards_many_at_once(graph, seed):
    at = linearize(graph, draw(seed, 2, *graph.input_shape))
    dX = draw(seed + 1, 3, 2, *graph.input_shape)
    *_, together = push_forward(at, {0: dX})
    for many, d in zip(together.value, dX, strict=True):
        *_, alone = push_forward(at, {0: d})
        np.testing.assert_allclose(many, alone.value, rtol=1e-10, atol=1e-12 * np.max(np.abs(alone.value)))
