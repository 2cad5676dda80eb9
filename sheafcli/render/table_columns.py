"""What was done to the columns of a task's table, as a table in the terminal."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from sheafcli.render.house_table import house_table
from sheafcli.tasks.preprocessing import Preprocessing

MOST_COLUMNS = 30


def columns_table(preprocessing: Preprocessing) -> Table:
    """Return a row a column: what it holds, what is done to it, and what fills in for a missing value.

    Of more than MOST_COLUMNS the first are shown.
    """
    rows = preprocessing.described()
    table = house_table(
        "Columns" if len(rows) <= MOST_COLUMNS else f"Columns ({MOST_COLUMNS} of {len(rows)})"
    )
    for header, justify in (("column", "left"), ("kind", "left"), ("inputs", "right")):
        table.add_column(header, justify=justify, no_wrap=header != "column", overflow="fold")  # type: ignore[arg-type]
    table.add_column("what is done", overflow="fold")
    fills = any(row["missing"] for row in rows)
    if fills:
        table.add_column("if missing", overflow="fold")
    for row in rows[:MOST_COLUMNS]:
        cells = [str(row[key]) for key in ("column", "kind", "inputs", "treatment")]
        table.add_row(*map(Text, [*cells, str(row["missing"])] if fills else cells))
    return table


def told_of_target(preprocessing: Preprocessing) -> str:
    """Say what the target is, in a sentence or two."""
    target = preprocessing.target
    names = ", ".join(target.names)
    if target.classes:
        what = f"{len(target.classes)} classes, {', '.join(target.classes[:12])}"
        more = f" and {len(target.classes) - 12:,} more" if len(target.classes) > 12 else ""
        return f"Target {names}: {what}{more}."
    if target.is_plain:
        return f"Target {names}: {'a quantity' if len(target.names) == 1 else 'quantities'}, as it stands."
    done = "; ".join(
        f"(y - {mean:.6g}) / {scale:.6g}"
        for mean, scale in zip(target.means[:3], target.scales[:3], strict=True)
    )
    more = "; ..." if len(target.names) > 3 else ""
    return f"Target {names}: {'a quantity' if len(target.names) == 1 else 'quantities'}, {done}{more}."
