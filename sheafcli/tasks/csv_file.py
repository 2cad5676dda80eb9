"""Columns of a CSV file, each row with the line it starts on; what they mean is said elsewhere."""

from __future__ import annotations

import codecs
import csv
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np

from sheafcli.core.types import Array
from sheafcli.errors import InputError
from sheafcli.interop.npz import open_bounded
from sheafcli.tasks.cells import is_missing, is_number, shown, with_point
from sheafcli.tasks.faults import MISSING, POINT, Faults
from sheafcli.tasks.separators import (
    CHARACTERS,
    SAMPLE_LINES,
    Decimal,
    Delimiter,
    Separators,
    announced,
    recognise,
)

MAX_BYTES = 512 * 2**20
"""The largest CSV file that is read, in bytes."""

Column: TypeAlias = str | int
"""A column by its name in the header, or by its position: from 0, or from -1 backwards."""

Row: TypeAlias = tuple[int, list[str]]
"""The line that a row starts on, from 1, and its cells, stripped of blanks."""


@dataclass(frozen=True, eq=False)
class Table:
    """The columns of a CSV file that a task asked for: at least two samples, no empty cell.

    Attributes
    ----------
    X : the features, samples x features, finite.
    features : the name of each feature.
    target_cells : for each target, the cell of each sample as it was written.
    targets : the name of each target.
    lines : the line that each sample starts on, from 1.
    notes : how the file was read where it could be read otherwise, a sentence each.
    """

    X: Array
    features: tuple[str, ...]
    target_cells: tuple[list[str], ...]
    targets: tuple[str, ...]
    lines: Sequence[int]
    notes: tuple[str, ...] = ()


def read_table(
    path: Path,
    targets: Sequence[Column],
    features: Sequence[Column] | None,
    *,
    delimiter: Delimiter = "auto",
    decimal: Decimal = "auto",
) -> Table:
    """Read target and feature columns (None: all that are not targets) of a CSV file.

    The file is UTF-8 text; blank lines are skipped. `sheafcli.tasks.separators` says how its separators
    are recognised. Its first row is a header if any column is asked for by name. Otherwise it is one when
    some cell of it is not a number while the cell below is: a name over values. If it also holds numbers,
    such a cell could be a slip in the first sample as well as a name, and the file is refused rather than
    guessed at; so is one whose first row counts, 0, 1, 2, ..., as pandas heads an array.
    Without a header, columns are called column_0, column_1, ...

    All cells that cannot be used are told at once, column by column.
    """
    with open_bounded(path, MAX_BYTES) as file:
        rows, separators = _separated_rows(file, path, delimiter, decimal)
        head = list(islice(rows, 2))
        if len(head) < 2:
            raise InputError(
                f"the file holds {'only one row' if head else 'nothing'}; "
                "at least two samples are needed, one to train on and one to test on",
                path=path,
            )
        by_name = any(isinstance(column, str) for column in (*targets, *(features or ())))
        header = _header(path, head, separators.plain, by_name=by_name)
        width = len(head[0][1])
        target_at = _positions(path, header, width, targets, "target")
        if features is None:
            feature_at = [at for at in range(width) if at not in target_at]
        else:
            feature_at = _positions(path, header, width, features, "features")
        names = header[1] if header else [f"column_{at}" for at in range(width)]
        _check_columns(path, header, names, target_at, feature_at, separators.name)

        lines, values, faults, rounded = array("q"), array("d"), Faults(path), _Rounded(path)
        target_cells: tuple[list[str], ...] = tuple([] for _ in target_at)
        for line, cells in chain(head[1:] if header else head, rows):
            if len(cells) != width:
                raise InputError(
                    f"this row has {len(cells)} cells and the first row has {width}; values are separated "
                    f"by {separators.name}, and one that holds {separators.delimiter!r} stands in quotes",
                    path=path,
                    line=line,
                )
            for at in (*feature_at, *target_at) if separators.decimal_comma else ():
                if "." in cells[at] and is_number(cells[at]):
                    faults.add(POINT, cells[at], names[at], line)
                cells[at] = with_point(cells[at])
            for at in feature_at:
                values.append(faults.number(cells[at], names[at], line))
                rounded.look(cells[at], names[at], line)
            for column, at in zip(target_cells, target_at, strict=True):
                if is_missing(cells[at]):
                    faults.add(MISSING, cells[at], names[at], line)
                rounded.look(cells[at], names[at], line)
                column.append(cells[at])
            lines.append(line)

    faults.check(len(lines))
    if len(lines) < 2:
        raise InputError(
            "the file holds only one sample below its header; "
            "at least two are needed, one to train on and one to test on",
            path=path,
        )
    return Table(
        X=np.array(values).reshape(len(lines), len(feature_at)),
        features=tuple(names[at] for at in feature_at),
        target_cells=target_cells,
        targets=tuple(names[at] for at in target_at),
        lines=lines,
        notes=(*separators.notes, *rounded.notes),
    )


