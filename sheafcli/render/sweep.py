"""The runs of a sweep by what was varied, for people to look at."""

from __future__ import annotations

import pandas as pd
from rich.table import Table
from rich.text import Text

from sheafcli.records.sweep import SEED
from sheafcli.render.house_table import house_table
from sheafcli.render.numbers import aligned, percent

LONGEST_TABLE = 24
WIDEST_PARAMETER = 16


def sweep_table(table: pd.DataFrame, keys: list[str], counts: dict[str, int], name: str) -> Table:
    """Return a row for every combination of the parameters, with the medians over its seeds.

    `table` is that of `records.sweep.by_parameters`. Of more than 24 rows the best by test loss are
    shown, in their order; the title says so, and how many runs ended how.
    """
    by = "test_loss" if "test_loss" in table else "train_loss"
    shown, note = table, ""
    if len(table) > LONGEST_TABLE:
        best = table[by].nsmallest(LONGEST_TABLE).index if by in table else table.index[:LONGEST_TABLE]
        shown = table.loc[sorted(best)]
        note = f"; the best {len(shown)} of {len(table)} combinations"
    statuses = ", ".join(f"{count:,} {status}" for status, count in counts.items())
    console_table = house_table(f"Sweep {name}: {statuses}{note}")
    keys = [key for key in keys if key != SEED]
    for header in parameter_names(keys):
        console_table.add_column(header.replace(".", ".\n"), overflow="fold")  # rather than cut a figure
    cells = [[parameter_text(value) for value in shown[key]] for key in keys]
    least = shown[by].min() if by in shown else None
    columns = {"finished": ["" if f == n else f"{f} of {n}" for f, n in _pairs(shown)]}
    if not any(columns["finished"]):
        columns.clear()
    for column, header in (("train_loss", "train\nloss"), ("test_loss", "test\nloss")):
        if column in shown:
            columns[header] = aligned(shown[column].tolist(), 5)
    if "test_loss" in shown and (shown["runs"] > 1).any():
        columns["from"] = aligned(shown["test_least"].tolist(), 3)
        columns["to"] = aligned(shown["test_largest"].tolist(), 3)
    if "test_accuracy" in shown:
        columns["test\naccuracy"] = [percent(value) for value in shown["test_accuracy"]]
    for header in columns:
        console_table.add_column(header, justify="right", no_wrap=True)
    for i in range(len(shown)):
        best_of_all = least is not None and shown[by].iloc[i] == least and len(shown) > 1
        style = "bold" if best_of_all else ""
        row = [Text(column[i], style) for column in [*cells, *columns.values()]]
        console_table.add_row(*row)
    return console_table


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
