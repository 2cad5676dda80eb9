"""`sheaf predict` and tables in ONNX files: against the history of the run, pandas, and ONNX Runtime."""

import io
import json
import shutil
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import sheafcli as sc
from sheafcli.cli.app import main
from sheafcli.runs import Experiment, RunDirectory, conduct
from sheafcli.runs.observer import Silent

TABLE = """\
name: people
task:
  kind: csv
  path: people.csv
  target: {target}
  missing: impute
  rare: 0.03
  dates: {{since: '%d.%m.%Y'}}
  exclude: [{exclude}]
network: {{hidden: [8, 5]}}
training: {{method: equilibrium, steps: 60, log_every: 20}}
"""


def people(n=160, seed=0):
    generator = np.random.default_rng(seed)
    age = generator.integers(18, 90, n).astype(float)
    town = generator.choice(["Aachen", "Bonn", "Coburg", "Dorum"], n, p=[0.5, 0.3, 0.18, 0.02])
    member = generator.choice(["yes", "no"], n)
    since = pd.Timestamp("2001-02-03") + pd.to_timedelta(generator.integers(0, 5000, n), unit="D")
    income = np.round(1000 + 30 * age + 200 * (member == "yes") + generator.normal(0, 50, n), 2)
    columns = {"age": age, "town": town, "member": member, "since": since.strftime("%d.%m.%Y")}
    table = pd.DataFrame(columns | {"income": income, "job": np.where(age > 60, "none of these", "works")})
    for column in ("age", "town", "since", "member"):
        table.loc[generator.random(n) < 0.1, column] = np.nan
    return table


