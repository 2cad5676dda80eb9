"""Activations with kinks as their own means, against the integral by the midpoint rule."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheafcli.core.averaged import Averaged
from sheafcli.core.operations import Abs, Clip, HardSigmoid, LeakyReLU, ReLU

KINKED = (ReLU(), LeakyReLU(0.1), Clip(-0.5, 1.5), Abs(), HardSigmoid())
points = st.lists(st.floats(-9.0, 9.0), min_size=1, max_size=5).map(lambda z: np.array([z]))


@pytest.mark.parametrize("operation", KINKED, ids=lambda operation: type(operation).__name__)
@given(x=points, eps=st.floats(1e-3, 4.0))
def test_it_is_the_mean_over_uncertain_inputs_with_its_slope(operation, x, eps):
    steps = 2000
    u = eps * ((np.arange(steps) + 0.5) / steps * 2.0 - 1.0)
    averaged = Averaged(operation, np.array(eps))
    expected = np.mean(operation.forward(x[..., None] + u), axis=-1)
    np.testing.assert_allclose(averaged.forward(x), expected, rtol=1e-12, atol=eps / steps**2 + 1e-14)
    # The slope of a mean is the mean slope: the difference of g over the width, no quadrature needed.
    slope = (operation.forward(x + eps) - operation.forward(x - eps)) / (2.0 * eps)
    np.testing.assert_allclose(averaged.at(x).jvp(np.ones_like(x)), slope, rtol=0, atol=1e-9)


@pytest.mark.parametrize("operation", KINKED, ids=lambda operation: type(operation).__name__)
def test_it_follows_its_softness_and_without_any_is_the_operation(operation):
    x, eps = np.linspace(-4.0, 4.0, 33)[None], np.array(2.0)
    averaged = Averaged(operation, eps)
    assert np.any(averaged.forward(x) != operation.forward(x))
    eps[...] = 0.0
    np.testing.assert_array_equal(averaged.forward(x), operation.forward(x))
    np.testing.assert_array_equal(averaged.at(x).jvp(x), operation.at(x).jvp(x))
