"""The cells of a column, gathered as they are read: numbers as numbers, of texts the distinct ones once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.types import Array
from sheafcli.tasks.cells import shown
from sheafcli.tasks.columns import numbers

Number = TypeVar("Number", bound=np.generic)

DIGITS, MOST_DIGITS = 16, 70
"""Integers of fewer digits are doubles all; those of more are out of range."""


class Gathered:
    """The cells of one column; `as_text` keeps numbers as they are written, too.

    Eight bytes a number, four more where there are texts: a table may have a hundred million cells.
    """

    def __init__(self, name: str, *, as_text: bool):
        self.name = name
        self._as_text = as_text
        self._values: list[Array] = []
        self._codes: list[NDArray[np.int32]] = []
        self._texts: dict[str, int] = {}
        self.rounded: tuple[str, int] | None = None
        self.zero: tuple[str, int] | None = None

    def add(self, cells: Sequence[str], lines: Sequence[int]) -> None:
        """Add cells, stripped of blanks, with the lines they are on."""
        if self._as_text:
            values, odd = np.full(len(cells), np.nan), np.arange(len(cells))
        else:
            values = numbers(cells)[0]
            odd = np.flatnonzero(np.isnan(values))
            self.look(cells, lines)
        codes = np.full(len(cells), -1, dtype=np.int32)
        texts = self._texts
        codes[odd] = [texts.setdefault(cells[at], len(texts)) for at in odd.tolist()]
        self._values.append(values)
        self._codes.append(codes)

    def look(self, cells: Sequence[str], lines: Sequence[int]) -> None:
        """Note the first integer that is not the double it is read as, and the first with a leading zero."""
        if self.rounded is None and max(map(len, cells), default=0) >= DIGITS:
            for cell, line in zip(cells, lines, strict=True):
                long = DIGITS <= len(cell) <= MOST_DIGITS and cell.isascii()
                if long and cell.lstrip("+-").isdigit() and int(cell) != float(cell):
                    self.rounded = cell, line
                    break
        if self.zero is None:
            starting = (at for at, cell in enumerate(cells) if cell[:1] == "0" and cell[1:].isdigit())
            at = next(starting, None)
            self.zero = None if at is None else (cells[at], lines[at])

    @property
    def values(self) -> Array:
        """The number in each cell, NaN where there is none."""
        return self._joined(self._values)

    @property
    def codes(self) -> NDArray[np.int32]:
        """The place of each cell among `texts`, -1 where it is a number."""
        return self._joined(self._codes)

    @property
    def texts(self) -> tuple[str, ...]:
        """The distinct cells that are no numbers, in the order of the file."""
        return tuple(self._texts)

    def keep(self, rows: NDArray[np.bool_]) -> None:
        """Leave out the rows that are False; texts stay."""
        self._values, self._codes = [self.values[rows]], [self.codes[rows]]

    @staticmethod
    def _joined(parts: list[NDArray[Number]]) -> NDArray[Number]:
        if len(parts) > 1:
            parts[:] = [np.concatenate(parts)]
        return parts[0]

    def notes(self) -> tuple[str, ...]:
        """Say which integers lost digits."""
        if self.rounded is None:
            return ()
        cell, line = self.rounded
        return (
            f"column {self.name!r} holds integers with more digits than a double has, so the last ones are "
            f"lost: {shown(cell)} on line {line} is read as {float(cell):.0f}",
        )
