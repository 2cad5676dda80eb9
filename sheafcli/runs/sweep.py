"""The directory of a sweep: its runs, the table that lists them, and conducting them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, fields
from functools import cache
from importlib.metadata import version
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Protocol

from sheafcli.config import Sweep, SweepRun, dump_config
from sheafcli.config.document import write_value
from sheafcli.core.training.fit import Record
from sheafcli.errors import InputError
from sheafcli.runs.data_files import changes, sha256
from sheafcli.runs.directory import RunDirectory
from sheafcli.runs.files import csv_line, temporary_of, write_text
from sheafcli.runs.halving import loss_at, middle, survivors
from sheafcli.runs.job import DONE, Job, Outcome
from sheafcli.runs.lock import locked
from sheafcli.runs.terminable import terminable
from sheafcli.runs.tpe import propose, read_proposals, steps_of, write_proposals
from sheafcli.runs.workers import Workers

INDEX, FILE = "sweep.csv", "sweep.yaml"
INDEX_SECONDS = 1.0
# Workers that nobody can wait for, of a scheduler that is lost, notice the end of their sweep by themselves.
SETTLE_SECONDS = 10.0
MISSING = "missing"
FIRST_LOSS = "first_loss"
"""The column of a search by halving that has every run's loss at the end of the first rung."""
FINAL = ("seconds", *(field.name for field in fields(Record)))


@dataclass(frozen=True)
class SweepDirectory:
    """A directory that holds the runs of one sweep, each in a directory named by its number."""

    path: Path

    @property
    def figures(self) -> Path:
        """The folder of pictures."""
        return self.path / "figures"

    def begin(self, sweep: Sweep) -> None:
        """Make the directory for a sweep, or take up the one that was begun in it.

        InputError if another sweep is there, a run, or files that are nobody's but the user's.
        """
        file = self.path / FILE
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if not file.exists():
                strangers = {child.name for child in self.path.iterdir()} - {temporary_of(file).name}
                if strangers:
                    raise InputError(
                        f"the directory holds files but no sweep ({sorted(strangers)[0]}); choose an empty "
                        "or new one with --output",
                        path=self.path,
                    )
                write_text(file, sweep.text)
            elif not _holds(file, sweep.text):
                raise InputError(
                    f"another sweep is here (its {FILE} has another base or other values); give this one "
                    "another name, choose another directory with --output, or remove that one",
                    path=self.path,
                )
        except OSError as error:
            raise InputError(
                f"a sweep cannot be written here ({error.strerror}); choose another directory with --output",
                path=self.path,
            ) from error

    def held(self) -> AbstractContextManager[None]:
        """Hold the directory for this process: while it is held, the sweep lives."""
        return locked(self.path, "sweep")

    def run(self, number: str) -> RunDirectory:
        """Return the directory of a run."""
        return RunDirectory(self.path / number)

    def notes(self, runs: Iterable[SweepRun]) -> tuple[str, ...]:
        """Return what is to be said of the data of the runs, each sentence once.

        That is how it was read, as manifests tell it, and where it has changed since.
        """
        digest = cache(sha256)
        notes: dict[str, None] = {}
        for run in runs:
            with suppress(InputError):  # of a run that was never begun, or is damaged, the table tells
                manifest = self.run(run.number).manifest()
                noted = manifest.get("notes")
                notes |= dict.fromkeys(map(str, noted if isinstance(noted, list) else ()))
                if isinstance(path := getattr(run.config.task, "path", None), Path):
                    notes |= dict.fromkeys(changes(manifest, path, digest))
        return tuple(notes)


@dataclass(frozen=True)
class Rung:
    """A rung of a search: its number from 1, how many there are, and at which share of a training it ends."""

    number: int = 1
    of: int = 1
    until: float = 1.0
    name: str = "rung"


class SweepObserver(Protocol):
    """Receives the course of a sweep."""

    def sweep_started(
        self, directory: SweepDirectory, waiting: Sequence[SweepRun], total: int, rung: Rung
    ) -> None:
        """Note that a sweep, or a rung of it, of so many runs begins or goes on; some are to be done."""

    def run_ended(self, outcome: Outcome) -> None:
        """Note that a run has ended."""


