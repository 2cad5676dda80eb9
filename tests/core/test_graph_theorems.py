"""The theorems on random directed acyclic graphs of all kinds of operations."""

import numpy as np
import pytest
from assembled import assemble
from graphs import SMOOTH, graph_of, graphs
from hypothesis import given, settings
from strategies import networks, seeds

from sheafcli.core.chain.cochain import Cochain
from sheafcli.core.chain.network import Network
from sheafcli.core.discord import discord, residuals
from sheafcli.core.sweep import (
    coboundary,
    coboundary_transposed,
    linearize,
    output,
    pull_back,
    resist,
)
from sheafcli.core.theorems import (
    descend,
    energy,
    forward_coordinates,
    harmonic_extension,
    relaxes,
    sampled_triangularity,
)


def draw(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


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
    ahead, back = coboundary(at, graph.split(x)), coboundary_transposed(at, graph.split(x))
    for i in range(2):
        delta = assemble(at, i)
        for sweep, product in ((ahead, delta @ x[i]), (back, delta.T @ x[i])):
            found = graph.join(sweep)[i]
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


@given(graphs(), seeds)
def test_the_figures_of_triangularity_are_zero(graph, seed):
    at = linearize(graph, draw(seed, 1, *graph.input_shape))
    figures = sampled_triangularity(at, columns=graph.dimension)
    assert figures == (graph.dimension, 0.0, 0.0)


@given(graphs(), seeds)
def test_the_harmonic_extension_is_the_forward_pass(graph, seed):
    X = draw(seed, 2, *graph.input_shape)
    expected = forward_coordinates(graph, X)
    scale = np.max(np.abs(expected))
    np.testing.assert_allclose(harmonic_extension(graph, X), expected, rtol=0, atol=1e-9 * scale)


@given(graphs(), seeds)
def test_the_extension_minimises_the_sum_of_squares_of_the_assembled_system(graph, seed):
    X = draw(seed, 1, *graph.input_shape)
    delta = assemble(linearize(graph, X), 0).toarray()
    x = forward_coordinates(graph, X)[0]
    # Residuals at x are zero, so that c = -delta x; least squares knows nothing of triangles.
    found = np.linalg.lstsq(delta, delta @ x)[0]
    size = np.linalg.cond(delta) * np.max(np.abs(x))
    np.testing.assert_allclose(found, harmonic_extension(graph, X)[0], rtol=0, atol=1e-13 * size * len(x))


@given(graphs(activations=SMOOTH), seeds)
def test_the_gradient_of_the_energy_is_what_finite_differences_say(graph, seed):
    x, h = draw(seed, 1, *graph.input_shape), 1e-6
    at, d = draw(seed + 1, 1, graph.dimension), draw(seed + 2, 1, graph.dimension)
    _, gradient = energy(graph, x, at)
    ahead, behind = energy(graph, x, at + h * d)[0], energy(graph, x, at - h * d)[0]
    scale = np.linalg.norm(gradient) * np.linalg.norm(d) + ahead[0]
    assert abs(np.sum(gradient * d) - (ahead[0] - behind[0]) / (2 * h)) <= 1e-6 * scale


@settings(max_examples=25)
@given(graphs(), seeds)
def test_descent_from_anywhere_ends_at_the_forward_pass(graph, seed):
    """The energy has one stationary point: where the force is gone, the stalks are the forward pass's."""
    x = draw(seed, *graph.input_shape)
    start = forward_coordinates(graph, x[None])[0] + draw(seed + 1, graph.dimension)
    begun = energy(graph, x[None], start[None])[0][0]
    ended = descend(graph, x, start)
    assert ended.energy <= 1e-14 * begun
    # Near the forward pass a distance is at most the residuals' over the smallest singular value of delta.
    delta = assemble(linearize(graph, x[None]), 0).toarray()
    smallest = np.linalg.svd(delta, compute_uv=False)[-1]
    assert ended.distance <= 4 * np.sqrt(2 * ended.energy) / smallest + 1e-12


@given(networks(), seeds)
def test_at_held_stalks_the_energy_is_the_chain_s(network, seed):
    graph, X = graph_of(network), draw(seed, 3, network.widths[0])
    coordinates = draw(seed + 1, 3, graph.dimension)
    stalks = list(graph.split(coordinates).values())
    cochain = Cochain(network.widths, 3)
    for layer in range(1, network.depth + 2):
        cochain.z[layer][:] = stalks[2 * layer - 2]
        if layer <= network.depth:
            cochain.a[layer][:] = stalks[2 * layer - 1]
    expected = 0.5 * sum(discord(residuals(network, X, cochain)).values())
    assert np.mean(energy(graph, X, coordinates)[0]) == pytest.approx(expected, rel=1e-12)


@given(graphs(), seeds)
def test_sampled_columns_show_the_triangle_too(graph, seed):
    at = linearize(graph, draw(seed, 2, *graph.input_shape))
    assert sampled_triangularity(at, columns=5, seed=seed) == (graph.dimension, 0.0, 0.0)


def test_a_column_that_is_not_of_a_triangle_is_seen(monkeypatch):
    """A product that reaches back, and a diagonal that is not -1, are told as what they are."""
    graph = graph_of(Network.he([2, 3, 1], seed=0))
    at = linearize(graph, draw(0, 2, 2))

    def bent(at, x):
        return {i: 0.5 * stalk for i, stalk in x.items()} | {graph.heads[0].index: sum_of(x)}

    def sum_of(x):
        return np.repeat(0.25 * graph.join(x).sum(axis=1)[:, None], 3, axis=1)

    monkeypatch.setattr("sheafcli.core.theorems.coboundary", bent)
    figures = sampled_triangularity(at)
    assert figures.above == 0.25
    assert figures.diagonal == 1.5


@settings(max_examples=10, deadline=None)
@given(graphs(activations=SMOOTH), seeds)
def test_from_random_stalks_descent_ends_at_the_forward_pass(graph, seed):
    X = draw(seed, 2, *graph.input_shape)
    ended = relaxes(graph, X, starts=2, seed=seed)
    assert len(ended) == 4
    for i, one in enumerate(ended):
        delta = assemble(linearize(graph, X), i // 2).toarray()
        smallest = np.linalg.svd(delta, compute_uv=False)[-1]
        assert one.distance <= 4 * np.sqrt(2 * one.energy) / smallest + 1e-9