DIGITS, MOST_DIGITS = 16, 70
"""Integers of fewer digits are doubles all; those of more are out of range."""


class _Rounded:
    """Collects the columns of integers that doubles cannot tell apart."""

    def __init__(self, path: Path):
        self._path = path
        self._first: dict[str, tuple[str, int]] = {}

    def look(self, cell: str, name: str, line: int) -> None:
        """Note an integer that is not the double it is read as; shorter ones all are."""
        if len(cell) < DIGITS or name in self._first or len(cell) > MOST_DIGITS or not cell.isascii():
            return
        if cell.lstrip("+-").isdigit() and int(cell) != float(cell):
            self._first[name] = (cell, line)

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence for each column."""
        return tuple(
            f"{self._path.name}: column {name!r} holds integers with more digits than a double has, so the "
            f"last ones are lost: {shown(cell)} on line {line} is read as {float(cell):.0f}"
            for name, (cell, line) in self._first.items()
        )


def _separated_rows(
    file: BinaryIO, path: Path, delimiter: Delimiter, decimal: Decimal
) -> tuple[Iterator[Row], Separators]:
    """Settle the separators of a file, and return its rows that are not blank."""
    lines = _decoded_lines(file, path)
    top = list(islice(lines, SAMPLE_LINES))
    given = None if delimiter == "auto" else CHARACTERS[delimiter]
    said = announced(top[0], path) if top else None
    first = 1 if said is None else 2
    separators = recognise(
        top[first - 1 :],
        path,
        first=first,
        delimiter=given or said,
        decimal=decimal,
        whole=len(top) < SAMPLE_LINES,
    )
    return _rows(chain(top[first - 1 :], lines), path, separators, first), separators


def _rows(lines: Iterable[str], path: Path, separators: Separators, first: int) -> Iterator[Row]:
    """Yield the rows that are not blank."""
    # strict: a quote that is never closed is an error, not a cell that swallows the file
    reader = csv.reader(lines, delimiter=separators.delimiter, strict=True)
    while True:
        line = reader.line_num + first
        try:
            cells = [cell.strip() for cell in next(reader)]
        except StopIteration:
            return
        except csv.Error as error:
            raise InputError(
                f"no row of values separated by {separators.name} ({error}); check its quotes and line ends",
                path=path,
                line=line,
            ) from error
        if cells and cells != [""]:
            yield line, cells


def _decoded_lines(file: BinaryIO, path: Path) -> Iterator[str]:
    """Yield the lines of a UTF-8 file, without the mark that some programs put at its start."""
    for line, encoded in enumerate(file, start=1):
        try:
            decoded = encoded.decode("utf-8-sig" if line == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise InputError(
                f"byte 0x{encoded[error.start]:02x} is not UTF-8{_as_latin_1(encoded)}; "
                "save the file with the encoding UTF-8",
                path=path,
                line=line,
            ) from error
        if "\0" in decoded:
            raise InputError(
                "a NUL byte (0x00), which no text holds: the file is damaged, not a table, or UTF-16; "
                "save it as a CSV file with the encoding UTF-8",
                path=path,
                line=line,
            )
        yield decoded


def _as_latin_1(encoded: bytes) -> str:
    """Say what a line would be in Latin-1, the encoding met most beside UTF-8; "" if it is not that."""
    text = encoded[:200].decode("latin-1").strip()
    return (
        f" (as Latin-1 the line is {shown(text)})"
        if text.isprintable() and not encoded.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        else ""
    )


def _header(path: Path, head: Sequence[Row], plain: Callable[[str], str], *, by_name: bool) -> Row | None:
    """Return the first row if it is a header, by the rule that `read_table` states.

    `plain` writes a number as Python reads it.
    """
    if by_name:
        return head[0]
    line = head[0][0]
    first, second = ([plain(cell) for cell in cells] for _, cells in head[:2])
    names_over_values = [
        cell for cell, value in zip(first, second, strict=False) if not is_number(cell) and is_number(value)
    ]
    if names_over_values and not any(map(is_number, first)):
        return head[0]
    if names_over_values:
        raise InputError(
            f"the first row holds numbers and {shown(names_over_values[0])}, so it may be a header "
            "or a sample with a slip in it; correct it, or if it is a header give target by name",
            path=path,
            line=line,
        )
    if first != second and _counts_columns(first, second):
        counted = ", ".join([*first[:3], "..."] if len(first) > 3 else first)
        raise InputError(
            f"the first row counts ({counted}), as pandas heads an array: it may be a header "
            "or a sample; for a header, give target by name, as in "
            f"target: '{first[-1]}'; for a sample, move it below another",
            path=path,
            line=line,
        )
    return None


def _counts_columns(first: Sequence[str], second: Sequence[str]) -> bool:
    """Tell whether a row counts up by ones: from 0 or 1, or above decimals from anywhere: 2001, 2002, ...

    Two columns are counted from 0 or 1 only, and one is none.
    """
    if len(first) < 2 or not all(map(is_number, first)):
        return False
    numbers = [float(cell) for cell in first]
    if numbers != [numbers[0] + at for at in range(len(first))]:
        return False
    decimals = not any(cell.lstrip("+-").isdigit() for cell in second)
    return numbers[0] in (0.0, 1.0) or (len(first) > 2 and numbers[0].is_integer() and decimals)


def _positions(
    path: Path, header: Row | None, width: int, columns: Sequence[Column], field: str
) -> list[int]:
    """Find columns among `width`, given by name or position."""
    found: list[int] = []
    for column in columns:
        if isinstance(column, int):
            if not -width <= column < width:
                raise InputError(
                    f"{field}: no column at position {column}; the first row has {width} cells, so "
                    f"0 to {width - 1}, or -1 for the last (a name that is a number needs quotes)",
                    path=path,
                )
            found.append(column % width)
        else:
            assert header is not None, "a column asked for by name makes the first row a header"
            line, names = header
            if column not in names:
                nearest = get_close_matches(column, names, cutoff=0.5)
                one_cell = f", and is not cut by any of {', '.join(CHARACTERS)}" if width == 1 else ""
                raise InputError(
                    f"{field}: no column {column!r} in the first row"
                    + (f"; did you mean {' or '.join(map(repr, nearest))}?" if nearest else "")
                    + f" (it holds {', '.join(map(shown, names[:20]))}"
                    + f"{', ...' if width > 20 else ''}{one_cell}; a file without a header takes positions)",
                    path=path,
                    line=line,
                )
            found.append(names.index(column))
    return found


def _check_columns(
    path: Path,
    header: Row | None,
    names: Sequence[str],
    target_at: Sequence[int],
    feature_at: Sequence[int],
    separator: str,
) -> None:
    """Refuse columns that are not told apart, are used twice, or leave nothing to learn from."""
    line = header[0] if header else None
    seen: set[str] = set()
    for name in filter(None, names):
        if name in seen:
            raise InputError(f"two columns are called {name!r}; rename one of them", path=path, line=line)
        seen.add(name)
    used: set[int] = set()
    for at in (*target_at, *feature_at):
        if not names[at]:
            raise InputError(
                f"the column at position {at} has no name (an index, perhaps); "
                "give it one, or list the columns to use in features",
                path=path,
                line=line,
            )
        if at in used:
            raise InputError(
                f"column {names[at]!r} is asked for twice; a column is one target or one feature",
                path=path,
            )
        used.add(at)
    if not feature_at:
        raise InputError(
            f"no column is left for features; values are taken as separated by {separator} (task.delimiter)",
            path=path,
            line=line,
        )
