"""Tables in the style of the house, which give up whole columns where a terminal is narrow."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Column, Table
from rich.text import Text

GAP = 2
# Long words are broken before a column goes, but not into shorter pieces than these: in the first column,
# which names the rows, and in the others.
SHORTEST_NAME, SHORTEST_PIECE = 12, 8


class HouseTable(Table):
    """A table that shows no number in part: columns that have no room are left out, and named below it.

    The columns of which `spare` has the headers go first, in that order, then the others from the right;
    the first column always stays.
    """

    def __init__(self, title: str | None, spare: Sequence[str]):
        super().__init__(
            box=box.SIMPLE_HEAD,
            show_edge=False,
            pad_edge=False,
            padding=(0, GAP - 1, 0, 0),  # and one for the divider
            header_style="",
        )
        self._title, self._spare = title, tuple(spare)
        self.left_out: Sequence[str] = ()
        """Headers of columns that were left out before the table was made."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the title, as much of the table as there is room for, and what is left out."""
        kept, left_out = self._fitting(console, options)
        shown = copy(self)
        widths = _widths(kept, console, options)
        # Its place says whether a column is the last, which has no padding: else others are cut by as much.
        shown.columns = [
            replace(column, _index=place, width=width)
            for place, (column, width) in enumerate(zip(kept, widths, strict=True))
        ]
        if self._title is not None:
            yield Text(self._title, "bold")
        yield from super(HouseTable, shown).__rich_console__(console, options)
        names = list(dict.fromkeys([*map(_name, left_out), *self.left_out]))
        if names:
            yield Text(f"No room for: {', '.join(names)}")

    def _fitting(self, console: Console, options: ConsoleOptions) -> tuple[list[Column], list[Column]]:
        """Return the columns that are shown, and those that are left out, each in their order."""
        kept = list(self.columns)
        widths = _least_widths(kept, console, options)
        needed = {id(column): width + GAP for column, width in zip(kept, widths, strict=True)}
        spare = [column for header in self._spare for column in kept if _header(column) == header]
        while len(kept) > 1 and sum(needed[id(column)] for column in kept) - GAP > options.max_width:
            kept.remove(next((column for column in spare if column in kept), kept[-1]))
        return kept, [column for column in self.columns if column not in kept]


def house_table(title: str | None = None, spare: Sequence[str] = ()) -> HouseTable:
    """Return an empty table in the style of the house; see `HouseTable` for what `spare` is."""
    return HouseTable(title, spare)


def _least_widths(columns: Sequence[Column], console: Console, options: ConsoleOptions) -> list[int]:
    """Return how wide each column must be at least: all of what is never broken, else the longest word.

    Where words are broken, pieces of a few characters will do.
    """
    pieces = [SHORTEST_NAME, *[SHORTEST_PIECE] * len(columns)]
    return [
        max(min(longest, piece) if column.overflow == "fold" and not column.no_wrap else longest, fixed)
        for column, piece, (longest, _), fixed in zip(
            columns,
            pieces,
            (_measured(column, console, options) for column in columns),
            (column.min_width or 0 for column in columns),
            strict=False,
        )
    ]


def _widths(columns: Sequence[Column], console: Console, options: ConsoleOptions) -> list[int]:
    """Return the width of each column: first room for whole words, then for whole lines, the short first."""
    room = options.max_width - GAP * (len(columns) - 1)
    words, lines = zip(*(_measured(column, console, options) for column in columns), strict=True)
    least = _least_widths(columns, console, options)
    return _filled(_filled(least, words, room), lines, room)


def _filled(least: Sequence[int], most: Sequence[int], room: int) -> list[int]:
    """Return widths from the least ones on, raised together to one level, none above its most."""
    widths = list(least)
    while room > sum(widths):
        low = [place for place, width in enumerate(widths) if width < most[place]]
        if not low:
            break
        widths[min(low, key=lambda place: widths[place])] += 1
    return widths


def _measured(column: Column, console: Console, options: ConsoleOptions) -> tuple[int, int]:
    """Return how wide the longest word of a column is, or line if none is broken, and the longest line."""
    parts: list[RenderableType] = [column.header, *column.cells]
    measured = [Measurement.get(console, options.update_width(10_000), part) for part in parts]
    line = min(max(measure.maximum for measure in measured), column.max_width or 10_000)
    word = line if column.no_wrap else min(max(measure.minimum for measure in measured), line)
    return word, max(line, column.min_width or 0)


def _header(column: Column) -> str:
    return " ".join(str(column.header).split())


def _name(column: Column) -> str:
    """Return what a column is called where it is not shown; those without a header repeat another as bars."""
    return _header(column) or "bars"
