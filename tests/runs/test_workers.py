"""Worker processes on this machine: killed, stopped and unusable, they lose nothing of a sweep."""

import os
import signal
import time

import psutil
import pytest
from sweeps import (
    LONG,
    MIXED,
    PATIENCE_SECONDS,
    QUICK,
    Noted,
    Sweeping,
    begun,
    check_index,
    check_networks,
    kept_rows,
    sweep_in,
    wait_until,
    worker_processes,
)

from sheafcli.runs import workers as workers_module
from sheafcli.runs.lock import is_locked
from sheafcli.runs.sweep import conduct_sweep
from sheafcli.runs.workers import ATTEMPTS, LocalWorkers

ALL = ["001", "002", "003"]


def locally(folder, text, n, observer=None):
    """Begin a sweep on so many workers of this machine."""
    return Sweeping(folder, text, lambda directory: LocalWorkers(n), observer)


def test_whatever_runs_a_sweep_its_networks_are_the_same(tmp_path):
    sweeping = locally(tmp_path, QUICK, 2)
    assert sweeping.end() == {"finished": 4}
    check_networks(sweeping.sweep, sweeping.directory)
    check_index(sweeping.directory, dict.fromkeys([*ALL, "004"], "finished"))


def test_a_worker_has_one_blas_thread_and_there_are_no_more_of_them_than_runs(tmp_path, monkeypatch):
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "7")
    sweeping = locally(tmp_path, LONG.replace("150000", "3000"), 5)
    wait_until(lambda: len(worker_processes()) == 2)
    environments = [process.environ() for process in worker_processes()]
    assert len(environments) == 2
    for environment in environments:
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        assert {environment[name] for name in names} == {"1"}
    assert sweeping.end() == {"finished": 2}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_killed_in_the_middle_of_a_run_costs_nothing_but_time(tmp_path, number):
    sweeping = locally(tmp_path, MIXED, 1)
    run = sweeping.directory.run("001")
    wait_until((run / "checkpoint.npz").exists)
    (worker,) = worker_processes()
    worker.send_signal(number)
    wait_until(lambda: worker.pid not in {process.pid for process in worker_processes()})
    before = kept_rows(run)
    assert 0 < int(before[-1]["step"]) < 150_000, "in the middle"
    assert sweeping.end() == {"finished": 3}
    assert kept_rows(run)[: len(before)] == before, "what was done was not done again"
    assert [outcome.status for outcome in sweeping.observer.outcomes] == ["finished"] * 3
    check_networks(sweeping.sweep, sweeping.directory)
    check_index(sweeping.directory, dict.fromkeys(ALL, "finished"))


def test_a_run_that_kills_its_worker_each_time_fails_and_the_others_go_on(tmp_path):
    sweeping = locally(tmp_path, MIXED, 1)
    run = sweeping.directory.run("001")
    killed = set()
    for _ in range(ATTEMPTS):
        wait_until(
            lambda: (
                {process.pid for process in worker_processes()} - killed
                and run.path.exists()
                and is_locked(run.path)
            )
        )
        (worker,) = (process for process in worker_processes() if process.pid not in killed)
        killed.add(worker.pid)
        worker.kill()
    assert sweeping.end() == {"failed": 1, "finished": 2}
    assert len(killed) == ATTEMPTS == 3
    outcomes = {outcome.number: outcome for outcome in sweeping.observer.outcomes}
    assert outcomes["001"].status == "failed"
    assert outcomes["001"].message == "its worker was killed by signal 9, 3 times"
    assert [outcomes[number].status for number in ALL[1:]] == ["finished"] * 2
    text = (sweeping.directory.path / "sweep.csv").read_text().splitlines()[1]
    assert text.startswith("001,150000,failed,")
    assert text.endswith('its worker was killed by signal 9, 3 times"')


def test_a_stopped_sweep_stops_its_workers_within_seconds(tmp_path):
    stopped = []

    def stop(outcome):
        for number in ("001", "003"):
            wait_until((tmp_path / "out" / number / "history.csv").exists)
        stopped.append(time.monotonic())
        raise KeyboardInterrupt

    endless = MIXED.replace("[150000, 60, 80]", "[1000000000, 60, 1000000001]")
    sweeping = locally(tmp_path, endless, 2, Noted(stop))
    assert isinstance(sweeping.end(), KeyboardInterrupt)
    assert time.monotonic() - stopped[0] < PATIENCE_SECONDS
    assert not is_locked(sweeping.directory.path)
    check_index(sweeping.directory, {"001": "interrupted", "002": "finished", "003": "interrupted"})


def test_a_worker_that_dies_while_it_waits_costs_no_run(tmp_path):
    workers = LocalWorkers(1)
    sweep = sweep_in(tmp_path, QUICK.replace("seeds: [3, 1]", "seeds: 1"))
    directory = begun(tmp_path, sweep)

    def kill(outcome):
        for process in worker_processes():
            process.kill()

    index = conduct_sweep(sweep, sweep.runs(), directory, workers, Noted(kill))
    assert index.count() == {"finished": 2}
    check_networks(sweep, directory)


class TestUnusable:
    """Where no worker can be had, the sweep says so and ends."""

    def test_no_python(self, tmp_path, monkeypatch):
        monkeypatch.setattr(workers_module.sys, "executable", str(tmp_path / "no-python"))
        sweep = sweep_in(tmp_path, QUICK)
        directory = begun(tmp_path, sweep)
        observer = Noted()
        index = conduct_sweep(sweep, sweep.runs(), directory, LocalWorkers(2), observer)
        assert index.count() == {"failed": 4}
        for outcome in observer.outcomes:
            assert outcome.message.startswith(
                "its worker cannot be used: [Errno 2] No such file or directory"
            )

    def test_one_that_ends_at_once_is_quoted(self, tmp_path, monkeypatch):
        python = tmp_path / "python"
        python.write_text("#!/bin/sh\necho something >&2\necho no licence >&2\nexit 3\n")
        python.chmod(0o755)
        monkeypatch.setattr(workers_module.sys, "executable", str(python))
        sweep = sweep_in(tmp_path, QUICK.replace("seeds: [3, 1]", "seeds: 1"))
        directory = begun(tmp_path, sweep)
        observer = Noted()
        index = conduct_sweep(sweep, sweep.runs(), directory, LocalWorkers(2), observer)
        assert index.count() == {"failed": 2}
        assert {outcome.message for outcome in observer.outcomes} == {
            "its worker ended with status 3: no licence, 3 times"
        }


def test_workers_are_processes_of_their_own_that_end(tmp_path):
    before = {child.pid for child in psutil.Process().children()}
    sweep = sweep_in(tmp_path, QUICK)
    directory = begun(tmp_path, sweep)
    seen = []
    observer = Noted(lambda outcome: seen.extend(process.pid for process in worker_processes()))
    conduct_sweep(sweep, sweep.runs(), directory, LocalWorkers(1), observer)
    assert len(set(seen)) == 1, "one worker takes one run after the other"
    assert os.getpid() not in seen
    assert {child.pid for child in psutil.Process().children()} == before
