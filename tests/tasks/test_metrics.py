"""Metrics against scikit-learn's."""

import numpy as np
import pytest
from sklearn import metrics as sk

from sheafcli.tasks.metrics import calibration_error, metrics_of
from sheafcli.tasks.target_column import TargetColumn


def quantities(n=2):
    names, means, scales = ("a", "b")[:n], (5.0, -1.0)[:n], (3.0, 0.1)[:n]
    return TargetColumn(names=names, output="identity", means=means, scales=scales)


def drawn(seed, shape):
    return np.random.default_rng(seed).normal(size=shape)


def softmax(z):
    powers = np.exp(z - z.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def test_quantities_are_measured_in_their_own_units():
    target, y, p = quantities(), drawn(0, (50, 2)), drawn(1, (50, 2))
    found = metrics_of(target, p, y)
    truth, predicted = target.values(y), target.values(p)
    for j, quantity in enumerate(found.quantities):
        pair = truth[:, j], predicted[:, j]
        assert quantity.r2 == pytest.approx(sk.r2_score(*pair))
        assert quantity.rmse == pytest.approx(sk.root_mean_squared_error(*pair))
        assert quantity.mae == pytest.approx(sk.mean_absolute_error(*pair))
    assert set(found.figures) == {"r2"}
    assert set(metrics_of(quantities(1), p[:, :1], y[:, :1]).figures) == {"r2", "rmse", "mae"}


@pytest.mark.parametrize("seed", range(4))
def test_classes_are_scored_as_scikit_learn_scores_them(seed):
    rng = np.random.default_rng(seed)
    target = TargetColumn(names=("kind",), output="softmax", classes=("p", "q", "r", "s"))
    labels = rng.integers(0, 4, size=80)
    # Rounded, so that there are ties.
    p = softmax(np.round(drawn(seed, (80, 4)), 1) + 0.8 * np.eye(4)[labels])
    found, predicted = metrics_of(target, p, np.eye(4)[labels]), p.argmax(axis=1)
    np.testing.assert_array_equal(found.confusion, sk.confusion_matrix(labels, predicted))
    expected = sk.precision_recall_fscore_support(labels, predicted, zero_division=0)
    for name, theirs in zip(("precision", "recall", "f1", "samples"), expected, strict=True):
        np.testing.assert_allclose([getattr(score, name) for score in found.classes], theirs)
    for code, score in enumerate(found.classes):
        assert score.auc == pytest.approx(sk.roc_auc_score(labels == code, p[:, code]))
    assert found.accuracy == sk.accuracy_score(labels, predicted)
    assert found.figures["f1"] == pytest.approx(sk.f1_score(labels, predicted, average="macro"))
    assert found.figures["auc"] == pytest.approx(sk.roc_auc_score(labels, p, multi_class="ovr"))


def test_two_classes_of_one_output():
    target = TargetColumn(names=("ill",), output="sigmoid", classes=("no", "yes"))
    rng = np.random.default_rng(3)
    y = rng.integers(0, 2, size=(60, 1)).astype(float)
    p = 1.0 / (1.0 + np.exp(-(drawn(3, (60, 1)) + y)))
    found = metrics_of(target, p, y)
    np.testing.assert_array_equal(found.confusion, sk.confusion_matrix(y[:, 0], p[:, 0] > 0.5))
    assert found.classes[1].auc == pytest.approx(sk.roc_auc_score(y[:, 0], p[:, 0]))
    assert found.classes[1].f1 == pytest.approx(sk.f1_score(y[:, 0], p[:, 0] > 0.5))


def test_several_yes_or_no_targets_have_a_row_each_and_no_confusion_matrix():
    target = TargetColumn(names=("u", "v"), output="sigmoid", classes=("no", "yes"))
    rng = np.random.default_rng(4)
    y, p = rng.integers(0, 2, size=(60, 2)).astype(float), rng.uniform(size=(60, 2))
    found = metrics_of(target, p, y)
    assert found.confusion is None
    for j, score in enumerate(found.classes):
        assert score.name == ("u", "v")[j]
        assert score.precision == pytest.approx(sk.precision_score(y[:, j], p[:, j] >= 0.5))
        assert score.auc == pytest.approx(sk.roc_auc_score(y[:, j], p[:, j]))
    assert found.accuracy == pytest.approx(sk.accuracy_score(y, p >= 0.5))


def test_a_class_that_is_not_there_has_no_auc_and_is_left_out_of_the_mean():
    target = TargetColumn(names=("kind",), output="softmax", classes=("p", "q", "r"))
    p = softmax(drawn(5, (20, 3)))
    labels = np.arange(20) % 2
    found = metrics_of(target, p, np.eye(3)[labels])
    assert np.isnan(found.classes[2].auc)
    assert found.figures["auc"] == pytest.approx(np.mean([score.auc for score in found.classes[:2]]))


def test_a_target_that_does_not_vary_has_no_r2():
    found = metrics_of(quantities(1), drawn(6, (5, 1)), np.ones((5, 1)))
    assert np.isnan(found.quantities[0].r2)


def test_the_calibration_error_is_the_mean_over_bins_by_their_size():
    confidence = np.array([0.55, 0.58, 0.95, 0.99, 1.0, 0.6])
    right = np.array([True, False, True, True, False, True])
    first = abs(np.mean([0.55, 0.58, 0.6]) - 2 / 3)  # above 0.5 up to 0.6
    last = abs(np.mean([0.95, 0.99, 1.0]) - 2 / 3)
    assert calibration_error(confidence, right) == pytest.approx(0.5 * first + 0.5 * last)


def test_what_says_seven_tenths_and_is_right_in_seven_of_ten_is_calibrated():
    confidence, right = np.full(1000, 0.7), np.arange(1000) < 700
    assert calibration_error(confidence, right) == pytest.approx(0.0, abs=1e-12)
