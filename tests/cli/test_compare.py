"""`sheaf compare`, against the files of the runs: the same figures in every format, and nothing unasked."""

import csv
import io
import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest

OTHER = """\
name: other
seed: 3
task: {kind: paraboloid, n_train: 30, n_test: 20}
network: {hidden: [4, 3]}
training: {steps: 200, dt: 0.02, log_every: 100}
"""
CLASSES = """\
name: classes
task: {kind: circular, n_train: 40, n_test: 20}
network: {hidden: [4]}
training: {method: backprop, epochs: 100, log_every: 50}
"""


@pytest.fixture
def other(train_once, folder):
    """A copy of the finished run of another network on the same task, without a baseline."""
    shutil.copytree(train_once(OTHER), folder / "other")
    return Path("other")


@pytest.fixture
def classes(train_once, folder):
    """A copy of a finished run on another task, of classes."""
    shutil.copytree(train_once(CLASSES), folder / "classes")
    return Path("classes")


def rows_of(path):
    """Return the rows of a CSV file as they are written."""
    return list(csv.DictReader(path.read_text().splitlines()))


def logged(directory):
    """Return what a run has logged in the end as rows of the comparison, from its files alone."""
    manifest = json.loads((directory / "manifest.json").read_text())
    phases = [("history.csv", manifest["method"]), ("baseline.csv", "baseline: sgd")]
    for name, method in phases:
        if not (directory / name).exists():
            continue
        end = rows_of(directory / name)[-1]
        row = {"run": manifest["name"], "directory": str(directory), "task": manifest["task"]}
        row |= {"method": method, "status": "finished", "steps": int(end["step"])}
        for column in ("seconds", "train_loss", "test_loss", "train_accuracy", "test_accuracy"):
            row[column] = float(end[column]) if column in end else None
        discord = rows_of(directory / "discord.csv") if name == "history.csv" else []
        ended = [edge for edge in discord if edge["step"] == end["step"]]
        for operation in ("affine", "activation", "output"):
            found = [float(edge["discord"]) for edge in ended if edge["operation"] == operation]
            row[f"discord_{operation}"] = sum(found) if ended else None
        row["discord_total"] = sum(float(edge["discord"]) for edge in ended) if ended else None
        metrics = manifest["metrics"]["final" if name == "history.csv" else "baseline"]
        row |= {f"test_{figure}": value for figure, value in metrics.items()}
        yield row


@pytest.fixture
def expected(run, other):
    return pd.DataFrame([*logged(run), *logged(other)])


@pytest.mark.parametrize("form", ["csv", "json"])
def test_every_figure_is_that_of_the_files(sheaf, run, other, expected, form):
    outcome = sheaf("compare", run, other, "--format", form)
    assert (outcome.code, outcome.err) == (0, "")
    found = pd.read_csv(io.StringIO(outcome.out)) if form == "csv" else pd.DataFrame(json.loads(outcome.out))
    assert found["method"].tolist() == ["heat", "baseline: sgd", "heat"]
    expected = expected.astype({name: float for name in expected if name.endswith("accuracy")})
    found = found.astype({name: float for name in found if name.endswith("accuracy")})
    sums = [name for name in found if name.startswith("discord")]
    exact = [name for name in found if name not in sums]
    pd.testing.assert_frame_equal(found[exact], expected[exact], rtol=0, atol=0)
    pd.testing.assert_frame_equal(found[sums], expected[sums], rtol=1e-14, atol=0)


def test_the_tables_hold_the_same_figures(sheaf, run, other, expected):
    outcome = sheaf("compare", run, other)
    assert (outcome.code, outcome.err) == (0, "")
    assert max(map(len, outcome.out.splitlines())) <= 80
    assert "\x1b" not in outcome.out
    _, results, predictions, discord = outcome.out.split("\n\n")
    best = expected["test_loss"].min()
    for line, row in zip(results.splitlines()[-3:], expected.itertuples(), strict=True):
        name = row.run if row.method == "heat" else row.method
        train, test, _ = line.strip().removeprefix(name).split()
        assert float(train.strip("*")) == pytest.approx(row.train_loss, rel=1e-5)
        assert float(test.strip("*")) == pytest.approx(row.test_loss, rel=1e-5)
        assert test.endswith("*") == (row.test_loss == best)
    for line, row in zip(predictions.splitlines()[-3:], expected.itertuples(), strict=True):
        values = [float(word) for word in line.split()[-3:]]
        assert values == pytest.approx([row.test_r2, row.test_rmse, row.test_mae], rel=1e-3)
    for line, (_, row) in zip(discord.splitlines()[-2:], expected.iloc[[0, 2]].iterrows(), strict=True):
        values = [float(word) for word in line.split()[1:5]]
        assert values == pytest.approx(row.filter(like="discord").astype(float).tolist(), rel=1e-3)


def test_a_run_stands_beside_its_own_baseline(sheaf, run):
    outcome = sheaf("compare", run)
    assert (outcome.code, outcome.err) == (0, "")
    assert [line.split()[0] for line in outcome.out.splitlines() if line.endswith(" 200")] == ["baseline:"]


def test_losses_of_different_tasks_are_shown_and_none_is_best(sheaf, run, other, classes):
    outcome = sheaf("compare", run, classes)
    assert outcome.code == 0
    assert outcome.err.startswith("warning: the tasks differ")
    assert "paraboloid, squared error; circular, cross-entropy" in outcome.err
    assert "*" not in outcome.out
    assert "%" in outcome.out
    assert "*" in sheaf("compare", run, other).out


