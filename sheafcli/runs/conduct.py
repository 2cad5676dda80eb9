"""Conducting a run: train phase after phase, write down what happens, leave a state to go on from."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, astuple, dataclass
from typing import Any

import numpy as np

from sheafcli.config import Config
from sheafcli.core.network import AnyNetwork
from sheafcli.core.spectrum import spectrum
from sheafcli.core.training.fit import (
    Data,
    EarlyStopping,
    Record,
    patience_of,
    record,
    records,
)
from sheafcli.core.training.protocol import Diverged, Session
from sheafcli.errors import InputError, RunFailed
from sheafcli.interop.npz import MAX_BYTES, read_npz
from sheafcli.runs.data_files import check_unchanged, data_hashes
from sheafcli.runs.directory import HISTORY, RunDirectory
from sheafcli.runs.experiment import Experiment, Phase
from sheafcli.runs.files import GrowingTable, write_npz
from sheafcli.runs.manifest import now, sizes, versions
from sheafcli.runs.observer import Observer
from sheafcli.runs.terminable import terminable
from sheafcli.runs.under_way import share_at
from sheafcli.tasks import TaskData
from sheafcli.tasks.metrics import followed, metrics_of

Rows = Callable[[Session, Data], Iterable[Mapping[str, object]]]

CHECKPOINT_SECONDS = 1.0
# A share of a training is reached but for the rounding of a division.
ROUNDING = 1e-9
SPECTRUM_COLUMNS = ("step", "gap_min", "gap_median", "largest_median", "largest_max", "condition_median")
SPECTRUM_SAMPLES = 50
DISCORD_COLUMNS = ("step", "layer", "operation", "edge", "discord", "share")


@dataclass(frozen=True)
class Checkpoint:
    """Where a run can be taken up: a phase, the seconds it took so far, its session's state.

    `stopping` is what it waits for, if it does: the best network is the run's own.
    """

    phase: str
    seconds: float
    state: dict[str, np.ndarray]
    stopping: EarlyStopping | None = None

    @property
    def step(self) -> int:
        """The step that the phase has come to: the first entry of every session's clock."""
        return int(self.state["clock"][0])

    def write(self, directory: RunDirectory) -> None:
        """Write it whole."""
        header = {"phase": np.array(self.phase), "seconds": np.array(self.seconds)}
        if self.stopping is not None and self.stopping.best is not None:
            best = [np.nan if value is None else value for value in astuple(self.stopping.best)]
            header["stopping"] = np.array([self.stopping.patience, self.stopping.waited, *best])
        state = {f"state_{name}": array for name, array in self.state.items()}
        write_npz(directory / "checkpoint.npz", header | state)

    @classmethod
    def read(cls, directory: RunDirectory) -> Checkpoint | None:
        """Read the last one; None if the run was stopped before its first."""
        path = directory / "checkpoint.npz"
        if not path.exists():
            return None
        try:
            arrays = read_npz(path, MAX_BYTES)  # it grows with the data, and is our own
            phase, seconds = str(arrays.pop("phase")), float(arrays.pop("seconds"))
            stopping = _stopping(arrays.pop("stopping", None))
            if phase not in HISTORY or not all(np.isfinite(array).all() for array in arrays.values()):
                raise ValueError("it holds what no run writes")
            state = {name.removeprefix("state_"): arrays[name] for name in arrays}
            found = cls(phase, seconds, state, stopping)
            if found.step < 0:
                raise ValueError("it is of no step")
        except (InputError, IndexError, KeyError, TypeError, ValueError) as error:
            raise InputError("the checkpoint is damaged; start again with --overwrite", path=path) from error
        return found

    def restore(self, session: Session, directory: RunDirectory) -> None:
        """Bring a session of the same phase to where it was; InputError if it is another's state."""
        try:
            session.restore(self.state)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                "the checkpoint does not fit the data and the network of this run (were its files "
                "changed?); start again with --overwrite",
                path=directory / "checkpoint.npz",
            ) from error


@dataclass(frozen=True)
class _End:
    """The end of a phase: its last record, seconds, what ended it, its network, and whether it may go on."""

    last: Record
    seconds: float
    ending: str | None
    network: AnyNetwork
    stopped: bool = False


def _stopping(array: np.ndarray | None) -> EarlyStopping | None:
    """Return what a checkpoint says of early stopping; NaN stands for a figure that there is not."""
    if array is None:
        return None
    patience, waited, step, *figures = array.tolist()
    values: list[Any] = [None if np.isnan(value) else value for value in figures]
    best = Record(int(step), *values)
    return EarlyStopping(int(patience), best, int(waited))


