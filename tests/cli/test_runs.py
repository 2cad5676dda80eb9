"""`sheaf runs`, against the manifests of real runs; what is written where, and what is refused."""

import csv
import io
import json
import os
import pty
import re
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest


@pytest.fixture
def two(run, balanced_run):
    """Finished runs of a regression and of classes, below results/, one of them in a sweep."""
    Path("results/sweep").mkdir(parents=True)
    shutil.move(run, "results/small")
    shutil.move(balanced_run, "results/sweep/001")
    return {
        name: json.loads(Path("results", name, "manifest.json").read_text())
        for name in ("small", "sweep/001")
    }


def rows_of(outcome):
    return list(csv.DictReader(io.StringIO(outcome.out)))


def test_every_figure_is_that_of_the_manifest(sheaf, two):
    outcome = sheaf("runs", "--format", "json")
    assert (outcome.code, outcome.err) == (0, "")
    found = json.loads(outcome.out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    by_csv = rows_of(sheaf("runs", "--format", "csv"))
    assert [row["name"] for row in found] == list(two)
    for row, plain, (name, manifest) in zip(found, by_csv, two.items(), strict=True):
        assert list(row) == list(plain)
        assert plain == {key: "" if value is None else str(value) for key, value in row.items()}
        assert row["directory"] == f"results/{name}"
        assert (row["steps"], row["when"]) == (manifest["final"]["step"], manifest["ended"])
        for key in ("task", "method", "status", "seed", "started", "ended", "message"):
            assert row[key] == manifest[key]
        for key in ("train_loss", "test_loss", "train_accuracy", "test_accuracy", "seconds"):
            assert row[key] == manifest["final"][key]
        for key in ("train_loss", "test_loss"):
            assert row[f"baseline_{key}"] == manifest["baseline"][key]


def test_the_table_holds_the_same_figures(sheaf, two):
    outcome = sheaf("runs")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith("Runs below results (2)\n")
    assert max(map(len, outcome.out.splitlines())) <= 80
    assert "\x1b" not in outcome.out
    for name, manifest in two.items():
        (line,) = (line for line in outcome.out.splitlines() if line.startswith(f"{name} "))
        words = line.split()
        assert {manifest["task"], "finished", manifest["ended"][:10]} <= set(words)
        for key in ("train_loss", "test_loss"):
            shown = f"{manifest['final'][key]:#.4g}"
            assert shown in words
    assert manifest["ended"][11:16] in outcome.out


def test_runs_are_chosen_and_sorted(sheaf, two):
    losses = {name: manifest["final"]["test_loss"] for name, manifest in two.items()}
    best, worst = sorted(losses, key=losses.get)
    assert [row["name"] for row in rows_of(sheaf("runs", "--sort", "test_loss", "--format", "csv"))] == [
        best,
        worst,
    ]
    assert [row["name"] for row in rows_of(sheaf("runs", "--sort", "-test_loss", "--format", "csv"))] == [
        worst,
        best,
    ]
    outcome = sheaf("runs", "--where", "task=circular", "--where", "status=finished")
    assert outcome.out.startswith("Runs below results (1 of 2)\n")
    assert "small" not in outcome.out


@pytest.mark.parametrize(("form", "out"), [("table", None), ("csv", "name,directory,"), ("json", "[]\n")])
def test_nothing_to_show_is_no_error(sheaf, two, folder, form, out):
    (folder / "empty").mkdir()
    for arguments, words in (
        (("empty",), "No runs below empty.\n"),
        (("results", "--where", "status=failed"), "No runs below results with status=failed.\n"),
        (("empty", "--where", "status=failed"), "No runs below empty.\n"),
    ):
        outcome = sheaf("runs", *arguments, "--format", form)
        assert outcome.code == 0
        if out is None:
            assert (outcome.out, outcome.err) == (words, "")
        else:
            assert outcome.err == words
            assert outcome.out.startswith(out)


def test_damage_is_a_row_and_a_note(sheaf, two):
    path = Path("results/small/manifest.json")
    path.write_text("{")
    outcome = sheaf("runs")
    assert outcome.code == 0
    assert re.match(rf"note: {path}: the manifest cannot be read \(.*\)\n$", outcome.err)
    assert re.search(r"^small .*damaged", outcome.out, re.MULTILINE)
    assert "sweep/001" in outcome.out


def test_nothing_is_written(sheaf, two, folder, read):
    before = read(folder)
    for form in ("table", "csv", "json"):
        assert sheaf("runs", "--format", form).code == 0
    assert read(folder) == before


def test_a_run_is_running_until_it_is_killed(sheaf, start, run):
    process = start(
        "train", "small.yaml", "--set", "training.steps=100000000", "--set", "training.log_every=1000"
    )
    history = Path("results/small/history.csv")
    deadline = time.monotonic() + 60
    while not (history.exists() and history.read_text().count("\n") > 1):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert [row["status"] for row in rows_of(sheaf("runs", "--format", "csv"))] == ["running"]
    process.send_signal(signal.SIGKILL)
    process.wait()
    (row,) = rows_of(sheaf("runs", "--format", "csv"))
    assert (row["status"], row["ended"], row["when"]) == ("interrupted", "", row["started"])


def on_a_terminal(start, **environment):
    """Return what `sheaf runs` writes to a terminal."""
    ours, theirs = pty.openpty()
    process = start(
        "runs", streams={"stdout": theirs, "stderr": theirs}, TERM="xterm-256color", **environment
    )
    os.close(theirs)
    received = b""
    with suppress(OSError):  # raised once the other end is closed
        while chunk := os.read(ours, 65536):
            received += chunk
    os.close(ours)
    assert process.wait() == 0
    return received.decode()


def test_colours_go_to_terminals_that_want_them(start, two):
    assert re.search(r"\x1b\[32mfinished", on_a_terminal(start))
    assert "\x1b[32m" not in on_a_terminal(start, NO_COLOR="1")


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("nowhere",), "error: nowhere: no such directory"),
            (("small.yaml",), "error: small.yaml: this is a file"),
            ((), "error: results: no such directory"),
            ((".", "--where", "status"), "error: --where status: must be COLUMN=VALUE"),
            ((".", "--where", "status=faild"), "did you mean failed?"),
            ((".", "--where", "colour=red"), "no column colour; there are name, "),
            ((".", "--sort", "losses"), "error: --sort losses: no column losses; there are name, "),
            ((".", "--format", "xml"), "--format"),
        ],
    )
    def test_it_is_refused(self, refused, arguments, words):
        refused("runs", *arguments, words=words)
