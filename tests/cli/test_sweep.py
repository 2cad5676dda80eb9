"""`sheaf sweep`: what it prints, what it refuses, and that nothing is lost however it is stopped."""

import csv
import io
import json
import os
import re
import signal
import time
from pathlib import Path

import pytest

from sheafcli.cli import sweep as command
from sheafcli.config import dump_config, load_sweep
from sheafcli.runs.lock import is_locked

BASE = """\
base:
  task: {kind: paraboloid, n_train: 20, n_test: 10}
  network: {hidden: [4]}
  training: {steps: 60, dt: 0.02, log_every: 20}
"""
SWEEP = BASE + "cross: {training.beta: [0.001, 0.01], network.output: [null, identity]}\nseeds: 2\n"
# Short runs first, then one of seconds: longer than workers take to see that their sweep is over.
LONG = """\
base:
  task: {kind: paraboloid, n_train: 20, n_test: 10}
  network: {hidden: [4]}
  training: {dt: 0.02, log_every: 200}
  diagnostics: {every: 10000}
cross: {training.steps: [60, 80, 300000, 100]}
"""
ENDLESS = LONG.replace("60, 80, 300000", "1000000000")


@pytest.fixture
def given(folder):
    """Write a sweep as many.yaml, and return its name."""

    def given(text: str) -> str:
        (folder / "many.yaml").write_text(text)
        return "many.yaml"

    return given


def statuses(directory: Path) -> dict[str, str]:
    with (directory / "sweep.csv").open(newline="") as file:
        return {row["run"]: row["status"] for row in csv.DictReader(file)}


def own(row: dict[str, str]) -> list[str]:
    return [row["training.beta"], row["network.output"]]


def rows(directory: str) -> list[dict[str, str]]:
    with (Path(directory) / "sweep.csv").open(newline="") as file:
        return list(csv.DictReader(file))


class TestOutput:
    """What a sweep prints."""

    def test_a_table_of_80_columns_on_standard_output_alone(self, sheaf, given):
        outcome = sheaf("sweep", given(SWEEP), "--jobs", 1)
        assert (outcome.code, outcome.err) == (0, "")
        lines = outcome.out.splitlines()
        assert lines[0] == "Sweep many: 8 finished; * best"
        assert lines[-1] == "Sweep directory: results/many"
        assert max(map(len, lines)) <= 80
        assert "\x1b" not in outcome.out
        parameters = [line.split()[:2] for line in lines[4:-5]]
        assert sorted(parameters) == [[b, o] for b in ("0.001", "0.01") for o in ("identity", "null")]
        best = parameters[0]
        assert lines[-4] == f"Best: beta {best[0]}, output {best[1]}"
        assert re.fullmatch(r"Test loss \S+, the median of 2 seeds \(\S+ to \S+\)", lines[-3])
        numbers = [row["run"] for row in rows("results/many") if own(row) == best]
        assert lines[-2] == f"Its runs: results/many/{numbers[0]}, {numbers[1]}"
        again = sheaf("sweep", given(SWEEP))
        assert again == outcome

    def test_the_index_in_other_formats(self, sheaf, given):
        # A run that fails has no steps, and the others still have whole ones.
        text = (
            BASE
            + "cross: {training: [{steps: 60, dt: 0.02}, {method: backprop, epochs: 1, batch_size: 21}]}\n"
        )
        as_csv = sheaf("sweep", given(text), "--output", "out", "--jobs", 1, "--format", "csv")
        assert as_csv.code == 1
        assert as_csv.out == Path("out/sweep.csv").read_text()
        found = json.loads(sheaf("sweep", given(text), "--output", "out", "--format", "json").out)
        with Path("out/sweep.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [[str(row["run"]), row["status"]] for row in found] == [
            ["001", "finished"],
            ["002", "failed"],
        ]
        for shown, row in zip(found, rows, strict=True):
            for name in ("step", "train_loss", "seconds"):
                assert shown[name] == (json.loads(row[name]) if row[name] else None)
            assert shown["training"] == row["training"]

    def test_a_parameter_that_is_null_is_so_in_every_format(self, sheaf, given):
        name = given(SWEEP)
        as_csv = sheaf("sweep", name, "--output", "out", "--jobs", 1, "--format", "csv").out
        assert as_csv == Path("out/sweep.csv").read_text()
        assert [row["network.output"] for row in csv.DictReader(io.StringIO(as_csv))][:4] == [
            *["null"] * 2,
            *["identity"] * 2,
        ]

    def test_quiet_prints_nothing(self, sheaf, given):
        assert sheaf("sweep", given(SWEEP), "--jobs", 1, "--quiet") == (type(sheaf("--version"))(0, "", ""))
        assert statuses(Path("results/many")) == {f"{i:03d}": "finished" for i in range(1, 9)}

    def test_what_diverged_or_failed_makes_it_exit_1_and_is_told(self, sheaf, given):
        text = BASE + (
            "cross:\n  training:\n    - {dt: 5.0, steps: 1000}\n    - {dt: 0.02, steps: 9}\n"
            "    - {method: backprop, epochs: 1, batch_size: 21}\n"
        )
        outcome = sheaf("sweep", given(text), "--output", "out", "--jobs", 1)
        assert outcome.code == 1
        assert outcome.err == ("error: 1 diverged, 1 failed of 3 runs; out/sweep.csv says which and why\n")
        assert outcome.out.startswith("Sweep many: 1 finished, 1 diverged, 1 failed; * best\n")
        assert statuses(Path("out")) == {"001": "diverged", "002": "finished", "003": "failed"}
        quiet = sheaf("sweep", given(text), "--output", "out", "--jobs", 1, "--quiet")
        assert (quiet.code, quiet.out, quiet.err) == (1, "", outcome.err)