class Index:
    """The table sweep.csv: a row a run with its number, its parameters, its status and its final figures."""

    def __init__(self, directory: SweepDirectory, sweep: Sweep, runs: Sequence[SweepRun]):
        self._directory, self._keys = directory, sweep.keys
        # Where losers are stopped, the end of the first rung is the last place at which all runs compare.
        self._compared_at = sweep.shares[0] if len(sweep.shares) > 1 else None
        self._runs: dict[str, SweepRun] = {}
        self._rows: dict[str, dict[str, Any]] = {}
        self._written = -INDEX_SECONDS
        self.add(runs)

    @property
    def runs(self) -> tuple[SweepRun, ...]:
        """The runs that are listed."""
        return tuple(self._runs.values())

    def add(self, runs: Iterable[SweepRun]) -> None:
        """List runs, with how they stand, but for those that are listed."""
        for run in runs:
            if run.number not in self._runs:
                self._runs[run.number] = run
                self.look(run.number)

    def status(self, number: str) -> str:
        """Return the status of a run when it was last looked at."""
        return str(self._rows[number]["status"])

    def look(self, number: str, outcome: Outcome | None = None) -> None:
        """Read how a run stands; `outcome` tells what its directory may not say."""
        parameters = {key: _plain(value) for key, value in self._runs[number].parameters.items()}
        row: dict[str, Any] = {"run": number, **parameters, "status": MISSING}
        run = self._directory.run(number)
        if run.has_run:
            try:
                manifest = run.current_manifest()
            except InputError as error:
                manifest = {"status": "failed", "message": str(error)}
            row |= {"status": manifest.get("status"), "message": manifest.get("message")}
            for prefix, phase in (("", "final"), ("baseline_", "baseline")):
                row |= {f"{prefix}{name}": value for name, value in (manifest.get(phase) or {}).items()}
            if self._compared_at is not None:
                row[FIRST_LOSS] = loss_at(run, self._runs[number].config.training, self._compared_at)
        if outcome is not None:
            row |= {"status": outcome.status, "message": outcome.message}
        self._rows[number] = row

    def settle(self, numbers: Iterable[str]) -> None:
        """Look at the runs that have not ended; at those still under way until they stop, or for a while."""
        end = monotonic() + SETTLE_SECONDS
        for number in numbers:
            if self.status(number) in (*DONE, "stopped", "failed"):
                continue
            self.look(number)
            while self.status(number) == "running" and monotonic() < end:
                sleep(0.1)
                self.look(number)

    def write(self, *, at_once: bool) -> None:
        """Write the table whole, though not every time within a second unless `at_once`."""
        if not at_once and monotonic() - self._written < INDEX_SECONDS:
            return
        baseline = any(run.config.baseline is not None for run in self._runs.values())
        figures = [*FINAL, *(f"baseline_{name}" for name in FINAL)] if baseline else [*FINAL]
        figures += [FIRST_LOSS] if self._compared_at is not None else []
        columns = ("run", *self._keys, "status", *figures, "message")
        lines = [csv_line(row.get(column) for column in columns) for row in self._rows.values()]
        write_text(self._directory.path / INDEX, "".join([csv_line(columns), *lines]))
        self._written = monotonic()

    def count(self) -> dict[str, int]:
        """Return how many runs there are of each status."""
        statuses = [row["status"] for row in self._rows.values()]
        return {status: statuses.count(status) for status in dict.fromkeys(statuses)}


