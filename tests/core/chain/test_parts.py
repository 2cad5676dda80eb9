"""Parts of a layer against the plain network: what they move, and how that moves the output."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import jacobian, problem

from sheafcli.core.chain import parts
from sheafcli.core.chain.parts import Columns, Neuron, Taken

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


class Given:
    """A tail with the sensitivities G, samples x outputs x n_l."""

    is_free = False

    def __init__(self, G):
        self.G = G

    def sensitivities(self, _):
        return self.G, self.G

    def sensitivity(self, _, j):
        return self.G[:, :, j]


def curvature_of(part, G, negligible=0.0):
    return part.curvature(Given(G), None, negligible)


def parts_of(layer):
    return [Columns.whole(layer), Neuron(layer, 1), Columns.of_input(layer, 0)]


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
    part = Columns.whole(Taken(inputs, matrix, inputs @ matrix.T))
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


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize(("samples", "layer"), CASES)
def test_the_curvature_is_that_of_finite_differences(output, samples, layer):
    """J^T J from J, all logits by central differences in the matrix itself: its products and eigenvalues."""
    network, _, taken = case(output, samples, layer)
    G = np.array(
        [
            jacobian(lambda v: logits_after(network, layer, v[None])[0], taken.z[i], 1e-6)
            for i in range(samples)
        ]
    )
    rng = np.random.default_rng(4)
    for part in parts_of(taken):

        def outputs(entries, part=part):
            return logits_after(network, layer, part.stalk(entries)).ravel()

        J = jacobian(outputs, part.entries, 1e-6)
        expected = J.T @ J
        size = np.linalg.norm(expected, 2) or 1.0
        curvature = curvature_of(part, G)
        found = np.linalg.eigvalsh(curvature.gram)[::-1]
        values = np.linalg.eigvalsh(expected)[::-1][: len(found)]
        np.testing.assert_allclose(found, values, rtol=0, atol=1e-6 * size, err_msg=part.kind)
        g = rng.normal(size=len(part.entries))
        inverse = curvature.inverse(0.7 / size, 0.3)
        np.testing.assert_allclose(
            inverse(g), np.linalg.solve(0.7 / size * expected + 0.3 * np.eye(len(g)), g), rtol=0, atol=1e-5
        )
        np.testing.assert_allclose(
            curvature.log_determinant(1.0 / size),
            np.linalg.slogdet(np.eye(len(g)) + expected / size)[1],
            rtol=0,
            atol=1e-5,
        )


def test_of_too_many_rows_the_largest_are_kept(monkeypatch):
    _, _, taken = case("identity", 20, 2)
    G = np.random.default_rng(0).normal(size=(20, 2, 4))
    sizes = np.sort((np.sum(G**2, axis=2) * np.sum(taken.inputs**2, axis=1)[:, None]).ravel())[::-1]
    whole = Columns.whole(taken)
    everything = np.linalg.eigvalsh(curvature_of(whole, G).gram)[::-1]
    assert np.sum(everything) == pytest.approx(np.sum(sizes))
    few = np.linalg.eigvalsh(curvature_of(whole, G, sizes[9]).gram)[::-1]
    assert np.sum(few) == pytest.approx(np.sum(sizes[:9])), "and none that is negligible"
    monkeypatch.setattr(parts, "MOST_ROWS", 7)
    kept = np.linalg.eigvalsh(curvature_of(whole, G).gram)[::-1]
    assert np.sum(kept) == pytest.approx(np.sum(sizes[:7]))
    assert (kept <= everything[:7] * (1 + 1e-12)).all()
    J = (G[:, :, :, None] * taken.inputs[:, None, None, :]).reshape(40, -1)
    g = np.random.default_rng(1).normal(size=J.shape[1])
    expected = np.linalg.solve(0.01 * J.T @ J + np.eye(len(g)), g)
    solved = curvature_of(whole, G).inverse(0.01, 1.0)(g)
    left = 0.01 * J.T @ (J @ solved) + solved - g
    assert np.linalg.norm(left) <= 0.011 * np.linalg.norm(g), "by all rows, however few are kept"
    assert solved == pytest.approx(expected, abs=0.02 * np.linalg.norm(g))


def test_a_layer_without_influence_has_no_curvature():
    _, _, taken = case("identity", 20, 2)
    for part in parts_of(taken):
        curvature = curvature_of(part, np.zeros((20, 2, 4)))
        assert curvature.log_determinant(1.0) == 0.0
        g = np.ones(len(part.entries))
        np.testing.assert_allclose(curvature.inverse(1.0, 2.0)(g), 0.5 * g, rtol=1e-14)


@pytest.mark.parametrize("samples", [20, 3])
def test_before_free_outputs_the_curvature_is_that_of_each(samples):
    """With the identity behind it a layer's J is I x [a, 1]; an input's is I x a_i."""
    _, _, taken = case("identity", samples, 3)

    class Free:
        is_free = True

    n = taken.z.shape[1]
    a = taken.inputs
    for part, J in (
        (Columns.whole(taken), np.kron(np.eye(n), Columns.whole(taken).inside)),
        (Columns.of_input(taken, 0), np.kron(np.eye(n), a[:, :1])),
    ):
        curvature = part.curvature(Free(), None, 0.0)
        expected = 0.7 * J.T @ J
        g = np.random.default_rng(0).normal(size=len(part.entries))
        np.testing.assert_allclose(
            curvature.inverse(0.7, 0.3)(g), np.linalg.solve(expected + 0.3 * np.eye(len(g)), g), rtol=1e-9
        )
        assert curvature.log_determinant(0.7) == pytest.approx(
            np.linalg.slogdet(np.eye(len(g)) + expected)[1]
        )