def conduct(
    experiment: Experiment,
    directory: RunDirectory,
    observer: Observer,
    *,
    resume: bool = False,
    until: float = 1.0,
) -> dict[str, Any]:
    """Train all phases of an experiment in a created run directory and return the final manifest.

    With `resume`, take up the last checkpoint, or begin anew where there is none; a finished run is left
    as it is, and InputError says if a file that the run reads has changed. A stop by Ctrl-C or SIGTERM
    raises KeyboardInterrupt after the manifest says so; a divergence or a full disk raises RunFailed. In
    every case what was written stays readable, and the last good state is kept.

    With `until` below 1, stop at the first row of history at which that share of the training is done; the
    status is then "stopped", and a later call goes on from there.
    """
    with directory.locked(), terminable():
        if resume:
            if directory.status_of(experiment.config) == "finished":  # by another, a moment ago
                return directory.manifest()
            check_unchanged(directory)
        checkpoint, message = Checkpoint.read(directory) if resume else None, None
        manifest = _Manifest(experiment, directory, resume)
        try:
            directory.write_preprocessing(experiment.task.preprocessing)
            for phase in experiment.phases:
                if checkpoint is not None and checkpoint.phase != phase.name:
                    continue
                end = _conduct_phase(phase, experiment, directory, observer, checkpoint, until)
                manifest.phase_done(phase.name, end, experiment.task)
                if end.stopped:
                    return manifest.end("stopped", f"stopped at step {end.last.step}; --resume continues it")
                if end.ending is not None:
                    message = f"{phase.name} {end.ending}"
                checkpoint = None
        except KeyboardInterrupt:
            manifest.end("interrupted", "stopped by the user; --resume continues it")
            raise
        except Diverged as error:
            message = f"{phase.name} {error}"
            manifest.end("diverged", message)
            raise RunFailed(message) from error
        except OSError as error:
            message = f"{error.filename or directory.path}: {error.strerror or error}"
            manifest.end("failed", message)
            raise RunFailed(f"{message}; the run up to its last checkpoint is kept") from error
        except BaseException as error:
            manifest.end("failed", f"{type(error).__name__}: {error}")
            raise
        return manifest.end("finished", message)


def _conduct_phase(
    phase: Phase,
    experiment: Experiment,
    directory: RunDirectory,
    observer: Observer,
    checkpoint: Checkpoint | None,
    until: float,
) -> _End:
    """Run one phase to its end, or the training up to a share of it."""
    # Before the session starts: that, and the first record, take a while on large data.
    observer.phase_started(phase.name, 0 if checkpoint is None else checkpoint.step, phase.total)
    try:
        return _train(phase, experiment, directory, observer, checkpoint, until)
    finally:
        observer.phase_ended()


def _train(
    phase: Phase,
    experiment: Experiment,
    directory: RunDirectory,
    observer: Observer,
    checkpoint: Checkpoint | None,
    until: float,
) -> _End:
    data, config = experiment.data, experiment.config
    session = phase.method.start(experiment.network, data.X, data.y, phase.seed)
    history = GrowingTable(directory / HISTORY[phase.name], _history_columns(experiment))
    diagnosed = _diagnostic_tables(config, directory) if phase.name == "training" else []
    tables = [history, *(table for table, _ in diagnosed)]
    seconds = 0.0
    patience = patience_of(phase.method)
    stopping = None if patience is None else EarlyStopping(patience)
    if checkpoint is not None:
        checkpoint.restore(session, directory)
        seconds = checkpoint.seconds
        if session.step > 0 and checkpoint.stopping is not None:
            stopping = checkpoint.stopping
            stopping.network = directory.network()  # of a baseline nobody asks for it
    _take_up(tables, session.step)
    clock = _Stopwatch(seconds)
    saved = time.monotonic()
    last: Record | None = None
    if checkpoint is not None and _is_stopped(phase, session, config, until):
        return _End(record(session, data), seconds, None, session.network(), stopped=True)
    try:
        for last in records(session, data, phase.log_every, observer.progressed, stopping):
            history.append([{"seconds": clock.seconds} | asdict(last) | _metrics(session, experiment.task)])
            if _is_due(session, config.diagnostics.every):
                for table, rows in diagnosed:
                    table.append(rows(session, data))
            observer.recorded(last)
            over = session.finished or (stopping is not None and stopping.over)
            stopped = not over and _is_stopped(phase, session, config, until)
            if over or stopped or time.monotonic() - saved > CHECKPOINT_SECONDS:
                _save(phase, session, clock.seconds, directory, stopping)
                saved = time.monotonic()
            if stopped:
                return _End(last, clock.seconds, None, session.network(), stopped=True)
    except Diverged:
        _save(phase, session, clock.seconds, directory, stopping)
        raise
    final, ending, network = last or record(session, data), session.ending, session.network()
    if stopping is not None and stopping.best is not None and stopping.best.step < session.step:
        final, network = stopping.best, stopping.network or network
        since = f"in {stopping.waited} rows of history" if stopping.over else "after that"
        ending = f"no lower validation loss {since}; the network of step {final.step} is kept"
    said = None if ending is None else f"ended at step {session.step}: {ending}"
    return _End(final, clock.seconds, said, network)


def _take_up(tables: Iterable[GrowingTable], step: int) -> None:
    """Leave of every table the rows up to a step; none at the start, which is recorded again."""
    for table in tables:
        if step == 0:
            table.begin()
        else:
            table.keep_until(step)


