"""Local least squares against scikit-learn and NumPy, and on residuals of which the answer is known."""

import numpy as np
import pytest
from oracles import problem
from sklearn.linear_model import LinearRegression

from sheafcli.core.chain.extension import extend
from sheafcli.core.chain.local_fit import explainable_share, local_fits

OUTPUTS = ["identity", "sigmoid", "softmax"]


@pytest.mark.parametrize("signal", [0.2, 1.0, 5.0])
def test_the_share_is_that_of_linear_regression(signal):
    rng = np.random.default_rng(0)
    a = rng.normal(size=(60, 5))
    residual = signal * (a @ rng.normal(size=(5, 3)) + 0.5) + rng.normal(size=(60, 3))
    left = np.sum((residual - LinearRegression().fit(a, residual).predict(a)) ** 2)
    expected = 1.0 - (left / (60 - 6)) / (np.sum(residual**2) / 60)
    assert expected > 0.02
    assert explainable_share(residual, a) == pytest.approx(expected, rel=1e-10)


def test_what_is_linear_is_explained_in_full():
    rng = np.random.default_rng(1)
    a = rng.normal(size=(30, 4))
    assert explainable_share(a @ rng.normal(size=(4, 2)) + 3.0, a) == pytest.approx(1.0, abs=1e-14)


@pytest.mark.parametrize("columns", [1, 10, 50])
def test_of_noise_nothing_is_explained_however_many_columns(columns):
    """The adjusted share of noise has mean 0 before it is cut off there, and here a deviation below 0.05."""
    rng = np.random.default_rng(2)
    shares = [
        explainable_share(rng.normal(size=(200, 10)), rng.normal(size=(200, columns))) for _ in range(20)
    ]
    assert np.mean(shares) < 0.02
    assert max(shares) < 0.05
    assert min(shares) == 0.0


def test_columns_that_say_the_same_count_once():
    rng = np.random.default_rng(3)
    a, residual = rng.normal(size=(20, 3)), rng.normal(size=(20, 2)) + 1.0
    doubled = np.hstack([a, a, np.full((20, 1), 7.0), np.zeros((20, 5))])
    assert explainable_share(residual, doubled) == pytest.approx(explainable_share(residual, a), rel=1e-9)


def test_it_is_unknown_without_residual_or_with_as_many_columns_as_samples():
    rng = np.random.default_rng(4)
    assert np.isnan(explainable_share(np.zeros((9, 2)), rng.normal(size=(9, 2))))
    assert np.isnan(explainable_share(rng.normal(size=(6, 2)), rng.normal(size=(6, 5))))
    assert not np.isnan(explainable_share(rng.normal(size=(7, 2)), rng.normal(size=(7, 5))))


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("hidden", [(), (5,), (5, 4)])
@pytest.mark.parametrize("samples", [30, 3, 1])
def test_a_repair_never_makes_the_loss_worse(output, hidden, samples):
    network, X, y = problem(output, hidden, samples)
    before = network.output.loss(network.logits(X), y)
    fits = local_fits(network, X, y, extend(network, X, target=y).cochain)
    assert [fit.layer for fit in fits] == list(range(1, len(hidden) + 2))
    for fit in fits:
        assert fit.loss <= before
        assert np.isnan(fit.explainable) or 0.0 <= fit.explainable <= 1.0


@pytest.mark.parametrize("hidden", [(), (5,), (5, 4)])
def test_the_last_layer_of_a_regression_is_fitted_as_by_least_squares(hidden):
    network, X, y = problem("identity", hidden, 30)
    before = X
    for z in network.pre_activations(X)[:-1]:
        before = np.maximum(z, 0.0)
    settled = extend(network, X, target=y).cochain
    a = settled.a[network.depth] if hidden else X
    *_, fit = local_fits(network, X, y, settled)
    expected = np.mean((LinearRegression().fit(before, y).predict(before) - y) ** 2)
    assert fit.loss == pytest.approx(expected, rel=1e-10)
    residual = y - a @ network.weights[-1].T - network.biases[-1]
    columns = np.hstack([a, np.ones((30, 1))])
    left = np.sum((residual - columns @ np.linalg.lstsq(columns, residual, rcond=1e-8)[0]) ** 2)
    rank = np.linalg.matrix_rank(columns)
    share = 1.0 - (left / (30 - rank)) / (np.sum(residual**2) / 30)
    assert fit.explainable == pytest.approx(max(0.0, share), rel=1e-9)


def test_what_the_layers_share_is_put_right_by_one_of_them():
    """All targets are one off: the first of two layers must move by more than its own residual says."""
    network, X, _ = problem("identity", (6,), 30, outputs=1)
    y = network.logits(X) * 1.5
    before = network.output.loss(network.logits(X), y)
    first, last = local_fits(network, X, y, extend(network, X, target=y).cochain)
    assert last.loss < 1e-20 * before
    assert first.loss < 0.3 * before
