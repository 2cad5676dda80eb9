"""The bundled tables, against scikit-learn and its StandardScaler."""

import sys

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn import datasets
from sklearn.preprocessing import StandardScaler

from sheafcli.errors import InputError
from sheafcli.tasks.bundled import BreastCancer, Diabetes, Digits

SEED = np.random.SeedSequence(3)


@pytest.mark.parametrize(
    ("kind", "load", "output", "target"),
    [
        (Digits, datasets.load_digits, "softmax", "digit"),
        (Diabetes, lambda: datasets.load_diabetes(scaled=False), "identity", "progression"),
        (BreastCancer, datasets.load_breast_cancer, "sigmoid", "diagnosis"),
    ],
)
def test_raw_tables_hold_every_sample_once(kind, load, output, target):
    bunch = load()
    task = kind(standardize=False, test_fraction=0.1).load(SEED, None)
    assert (task.output, task.targets) == (output, (target,))
    assert task.features == tuple(bunch.feature_names)
    assert len(task.X_test) == round(0.1 * len(bunch.data))
    y = np.vstack([task.y_train, task.y_test])
    labels = y.argmax(axis=1) if output == "softmax" else y[:, 0]
    ours = np.column_stack([np.vstack([task.X_train, task.X_test]), labels])
    theirs = np.column_stack([bunch.data, bunch.target])
    np.testing.assert_array_equal(ours[np.lexsort(ours.T)], theirs[np.lexsort(theirs.T)], strict=True)
    if output != "identity":
        assert task.classes == tuple(str(name) for name in bunch.target_names)


@pytest.mark.parametrize("kind", [Digits, Diabetes, BreastCancer])
def test_standardised_by_the_training_part(kind):
    raw, task = (kind(standardize=flag).load(SEED, None) for flag in (False, True))
    scaler = StandardScaler().fit(raw.X_train)
    varies = raw.X_train.std(axis=0) > 0
    for part in ("X_train", "X_test"):
        expected = scaler.transform(getattr(raw, part))[:, varies]
        np.testing.assert_allclose(getattr(task, part)[:, varies], expected, atol=1e-10)
        np.testing.assert_array_equal(getattr(task, part)[:, ~varies], 0)
    if kind is Digits:
        assert not varies.all()
    if kind is Diabetes:
        scaler.fit(raw.y_train)
        np.testing.assert_allclose(task.y_test, scaler.transform(raw.y_test))
        assert np.mean(task.y_train**2) == pytest.approx(1)
    else:
        np.testing.assert_array_equal(task.y_test, raw.y_test)


@pytest.mark.parametrize(
    ("kind", "asked", "allowed"),
    [
        (Digits, "sigmoid", "softmax"),
        (Diabetes, "softmax", "identity"),
        (BreastCancer, "identity", "sigmoid, softmax"),
    ],
)
def test_outputs_that_do_not_fit(kind, asked, allowed):
    with pytest.raises(InputError, match=f"allowed: {allowed} "):
        kind().load(SEED, asked)


def test_two_classes_may_be_one_hot():
    task = BreastCancer().load(SEED, "softmax")
    assert task.n_outputs == 2


def test_without_scikit_learn_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(InputError, match=r"pip install 'sheafcli\[datasets\]'"):
        Digits().load(SEED, None)


@pytest.mark.parametrize(
    "options",
    [
        {"test_fraction": 0},
        {"test_fraction": 1.0},
        {"test_fraction": float("nan")},
        {"test_fraction": "0.25"},
        {"standardize": 1},
        {"path": "x"},
    ],
)
def test_options_that_make_no_sense(options):
    with pytest.raises(ValidationError):
        Diabetes(**options)


def test_digits_are_images_and_other_tables_are_not():
    digits = Digits(standardize=False).load(np.random.SeedSequence(0), None)
    assert digits.shape == (1, 8, 8)
    whole = np.concatenate([digits.X_train, digits.X_test]).reshape(-1, 8, 8)
    known = datasets.load_digits().images
    assert {image.tobytes() for image in whole} == {image.tobytes() for image in known}
    assert Diabetes().load(np.random.SeedSequence(0), None).shape == (10,)
