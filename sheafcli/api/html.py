"""Results as they show in a notebook: headed tables, numbers to four digits, shares in percent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

import pandas as pd

from sheafcli.render.numbers import percent

MOST_ROWS = 12
SHARES = {"share", "resistance", "blame", "explainable", "inactive"}


def shown(sentence: str, tables: Mapping[str, pd.DataFrame]) -> str:
    """Return a sentence and tables below their headings; of long tables the first rows."""
    parts = [f"<p>{escape(sentence)}</p>"]
    for heading, table in tables.items():
        left_out = len(table) - MOST_ROWS
        more = f"<p>and {left_out:,} more rows</p>" if left_out > 0 else ""
        parts.append(f"<h4>{escape(heading)}</h4>{_table(table.head(MOST_ROWS))}{more}")
    return f"<div>{''.join(parts)}</div>"


def _table(table: pd.DataFrame) -> str:
    sides = ["right" if pd.api.types.is_numeric_dtype(kind) else "left" for kind in table.dtypes]
    names = [str(name) for name in table.columns]
    rows = [_row("td", map(_cell, names, row), sides) for row in table.itertuples(index=False)]
    return f"<table><thead>{_row('th', names, sides)}</thead><tbody>{''.join(rows)}</tbody></table>"


def _row(tag: str, cells: Iterable[str], sides: Iterable[str]) -> str:
    pairs = zip(cells, sides, strict=True)
    inner = "".join(f'<{tag} style="text-align: {side}">{escape(cell)}</{tag}>' for cell, side in pairs)
    return f"<tr>{inner}</tr>"


def _cell(name: str, value: Any) -> str:
    if pd.isna(value):
        return ""
    if isinstance(value, float):
        return percent(value) if name in SHARES else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
