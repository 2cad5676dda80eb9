"""scikit-learn is the oracle: the network that is read predicts what the fitted model does."""

import warnings
import zipfile

import numpy as np
import pytest
import skops.io
from model_files import assert_damage_is_refused_or_harmless, refusal
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from sheafcli.interop.models import SKLEARN_SNIPPET, read_model

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4)) * [1.0, 10.0, 0.1, 3.0] + 2.0
VALUES = X @ RNG.normal(size=(4, 2))
TWO = X[:, 0] > 2.0
THREE = np.array(["low", "middle", "high"])[np.digitize(X[:, 1], [-3.0, 6.0])]
MANY = np.stack([X[:, 0] > 2.0, X[:, 2] > 2.0, X[:, 3] > 2.0], axis=1).astype(int)


def fitted(model, y, dtype=np.float64):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(X.astype(dtype), y)


def saved(path, model):
    skops.io.dump(model, path)
    return path


def classifier(**options):
    return MLPClassifier(hidden_layer_sizes=(7, 5), max_iter=30, random_state=0, **options)


def regressor(**options):
    return MLPRegressor(hidden_layer_sizes=(6,), max_iter=30, random_state=0, **options)


def probability_of_the_second(model):
    return model.predict_proba(X)[:, 1:]


CASES = {
    "values": (regressor(), VALUES, lambda model: model.predict(X), "identity"),
    "one value": (regressor(), VALUES[:, 0], lambda model: model.predict(X)[:, None], "identity"),
    "two classes": (classifier(), TWO, probability_of_the_second, "sigmoid"),
    "three classes": (classifier(), THREE, lambda model: model.predict_proba(X), "softmax"),
    "labels": (classifier(), MANY, lambda model: model.predict_proba(X), "sigmoid"),
    "sgd": (classifier(solver="sgd"), THREE, lambda model: model.predict_proba(X), "softmax"),
    "lbfgs": (classifier(solver="lbfgs"), THREE, lambda model: model.predict_proba(X), "softmax"),
    "early stopping": (classifier(early_stopping=True), TWO, probability_of_the_second, "sigmoid"),
    "no activation": (regressor(activation="identity"), VALUES, lambda model: model.predict(X), "identity"),
    "scaled": (
        make_pipeline(StandardScaler(), classifier()), THREE, lambda model: model.predict_proba(X), "softmax"
    ),
    "scaled by half": (
        make_pipeline(
            StandardScaler(with_mean=False),
            "passthrough",
            StandardScaler(with_mean=False, with_std=False),
            StandardScaler(with_std=False),
            regressor(),
        ),
        VALUES, lambda model: model.predict(X), "identity",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_fitted_model_predicts_the_same(tmp_path, name):
    unfitted, y, predict, output = CASES[name]
    model = fitted(unfitted, y)
    found = read_model(saved(tmp_path / "model.skops", model))
    np.testing.assert_allclose(found.network.predict(X), predict(model), rtol=1e-9, atol=1e-12)
    assert found.network.output.name == output
    assert found.format == "scikit-learn"
    assert found.says_output


def test_a_float32_model_agrees_to_a_millionth(tmp_path):
    model = fitted(classifier(), THREE, np.float32)
    assert model.coefs_[0].dtype == np.float32
    found = read_model(saved(tmp_path / "model.skops", model))
    expected = model.predict_proba(X.astype(np.float32))
    np.testing.assert_allclose(found.network.predict(X.astype(np.float32)), expected, rtol=0.0, atol=1e-6)


def test_notes_say_what_the_one_output_is_and_what_was_folded(tmp_path):
    model = fitted(make_pipeline(StandardScaler(), classifier()), np.where(TWO, "yes", "no"))
    assert read_model(saved(tmp_path / "model.skops", model)).notes == (
        "the one output is the probability of class yes",
        "StandardScaler is folded into layer 1, the layer after it",
    )


@pytest.mark.parametrize("name", ["values", "two classes", "three classes"])
def test_the_lines_that_write_plain_npz_do_so(tmp_path, monkeypatch, name):
    unfitted, y, predict, output = CASES[name]
    model = fitted(unfitted, y)
    monkeypatch.chdir(tmp_path)
    exec(SKLEARN_SNIPPET, {"np": np, "model": model})
    found = read_model(tmp_path / "model.npz")
    np.testing.assert_allclose(found.network.predict(X), predict(model), rtol=1e-9, atol=1e-12)
    assert found.network.output.name == output


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (lambda: fitted(regressor(activation="tanh"), VALUES), "activation 'tanh'"),
        (lambda: fitted(classifier(activation="logistic"), TWO), "activation 'logistic'"),
        (lambda: fitted(regressor(loss="poisson"), np.abs(VALUES)), "ends in 'exp'"),
        (lambda: fitted(LinearRegression(), VALUES), "holds a LinearRegression"),
        (lambda: fitted(make_pipeline(MinMaxScaler(), regressor()), VALUES), "a MinMaxScaler before the MLP"),
        (regressor, "MLPRegressor has no coefs_: fit it"),
        (
            lambda: make_pipeline(StandardScaler(), regressor()),
            "StandardScaler has no mean_: fit it",
        ),
        (lambda: [1, 2, 3], "holds a list"),
    ],
)
def test_what_a_sheaf_does_not_cover_is_named(tmp_path, model, words):
    assert words in refusal(saved(tmp_path / "model.skops", model()))


class Stranger:
    def __init__(self):
        self.value = 1


def test_types_that_no_mlp_needs_are_not_trusted(tmp_path):
    message = refusal(saved(tmp_path / "model.skops", Stranger()))
    assert "Stranger, which no MLP needs" in message


def test_weights_that_are_no_numbers_are_refused(tmp_path):
    model = fitted(regressor(), VALUES)
    model.coefs_[0][0, 0] = np.nan
    assert "layer 1 holds NaN" in refusal(saved(tmp_path / "model.skops", model))
    model.coefs_[0] = "weights"
    assert "array of numbers was expected" in refusal(saved(tmp_path / "model.skops", model))
    model.coefs_ = model.coefs_[1:]
    refusal(saved(tmp_path / "model.skops", model))
    model.coefs_ = 3
    assert "not as scikit-learn makes it" in refusal(saved(tmp_path / "model.skops", model))
    model.out_activation_ = []
    assert "not as scikit-learn makes it" in refusal(saved(tmp_path / "model.skops", model))


def test_an_array_that_announces_more_than_it_holds_is_refused(tmp_path):
    whole = saved(tmp_path / "whole.skops", fitted(regressor(), VALUES))
    path = tmp_path / "model.skops"
    small, large = b"(4, 6), }         ", b"(400000000, 6), } "
    changed = 0
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w") as archive:
        for name in source.namelist():
            content = source.read(name)
            changed += small in content
            archive.writestr(name, content.replace(small, large))
    assert changed
    assert "announces 19200000000 bytes and holds 192" in refusal(path)


@pytest.mark.filterwarnings("ignore")
def test_damage_is_refused_or_harmless(tmp_path):
    path = tmp_path / "model.skops"
    content = saved(path, fitted(regressor(solver="lbfgs"), VALUES)).read_bytes()
    assert_damage_is_refused_or_harmless(path, content, 300)
