"""The pull on the output stalk: against bracketing, scipy.optimize.root, linear algebra and a bound."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, root
from strategies import seeds

from sheafcli.core.multipliers import multipliers
from sheafcli.core.outputs import output_named

EPS = np.finfo(float).eps
CLASSES = ["sigmoid", "softmax"]
OUTPUTS = ["identity", *CLASSES]


@dataclass
class Case:
    """Samples with an explicit S each; `products` counts how often S was applied."""

    output: object
    f: np.ndarray
    y: np.ndarray
    S: np.ndarray
    products: int = 0

    @classmethod
    def draw(cls, output, n_outputs, size, seed=0, samples=12, spread=1.0):
        """Draw S = I + size A A^T, as a network's is, logits of the given spread, and targets."""
        rng = np.random.default_rng(seed)
        A = rng.normal(size=(samples, n_outputs, n_outputs))
        y = {
            "identity": rng.normal(size=(samples, n_outputs)),
            "sigmoid": rng.integers(0, 2, size=(samples, n_outputs)).astype(float),
            "softmax": np.eye(n_outputs)[rng.integers(0, n_outputs, size=samples)],
        }[output]
        S = np.eye(n_outputs) + size * A @ np.swapaxes(A, 1, 2)
        return cls(output_named(output), spread * rng.normal(size=(samples, n_outputs)), y, S)

    def resist(self, v):
        self.products += 1
        assert v.shape == self.f.shape
        return np.einsum("nij,nj->ni", self.S, v)

    def solve(self, gamma, **options):
        return multipliers(self.output, self.f, self.y, gamma, self.resist, **options)[0]

    def left(self, pull, gamma):
        """Return |F| / gamma, entry by entry, with S explicit."""
        z = self.f + np.einsum("nij,nj->ni", self.S, pull)
        return np.abs(pull / gamma + self.output.value(z) - self.y)

    def rounding(self, pull):
        """Return what rounding in S lambda and f alone makes of F / gamma, per sample."""
        sizes = np.einsum("nij,nj->ni", np.abs(self.S), np.abs(pull)) + np.abs(self.f)
        return 1e-12 + 30 * EPS * np.max(sizes, axis=1, keepdims=True)


@pytest.mark.parametrize("gamma", [1e-8, 1e-3, 1.0, 1e4])
@pytest.mark.parametrize("size", [0.0, 1.0, 1e6, 1e10])
@pytest.mark.parametrize("spread", [1.0, 30.0])
def test_one_output_is_where_bracketing_ends(gamma, size, spread):
    """lambda + gamma (phi(f + S lambda) - y) grows with lambda, and its root lies within gamma of 0."""
    case = Case.draw("sigmoid", 1, size, spread=spread)
    pull = case.solve(gamma)
    for found, f, y, S in zip(pull[:, 0], case.f[:, 0], case.y[:, 0], case.S[:, 0, 0], strict=True):

        def slope(now, f=f, y=y, S=S):
            return now / gamma + float(case.output.value(np.array(f + S * now))) - y

        expected = brentq(slope, -gamma, gamma, xtol=1e-300, rtol=4 * EPS, maxiter=2000)
        # One unit in the last place of f + S lambda is not to be had better.
        assert abs(found - expected) <= 1e-12 * gamma + 1e-12 * abs(expected) + 4 * EPS * abs(f) / S


