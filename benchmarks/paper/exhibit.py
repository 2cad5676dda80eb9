"""What every figure and table of the paper becomes here: files in a folder, and rows of docs/paper.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from sheafcli.render.style import save_figure
from sheafcli.runs.files import write_text


@dataclass(frozen=True)
class Row:
    """One thing that the paper shows, and what became of it here.

    Attributes
    ----------
    quantity : what is compared, in a few words.
    published : the paper's behaviour, or the figure of its reference implementation.
    ours : the same, measured here.
    by : how it was reached: "paper's dt", "dt: auto", "exact" (no time step), "Chebyshev", ...
    holds : whether ours agrees, by the rule that `quantity` or the exhibit's text states.
    """

    quantity: str
    published: str
    ours: str
    by: str
    holds: bool


@dataclass(frozen=True, eq=False)
class Exhibit:
    """A figure or table of the paper, made anew.

    Attributes
    ----------
    key : the stem of its files, such as training.
    title : its heading in docs/paper.md.
    text : a paragraph of Markdown or more: what is shown, by which rule a row holds, where ours differs.
    rows : what is compared.
    figures, tables : by the stems of their files.
    """

    key: str
    title: str
    text: str
    rows: Sequence[Row]
    figures: dict[str, Figure] = field(default_factory=dict)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write each figure as SVG and PNG, each table as CSV and Markdown."""
        for stem, figure in self.figures.items():
            for ending in ("svg", "png"):
                save_figure(figure, folder / f"{stem}.{ending}")
        for stem, table in self.tables.items():
            write_text(folder / f"{stem}.csv", table.to_csv(index=False, lineterminator="\n"))
            write_text(folder / f"{stem}.md", markdown(table))


def markdown(table: pd.DataFrame) -> str:
    """Return a table in Markdown, its numbers to four digits."""
    lines = [list(map(str, table.columns)), ["---"] * len(table.columns)]
    lines += [[cell(value) for value in row] for row in table.itertuples(index=False)]
    return "".join(f"| {' | '.join(map(escaped, line))} |\n" for line in lines)


def escaped(text: str) -> str:
    """Return a text that no Markdown table takes for two cells."""
    return text.replace("|", "\\|")


def cell(value: object) -> str:
    """Return a value as it stands in a table: whole numbers whole, others to four digits, none as a dash."""
    if pd.isna(value):
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
