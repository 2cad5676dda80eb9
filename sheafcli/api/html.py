"""Results as they show in a notebook: headed tables, numbers to four digits."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

import pandas as pd

MOST_ROWS = 12


def shown(sentence: str, tables: Mapping[str, pd.DataFrame]) -> str:
    """Return a sentence and tables below their headings; of long tables the first rows."""
    parts = [f"<p>{escape(sentence)}</p>"]
    for heading, table in tables.items():
        left_out = len(table) - MOST_ROWS
        head = table.head(MOST_ROWS).to_html(index=False, float_format="{:.4g}".format, na_rep="", border=0)
        more = f"<p>and {left_out:,} more rows</p>" if left_out > 0 else ""
        parts.append(f"<h4>{escape(heading)}</h4>{head}{more}")
    return f"<div>{''.join(parts)}</div>"
