"""The theorems on random directed acyclic graphs of all kinds of operations."""

import numpy as np
from graphs import graphs
from hypothesis import given
from strategies import seeds

from sheafcli.core.sweep import (
    assemble,
    coboundary,
    coboundary_transposed,
    linearize,
    output,
    pull_back,
    resist,
)


def draw(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def split(graph, flat):
    heads = {vertex.index: vertex.shape for vertex in graph.heads}
    return {i: flat[:, part].reshape(-1, *heads[i]) for i, part in graph.places.items()}


def joined(graph, stalks):
    return np.concatenate([stalks[i].reshape(len(stalks[i]), -1) for i in graph.places], axis=1)


@given(graphs(), seeds)
def test_the_coboundary_is_minus_a_unitriangular_matrix(graph, seed):
    """So |det delta_Omega| = 1 and L_Omega is positive definite, for every pattern and all weights."""
    delta = assemble(linearize(graph, draw(seed, 1, *graph.input_shape)), 0).toarray()
    assert delta.shape == (graph.dimension, graph.dimension)
    np.testing.assert_array_equal(np.triu(delta), -np.eye(graph.dimension))


@given(graphs(), seeds)
def test_the_sweeps_are_the_assembled_matrix(graph, seed):
    at = linearize(graph, draw(seed, 2, *graph.input_shape))
    x = draw(seed + 1, 2, graph.dimension)
    ahead, back = coboundary(at, split(graph, x)), coboundary_transposed(at, split(graph, x))
    for i in range(2):
        delta = assemble(at, i)
        for sweep, product in ((ahead, delta @ x[i]), (back, delta.T @ x[i])):
            found = joined(graph, sweep)[i]
            np.testing.assert_allclose(found, product, rtol=1e-9, atol=1e-9 * np.max(np.abs(product)))


@given(graphs(), seeds)
def test_the_resistance_is_the_output_block_of_the_inverse_laplacian(graph, seed):
    """S v = (L_Omega^-1)_out,out v: the output is the last head here."""
    at, n = linearize(graph, draw(seed, 1, *graph.input_shape)), graph.output.size
    S = resist(at, np.eye(n)[:, None, :])[:, 0]
    inverse = np.linalg.inv(assemble(at, 0).toarray())
    expected = (inverse @ inverse.T)[-n:, -n:]
    np.testing.assert_allclose(S, expected, rtol=1e-9, atol=1e-9 * np.max(np.abs(expected)))


@given(graphs(), seeds)
def test_pulling_back_to_the_input_is_the_derivative_of_the_network(graph, seed):
    X, h = draw(seed, 2, *graph.input_shape), 1e-6
    dX, v = draw(seed + 1, *X.shape), draw(seed + 2, 2, graph.output.size)
    *_, (vertex, pulled) = pull_back(linearize(graph, X), {graph.output.index: v}, down_to=0)
    assert vertex.index == 0
    ahead, behind = output(graph, X + h * dX), output(graph, X - h * dX)
    slope = np.sum(v * (ahead - behind)) / (2 * h)
    size = np.sqrt(np.sum(pulled**2) * np.sum(dX**2))
    assert abs(np.sum(pulled * dX) - slope) <= 1e-4 * size + 1e-7 * np.max(np.abs(ahead)) / h * 1e-3
