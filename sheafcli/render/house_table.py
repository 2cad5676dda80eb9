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
# Long words are broken before a column with numbers goes, but not into shorter pieces.
SHORTEST_PIECE = 5
# In a narrow table columns go anyway: what names the rows, in the first one, stays in longer pieces there.
NARROW, SHORTEST_NAME = 60, 12


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
        # Its place says whether a column is the last, which has no padding: else others are cut by as much.
        shown.columns = [replace(column, _index=place) for place, column in enumerate(kept)]
        if self._title is not None:
            yield Text(self._title, "bold")
        yield from super(HouseTable, shown).__rich_console__(console, options)
        names = list(dict.fromkeys([*map(_name, left_out), *self.left_out]))
        if names:
            yield Text(f"No room for: {', '.join(names)}")

    def _fitting(self, console: Console, options: ConsoleOptions) -> tuple[list[Column], list[Column]]:
        """Return the columns that are shown, and those that are left out, each in their order."""
        kept = list(self.columns)
        name = SHORTEST_NAME if options.max_width < NARROW else SHORTEST_PIECE
        pieces = [name, *[SHORTEST_PIECE] * len(kept)]
        needed = {
            id(column): _least_width(column, console, options, piece) + GAP
            for column, piece in zip(kept, pieces, strict=False)
        }
        spare = [column for header in self._spare for column in kept if _header(column) == header]
        while len(kept) > 1 and sum(needed[id(column)] for column in kept) - GAP > options.max_width:
            kept.remove(next((column for column in spare if column in kept), kept[-1]))
        return kept, [column for column in self.columns if column not in kept]


def house_table(title: str | None = None, spare: Sequence[str] = ()) -> HouseTable:
    """Return an empty table in the style of the house; see `HouseTable` for what `spare` is."""
    return HouseTable(title, spare)


def _least_width(column: Column, console: Console, options: ConsoleOptions, piece: int) -> int:
    """Return how wide a column must be at least: all of what is never broken, else the longest word.

    Where words are broken, pieces of so many characters will do.
    """
    parts: list[RenderableType] = [column.header, *column.cells]
    measured = [Measurement.get(console, options.update_width(10_000), part) for part in parts]
    if column.no_wrap:
        return max(measure.maximum for measure in measured)
    longest = max(measure.minimum for measure in measured)
    return min(longest, piece) if column.overflow == "fold" else longest


def _header(column: Column) -> str:
    return " ".join(str(column.header).split())


def _name(column: Column) -> str:
    """Return what a column is called where it is not shown; those without a header repeat another as bars."""
    return _header(column) or "bars"
