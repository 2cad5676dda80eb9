"""Sweeps on a real Dask cluster of processes, against the same runs trained alone; and what is no cluster."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import distributed
import pytest
from sweeps import (
    LONG,
    PATIENCE_SECONDS,
    QUICK,
    Here,
    Noted,
    Sweeping,
    begun,
    check_index,
    check_networks,
    files_of,
    kept_rows,
    rows_of,
    sweep_in,
    wait_until,
)

from sheafcli.errors import InputError
from sheafcli.runs import RunFailed
from sheafcli.runs.cluster import CONNECT_SECONDS, DaskWorkers, _problem
from sheafcli.runs.sweep import SweepDirectory, conduct_sweep
from sheafcli.runs.workers import LocalWorkers

HERE = version("sheafcli")
# Two runs that are soon done, and a long one.
MIXED = LONG.replace("seeds: 2", "zip: {training.steps: [60, 80, 150000]}")
ALL = ["001", "002", "003", "004"]


class Cluster:
    """A scheduler and workers, each a process; all end with `end`."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self.workers: list[subprocess.Popen[bytes]] = []
        file = folder / "scheduler.json"
        self.scheduler = self._start("scheduler", "--port", "0", "--scheduler-file", str(file))
        wait_until(file.exists)
        self.client = distributed.Client(
            scheduler_file=str(file), timeout=PATIENCE_SECONDS, set_as_default=False
        )
        self.address = self.client.scheduler.address

    def _start(self, kind: str, *options: str, **environment: str) -> subprocess.Popen[bytes]:
        with (self._folder / "log.txt").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", kind, "--host", "127.0.0.1", "--no-dashboard", *options],
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env=os.environ | environment,
            )
        self._processes.append(process)
        return process

    def start_worker(self, **environment: str) -> subprocess.Popen[bytes]:
        """Start a worker of one thread and wait until the scheduler knows it."""
        before = self.count()
        options = ("--nthreads", "1", "--no-nanny", "--local-directory", str(self._folder))
        worker = self._start("worker", self.address, *options, **environment)
        self.workers.append(worker)
        wait_until(lambda: self.count() == before + 1)
        return worker

    def kill(self, worker: subprocess.Popen[bytes]) -> None:
        """Kill a worker, and wait until the scheduler knows."""
        before = self.count()
        worker.kill()
        worker.wait(PATIENCE_SECONDS)
        self.workers.remove(worker)
        wait_until(lambda: self.count() == before - 1)

    def kill_the_busy_one(self) -> None:
        """Kill the one worker that has something to do."""
        (address,) = (worker for worker, keys in self.client.processing().items() if keys)
        (pid,) = self.client.run(os.getpid, workers=[address]).values()
        self.kill(next(worker for worker in self.workers if worker.pid == pid))

    def count(self) -> int:
        """Return how many workers the scheduler has."""
        return len(self.client.scheduler_info(n_workers=-1)["workers"])

    def end(self) -> None:
        """Kill all processes."""
        self.client.close(timeout=5)
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait(PATIENCE_SECONDS)


@contextmanager
def cluster_in(folder: Path, n_workers: int) -> Iterator[Cluster]:
    cluster = Cluster(folder)
    try:
        for _ in range(n_workers):
            cluster.start_worker()
        yield cluster
    finally:
        cluster.end()


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Iterator[Cluster]:
    with cluster_in(tmp_path_factory.mktemp("cluster"), 2) as cluster:
        yield cluster


@pytest.fixture
def cluster(shared) -> Cluster:
    """A scheduler with two workers; one that a test before has killed is replaced."""
    while len(shared.workers) < 2:
        shared.start_worker()
    return shared


def conduct(folder, text, cluster, observer=None):
    sweep = sweep_in(folder, text)
    directory = begun(folder, sweep)
    workers = DaskWorkers(cluster.address, directory)
    return conduct_sweep(sweep, sweep.runs(), directory, workers, observer or Noted()).count()


def test_a_cluster_makes_the_networks_that_this_machine_makes(tmp_path, cluster):
    for name in ("cluster", "here"):
        (tmp_path / name).mkdir()
    observer = Noted()
    assert conduct(tmp_path / "cluster", QUICK, cluster, observer) == {"finished": 4}
    assert {(outcome.number, outcome.status) for outcome in observer.outcomes} == {
        (number, "finished") for number in ALL
    }
    sweep = sweep_in(tmp_path / "here", QUICK)
    directory = begun(tmp_path / "here", sweep)
    conduct_sweep(sweep, sweep.runs(), directory, LocalWorkers(2), Noted())
    for number in ALL:
        one, other = (tmp_path / name / "out" / number / "network.npz" for name in ("cluster", "here"))
        assert one.read_bytes() == other.read_bytes()
    on_cluster = SweepDirectory(tmp_path / "cluster" / "out")
    check_networks(sweep, on_cluster)
    check_index(on_cluster, dict.fromkeys(ALL, "finished"))
    before = files_of(on_cluster.path)
    again = Noted()
    assert conduct(tmp_path / "cluster", QUICK, cluster, again) == {"finished": 4}
    assert again.waiting == []
    after = files_of(on_cluster.path)
    assert {name: after[name] for name in after if name != "sweep.csv"} == {
        name: before[name] for name in before if name != "sweep.csv"
    }


