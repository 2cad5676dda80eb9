"""A sweep as tables: its index, and its runs by what was varied."""

from __future__ import annotations

import pandas as pd

from sheafcli.errors import InputError
from sheafcli.runs.sweep import INDEX, SweepDirectory

SEED = "seed"


def read_index(directory: SweepDirectory) -> pd.DataFrame:
    """Return sweep.csv, values exactly as they were written; runs are named by text, and null is a value."""
    path = directory.path / INDEX
    types = {"run": "str", "step": "Int64", "baseline_step": "Int64"}
    try:
        return pd.read_csv(path, dtype=types, keep_default_na=False, na_values=[""])
    except (OSError, ValueError) as error:
        raise InputError(f"the index cannot be read ({error}); call the sweep again", path=path) from error


def by_parameters(index: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return a row for every combination of the keys but the seed, in the order of the index.

    Columns: the keys; `runs`, how many there are; `finished`; and, over the finished ones, the median of
    train_loss, test_loss and test_accuracy, with the least and the largest test_loss. NaN stands where
    none has finished. Columns without any figure are left out.
    """
    keys = [key for key in keys if key != SEED]
    finished = index["status"] == "finished"
    figures = index.assign(finished=finished)
    for name in ("train_loss", "test_loss", "test_accuracy"):
        figures[name] = figures[name].where(finished)
    groups = figures.groupby(keys, sort=False, dropna=False) if keys else figures.groupby(lambda _: 0)
    table = groups.agg(
        runs=("run", "size"),
        finished=("finished", "sum"),
        train_loss=("train_loss", "median"),
        test_loss=("test_loss", "median"),
        test_least=("test_loss", "min"),
        test_largest=("test_loss", "max"),
        test_accuracy=("test_accuracy", "median"),
    ).reset_index(drop=not keys)
    return table.dropna(axis="columns", how="all") if len(table) else table