@given(seeds, st.sampled_from(CLASSES), st.integers(2, 5), st.floats(-8, 1), st.floats(-1, 2))
@settings(max_examples=40)
def test_it_is_the_root_that_scipy_finds(seed, output, n_outputs, exponent, size):
    gamma = 10.0**exponent
    case = Case.draw(output, n_outputs, 10.0**size, seed, samples=3)
    pull = case.solve(gamma)
    for i in range(len(pull)):
        f, y, S = case.f[i], case.y[i], case.S[i]

        def equation(now, f=f, y=y, S=S):
            return now + case.output.value((f + gamma * S @ now)[None])[0] - y

        def slopes(now, f=f, S=S):
            return np.eye(n_outputs) + gamma * case.output.jacobian((f + gamma * S @ now)[None])[0] @ S

        # Its own start is a Newton method's worst: scipy begins where the loss is met half way.
        half = np.linalg.solve(gamma * S + np.eye(n_outputs), y - case.output.value(f[None])[0])
        settled = root(equation, half, jac=slopes, tol=1e-13)
        assert np.max(np.abs(settled.fun)) < 1e-11
        np.testing.assert_allclose(pull[i], gamma * settled.x, rtol=0, atol=1e-9 * gamma)


@given(seeds, st.sampled_from(CLASSES), st.integers(1, 5), st.floats(-8, 2), st.floats(-2, 4))
@settings(max_examples=60)
def test_the_equation_holds_to_rounding(seed, output, n_outputs, exponent, size):
    """Whatever S, gamma and the target: F has one root, so to be one is to be the one."""
    gamma = 10.0**exponent
    case = Case.draw(output, n_outputs, 10.0**size, seed, spread=3.0)
    pull = case.solve(gamma)
    assert (case.left(pull, gamma) <= case.rounding(pull)).all()


@pytest.mark.parametrize("output", CLASSES)
@pytest.mark.parametrize(
    ("size", "gamma"),
    [(1e6, 1e-8), (1e6, 1e-3), (1e6, 1.0), (1e6, 1e4), (1e10, 1e-8), (1e10, 1e-3), (1e10, 1.0)],
)
def test_the_equation_holds_where_the_resistance_is_extreme(output, size, gamma):
    for n_outputs in (2, 4, 10):
        case = Case.draw(output, n_outputs, size, spread=3.0)
        pull = case.solve(gamma)
        assert (case.left(pull, gamma) <= case.rounding(pull)).all()


@pytest.mark.parametrize("output", CLASSES)
@pytest.mark.parametrize("right", [True, False])
def test_saturated_samples(output, right):
    """Logits of 1000: nothing pulls where they are right; where they are wrong, lambda is gamma (y - p)."""
    y = np.eye(3)
    f = 1000.0 * (2.0 * y - 1.0) * (1.0 if right else -1.0)
    case = Case(output_named(output), f, y, np.broadcast_to(2.0 * np.eye(3), (3, 3, 3)))
    pull = case.solve(1.0)
    assert (case.left(pull, 1.0) <= case.rounding(pull)).all()
    if right:
        assert np.max(np.abs(pull)) < 1e-300
    elif output == "sigmoid":
        np.testing.assert_allclose(pull, 2.0 * y - 1.0, rtol=1e-12)


@given(seeds, st.integers(1, 5), st.floats(-8, 4), st.floats(-1, 6))
@settings(max_examples=40)
def test_the_identity_is_a_linear_system(seed, n_outputs, exponent, size):
    gamma = 10.0**exponent
    case = Case.draw("identity", n_outputs, 10.0**size, seed)
    expected = np.linalg.solve(case.S + np.eye(n_outputs) / gamma, (case.y - case.f)[:, :, None])[:, :, 0]
    worst = np.max(np.abs(expected))
    np.testing.assert_allclose(case.solve(gamma), expected, rtol=0, atol=1e-9 * worst)


@given(seeds, st.sampled_from(OUTPUTS), st.integers(1, 4), st.floats(-3, 2))
@settings(max_examples=40)
def test_a_start_far_off_ends_at_the_same_root(seed, output, n_outputs, far):
    case = Case.draw(output, n_outputs, 3.0, seed)
    start = 10.0**far * np.random.default_rng(seed).normal(size=case.f.shape)
    before = start.copy()
    np.testing.assert_allclose(case.solve(1.0, start=start), case.solve(1.0), rtol=0, atol=1e-10)
    np.testing.assert_array_equal(start, before)


