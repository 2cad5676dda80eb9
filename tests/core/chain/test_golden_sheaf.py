"""The sheaf Laplacian against dense matrices of the reference implementation."""

import numpy as np
import pytest
from oracles import assert_golden, golden, golden_names, golden_network

from sheafcli.core.chain.sheaf import NeuralSheaf


@pytest.mark.parametrize("name", golden_names("laplacian"))
def test_laplacian_matches_the_reference(name):
    arrays = golden(name)
    network = golden_network(arrays)
    sheaf = NeuralSheaf(network)
    pattern = [arrays[f"active{layer}"] for layer in range(1, network.depth + 1)]
    for block in ("free", "boundary", "full"):
        found = sheaf.laplacian(pattern, block).toarray()
        assert found.shape == arrays[block].shape
        assert_golden(found, arrays[block], 1.0, block)
    eigenvalues = np.linalg.eigvalsh(sheaf.laplacian(pattern, "free").toarray())
    np.testing.assert_allclose(eigenvalues, arrays["eigenvalues"], rtol=1e-9, atol=1e-14 * eigenvalues[-1])
    for found, expected in zip(sheaf.pattern(arrays["x"]), pattern, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", golden_names("laplacian"))
def test_laplacian_is_the_free_block_by_default_and_sparse(name):
    arrays = golden(name)
    network = golden_network(arrays)
    pattern = [arrays[f"active{layer}"] for layer in range(1, network.depth + 1)]
    laplacian = NeuralSheaf(network).laplacian(pattern)
    assert laplacian.format == "csr"
    assert_golden(laplacian.toarray(), arrays["free"], 1.0, "free")
