"""What separates the values of a CSV file, and their decimals: asked for, or recognised where certain."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from sheafcli.errors import InputError
from sheafcli.tasks.cells import is_number, shown, with_point

Delimiter: TypeAlias = Literal["auto", "comma", "semicolon", "tab", "bar"]
Decimal: TypeAlias = Literal["auto", "point", "comma"]

CHARACTERS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|"}
"""The character of each delimiter."""

SAMPLE_LINES = 1000
"""The lines at the top of a file that show its separators; what comes later must agree with them."""

_ANNOUNCEMENT = re.compile('"?sep=(.)"?', re.IGNORECASE)  # Excel's own first line
_THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2},[0-9]{3}")


@dataclass(frozen=True)
class Separators:
    """The character between values, the mark of decimals, and what to say aloud of both."""

    delimiter: str
    decimal_comma: bool
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What values are separated by, in words."""
        return separator_name(self.delimiter)

    def plain(self, cell: str) -> str:
        """Return a number with a point before its decimals, any other cell as it is."""
        return with_point(cell) if self.decimal_comma else cell


def separator_name(character: str) -> str:
    """Say what values are separated by, in words."""
    names = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
    return names.get(character, f"{character!r}")


def announced(first_line: str, path: Path) -> str | None:
    """Return the delimiter that a first line such as `sep=;` announces; None if it is an ordinary line."""
    match = _ANNOUNCEMENT.fullmatch(first_line.strip("\r\n"))
    if match is None:
        return None
    if match[1] not in CHARACTERS.values():
        raise InputError(
            f"the first line announces values separated by {match[1]!r}; save the file with one of "
            f"{', '.join(CHARACTERS)}",
            path=path,
            line=1,
        )
    return match[1]


def recognise(
    lines: Sequence[str], path: Path, *, first: int, delimiter: str | None, decimal: Decimal, whole: bool
) -> Separators:
    """Settle the separators of a file by its first lines; the line of number `first` begins them.

    `delimiter` is the character that is known already, or None. `whole` says that these are all lines.

    One of comma, semicolon, tab and bar separates the values if it cuts all rows into as many cells, two
    or more, and no other does. Where two do, as in 0,5;1,5, it is the one between whose occurrences the
    other is a decimal comma in every number. Decimals are written with a comma if numbers that cannot be
    read otherwise are, none has a point, and commas do not separate the values: 1,037 alone may be
    thousands. Whatever stays open is refused with the key that settles it.
    """
    notes = []
    if delimiter is None:
        delimiter = _delimiter(lines, path, first=first, whole=whole)
        if delimiter != ",":
            notes.append(
                f"values are read as separated by {separator_name(delimiter)}; if they are not, set "
                "task.delimiter"
            )
    comma = decimal == "comma"
    if decimal == "auto" and delimiter != "," and _has_decimal_commas(lines, delimiter, path, first=first):
        comma = True
        notes.append("numbers are read with a decimal comma; if it is none, set task.decimal: point")
    return Separators(delimiter, comma, tuple(f"{path.name}: {note}" for note in notes))


def _rows(lines: Sequence[str], delimiter: str) -> tuple[list[tuple[int, list[str]]], bool]:
    """Return the rows that are not blank, each with the index of its first line; whether all are sound."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    rows: list[tuple[int, list[str]]] = []
    while True:
        at = reader.line_num
        try:
            cells = [cell.strip() for cell in next(reader)]
        except StopIteration:
            return rows, True
        except csv.Error:
            return rows, False
        if any(cells):
            rows.append((at, cells))


def _delimiter(lines: Sequence[str], path: Path, *, first: int, whole: bool) -> str:
    rows: dict[str, list[list[str]]] = {}
    fitting: list[str] = []
    nearly: list[str] = []
    for character in CHARACTERS.values():
        found, sound = _rows(lines, character)
        found = found[:-1] if len(found) > 1 and not whole else found  # the last may go on below the sample
        rows[character] = [cells for _, cells in found]
        widths = Counter(map(len, rows[character]))
        width, count = widths.most_common(1)[0] if widths else (0, 0)
        if width > 1 and 2 * count > len(found):
            (fitting if sound and count == len(found) else nearly).append(character)
    if len(fitting) > 1:
        fitting = [c for c in fitting if _cuts_cleanly(rows[c], c, [o for o in fitting if o != c])] or fitting
    candidates = fitting or nearly
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        words = " or ".join(f"{separator_name(c)} ({_name(c)})" for c in candidates)
        raise InputError(
            f"values may be separated by {words}; say which with task.delimiter", path=path, line=first
        )
    cells = [line.split() for line in lines if line.strip()]
    if (
        len(cells) > 1
        and len({len(row) for row in cells}) == 1
        and len(cells[0]) > 1
        and _mostly_numbers(cells[1:])
    ):
        raise InputError(
            f"values are separated by blanks here; save them separated by commas, or by another of "
            f"{', '.join(CHARACTERS)}",
            path=path,
            line=first,
        )
    return ","


def _name(character: str) -> str:
    return next(name for name, c in CHARACTERS.items() if c == character)


def _mostly_numbers(rows: Sequence[Sequence[str]]) -> bool:
    numbers = sum(is_number(cell) for row in rows for cell in row)
    return 2 * numbers > sum(map(len, rows))


def _cuts_cleanly(rows: Sequence[Sequence[str]], delimiter: str, others: Sequence[str]) -> bool:
    """Tell whether other delimiters stand in the cells as decimal commas only, if at all."""
    held = [cell for row in rows for cell in row if any(other in cell for other in others)]
    return not held or (delimiter != "," and all(is_number(with_point(cell)) for cell in held))


def _has_decimal_commas(lines: Sequence[str], delimiter: str, path: Path, *, first: int) -> bool:
    """Tell whether numbers are written with a decimal comma; InputError if that stays open."""
    commas: tuple[int, str] | None = None
    points: tuple[int, str] | None = None
    certain = False
    for at, cells in _rows(lines, delimiter)[0]:
        for cell in cells:
            if "," in cell and is_number(with_point(cell)):
                commas = commas or (at, cell)
                certain |= not _THOUSANDS.fullmatch(cell)
            elif "." in cell and is_number(cell):
                points = points or (at, cell)
    if commas is None:
        return False
    if points is not None:
        open_ = (
            f"numbers are written {shown(points[1])} on line {first + points[0]} and {shown(commas[1])} here"
        )
    elif not certain:
        open_ = f"{shown(commas[1])} is {with_point(commas[1])} or {commas[1].replace(',', '')}"
    else:
        return True
    raise InputError(
        f"{open_}; say how decimals are written with task.decimal: comma or point",
        path=path,
        line=first + commas[0],
    )
