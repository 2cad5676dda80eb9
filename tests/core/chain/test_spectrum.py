"""Both ends of the spectrum: golden arrays, NumPy's eigenvalues, exact integers."""

import numpy as np
import pytest
from hypothesis import given
from oracles import golden, golden_network
from strategies import networks, random_pattern, seeds, whole_networks

from sheafcli.core.chain import spectrum as spectra
from sheafcli.core.chain.network import Network
from sheafcli.core.chain.sheaf import NeuralSheaf
from sheafcli.core.chain.spectrum import pattern_spectra, spectrum, stability


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
def test_any_pattern_has_the_eigenvalues_of_its_laplacian(network, seed):
    pattern = random_pattern(network, seed)
    row = np.concatenate([np.zeros(0, dtype=bool), *pattern])
    gap, largest, fiedler, top = pattern_spectra(network, row[None])
    L = NeuralSheaf(network).laplacian(pattern).toarray()
    values = np.linalg.eigvalsh(L)
    rounding = 1e-12 * values[-1]
    assert largest[0] == pytest.approx(values[-1], rel=1e-10)
    assert gap[0] == pytest.approx(values[0], rel=1e-6, abs=rounding)
    for value, vector in ((gap[0], fiedler[0]), (largest[0], top[0])):
        assert np.linalg.norm(vector) == pytest.approx(1.0)
        np.testing.assert_allclose(L @ vector, value * vector, rtol=0, atol=100 * rounding)


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
    gap, _, _, _ = pattern_spectra(network, np.concatenate([np.zeros(0, dtype=bool), *pattern])[None])
    assert gap[0] == pytest.approx(exact, rel=1e-5)


def test_the_sparse_road_agrees_with_the_dense_one(monkeypatch):
    network = Network.he([5, 40, 30, 3], "softmax", seed=4)
    X = np.random.default_rng(0).normal(size=(6, 5))
    dense = spectrum(network, X)
    monkeypatch.setattr(spectra, "DENSE_LIMIT", 0)
    sparse = spectrum(network, X)
    np.testing.assert_allclose(sparse.gap, dense.gap, rtol=1e-8)
    np.testing.assert_allclose(sparse.largest, dense.largest, rtol=1e-8)
    for one, other in ((sparse.fiedler, dense.fiedler), (sparse.top, dense.top)):
        np.testing.assert_allclose(np.abs(np.sum(one * other, axis=1)), 1.0, atol=1e-6)


def test_batches_of_patterns_make_no_difference(monkeypatch):
    network = Network.he([2, 6, 4, 1], seed=1)
    X = np.random.default_rng(0).normal(size=(30, 2))
    whole = spectrum(network, X)
    monkeypatch.setattr(spectra, "BATCH_ENTRIES", 1)
    np.testing.assert_array_equal(spectrum(network, X).gap, whole.gap)


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