TABLE = """\
name: {folder}
task: {{kind: csv, path: {folder}/{file}.csv, target: y}}
network: {{hidden: [3]}}
training: {{method: backprop, epochs: 10, log_every: 5}}
"""


@pytest.mark.parametrize(("second", "shown"), [("two", ["one.csv", "two.csv"]), ("one", ["a/one", "b/one"])])
def test_files_of_different_tasks_are_told_apart_by_no_more_than_it_takes(sheaf, folder, second, shown):
    for place, file in (("a", "one"), ("b", second)):
        (folder / place).mkdir()
        rows = "".join(f"{i},{i * i % 7}.5\n" for i in range(12))
        (folder / place / f"{file}.csv").write_text(f"x,y\n{rows}")
        (folder / f"{place}.yaml").write_text(TABLE.format(folder=place, file=file))
        assert sheaf("train", f"{place}.yaml", "--quiet").code == 0
    told = sheaf("compare", "results/a", "results/b").err
    assert all(name in told for name in shown)
    assert (str(folder) in told) == (second == "one")
    assert "True" not in told


def test_it_says_whose_discord_it_shows_and_where_it_does_not_compare(sheaf, run, other, classes):
    title = "Discord of the training stalks by operation"
    same, mixed = sheaf("compare", run, other), sheaf("compare", run, classes)
    assert title in same.out.splitlines()
    assert title in mixed.out.splitlines()
    words = "heat and backprop settle the training stalks differently"
    assert (words in same.err, words in " ".join(mixed.err.split())) == (False, True)


def test_a_run_that_was_interrupted_is_compared_but_never_the_best(sheaf, run, other):
    path = other / "manifest.json"
    manifest = json.loads(path.read_text()) | {"status": "interrupted", "final": None}
    path.write_text(json.dumps(manifest))
    history = other / "history.csv"
    history.write_text("".join(history.read_text().splitlines(keepends=True)[:2]))
    outcome = sheaf("compare", other, run, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(outcome.out)))
    assert [(row["status"], row["steps"]) for row in rows] == [
        ("interrupted", "0"),
        ("finished", "300"),
        ("finished", "200"),
    ]
    assert outcome.code == 0


def test_nothing_is_written_unless_a_picture_is_asked_for(sheaf, run, other, folder, read):
    before = read(folder)
    for form in ("table", "csv", "json"):
        assert sheaf("compare", run, other, "--format", form).code == 0
    assert read(folder) == before
    outcome = sheaf("compare", run, other, "--figure", "both.svg")
    assert outcome.out.endswith("\nWritten: both.svg\n")
    after = read(folder)
    assert after.pop("both.svg").startswith(b"<?xml")
    assert after == before


def test_a_picture_may_go_anywhere_and_be_replaced(sheaf, run, folder):
    (folder / "pictures").mkdir()
    path = Path("pictures/a [b].PNG")
    for _ in range(2):
        outcome = sheaf("compare", run, "--figure", path, "--format", "csv")
        assert (outcome.code, outcome.err) == (0, "")
        assert outcome.out.startswith("run,directory,")
        assert path.read_bytes().startswith(b"\x89PNG")
    assert os.listdir("pictures") == ["a [b].PNG"]


@pytest.mark.parametrize("name", ["a.jpg", "a", ".png", "a.svg.gz", "a.png/b.gif"])
def test_a_picture_of_another_kind_is_refused(refused, run, name):
    words = f"--figure {name}: the name must end in one of .png, .svg, .pdf"
    refused("compare", run, "--figure", name, words=words)


def test_a_picture_needs_its_folder(refused, run):
    words = "--figure no/such/a.png: there is no directory no/such"
    assert refused("compare", run, "--figure", "no/such/a.png", words=words)


def test_a_picture_that_cannot_be_written_fails_and_leaves_nothing(sheaf, run, folder, read):
    (folder / "taken.png").mkdir()
    before = read(folder)
    outcome = sheaf("compare", run, "--figure", "taken.png")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == "error: taken.png: Is a directory\n"
    assert read(folder) == before


class TestBadInput:
    @pytest.mark.parametrize(
        ("path", "words"),
        [("none", "no such directory"), ("small.yaml", "a file"), (".", "no run is here")],
    )
    def test_what_is_no_run(self, refused, run, path, words):
        assert refused("compare", run, path, words=words).startswith(f"error: {path}: ")

    def test_a_run_that_was_never_started(self, refused, run):
        for name in ("history.csv", "discord.csv", "baseline.csv"):
            (run / name).unlink()
        (run / "manifest.json").write_text('{"name": "small", "status": "running"}')
        error = refused("compare", run, words="train it first")
        assert error == f"error: {run}: the run has logged nothing yet; train it first\n"

    def test_the_same_run_twice(self, refused, run):
        assert refused("compare", run, f"./{run}/", words="given twice").startswith(f"error: {run}: ")

    @pytest.mark.parametrize(
        "name", ["history.csv", "baseline.csv", "discord.csv", "manifest.json", "config.yaml"]
    )
    def test_a_damaged_file(self, refused, run, name):
        (run / name).write_text("half\na thing,\n[")
        assert refused("compare", run, words="error: ").startswith(f"error: {run / name}:")

    def test_a_command_without_runs(self, refused):
        refused("compare", words="Missing argument")

    def test_another_format(self, refused, run):
        refused("compare", run, "--format", "xml", words="--format")