def conduct_sweep(
    sweep: Sweep,
    runs: Sequence[SweepRun],
    directory: SweepDirectory,
    workers: Workers,
    observer: SweepObserver,
) -> Index:
    """Do what is missing or failed of a sweep, and return the index of its runs.

    `runs` are those that are known beforehand, by `Sweep.runs`, and the directory must have been begun.
    Whatever stops this process, no run that was done is done again by the next call, and one that was under
    way goes on from its last checkpoint. Ctrl-C or SIGTERM raises KeyboardInterrupt once the workers have
    stopped and the index says so.

    A search by halving goes rung by rung: the runs of each stop at its share of their training, and those of
    the best combinations go on from there. A search by TPE goes batch by batch, each of which is proposed by
    the losses of those before.
    """
    with terminable(), ExitStack() as held:
        held.enter_context(directory.held())
        index = Index(directory, sweep, runs)
        waiting: list[SweepRun] = []
        try:
            for rung, there in _rungs(sweep, runs, directory, index):
                waiting = [run for run in there if _is_to_do(run, directory, index, rung.until)]
                observer.sweep_started(directory, waiting, len(there), rung)
                for outcome in workers.outcomes([_job(run, directory, rung.until) for run in waiting]):
                    index.look(outcome.number, outcome)
                    index.write(at_once=False)
                    observer.run_ended(outcome)
        finally:
            held.close()  # which the workers see
            workers.close()
            index.settle(run.number for run in waiting)
            index.write(at_once=True)
    return index


def _rungs(
    sweep: Sweep, runs: Sequence[SweepRun], directory: SweepDirectory, index: Index
) -> Iterator[tuple[Rung, Sequence[SweepRun]]]:
    """Yield the rungs of a sweep with the runs of each; the next is asked for when these have ended."""
    if sweep.is_proposed:
        yield from _batches(sweep, directory, index)
        return
    left = runs
    for place, until in enumerate(sweep.shares, start=1):
        yield Rung(place, len(sweep.shares), until), left
        if sweep.search is not None and until < 1.0:
            left = survivors(left, _losses(left, directory, until), sweep.search.factor)


def _batches(
    sweep: Sweep, directory: SweepDirectory, index: Index
) -> Iterator[tuple[Rung, Sequence[SweepRun]]]:
    """Yield batches of runs, each proposed by the losses of those before; none more where all have failed."""
    assert sweep.search is not None
    points, size = read_proposals(directory.path, sweep), sweep.search.batch
    losses: list[float] = []
    starts = range(0, sweep.n_searched, size)
    repeats = sweep.count // sweep.n_searched
    for batch, start in enumerate(starts):
        if start >= len(points):
            n = min(size, sweep.n_searched - start)
            points += propose(sweep, list(zip(points, losses, strict=True)), n, batch)
            write_proposals(directory.path, points)
        new = [steps_of(sweep, point) for point in points[start : start + size]]
        runs = sweep.runs_of(new, before=start * repeats)
        index.add(runs)
        yield Rung(batch + 1, len(starts), name="batch"), runs
        if all(index.status(run.number) == "failed" for run in runs):
            return
        came_to = list(_losses(runs, directory, 1.0).values())
        losses += [middle(came_to[i : i + repeats]) for i in range(0, len(came_to), repeats)]


def _losses(runs: Iterable[SweepRun], directory: SweepDirectory, share: float) -> dict[str, float | None]:
    """Return the loss of each run at a share of its training, where it has come so far."""
    return {run.number: loss_at(directory.run(run.number), run.config.training, share) for run in runs}


def _is_to_do(run: SweepRun, directory: SweepDirectory, index: Index, until: float) -> bool:
    """Say whether a run has neither ended nor come to the share at which it is to stop."""
    status = index.status(run.number)
    if status in DONE:
        return False
    return until >= 1.0 or status != "stopped" or _losses([run], directory, until)[run.number] is None


def _holds(file: Path, text: str) -> bool:
    """Say whether a file holds a text, however long the file is."""
    expected = text.encode()
    with file.open("rb") as content:
        return content.read(len(expected) + 1) == expected


def _job(run: SweepRun, directory: SweepDirectory, until: float = 1.0) -> Job:
    place = directory.path.resolve()
    return Job(
        run.number,
        run.config.name,
        dump_config(run.config),
        str(place / run.number),
        str(place),
        version("sheafcli"),
        until,
    )


def _plain(value: Any) -> Any:
    """Return a parameter as it stands in a cell of CSV: lists and mappings as YAML on one line."""
    return write_value(value) if isinstance(value, list | dict | bool | None) else value
