"""The directory of a sweep and its index, against manifests read on their own and lists made by hand."""

import csv
import json
import time
from pathlib import Path
from threading import Event, Thread

import pytest
from sweeps import (
    MIXED,
    PATIENCE_SECONDS,
    QUICK,
    Here,
    Noted,
    begun,
    check_index,
    check_networks,
    files_of,
    rows_of,
    sweep_in,
)

from sheafcli.config.document import parse
from sheafcli.errors import InputError
from sheafcli.runs import RunDirectory, RunFailed
from sheafcli.runs.job import Outcome
from sheafcli.runs.lock import Busy, is_locked
from sheafcli.runs.sweep import Index, SweepDirectory, conduct_sweep

ALL = ["001", "002", "003", "004"]


def conduct(sweep, directory, workers=None, observer=None):
    return conduct_sweep(sweep, sweep.runs(), directory, workers or Here(), observer or Noted()).count()


class TestBegin:
    """Whose directory it is."""

    def test_a_new_one_is_made_with_its_parents(self, tmp_path):
        sweep = sweep_in(tmp_path, QUICK)
        directory = SweepDirectory(tmp_path / "a" / "b")
        directory.begin(sweep)
        assert (directory.path / "sweep.yaml").read_text() == sweep.text
        before = files_of(directory.path)
        directory.begin(sweep)
        assert files_of(directory.path) == before

    def test_one_whose_sweep_was_killed_at_its_very_beginning_is_taken_up(self, tmp_path):
        directory = SweepDirectory(tmp_path / "out")
        directory.path.mkdir()
        (directory.path / ".sweep.yaml.tmp").write_text("na")
        directory.begin(sweep_in(tmp_path, QUICK))
        assert [path.name for path in directory.path.iterdir()] == ["sweep.yaml"]

    @pytest.mark.parametrize(
        "other",
        [
            QUICK.replace("0.001", "0.002"),
            QUICK.replace("steps: 60", "steps: 61"),
            QUICK.replace("seeds: [3, 1]", "seeds: [1, 3]"),
            QUICK.replace("name: quick", "name: other"),
        ],
    )
    def test_that_of_another_sweep_is_refused(self, tmp_path, other):
        directory = begun(tmp_path, sweep_in(tmp_path, QUICK))
        before = files_of(directory.path)
        with pytest.raises(InputError, match="another sweep is here") as caught:
            directory.begin(sweep_in(tmp_path, other))
        assert "choose another directory with --output" in str(caught.value)
        assert files_of(directory.path) == before

    @pytest.mark.parametrize("name", ["notes.txt", "config.yaml", "sweep.csv", "001"])
    def test_one_that_holds_anything_else_is_refused(self, tmp_path, name):
        directory = SweepDirectory(tmp_path / "out")
        directory.path.mkdir()
        (directory.path / name).write_text("mine")
        with pytest.raises(InputError, match=rf"holds files but no sweep \({name}\); choose an empty or new"):
            directory.begin(sweep_in(tmp_path, QUICK))
        assert list(files_of(directory.path)) == [name]

    def test_what_is_no_directory_is_refused(self, tmp_path):
        (tmp_path / "file").write_text("mine")
        for path in (tmp_path / "file", tmp_path / "file" / "below"):
            with pytest.raises(InputError, match="a sweep cannot be written here"):
                SweepDirectory(path).begin(sweep_in(tmp_path, QUICK))

    def test_a_damaged_one_is_refused(self, tmp_path):
        directory = SweepDirectory(tmp_path / "out")
        directory.path.mkdir()
        (directory.path / "sweep.yaml").write_bytes(b"name: \xff\n")
        with pytest.raises(InputError, match=r"another sweep is here"):
            directory.begin(sweep_in(tmp_path, QUICK))

    def test_two_sweeps_at_a_time_are_one_too_many(self, tmp_path):
        sweep = sweep_in(tmp_path, QUICK)
        directory = begun(tmp_path, sweep)
        with directory.held(), pytest.raises(Busy, match="another process is working on this sweep"):
            conduct(sweep, directory)
        assert [path.name for path in directory.path.iterdir()] == ["sweep.yaml"]


