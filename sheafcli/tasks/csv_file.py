"""The columns of a table that a task asks for, as they are gathered; what they mean is said elsewhere."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sheafcli.errors import InputError
from sheafcli.interop.npz import open_bounded
from sheafcli.tasks.cells import is_number, shown, with_point
from sheafcli.tasks.csv_rows import PARQUET, CsvRows, Row, Written, csv_rows
from sheafcli.tasks.dates import ISO
from sheafcli.tasks.faults import POINT, Faults
from sheafcli.tasks.gathering import Gathered
from sheafcli.tasks.separators import CHARACTERS, Separators

MAX_BYTES = 512 * 2**20
"""The largest CSV file that is trained on, in bytes."""

BLOCK = 4096
"""So many rows are taken at once."""

Column: TypeAlias = str | int
"""A column by its name in the header, or by its position: from 0, or from -1 backwards."""


@dataclass(frozen=True)
class Roles:
    """What the columns of a file are for: as a task names them.

    Attributes
    ----------
    targets : to predict.
    features : to predict from; None for all that have no other role.
    exclude : to leave out.
    part : says which part each row is of, None if nothing does.
    categories : features whose cells are the names of categories, also where they are numbers.
    dates : features whose cells are dates, with their format.
    """

    targets: Sequence[Column]
    features: Sequence[Column] | None = None
    exclude: Sequence[Column] = ()
    part: Column | None = None
    categories: Sequence[Column] = ()
    dates: dict[str, str] = field(default_factory=dict)

    @property
    def by_name(self) -> bool:
        """Whether any column is asked for by name: then the file has a header."""
        asked = (
            *self.targets,
            *(self.features or ()),
            *self.exclude,
            *self.categories,
            *self.dates,
            self.part,
        )
        return any(isinstance(column, str) for column in asked)


@dataclass(frozen=True, eq=False)
class Table:
    """The columns of a file that a task asked for: at least two samples.

    Attributes
    ----------
    features : the features, as they were gathered.
    categories, formats : the names of features that are categories by request; the formats of dates, by name.
    target_cells : for each target, the cell of each sample as it was written, with a decimal point.
    targets : the name of each target.
    parts : the part that each row says it is of, empty if nothing does.
    lines : the line that each sample starts on, from 1.
    notes : how the file was read where it could be read otherwise, a sentence each.
    """

    features: tuple[Gathered, ...]
    categories: frozenset[str]
    formats: dict[str, str]
    target_cells: tuple[list[str], ...]
    targets: tuple[str, ...]
    parts: list[str]
    lines: NDArray[np.intp]
    notes: tuple[str, ...] = ()

    def keep(self, rows: NDArray[np.bool_]) -> Table:
        """Return the table of the rows that are True."""
        for column in self.features:
            column.keep(rows)
        chosen = np.flatnonzero(rows).tolist()
        return Table(
            self.features,
            self.categories,
            self.formats,
            tuple([cells[at] for at in chosen] for cells in self.target_cells),
            self.targets,
            [self.parts[at] for at in chosen] if self.parts else [],
            self.lines[rows],
            self.notes,
        )


def read_table(path: Path, roles: Roles, written: Written, faults: Faults) -> Table:
    """Read the columns of a CSV file that have a role.

    All columns that are not there are told at once; so are all rows of another length, with what else is
    wrong, by `faults`.
    """
    with open_bounded(path, MAX_BYTES) as file:
        if path.suffix.lower() == PARQUET:
            return _gathered(parquet_rows(path), path, roles, faults)
        rows = csv_rows(file, path, written, by_name=roles.by_name, at_least=2)
        return _gathered(rows, path, roles, faults)


def parquet_rows(path: Path) -> CsvRows:
    """Return the rows of a .parquet file as those of a CSV file: numbered from 0, times as `iso` dates."""
    # pandas takes half a second to import, and a CSV file needs none of it.
    from sheafcli.tasks.frames import read_parquet, text_cells, times_of  # noqa: PLC0415

    frame = read_parquet(path)
    names = tuple(map(str, frame.columns))
    columns = [text_cells(frame.iloc[:, at]) for at in range(len(names))]
    rows = ((row, list(cells)) for row, cells in enumerate(zip(*columns, strict=True)))
    return CsvRows(None, names, rows, Separators(",", False), times_of(frame))


def _gathered(table: CsvRows, path: Path, roles: Roles, faults: Faults) -> Table:
    names, comma = table.names, table.separators.decimal_comma
    chosen = _Chosen.of(table, roles, faults)
    targets: tuple[list[str], ...] = tuple([] for _ in chosen.targets)
    looked = [Gathered(names[at], as_text=False) for at in chosen.targets]
    parts: list[str] = []
    lines = array("q")
    features = tuple(
        Gathered(names[at], as_text=names[at] in chosen.categories or names[at] in chosen.formats)
        for at in chosen.features
    )
    for numbers, block in blocks(_sound(table, len(names), faults)):
        columns = list(zip(*block, strict=True))
        for at in (*chosen.features, *chosen.targets) if comma else ():
            columns[at] = _with_points(columns[at], numbers, names[at], faults)
        for column, at in zip(features, chosen.features, strict=True):
            column.add(columns[at], numbers)
        for cells, look, at in zip(targets, looked, chosen.targets, strict=True):
            cells.extend(columns[at])
            look.look(columns[at], numbers)
        if chosen.part is not None:
            parts.extend(columns[chosen.part])
        lines.extend(numbers)
    if len(lines) < 2:
        faults.check()
        raise InputError(
            "the file holds only one sample below its header; at least two are needed, one to train on and "
            "one to test on",
            path=path,
        )
    notes = [f"{path.name}: {note}" for column in (*features, *looked) for note in column.notes()]
    return Table(
        features,
        frozenset(chosen.categories),
        chosen.formats,
        targets,
        tuple(names[at] for at in chosen.targets),
        parts,
        np.array(lines, dtype=np.intp),
        (*table.separators.notes, *notes),
    )


def blocks(rows: Iterable[Row], size: int = BLOCK) -> Iterator[tuple[list[int], list[list[str]]]]:
    """Yield the lines and the cells of so many rows at a time."""
    rows = iter(rows)
    while block := list(islice(rows, size)):
        yield [line for line, _ in block], [cells for _, cells in block]


def _sound(table: CsvRows, width: int, faults: Faults) -> Iterator[Row]:
    """Yield the rows that are as long as the first, and note the others."""
    separators = table.separators
    for line, cells in table.rows:
        if len(cells) == width:
            yield line, cells
        else:
            faults.row(
                "width",
                f"this row has {len(cells)} cells and the first row has {width}{{}}; values are separated "
                f"by {separators.name}, and one that holds {separators.delimiter!r} stands in quotes",
                line,
            )


def _with_points(cells: Sequence[str], lines: Sequence[int], name: str, faults: Faults) -> tuple[str, ...]:
    """Return cells with a decimal comma as plain numbers; a decimal point among them is at fault."""
    for cell, line in zip(cells, lines, strict=True):
        if "." in cell and is_number(cell):
            faults.add(POINT, cell, name, line)
    return tuple(map(with_point, cells))


@dataclass(frozen=True)
class _Chosen:
    """The positions of the columns that have a role, and the names of those that are read in another way."""

    targets: list[int]
    features: list[int]
    part: int | None
    categories: set[str]
    formats: dict[str, str]

    @classmethod
    def of(cls, table: CsvRows, roles: Roles, faults: Faults) -> _Chosen:
        """Find the columns; InputError tells all that are not there, not told apart, or used twice."""
        finder = _Finder(table, faults)
        targets = finder.positions(roles.targets, "target")
        part = finder.positions([] if roles.part is None else [roles.part], "split_column")
        exclude = finder.positions(roles.exclude, "exclude")
        categories = finder.positions(roles.categories, "categories")
        dates = finder.positions(list(roles.dates), "dates")
        if roles.features is None:
            taken = {*targets, *part, *exclude}
            features = [at for at in range(len(table.names)) if at not in taken]
        else:
            features = finder.positions(roles.features, "features")
        faults.check()
        finder.check_names([*targets, *part, *features])
        finder.check_roles({"categories": categories, "dates": dates}, features)
        faults.check()
        names = table.names
        formats = {name: ISO for at, name in enumerate(names) if name in table.times and at in features}
        formats |= {names[at]: format_ for at, format_ in zip(dates, roles.dates.values(), strict=True)}
        return cls(targets, features, next(iter(part), None), {names[at] for at in categories}, formats)


class _Finder:
    """Finds the columns of a table by name or position, and notes what is wrong with them."""

    def __init__(self, table: CsvRows, faults: Faults):
        self._table, self._faults = table, faults
        self._line = table.header[0] if table.header else None

    def positions(self, columns: Sequence[Column], key: str) -> list[int]:
        """Return the positions of columns that a key of the task names."""
        names, width = self._table.names, len(self._table.names)
        found = []
        for column in columns:
            if isinstance(column, str) and column in names:
                found.append(names.index(column))
            elif isinstance(column, int) and -width <= column < width:
                found.append(column % width)
            elif isinstance(column, int):
                self._faults.column(
                    f"{key}: no column at position {column}; the first row has {width} cells, so "
                    f"0 to {width - 1}, or -1 for the last (a name that is a number needs quotes)"
                )
            else:
                self._faults.column(f"{key}: {self._no_column(column)}", self._line)
        return found

    def _no_column(self, name: str) -> str:
        names = self._table.names
        nearest = get_close_matches(name, names, cutoff=0.5)
        one_cell = f", and is not cut by any of {', '.join(CHARACTERS)}" if len(names) == 1 else ""
        return (
            f"no column {name!r} in the first row"
            + (f"; did you mean {' or '.join(map(repr, nearest))}?" if nearest else "")
            + f" (it holds {', '.join(map(shown, names[:20]))}"
            + f"{', ...' if len(names) > 20 else ''}{one_cell}; a file without a header takes positions)"
        )

    def check_names(self, used: Sequence[int]) -> None:
        """Note columns that are not told apart or are used twice, and where nothing is left to learn from."""
        names, line = self._table.names, self._line
        seen: set[str] = set()
        for name in filter(None, names):
            if name in seen:
                self._faults.column(f"two columns are called {name!r}; rename one of them", line)
            seen.add(name)
        counted: set[int] = set()
        for at in used:
            if not names[at]:
                self._faults.column(
                    f"the column at position {at} has no name (an index, perhaps); give it one, or leave "
                    f"it out with task.exclude: [{at}]",
                    line,
                )
            if at in counted:
                self._faults.column(
                    f"column {names[at]!r} is asked for twice; a column is one target or one feature"
                )
            counted.add(at)

    def check_roles(self, told: dict[str, list[int]], features: Sequence[int]) -> None:
        """Note columns that are told to be something and are no features, or two things."""
        if not features:
            self._faults.column(
                "no column is left for features; values are taken as separated by "
                f"{self._table.separators.name} (task.delimiter)",
                self._line,
            )
            return
        for key, columns in told.items():
            for at in columns:
                if at not in features:
                    self._faults.column(f"{key}: {self._table.names[at]!r} is none of the features")
        for at in set(told["categories"]) & set(told["dates"]):
            self._faults.column(f"{self._table.names[at]!r} is told to be categories and dates; give one")
