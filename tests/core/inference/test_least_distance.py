"""The least distance, against the conditions of Karush, Kuhn and Tucker, which make it the only solution."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sheafcli.core.inference.least_distance import least_distance


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 7), st.integers(0, 3), st.integers(0, 12))
def test_the_conditions_of_the_only_minimum_hold(seed, n, equations, inequalities):
    rng = np.random.default_rng(seed)
    equations = min(equations, n - 1)
    C, G = rng.normal(size=(equations, n)), rng.normal(size=(inequalities, n))
    inside = rng.normal(size=n)
    c, h = C @ inside, G @ inside - rng.uniform(0.0, 1.0, size=inequalities)
    found = least_distance(C, c, G, h)
    assert found is not None
    np.testing.assert_allclose(C @ found.v, c, atol=1e-7)
    assert (G @ found.v >= h - 1e-7).all()
    assert (found.push >= 0.0).all()
    np.testing.assert_allclose(C.T @ found.equal + G.T @ found.push, found.v, atol=1e-7)
    np.testing.assert_allclose(found.push * (G @ found.v - h), 0.0, atol=1e-6)


def test_inequalities_that_contradict_one_another_have_no_point():
    G = np.array([[1.0, 0.0], [-1.0, 0.0]])
    assert least_distance(np.zeros((0, 2)), np.zeros(0), G, np.array([1.0, 0.0])) is None


def test_an_inequality_may_contradict_an_equation():
    G = np.array([[1.0, 0.0]])
    assert least_distance(np.array([[1.0, 0.0]]), np.array([0.0]), G, np.array([1.0])) is None


def test_a_box_cuts_off_what_an_equation_asks_for():
    """min x^2 + y^2 with x + y = 4 and x <= 1 is (1, 3)."""
    found = least_distance(np.array([[1.0, 1.0]]), np.array([4.0]), np.array([[-1.0, 0.0]]), np.array([-1.0]))
    assert found is not None
    np.testing.assert_allclose(found.v, [1.0, 3.0], atol=1e-12)
