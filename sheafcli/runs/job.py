"""One run of a sweep as any worker takes it: in this process, another one, or on another machine."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from sheafcli.config import dump_config
from sheafcli.core.training.fit import Record
from sheafcli.errors import InputError, RunFailed
from sheafcli.runs.conduct import conduct
from sheafcli.runs.directory import RunDirectory
from sheafcli.runs.experiment import Experiment
from sheafcli.runs.lock import Busy, is_locked

LOOK_AFTER_SECONDS = 1.0
# A run that ended so is not done again.
DONE = ("finished", "diverged")


@dataclass(frozen=True)
class Job:
    """A run to be done, in plain text, by whoever sees its directory.

    Attributes
    ----------
    number : the run's number in its sweep.
    name, config : the name of the run and the text of its config.yaml.
    directory, sweep : where it is written, and the directory of the sweep, whose lock says that it lives.
    version : the version of sheafcli that asks for it.
    until : the share of its training after which it stops.
    """

    number: str
    name: str
    config: str
    directory: str
    sweep: str
    version: str
    until: float = 1.0

    def to_line(self) -> str:
        """Write it as one line of JSON."""
        return json.dumps(asdict(self)) + "\n"


@dataclass(frozen=True)
class Outcome:
    """How a job ended: finished, stopped, diverged, failed or interrupted, and why."""

    number: str
    status: str
    message: str | None = None

    def to_line(self) -> str:
        """Write it as one line of JSON."""
        return json.dumps(asdict(self)) + "\n"


def perform(job: Job) -> Outcome:
    """Begin a run, or continue it from its last checkpoint, to its end.

    A run that is done is left alone. One that another process is at work on is waited for: so a run whose
    worker was given up but lives is not done twice. The run stops as "interrupted", and can be continued,
    once nobody holds the sweep's directory any more. Whatever goes wrong is told, not raised.
    """
    watch = _WhileSweepLives(Path(job.sweep))
    try:
        while True:
            watch.look()
            try:
                return _conduct(job, watch)
            except Busy:
                time.sleep(LOOK_AFTER_SECONDS)
    except KeyboardInterrupt:
        return Outcome(job.number, "interrupted")
    except Exception as error:
        kind = "" if isinstance(error, InputError | RunFailed) else f"{type(error).__name__}: "
        return Outcome(job.number, "failed", f"{kind}{error}")


def _conduct(job: Job, watch: _WhileSweepLives) -> Outcome:
    if version("sheafcli") != job.version:
        raise InputError(f"the worker has sheafcli {version('sheafcli')}, the sweep {job.version}")
    run = RunDirectory(Path(job.directory))
    if not run.has_run:
        run.begin(job.name, job.config, overwrite=False)
    elif dump_config(run.config()) != job.config:
        raise InputError("the run here was begun with another configuration", path=run.path)
    manifest = run.manifest()
    if manifest.get("status") in DONE:
        return Outcome(job.number, manifest["status"], manifest.get("message"))
    try:
        experiment = Experiment.load(run / "config.yaml")
    except InputError as error:
        with run.locked():
            run.write_manifest(manifest | {"status": "failed", "message": str(error)})
        raise
    try:
        ended = conduct(experiment, run, watch, resume=True, until=job.until)
    except RunFailed as error:
        diverged = run.manifest().get("status") == "diverged"
        return Outcome(job.number, "diverged" if diverged else "failed", str(error))
    return Outcome(job.number, ended["status"], ended["message"] if ended["status"] == "stopped" else None)


class _WhileSweepLives:
    """An observer that interrupts a run once the sweep it belongs to is over, however that ended."""

    def __init__(self, sweep: Path):
        self._sweep, self._looked = sweep, 0.0

    def look(self) -> None:
        if not is_locked(self._sweep):
            raise KeyboardInterrupt
        self._looked = time.monotonic()

    def progressed(self, step: int, share_done: float) -> None:
        if time.monotonic() - self._looked > LOOK_AFTER_SECONDS:
            self.look()

    def phase_started(self, phase: str, step: int, total: int | None) -> None:
        """Ignore."""

    def recorded(self, record: Record) -> None:
        """Ignore."""

    def phase_ended(self) -> None:
        """Ignore."""