class TestSearch:
    """What it prints of a search that stops losers early, and that other commands take the sweep."""

    SEARCH = (
        "base:\n  task: {kind: paraboloid, n_train: 20, n_test: 10}\n  network: {hidden: [4]}\n"
        "  training: {method: backprop, steps: 90, log_every: 10}\n"
        "cross: {training.learning_rate: [0.001, 0.003, 0.01, 100]}\nsearch: {method: halving}\n"
    )

    def test_losers_are_stopped_and_what_diverges_has_only_lost(self, sheaf, given):
        outcome = sheaf("sweep", given(self.SEARCH), "--jobs", 1)
        assert (outcome.code, outcome.err) == (0, "")
        lines = outcome.out.splitlines()
        assert lines[0] == "Sweep many: 1 finished, 2 stopped, 1 diverged; * best"
        (winner,) = [row for row in rows("results/many") if row["status"] == "finished"]
        assert lines[4].split()[:2] == [winner["training.learning_rate"], "90"]
        steps = sum(int(row["step"] or 0) for row in rows("results/many"))
        assert lines[-2] == (
            f"The search took {steps / 360:.0%} of the steps that all runs would take to their end."
        )
        assert sheaf("sweep", given(self.SEARCH)) == outcome
        compared = sheaf("compare", "results/many")
        assert (compared.code, compared.out.splitlines()) == (0, lines[:-2])
        (loser, *_) = [row["run"] for row in rows("results/many") if row["status"] == "stopped"]
        listed = sheaf("runs", "results/many", "--where", "status=stopped", "--format", "csv")
        assert len(listed.out.splitlines()) == 3
        stood = sheaf("compare", "results/many", f"results/many/{loser}", "--format", "csv")
        assert [row["directory"] for row in csv.DictReader(io.StringIO(stood.out))] == [
            f"results/many/{winner['run']}",
            f"results/many/{loser}",
        ]

    def test_a_run_that_was_stopped_goes_on_alone_to_its_end(self, sheaf, given):
        sheaf("sweep", given(self.SEARCH), "--jobs", 1, "--quiet")
        (loser, *_) = [row["run"] for row in rows("results/many") if row["status"] == "stopped"]
        config = Path(f"results/many/{loser}/config.yaml")
        assert sheaf("train", config, "--output", config.parent, "--resume", "--quiet").code == 0
        assert json.loads((config.parent / "manifest.json").read_text())["final"]["step"] == 90


