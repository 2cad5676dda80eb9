"""The rows of a CSV file, each with the line it starts on: encoding, separators and header settled."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO, Literal, TypeAlias

from sheafcli.errors import InputError
from sheafcli.tasks.cells import is_number, shown
from sheafcli.tasks.separators import (
    CHARACTERS,
    SAMPLE_LINES,
    Decimal,
    Delimiter,
    Separators,
    announced,
    recognise,
)

Encoding: TypeAlias = Literal["utf-8", "latin-1", "windows-1252"]

_CONTROLS = re.compile("[\x80-\x9f]")

PARQUET = ".parquet"
"""What the name of a table ends with that is read by pandas."""

Row: TypeAlias = tuple[int, list[str]]
"""The line that a row starts on, from 1, and its cells, stripped of blanks."""


@dataclass(frozen=True)
class Written:
    """How a CSV file is written, as far as its reader was told."""

    delimiter: Delimiter = "auto"
    decimal: Decimal = "auto"
    encoding: Encoding = "utf-8"


@dataclass(frozen=True, eq=False)
class CsvRows:
    """The rows of a file, to be walked through once.

    Attributes
    ----------
    header : the first row if it is a header, else None.
    names : the name of each column: of the header, or column_0, column_1, ...
    rows : those below the header that are not blank.
    separators : what separates values and decimals.
    times : the columns of which the file itself says that they hold dates, written as `iso`.
    """

    header: Row | None
    names: tuple[str, ...]
    rows: Iterator[Row]
    separators: Separators
    times: frozenset[str] = frozenset()


def csv_rows(file: BinaryIO, path: Path, written: Written, *, by_name: bool, at_least: int) -> CsvRows:
    """Settle how a file is written, and return its rows, of which there must be so many with the header.

    The file is text in UTF-8, unless it is told otherwise; blank lines are skipped.
    `sheafcli.tasks.separators` says how its separators are recognised. Its first row is a header if columns
    are asked for by name. Otherwise it is one when some cell of it is not a number while the cell below is:
    a name over values. If it also holds numbers, such a cell could be a slip in the first sample as well as
    a name, and the file is refused rather than guessed at; so is one whose first row counts, 0, 1, 2, ...,
    as pandas heads an array. Without a header, columns are called column_0, column_1, ...
    """
    rows, separators = _separated_rows(file, path, written)
    head = list(islice(rows, 2))
    if len(head) < at_least:
        needed = "at least two samples are needed, one to train on and one to test on"
        raise InputError(
            f"the file holds {'only one row' if head else 'nothing'}"
            + (f"; {needed}" if at_least > 1 else ": there is nothing to read"),
            path=path,
        )
    header = _header(path, head, separators.plain, by_name=by_name)
    names = header[1] if header else [f"column_{at}" for at in range(len(head[0][1]))]
    return CsvRows(header, tuple(names), chain(head[1:] if header else head, rows), separators)


def _separated_rows(file: BinaryIO, path: Path, written: Written) -> tuple[Iterator[Row], Separators]:
    """Settle the separators of a file, and return its rows that are not blank."""
    lines = _decoded_lines(file, path, written.encoding)
    top = list(islice(lines, SAMPLE_LINES))
    given = None if written.delimiter == "auto" else CHARACTERS[written.delimiter]
    said = announced(top[0], path) if top else None
    first = 1 if said is None else 2
    separators = recognise(
        top[first - 1 :],
        path,
        first=first,
        delimiter=given or said,
        decimal=written.decimal,
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


def _decoded_lines(file: BinaryIO, path: Path, encoding: Encoding) -> Iterator[str]:
    """Yield the lines of a file, without the mark that some programs put at the start of one in UTF-8."""
    for line, encoded in enumerate(file, start=1):
        try:
            decoded = encoded.decode("utf-8-sig" if (line, encoding) == (1, "utf-8") else encoding)
        except UnicodeDecodeError as error:
            raise InputError(
                f"byte 0x{encoded[error.start]:02x} is not {encoding.upper()}{_as_latin_1(encoded)}",
                path=path,
                line=line,
            ) from error
        if encoding == "latin-1" and _CONTROLS.search(decoded):
            raise InputError(
                "a control character, which no text in Latin-1 holds; set task.encoding: windows-1252, or "
                "save the file with the encoding UTF-8",
                path=path,
                line=line,
            )
        if "\0" in decoded:
            raise InputError(
                "a NUL byte (0x00), which no text holds: the file is damaged, not a table, or UTF-16; "
                "save it as a CSV file with the encoding UTF-8",
                path=path,
                line=line,
            )
        yield decoded


def _as_latin_1(encoded: bytes) -> str:
    """Say what to do with a line that is not UTF-8, and what it would be in Latin-1."""
    text = encoded[:200].decode("latin-1").strip()
    if not text.isprintable() or encoded.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "; save the file with the encoding UTF-8"
    return (
        f" (as Latin-1 the line is {shown(text)}); save the file with the encoding UTF-8, or if Latin-1 is "
        "right set task.encoding: latin-1"
    )


def _header(path: Path, head: Sequence[Row], plain: Callable[[str], str], *, by_name: bool) -> Row | None:
    """Return the first row if it is a header, by the rule that `read_table` states.

    `plain` writes a number as Python reads it.
    """
    if by_name:
        return head[0]
    if len(head) < 2:
        return None
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
            f"the first row counts ({counted}), as pandas heads an array: it may be a header or a sample; "
            f"for a header, give target by name, as in target: '{first[-1]}'; for a sample, move it below "
            "another",
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