def test_what_diverges_or_fails_is_recorded_and_the_rest_goes_on(tmp_path, cluster):
    ways = "{training: [{dt: 5.0}, {method: backprop, epochs: 5, batch_size: 21}, {dt: 0.02, steps: 9}]}"
    text = QUICK.replace("{training.beta: [0.001, 0.01]}", ways).replace("seeds: [3, 1]\n", "")
    assert conduct(tmp_path, text, cluster) == {"diverged": 1, "failed": 1, "finished": 1}
    statuses = {"001": "diverged", "002": "failed", "003": "finished"}
    check_index(SweepDirectory(tmp_path / "out"), statuses)


def test_a_killed_worker_costs_nothing_but_time(tmp_path, cluster):
    sweeping = Sweeping(tmp_path, MIXED, lambda directory: DaskWorkers(cluster.address, directory))
    run = sweeping.directory.run("003")
    wait_until((run / "checkpoint.npz").exists)
    done = {name: files_of(sweeping.directory.path / name) for name in ("001", "002")}
    cluster.kill_the_busy_one()
    kept = kept_rows(run)
    assert 0 < int(kept[-1]["step"]) < 150_000, "in the middle"
    assert sweeping.end() == {"finished": 3}
    assert {name: files_of(sweeping.directory.path / name) for name in done} == done
    assert kept_rows(run)[: len(kept)] == kept, "what was done was not done again"
    assert sorted(outcome.number for outcome in sweeping.observer.outcomes) == ALL[:3]
    check_networks(sweeping.sweep, sweeping.directory)
    check_index(sweeping.directory, dict.fromkeys(ALL[:3], "finished"))


def test_an_interrupted_sweep_leaves_the_workers_free_and_goes_on_elsewhere(tmp_path, cluster):
    endless = MIXED.replace("150000", "1000000000")
    stopped = []

    def stop(outcome):
        if outcome.number in ("001", "002"):
            wait_until((tmp_path / "out" / "003" / "history.csv").exists)
            stopped.append(time.monotonic())
            raise KeyboardInterrupt

    sweeping = Sweeping(tmp_path, endless, lambda d: DaskWorkers(cluster.address, d), Noted(stop))
    assert isinstance(sweeping.end(), KeyboardInterrupt)
    assert time.monotonic() - stopped[0] < PATIENCE_SECONDS
    assert sweeping.directory.run("003").manifest()["status"] == "interrupted"
    wait_until(lambda: not any(cluster.client.processing().values()))


def test_a_worker_with_another_version_is_refused(tmp_path, cluster):
    other = tmp_path / "other" / "sheafcli-9.9.9.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: sheafcli\nVersion: 9.9.9\n")
    worker = cluster.start_worker(PYTHONPATH=str(other.parent))
    try:
        with pytest.raises(InputError) as caught:
            conduct(tmp_path, QUICK, cluster)
    finally:
        cluster.kill(worker)
    assert f"has sheafcli 9.9.9, and here is {HERE}; use the same on both" in str(caught.value)
    assert str(caught.value).startswith(f"--scheduler {cluster.address}: the worker tcp://127.0.0.1:")
    check_index(SweepDirectory(tmp_path / "out"), dict.fromkeys(ALL, "missing"))
    assert conduct(tmp_path, QUICK, cluster) == {"finished": 4}, "once it has gone"


def test_a_scheduler_that_goes_away_ends_the_sweep_and_nothing_is_lost(tmp_path):
    text = LONG.replace("seeds: 2", "zip: {training.steps: [60, 1000000000]}")
    with cluster_in(tmp_path, 1) as own:
        sweeping = Sweeping(tmp_path, text, lambda directory: DaskWorkers(own.address, directory))
        wait_until((sweeping.directory.run("002") / "history.csv").exists)
        own.scheduler.kill()
        found = sweeping.end()
    assert isinstance(found, RunFailed)
    assert "went away; call again to go on" in str(found)
    check_index(sweeping.directory, {"001": "finished", "002": "interrupted"})


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        ({"version": HERE, "sees": True, "locked": True}, None),
        (
            {"version": None, "sees": True, "locked": True},
            f"has no sheafcli; install version {HERE} there",
        ),
        (
            {"version": "9.9.9", "sees": False, "locked": False},
            f"has sheafcli 9.9.9, and here is {HERE}; use the same on both",
        ),
        (
            {"version": HERE, "sees": False, "locked": False},
            "does not see /a/b; choose a directory that all share with --output",
        ),
        (
            {"version": HERE, "sees": True, "locked": False},
            "sees /a/b, but not that it is locked; choose a file system with locks with --output",
        ),
        (OSError("timed out"), "did not answer: timed out"),
    ],
)
def test_what_a_worker_must_have(found, problem):
    assert _problem(found, Path("/a/b")) == problem