TARGETS = {"income": "job", "job": "income"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Runs on a messy table, with a quantity and with classes to predict, trained once."""
    folder = tmp_path_factory.mktemp("people")
    people().to_csv(folder / "people.csv", index=False)
    for target, exclude in TARGETS.items():
        path = folder / f"{target}.yaml"
        path.write_text(TABLE.format(target=target, exclude=exclude))
        experiment = Experiment.load(path)
        directory = RunDirectory(folder / target)
        directory.create(experiment.config, overwrite=False)
        conduct(experiment, directory, Silent())
    return folder


@pytest.fixture(params=TARGETS)
def target(request, folder, trained):
    """A copy of one of the runs, named run; the name of its target."""
    shutil.copytree(trained / request.param, folder / "run")
    return request.param


def test_the_own_test_part_gives_the_loss_of_the_history(sheaf, target):
    outcome = sheaf("predict", "run")
    assert outcome.code == 0
    final = RunDirectory(Path("run")).manifest()["final"]
    table = pd.read_csv(io.StringIO(outcome.out))
    truth = people().iloc[table["line"] - 2].reset_index(drop=True)
    if target == "income":
        scale = people()["income"].iloc[_train_rows(table)].std(ddof=0)
        loss = np.mean(((table["prediction"] - truth["income"]) / scale) ** 2)
    else:
        p = np.where(truth["job"] == "works", table["p(works)"], table["p(none of these)"])
        loss = -np.mean(np.log(p))
    assert loss == pytest.approx(final["test_loss"], rel=1e-9)
    told = float(outcome.err.split("mean loss ")[1])
    assert told == pytest.approx(final["test_loss"], rel=1e-5)
    pd.testing.assert_series_equal(table[target], truth[target], check_dtype=False)


def _train_rows(test):
    return np.setdiff1d(np.arange(len(people())), test["line"] - 2)


def test_a_file_in_another_order_gives_the_same_as_the_own_rows(sheaf, target, folder):
    own = pd.read_csv(io.StringIO(sheaf("predict", "run", "--budget").out)).set_index("line")
    table = people()[["since", "member", "age", "town"]].assign(note="x, y")
    table.to_csv("new.csv", index=False, sep=";", decimal=",")
    outcome = sheaf("predict", "run", "--data", "new.csv", "--output", "out.csv", "--budget")
    assert (outcome.code, outcome.out) == (0, "")
    assert "left alone: 'note'" in outcome.err
    assert "missing values are filled in: 'age' in" in outcome.err
    made = pd.read_csv("out.csv").set_index("line")
    assert made.index.tolist() == list(range(2, len(table) + 2))
    assert made.columns.tolist() == [name for name in own.columns if name != target]
    pd.testing.assert_frame_equal(made.loc[own.index], own[made.columns], rtol=1e-12)
    layers = [name for name in made if name.startswith("budget(")]
    np.testing.assert_allclose(made[layers].sum(axis=1), made["budget"], rtol=1e-12)
    assert sheaf("predict", "run", "--output", "out.csv").code == 2


def test_standard_input_json_and_the_notebook_give_the_same(sheaf, target, monkeypatch, capsys):
    table = people().drop(columns=list(TARGETS)).head(20)
    text = table.to_csv(index=False)
    with pytest.warns(UserWarning, match="filled in"):
        expected = sc.predict("run", table)
    arguments = ["sheaf", "predict", "run", "--data", "-", "--format", "json"]
    monkeypatch.setattr(sys, "argv", arguments)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    with pytest.raises(SystemExit) as caught:
        main()
    assert not caught.value.code
    records = json.loads(capsys.readouterr().out)
    assert [record.pop("line") for record in records] == list(range(2, 22))
    found = pd.DataFrame(records)
    pd.testing.assert_frame_equal(found, expected.drop(columns="row"), rtol=1e-12)


def test_the_first_rows_alone(sheaf, target):
    people().to_csv("new.csv", index=False)
    for data in ("test", "new.csv"):
        whole, some = (
            pd.read_csv(io.StringIO(sheaf("predict", "run", "--data", data, *more).out))
            for more in ((), ("--limit", 3))
        )
        # As many rows as are taken together, so a product may be summed: the last digits differ.
        pd.testing.assert_frame_equal(some, whole.head(3), rtol=1e-10)


def test_unseen_categories_are_told_with_their_rows(sheaf, target):
    table = people().dropna().head(6).drop(columns=list(TARGETS))
    table.iloc[2, table.columns.get_loc("town")] = "Xanten"
    table.iloc[4, table.columns.get_loc("town")] = "Zwickau"
    table.to_csv("new.csv", index=False)
    outcome = sheaf("predict", "run", "--data", "new.csv")
    assert outcome.code == 0
    assert (
        "2 rows have categories in 'town' that no training row has: 'Xanten', 'Zwickau' (line 4, 6)"
        in outcome.err
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"age": None}, ["columns that the network needs are missing: 'age'"]),
        ({"age": None, "town": "towns"}, ["'age'", "'town' (is it 'towns'?)"]),
    ],
)
def test_a_table_without_a_column_is_refused(refused, target, change, words):
    table = people().drop(columns=[name for name, new in change.items() if new is None])
    table.rename(columns={name: new for name, new in change.items() if new}).to_csv("new.csv", index=False)
    told = refused("predict", "run", "--data", "new.csv", words=words[0])
    assert all(word in told for word in words)


def test_all_cells_that_cannot_be_used_are_told(refused, target):
    table = people().astype(object).fillna("")
    table.loc[1, "age"], table.loc[3, "member"], table.loc[5, "since"] = "old", "maybe", "2024-01-31"
    table.to_csv("new.csv", index=False)
    told = refused("predict", "run", "--data", "new.csv", words="new.csv:3: 'old' in 'age' is not a number")
    assert "new.csv:5: 'maybe' in 'member' is neither no nor yes" in told
    assert "new.csv:7: '2024-01-31' in 'since' is no date" in told


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds nothing"),
        ("age,town,member,since\n", "no row below it"),
        ("age,town,member,since\n1,Bonn,yes\n", "3 cells and the first row has 4"),
        ("age,town,member,since,age\n1,Bonn,yes,01.02.2003,2\n", "two columns are called 'age'"),
    ],
)
def test_files_that_are_no_table_are_refused(refused, target, folder, text, words):
    (folder / "new.csv").write_text(text)
    refused("predict", "run", "--data", "new.csv", words=words)


def test_arrays_and_runs_without_a_table(sheaf, run, folder):
    network = sc.load(run)
    X = np.random.default_rng(0).normal(size=(7, 2))
    np.savez("x.npz", X=X)
    pd.DataFrame(X, columns=["x1", "x2"]).to_csv("x.csv", index=False)
    for name in ("x.npz", "x.csv"):
        table = pd.read_csv(io.StringIO(sheaf("predict", run, "--data", name).out))
        np.testing.assert_allclose(table["prediction"], network.predict(X)[:, 0], rtol=1e-12)
    outcome = sheaf("predict", run, "--data", "validation")
    assert outcome.code == 2
    assert "no validation part" in outcome.err


def test_onnx_runtime_predicts_the_same_from_the_raw_table(sheaf, target):
    onnxruntime = pytest.importorskip("onnxruntime")
    outcome = sheaf("export", "run", "model.onnx")
    assert outcome.code == 0
    assert "Dates are days since 1970-01-01, as float64: since." in outcome.out
    table = people(seed=5).astype({"town": object})
    table.loc[3, "town"] = "Xanten"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = sc.predict("run", table)
    since = (pd.to_datetime(table["since"], format="%d.%m.%Y") - pd.Timestamp(0)) / pd.Timedelta(days=1)
    columns = {
        "age": table["age"].to_numpy()[:, None],
        "since": since.to_numpy()[:, None],
        **{name: table[name].fillna("").to_numpy(dtype=object)[:, None] for name in ("town", "member")},
    }
    (found,) = onnxruntime.InferenceSession("model.onnx").run(None, columns)
    if target == "income":
        np.testing.assert_allclose(found[:, 0], expected["prediction"], rtol=1e-10)
    else:
        np.testing.assert_allclose(found[:, 0], expected["p(works)"], rtol=1e-10)
    assert "It takes" not in sheaf("export", "run", "alone.onnx", "--network-only").out
    assert sheaf("import", "alone.onnx", "--output", "again").code == 0


def test_where_the_table_of_the_run_is_gone_another_is_predicted(sheaf, target, folder):
    people().to_csv("new.csv", index=False)
    before = sheaf("predict", "run", "--data", "new.csv")
    assert before.code == 0
    config = folder / "run" / "config.yaml"
    text = config.read_text()
    config.write_text(text.replace("people.csv", "gone.csv"))
    assert config.read_text() != text
    after = sheaf("predict", "run", "--data", "new.csv")
    assert (after.code, after.out) == (0, before.out)
    config.write_text(text.replace("delimiter: auto", "delimiter: 3"))
    assert "the configuration is damaged" in sheaf("predict", "run", "--data", "new.csv").err
