"""`sc.infer`: names, masks, priors, and what is refused; the mathematics is tried in tests/core/inference."""

import numpy as np
import pandas as pd
import pytest

import sheafcli as sc

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 3)) @ RNG.normal(size=(3, 3))
NETWORK = sc.Network.he([3, 10, 1], seed=1)
Y = NETWORK.predict(X)


def test_a_data_frame_names_what_is_free_and_the_target_is_met():
    frame = pd.DataFrame(X[:4], columns=["age", "income", "debt"])
    found = sc.infer(NETWORK, frame, target=Y[4:8], free=["income"], prior=X, bounds={"income": (-50, 50)})
    np.testing.assert_array_equal(found.X[:, [0, 2]], X[:4][:, [0, 2]])
    reached = found.inferred.missed <= 1e-6
    np.testing.assert_allclose(NETWORK.predict(found.X)[reached], Y[4:8][reached], atol=1e-5)
    assert list(found.table.columns[:2]) == ["income", "income_std"]
    assert "free: income" in repr(found)


def test_what_is_nan_is_free_and_the_rest_stays():
    lacking = X[:6].copy()
    lacking[0, 1] = lacking[3, 2] = np.nan
    found = sc.infer(NETWORK, lacking, target=Y[:6], prior=X, stiffness=100.0)
    known = ~np.isnan(lacking)
    np.testing.assert_array_equal(found.X[known], lacking[known])
    assert (found.deviation[~known] > 0.0).all()
    assert not found.deviation[known].any()
    # A precise target says more than the known inputs alone.
    alone = sc.infer(NETWORK, lacking, prior=X, nearby=False)
    assert (found.deviation[~known] < alone.deviation[~known]).all()


def test_means_may_be_one_a_sample():
    means = np.stack([X.mean(axis=0), X.mean(axis=0) + 1.0])
    found = sc.infer(NETWORK, np.full((2, 3), np.nan), prior=(means, np.cov(X.T)), nearby=False)
    np.testing.assert_allclose(found.X, means, atol=1e-9)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"free": ["x9"]}, "no input is called 'x9'"),
        ({"free": [7]}, "numbered 0 to 2"),
        ({"bounds": {"x1": (2.0, 1.0)}}, "contradict"),
        ({"kappa": -1.0}, "kappa must be"),
        ({"stiffness": 0.0}, "stiffness must be"),
        ({"prior": X[:1]}, "at least two complete samples"),
        ({"free": np.ones((2, 2), dtype=bool)}, "mask of what is free"),
        ({"prior": (np.zeros(2), np.eye(2))}, "the prior's mean must have shape"),
        ({"probability": 0.9}, "a probability is of the class"),
    ],
)
def test_what_does_not_fit_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        sc.infer(NETWORK, X[:2], **({"target": Y[:2], "prior": X} | options))


def test_a_class_may_be_wanted_with_a_probability():
    network = sc.Network.he([3, 6, 3], "softmax", seed=2)
    target = np.eye(3)[[0, 2]]
    found = sc.infer(network, X[:2], target=target, prior=X, probability=0.7)
    assert (np.sum(network.predict(found.X) * target, axis=1) >= 0.7).all()
    for options, words in (
        ({"probability": 1.0}, "probability must be above 0 and below 1"),
        ({"target": np.full((2, 3), 1 / 3)}, "a hard target of classes is 0 or 1"),
    ):
        with pytest.raises(ValueError, match=words):
            sc.infer(network, X[:2], **({"target": target, "prior": X} | options))


def test_inputs_that_are_nan_and_not_free_are_refused():
    lacking = X[:2].copy()
    lacking[1, 0] = np.nan
    with pytest.raises(ValueError, match="x1 of sample 1 is NaN and not free"):
        sc.infer(NETWORK, lacking, target=Y[:2], free=["x2"], prior=X)
    with pytest.raises(ValueError, match="sparse change needs samples"):
        sc.infer(NETWORK, lacking, target=Y[:2], prior=X, sparse=True)