class TestNoCluster:
    """What is no scheduler is told at once."""

    @staticmethod
    def error_of(address, folder):
        began = time.monotonic()
        with pytest.raises(InputError) as caught:
            DaskWorkers(address, SweepDirectory(folder))
        assert time.monotonic() - began < CONNECT_SECONDS + PATIENCE_SECONDS
        message = str(caught.value)
        assert message.startswith(f"--scheduler {address}: no Dask scheduler answers there (")
        assert message.endswith("such as tcp://127.0.0.1:8786")
        assert list(folder.iterdir()) == []
        return message

    def test_nothing_listens(self, tmp_path):
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        for address in (f"tcp://127.0.0.1:{port}", f"127.0.0.1:{port}"):
            assert "Connection refused" in self.error_of(address, tmp_path)

    @pytest.mark.parametrize(
        ("address", "words"),
        [
            ("http://127.0.0.1:8786", "an address is tcp://HOST:PORT or tls://HOST:PORT"),
            ("inproc://1/2/3", "an address is"),
            ("tcp://", "an address is"),
            ("", "an address is"),
            ("tcp://127.0.0.1:99999", "Port out of range"),
            ("tcp://127.0.0.1:port", "port"),
            ("tcp://[::1", "Invalid IPv6"),
        ],
    )
    def test_an_address_that_is_none(self, tmp_path, address, words):
        assert words in self.error_of(address, tmp_path)

    @pytest.mark.parametrize(
        "greeting", [None, b"", b"220 mail.example ESMTP\r\n", b"\x00" * 64, b"\xff" * 64]
    )
    def test_some_other_service(self, tmp_path, greeting, monkeypatch):
        monkeypatch.setattr("sheafcli.runs.cluster.CONNECT_SECONDS", 1)
        with socket.create_server(("127.0.0.1", 0)) as server:
            connections = []

            def serve():
                while True:
                    try:
                        connection, _ = server.accept()
                    except OSError:
                        return
                    if greeting is not None:
                        connection.sendall(greeting)
                    if greeting == b"":
                        connection.close()
                    connections.append(connection)

            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            try:
                self.error_of(f"tcp://127.0.0.1:{server.getsockname()[1]}", tmp_path)
            finally:
                server.shutdown(socket.SHUT_RDWR)
                thread.join(5)
                for connection in connections:
                    connection.close()

    def test_a_worker_in_place_of_the_scheduler(self, tmp_path, cluster):
        address = next(iter(cluster.client.scheduler_info(n_workers=-1)["workers"]))
        assert "what listens there is a Dask Worker" in self.error_of(address, tmp_path)

    def test_dask_is_not_installed(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "distributed", None)
        with pytest.raises(InputError, match=r"sheafcli\[cluster\]"):
            DaskWorkers("tcp://127.0.0.1:8786", SweepDirectory(tmp_path))


@pytest.mark.parametrize(
    ("search", "ends"),
    [
        ("{method: halving}", {"stopped": 3, "finished": 1}),
        ("{method: tpe, runs: 4, batch: 2}", {"finished": 4}),
    ],
)
def test_a_search_does_the_same_on_a_cluster_as_on_this_machine(tmp_path, cluster, search, ends):
    text = (
        "base:\n  task: {kind: paraboloid, n_train: 20, n_test: 10}\n  network: {hidden: [4]}\n"
        "  training: {method: backprop, steps: 90, log_every: 10}\n"
        f"cross: {{training.learning_rate: [0.0003, 0.001, 0.003, 0.01]}}\nsearch: {search}\n"
    )
    indices = []
    for name in ("here", "there"):
        folder = tmp_path / name
        folder.mkdir()
        sweep = sweep_in(folder, text)
        directory = begun(folder, sweep)
        workers = Here() if name == "here" else DaskWorkers(cluster.address, directory)
        counts = conduct_sweep(sweep, sweep.runs(), directory, workers, Noted()).count()
        assert counts == ends
        rows = rows_of(directory.path / "sweep.csv")
        indices.append([{key: row[key] for key in row if key != "seconds"} for row in rows])
    assert indices[0] == indices[1]
