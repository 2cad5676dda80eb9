"""What the theory claims of the neural sheaf, for random networks and patterns."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from oracles import problem
from strategies import extreme_networks, networks, random_pattern, scales, seeds, whole_networks

from sheafcli.core.chain.cochain import Cochain
from sheafcli.core.chain.network import Network
from sheafcli.core.chain.sheaf import NeuralSheaf, pattern_of
from sheafcli.core.discord import residuals
from sheafcli.core.outputs import output_named

BLOCKS = ("free", "boundary", "full")


def forward_pass(network, x):
    """Return z_1, a_1, z_2, ..., z_{k+1} of one input, computed one entry at a time."""
    a, parts = x, []
    for W, b in zip(network.weights, network.biases, strict=True):
        z = np.array([sum(W[i, j] * a[j] for j in range(len(a))) + b[i] for i in range(len(b))])
        a = np.where(z > 0, z, 0.0)
        parts += [z, a]
    return np.concatenate(parts[:-1])


def leading_minors(matrix):
    """Return all leading principal minors of a matrix of whole numbers, exactly, by Bareiss elimination."""
    rows = [[int(entry) for entry in row] for row in matrix]
    before, minors = 1, []
    for k in range(len(rows)):
        minors.append(rows[k][k])
        for i in range(k + 1, len(rows)):
            for j in range(k + 1, len(rows)):
                rows[i][j] = (rows[k][k] * rows[i][j] - rows[i][k] * rows[k][j]) // before
        before = rows[k][k]
        if before == 0:
            break
    return minors


def free_slices(network):
    """Return where z_1, a_1, z_2, ..., z_{k+1} lie among the free coordinates, by name."""
    slices, start = {}, 0
    for layer, n in enumerate(network.widths[1:], start=1):
        for name in (f"z{layer}", f"a{layer}") if layer <= network.depth else (f"z{layer}",):
            slices[name] = slice(start, start + n)
            start += n
    return slices


def test_leading_minors_of_a_known_matrix():
    assert leading_minors([[2, -1, 0], [-1, 2, -1], [0, -1, 2]]) == [2, 3, 4]


@given(extreme_networks(), seeds)
def test_free_coboundary_is_triangular_with_unit_diagonal(network, seed):
    delta = NeuralSheaf(network).coboundary(random_pattern(network, seed), "free").toarray()
    n_free = 2 * sum(network.widths[1:-1]) + network.widths[-1]
    assert delta.shape == (n_free, n_free)
    assert not np.triu(delta, 1).any()
    np.testing.assert_array_equal(np.abs(np.diag(delta)), 1.0)


@given(whole_networks(), seeds)
@settings(max_examples=30)
def test_free_laplacian_is_positive_definite_with_determinant_one(network, seed):
    laplacian = NeuralSheaf(network).laplacian(random_pattern(network, seed)).toarray()
    np.testing.assert_array_equal(laplacian, laplacian.T)
    minors = leading_minors(laplacian)
    assert len(minors) == len(laplacian)
    assert all(minor > 0 for minor in minors)
    assert minors[-1] == 1


@given(extreme_networks(), seeds)
def test_blocks_of_the_free_laplacian(network, seed):
    pattern = random_pattern(network, seed)
    found = NeuralSheaf(network).laplacian(pattern).toarray()
    expected = np.zeros_like(found)
    at = free_slices(network)
    for layer in range(1, network.depth + 1):
        z, a, after = at[f"z{layer}"], at[f"a{layer}"], at[f"z{layer + 1}"]
        R, W = np.diag(pattern[layer - 1].astype(float)), network.weights[layer]
        expected[z, z] = np.eye(len(R)) + R
        expected[a, a] = np.eye(len(R)) + W.T @ W
        expected[z, a] = expected[a, z] = -R
        expected[after, a], expected[a, after] = -W, -W.T
    last = at[f"z{network.depth + 1}"]
    expected[last, last] = np.eye(network.widths[-1])
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-13 * np.max(np.abs(expected)))


@given(extreme_networks(), seeds)
def test_forward_pass_solves_the_harmonic_equation(network, seed):
    x = np.random.default_rng(seed).normal(size=network.widths[0])
    sheaf = NeuralSheaf(network)
    pattern = sheaf.pattern(x)
    free, boundary = forward_pass(network, x), np.concatenate([x, np.ones(sum(network.widths[1:]))])
    np.testing.assert_array_equal(sheaf.boundary_values(x), boundary)
    np.testing.assert_allclose(sheaf.free_values(x), free, rtol=1e-10, atol=1e-12 * np.max(np.abs(free)))
    L, B = sheaf.laplacian(pattern).toarray(), sheaf.laplacian(pattern, "boundary").toarray()
    rounding = 1e-13 * (np.abs(L) @ np.abs(free) + np.abs(B) @ np.abs(boundary))
    assert np.all(np.abs(L @ free + B @ boundary) <= rounding + 1e-13 * np.max(rounding))


@given(networks(scales=scales.map(lambda scale: min(scale, 1.0))), seeds)
def test_harmonic_extension_of_the_input_is_the_forward_pass(network, seed):
    x = np.random.default_rng(seed).normal(size=network.widths[0])
    sheaf = NeuralSheaf(network)
    pattern = sheaf.pattern(x)
    L, B = sheaf.laplacian(pattern).toarray(), sheaf.laplacian(pattern, "boundary").toarray()
    condition = np.linalg.cond(L)
    assume(condition < 1e5)
    free = forward_pass(network, x)
    extension = np.linalg.solve(L, -B @ sheaf.boundary_values(x))
    np.testing.assert_allclose(extension, free, rtol=0, atol=1e-14 * condition * (1 + np.max(np.abs(free))))


@given(extreme_networks(), seeds)
def test_residuals_of_the_forward_pass_vanish(network, seed):
    X = np.random.default_rng(seed).normal(size=(3, network.widths[0]))
    cochain = Cochain.forward(network, X)
    size = np.max(np.abs(cochain.data))
    norm = max(1.0, *(np.max(np.sum(np.abs(W), axis=1)) for W in network.weights))
    for residual in residuals(network, X, cochain).values():
        assert np.max(np.abs(residual)) <= 1e-13 * size * norm


@given(networks(), seeds)
def test_coboundary_of_a_cochain_is_its_residuals(network, seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(3, network.widths[0]))
    cochain = Cochain.random(network.widths, 3, rng)
    stalks = cochain.stalks()
    found = np.hstack(list(residuals(network, X, cochain).values()))
    sheaf = NeuralSheaf(network)
    for sample in range(3):
        # The full space in order: [x, 1], z_1, [a_1, 1], z_2, ..., z_{k+1}.
        parts = [X[sample], np.ones(network.widths[1])]
        for layer in range(1, network.depth + 1):
            parts += [
                stalks[f"z{layer}"][sample],
                stalks[f"a{layer}"][sample],
                np.ones(network.widths[layer + 1]),
            ]
        parts.append(stalks[f"z{network.depth + 1}"][sample])
        pattern = [pattern_of(stalks[f"z{layer}"][sample]) for layer in range(1, network.depth + 1)]
        delta = sheaf.coboundary(pattern).toarray()
        full = np.concatenate(parts)
        np.testing.assert_allclose(
            delta @ full, found[sample], rtol=0, atol=1e-13 * (1 + np.max(np.abs(delta)) * 20)
        )


@given(networks(), seeds)
@settings(max_examples=20)
def test_blocks_of_coboundary_and_laplacian_fit_together(network, seed):
    sheaf, pattern = NeuralSheaf(network), random_pattern(network, seed)
    free, boundary, full = (sheaf.coboundary(pattern, block).toarray() for block in BLOCKS)
    assert full.shape[1] == free.shape[1] + boundary.shape[1]
    for block, expected in (
        ("free", free.T @ free),
        ("boundary", free.T @ boundary),
        ("full", full.T @ full),
    ):
        scale = max(1.0, np.max(np.abs(full))) ** 2
        np.testing.assert_allclose(
            sheaf.laplacian(pattern, block).toarray(), expected, rtol=1e-13, atol=1e-13 * scale
        )


def test_zero_counts_as_active():
    np.testing.assert_array_equal(pattern_of(np.array([-1.0, -0.0, 0.0, 1.0])), [False, True, True, True])
    network = Network((np.eye(2), np.ones((1, 2))), (np.zeros(2), np.zeros(1)), output_named("identity"))
    np.testing.assert_array_equal(NeuralSheaf(network).pattern(np.array([0.0, -1.0]))[0], [True, False])


@pytest.mark.parametrize(
    "pattern", [[], [np.ones(4, dtype=bool)], [np.ones(3, dtype=bool), np.ones(4, dtype=bool)]]
)
def test_a_pattern_of_other_lengths_is_refused(pattern):
    network, _, _ = problem(hidden=(4, 3))
    with pytest.raises(ValueError, match=r"lengths \[4, 3\]"):
        NeuralSheaf(network).coboundary(pattern)
