"""One run of a sweep, performed here or by a worker process, against the same run trained alone."""

import json
import subprocess
import sys
import threading
import time
from dataclasses import replace
from importlib.metadata import version
from types import SimpleNamespace

import pytest
from sweeps import (
    LONG,
    PATIENCE_SECONDS,
    QUICK,
    alone,
    begun,
    files_of,
    kept_rows,
    sweep_in,
    wait_until,
)

from sheafcli.runs import job as jobs
from sheafcli.runs.conduct import conduct
from sheafcli.runs.job import Job, Outcome, perform
from sheafcli.runs.lock import locked
from sheafcli.runs.sweep import _job


@pytest.fixture
def sweep(tmp_path):
    return sweep_in(tmp_path, QUICK)


@pytest.fixture
def directory(tmp_path, sweep):
    """The directory of a sweep that lives."""
    directory = begun(tmp_path, sweep)
    with directory.held():
        yield directory


@pytest.fixture(autouse=True)
def _look_often(monkeypatch):
    monkeypatch.setattr(jobs, "LOOK_AFTER_SECONDS", 0.05)


@pytest.fixture
def waits(monkeypatch):
    """Keep a list of how often a job found another process at work and waited."""
    waits = []

    def sleep(seconds):
        waits.append(seconds)
        time.sleep(seconds)

    monkeypatch.setattr(jobs, "time", SimpleNamespace(sleep=sleep, monotonic=time.monotonic))
    return waits


def job_of(sweep, directory, number="001"):
    return _job(next(run for run in sweep.runs() if run.number == number), directory)


def manifest_of(directory, number="001"):
    return directory.run(number).manifest()


def contents_of(directory):
    return {name: content for name, (content, _) in files_of(directory.path).items()}


def test_a_job_is_a_run_like_any_other(sweep, directory):
    job = job_of(sweep, directory)
    assert perform(job) == Outcome("001", "finished")
    run = directory.run("001")
    assert (run / "network.npz").read_bytes() == alone(sweep.runs()[0])
    assert manifest_of(directory)["name"] == "quick-001"
    assert (run / "config.yaml").read_text() == job.config


def test_a_finished_job_is_left_alone(sweep, directory):
    perform(job_of(sweep, directory))
    before = files_of(directory.path)
    assert perform(job_of(sweep, directory)) == Outcome("001", "finished")
    assert files_of(directory.path) == before


@pytest.mark.parametrize(
    "line",
    [
        Job("001", "a-001", "name: a\nseed: 1\n# \u2028 ü\n", "/a b/001", "/a b", "1.0").to_line(),
        Outcome("001", "failed", "one line\nand another").to_line(),
    ],
)
def test_jobs_and_outcomes_are_one_line_each(line):
    assert line.isascii()
    assert line.index("\n") == len(line) - 1
    fields = json.loads(line)
    kind = Job if "config" in fields else Outcome
    assert kind(**fields).to_line() == line


def test_a_job_of_another_version_is_refused(sweep, directory):
    outcome = perform(replace(job_of(sweep, directory), version="9.9.9"))
    assert outcome == Outcome(
        "001", "failed", f"the worker has sheafcli {version('sheafcli')}, the sweep 9.9.9"
    )
    assert not directory.run("001").path.exists()


def test_a_job_of_a_sweep_that_is_over_is_not_begun(tmp_path, sweep):
    directory = begun(tmp_path, sweep)
    assert perform(job_of(sweep, directory)) == Outcome("001", "interrupted")
    assert not directory.run("001").path.exists()


def test_a_run_stops_when_the_sweep_ends_and_goes_on_with_the_next(tmp_path):
    long = sweep_in(tmp_path, LONG)
    directory = begun(tmp_path, long)
    job, run = job_of(long, directory), directory.run("001")
    outcomes = []
    worker = threading.Thread(target=lambda: outcomes.append(perform(job)))
    with directory.held():
        worker.start()
        wait_until((run / "checkpoint.npz").exists)
    worker.join(PATIENCE_SECONDS)
    assert outcomes == [Outcome("001", "interrupted")]
    assert manifest_of(directory)["status"] == "interrupted"
    before = kept_rows(run)
    assert 0 < int(before[-1]["step"]) < 150_000
    with directory.held():
        assert perform(job) == Outcome("001", "finished")
    assert (run / "network.npz").read_bytes() == alone(long.runs()[0])
    assert kept_rows(run)[: len(before)] == before, "what was done was not done again"


