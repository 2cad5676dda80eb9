"""Sweeps of small networks, their runs made one by one in this process to compare with, and what is left."""

from __future__ import annotations

import csv
import functools
import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil

from sheafcli.config import Sweep, SweepRun, dump_config, load_config, load_sweep
from sheafcli.runs import Experiment, RunDirectory, conduct
from sheafcli.runs.job import Job, Outcome, perform
from sheafcli.runs.observer import Silent
from sheafcli.runs.sweep import Rung, SweepDirectory, conduct_sweep
from sheafcli.runs.workers import Workers

QUICK = """\
name: quick
base:
  task: {kind: paraboloid, n_train: 20, n_test: 10}
  network: {hidden: [4]}
  training: {steps: 60, dt: 0.02, log_every: 20}
cross: {training.beta: [0.001, 0.01]}
seeds: [3, 1]
"""
# Runs of some seconds: long enough for a checkpoint, which there is every second, and a kill after it.
LONG = """\
name: long
base:
  task: {kind: paraboloid, n_train: 20, n_test: 10}
  network: {hidden: [4]}
  training: {steps: 150000, dt: 0.02, log_every: 200}
  diagnostics: {every: 10000}
seeds: 2
"""
# One long run before two short ones.
MIXED = LONG.replace("seeds: 2", "zip: {training.steps: [150000, 60, 80]}")
PATIENCE_SECONDS = 120.0


def sweep_in(folder: Path, text: str) -> Sweep:
    """Load a sweep from its text."""
    (folder / "sweep_file.yaml").write_text(text)
    return load_sweep(folder / "sweep_file.yaml")


def begun(folder: Path, sweep: Sweep) -> SweepDirectory:
    """Return the directory of a sweep, begun."""
    directory = SweepDirectory(folder / "out")
    directory.begin(sweep)
    return directory


class Noted:
    """A SweepObserver that notes what it is told, and does something when a run has ended."""

    def __init__(self, when_ended: Callable[[Outcome], object] = lambda outcome: None):
        self.waiting: list[str] = []
        self.rungs: dict[float, list[str]] = {}
        self.outcomes: list[Outcome] = []
        self._when_ended = when_ended

    def sweep_started(
        self, directory: SweepDirectory, waiting: Sequence[SweepRun], total: int, rung: Rung
    ) -> None:
        self.waiting = [run.number for run in waiting]
        self.rungs[rung.until] = self.waiting

    def run_ended(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        self._when_ended(outcome)


class Here:
    """Workers that do one job after the other in this process."""

    def __init__(self) -> None:
        self.closed = False

    def outcomes(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        yield from map(perform, jobs)

    def close(self) -> None:
        self.closed = True


class Sweeping:
    """A sweep that is conducted in a thread, so that something can happen to it meanwhile."""

    def __init__(
        self,
        folder: Path,
        text: str,
        workers: Callable[[SweepDirectory], Workers],
        observer: Noted | None = None,
    ):
        self.sweep = sweep_in(folder, text)
        self.directory = begun(folder, self.sweep)
        self.observer = observer or Noted()
        self._came_to: list[dict[str, int] | BaseException] = []
        self._thread = threading.Thread(target=self._conduct, args=(workers,), daemon=True)
        self._thread.start()

    def _conduct(self, workers: Callable[[SweepDirectory], Workers]) -> None:
        try:
            directory = self.directory
            self._came_to.append(
                conduct_sweep(
                    self.sweep, self.sweep.runs(), directory, workers(directory), self.observer
                ).count()
            )
        except BaseException as error:
            self._came_to.append(error)

    def end(self) -> dict[str, int] | BaseException:
        """Wait for the end, and return the counts that it came to, or the error."""
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive(), "the sweep hangs"
        assert worker_processes() == []
        return self._came_to[0]


def alone(run: SweepRun) -> bytes:
    """Return the bytes of the network.npz of a run that was trained undisturbed, outside of any sweep."""
    return _alone(dump_config(run.config.model_copy(update={"name": "alone"})))


@functools.cache
def _alone(configuration: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "alone.yaml").write_text(configuration)
        experiment = Experiment.prepare(load_config(Path(folder) / "alone.yaml"))
        directory = RunDirectory(Path(folder) / "run")
        directory.create(experiment.config, overwrite=False)
        conduct(experiment, directory, Silent())
        return (directory / "network.npz").read_bytes()


def check_networks(sweep: Sweep, directory: SweepDirectory) -> None:
    """Check that every run has the very network that it has alone."""
    for run in sweep.runs():
        assert (directory.run(run.number) / "network.npz").read_bytes() == alone(run), run.number


def rows_of(path: Path) -> list[dict[str, str]]:
    """Read a table of CSV as text."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def check_index(directory: SweepDirectory, statuses: dict[str, str]) -> None:
    """Check that the index lists the runs in their order with these statuses, and what manifests say."""
    rows = rows_of(directory.path / "sweep.csv")
    assert [(row["run"], row["status"]) for row in rows] == list(statuses.items())
    for row in rows:
        if row["status"] == "missing":
            assert not directory.run(row["run"]).path.exists()
            continue
        manifest = json.loads((directory.path / row["run"] / "manifest.json").read_text())
        assert manifest["status"] == row["status"]
        assert (manifest.get("message") or "") == row["message"]
        for name in ("step", "train_loss", "test_loss", "seconds"):
            value = (manifest.get("final") or {}).get(name)
            assert row[name] == ("" if value is None else repr(value))


def files_of(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Return the content of every file below a folder, and when it was written."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def worker_processes() -> list[psutil.Process]:
    """Return the worker processes that this one has started and that live."""
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.Error):  # it has just ended
            if "sheafcli.runs.worker" in child.cmdline():
                found.append(child)
    return found


def wait_until(condition: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
    """Return once a condition holds; fail if it does not in a while."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def kept_rows(run: RunDirectory) -> list[dict[str, str]]:
    """Return the rows of history up to the last checkpoint, with the seconds that the clock said."""
    with np.load(run / "checkpoint.npz") as checkpoint:
        step = int(checkpoint["state_clock"][0])
    return [row for row in rows_of(run / "history.csv") if int(row["step"]) <= step]
