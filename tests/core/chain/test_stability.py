"""The bound of the flow's largest eigenvalue against dense spectra."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import Plain, jacobian, problem
from strategies import networks, random_pattern, seeds

from sheafcli.core.chain.sheaf import NeuralSheaf
from sheafcli.core.chain.stability import largest_eigenvalue_bound, spectral_norm
from sheafcli.core.training.heat import Heat

ROUNDING = 1 + 1e-10


def bound_of(network):
    return largest_eigenvalue_bound([np.linalg.norm(W, 2) for W in network.weights[1:]])


def largest(network, pattern):
    return np.linalg.eigvalsh(NeuralSheaf(network).laplacian(pattern).toarray())[-1]


@given(st.integers(1, 12), st.integers(1, 12), seeds)
@settings(max_examples=50)
def test_spectral_norm(rows, columns, seed):
    A = np.random.default_rng(seed).normal(size=(rows, columns))
    assert spectral_norm(A) == pytest.approx(np.linalg.norm(A, 2), rel=1e-12)


def test_spectral_norm_of_special_matrices():
    assert spectral_norm(np.zeros((3, 2))) == 0.0
    assert spectral_norm(np.outer(np.ones(4), np.ones(9))) == pytest.approx(6.0)
    assert spectral_norm(np.array([[np.inf, 1.0]])) == np.inf


@given(networks(), seeds)
@settings(max_examples=60)
def test_bound_of_the_sheaf_laplacian(network, seed):
    assert largest(network, random_pattern(network, seed)) <= bound_of(network) * ROUNDING


@pytest.mark.parametrize("hidden", [(2,), (3, 2), (2, 2, 2)])
def test_bound_of_every_pattern(hidden):
    network, _, _ = problem(hidden=hidden)
    bound = bound_of(network)
    n = sum(hidden)
    for bits in itertools.product([False, True], repeat=n):
        pattern = np.split(np.array(bits), np.cumsum(hidden)[:-1])
        assert largest(network, pattern) <= bound * ROUNDING


@given(networks(widths=st.lists(st.integers(1, 5), min_size=2, max_size=3)))
@settings(max_examples=30)
def test_bound_is_attained_by_one_hidden_layer_all_active(network):
    pattern = [np.ones(n, dtype=bool) for n in network.widths[1:-1]]
    assert bound_of(network) == pytest.approx(largest(network, pattern), rel=1e-10)


def test_stiffness_of_the_output():
    # Depth 0: z_1 alone, on the affine edge and the output edge.
    assert largest_eigenvalue_bound([]) == pytest.approx(1.0)
    assert largest_eigenvalue_bound([], output_stiffness=0.25) == pytest.approx(1.25)
    with np.errstate(invalid="ignore"):
        assert largest_eigenvalue_bound([np.inf]) == np.inf


@pytest.mark.parametrize("samples", [1, 5])
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.3), (0.2, 3.0), (4.0, 0.5)])
def test_bound_is_attained_by_a_linear_model_that_learns(samples, alpha, beta):
    network, X, y = problem(hidden=(), samples=samples)
    session = Heat(steps=1, dt=1e-3, alpha=alpha, beta=beta).start(network, X, y)
    state = Plain.of(network, session.stalks())
    J = jacobian(lambda v: state.from_vector(v).velocity(X, y, alpha, beta).vector(), state.vector())
    true = np.max(np.abs(np.linalg.eigvals(J)))
    assert alpha * session.largest_eigenvalue() == pytest.approx(true, rel=1e-8)


@pytest.mark.parametrize("output", ["identity", "sigmoid", "softmax"])
@pytest.mark.parametrize("hidden", [(), (3,), (3, 2)])
@pytest.mark.parametrize("stalks", ["random", "forward"])
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.25), (2.0, 3.0)])
def test_bound_of_the_joint_flow(output, hidden, stalks, alpha, beta):
    network, X, y = problem(output, hidden, samples=4)
    session = Heat(steps=1000, dt=1e-3, stalks=stalks, alpha=alpha, beta=beta).start(network, X, y)
    for _ in range(3):
        state = Plain.of(session.network(), session.stalks())
        nearest = min((np.min(np.abs(z)) for z in state.z[:-1]), default=1.0)
        J = jacobian(
            lambda v, at=state: at.from_vector(v).velocity(X, y, alpha, beta).vector(),
            state.vector(),
            step=min(1e-4, 0.5 * nearest),
        )
        true = np.max(np.abs(np.linalg.eigvals(J)))
        bound = alpha * session.largest_eigenvalue()
        assert true <= bound * (1 + 1e-5)
        session.advance(300)


def test_the_residual_part_of_the_bound_is_needed():
    # One sample far off its target, weights near zero: the bilinear part alone is the largest eigenvalue.
    network, X, y = problem(hidden=(3,), samples=4)
    start = {"z1": np.full((4, 3), -0.5), "a1": np.zeros((4, 3)), "z2": np.full((4, 2), 40.0)}
    session = Heat(steps=10, dt=1e-3, stalks=start, beta=1.0).start(network, X, y)
    state = Plain.of(session.network(), start)
    J = jacobian(lambda v: state.from_vector(v).velocity(X, y).vector(), state.vector())
    true = np.max(np.abs(np.linalg.eigvals(J)))
    norms = [np.sqrt(np.linalg.norm(A.T @ A + len(A), 2)) for A in (X, state.a[0])]
    without = largest_eigenvalue_bound(
        [np.linalg.norm(network.weights[1], 2)], output_stiffness=1.0, input_norms=norms
    )
    assert without < true <= session.largest_eigenvalue() * ROUNDING
