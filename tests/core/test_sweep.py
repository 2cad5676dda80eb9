"""The walks through a network: against the chain's own code, finite differences and assembled matrices."""

import numpy as np
import pytest
from graphs import graph_of
from hypothesis import given
from strategies import networks, seeds

from sheafcli.core.graph import Graph
from sheafcli.core.operations import Dense, ReLU
from sheafcli.core.sheaf import NeuralSheaf
from sheafcli.core.sweep import (
    as_samples,
    assemble,
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


def split(graph, flat):
    """Return the stalks by head of arrays samples x free coordinates."""
    heads = {vertex.index: vertex.shape for vertex in graph.heads}
    return {i: flat[:, part].reshape(-1, *heads[i]) for i, part in graph.places.items()}


def joined(graph, stalks):
    return np.concatenate([stalks[i].reshape(len(stalks[i]), -1) for i in graph.places], axis=1)


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
    stalks = split(graph, draw(seed + 1, 2, graph.dimension))
    found = {
        step.vertex.index: step.value - stalks[step.vertex.index] for step in forward(graph, X, held=stalks)
    }
    sheaf = NeuralSheaf(network)
    pattern = [stalks[i] >= 0 for i in list(graph.places)[:-1:2]]
    for i, x in enumerate(X):
        rows = [active[i] for active in pattern]
        free, boundary = sheaf.coboundary(rows, "free"), sheaf.coboundary(rows, "boundary")
        theirs = free @ joined(graph, stalks)[i] + boundary @ sheaf.boundary_values(x)
        np.testing.assert_allclose(joined(graph, found)[i], theirs, rtol=1e-9, atol=1e-9)


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
    x = split(graph, draw(seed + 1, 2, graph.dimension))
    r, w = coboundary(at, x), coboundary_transposed(at, x)
    ahead = {step.vertex.index: step.value for step in push_forward(at, {i: -v for i, v in r.items()})}
    back = {vertex.index: value for vertex, value in pull_back(at, {i: -v for i, v in w.items()})}
    for i, stalk in x.items():
        size = max(np.max(np.abs(v)) for v in (*r.values(), *w.values()))
        np.testing.assert_allclose(ahead[i], stalk, rtol=1e-8, atol=1e-9 * size)
        np.testing.assert_allclose(back[i], stalk, rtol=1e-8, atol=1e-9 * size)