class TestAnotherWorker:
    """What another process holds is waited for."""

    def test_a_run_that_another_one_does_is_not_done_twice(self, sweep, directory, waits):
        perform(job_of(sweep, directory))
        before = contents_of(directory)
        run = directory.run("001")
        manifest = run.manifest()
        outcomes = []
        with run.locked():
            run.write_manifest(manifest | {"status": "running"})
            worker = threading.Thread(target=lambda: outcomes.append(perform(job_of(sweep, directory))))
            worker.start()
            wait_until(lambda: len(waits) > 1)
            assert outcomes == []
            run.write_manifest(manifest)
        worker.join(PATIENCE_SECONDS)
        assert outcomes == [Outcome("001", "finished")]
        assert contents_of(directory) == before

    def test_nor_one_that_ends_between_the_look_at_it_and_its_lock(self, sweep, directory, monkeypatch):
        perform(job_of(sweep, directory))
        before = contents_of(directory)
        run = directory.run("001")
        manifest = run.manifest()
        run.write_manifest(manifest | {"status": "running"})

        def late(*arguments, **options):
            run.write_manifest(manifest)
            return conduct(*arguments, **options)

        monkeypatch.setattr(jobs, "conduct", late)
        assert perform(job_of(sweep, directory)) == Outcome("001", "finished")
        assert contents_of(directory) == before

    def test_one_that_holds_an_empty_directory_is_waited_for(self, sweep, directory, waits):
        run = directory.run("001")
        run.path.mkdir()
        held = threading.Event()

        def hold():
            with locked(run.path, "run"):
                held.set()
                wait_until(lambda: len(waits) > 1)

        holder = threading.Thread(target=hold)
        holder.start()
        assert held.wait(PATIENCE_SECONDS)
        assert perform(job_of(sweep, directory)) == Outcome("001", "finished")
        assert len(waits) > 1
        holder.join()

    def test_but_not_beyond_the_end_of_the_sweep(self, tmp_path, sweep, waits):
        directory = begun(tmp_path, sweep)
        run = directory.run("001")
        run.path.mkdir()
        outcomes = []
        with run.locked():
            with directory.held():
                worker = threading.Thread(target=lambda: outcomes.append(perform(job_of(sweep, directory))))
                worker.start()
                wait_until(lambda: len(waits) > 1)
                assert outcomes == []
            worker.join(PATIENCE_SECONDS)
        assert outcomes == [Outcome("001", "interrupted")]


class TestFailures:
    """What goes wrong is told, and written down where there is a run to write it in."""

    def test_a_run_that_diverges(self, tmp_path):
        wild = sweep_in(tmp_path, QUICK.replace("dt: 0.02", "dt: 5.0").replace("steps: 60", "steps: 1000"))
        directory = begun(tmp_path, wild)
        with directory.held():
            outcome = perform(job_of(wild, directory))
            assert (outcome.status, manifest_of(directory)["status"]) == ("diverged", "diverged")
            assert outcome.message == manifest_of(directory)["message"]
            assert "training diverged at step" in outcome.message
            before = files_of(directory.path)
            assert perform(job_of(wild, directory)) == outcome
        assert files_of(directory.path) == before

    def test_data_that_cannot_be_read_and_then_can(self, tmp_path):
        data = tmp_path / "data.csv"
        data.write_text("x,y\n1,one\n2,two\n")
        text = QUICK.replace(
            "kind: paraboloid, n_train: 20, n_test: 10", f"kind: csv, path: {data}, target: y"
        )
        of_file = sweep_in(tmp_path, text)
        directory = begun(tmp_path, of_file)
        data.write_bytes(b"\xff\xfe\x00")
        with directory.held():
            outcome = perform(job_of(of_file, directory))
            assert outcome.status == "failed"
            assert "data.csv" in outcome.message
            assert manifest_of(directory)["status"] == "failed"
            assert manifest_of(directory)["message"] == outcome.message
            data.write_text("x,y\n" + "".join(f"{i},{i * i}\n" for i in range(10)))
            assert perform(job_of(of_file, directory)) == Outcome("001", "finished")
        assert manifest_of(directory)["status"] == "finished"

    def test_a_value_that_does_not_fit_the_data(self, tmp_path):
        text = QUICK.replace("steps: 60, dt: 0.02", "method: backprop, epochs: 2, batch_size: 21").replace(
            "training.beta", "training.learning_rate"
        )
        unfit = sweep_in(tmp_path, text)
        directory = begun(tmp_path, unfit)
        with directory.held():
            outcome = perform(job_of(unfit, directory))
        assert outcome.status == "failed"
        assert "batch_size: given 21; must be at most 20" in outcome.message
        assert str(directory.run("001") / "config.yaml") in outcome.message

    def test_strangers_files_where_a_run_should_be(self, sweep, directory):
        directory.run("001").path.mkdir()
        (directory.run("001") / "notes.txt").write_text("mine")
        outcome = perform(job_of(sweep, directory))
        assert outcome.status == "failed"
        assert outcome.message.startswith(
            f"{directory.run('001').path}: the directory holds files but no run"
        )
        assert list(files_of(directory.path / "001")) == ["notes.txt"]

    def test_another_configuration_where_the_run_should_be(self, sweep, directory):
        other = replace(
            job_of(sweep, directory, "004"), number="001", directory=str(directory.run("001").path)
        )
        assert perform(other).status == "finished"
        before = files_of(directory.path)
        outcome = perform(job_of(sweep, directory))
        assert (outcome.status, outcome.message) == (
            "failed",
            f"{directory.run('001').path}: the run here was begun with another configuration",
        )
        assert files_of(directory.path) == before

    def test_whatever_else_goes_wrong_is_called_by_its_name(self, sweep, directory, monkeypatch):
        def broken(path):
            raise MemoryError("no room for 9 TB")

        monkeypatch.setattr(jobs.Experiment, "load", broken)
        assert perform(job_of(sweep, directory)) == Outcome("001", "failed", "MemoryError: no room for 9 TB")


def test_a_worker_process_answers_line_by_line_and_ends_with_its_input(sweep, directory):
    lines = [job_of(sweep, directory, number).to_line() for number in ("002", "001")]
    worker = subprocess.run(
        [sys.executable, "-m", "sheafcli.runs.worker"],
        check=False,
        input="".join(lines),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert (worker.returncode, worker.stderr) == (0, "")
    assert worker.stdout == Outcome("002", "finished").to_line() + Outcome("001", "finished").to_line()
    for number in ("001", "002"):
        run = sweep.runs()[int(number) - 1]
        assert (directory.run(number) / "network.npz").read_bytes() == alone(run)
