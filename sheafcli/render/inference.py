"""What was inferred, as tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from rich.table import Table
from rich.text import Text

from sheafcli.diagnostics.table_inference import Answer
from sheafcli.render.house_table import house_table
from sheafcli.render.numbers import MISSING, aligned

MOST_ROWS, MOST_CELLS = 15, 40
# What a row that stays is away from itself, by rounding.
NOTHING = 1e-9


def inference_tables(answer: Answer, word: str) -> tuple[Table, Table]:
    """Return the cells that were inferred, and the certificate of each row; of many the first.

    `word` is what the number of a row is called.
    """
    single = len(answer.rows) == 1
    shown = inferred_cells(answer).head(MOST_CELLS)
    cells = _cells(shown, word, single=single, is_change=answer.is_change)
    return cells, _certificates(listed_rows(answer), word, answer, single=single)


def inferred_cells(answer: Answer) -> pd.DataFrame:
    """Return the cells to show: all of one row; of several those that change, if any does."""
    changes = answer.changes
    changed = changes[changes["changed"]]
    return changes if len(answer.rows) == 1 or changed.empty else changed


def listed_rows(answer: Answer) -> pd.DataFrame:
    """Return the rows to show: of a file with missing values those that lack any."""
    return answer.rows if answer.is_change else answer.rows[answer.rows["changed"] > 0]


def _cells(shown: pd.DataFrame, word: str, *, single: bool, is_change: bool) -> Table:
    table = house_table("Inferred inputs", spare=("std",))
    texts: dict[str, list[str]] = {} if single else {word: shown["row"].astype(str).tolist()}
    texts["input"] = shown["column"].tolist()
    known = shown["was"].notna()
    if known.any():
        texts["was"] = [_cell(cell) for cell in shown["was"]]
    texts["inferred"] = [_cell(cell) for cell in shown["inferred"]]
    if is_change:
        texts["change"] = [
            "stays" if not moved else f"{step:+.2f} sd" if pd.notna(step) else ""
            for step, moved in zip(shown["change"], shown["changed"], strict=True)
        ]
    elif shown["std"].notna().any():
        texts["std"] = aligned([value if value > 0.0 else None for value in shown["std"]], 3)
    bounded = shown["changed"] & shown["at_bound"]
    if bounded.any():
        texts["bound"] = ["reached" if bound else "" for bound in bounded]
    right = {word, "was", "inferred", "change", "std"}
    for header in texts:
        table.add_column(
            header,
            justify="right" if header in right else "left",
            overflow="fold",
            no_wrap=header in {word, "change", "std"},
        )
    for cells, changed in zip(zip(*texts.values(), strict=True), shown["changed"], strict=True):
        table.add_row(*(Text(cell, "" if changed else "dim") for cell in cells))
    return table


def _cell(cell: object) -> str:
    if cell is None or pd.isna(cell):  # type: ignore[call-overload]
        return MISSING
    return f"{cell:.6g}" if isinstance(cell, float) else str(cell)


def _certificates(rows: pd.DataFrame, word: str, answer: Answer, *, single: bool) -> Table:
    shown = rows.head(MOST_ROWS)
    count = "changed" if answer.is_change else "filled in"
    table = house_table("What the network gives there", spare=("distance", count))
    texts: dict[str, Sequence[str]] = {} if single else {word: shown["row"].astype(str).tolist()}
    if shown["wanted"].ne("").any():
        texts["wanted"] = shown["wanted"].tolist()
    texts["gives"] = shown["gives"].tolist()
    if answer.is_quantity and shown["missed"].notna().any():
        texts["missed"] = [f"{share:.2%}" for share in shown["missed"]]
    texts["distance"] = [f"{distance if distance > NOTHING else 0.0:.3g}" for distance in shown["distance"]]
    texts[count] = shown["changed"].astype(str).tolist()
    right = {word, "missed", "distance", count}
    for header in texts:
        is_number = header in right
        table.add_column(header, justify="right" if is_number else "left", overflow="fold", no_wrap=is_number)
    for cells, reached in zip(zip(*texts.values(), strict=True), shown["reached"], strict=True):
        table.add_row(*(Text(cell, "" if reached else "bold red") for cell in cells))
    return table