@given(seeds, st.sampled_from(OUTPUTS), st.floats(-10, -1))
@settings(max_examples=30)
def test_the_tolerance_bounds_the_error_as_a_share_of_lambda(seed, output, exponent):
    """F grows at least as fast as lambda in the norm of S, so that |lambda - root|_S <= |F|_S."""
    gamma, tolerance = 0.1, 10.0**exponent
    case = Case.draw(output, 3, 2.0, seed)
    pull, exact = case.solve(gamma, tolerance=tolerance), case.solve(gamma)
    F = gamma * case.left(pull, gamma)
    assert np.linalg.norm(F) <= (1 + 1e-6) * tolerance * np.linalg.norm(pull) + 1e-13
    error = np.sqrt(np.einsum("ni,nij,nj->n", pull - exact, case.S, pull - exact))
    largest = np.sqrt(np.linalg.eigvalsh(case.S)[:, -1])
    assert (error <= largest * np.linalg.norm(F, axis=1) + 1e-11).all()


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("scale", [1e-6, 1e-3])
def test_small_errors_are_solved_as_well_as_large_ones(output, scale):
    """A default goal that did not shrink with lambda would leave the start as it is."""
    case = Case.draw(output, 3, 10.0)
    case.y = case.output.value(case.f) + scale * (case.y - case.output.value(case.f))
    pull = case.solve(1.0, tolerance=1e-3)
    exact = case.solve(1.0)
    # |S| is about 100 here, and |lambda| between |y - p| / |S| and |y - p|.
    assert np.linalg.norm(pull - exact) <= 0.02 * np.linalg.norm(exact)


@pytest.mark.parametrize("output", OUTPUTS)
def test_single_precision_finds_the_same_root(output):
    double = Case.draw(output, 3, 3.0)
    single = Case(*[double.output, *[v.astype(np.float32) for v in (double.f, double.y, double.S)]])
    found = single.solve(1.0)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, double.solve(1.0), rtol=0, atol=2e-5)
    # A goal below what the precision can hold is not chased.
    assert single.products < 40


class Counting:
    """An output that counts its products by J_phi: one for each Newton step where there is one output."""

    def __init__(self, output):
        self.inner, self.curvature, self.spreads = output, output.curvature, 0

    def value(self, z):
        return self.inner.value(z)

    def spread(self, p, v):
        self.spreads += 1
        return self.inner.spread(p, v)


@pytest.mark.parametrize("gamma", [1e-3, 1.0, 100.0])
def test_one_output_costs_three_products_a_newton_step_at_most(gamma):
    case = Case.draw("sigmoid", 1, 1.0)
    case.output = Counting(case.output)
    case.solve(gamma)
    assert 1 <= case.output.spreads <= 12
    assert case.products <= 1 + 3 * case.output.spreads


@pytest.mark.parametrize("output", CLASSES)
@pytest.mark.parametrize("n_outputs", [2, 4, 10])
def test_products_are_few_where_the_problem_is_tame(output, n_outputs):
    """Newton's method doubles the digits, each step in at most n_{k+1} products: here in fewer."""
    case = Case.draw(output, n_outputs, 0.1)
    case.solve(1.0)
    assert case.products <= 30
    case.products = 0
    case.solve(1e-3)
    assert case.products <= 8


def test_a_good_start_costs_one_product():
    case = Case.draw("softmax", 3, 1.0)
    pull = case.solve(1.0)
    case.products = 0
    again = case.solve(1.0, start=pull, tolerance=1e-12)
    assert case.products == 1
    np.testing.assert_array_equal(again, pull)


def test_what_is_not_finite_ends_the_search():
    case = Case.draw("softmax", 3, 1.0)
    case.f[0, 0] = np.nan
    pull = case.solve(1.0)
    assert np.isnan(pull[0]).any()
    assert case.products <= 100
