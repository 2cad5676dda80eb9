"""Output functions against closed forms and finite differences."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import PHI, jacobian
from strategies import seeds

from sheafcli.core.outputs import OUTPUTS, output_named

NAMES = ("identity", "sigmoid", "softmax")


def draw(name, samples, outputs, seed):
    """Return logits and targets that fit an output."""
    rng = np.random.default_rng(seed)
    z = 2.0 * rng.normal(size=(samples, outputs))
    if name == "identity":
        return z, rng.normal(size=z.shape)
    if name == "sigmoid":
        return z, rng.random(z.shape)
    y = rng.random(z.shape)
    return z, y / y.sum(axis=1, keepdims=True)


cases = given(st.sampled_from(NAMES), st.integers(1, 4), st.integers(1, 4), seeds)


def test_the_names():
    assert tuple(OUTPUTS) == NAMES
    for name in NAMES:
        assert output_named(name).name == name
    with pytest.raises(ValueError, match=r"'relu'.*identity, sigmoid, softmax"):
        output_named("relu")


@cases
def test_value_is_its_formula(name, samples, outputs, seed):
    z, _ = draw(name, samples, outputs, seed)
    np.testing.assert_allclose(output_named(name).value(z), PHI[name](z), rtol=1e-13)


@cases
@settings(max_examples=50)
def test_gradient_of_the_potential_is_the_error(name, samples, outputs, seed):
    z, y = draw(name, samples, outputs, seed)
    output = output_named(name)
    gradient = jacobian(lambda v: output.potential(v.reshape(z.shape), y), z.ravel())
    found = gradient.sum(axis=0).reshape(z.shape)
    np.testing.assert_allclose(found, PHI[name](z) - y, rtol=0, atol=1e-7)
    assert output.potential(z, y).shape == (samples,)


@cases
def test_potentials_of_many_logits_at_once_are_those_of_each(name, samples, outputs, seed):
    z, y = draw(name, samples, outputs, seed)
    many = np.stack([z, -z, z + y])
    found = output_named(name).potential(many, y)
    np.testing.assert_allclose(found, [output_named(name).potential(one, y) for one in many], rtol=1e-14)


@cases
@settings(max_examples=50)
def test_spread_of_the_residual_is_the_gradient_of_half_its_square(name, samples, outputs, seed):
    z, y = draw(name, samples, outputs, seed)

    def half_square(v):
        return np.atleast_1d(0.5 * np.sum((PHI[name](v.reshape(z.shape)) - y) ** 2))

    found = jacobian(half_square, z.ravel()).reshape(z.shape)
    p = output_named(name).value(z)
    np.testing.assert_allclose(output_named(name).spread(p, p - y), found, rtol=0, atol=1e-7)


@cases
@settings(max_examples=50)
def test_curvature_bounds_the_jacobian_of_value(name, samples, outputs, seed):
    z, _ = draw(name, samples, outputs, seed)
    for row in z:
        J = jacobian(lambda v: PHI[name](v[None, :])[0], row)
        assert np.linalg.norm(J, 2) <= output_named(name).curvature + 1e-7


@cases
@settings(max_examples=30)
def test_jacobian_is_that_of_value(name, samples, outputs, seed):
    z, _ = draw(name, samples, outputs, seed)
    found = output_named(name).jacobian(z)
    assert found.shape == (samples, outputs, outputs)
    for row, J in zip(z, found, strict=True):
        expected = jacobian(lambda v: PHI[name](v[None, :])[0], row)
        np.testing.assert_allclose(J, expected, rtol=0, atol=1e-7)


@cases
@settings(max_examples=30)
def test_a_root_squared_is_the_jacobian(name, samples, outputs, seed):
    z, _ = draw(name, samples, outputs, seed)
    G = np.random.default_rng(seed).normal(size=(samples, outputs, 3))
    R_G = output_named(name).root(z, G)
    expected = np.swapaxes(G, 1, 2) @ output_named(name).jacobian(z) @ G
    np.testing.assert_allclose(np.swapaxes(R_G, 1, 2) @ R_G, expected, rtol=0, atol=1e-12 * np.sum(G**2))


@pytest.mark.parametrize("name", NAMES)
def test_curvature_is_attained(name):
    J = jacobian(lambda v: PHI[name](v[None, :])[0], np.zeros(2))
    assert np.linalg.norm(J, 2) == pytest.approx(output_named(name).curvature, abs=1e-7)


def test_losses_by_hand():
    z, y = np.array([[1.0, 2.0], [0.0, -2.0]]), np.array([[0.0, 2.0], [2.0, 0.0]])
    assert output_named("identity").loss(z, y) == pytest.approx((1 + 0 + 4 + 4) / 4)
    assert output_named("identity").discord(z, y) == pytest.approx((1 + 8) / 2)
    z, y = np.log(np.array([[3.0], [0.25]])), np.array([[1.0], [0.0]])
    by_hand = (-np.log(0.75) - np.log(0.8)) / 2
    assert output_named("sigmoid").loss(z, y) == pytest.approx(by_hand)
    assert output_named("sigmoid").discord(z, y) == pytest.approx(by_hand)
    z, y = np.log(np.array([[1.0, 2.0, 5.0], [6.0, 2.0, 2.0]])), np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    by_hand = (-np.log(5 / 8) - np.log(2 / 10)) / 2
    assert output_named("softmax").loss(z, y) == pytest.approx(by_hand)
    assert output_named("softmax").discord(z, y) == pytest.approx(by_hand)


def test_accuracies_by_hand():
    z = np.array([[3.0, -1.0], [0.0, 2.0], [1.0, 0.5], [-1.0, 4.0]])
    y = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    assert output_named("identity").accuracy(z, y) is None
    assert output_named("sigmoid").accuracy(z, y) == 2 / 4  # samples with both labels right
    assert output_named("softmax").accuracy(z, y) == 2 / 4
    assert [output_named(name).classifies for name in NAMES] == [False, True, True]


@pytest.mark.parametrize("name", ["sigmoid", "softmax"])
def test_extreme_logits_neither_overflow_nor_lose_the_loss(name):
    output = output_named(name)
    z = np.array([[1e3, -1e3], [-1e3, 1e3]])
    right, wrong = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[0.0, 1.0], [1.0, 0.0]])
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        np.testing.assert_array_equal(output.value(z), right)
        assert output.loss(z, right) == 0.0
        assert output.loss(z, wrong) == 2e3
        np.testing.assert_array_equal(output.spread(right, right - wrong), np.zeros((2, 2)))
        assert output.accuracy(z, right) == 1.0
        assert output.discord(z, wrong) == 2e3
