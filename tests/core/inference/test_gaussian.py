"""The prior, against the textbook formulas with inverses, and on data that never leave a subspace."""

import numpy as np
import pytest

from sheafcli.core.inference.gaussian import FAR, Gaussian


def samples(n=300, d=5, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) * np.array([1.0, 1e3, 1e-3, 2.0, 1.0]) + 3.0


def test_mean_and_covariance_are_those_of_the_samples():
    X = samples()
    prior = Gaussian.of(X)
    np.testing.assert_allclose(prior.mean, X.mean(axis=0))
    np.testing.assert_allclose(prior.root @ prior.root.T, np.cov(X.T), rtol=1e-8)
    np.testing.assert_allclose(prior.spread, X.std(axis=0, ddof=1))


def test_few_samples_span_what_they_span():
    X = samples(n=4)
    prior = Gaussian.of(X)
    assert prior.root.shape == (5, 3)
    scale = np.outer(prior.spread, prior.spread)
    np.testing.assert_allclose(prior.root @ prior.root.T / scale, np.cov(X.T) / scale, atol=1e-10)


def test_the_conditional_is_that_of_the_inverse():
    X = samples()
    C, mean = np.cov(X.T), X.mean(axis=0)
    known = np.array([True, False, True, False, False])
    left = Gaussian.of(X).given(known, X[:3])
    gain = C[np.ix_(~known, known)] @ np.linalg.inv(C[np.ix_(known, known)])
    expected = mean[~known] + (X[:3, known] - mean[known]) @ gain.T
    np.testing.assert_allclose(left.mean[:, ~known], expected, rtol=1e-6)
    np.testing.assert_array_equal(left.mean[:, known], X[:3, known])
    covariance = C[np.ix_(~known, ~known)] - gain @ C[np.ix_(known, ~known)]
    np.testing.assert_allclose((left.root @ left.root.T)[np.ix_(~known, ~known)], covariance, rtol=1e-6)
    off = (X[:3] - mean)[:, known]
    mahalanobis = np.einsum("ij,jk,ik->i", off, np.linalg.inv(C[np.ix_(known, known)]), off)
    np.testing.assert_allclose(left.distance, mahalanobis, rtol=1e-6)


def test_one_hot_columns_still_sum_to_one_and_determine_the_last():
    rng = np.random.default_rng(0)
    X = np.column_stack([np.eye(3)[rng.integers(0, 3, 200)], rng.normal(size=200)])
    prior = Gaussian.of(X)
    np.testing.assert_allclose(prior.root[:3].sum(axis=0), 0.0, atol=1e-12)
    left = prior.given(np.array([True, True, False, False]), np.array([[0.0, 1.0, 9.0, 9.0]]))
    assert left.mean[0, 2] == pytest.approx(0.0, abs=1e-9)
    assert not left.root[2].any()


def test_known_values_off_the_subspace_are_far():
    X = np.column_stack([np.arange(10.0), 2.0 * np.arange(10.0)])
    left = Gaussian.of(X).given(np.array([True, True]), np.array([[0.0, 9.0]]))
    assert left.distance[0] > FAR


def test_a_column_that_does_not_vary_does_not_move():
    X = samples()
    X[:, 1] = 7.0
    prior = Gaussian.of(X)
    assert not prior.root[1].any()
    assert prior.mean[1] == 7.0


def test_coordinates_apart_keep_their_spreads_and_groups_their_covariance():
    X = samples()
    prior = Gaussian.of(X)
    apart = prior.apart([(0, 3)])
    C = apart.root @ apart.root.T
    np.testing.assert_allclose(np.sqrt(np.diag(C)), prior.spread)
    np.testing.assert_allclose(C[0, 3], np.cov(X.T)[0, 3])
    assert C[0, 1] == 0.0


def test_moments_are_taken_as_they_are():
    covariance = np.array([[2.0, 1.0], [1.0, 1.0]])
    prior = Gaussian.of_moments(np.array([1.0, 2.0]), covariance)
    np.testing.assert_allclose(prior.root @ prior.root.T, covariance)


@pytest.mark.parametrize("covariance", [[[1.0, 2.0], [2.0, 1.0]], [[1.0, 0.5], [0.0, 1.0]], [[1.0]]])
def test_what_is_no_covariance_is_refused(covariance):
    with pytest.raises(ValueError, match="covariance must be"):
        Gaussian.of_moments(np.zeros(2), np.array(covariance))


def test_one_sample_has_no_covariance():
    with pytest.raises(ValueError, match="at least two"):
        Gaussian.of(np.zeros((1, 3)))