class TestIndex:
    """What sweep.csv says."""

    def test_a_row_a_run_in_their_order_whatever_their_parameters(self, tmp_path):
        sweep = sweep_in(
            tmp_path,
            """\
base:
  task: {kind: circular, n_train: 20, n_test: 10}
  network: {hidden: [4]}
  baseline: {epochs: 5}
cross:
  diagnostics.spectrum: [true, false]
  training.reset_every: [null, 10]
zip:
  training: [{steps: 20, log_every: 10}, {method: equilibrium, epochs: 4}]
  network.hidden: [[4, 3], []]
seeds: [3]
""".replace("  training.reset_every: [null, 10]\n", ""),
        )
        directory = begun(tmp_path, sweep)
        assert conduct(sweep, directory) == {"finished": 4}
        check_index(directory, dict.fromkeys(ALL, "finished"))
        rows = rows_of(directory.path / "sweep.csv")
        figures = ["seconds", "step", "time", "train_loss", "test_loss", "energy"]
        figures += ["train_accuracy", "test_accuracy", "validation_loss"]
        parameters = ["diagnostics.spectrum", "training", "network.hidden", "seed"]
        baseline = [f"baseline_{name}" for name in figures]
        assert list(rows[0]) == ["run", *parameters, "status", *figures, *baseline, "message"]
        for row, run in zip(rows, sweep.runs(), strict=True):
            for key, value in run.parameters.items():
                assert parse(f"it: {row[key]}").value == {"it": value}
            manifest = directory.run(run.number).manifest()
            for prefix, phase in (("", "final"), ("baseline_", "baseline")):
                found = {name: row[f"{prefix}{name}"] for name in figures}
                final = {"validation_loss": None} | manifest[phase]  # nothing is validated on here
                assert found == {name: "" if value is None else repr(value) for name, value in final.items()}

    def test_a_parameter_may_be_null(self, tmp_path):
        text = QUICK.replace("training.beta: [0.001, 0.01]", "training.reset_every: [null, 10]")
        directory = begun(tmp_path, sweep_in(tmp_path, text))
        conduct(sweep_in(tmp_path, text), directory)
        column = [row["training.reset_every"] for row in rows_of(directory.path / "sweep.csv")]
        assert column == ["null", "null", "10", "10"]

    def test_the_paths_of_files_stand_in_it_as_they_were_given(self, tmp_path):
        name = 'comma, "quotes".csv'
        (tmp_path / name).write_text("x,y\n" + "".join(f"{i},{i * i}\n" for i in range(10)))
        text = QUICK.replace("kind: paraboloid, n_train: 20, n_test: 10", "kind: csv, target: y, path: x")
        text = text.replace("training.beta: [0.001, 0.01]", f"task.path: ['{name}']")
        sweep = sweep_in(tmp_path, text)
        directory = begun(tmp_path, sweep)
        conduct(sweep, directory)
        assert [row["task.path"] for row in rows_of(directory.path / "sweep.csv")] == [name] * 2

    def test_it_grows_while_the_sweep_goes_on_though_not_with_every_run(self, tmp_path, monkeypatch):
        monkeypatch.setattr("sheafcli.runs.sweep.INDEX_SECONDS", 0.0)
        sweep = sweep_in(tmp_path, QUICK)
        directory = begun(tmp_path, sweep)
        seen = []

        def look(outcome):
            seen.append([row["status"] for row in rows_of(directory.path / "sweep.csv")].count("finished"))

        conduct(sweep, directory, observer=Noted(look))
        assert seen == [1, 2, 3, 4]
        monkeypatch.setattr("sheafcli.runs.sweep.INDEX_SECONDS", 1e9)
        index = Index(directory, sweep, sweep.runs())
        index.write(at_once=True)
        (directory.path / "sweep.csv").unlink()
        index.write(at_once=False)
        assert not (directory.path / "sweep.csv").exists()

    def test_a_run_whose_process_was_killed_counts_as_interrupted(self, tmp_path):
        sweep = sweep_in(tmp_path, QUICK)
        directory = begun(tmp_path, sweep)
        conduct(sweep, directory)
        run = directory.run("002")
        run.write_manifest(run.manifest() | {"status": "running"})
        with run.locked():
            assert Index(directory, sweep, sweep.runs()).status("002") == "running"
        assert Index(directory, sweep, sweep.runs()).status("002") == "interrupted"


