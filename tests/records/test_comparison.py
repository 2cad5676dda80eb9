"""Runs side by side, against the files they are read from: plain arithmetic, and the best by brute force."""

import json
import math
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheafcli.errors import InputError
from sheafcli.records.comparison import COLUMNS, Comparison, compare
from sheafcli.runs.lock import locked

HISTORY = "step,seconds,train_loss,test_loss,energy,train_accuracy,test_accuracy,time\n"
DISCORD = "step,layer,operation,edge,discord,share\n"
# Sums of these depend on the last digits of each.
EDGES = {
    "affine_1": ("affine", 0.1),
    "activation_1": ("activation", 1e-17),
    "affine_2": ("affine", 0.7000000000000001),
    "output": ("output", 3.3e-5),
}
TASK = {"kind": "circular", "n_train": 300, "n_test": 100}


@pytest.fixture
def begin(tmp_path, monkeypatch):
    """Write the directory of a run, finished with a baseline unless told otherwise; return it."""
    monkeypatch.chdir(tmp_path)

    def begin(place, *, task=TASK, optimizer="sgd", **manifest):
        folder = Path(place)
        folder.mkdir(parents=True)
        content = {
            "name": folder.name,
            "status": "finished",
            "task": task["kind"],
            "method": "equilibrium",
            "output": "sigmoid",
            "final": {"step": 20},
            "baseline": {"step": 7},
        }
        (folder / "manifest.json").write_text(json.dumps(content | manifest))
        config = {"name": folder.name, "task": task, "baseline": {"optimizer": optimizer}}
        (folder / "config.yaml").write_text(json.dumps(config))  # JSON is YAML
        rows = "0,0.001,9.5,8.5,1.0,0.25,0.5,0.0\n20,0.1234567,0.30000000000000004,1e-300,1.0,0.75,1.0,2.0\n"
        (folder / "history.csv").write_text(HISTORY + rows)
        (folder / "baseline.csv").write_text(HISTORY + "7,1.5,0.25,,0.125,0.5,,7.0\n")
        rows = [
            (step, 1, operation, edge, value * factor, 0.5)
            for step, factor in ((0, 100.0), (20, 1.0))
            for edge, (operation, value) in EDGES.items()
        ]
        (folder / "discord.csv").write_text(DISCORD + "".join(",".join(map(str, r)) + "\n" for r in rows))
        return folder

    return begin


def cells(row):
    """Return a row as plain values, None for NaN."""
    values = ((name, getattr(value, "item", lambda value=value: value)()) for name, value in row.items())
    return {name: None if isinstance(v, float) and math.isnan(v) else v for name, v in values}


def test_a_row_holds_the_last_figures_exactly(begin):
    found = compare([begin("a"), begin("b", optimizer="adam")])
    shared = {"run": "a", "directory": "a", "task": "circular"}
    nothing = dict.fromkeys(name for name in COLUMNS if name.startswith("discord_"))
    first, baseline, *_, last = found.table.to_dict("records")
    assert cells(first) == shared | {
        "method": "equilibrium",
        "status": "finished",
        "steps": 20,
        "seconds": 0.1234567,
        "train_loss": 0.30000000000000004,
        "test_loss": 1e-300,
        "train_accuracy": 0.75,
        "test_accuracy": 1.0,
        "discord_affine": 0.1 + 0.7000000000000001,
        "discord_activation": 1e-17,
        "discord_output": 3.3e-5,
        "discord_total": pytest.approx(math.fsum(value for _, value in EDGES.values()), rel=1e-15),
    }
    assert cells(baseline) == shared | nothing | {
        "method": "baseline: sgd",
        "status": "finished",
        "steps": 7,
        "seconds": 1.5,
        "train_loss": 0.25,
        "test_loss": None,
        "train_accuracy": 0.5,
        "test_accuracy": None,
    }
    assert (last["run"], last["method"]) == ("b", "baseline: adam")
    assert found.table.columns.tolist() == COLUMNS
    assert found.table["run"].tolist() == ["a", "a", "b", "b"]
    assert [history["step"].tolist() for history in found.histories] == [[0, 20], [7], [0, 20], [7]]


@pytest.mark.parametrize(
    ("status", "final", "baseline", "expected"),
    [
        ("finished", {}, {}, ["finished", "finished"]),
        ("running", None, None, ["running"]),
        ("running", {"step": 20}, None, ["finished", "running"]),
        ("diverged", None, None, ["diverged"]),
        ("diverged", {"step": 20}, None, ["finished", "diverged"]),
        ("interrupted", {"step": 20}, None, ["finished", "interrupted"]),
        ("failed", None, None, ["failed"]),
    ],
)
def test_the_status_is_that_of_the_phase(begin, status, final, baseline, expected):
    folder = begin("a", status=status, final=final, baseline=baseline)
    if len(expected) == 1:
        (folder / "baseline.csv").unlink()
    with locked(folder, "run"):
        assert compare([folder]).table["status"].tolist() == expected


