"""The runs below a directory as one table, a line a run where there is room, else two."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from typing import NamedTuple

import pandas as pd
from rich.cells import cell_len, chop_cells
from rich.table import Table
from rich.text import Text

from sheafcli.render.comparison import STATUS_STYLES
from sheafcli.render.house_table import GAP, house_table
from sheafcli.render.numbers import MISSING, aligned, percent

STYLES = STATUS_STYLES | {"damaged": "bold red"}
# Lines a run and significant digits of losses: the first is taken in which names have room.
LAYOUTS = ((1, 4), (2, 4), (2, 3))
# Where runs have two lines, names of so many characters have room, and all get at least the fewest.
ROOMY, FEWEST = 16, 8
# What goes where names are not roomy, and then, where they have less than the fewest, before anything else.
VALIDATION = "validation loss"
SPARE = ("when (UTC)", "train loss")
# As wide as "equilibrium"; the longer kinds of tasks break after their underscore.
WIDEST_KIND = 11
NAME, WHEN = "name", "when (UTC)"
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# A long name breaks best after one of these.
PIECES = re.compile(r"[^/_ -]*[/_ -]|[^/_ -]+")


class _Cell(NamedTuple):
    """Lines of text in a style."""

    lines: Sequence[str]
    style: str = ""


@dataclass(frozen=True)
class _Column:
    """A column as text: its header, and a cell a run."""

    header: _Cell
    cells: Sequence[_Cell]

    @classmethod
    def of_words(cls, header: str, words: Iterable[str], styles: Mapping[str, str] | None = None) -> _Column:
        """Make a column of a line each, some words of which have a style."""
        styles = styles or {}
        return cls(_Cell(["", header]), [_Cell([word], styles.get(word, "")) for word in words])

    @classmethod
    def of_numbers(cls, header: Sequence[str], texts: Sequence[str]) -> _Column:
        """Make a column of texts of one width, header and all to the right."""
        width = max(map(len, (*header, *texts)))
        top, bottom = (text.rjust(width) for text in header)
        return cls(_Cell([top, bottom]), [_Cell([text.rjust(width)]) for text in texts])

    @property
    def name(self) -> str:
        """What the column is called where it is not shown."""
        return " ".join(" ".join(self.header.lines).split())

    @cached_property
    def width(self) -> int:
        """How wide the widest line is."""
        return max(cell_len(line) for cell in (self.header, *self.cells) for line in cell.lines)


def listing_table(rows: pd.DataFrame, title: str, width: int) -> Table:
    """Return the runs of a listing, at least one, as a table for a window of so many characters.

    Nothing is cut: long names go on in the next line. Where their lines would be short, columns are left out,
    and named below the table. Accuracies and validation losses have a column if there are any.
    """
    names = [_clean(name) for name in rows["name"]]
    longest = max(map(cell_len, (NAME, *names)))
    for lines, digits in LAYOUTS:
        others = _others(rows, lines, digits)
        wanted = longest if lines == 1 else min(longest, ROOMY)
        room = width - sum(column.width + GAP for column in others)
        if room >= wanted:
            break
    shown = list(others)
    spare = [column for name in (VALIDATION, *SPARE) for column in others if column.name == name]
    while shown and (
        room < min(longest, FEWEST) or (room < wanted and any(column.name == VALIDATION for column in shown))
    ):
        gone = next((column for column in spare if column in shown), shown[-1])
        shown.remove(gone)
        room += gone.width + GAP
    table = house_table(title)
    table.left_out = [column.name for column in others if column not in shown]
    columns = [_Column(_Cell(["", NAME]), [_Cell(_folded(name, room)) for name in names]), *shown]
    widths = [column.width for column in columns]
    # One tall cell in one column: a table of as many cells as there are figures takes seconds for thousands.
    table.add_column(_block([[column.header for column in columns]], widths), no_wrap=True)
    table.add_row(_block(zip(*(column.cells for column in columns), strict=True), widths))
    return table


def _others(rows: pd.DataFrame, lines: int, digits: int) -> list[_Column]:
    """Return all columns but the names, with runs in so many lines."""
    tasks, methods = ([_clean(kind or MISSING) for kind in rows[name]] for name in ("task", "method"))
    moments = [_moment(time) for time in rows["when"]]
    if lines == 1:
        kinds = [_Column.of_words("task", tasks), _Column.of_words("method", methods)]
        when = _Column.of_words(WHEN, map(" ".join, moments))
    else:
        pairs = zip(tasks, methods, strict=True)
        folded = [_Cell([line for kind in pair for line in _folded(kind, WIDEST_KIND)]) for pair in pairs]
        kinds = [_Column(_Cell(["task", "method"]), folded)]
        when = _Column(_Cell(["", WHEN]), [_Cell(moment) for moment in moments])
    parts = ("train", "validation", "test") if rows["validation_loss"].notna().any() else ("train", "test")
    figures = {"loss": [(part, aligned(rows[f"{part}_loss"].tolist(), digits)) for part in parts]}
    if rows["test_accuracy"].notna().any():
        figures["accuracy"] = [("test", [percent(share) for share in rows["test_accuracy"]])]
    numbers = [_Column.of_numbers((part, name), texts) for name in figures for part, texts in figures[name]]
    return [*kinds, _Column.of_words("status", rows["status"], STYLES), *numbers, when]


def _block(rows: Iterable[Sequence[_Cell]], widths: Sequence[int]) -> Text:
    """Return rows of cells below one another, each as high as its highest cell."""
    parts: list[tuple[str, str]] = []
    for row in rows:
        for line in zip_longest(*(cell.lines for cell in row), fillvalue=""):
            for text, cell, width in zip(line, row, widths, strict=True):
                parts.append((text + " " * (width + GAP - cell_len(text)), cell.style))
            parts[-1] = (line[-1] + "\n", row[-1].style)  # nothing comes after the last column
    block = Text.assemble(*parts)
    block.right_crop(1)
    return block


def _moment(time: str | None) -> list[str]:
    """Return the date and the time of the day, as they are in ISO 8601."""
    return [MISSING] if time is None else time[: len("2026-11-23T22:05")].split("T")


def _clean(text: str) -> str:
    """Return text that stays in its line: directories may be called anything."""
    return UNPRINTABLE.sub("?", text)


def _folded(text: str, width: int) -> list[str]:
    """Return text as lines of at most so many characters, broken after a separator where one is near."""
    lines = [""]
    for piece in PIECES.findall(text):
        if cell_len(lines[-1] + piece) <= width:
            lines[-1] += piece
        else:
            lines += chop_cells(piece, width)
    return [line for line in lines if line]
