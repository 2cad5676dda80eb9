"""Both ends of the spectrum: golden arrays, NumPy's eigenvalues, exact integers."""

import numpy as np
import pytest
from hypothesis import given
from oracles import golden, golden_network
from strategies import networks, random_pattern, seeds, whole_networks

from sheafcli.core.chain.network import Network
from sheafcli.core.chain.sheaf import NeuralSheaf
from sheafcli.core.network import GraphNetwork
from sheafcli.core.spectrum import pattern_gaps, spectrum, stability


@pytest.mark.parametrize("name", ["spectrum_paraboloid_1h", "spectrum_paraboloid_3h"])
def test_the_reference_is_met(name):
    arrays = golden(name)
    found = spectrum(golden_network(arrays), arrays["X"])
    np.testing.assert_allclose(found.gap, arrays["gap"], rtol=1e-9)
    np.testing.assert_allclose(found.largest, arrays["largest"], rtol=1e-9)
    np.testing.assert_allclose(found.condition, arrays["condition"], rtol=1e-9)
    np.testing.assert_allclose(found.block_energy(found.fiedler), arrays["fiedler_energy"], atol=1e-9)
    np.testing.assert_allclose(found.block_energy(found.top), arrays["largest_energy"], atol=1e-9)
    assert [block for block, _ in found.blocks] == arrays["blocks"].tolist()


@given(network=networks(), seed=seeds)
def test_any_pattern_has_the_gap_of_its_laplacian(network, seed):
    pattern = random_pattern(network, seed)
    row = np.concatenate([np.zeros(0, dtype=bool), *pattern])
    L = NeuralSheaf(network).laplacian(pattern).toarray()
    values = np.linalg.eigvalsh(L)
    assert pattern_gaps(network, row[None])[0] == pytest.approx(values[0], rel=1e-6, abs=1e-12 * values[-1])


@pytest.mark.parametrize("widths", [[2, 30, 1], [2, 10, 8, 4], [4, 40, 30, 3], [3, 3]])
def test_both_ends_are_those_of_the_dense_laplacian(widths):
    network = Network.he(widths, seed=4)
    X = np.random.default_rng(0).normal(size=(6, widths[0]))
    found, sheaf = spectrum(network, X), NeuralSheaf(network)
    for i, x in enumerate(X):
        L = sheaf.laplacian(sheaf.pattern(x)).toarray()
        values = np.linalg.eigvalsh(L)
        np.testing.assert_allclose([found.gap[i], found.largest[i]], values[[0, -1]], rtol=1e-8)
        for value, vector in ((found.gap[i], found.fiedler[i]), (found.largest[i], found.top[i])):
            assert np.linalg.norm(vector) == pytest.approx(1.0)
            np.testing.assert_allclose(L @ vector, value * vector, rtol=0, atol=1e-8 * values[-1])


@given(network=whole_networks(), seed=seeds)
def test_a_gap_far_below_the_largest_eigenvalue_keeps_its_digits(network, seed):
    """delta_Omega of whole weights has a whole inverse: its norm gives the gap without cancellation."""
    network = Network(tuple(W * 50.0 for W in network.weights), network.biases, network.output)
    pattern = random_pattern(network, seed)
    delta = NeuralSheaf(network).coboundary(pattern, "free").toarray()
    inverse = [[0] * len(delta) for _ in delta]
    rows = [[int(entry) for entry in row] for row in delta]
    for column in range(len(delta)):
        for i, row in enumerate(rows):
            rest = (i == column) - sum(row[j] * inverse[j][column] for j in range(i))
            inverse[i][column] = rest * row[i]  # the diagonal is 1 or -1
    exact = 1.0 / np.linalg.norm(np.array(inverse, dtype=float), 2) ** 2
    gap = pattern_gaps(network, np.concatenate([np.zeros(0, dtype=bool), *pattern])[None])[0]
    assert gap == pytest.approx(exact, rel=1e-5)


def test_lanczos_with_restarts_finds_what_dense_eigenvalues_are(monkeypatch):
    """A basis of ten vectors cannot hold the answer at once; so restarts are tried, on every sample alike."""
    network = Network.he([5, 40, 30, 3], "softmax", seed=4)
    X = np.random.default_rng(0).normal(size=(6, 5))
    monkeypatch.setattr("sheafcli.core.lanczos.DENSE", 1000)
    dense = spectrum(network, X)
    monkeypatch.setattr("sheafcli.core.lanczos.DENSE", 0)
    monkeypatch.setattr("sheafcli.core.lanczos.MOST_VECTORS", 10)
    iterated = spectrum(network, X)
    np.testing.assert_allclose(iterated.gap, dense.gap, rtol=1e-8)
    np.testing.assert_allclose(iterated.largest, dense.largest, rtol=1e-8)
    for one, other in ((iterated.fiedler, dense.fiedler), (iterated.top, dense.top)):
        np.testing.assert_allclose(np.abs(np.sum(one * other, axis=1)), 1.0, atol=1e-6)
    assert (iterated.left <= 2e-10).all()


def test_a_looser_tolerance_bounds_the_relative_error(monkeypatch):
    network, X = Network.he([5, 60, 50, 3], seed=4), np.random.default_rng(0).normal(size=(5, 5))
    exact = spectrum(network, X)
    monkeypatch.setattr("sheafcli.core.lanczos.MANY", 0)
    rough = spectrum(network, X)
    assert (rough.left <= 1.01e-3).all()
    np.testing.assert_allclose(rough.gap, exact.gap, rtol=1e-3)
    np.testing.assert_allclose(rough.largest, exact.largest, rtol=1e-3)


def test_blocks_of_samples_make_no_difference(monkeypatch):
    network = Network.he([2, 30, 24, 1], seed=1)
    X = np.random.default_rng(0).normal(size=(30, 2))
    whole = spectrum(network, X)
    monkeypatch.setattr("sheafcli.core.spectrum.work_entries", lambda dimension: 1 << 30)
    np.testing.assert_allclose(spectrum(network, X).gap, whole.gap, rtol=1e-12)


def test_a_graph_network_has_the_spectrum_of_the_same_chain():
    """Under other names of stalks."""
    network = Network.he([5, 12, 9, 3], seed=1)
    X = np.random.default_rng(0).normal(size=(4, 5))
    chain, graph = spectrum(network, X), spectrum(GraphNetwork(network.graph, network.output), X)
    np.testing.assert_array_equal(chain.gap, graph.gap)
    assert [name for name, _ in chain.blocks] == ["z1", "a1", "z2", "a2", "z3"]
    assert graph.blocks == tuple((vertex.name, vertex.size) for vertex in network.graph.heads)


def test_shares_sum_to_one_and_a_linear_model_has_one_block():
    found = spectrum(Network.he([3, 2]), np.ones((4, 3)))
    np.testing.assert_allclose(found.gap, 1.0)
    np.testing.assert_allclose(found.largest, 1.0)
    assert found.blocks == (("z1", 2),)
    deep = spectrum(Network.he([2, 5, 4, 1], seed=2), np.random.default_rng(1).normal(size=(8, 2)))
    np.testing.assert_allclose(deep.block_energy(deep.fiedler).sum(axis=1), 1.0)


def test_stability_is_the_cosine_up_to_sign():
    vectors = np.array([[1.0, 0.0], [-1.0, 0.0], [0.6, 0.8]])
    np.testing.assert_allclose(stability(vectors), [[1, 1, 0.6], [1, 1, 0.6], [0.6, 0.6, 1]])