def test_a_run_that_nobody_holds_is_not_running(begin):
    folder = begin("a", status="running", final={"step": 20}, baseline=None)
    assert compare([folder]).table["status"].tolist() == ["finished", "interrupted"]


def test_a_baseline_that_has_logged_nothing_yet_has_no_row(begin):
    folder = begin("a")
    (folder / "baseline.csv").write_text(HISTORY)
    assert compare([folder]).table["method"].tolist() == ["equilibrium"]


def test_a_row_is_that_of_the_network_that_was_kept(begin):
    folder = begin("a", final={"step": 0})
    (folder / "history.csv").write_text(
        "step,seconds,train_loss,test_loss,validation_loss,energy,time\n"
        "0,0.5,3.0,2.0,0.25,1,0\n10,0.75,1.0,1.5,0.5,1,1\n"
    )
    found = compare([folder, begin("b")])
    assert found.losses == ["train_loss", "validation_loss", "test_loss"]
    row, *others = map(cells, found.table.to_dict("records"))
    assert [row[name] for name in ("steps", "seconds", *found.losses)] == [0, 0.75, 3.0, 0.25, 2.0]
    assert [other["validation_loss"] for other in others] == [None] * 3
    assert found.best("validation_loss") == [False] * 4  # nothing to compare with


def test_a_regression_has_no_accuracies(begin):
    folder = begin("a", output="identity")
    (folder / "history.csv").write_text("step,seconds,train_loss,test_loss,energy,time\n0,0.5,2.0,3.0,1,1\n")
    (folder / "baseline.csv").unlink()
    (row,) = map(cells, compare([folder]).table.to_dict("records"))
    assert (row["train_loss"], row["test_loss"]) == (2.0, 3.0)
    assert row["train_accuracy"] is row["test_accuracy"] is None


def test_an_operation_without_edges_has_no_discord(begin):
    folder = begin("a")
    (folder / "discord.csv").write_text(DISCORD + "5,1,affine,affine_1,0.25,0.5\n5,1,output,output,0.5,0.5\n")
    row = compare([folder]).table.iloc[0]
    assert row.filter(like="discord").tolist() == [0.25, 0.0, 0.5, 0.75]


class TestNames:
    def names(self, *folders):
        return list(dict.fromkeys(compare(folders).table["run"]))

    def test_runs_are_called_by_their_names(self, begin):
        assert self.names(begin("x", name="heat"), begin("y", name="adam")) == ["heat", "adam"]

    def test_runs_of_the_same_name_are_called_by_their_directories(self, begin):
        runs = begin("x/a", name="same"), begin("x/b", name="same"), begin("x/c", name="other")
        assert self.names(*runs) == ["a", "b", "c"]

    def test_directories_that_end_alike_are_told_apart_from_further_up(self, begin):
        runs = begin("p/1/run"), begin("q/1/run"), begin("q/2/run")
        assert self.names(*runs) == ["p/1/run", "q/1/run", "q/2/run"]

    def test_a_run_inside_another_and_the_current_directory(self, begin, monkeypatch):
        folder = begin("outer/run")
        begin("outer/run/run")
        monkeypatch.chdir(folder)
        assert self.names(Path(), Path("run")) == ["outer/run", "run/run"]


class TestTasks:
    CSV = {"kind": "csv", "path": "/d/x.csv", "target": "y", "features": None, "standardize": True}  # noqa: RUF012

    @pytest.mark.parametrize(
        "change", [{"n_train": 5}, {"n_test": 5}, {"test_fraction": 0.5}, {"features": ["u", "v"]}]
    )
    def test_other_samples_and_inputs_are_the_same_task(self, begin, change):
        found = compare([begin("a", task=self.CSV), begin("b", task=self.CSV | change)])
        assert found.tasks == ("csv, path x.csv, target y, standardize true, cross-entropy",)
        assert set(found.table["task"]) == {"x.csv"}

    @pytest.mark.parametrize(
        "change",
        [{"kind": "npz"}, {"path": "/e/x.csv"}, {"target": ["y"]}, {"target": "z"}, {"standardize": False}],
    )
    def test_what_the_loss_is_of_is_the_task(self, begin, change):
        assert len(compare([begin("a", task=self.CSV), begin("b", task=self.CSV | change)]).tasks) == 2

    def test_losses_of_another_kind_do_not_compare(self, begin):
        found = compare([begin("a"), begin("b", output="identity"), begin("c", output="softmax")])
        assert found.tasks == ("circular, cross-entropy", "circular, squared error")

    def test_runs_compare_where_their_data_is_gone(self, begin):
        assert not Path(self.CSV["path"]).exists()
        assert len(compare([begin("a", task=self.CSV)]).table) == 2


