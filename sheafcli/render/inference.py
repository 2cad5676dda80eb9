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
    cells = _cells(answer.changes, word, single=single, is_change=answer.is_change)
    # Of a file with missing values, rows that lack none are of no interest.
    rows = answer.rows if answer.is_change else answer.rows[answer.rows["changed"] > 0]
    return cells, _certificates(rows, word, single=single, is_quantity=answer.is_quantity)


def _cells(changes: pd.DataFrame, word: str, *, single: bool, is_change: bool) -> Table:
    # Of many, those that change come first.
    shown = (
        changes
        if len(changes) <= MOST_CELLS
        else changes.sort_values("changed", ascending=False, kind="stable")
    )
    shown = shown.head(MOST_CELLS).sort_index()
    table = house_table("Inferred inputs", spare=("std",))
    texts: dict[str, list[str]] = {} if single else {word: shown["row"].astype(str).tolist()}
    texts["input"] = shown["column"].tolist()
    known = shown["was"].notna()
    if known.any():
        texts["was"] = [_cell(cell) for cell in shown["was"]]
    texts["inferred"] = [_cell(cell) for cell in shown["inferred"]]
    if is_change:
        steps = zip(shown["change"], shown["changed"], strict=True)
        texts["change"] = [f"{step:+.2f} sd" if moved and pd.notna(step) else "" for step, moved in steps]
    elif shown["std"].notna().any():
        texts["std"] = aligned([value if value > 0.0 else None for value in shown["std"]], 3)
    marks = zip(shown["changed"], shown["at_bound"], strict=True)
    texts[""] = ["stays" if not moved else "at its bound" if bound else "" for moved, bound in marks]
    right = {word, "was", "inferred", "change", "std"}
    for header in texts:
        table.add_column(header, justify="right" if header in right else "left", overflow="fold")
    for cells, changed in zip(zip(*texts.values(), strict=True), shown["changed"], strict=True):
        table.add_row(*(Text(cell, "" if changed else "dim") for cell in cells))
    return table


def _cell(cell: object) -> str:
    if cell is None or pd.isna(cell):  # type: ignore[call-overload]
        return MISSING
    return f"{cell:.6g}" if isinstance(cell, float) else str(cell)


def _certificates(rows: pd.DataFrame, word: str, *, single: bool, is_quantity: bool) -> Table:
    shown = rows.head(MOST_ROWS)
    table = house_table("What the network gives there", spare=("distance", "changed"))
    texts: dict[str, Sequence[str]] = {} if single else {word: shown["row"].astype(str).tolist()}
    if shown["wanted"].ne("").any():
        texts["wanted"] = shown["wanted"].tolist()
    texts["gives"] = shown["gives"].tolist()
    if is_quantity and shown["missed"].notna().any():
        texts["missed"] = [f"{share:.2%}" for share in shown["missed"]]
    texts["distance"] = [f"{distance if distance > NOTHING else 0.0:.3g}" for distance in shown["distance"]]
    texts["changed"] = shown["changed"].astype(str).tolist()
    right = {word, "missed", "distance", "changed"}
    for header in texts:
        table.add_column(header, justify="right" if header in right else "left", overflow="fold")
    for cells, reached in zip(zip(*texts.values(), strict=True), shown["reached"], strict=True):
        table.add_row(*(Text(cell, "" if reached else "bold red") for cell in cells))
    return table
