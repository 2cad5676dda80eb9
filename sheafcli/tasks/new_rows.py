"""Rows of another table for the columns that a run knows: found by name, in any order, a block at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from sheafcli.errors import InputError
from sheafcli.tasks.cells import is_number, look_of, shown, with_point
from sheafcli.tasks.columns import DateColumn
from sheafcli.tasks.csv_file import BLOCK, blocks
from sheafcli.tasks.csv_rows import Written, csv_rows
from sheafcli.tasks.faults import DATE, TEXT, Faults
from sheafcli.tasks.preprocessing import Encoded, Preprocessing

NUMBERED = re.compile(r"column_[0-9]+")
MOST_NAMED = 12


@dataclass(frozen=True, eq=False)
class NewRows:
    """Rows of a table: where each stands, its cells by column, those of the targets if all are there."""

    places: Sequence[int]
    cells: dict[str, Sequence[str]]
    targets: list[Sequence[str]] | None


def read_new_rows(
    file: BinaryIO,
    path: Path,
    preprocessing: Preprocessing,
    written: Written,
    notes: list[str],
    limit: int | None = None,
) -> Iterator[NewRows]:
    """Yield the rows of a CSV file that is open, whatever its length; what is to be said of it joins `notes`.

    The file has a header, unless the table that the run was trained on had none. InputError names the
    columns that are not there, and a row of another length with its line.
    """
    known = (*preprocessing.names, *preprocessing.target.names)
    by_name = not all(map(NUMBERED.fullmatch, known))
    table = csv_rows(file, path, written, by_name=by_name, at_least=1)
    notes += table.separators.notes
    at = find(table.names, preprocessing, path, None if table.header is None else table.header[0], notes)
    wanted = (*preprocessing.names, *at.targets)
    width, comma = len(table.names), table.separators.decimal_comma

    def sound() -> Iterator[tuple[int, list[str]]]:
        for line, cells in table.rows:
            if len(cells) != width:
                raise InputError(
                    f"this row has {len(cells)} cells and the first row has {width}; values are separated by "
                    f"{table.separators.name}",
                    path=path,
                    line=line,
                )
            yield line, cells

    empty = True
    for lines, rows in blocks(islice(sound(), limit), BLOCK):
        empty = False
        columns = list(zip(*rows, strict=True))
        cells = {name: columns[at.positions[name]] for name in wanted}
        if comma:
            cells = {name: tuple(map(with_point, column)) for name, column in cells.items()}
        yield NewRows(lines, dict(cells), [cells[name] for name in at.targets] or None)
    if empty:
        raise InputError("the file holds a header and no row below it; give a file with rows", path=path)


@dataclass(frozen=True)
class Found:
    """Where the columns of a table are, by name, and its targets, empty unless all are there."""

    positions: dict[str, int]
    targets: tuple[str, ...]


def find(
    names: Sequence[str], preprocessing: Preprocessing, path: Path, line: int | None, notes: list[str]
) -> Found:
    """Find the columns that a run knows among names in any order; InputError tells all that are not there."""
    positions = {name: at for at, name in reversed(list(enumerate(names)))}
    lacking = [name for name in preprocessing.names if name not in positions]
    if lacking:
        told = []
        for name in lacking[:MOST_NAMED]:
            nearest = get_close_matches(name, names, n=1, cutoff=0.6)
            told.append(repr(name) + (f" (is it {nearest[0]!r}?)" if nearest else ""))
        more = f" and {len(lacking) - MOST_NAMED:,} more" if len(lacking) > MOST_NAMED else ""
        held = ", ".join(map(shown, names[:MOST_NAMED])) + (", ..." if len(names) > MOST_NAMED else "")
        raise InputError(
            f"columns that the network needs are missing: {', '.join(told)}{more}; the table has {held}",
            path=path,
            line=line,
        )
    twice = [name for name in preprocessing.names if list(names).count(name) > 1]
    if twice:
        raise InputError(
            f"two columns are called {twice[0]!r}; rename the one that is not meant", path=path, line=line
        )
    targets = preprocessing.target.names if set(preprocessing.target.names) <= set(names) else ()
    unknown = [name for name in names if name not in {*preprocessing.names, *targets}]
    if unknown:
        more = f" and {len(unknown) - MOST_NAMED:,} more" if len(unknown) > MOST_NAMED else ""
        notes.append(
            f"{path.name}: columns that the network does not know are left alone: "
            f"{', '.join(map(shown, unknown[:MOST_NAMED]))}{more}"
        )
    return Found(positions, targets)


def check_usable(rows: NewRows, encoded: Encoded, preprocessing: Preprocessing, path: Path) -> None:
    """Raise InputError with all cells that cannot be used, or are missing where that is an error."""
    faults = Faults(path)
    refuses = preprocessing.missing == "error"
    bad = encoded.unusable | (encoded.missing & ~_filled(preprocessing) if refuses else False)
    for row, column in zip(*(at.tolist() for at in np.nonzero(bad)), strict=True):
        name, line = preprocessing.names[column], int(rows.places[row])
        cell, kind = rows.cells[name][row], preprocessing.columns[column].kind
        look = look_of(cell)
        if encoded.missing[row, column]:
            faults.column(
                f"no value for {name!r}; the network was trained on whole rows (task.missing: error)", line
            )
        elif isinstance(of_dates := preprocessing.columns[column], DateColumn):
            form = of_dates.format
            faults.row(
                f"{name}: {DATE}",
                f"{shown(cell)} in {name!r} is no date of the format {form!r}{{}}; correct it",
                line,
            )
        elif kind == "boolean":
            faults.column(f"{shown(cell)} in {name!r} is neither no nor yes", line)
        elif look is not None:
            faults.add(look.what, cell, name, line)
        elif is_number(cell):
            faults.number(cell, name, line)
        else:
            faults.row(f"{name}: {TEXT}", f"{shown(cell)} in {name!r} is not a number{{}}; correct it", line)
    faults.check()


def _filled(preprocessing: Preprocessing) -> NDArray[np.bool_]:
    """Return of which columns a missing value is filled in."""
    return np.array([column.is_filled for column in preprocessing.columns])