numbers = st.sampled_from([0.0, 0.1, 0.2, math.inf, math.nan]) | st.floats(0, 1)
statuses = st.sampled_from(["finished", "finished", "running", "diverged"])


@given(
    rows=st.lists(st.tuples(statuses, numbers), min_size=1, max_size=6),
    column=st.sampled_from(["train_loss", "test_loss", "train_accuracy", "test_accuracy"]),
    tasks=st.sampled_from([("one",), ("one", "two")]),
)
def test_the_best_is_finished_and_none_is_better(rows, column, tasks):
    table = pd.DataFrame(rows, columns=["status", column])
    best = Comparison(table, (), tasks).best(column)
    proper = [value for status, value in rows if status == "finished" and not math.isnan(value)]
    worse_exists = any(a != b for a in proper for b in proper)
    for (status, value), is_best in zip(rows, best, strict=True):
        beaten = [other for other in proper if (other < value if "loss" in column else other > value)]
        expected = status == "finished" and not math.isnan(value) and not beaten
        assert is_best == (expected and worse_exists and len(tasks) == 1)


class TestBadInput:
    def refused(self, *paths, words, place):
        with pytest.raises(InputError, match=words) as caught:
            compare([Path(path) for path in paths])
        assert caught.value.path == Path(place)

    def test_what_is_no_run(self, begin):
        begin("a")
        Path("empty").mkdir()
        self.refused("a", "none", words="no such directory", place="none")
        self.refused("a", "a/history.csv", words="a file", place="a/history.csv")
        self.refused("a", "empty", words="no run is here", place="empty")

    @pytest.mark.parametrize("content", [None, "", HISTORY])
    def test_a_run_that_was_never_started(self, begin, content):
        folder = begin("a")
        (folder / "manifest.json").write_text('{"name": "a", "status": "running"}')
        (folder / "history.csv").unlink() if content is None else (folder / "history.csv").write_text(content)
        self.refused("a", words="logged nothing yet; train it first", place="a")

    @pytest.mark.parametrize("again", ["a", "./a", "b/../a", "link"])
    def test_a_run_given_twice(self, begin, again):
        begin("a")
        begin("b")
        Path("link").symlink_to("a")
        self.refused("a", "b", again, words="given twice.*give it once", place=again)

    @pytest.mark.parametrize("name", ["history.csv", "baseline.csv"])
    @pytest.mark.parametrize(
        "content",
        [
            "a,b\n1,2\n",
            "step,seconds,train_loss,test_loss\nx,1,1,1\n",
            "step,seconds,train_loss,test_loss\n1,1,high,1\n",
            "step,train_loss,test_loss\n1,1,1\n",
            "step,seconds,train_loss\n1,1,1\n",
            "step,seconds,train_loss,test_loss,test_accuracy\n1,1,1,1,all\n",
            'step,seconds,train_loss,test_loss\n1,1,1,"1\n',
            "\n\n\xff\n",
        ],
    )
    def test_a_damaged_history(self, begin, name, content):
        (begin("a") / name).write_bytes(content.encode("latin-1"))
        self.refused("a", words="damaged.*train the run again", place=f"a/{name}")

    @pytest.mark.parametrize(
        "content",
        [
            "",
            "step,discord\n1,2\n",
            "step,operation\n1,affine\n",
            DISCORD + "1,1,affine,affine_1,much,0.5\n",
            DISCORD + "1,1,rotation,affine_1,0.5,0.5\n",
        ],
    )
    def test_a_damaged_discord(self, begin, content):
        (begin("a") / "discord.csv").write_text(content)
        self.refused("a", words="damaged.*train the run again", place="a/discord.csv")

    def test_a_missing_discord(self, begin):
        (begin("a") / "discord.csv").unlink()
        self.refused("a", words="train it first", place="a/discord.csv")

    @pytest.mark.parametrize(
        ("content", "words"),
        [("", "cannot be read"), ("[]", "cannot be read"), ('{"name": "a"}', "no task"), (None, "no method")],
    )
    def test_a_damaged_manifest(self, begin, content, words):
        path = begin("a", method=3) / "manifest.json"
        if content is not None:
            path.write_text(content)
        self.refused("a", words=words, place="a/manifest.json")

    @pytest.mark.parametrize("content", ["", "task: [", "task: circular", "\xff", "task: {}\nbaseline: null"])
    def test_a_damaged_configuration(self, begin, content):
        (begin("a") / "config.yaml").write_bytes(content.encode("latin-1"))
        self.refused("a", words="damaged.*train the run again", place="a/config.yaml")
