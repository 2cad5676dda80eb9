"""Parts of a layer against the plain network: what they move, and how that moves the output."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import jacobian, problem

from sheafcli.core import parts
from sheafcli.core.parts import Input, Neuron, Taken, WholeLayer

OUTPUTS = ["identity", "sigmoid", "softmax"]
# Many samples and few, for layers of 5 and 6 columns; the first layer, one between, the last.
CASES = [(samples, layer) for samples in (20, 3) for layer in (1, 2, 3)]


def taken_from(network, X, layer):
    """Take a layer out of a network, in plain words."""
    a = X if layer == 1 else np.maximum(network.pre_activations(X)[layer - 2], 0.0)
    inputs = np.column_stack([a, np.ones(len(X))])
    matrix = np.column_stack([network.weights[layer - 1], network.biases[layer - 1]])
    return Taken(inputs, matrix, inputs @ matrix.T)


def logits_after(network, layer, z):
    """Return z_{k+1} from z_l."""
    for W, b in zip(network.weights[layer:], network.biases[layer:], strict=True):
        z = np.maximum(z, 0.0) @ W.T + b
    return z


def parts_of(layer):
    return [WholeLayer.of(layer), Neuron(layer, 1), Input(layer, 0)]


def case(output, samples, layer):
    network, X, _ = problem(output, (5, 4), samples, features=4, outputs=2)
    return network, X, taken_from(network, X, layer)


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize(("samples", "layer"), CASES)
def test_a_part_is_the_matrix_with_its_entries_in_it(output, samples, layer):
    _, _, taken = case(output, samples, layer)
    rng = np.random.default_rng(1)
    for part in parts_of(taken):
        np.testing.assert_allclose(part.placed(part.entries), taken.matrix, rtol=0, atol=1e-14)
        np.testing.assert_allclose(part.stalk(part.entries), taken.z, rtol=0, atol=1e-13)
        entries = rng.normal(size=part.entries.shape)
        M = part.placed(entries)
        np.testing.assert_allclose(part.stalk(entries), taken.inputs @ M.T, rtol=0, atol=1e-12)
        # What is not of the part stays.
        moved = np.argwhere(taken.matrix != M)
        if part.kind == "neuron":
            assert set(moved[:, 0]) == {part.index}
        elif part.kind == "input":
            assert set(moved[:, 1]) == {part.index}


@given(seed=st.integers(0, 10_000), samples=st.integers(1, 9), columns=st.integers(1, 7))
def test_a_whole_layer_loses_no_change_that_a_sample_sees(seed, samples, columns):
    """Any change of the matrix has entries that move the stalk as it does, and are no longer."""
    rng = np.random.default_rng(seed)
    inputs, matrix = rng.normal(size=(samples, columns)), rng.normal(size=(3, columns))
    part = WholeLayer.of(Taken(inputs, matrix, inputs @ matrix.T))
    change = rng.normal(size=matrix.shape)
    entries = (change @ part.span.T).ravel()
    np.testing.assert_allclose(part.stalk(entries), inputs @ (matrix + change).T, rtol=0, atol=1e-11)
    assert np.linalg.norm(entries) <= np.linalg.norm(change) * (1 + 1e-12)
    assert np.linalg.norm(part.placed(entries) - matrix) == pytest.approx(np.linalg.norm(entries))


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize(("samples", "layer"), CASES)
def test_the_slope_is_that_of_central_differences(output, samples, layer):
    _, _, taken = case(output, samples, layer)
    on_z = np.random.default_rng(2).normal(size=taken.z.shape)
    for part in parts_of(taken):
        found = jacobian(lambda e, part=part: np.atleast_1d(np.sum(on_z * part.stalk(e))), part.entries)[0]
        np.testing.assert_allclose(part.slope(on_z), found, rtol=1e-7, atol=1e-8)


def output_jacobian(output, z):
    """Return J_phi of one sample, plainly."""
    if output == "identity":
        return np.eye(len(z))
    if output == "sigmoid":
        p = 1.0 / (1.0 + np.exp(-z))
        return np.diag(p * (1.0 - p))
    p = np.exp(z) / np.sum(np.exp(z))
    return np.diag(p) - np.outer(p, p)


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize(("samples", "layer"), CASES)
def test_the_curvature_has_the_eigenvalues_of_finite_differences(output, samples, layer):
    """Sum over samples of J^T H J, J by central differences in the matrix itself."""
    network, _, taken = case(output, samples, layer)
    z = logits_after(network, layer, taken.z)
    G = np.array(
        [
            jacobian(lambda v: logits_after(network, layer, v[None])[0], taken.z[i], 1e-6)
            for i in range(samples)
        ]
    )
    H = np.array([output_jacobian(output, row) for row in z])
    for part in parts_of(taken):
        entries = {
            "layer": np.ones_like(taken.matrix, dtype=bool),
            "neuron": np.arange(len(taken.matrix))[:, None] == part.index,
            "input": np.arange(taken.matrix.shape[1])[None, :] == part.index,
        }[part.kind] & np.ones_like(taken.matrix, dtype=bool)

        def outputs(change, entries=entries):
            M = taken.matrix.copy()
            M[entries] += change
            return logits_after(network, layer, taken.inputs @ M.T).ravel()

        J = jacobian(outputs, np.zeros(entries.sum()), 1e-6).reshape(samples, z.shape[1], -1)
        expected = np.linalg.eigvalsh(np.einsum("iop,ioq,iqr->pr", J, H, J))[::-1]
        found = np.linalg.eigvalsh(part.curvature(G, H))[::-1]
        size = max(len(expected), len(found))
        expected = np.pad(expected, (0, size - len(expected)))
        found = np.pad(found, (0, size - len(found)))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * expected[0], err_msg=part.kind)


def test_of_too_many_rows_the_largest_are_kept(monkeypatch):
    _, _, taken = case("identity", 20, 2)
    rng = np.random.default_rng(0)
    G, H = rng.normal(size=(20, 2, 4)), np.broadcast_to(np.eye(2), (20, 2, 2))
    sizes = np.sort((np.sum(G**2, axis=2) * np.sum(taken.inputs**2, axis=1)[:, None]).ravel())[::-1]
    whole = WholeLayer.of(taken)
    everything = np.linalg.eigvalsh(whole.curvature(G, H))[::-1]
    assert len(everything) == 40
    monkeypatch.setattr(parts, "MOST_ROWS", 7)
    kept = whole.curvature(G, H)
    assert np.trace(kept) == pytest.approx(np.sum(sizes[:7]))
    assert (np.linalg.eigvalsh(kept)[::-1] <= everything[:7] * (1 + 1e-12)).all()


def test_a_layer_without_influence_has_no_rows():
    _, _, taken = case("identity", 20, 2)
    G, H = np.zeros((20, 2, 4)), np.broadcast_to(np.eye(2), (20, 2, 2))
    assert WholeLayer.of(taken).curvature(G, H).shape == (0, 0)
    for part in (Neuron(taken, 0), Input(taken, 0)):
        assert not part.curvature(G, H).any()