class TestConduct:
    """What is done, and what is not done again."""

    def test_every_run_is_what_it_is_alone(self, tmp_path):
        sweep = sweep_in(tmp_path, QUICK)
        directory = begun(tmp_path, sweep)
        workers, observer = Here(), Noted()
        assert conduct(sweep, directory, workers, observer) == {"finished": 4}
        assert workers.closed
        assert observer.waiting == ALL
        assert observer.outcomes == [Outcome(number, "finished") for number in ALL]
        check_networks(sweep, directory)
        check_index(directory, dict.fromkeys(ALL, "finished"))
        assert not is_locked(directory.path)

    def test_a_second_call_does_nothing_and_changes_nothing(self, tmp_path):
        sweep = sweep_in(tmp_path, QUICK)
        directory = begun(tmp_path, sweep)
        conduct(sweep, directory)
        before = files_of(directory.path)
        observer = Noted()
        assert conduct(sweep, directory, observer=observer) == {"finished": 4}
        assert (observer.waiting, observer.outcomes) == ([], [])
        after = files_of(directory.path)
        assert after.pop("sweep.csv")[0] == before.pop("sweep.csv")[0]
        assert after == before

    def test_a_second_call_does_what_is_missing_or_failed_alone(self, tmp_path):
        sweep = sweep_in(tmp_path, QUICK)
        directory = begun(tmp_path, sweep)
        directory.run("002").path.mkdir()
        (directory.run("002") / "notes.txt").write_text("mine")

        def stop(outcome):
            if outcome.number == "003":
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            conduct(sweep, directory, observer=Noted(stop))
        statuses = [row["status"] for row in rows_of(directory.path / "sweep.csv")]
        assert statuses == ["finished", "failed", "finished", "missing"]
        before = files_of(directory.path)
        (directory.run("002") / "notes.txt").unlink()
        observer = Noted()
        assert conduct(sweep, directory, observer=observer) == {"finished": 4}
        assert observer.waiting == ["002", "004"]
        after = files_of(directory.path)
        for name in before:
            if name.startswith(("001/", "003/")):
                assert after[name] == before[name]
        check_networks(sweep, directory)
        check_index(directory, dict.fromkeys(ALL, "finished"))

    def test_what_diverges_or_fails_is_recorded_and_the_rest_goes_on(self, tmp_path):
        text = """\
base:
  task: {kind: paraboloid, n_train: 20, n_test: 10}
  network: {hidden: [4]}
cross:
  training:
    - {dt: 5.0, steps: 1000}
    - {method: backprop, epochs: 5, batch_size: 21}
    - {dt: 0.02, steps: 9}
    - {method: backprop, epochs: 5, batch_size: 20}
"""
        sweep = sweep_in(tmp_path, text)
        directory = begun(tmp_path, sweep)
        observer = Noted()
        assert conduct(sweep, directory, observer=observer) == {"diverged": 1, "failed": 1, "finished": 2}
        statuses = dict(zip(ALL, ["diverged", "failed", "finished", "finished"], strict=True))
        check_index(directory, statuses)
        assert {outcome.number: outcome.status for outcome in observer.outcomes} == statuses
        rows = rows_of(directory.path / "sweep.csv")
        assert "training diverged at step" in rows[0]["message"]
        assert "must be at most 20, the number of training samples" in rows[1]["message"]
        before = files_of(directory.path)
        again = Noted()
        conduct(sweep, directory, observer=again)
        assert again.waiting == ["002"], "the same step would diverge again"
        after = files_of(directory.path)
        assert all(
            after[name] == before[name] for name in before if not name.startswith(("002", "sweep.csv"))
        )
        check_index(directory, statuses)

    def test_the_sweep_is_over_before_its_workers_are_waited_for(self, tmp_path):
        sweep = sweep_in(tmp_path, QUICK)
        directory = begun(tmp_path, sweep)

        class Watching(Here):
            def outcomes(self, jobs):
                for outcome in super().outcomes(jobs):
                    assert is_locked(directory.path)
                    yield outcome

            def close(self):
                assert not is_locked(directory.path)
                super().close()

        workers = Watching()
        conduct(sweep, directory, workers)
        assert workers.closed

    def test_an_error_of_the_workers_leaves_a_right_index(self, tmp_path):
        sweep = sweep_in(tmp_path, QUICK)
        directory = begun(tmp_path, sweep)

        class Broken(Here):
            def outcomes(self, jobs):
                yield from super().outcomes(jobs[:1])
                raise InputError("the cluster burns")

        workers = Broken()
        with pytest.raises(InputError, match="the cluster burns"):
            conduct(sweep, directory, workers)
        assert workers.closed
        check_index(directory, {"001": "finished"} | dict.fromkeys(ALL[1:], "missing"))

    def test_a_damaged_manifest_is_a_failed_run_and_no_end_of_the_sweep(self, tmp_path):
        sweep = sweep_in(tmp_path, QUICK)
        directory = begun(tmp_path, sweep)
        conduct(sweep, directory)
        before = files_of(directory.path)
        manifest = directory.run("002") / "manifest.json"
        manifest.write_text("{")
        assert conduct(sweep, directory) == {"finished": 3, "failed": 1}
        row = rows_of(directory.path / "sweep.csv")[1]
        assert row["status"] == "failed"
        assert row["message"].startswith(f"{manifest}: the manifest cannot be read")
        manifest.write_bytes(before["002/manifest.json"][0])
        assert conduct(sweep, directory) == {"finished": 4}