class TestRefused:
    """Bad input: status 2, nothing written."""

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            (BASE + "cross: {training.betta: [1, 2]}\n", "many.yaml:5: training.betta: unknown key; did you"),
            (
                BASE + "zip:\n  training.beta: [1, 2]\n  training.dt: [1]\n",
                "many.yaml:7: zip.training.dt: has 1 values, and training.beta has 2",
            ),
            (BASE, "many.yaml:1: nothing varies; give cross, zip, seeds or folds"),
            (BASE + "seeds: [-1]\n", "many.yaml:5: seed: given -1"),
            (BASE + "cross: {training.beta: 0.1}\n", "many.yaml:5: cross.training.beta: given 0.1; must be"),
        ],
    )
    def test_a_wrong_file(self, refused, given, text, words):
        refused("sweep", given(text), words=words)

    def test_a_file_that_is_missing(self, refused):
        refused("sweep", "none.yaml", words="none.yaml: cannot be read: No such file or directory")

    def test_too_many_runs_are_not_meant(self, refused, given, monkeypatch):
        monkeypatch.setattr(command, "conduct_sweep", lambda *_: pytest.fail("they were begun"))
        text = BASE + "cross: {training.beta: {from: 0.1, to: 1, count: 73}}\nseeds: 137\n"
        words = "many.yaml: these are 10,001 runs; give --yes to allow more than 10,000\n"
        refused("sweep", given(text), words=words)

    def test_unless_one_says_so(self, refused, sheaf, given, monkeypatch):
        monkeypatch.setattr(command, "MOST_RUNS", 3)
        refused("sweep", given(BASE + "seeds: 4\n"), words="these are 4 runs; give --yes")
        assert sheaf("sweep", given(BASE + "seeds: 4\n"), "--yes", "--jobs", 1, "--output", "a").code == 0
        assert sheaf("sweep", given(BASE + "seeds: 3\n"), "--jobs", 1, "--output", "b").code == 0

    def test_the_directory_of_another_sweep(self, sheaf, refused, given):
        assert sheaf("sweep", given(BASE + "seeds: 1\n"), "--jobs", 1).code == 0
        name = given(BASE + "seeds: 2\n")
        refused("sweep", name, words="error: results/many: another sweep is here")
        refused(
            "sweep", given(BASE + "seeds: 1\n"), "--set", "training.steps=9", words="another sweep is here"
        )

    def test_the_directory_of_a_run(self, refused, run, given):
        refused("sweep", given(SWEEP), "--output", run, words="error: run: the directory holds files but no")

    def test_nobody_at_the_address_of_the_scheduler(self, refused, given):
        words = "error: --scheduler tcp://127.0.0.1:1: no Dask scheduler answers there"
        refused("sweep", given(SWEEP), "--scheduler", "tcp://127.0.0.1:1", words=words)

    def test_this_machine_and_a_cluster(self, refused, given):
        options = ("--jobs", 2, "--scheduler", "tcp://127.0.0.1:1")
        refused("sweep", given(SWEEP), *options, words="--jobs is for this machine and --scheduler")

    def test_no_jobs(self, refused, given):
        refused("sweep", given(SWEEP), "--jobs", 0, words="'--jobs'")

    def test_a_sweep_that_is_under_way(self, start, sheaf, given, folder):
        name = given(ENDLESS)
        process = start("sweep", name, "--jobs", 1, "--quiet", "--output", "out")
        wait_until((folder / "out" / "001" / "manifest.json").exists)
        outcome = sheaf("sweep", name, "--output", "out")
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.err == "error: out: another process is working on this sweep\n"
        assert process.poll() is None


def wait_until(condition) -> None:
    """Return once a condition holds; fail if it does not in a while."""
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def content_and_time(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def own_group() -> None:
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)


STOPS = {
    "Ctrl-C, to all processes": lambda pid: os.killpg(pid, signal.SIGINT),
    "SIGTERM, to the sweep alone": lambda pid: os.kill(pid, signal.SIGTERM),
    "SIGKILL, to the sweep alone": lambda pid: os.kill(pid, signal.SIGKILL),
}


