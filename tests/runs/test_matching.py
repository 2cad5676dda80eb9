"""Models of scikit-learn on data with their names, in another order, or others: its scores are the oracle."""

import warnings

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sheafcli.errors import InputError
from sheafcli.runs import Experiment, RunDirectory
from sheafcli.runs.imported import DataSource, Imported

RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(RNG.normal(size=(80, 3)), columns=["a", "b", "c"])
TWO = (FRAME["a"] + 0.3 * FRAME["b"] > 0.2).to_numpy().astype(int)
THREE = np.digitize(FRAME["a"] - FRAME["c"], [-0.7, 0.7])
VALUES = 1000.0 + 200.0 * FRAME["a"] - 50.0 * FRAME["b"]
OPTIONS = {"hidden_layer_sizes": (8,), "max_iter": 60, "random_state": 0}


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def saved(model, X, y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y)
    skops.io.dump(model, "model.skops")
    return model


def read(workplace, data, target="y"):
    source = DataSource.named(data, [target] if data.endswith(".csv") else [])
    return Imported.read(workplace / "model.skops", RunDirectory(workplace / "run"), source)


def table(frame, y, **options):
    """Write a table, and a configuration that takes it as it is unless options say otherwise."""
    frame.assign(y=y).to_csv("data.csv", index=False)
    settings = "".join(f", {key}: {value}" for key, value in ({"standardize": "false"} | options).items())
    with open("data.yaml", "w") as file:
        file.write(f"task: {{kind: csv, path: data.csv, target: y{settings}}}\nnetwork: {{hidden: [8]}}\n")
    return "data.yaml"


def accuracy(imported):
    """The accuracy on all samples, of both parts."""
    task, figures = imported.task, imported.figures
    parts = {"train": len(task.X_train), "test": len(task.X_test)}
    return sum(figures[f"{part}_accuracy"] * n for part, n in parts.items()) / sum(parts.values())


TEXT_TWO, TEXT_THREE = np.array(["9", "10"])[TWO], np.array(["9", "10", "11"])[THREE]

CLASSES = {
    "two numbers": (TWO, TWO),
    "two texts": (np.array(["no", "yes"])[TWO], np.array(["no", "yes"])[TWO]),
    "two texts in another order": (TEXT_TWO, TEXT_TWO),
    "three texts in another order": (TEXT_THREE, TEXT_THREE),
    "numbers from one": (THREE + 1, THREE + 1),
    "numbers with a point": (THREE.astype(float), THREE),
    "truth values": (TWO.astype(bool), np.array(["false", "true"])[TWO]),
    "truth values and codes": (TWO.astype(bool), TWO),
    "words that are no markup": (np.array(["[red]", "类别", "[/b]"])[THREE],) * 2,
}


@pytest.mark.parametrize("name", CLASSES)
def test_classes_are_matched_by_name(workplace, name):
    fitted_on, written = CLASSES[name]
    model = saved(MLPClassifier(**OPTIONS), FRAME.to_numpy(), fitted_on)
    imported = read(workplace, table(FRAME, written))
    assert accuracy(imported) == pytest.approx(model.score(FRAME.to_numpy(), fitted_on), abs=1e-12)
    chances = model.predict_proba(FRAME.to_numpy())
    in_file = [str(label).removesuffix(".0").lower() for label in model.classes_]
    if name == "truth values and codes":
        in_file = ["0", "1"]
    by_name = chances[:, [in_file.index(label) for label in imported.task.classes]]
    expected = by_name[:, 1:] if len(in_file) == 2 else by_name
    np.testing.assert_allclose(imported.network.predict(FRAME.to_numpy()), expected, rtol=0, atol=1e-10)
    assert any("put in the data's order" in note for note in imported.notes) == ("another order" in name)
    if len(in_file) == 2:
        assert f"the probability of class {imported.task.classes[1]}" in imported.notes[-1]


def test_what_is_written_is_the_network_in_the_order_of_the_data(workplace):
    saved(MLPClassifier(**OPTIONS), FRAME.to_numpy(), TEXT_THREE)
    imported = read(workplace, table(FRAME, TEXT_THREE))
    run = RunDirectory(workplace / "run")
    imported.write(run, overwrite=False)
    again = Experiment.load(run / "config.yaml")
    np.testing.assert_array_equal(again.network.logits(FRAME), imported.network.logits(FRAME))
    assert again.task.classes == ("9", "10", "11")


