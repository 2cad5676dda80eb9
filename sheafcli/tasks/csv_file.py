"""Columns of a CSV file, each row with the line it starts on; what they mean is said elsewhere."""

from __future__ import annotations

import csv
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import chain, islice
from math import isfinite
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np

from sheafcli.errors import InputError
from sheafcli.interop.npz import open_bounded
from sheafcli.tasks.data import Array

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
    """

    X: Array
    features: tuple[str, ...]
    target_cells: tuple[list[str], ...]
    targets: tuple[str, ...]
    lines: Sequence[int]


def read_table(path: Path, targets: Sequence[Column], features: Sequence[Column] | None) -> Table:
    """Read target and feature columns (None: all that are not targets) of a CSV file.

    The file is UTF-8 text separated by commas; blank lines are skipped. Its first row is a header
    if any column is asked for by name. Otherwise it is one when some cell of it is not a number
    while the cell below is: a name over values. If it also holds numbers, such a cell could be a
    slip in the first sample as well as a name, and the file is refused rather than guessed at.
    Without a header, columns are called column_0, column_1, ...
    """
    with open_bounded(path, MAX_BYTES) as file:
        rows = _rows(file, path)
        head = list(islice(rows, 2))
        if len(head) < 2:
            raise InputError(
                f"the file holds {'only one row' if head else 'nothing'}; "
                "at least two samples are needed, one to train on and one to test on",
                path=path,
            )
        by_name = any(isinstance(column, str) for column in (*targets, *(features or ())))
        header = _header(path, head, by_name=by_name)
        width = len(head[0][1])
        target_at = _positions(path, header, width, targets, "target")
        if features is None:
            feature_at = [at for at in range(width) if at not in target_at]
        else:
            feature_at = _positions(path, header, width, features, "features")
        names = header[1] if header else [f"column_{at}" for at in range(width)]
        _check_columns(path, header, names, target_at, feature_at)

        lines, values = array("q"), array("d")
        target_cells: tuple[list[str], ...] = tuple([] for _ in target_at)
        for line, cells in chain(head[1:] if header else head, rows):
            if len(cells) != width:
                raise InputError(
                    f"this row has {len(cells)} cells and the first row has {width}; "
                    "values are separated by commas, and one that holds a comma stands in quotes",
                    path=path,
                    line=line,
                )
            for at in (*feature_at, *target_at):
                if not cells[at]:
                    raise InputError(
                        f"no value for {names[at]!r}; fill it in, or take out the row",
                        path=path,
                        line=line,
                    )
            values.extend(finite_number(cells[at], names[at], path, line) for at in feature_at)
            for column, at in zip(target_cells, target_at, strict=True):
                column.append(cells[at])
            lines.append(line)

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
    )


def finite_number(cell: str, name: str, path: Path, line: int) -> float:
    """Read a cell of the column `name` as a finite number, or refuse it with its line."""
    if not is_number(cell):
        raise InputError(
            f"{shown(cell)} in {name!r} is not a number; correct it, or leave the column out",
            path=path,
            line=line,
        )
    value = float(cell)
    if not isfinite(value):
        raise InputError(
            f"{shown(cell)} in {name!r} is not finite; correct it, or take out the row",
            path=path,
            line=line,
        )
    return value


def is_number(cell: str) -> bool:
    """Tell whether a cell is written as a number; nan and inf are, 1_000 is not."""
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def shown(cell: str) -> str:
    """Quote a cell for an error message, cut to a readable length."""
    return repr(cell if len(cell) <= 40 else cell[:37] + "...")


def _rows(file: BinaryIO, path: Path) -> Iterator[Row]:
    """Yield the rows that are not blank."""
    # strict: a quote that is never closed is an error, not a cell that swallows the file
    reader = csv.reader(_decoded_lines(file, path), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = [cell.strip() for cell in next(reader)]
        except StopIteration:
            return
        except csv.Error as error:
            raise InputError(
                f"not a row of comma-separated values ({error}); check its quotes and line ends",
                path=path,
                line=line,
            ) from error
        if cells and cells != [""]:
            yield line, cells


def _decoded_lines(file: BinaryIO, path: Path) -> Iterator[str]:
    """Yield the lines of a UTF-8 file, without the mark that some programs put at its start."""
    for line, encoded in enumerate(file, start=1):
        try:
            yield encoded.decode("utf-8-sig" if line == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise InputError(
                f"byte 0x{encoded[error.start]:02x} is not UTF-8; save the file with the encoding UTF-8",
                path=path,
                line=line,
            ) from error


def _header(path: Path, head: Sequence[Row], *, by_name: bool) -> Row | None:
    """Return the first row if it is a header, by the rule that `read_table` states."""
    line, first = head[0]
    names_over_values = [
        cell
        for cell, value in zip(first, head[1][1], strict=False)
        if not is_number(cell) and is_number(value)
    ]
    if by_name or (names_over_values and not any(map(is_number, first))):
        return head[0]
    if names_over_values:
        raise InputError(
            f"the first row holds numbers and {shown(names_over_values[0])}, so it may be a header "
            "or a sample with a slip in it; correct it, or if it is a header give target by name",
            path=path,
            line=line,
        )
    return None


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
                raise InputError(
                    f"{field}: no column {column!r} in the first row"
                    + (f"; did you mean {' or '.join(map(repr, nearest))}?" if nearest else "")
                    + f" (it holds {', '.join(map(shown, names[:20]))}"
                    + f"{', ...' if width > 20 else ''}; a file without a header takes positions)",
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
            "no column is left for features; values must be separated by commas",
            path=path,
            line=line,
        )
