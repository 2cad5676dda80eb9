"""The runs of a sweep by what was varied, for people to look at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from rich.table import Table
from rich.text import Text

from sheafcli.records.sweep import SweepRecord
from sheafcli.render.comparison import BEST
from sheafcli.render.house_table import house_table
from sheafcli.render.numbers import aligned, percent

LONGEST_TABLE = 24
WIDEST_PARAMETER = 16
COLUMNS = {"train_loss": "train\nloss", "validation_loss": "validation\nloss", "test_loss": "test\nloss"}
# What goes first where a terminal is narrow, before anything from the right.
SPARE = ("steps", "to", "from", "train loss", "test accuracy")


def sweep_table(sweep: SweepRecord) -> Table:
    """Return a row for every combination of the parameters, the best first, with the medians over its seeds.

    Of more than 24 rows the first are shown; the title says so, and how many runs ended how.
    """
    table = sweep.combinations
    shown = table.head(LONGEST_TABLE)
    starred = len(table) > 1 and sweep.best is not None
    notes = [f"the best {len(shown)} of {len(table)} combinations"] if len(shown) < len(table) else []
    notes += [f"{BEST} best"] if starred else []
    statuses = ", ".join(f"{count:,} {status}" for status, count in sweep.counts.items())
    console_table = house_table("; ".join([f"Sweep {sweep.name}: {statuses}", *notes]), spare=SPARE)
    for key, header in zip(sweep.parameters, parameter_names(sweep.parameters), strict=True):
        # Text is folded rather than cut, and a number is neither.
        is_number = pd.api.types.is_numeric_dtype(shown[key]) and not pd.api.types.is_bool_dtype(shown[key])
        console_table.add_column(header.replace(".", ".\n"), overflow="fold", no_wrap=is_number)
    cells = [[parameter_text(value) for value in shown[key]] for key in sweep.parameters]
    columns: dict[str, list[str]] = {}
    stopped = sweep.loss in shown and (shown["finished"].eq(0) & shown[sweep.loss].notna()).any()
    if any(f != n and not (stopped and f == 0) for f, n in _pairs(shown)):
        columns["finished"] = ["" if f == n else f"{f} of {n}" for f, n in _pairs(shown)]
    if stopped:
        columns["steps"] = ["-" if pd.isna(step) else f"{step:,.0f}" for step in shown["steps"]]
    for column, header in COLUMNS.items():
        if column in shown:
            columns[header] = aligned(shown[column].tolist(), 5)
            if starred and column == sweep.loss:
                marks = [BEST, *" " * (len(shown) - 1)]
                columns[header] = [f"{text}{mark}" for text, mark in zip(columns[header], marks, strict=True)]
    if "test_loss" in shown and (shown["runs"] > 1).any():
        columns["from"] = aligned(shown["test_least"].tolist(), 3)
        columns["to"] = aligned(shown["test_largest"].tolist(), 3)
    if "test_accuracy" in shown:
        columns["test\naccuracy"] = [percent(value) for value in shown["test_accuracy"]]
    for header in columns:
        console_table.add_column(header, justify="right", no_wrap=True)
    for i in range(len(shown)):
        style = "bold" if starred and i == 0 else ""
        console_table.add_row(*(Text(column[i], style) for column in [*cells, *columns.values()]))
    return console_table


def best_words(sweep: SweepRecord) -> list[str]:
    """Return lines that tell the best combination, its loss and its spread over seeds, and its runs."""
    best = sweep.best
    if best is None:
        return []
    names = parameter_names(sweep.parameters)
    own = [f"{name} {best[key]}" for name, key in zip(names, sweep.parameters, strict=True)]
    runs = sweep.runs_of(best)
    where = f"{sweep.path}/{runs[0]}" + "".join(f", {run}" for run in runs[1:])
    lines = [f"Best: {', '.join(own)}"] if own else []
    return [*lines, loss_words(sweep, best), f"{'Its runs' if len(runs) > 1 else 'Its run'}: {where}"]


def loss_words(sweep: SweepRecord, row: Mapping[str, Any]) -> str:
    """Return the loss of a combination in words, with its spread over seeds if there are several."""
    words = f"{sweep.loss.replace('_', ' ').capitalize()} {row[sweep.loss]:.5g}"
    if row["runs"] < 2 or sweep.loss != "test_loss":
        return words
    spread = f"{row['test_least']:.3g} to {row['test_largest']:.3g}"
    return f"{words}, the median of {row['runs']} seeds ({spread})"


def _pairs(table: pd.DataFrame) -> list[tuple[int, int]]:
    return [(int(f), int(n)) for f, n in zip(table["finished"], table["runs"], strict=True)]


def parameter_names(keys: list[str]) -> list[str]:
    """Return the last parts of dotted keys, or all of a key where others end as it does."""
    ends = [key.rpartition(".")[2] for key in keys]
    return [end if ends.count(end) == 1 else key for key, end in zip(keys, ends, strict=True)]


def parameter_text(value: object) -> str:
    """Return a parameter in short: six digits of a number, the end of a long text, where files differ."""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    if isinstance(value, bool):
        text = text.lower()  # as in YAML
    return text if len(text) <= WIDEST_PARAMETER else f"...{text[3 - WIDEST_PARAMETER :]}"
