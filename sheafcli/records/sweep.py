"""A sweep as tables: its index, and its runs by what was varied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from sheafcli.config.document import DocumentError, parse
from sheafcli.errors import InputError
from sheafcli.runs.sweep import FILE, INDEX, SweepDirectory

SEED = "seed"
REPEATS = (SEED, "task.fold")
"""The keys that vary to repeat a run, not to change it."""
FIRST_LINE = 1024
LOSSES = ("validation_loss", "test_loss", "train_loss")
PLANNED = ("finished", "stopped")
"""The statuses of runs that went as planned."""


@dataclass(frozen=True, eq=False)
class SweepRecord:
    """A sweep as its directory tells it.

    Attributes
    ----------
    name : the name of the sweep.
    path : its directory.
    index : sweep.csv.
    """

    name: str
    path: Path
    index: pd.DataFrame

    @classmethod
    def read(cls, path: Path) -> SweepRecord:
        """Read the directory of a sweep; InputError where it is damaged, or has no index yet."""
        try:
            with (path / FILE).open(encoding="utf-8") as file:
                name = str(parse(file.readline(FIRST_LINE)).value["name"])
        except (OSError, UnicodeDecodeError, DocumentError, TypeError, KeyError) as error:
            message = "the file of the sweep is damaged: it does not begin with its name"
            raise InputError(message, path=path / FILE) from error
        return cls(name, path, read_index(SweepDirectory(path)))

    @property
    def keys(self) -> list[str]:
        """The dotted keys that vary: the columns between the run's number and its status."""
        return list(self.index.columns[1 : self.index.columns.get_loc("status")])

    @property
    def parameters(self) -> list[str]:
        """The keys that vary, but for the seed and the fold."""
        return [key for key in self.keys if key not in REPEATS]

    @property
    def loss(self) -> str:
        """The loss by which combinations are judged; see `judged_by`."""
        return judged_by(self.index)

    @property
    def counts(self) -> dict[str, int]:
        """How many runs there are of each status, those that went as planned first."""
        counts = {str(status): int(n) for status, n in self.index["status"].value_counts(sort=False).items()}
        return {status: counts[status] for status in (*PLANNED, *counts) if status in counts}

    @cached_property
    def combinations(self) -> pd.DataFrame:
        """A row for every combination, the best first; see `by_parameters`."""
        return by_parameters(self.index, self.keys)

    @property
    def best(self) -> Mapping[str, Any] | None:
        """The row of the best combination that has finished, by column; None if none has."""
        table = self.combinations
        if not len(table) or not table["finished"].iloc[0] or self.loss not in table:
            return None
        # A row as a series would make one kind of number of all.
        (row,) = table.head(1).to_dict("records")
        return {str(column): value for column, value in row.items()}

    def runs_of(self, combination: Mapping[str, Any]) -> list[str]:
        """Return the numbers of the runs of a combination."""
        runs = self.index
        for key in self.parameters:
            value = combination[key]
            runs = runs[runs[key].isna() if pd.isna(value) else runs[key] == value]
        return runs["run"].tolist()


def is_sweep(path: Path) -> bool:
    """Say whether a directory is that of a sweep."""
    return (path / FILE).is_file()


def read_index(directory: SweepDirectory) -> pd.DataFrame:
    """Return sweep.csv, values exactly as they were written; runs are named by text, and null is a value."""
    path = directory.path / INDEX
    types = {"run": "str", "step": "Int64", "baseline_step": "Int64"}
    try:
        index = pd.read_csv(path, dtype=types, keep_default_na=False, na_values=[""])
        if index.columns[0] != "run" or not {"status", "step", "train_loss", "test_loss"} <= set(index):
            raise ValueError("it lacks columns")
    except (OSError, ValueError) as error:
        raise InputError(f"the index cannot be read ({error}); call the sweep again", path=path) from error
    return index


def judged_by(table: pd.DataFrame) -> str:
    """Return the first of validation_loss, test_loss and train_loss that a table has figures of."""
    known = (name for name in LOSSES if name in table and table[name].notna().any())
    return next(known, LOSSES[-1])


def by_parameters(index: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return a row for every combination of the keys but seed and fold, the best first.

    Columns: the keys; `runs`, how many there are; `finished`; `steps`, the median of the last steps; and,
    over those that finished or were stopped early, the median of the losses and of test_accuracy, with
    the least and the largest test_loss. Those of which any run has finished come first, then those that
    came furthest; among these the least loss of `judged_by` is best. NaN stands where there is no figure.
    Columns without any figure are left out.
    """
    keys = [key for key in keys if key not in REPEATS]
    finished = index["status"] == "finished"
    figures = index.assign(finished=finished)
    figures = figures.assign(validation_loss=figures.get("validation_loss", float("nan")))
    for name in (*LOSSES, "test_accuracy"):
        figures[name] = figures[name].where(finished | (index["status"] == "stopped"))
    groups = figures.groupby(keys, sort=False, dropna=False) if keys else figures.groupby(lambda _: 0)
    table = groups.agg(
        runs=("run", "size"),
        finished=("finished", "sum"),
        steps=("step", "median"),
        train_loss=("train_loss", "median"),
        validation_loss=("validation_loss", "median"),
        test_loss=("test_loss", "median"),
        test_least=("test_loss", "min"),
        test_largest=("test_loss", "max"),
        test_accuracy=("test_accuracy", "median"),
    ).reset_index(drop=not keys)
    if not len(table):
        return table
    loss = judged_by(table)
    reached = table["steps"].astype(float).where(table["finished"] == 0).fillna(float("inf"))
    unheard = table[loss].isna()
    order = pd.DataFrame({"unheard": unheard, "reached": -reached.where(~unheard, 0.0), "loss": table[loss]})
    table = table.loc[order.sort_values(["unheard", "reached", "loss"], kind="stable").index]
    return table.reset_index(drop=True).dropna(axis="columns", how="all")