@pytest.mark.parametrize(
    ("fitted_on", "written", "words"),
    [
        (np.array(["no", "yes"])[TWO], TWO, "the file's classes are no, yes; the data's are 0, 1"),
        (THREE, THREE + 1, "the file's classes are 0, 1, 2; the data's are 1, 2, 3"),
        (TWO, TWO + 1, "the file's classes are 0, 1; the data's are 1, 2"),
        (np.array(["no", "yes"])[TWO], np.array(["No", "Yes"])[TWO], "the data's are No, Yes"),
    ],
)
def test_classes_that_differ_are_refused(workplace, fitted_on, written, words):
    saved(MLPClassifier(**OPTIONS), FRAME.to_numpy(), fitted_on)
    with pytest.raises(InputError, match=words) as caught:
        read(workplace, table(FRAME, written))
    assert caught.value.path.name == "model.skops"


def test_of_many_names_those_that_differ_are_told(workplace):
    frame = pd.DataFrame(RNG.normal(size=(80, 30)), columns=[f"c{i}" for i in range(30)])
    saved(MLPClassifier(**OPTIONS), frame, TWO)
    renamed = frame.rename(columns={"c7": "seven"})
    with pytest.raises(InputError, match="the file alone has c7, the data alone seven:"):
        read(workplace, table(renamed, TWO))


@pytest.mark.parametrize(
    ("fitted_on", "written", "words"),
    [
        (np.array(["no", "yes"])[TWO], None, "no, yes of the file are 0, 1 of the data"),
        (THREE + 1, None, "1, 2, 3 of the file are 0, 1, 2 of the data"),
        (THREE, np.array(["x", "y", "z"])[THREE], "0, 1, 2 of the file are x, y, z of the data"),
        (THREE, None, None),
    ],
)
def test_numbers_that_are_no_names_are_taken_by_position_aloud(workplace, fitted_on, written, words):
    model = saved(MLPClassifier(**OPTIONS), FRAME.to_numpy(), fitted_on)
    codes = np.unique(fitted_on, return_inverse=True)[1]
    if written is None:
        X = FRAME.to_numpy()
        np.savez("data.npz", X_train=X[:60], y_train=codes[:60], X_test=X[60:], y_test=codes[60:])
        imported = read(workplace, "data.npz")
    else:
        imported = read(workplace, table(FRAME, written))
    assert accuracy(imported) == pytest.approx(model.score(FRAME.to_numpy(), fitted_on), abs=1e-12)
    positions = [note for note in imported.notes if "by position" in note]
    assert positions == ([] if words is None else [f"the classes are taken by position: {words}"])


def test_inputs_are_matched_by_name(workplace):
    model = saved(make_pipeline(StandardScaler(), MLPClassifier(**OPTIONS)), FRAME, THREE)
    shuffled = FRAME[["c", "a", "b"]]
    imported = read(workplace, table(shuffled, THREE))
    assert accuracy(imported) == pytest.approx(model.score(FRAME, THREE), abs=1e-12)
    expected = model.predict_proba(FRAME)
    np.testing.assert_allclose(imported.network.predict(shuffled.to_numpy()), expected, rtol=0, atol=1e-10)
    assert "the inputs are put in the data's order, c, a, b; the file has a, b, c" in imported.notes


def test_inputs_that_differ_are_refused_and_those_without_names_are_taken_by_position(workplace):
    model = saved(MLPClassifier(**OPTIONS), FRAME, THREE)
    with pytest.raises(InputError, match="the file's inputs are a, b, c; the data's are a, b, d"):
        read(workplace, table(FRAME.rename(columns={"c": "d"}), THREE))
    X = FRAME.to_numpy()
    np.savez("data.npz", X_train=X[:60], y_train=THREE[:60], X_test=X[60:], y_test=THREE[60:])
    imported = read(workplace, "data.npz")
    assert accuracy(imported) == pytest.approx(model.score(FRAME, THREE), abs=1e-12)
    assert (
        "the inputs are taken by position: a, b, c of the file are x1, x2, x3 of the data" in imported.notes
    )


