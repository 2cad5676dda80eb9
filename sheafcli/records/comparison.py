"""Runs side by side: a row a training, with its last figures, its discord and its history."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

import pandas as pd

from sheafcli.config.document import DocumentError, parse, write_value
from sheafcli.errors import InputError
from sheafcli.records.listing import METRICS
from sheafcli.records.logged import OPERATIONS, NoRows, final_discord, has_rows, read_log
from sheafcli.runs import RunDirectory

LOSSES = ("train_loss", "validation_loss", "test_loss")
VALIDATED = "validation_loss"
ACCURACIES = ("train_accuracy", "test_accuracy")
# What only some networks, or runs, have: the columns are there if a run has them, after all others.
RARE = ("pool", "normalisation", "multiply")
TEXTS = ("run", "directory", "task", "method", "status")
COLUMNS = [
    *(*TEXTS, "steps", "seconds"),
    *("train_loss", "test_loss", *ACCURACIES),
    *(*(f"discord_{operation}" for operation in OPERATIONS if operation not in RARE), "discord_total"),
]
# Options of a task that say on which samples a loss is measured, from which inputs, and how a file is
# written; all others say of what it is a loss.
SAMPLING = {
    *(
        "n_train",
        "n_test",
        "test_fraction",
        "validation_fraction",
        "split",
        "split_column",
        "stratify",
        "fold",
    ),
    *("features", "exclude", "categories", "dates", "missing", "rare", "delimiter", "decimal", "encoding"),
}


@dataclass(frozen=True, eq=False)
class Comparison:
    """Trainings side by side.

    Attributes
    ----------
    table : a row a training, with the columns `COLUMNS`, as it stood at the step of the network that was
        kept, or else at its last logged step. A run is followed by its baseline. NaN stands for accuracies
        of a regression and discord of a baseline.
    histories : for each row of the table its history.csv or baseline.csv.
    tasks : what the losses are of, each named once: they compare if there is one name.
    """

    table: pd.DataFrame
    histories: tuple[pd.DataFrame, ...]
    tasks: tuple[str, ...]

    @property
    def losses(self) -> list[str]:
        """The losses that the runs have."""
        return [name for name in LOSSES if name in self.table]

    @property
    def operations(self) -> list[str]:
        """The operations that the runs have, in the order in which they are told."""
        return [name for name in OPERATIONS if f"discord_{name}" in self.table]

    @property
    def methods(self) -> list[str]:
        """The methods whose training stalks have a discord, each once: they compare if there is one."""
        return self.table.loc[self.table["discord_total"].notna(), "method"].unique().tolist()

    def best(self, column: str) -> list[bool]:
        """Say of each row whether its loss or accuracy is the best among the finished trainings.

        No row has the best where losses do not compare, or where all are as good.
        """
        finished = self.table["status"] == "finished"
        values = self.table[column].where(finished)
        if len(self.tasks) > 1 or values.nunique() < 2:
            return [False] * len(values)
        return values.eq(values.min() if column in LOSSES else values.max()).tolist()


@dataclass(frozen=True)
class _Source:
    """A run that has begun, with its manifest and its configuration."""

    run: RunDirectory
    manifest: dict[str, Any]
    config: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> _Source:
        run = RunDirectory.existing(path)
        if not has_rows(run, "history.csv"):
            raise InputError("the run has logged nothing yet; train it first", path=path)
        manifest = run.current_manifest()
        for key in ("name", "task", "method", "output", "status"):
            if not isinstance(manifest.get(key), str):
                raise _damaged(run / "manifest.json", f"no {key}")
        return cls(run, manifest, _configuration(run))

    def task(self, path: Callable[[str], str] = str) -> str:
        """Return the task and all that its losses depend on, with paths as the function writes them."""
        options = self.config["task"].items()
        told = "".join(
            f", {key} {path(value) if key == 'path' else write_value(value)}"
            for key, value in options
            if key not in {"kind", *SAMPLING}
        )
        loss = "squared error" if self.manifest["output"] == "identity" else "cross-entropy"
        return f"{self.manifest['task']}{told}, {loss}"

    def trainings(self, label: str) -> Iterator[tuple[dict[str, object], pd.DataFrame]]:
        """Return the row and the history of the training, then of the baseline if one has begun."""
        path = self.config["task"].get("path")
        task = Path(path).name if isinstance(path, str) else self.manifest["task"]
        shared = {"run": label, "directory": str(self.run.path), "task": task}
        history = _history(self.run, "history.csv")
        method = {"method": self.manifest["method"], "status": self._status("final")}
        last = self._last(history, "final")
        yield shared | method | last | self._metrics("final") | _discord(self.run), history
        if has_rows(self.run, "baseline.csv"):
            history = _history(self.run, "baseline.csv")
            method = {"method": self._baseline, "status": self._status("baseline")}
            last = self._last(history, "baseline")
            yield shared | method | last | self._metrics("baseline"), history

    def _last(self, history: pd.DataFrame, phase: str) -> dict[str, object]:
        """Return the row of a history at which the network was kept, or its last, and all seconds."""
        final = self.manifest.get(phase)
        kept = history["step"] == (final.get("step") if isinstance(final, dict) else None)
        last = (history[kept] if kept.any() else history).iloc[-1]
        return {"steps": int(last["step"]), "seconds": history["seconds"].iloc[-1]} | {
            name: last.get(name, math.nan)
            for name in (*LOSSES, *ACCURACIES)
            if name != VALIDATED or name in history
        }

    def _metrics(self, phase: str) -> dict[str, object]:
        """Return how good the predictions for the test part are: what of `METRICS` the manifest has."""
        metrics = self.manifest.get("metrics")
        told = metrics.get(phase) if isinstance(metrics, dict) else None
        told = told if isinstance(told, dict) else {}
        return {f"test_{name}": float(told[name]) for name in METRICS if name in told}

    def _status(self, phase: str) -> str:
        """Return finished for a phase with a final figure in the manifest, else the status of the run."""
        return "finished" if self.manifest.get(phase) is not None else self.manifest["status"]

    @property
    def _baseline(self) -> str:
        try:
            return f"baseline: {self.config['baseline']['optimizer']}"
        except (KeyError, TypeError) as error:
            raise _damaged(self.run / "config.yaml", "no optimizer of the baseline") from error


def compare(paths: Sequence[Path]) -> Comparison:
    """Read the runs in directories; InputError where one is none, is given twice or is damaged.

    Runs are called by their names or, where two have the same, by the ends of their directories.
    """
    sources = [_Source.read(path) for path in paths]
    _check_distinct(paths)
    trainings = [
        training
        for source, label in zip(sources, _labels(sources), strict=True)
        for training in source.trainings(label)
    ]
    rows = [row for row, _ in trainings]
    some = (VALIDATED, *map("discord_{}".format, RARE), *map("test_{}".format, METRICS))
    rare = [column for column in some if any(column in row for row in rows)]
    # Texts stay objects: a directory's name need not be UTF-8, which pandas' own kind of text asks for.
    table = pd.DataFrame(rows, columns=[*COLUMNS, *rare], dtype=object)
    numbers = [column for column in table if column not in TEXTS]
    return Comparison(
        table.astype(dict.fromkeys(numbers, "float64") | {"steps": "int64"}),
        tuple(history for _, history in trainings),
        _tasks(sources),
    )


def _tasks(sources: Sequence[_Source]) -> tuple[str, ...]:
    """Return the tasks of runs, each once; files by their names alone where these tell them apart."""
    tasks = {source.task(): source.task(lambda path: Path(path).name) for source in sources}
    short = tuple(tasks.values())
    return short if len(set(short)) == len(short) else tuple(tasks)


def _check_distinct(paths: Sequence[Path]) -> None:
    seen: dict[Path, Path] = {}
    for path in paths:
        place = path.resolve()
        if place in seen:
            before = "" if seen[place] == path else f", before as {seen[place]}"
            raise InputError(f"the run is given twice{before}; give it once", path=path)
        seen[place] = path


def _labels(sources: Sequence[_Source]) -> list[str]:
    """Return the names of runs if all differ, else the shortest ends of their directories that do."""
    names = [source.manifest["name"] for source in sources]
    places = [source.run.path.resolve().parts for source in sources]
    ends = ([str(Path(*place[-length:])) for place in places] for length in count(1))
    return next(labels for labels in chain([names], ends) if len(set(labels)) == len(labels))


def _history(run: RunDirectory, name: str) -> pd.DataFrame:
    history = read_log(run, name)
    some = [name for name in (VALIDATED, *ACCURACIES) if name in history]
    _check_numbers(history, ["seconds", "train_loss", "test_loss", *some], run / name)
    return history


def _discord(run: RunDirectory) -> dict[str, object]:
    """Return the discord at the last step that has been diagnosed, by operation and in total."""
    try:
        discord = final_discord(run)
    except NoRows:  # killed between the first row of the history and those of this
        return {}
    found: dict[str, object] = {
        f"discord_{name}": discord.loc[discord["operation"] == name, "discord"].sum(skipna=False)
        for name in OPERATIONS
        if name not in RARE or name in set(discord["operation"])
    }
    return found | {"discord_total": discord["discord"].sum(skipna=False)}


def _configuration(run: RunDirectory) -> dict[str, Any]:
    """Return the configuration as it is written: runs compare where the files they name are gone, too."""
    path = run / "config.yaml"
    try:
        config = parse(path.read_text(encoding="utf-8")).value
    except (DocumentError, UnicodeDecodeError) as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(config, dict) or not isinstance(config.get("task"), dict):
        raise _damaged(path, "no task")
    return config


def _check_numbers(log: pd.DataFrame, columns: Iterable[str], path: Path) -> None:
    for column in columns:
        if column not in log or not pd.api.types.is_numeric_dtype(log[column]):
            raise _damaged(path, f"no numbers in its column {column}")


def _damaged(path: Path, what: str) -> InputError:
    return InputError(f"the file is damaged ({what}); train the run again", path=path)