def _is_stopped(phase: Phase, session: Session, config: Config, until: float) -> bool:
    """Say whether the training has come to the share at which it is to stop."""
    if until >= 1.0 or phase.name != "training":
        return False
    return share_at(config.training, session.step, session.time) >= until * (1.0 - ROUNDING)


def _save(
    phase: Phase,
    session: Session,
    seconds: float,
    directory: RunDirectory,
    stopping: EarlyStopping | None,
) -> None:
    # The network first: where a checkpoint says that a phase is done, its network is there. So a network that
    # is better than the checkpoint's best is met again on the way from there.
    if phase.name == "training":
        best = None if stopping is None else stopping.network
        directory.write_network(best or session.network())
    Checkpoint(phase.name, seconds, session.state(), stopping).write(directory)


def _is_due(session: Session, every: int | None) -> bool:
    return every is None or session.step % every == 0 or session.finished


def _diagnostic_tables(config: Config, directory: RunDirectory) -> list[tuple[GrowingTable, Rows]]:
    """Return the tables that follow the training, each with what makes its rows."""
    tables: list[tuple[GrowingTable, Rows]] = [
        (GrowingTable(directory / "discord.csv", DISCORD_COLUMNS), _discord_rows)
    ]
    if config.diagnostics.spectrum:
        tables.append((GrowingTable(directory / "spectrum_history.csv", SPECTRUM_COLUMNS), _spectrum_rows))
    return tables


def _spectrum_rows(session: Session, data: Data) -> Iterator[dict[str, object]]:
    found = spectrum(session.network(), data.X[:SPECTRUM_SAMPLES])
    yield {
        "step": session.step,
        "gap_min": float(found.gap.min()),
        "gap_median": float(np.median(found.gap)),
        "largest_median": float(np.median(found.largest)),
        "largest_max": float(found.largest.max()),
        "condition_median": float(np.median(found.condition)),
    }


def _discord_rows(session: Session, data: Data) -> Iterator[dict[str, object]]:
    discord = session.discord()
    total = sum(discord.values())
    for edge, value in discord.items():
        share = value / total if total > 0 else 0.0
        yield {
            "step": session.step,
            "layer": edge.layer,
            "operation": edge.operation,
            "edge": edge.name,
            "discord": value,
            "share": share,
        }


def _history_columns(experiment: Experiment) -> list[str]:
    accuracy = ["train_accuracy", "test_accuracy"] if experiment.network.output.classifies else []
    validation = ["validation_loss"] if experiment.task.X_validation is not None else []
    metrics = [f"test_{name}" for name in followed(experiment.task.preprocessing.target)]
    return ["step", "seconds", "train_loss", "test_loss", *validation, "energy", *accuracy, *metrics, "time"]


def _metrics(session: Session, task: TaskData) -> dict[str, float | None]:
    """Return what is followed of the predictions for the test part; None for what is not defined there."""
    target = task.preprocessing.target
    with np.errstate(over="ignore", invalid="ignore"):  # of a training that is about to diverge
        figures = metrics_of(target, session.network().predict(task.X_test), task.y_test).figures
    return {f"test_{name}": None if np.isnan(figures[name]) else figures[name] for name in followed(target)}


class _Stopwatch:
    """Counts seconds on from those of earlier sittings."""

    def __init__(self, seconds: float):
        self._start = time.monotonic() - seconds

    @property
    def seconds(self) -> float:
        return round(time.monotonic() - self._start, 6)


class _Manifest:
    """manifest.json, kept up to date as the run goes on."""

    def __init__(self, experiment: Experiment, directory: RunDirectory, resume: bool):
        config = experiment.config
        self._directory = directory
        before = directory.manifest() if resume else {}
        self._content: dict[str, Any] = {
            "name": config.name,
            "status": "running",
            "message": None,
            "task": config.task.kind,
            "method": config.training.method,
            "seed": config.seed,
            **sizes(experiment.network, experiment.task),
            "data": before.get("data") or data_hashes(directory),
            "notes": list(experiment.notes),
            "started": before.get("started", now()),
            "ended": None,
            "versions": versions(),
            "final": before.get("final"),
            "baseline": before.get("baseline"),
            "metrics": before.get("metrics") or {},
        }
        directory.write_manifest(self._content)

    def phase_done(self, phase: str, end: _End, task: TaskData) -> None:
        key = "final" if phase == "training" else "baseline"
        figures = asdict(end.last)
        if end.last.validation_loss is None:
            del figures["validation_loss"]
        self._content[key] = figures | {"seconds": end.seconds}
        metrics = metrics_of(task.preprocessing.target, end.network.predict(task.X_test), task.y_test)
        told = {name: value for name, value in metrics.figures.items() if np.isfinite(value)}
        self._content["metrics"] = self._content["metrics"] | {key: told}
        self._directory.write_manifest(self._content)

    def end(self, status: str, message: str | None = None) -> dict[str, Any]:
        self._content |= {"status": status, "message": message, "ended": now()}
        try:
            self._directory.write_manifest(self._content)
        except OSError:
            # A full disk is why we are here: the old manifest, "running", stays, and can be resumed.
            if status == "finished":
                raise
        return self._content
