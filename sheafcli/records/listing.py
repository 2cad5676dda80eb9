"""The runs below a directory, a row a run: found in the tree, and read from their manifests alone."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_args

import pandas as pd
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from sheafcli.config import Config
from sheafcli.config.problems import did_you_mean
from sheafcli.config.words import tags_of
from sheafcli.errors import InputError
from sheafcli.runs import RunDirectory
from sheafcli.tasks import TASKS

Status: TypeAlias = Literal["running", "finished", "stopped", "diverged", "interrupted", "failed", "imported"]
Row: TypeAlias = dict[str, Any]

FIGURES = ("train_loss", "validation_loss", "test_loss", "train_accuracy", "test_accuracy")
BASELINE = ("train_loss", "test_loss")
# Of the predictions for the test part: of quantities, then of classes.
METRICS = ("r2", "rmse", "mae", "f1", "auc", "calibration_error")
REALS = (
    "seconds",
    *FIGURES,
    *(f"test_{name}" for name in METRICS),
    *(f"baseline_{name}" for name in BASELINE),
)
COUNTS = ("seed", "steps")
TIMES = ("started", "ended", "when")
DAMAGED = "damaged"
CHOICES = {
    "task": tuple(TASKS),
    "method": (*tags_of(Config.model_fields["training"].annotation), "imported", "monitored"),
    "status": (*get_args(Status), DAMAGED),
}
COLUMNS = ("name", "directory", *CHOICES, *COUNTS, *REALS, *TIMES, "message")

DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True)
class FoundRuns:
    """The runs below a directory, and in a sentence each the folders that could not be searched."""

    root: Path
    runs: tuple[RunDirectory, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Listing:
    """Runs side by side, as their manifests describe them.

    Attributes
    ----------
    table : a row a run, with the columns `COLUMNS`. name is the path below the directory that was searched;
        when is the time at which a run ended, or started if it has not; times are ISO 8601, in UTC. Losses,
        accuracies, steps and seconds are those at the end of the training: NaN or None stands for what is
        not there, or not yet. A damaged manifest gives the status "damaged", and the message says why.
    problems : a sentence for each damaged manifest.
    """

    table: pd.DataFrame
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Condition:
    """What a run must have to be shown: a value in a column."""

    text: str
    column: str
    value: str | float

    @classmethod
    def read(cls, text: str) -> Condition:
        """Read COLUMN=VALUE; InputError if no such column is there, or no such value can be in it."""
        column, equals, given = text.partition("=")
        if not equals:
            raise InputError(f"--where {text}: must be COLUMN=VALUE, such as status=diverged")
        _check_known(column, COLUMNS, f"--where {text}: no column {column}")
        if column in CHOICES:
            _check_known(given, CHOICES[column], f"--where {text}: no {column} {given}")
        value: str | float = given
        if column in (*COUNTS, *REALS) and (value := _number(given)) != value:
            raise InputError(f"--where {text}: {column} is a number")
        if column in TIMES and not given[:4].isdecimal():
            raise InputError(
                f"--where {text}: {column} is a time, given by its beginning, such as {column}=2026-11-23"
            )
        return cls(text, column, value)

    def holds(self, row: Row) -> bool:
        """Say whether a row is as it must be: a time begins so, all else is equal."""
        found = row[self.column]
        if self.column in TIMES and found is not None:
            return bool(found.startswith(self.value))
        return bool(found == self.value)


@dataclass(frozen=True)
class Order:
    """By which column runs are sorted, and whether the largest comes first."""

    column: str = "name"
    descending: bool = False

    @classmethod
    def read(cls, text: str) -> Order:
        """Read COLUMN, or -COLUMN for descending; InputError if no such column is there."""
        column = text.removeprefix("-")
        _check_known(column, COLUMNS, f"--sort {text}: no column {column}")
        return cls(column, descending=text.startswith("-"))

    def apply(self, rows: Iterable[Row]) -> list[Row]:
        """Sort rows: text in natural order, what is missing at the end, ties by name."""
        ordered = sorted(rows, key=lambda row: _natural(row["name"]))
        present = [row for row in ordered if not _is_missing(row[self.column])]
        missing = [row for row in ordered if _is_missing(row[self.column])]
        present.sort(key=self._key, reverse=self.descending)
        return present + missing

    def _key(self, row: Row) -> Any:
        value = row[self.column]
        return _natural(value) if isinstance(value, str) else value


class _Figures(BaseModel):
    """What a phase came to, as a manifest has it."""

    model_config = ConfigDict(strict=True)

    step: int | None = None
    seconds: float | None = None
    train_loss: float | None = None
    validation_loss: float | None = None
    test_loss: float | None = None
    train_accuracy: float | None = None
    test_accuracy: float | None = None


def _encodable(text: str) -> str:
    """Return text that any stream of UTF-8 takes: JSON may hold halves of characters."""
    text.encode()
    return text


Words: TypeAlias = Annotated[str, AfterValidator(_encodable)]
Moment: TypeAlias = Annotated[AwareDatetime | None, Field(strict=False)]


class _Manifest(BaseModel):
    """What is read of a manifest; a run that was killed as it began has little more than a status."""

    model_config = ConfigDict(strict=True)

    status: Status
    message: Words | None = None
    task: Words | None = None
    method: Words | None = None
    seed: int | None = None
    started: Moment = None
    ended: Moment = None
    final: _Figures | None = None
    baseline: _Figures | None = None
    metrics: dict[str, dict[str, float]] = Field(default_factory=dict)

    @classmethod
    def read(cls, run: RunDirectory) -> _Manifest:
        """Read the manifest of a run; InputError if it is damaged."""
        try:
            return cls.model_validate(run.current_manifest())
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise InputError(
                f"the manifest is damaged ({place}: {first['msg']})", path=run / "manifest.json"
            ) from error


def find_runs(root: Path) -> FoundRuns:
    """Search a directory and all folders below it for runs; InputError if there is no such directory.

    Nothing is searched within a run, and no folder twice: of several ways to it the one without links
    counts, so links may lead anywhere, and in circles.
    """
    if not root.is_dir():
        what = "this is a file" if root.exists() else "no such directory"
        raise InputError(f"{what}; give a directory with runs below it, such as results", path=root)
    runs: list[RunDirectory] = []
    problems: list[str] = []
    seen: set[tuple[int, int]] = set()
    folders, links = [root], list[Path]()
    while folders or links:
        folder = (folders or links).pop()
        try:
            place = os.stat(folder)
            if (place.st_dev, place.st_ino) in seen:
                continue
            seen.add((place.st_dev, place.st_ino))
            run = RunDirectory(folder)
            if run.has_run:
                runs.append(run)
                continue
            with os.scandir(folder) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name, reverse=True):
                    if entry.is_symlink():
                        links += [folder / entry.name] if os.path.isdir(entry.path) else []
                    elif entry.is_dir():
                        folders.append(folder / entry.name)
        except OSError as error:
            if folder == root:
                raise
            problems.append(f"{folder}: not searched ({error.strerror})")
    return FoundRuns(root, tuple(runs), tuple(problems))


def list_runs(
    found: FoundRuns,
    where: Sequence[Condition] = (),
    order: Order | None = None,
    advance: Callable[[str], object] = lambda name: None,
) -> Listing:
    """Read the manifests of runs: those for which all conditions hold, in an order, by name unless given.

    `advance` is called before each run is read, with its name.
    """
    rows: list[Row] = []
    problems: list[str] = []
    for run in found.runs:
        named = {
            "name": _printable(run.path.relative_to(found.root)),
            "directory": _printable(run.path),
        }
        advance(named["name"])
        try:
            row = _described(run)
        except InputError as error:
            problems.append(str(error))
            row = {"status": DAMAGED, "message": error.message}
        rows.append(dict.fromkeys(COLUMNS) | named | row)
    kept = [row for row in rows if all(condition.holds(row) for condition in where)]
    ordered = (order or Order()).apply(kept)
    # Of objects, in which a seed stays an integer beside what is missing; what has a unit is real.
    table = pd.DataFrame(ordered, columns=list(COLUMNS), dtype=object)
    return Listing(table.astype(dict.fromkeys(REALS, "float64")), tuple(problems))


def _described(run: RunDirectory) -> Row:
    """Return what the manifest of a run says, but its name and place; InputError if it is damaged."""
    manifest = _Manifest.read(run)
    final, baseline = manifest.final or _Figures(), manifest.baseline or _Figures()
    try:
        started, ended = _time(manifest.started), _time(manifest.ended)
    except OverflowError as error:
        raise InputError("the manifest is damaged (its times)", path=run / "manifest.json") from error
    return {
        "task": manifest.task,
        "method": manifest.method,
        "status": manifest.status,
        "seed": manifest.seed,
        "steps": final.step,
        "seconds": final.seconds,
        **{name: getattr(final, name) for name in FIGURES},
        **{f"test_{name}": manifest.metrics.get("final", {}).get(name) for name in METRICS},
        **{f"baseline_{name}": getattr(baseline, name) for name in BASELINE},
        "started": started,
        "ended": ended,
        "when": ended or started,
        "message": manifest.message,
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="seconds")


def _printable(path: Path) -> str:
    """Return a path as text that any stream of UTF-8 takes, whatever bytes it is made of."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _natural(text: str) -> list[list[str | int]]:
    """Return a key that sorts paths folder by folder, and numbers in them by value: 9 before 10."""
    parts = [DIGITS.split(part) for part in text.split("/")]
    # Texts and digits take turns, so that only like is compared with like.
    return [[int(piece) if place % 2 else piece for place, piece in enumerate(part)] for part in parts]


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _number(text: str) -> float:
    """Return a number, an integer without loss; NaN for what is none."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return math.nan


def _check_known(given: str, known: Sequence[str], complaint: str) -> None:
    if given not in known:
        raise InputError(f"{complaint}; there are {', '.join(known)}{did_you_mean(given, known)}")
