"""scikit-learn is the oracle: the network that is read predicts what the fitted model does."""

import json
import sys
import warnings
import zipfile
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import skops.io
from model_files import assert_damage_is_refused_or_harmless, refusal
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_transformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    RobustScaler,
    StandardScaler,
)

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
    "every scaler": (
        make_pipeline(
            RobustScaler(), MinMaxScaler((-3, 5)), MaxAbsScaler(), RobustScaler(with_centering=False),
            RobustScaler(with_scaling=False), FunctionTransformer(), regressor(),
        ),
        VALUES, lambda model: model.predict(X), "identity",
    ),
    "a robust scaler that does nothing": (
        make_pipeline(RobustScaler(with_centering=False, with_scaling=False), regressor()),
        VALUES, lambda model: model.predict(X), "identity",
    ),
    "nested": (
        make_pipeline(
            make_pipeline(StandardScaler(), MinMaxScaler()), make_pipeline(MaxAbsScaler(), classifier())
        ),
        TWO, probability_of_the_second, "sigmoid",
    ),
    "by column": (
        make_pipeline(
            ColumnTransformer(
                [
                    ("s", make_pipeline(StandardScaler(), MinMaxScaler()), [2, 0]),
                    ("d", "drop", [1]),
                    ("r", RobustScaler(), slice(-1, None)),
                ]
            ),
            MaxAbsScaler(),
            classifier(),
        ),
        THREE, lambda model: model.predict_proba(X), "softmax",
    ),
    "the rest as it is": (
        make_pipeline(
            make_column_transformer((StandardScaler(), [3]), remainder="passthrough"), classifier()
        ),
        THREE, lambda model: model.predict_proba(X), "softmax",
    ),
    "the rest scaled": (
        make_pipeline(
            make_column_transformer((StandardScaler(), [False, True, False, True]), remainder=MinMaxScaler()),
            classifier(),
        ),
        THREE, lambda model: model.predict_proba(X), "softmax",
    ),
    "grid": (
        GridSearchCV(
            make_pipeline(StandardScaler(), classifier()), {"mlpclassifier__alpha": [1e-4, 1.0]}, cv=2,
            scoring=make_scorer(accuracy_score),
        ),
        THREE, lambda model: model.predict_proba(X), "softmax",
    ),
    "search": (
        RandomizedSearchCV(regressor(), {"alpha": [1e-4, 1.0]}, n_iter=2, cv=2, random_state=0),
        VALUES, lambda model: model.predict(X), "identity",
    ),
    "a scaled target": (
        TransformedTargetRegressor(
            make_pipeline(StandardScaler(), regressor()), transformer=StandardScaler()
        ),
        1000.0 + 200.0 * VALUES, lambda model: model.predict(X), "identity",
    ),
    "a target scaled twice": (
        TransformedTargetRegressor(regressor(), transformer=make_pipeline(MinMaxScaler(), StandardScaler())),
        VALUES[:, 0], lambda model: model.predict(X)[:, None], "identity",
    ),
    "a target as it is": (
        TransformedTargetRegressor(regressor()),
        VALUES[:, 0], lambda model: model.predict(X)[:, None], "identity",
    ),
    "no hidden layer": (
        MLPClassifier(hidden_layer_sizes=(), max_iter=30, random_state=0),
        THREE, lambda model: model.predict_proba(X), "softmax",
    ),
    "two labels": (classifier(), MANY[:, :2], lambda model: model.predict_proba(X), "sigmoid"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_fitted_model_predicts_the_same(tmp_path, name):
    unfitted, y, predict, output = CASES[name]
    model = fitted(unfitted, y)
    found = read_model(saved(tmp_path / "model.skops", model))
    np.testing.assert_allclose(found.network.predict(X), predict(model), rtol=1e-10, atol=1e-10)
    assert found.network.output.name == output
    assert found.format == "scikit-learn"
    assert found.says_output


def test_a_float32_model_agrees_to_a_millionth(tmp_path):
    model = fitted(classifier(), THREE, np.float32)
    assert model.coefs_[0].dtype == np.float32
    found = read_model(saved(tmp_path / "model.skops", model))
    expected = model.predict_proba(X.astype(np.float32))
    np.testing.assert_allclose(found.network.predict(X.astype(np.float32)), expected, rtol=0.0, atol=1e-6)


def test_notes_say_what_was_chosen_and_what_was_folded(tmp_path):
    search = GridSearchCV(make_pipeline(StandardScaler(), classifier()), {}, cv=2)
    assert read_model(saved(tmp_path / "model.skops", fitted(search, TWO))).notes == (
        "of the GridSearchCV the best estimator is read",
        "StandardScaler is folded into layer 1, the layer after it",
    )


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (np.where(TWO, "yes", "no"), ("no", "yes")),
        (pd.Series(np.where(TWO, "yes", "no"), dtype=object), ("no", "yes")),
        (TWO, ("False", "True")),
        (np.array([9, 10, 11])[np.digitize(X[:, 1], [-3.0, 6.0])], ("9", "10", "11")),
        (np.array(["9", "10", "11"])[np.digitize(X[:, 1], [-3.0, 6.0])], ("10", "11", "9")),
        (TWO.astype(float), ("0", "1")),
        (MANY, ()),  # labels: classes_ numbers the columns
        (MANY[:, :2], ()),
    ],
)
def test_classes_have_their_names_in_the_order_of_the_outputs(tmp_path, y, classes):
    model = fitted(classifier(), y)
    assert read_model(saved(tmp_path / "model.skops", model)).classes == classes
    if classes:
        assert [str(c).removesuffix(".0") for c in model.classes_] == list(classes)