@pytest.mark.parametrize("how", STOPS)
def test_a_sweep_stopped_in_the_middle_goes_on_where_it_was(start, finish, given, folder, train_once, how):
    out, run = folder / "out", folder / "out" / "003"
    arguments = ("sweep", given(LONG), "--output", "out", "--jobs", 1)
    process = start(*arguments, prepare=own_group)
    wait_until((run / "checkpoint.npz").exists)
    done = {number: content_and_time(out / number) for number in ("001", "002")}
    STOPS[how](process.pid)
    stopped = finish(process)
    wait_until(lambda: not is_locked(run))
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["status"] == "interrupted", "the worker stops by itself, before its run is done"
    if "KILL" in how:
        assert (stopped.code, stopped.out, stopped.err) == (-signal.SIGKILL, "", "")
    else:
        message = "error: interrupted; call it again to continue, what was written is in out\n"
        assert (stopped.code, stopped.out, stopped.err) == (1, "", message)
        assert list(statuses(out).values()) == ["finished", "finished", "interrupted", "missing"]
    assert not (out / "004").exists(), "no further run was begun"
    again = finish(start(*arguments))
    assert (again.code, again.err) == (0, "")
    assert {number: content_and_time(out / number) for number in done} == done, "what was done is not redone"
    assert statuses(out) == {f"{i:03d}": "finished" for i in range(1, 5)}
    assert json.loads((run / "manifest.json").read_text())["started"] == manifest["started"]
    for one in load_sweep(folder / "many.yaml").runs():
        undisturbed = train_once(dump_config(one.config))
        for name in ("network.npz", "config.yaml"):
            assert (out / one.number / name).read_bytes() == (undisturbed / name).read_bytes()


def test_a_sweep_is_validated_without_a_run(sheaf, given):
    file = given(LONG)
    outcome = sheaf("validate", file)
    assert (outcome.code, outcome.err) == (0, "")
    runs = load_sweep(file)
    assert outcome.out == f"{file}: valid. A sweep of {runs.count} runs over {', '.join(runs.keys)}.\n"
    outcome = sheaf("validate", file, "--set", "training.betta=1")
    assert outcome.code == 2
    assert "betta: unknown key; did you mean beta?" in outcome.err


class TestNotes:
    """What is said of the data of many runs: each sentence once, however often it is true."""

    TABLE = """\
base:
  task: {kind: csv, path: data.csv, target: y}
  network: {hidden: [3]}
  training: {method: equilibrium, epochs: 1}
cross: {network.hidden: [[3], [4]], training.epochs: [1, 2]}
"""

    @pytest.fixture
    def table(self, folder, given):
        rows = (f"{i % 7};{i % 5},5;{i % 3}" for i in range(30))
        (folder / "data.csv").write_text("\n".join(["a;b;y", *rows]) + "\n")
        return given(self.TABLE)

    @staticmethod
    def notes(outcome):
        lines = outcome.err.splitlines()
        assert all(line.startswith("note: ") for line in lines)
        return lines

    def test_of_one_configuration_of_the_sweep_and_of_its_runs_are_the_same(self, sheaf, table, folder):
        (folder / "one.yaml").write_text(
            "task: {kind: csv, path: data.csv, target: y}\nnetwork: {hidden: [3]}\n"
        )
        of_one = self.notes(sheaf("validate", "one.yaml"))
        assert any("read as classes" in note for note in of_one)
        assert self.notes(sheaf("validate", table)) == of_one
        outcome = sheaf("sweep", table, "--jobs", 1, "--quiet")
        assert (outcome.code, self.notes(outcome)) == (0, of_one)
        assert self.notes(sheaf("sweep", table, "--quiet")) == of_one
        manifest = json.loads(Path("results/many/001/manifest.json").read_text())
        assert [f"note: {note}" for note in manifest["notes"]] == of_one

    def test_data_that_cannot_be_read_fails_a_sweep_before_it_is_done(self, sheaf, table, folder):
        (folder / "data.csv").write_text("a;b;z\n1;2;3\n")
        outcome = sheaf("validate", table)
        assert outcome.code == 2
        assert "data.csv" in outcome.err

    def test_data_that_has_changed_since_is_told_once(self, sheaf, table, folder):
        assert sheaf("sweep", table, "--jobs", 1, "--quiet").code == 0
        with (folder / "data.csv").open("a") as file:
            file.write("1;2,5;0\n")
        outcome = sheaf("sweep", table, "--quiet")
        assert outcome.code == 0
        assert outcome.err.count("has changed since the run began") == 1