class LostWorkers:
    """Workers whose scheduler is gone at once, while one is at work for half a second more."""

    def outcomes(self, jobs):
        run = RunDirectory(Path(jobs[0].directory))
        run.begin(jobs[0].name, jobs[0].config, overwrite=False)
        at_work = Event()

        def work():
            with run.locked():
                at_work.set()
                time.sleep(0.5)
                run.write_manifest({"name": jobs[0].name, "status": "interrupted"})

        Thread(target=work).start()
        assert at_work.wait(PATIENCE_SECONDS)
        raise RunFailed("the scheduler went away")
        yield

    def close(self):
        pass


def test_the_index_waits_for_a_run_that_nobody_can_wait_for_otherwise(tmp_path):
    sweep = sweep_in(tmp_path, QUICK)
    directory = begun(tmp_path, sweep)
    with pytest.raises(RunFailed, match="the scheduler went away"):
        conduct(sweep, directory, LostWorkers())
    first, *others = [row["status"] for row in rows_of(directory.path / "sweep.csv")]
    assert first == "interrupted"
    assert set(others) == {"missing"}


def test_the_index_is_read_by_others(tmp_path):
    """As any CSV with quotes: a list, a path with a comma, a message of several lines."""
    sweep = sweep_in(tmp_path, MIXED.replace("150000", "70"))
    directory = begun(tmp_path, sweep)
    conduct(sweep, directory)
    with (directory.path / "sweep.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert {len(row) for row in rows} == {len(rows[0])}
    assert [json.loads(row[1]) for row in rows[1:]] == [70, 60, 80]