FRAME = pd.DataFrame(X, columns=["a", "b c", "d", "[e]"])


@pytest.mark.parametrize(
    "model",
    [
        regressor(),
        make_pipeline("passthrough", make_pipeline(StandardScaler(), MinMaxScaler()), regressor()),
        make_pipeline(ColumnTransformer([("s", StandardScaler(), ["d", "a"])]), regressor()),
        GridSearchCV(make_pipeline(StandardScaler(), regressor()), {}, cv=2),
        TransformedTargetRegressor(regressor(), transformer=StandardScaler()),
    ],
)
def test_inputs_have_the_names_of_the_columns_they_were_fitted_on(tmp_path, model):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = model.fit(FRAME, VALUES)
    found = read_model(saved(tmp_path / "model.skops", model))
    assert found.features == tuple(model.feature_names_in_ if hasattr(model, "feature_names_in_") else FRAME)
    np.testing.assert_allclose(found.network.predict(X), model.predict(FRAME), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("name", "scales"),
    [
        ("values", (False, False)),
        ("scaled", (True, False)),
        ("by column", (True, False)),
        ("grid", (True, False)),
        ("a scaled target", (True, True)),
        ("a target scaled twice", (False, True)),
        ("a target as it is", (False, False)),
        ("a robust scaler that does nothing", (False, False)),
    ],
)
def test_a_file_tells_whether_it_scales_inputs_and_targets_itself(tmp_path, name, scales):
    unfitted, y, _, _ = CASES[name]
    found = read_model(saved(tmp_path / "model.skops", fitted(unfitted, y)))
    assert (found.scales_inputs, found.scales_targets) == scales


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
        (
            lambda: fitted(make_pipeline(Normalizer(), regressor()), VALUES),
            "a Normalizer stands before the MLP",
        ),
        (
            lambda: fitted(make_pipeline(FunctionTransformer(np.arcsinh), regressor()), VALUES),
            "a FunctionTransformer stands before the MLP",
        ),
        (
            lambda: fitted(make_pipeline(ColumnTransformer([("n", Normalizer(), [0])]), regressor()), VALUES),
            "a Normalizer stands before the MLP",
        ),
        (
            lambda: fitted(
                make_pipeline(
                    ColumnTransformer([("n", MinMaxScaler(), [0])], transformer_weights={"n": 2}), regressor()
                ),
                VALUES,
            ),
            "transformer_weights",
        ),
        (
            lambda: fitted(make_pipeline(MinMaxScaler(clip=True), regressor()), VALUES),
            "the MinMaxScaler has clip=True",
        ),
        (
            lambda: fitted(
                TransformedTargetRegressor(regressor(), func=np.arcsinh, inverse_func=np.sinh), VALUES
            ),
            "a FunctionTransformer stands",
        ),
        (lambda: fitted(OneVsRestClassifier(classifier()), TWO), "holds a OneVsRestClassifier"),
        (lambda: GridSearchCV(regressor(), {}), "GridSearchCV has no best_estimator_: fit it"),
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


def test_what_is_not_of_scikit_learn_is_not_taken_for_it(tmp_path):
    assert "it holds a Stranger" in refusal(saved(tmp_path / "model.skops", Stranger()))
    strange = type("MLPClassifier", (MLPClassifier,), {"__module__": "mine"})
    sys.modules["mine"] = SimpleNamespace(MLPClassifier=strange)
    try:
        path = saved(tmp_path / "strange.skops", fitted(strange(), TWO))
    finally:
        del sys.modules["mine"]
    assert "it holds a MLPClassifier of mine" in refusal(path)


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


def schema(folder, node):
    path = folder / "model.skops"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("schema.json", node if isinstance(node, str) else json.dumps(node))
    return path


def test_references_nested_in_references_are_not_followed(tmp_path):
    """Lists of ten references to the list before: 10^40 values, were they followed."""
    listed = {
        "__class__": "list",
        "__module__": "builtins",
        "__loader__": "ListNode",
        "__id__": 1,
        "content": [],
    }
    for number in range(2, 42):
        repeats = [listed, *[{"__id__": number - 1}] * 9]
        listed = listed | {"__id__": number, "content": repeats}
    assert "not a whole .skops file" in refusal(schema(tmp_path, listed))


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ('{"__loader__": "JsonNode", "content": "' + "1" * 2**24 + '"}', "at most 16777216 are read"),
        ("[" * 100_000 + "]" * 100_000, "not a whole .skops file"),
        ("[1, 2]", "not a whole .skops file"),
        ('{"__loader__": "NdArrayNode", "type": "numpy", "file": "no.npy"}', "not a whole .skops file"),
    ],
)
def test_a_tree_that_skops_does_not_write_is_refused(tmp_path, node, words):
    assert words in refusal(schema(tmp_path, node))


def test_an_array_that_is_named_often_is_read_once(tmp_path, monkeypatch):
    model = fitted(regressor(activation="identity"), VALUES)
    model.coefs_, model.intercepts_ = [np.eye(4)] * 50, [np.ones(4)] * 50
    path = saved(tmp_path / "model.skops", model)
    read_array, reads = np.lib.format.read_array, []
    monkeypatch.setattr(
        np.lib.format, "read_array", lambda *a, **options: reads.append(1) or read_array(*a, **options)
    )
    assert read_model(path).network.widths == (4, 4)
    assert len(reads) == 2


@pytest.mark.filterwarnings("ignore")
def test_damage_is_refused_or_harmless(tmp_path):
    path = tmp_path / "model.skops"
    content = saved(path, fitted(regressor(solver="lbfgs"), VALUES)).read_bytes()
    assert_damage_is_refused_or_harmless(path, content, 300)
