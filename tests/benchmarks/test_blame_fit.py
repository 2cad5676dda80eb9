"""How blame is fitted and measured: the logit by scikit-learn's, calibration by hand."""

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import blame_fit


def test_of_networks_of_one_layer_the_logit_is_a_logistic_regression():
    """Of two answers, a fault and none, P(fault) is a sigmoid of w . u - v . u_0, ridge and all."""
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    u, u_none = rng.standard_normal((60, 2)), np.column_stack([np.ones(60), rng.standard_normal(60)])
    fault = (u @ [1.0, -0.5] + u_none[:, 1] + rng.logistic(size=60) > 0.3).astype(int)
    seen = [blame_fit.Seen(u[i : i + 1], u_none[i], int(fault[i]), i) for i in range(60)]
    w, v = blame_fit.fitted_logit(seen, ridge=3.0)
    scale, scale_none = u.std(axis=0), u_none[:, 1].std()
    X = np.column_stack([u / scale, -u_none[:, 1] / scale_none])
    expected = LogisticRegression(C=1 / 3.0, tol=1e-10, max_iter=1000).fit(
        X, fault, sample_weight=blame_fit.weights_of(seen)
    )
    found = [*(w * scale), v[1] * scale_none]
    np.testing.assert_allclose(found, expected.coef_[0], rtol=1e-3, atol=1e-3)
    assert -v[0] == pytest.approx(expected.intercept_[0], rel=1e-3, abs=1e-3)


def test_faults_and_none_weigh_alike_however_many_they_are():
    seen = [blame_fit.Seen(np.zeros((1, 1)), np.ones(1), int(i > 0), i) for i in range(5)]
    weights = blame_fit.weights_of(seen)
    assert weights[0] == pytest.approx(weights[1:].sum())
    assert weights.sum() == pytest.approx(5.0)


def test_the_calibration_error_is_the_mean_distance_in_bins():
    sure = np.array([0.95, 0.95, 0.95, 0.95, 0.55, 0.55])
    right = np.array([True, True, True, False, True, True])
    assert blame_fit.calibration_error(sure, right) == pytest.approx((4 * 0.20 + 2 * 0.45) / 6)


def test_answers_as_sure_as_they_are_right_are_off_by_chance_alone():
    """Of n answers that say 0.5 in one bin the error is |mean - 0.5|: 0.4 / sqrt(n) on average."""
    rng = np.random.default_rng(1)
    right, number = rng.random(400) < 0.5, np.arange(400)
    spread = blame_fit.spread_of_error(np.full(400, 0.5), right, number)
    assert spread["calibration_error_if_perfect"] == pytest.approx(np.sqrt(0.5 / np.pi / 400), rel=0.05)
    assert spread["calibration_error_if_perfect_95"] == pytest.approx(1.96 * 0.5 / 20, rel=0.1)
    # The bootstrap's is the spread of |mean - 0.5|, near that of the mean itself where it is off by much.
    assert 0.2 * 0.025 < spread["calibration_error_standard_error"] < 1.2 * 0.025


def test_a_network_that_is_left_out_is_not_fitted_on():
    """A score that tells the fault in every network but one fold's, where it misleads, misleads there."""
    rng = np.random.default_rng(2)
    seen = []
    for number in range(40):
        u = rng.standard_normal((3, 1)) * 0.01
        fault = int(rng.integers(1, 4))
        u[fault - 1] += 1.0 if number % blame_fit.FOLDS else -1.0
        seen += [
            blame_fit.Seen(u, np.ones(1), fault, number),
            blame_fit.Seen(0 * u, np.ones(1), 0, number),
        ]
    told = blame_fit.validated(seen, 0.1)
    assert told["top_1"] == pytest.approx(1.0 - 5 / 40)
