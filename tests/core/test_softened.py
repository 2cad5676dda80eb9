"""Rounded kinks: bounds, slopes by differences, and the true edge where mixtures are known."""

import numpy as np
import pytest

from sheafcli.core.operations import Abs, Clip, LeakyReLU, MaxPooling, ReLU
from sheafcli.core.softened import soften

OPERATIONS = [
    ReLU(),
    LeakyReLU(0.2),
    Abs(),
    Clip(-0.5, 0.5),
    MaxPooling((2, 2)),
    MaxPooling((3, 2), 1, (1, 1)),
]
EPS = np.full((3, 1, 1, 1), 0.3)


@pytest.fixture
def edge():
    """Return what an edge reads, with ties of maxima and zeros, and what it ends at."""
    rng = np.random.default_rng(0)
    u = rng.normal(size=(3, 2, 4, 4))
    u[0, :, :2] = 0.0
    return lambda operation: (u, operation.forward(u) + rng.normal(size=operation.forward(u).shape))


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_the_rounded_residual_is_no_larger_than_the_true_one(operation, edge):
    u, x = edge(operation)
    true = operation.forward(u) - x
    soft = soften(operation, u, x, EPS, 0.5)
    assert np.all(np.abs(soft.residual) <= np.abs(true) + 1e-12)
    assert np.all(soft.residual * true >= 0.0)
    np.testing.assert_allclose(soft.residual + soft.error, true, atol=1e-12)
    assert np.max(np.abs(soft.error)) <= 2 * 0.3


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_the_slope_of_the_cost_is_that_of_differences(operation, edge):
    u, x = edge(operation)
    u = u + 1e-3 * np.random.default_rng(1).normal(size=u.shape)
    du = np.random.default_rng(2).normal(size=u.shape)
    soft = soften(operation, u, x, EPS, 0.5)
    costs = [
        0.5 * np.sum(soften(operation, u + step * du, x, EPS, 0.5).residual ** 2) for step in (1e-6, -1e-6)
    ]
    slope = np.sum(soft.residual * soft.restriction.jvp(du))
    assert (costs[0] - costs[1]) / 2e-6 == pytest.approx(slope, rel=1e-5)
    (back,) = soft.restriction.vjp(soft.residual)
    assert np.sum(back * du) == pytest.approx(slope, rel=1e-12)


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_springs_are_what_the_slope_bends_by(operation, edge):
    u, x = edge(operation)
    u = u + 1e-3 * np.random.default_rng(1).normal(size=u.shape)
    du = np.random.default_rng(2).normal(size=u.shape)
    soft = soften(operation, u, x, EPS, 0.5)
    slopes = []
    for step in (1e-6, -1e-6):
        moved = soften(operation, u + step * du, x, EPS, 0.5)
        slopes.append(np.sum(moved.residual * moved.restriction.jvp(du)))
    acts = soft.residual != 0.0
    bend = np.sum(soft.stiffness * soft.read(du) ** 2) + np.sum(acts * soft.restriction.jvp(du) ** 2)
    assert (slopes[0] - slopes[1]) / 2e-6 == pytest.approx(bend, rel=1e-4)
    m = np.random.default_rng(3).normal(size=soft.stiffness.shape)
    assert np.sum(m * soft.read(du)) == pytest.approx(np.sum(soft.place(m) * du), rel=1e-10)


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_where_mixtures_are_known_nothing_is_rounded(operation, edge):
    u, x = edge(operation)
    mixture = 0.5
    for _ in range(200):
        soft = soften(operation, u, x, EPS, mixture)
        mixture = soft.mixture
    np.testing.assert_allclose(soft.error, 0.0, atol=1e-12)
