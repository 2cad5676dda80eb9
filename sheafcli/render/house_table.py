"""Tables in the style of the house, which give up whole columns where a terminal is narrow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import replace
from typing import NamedTuple

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Column, Table
from rich.text import Text

GAP = 2
# Long words are broken before a column goes, but not into shorter pieces.
SHORTEST_PIECE = 5
# In a narrow table columns go anyway, the spare ones before a word of usual length is broken. Words stay in
# longer pieces there: in the first column, which names the rows, and in the others.
NARROW, LONGEST_WORD = 60, 24
NARROW_NAME, NARROW_PIECE = 12, 8
# More than any terminal has.
WIDEST = 10_000


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
        sizes = [_Size.of(column, place == 0, console, options) for place, column in enumerate(self.columns)]
        places = self._fitting(sizes, options.max_width)
        shown = copy(self)
        widths = _widths([sizes[place] for place in places], options.max_width)
        # Its place says whether a column is the last, which has no padding: else others are cut by as much.
        shown.columns = [
            replace(self.columns[place], _index=index, width=width)
            for index, (place, width) in enumerate(zip(places, widths, strict=True))
        ]
        if self._title is not None:
            yield Text(self._title, "bold")
        yield from super(HouseTable, shown).__rich_console__(console, options)
        left_out = [_name(column) for place, column in enumerate(self.columns) if place not in places]
        names = list(dict.fromkeys([*left_out, *self.left_out]))
        if names:
            yield Text(f"No room for: {', '.join(names)}")

    def _fitting(self, sizes: Sequence[_Size], width: int) -> list[int]:
        """Return the places of the columns that are shown."""
        headers = [_header(column) for column in self.columns]
        spare = [place for name in self._spare for place, header in enumerate(headers) if header == name]
        kept = list(range(len(sizes)))
        for count in range(len(spare) + 1 if width < NARROW else 0):
            whole = [place for place in kept if place not in spare[:count]]
            if whole and _taken(min(sizes[place].word, LONGEST_WORD) for place in whole) <= width:
                return whole
        while len(kept) > 1 and _taken(sizes[place].least for place in kept) > width:
            kept.remove(next((place for place in spare if place in kept), kept[-1]))
        return kept


def house_table(title: str | None = None, spare: Sequence[str] = ()) -> HouseTable:
    """Return an empty table in the style of the house; see `HouseTable` for what `spare` is."""
    return HouseTable(title, spare)


class _Size(NamedTuple):
    """How wide a column is: at least, where words are whole, and where lines are."""

    least: int
    word: int
    line: int

    @classmethod
    def of(cls, column: Column, is_first: bool, console: Console, options: ConsoleOptions) -> _Size:
        parts: list[RenderableType] = [column.header, *column.cells]
        measured = [Measurement.get(console, options.update_width(WIDEST), part) for part in parts]
        line = min(max(measure.maximum for measure in measured), column.max_width or WIDEST)
        word = line if column.no_wrap else min(max(measure.minimum for measure in measured), line)
        narrow = NARROW_NAME if is_first else NARROW_PIECE
        piece = narrow if options.max_width < NARROW else SHORTEST_PIECE
        least = min(word, piece) if column.overflow == "fold" and not column.no_wrap else word
        fixed = column.min_width or 0
        return cls(max(least, fixed), max(word, fixed), max(line, fixed))


def _taken(widths: Iterable[int]) -> int:
    """Return how much columns of such widths take beside one another."""
    return sum(width + GAP for width in widths) - GAP


def _widths(sizes: Sequence[_Size], width: int) -> list[int]:
    """Return the width of each column: first room for whole words, then for whole lines, the short first."""
    room = width - GAP * (len(sizes) - 1)
    least, words, lines = zip(*sizes, strict=True)
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


def _header(column: Column) -> str:
    return " ".join(str(column.header).split())


def _name(column: Column) -> str:
    """Return what a column is called where it is not shown; those without a header repeat another as bars."""
    return _header(column) or "bars"