def test_labels_are_scored_as_scikit_learn_scores_them(workplace):
    labels = (FRAME.to_numpy() > 0.1).astype(int)
    model = saved(MLPClassifier(**OPTIONS), FRAME.to_numpy(), labels)
    X = FRAME.to_numpy()
    np.savez("data.npz", X_train=X[:60], y_train=labels[:60], X_test=X[60:], y_test=labels[60:])
    assert accuracy(read(workplace, "data.npz")) == pytest.approx(model.score(X, labels), abs=1e-12)


# Scaled once --------------------------------------------------------------------------------


def squared_error(imported, model):
    """The mean squared error of a regressor on the samples as the task gives them, by both."""
    task = imported.task
    z, y = imported.network.predict(task.X_test), task.y_test
    return np.mean((z - y) ** 2), np.mean((model.predict(task.X_test) - y[:, 0]) ** 2)


def test_a_classifier_with_its_own_scaler_takes_the_table_as_it_is(workplace):
    raw = FRAME * 10.0 + 50.0
    model = saved(make_pipeline(StandardScaler(), MLPClassifier(**OPTIONS)), raw.to_numpy(), TWO)
    table(raw, TWO)
    imported = read(workplace, "data.csv")
    assert accuracy(imported) == pytest.approx(model.score(raw.to_numpy(), TWO), abs=1e-12)
    assert any("the data is taken as it is (task.standardize: false)" in note for note in imported.notes)
    assert "standardize: false" in imported.configuration


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("source", ["data.csv", "data.yaml"])
def test_a_regressor_with_its_own_scaler_predicts_the_target_as_it_is(workplace, source):
    raw = FRAME * 10.0 + 50.0
    model = saved(
        make_pipeline(StandardScaler(), MLPRegressor(solver="lbfgs", **OPTIONS)), raw.to_numpy(), VALUES
    )
    table(raw, VALUES, **({} if source == "data.csv" else {"standardize": "false"}))
    imported = read(workplace, source)
    ours, theirs = squared_error(imported, model)
    assert ours == pytest.approx(theirs, rel=1e-6)
    assert imported.task.y_train.mean() > 900.0


def test_a_scaler_of_the_target_alone_leaves_the_inputs_to_the_task(workplace):
    scaled = pd.DataFrame(StandardScaler().fit_transform(FRAME), columns=FRAME.columns)
    saved(
        TransformedTargetRegressor(MLPRegressor(**OPTIONS), transformer=StandardScaler()),
        scaled.to_numpy(), VALUES,
    )  # fmt: skip
    table(FRAME, VALUES)
    imported = read(workplace, "data.csv")
    assert "standardize: inputs" in imported.configuration
    assert imported.task.y_train.mean() > 900.0
    np.testing.assert_allclose(imported.task.X_train.mean(axis=0), 0.0, atol=1e-12)


@pytest.mark.parametrize("given", ["true", "inputs"])
def test_scaling_that_is_asked_for_is_done_and_said_to_come_before_the_file_s_own(workplace, given):
    saved(make_pipeline(StandardScaler(), MLPClassifier(**OPTIONS)), FRAME.to_numpy(), TWO)
    imported = read(workplace, table(FRAME, TWO, standardize=given))
    assert f"task.standardize: {given} scales it before that" in " ".join(imported.notes)
    np.testing.assert_allclose(imported.task.X_train.mean(axis=0), 0.0, atol=1e-12)


def test_a_configuration_that_does_not_ask_is_not_taken_to_ask(workplace):
    raw = FRAME * 10.0 + 50.0
    model = saved(make_pipeline(StandardScaler(), MLPClassifier(**OPTIONS)), raw.to_numpy(), TWO)
    raw.assign(y=TWO).to_csv("data.csv", index=False)
    with open("data.yaml", "w") as file:
        file.write("task: {kind: csv, path: data.csv, target: y}\nnetwork: {hidden: [8]}\n")
    assert accuracy(read(workplace, "data.yaml")) == pytest.approx(
        model.score(raw.to_numpy(), TWO), abs=1e-12
    )
