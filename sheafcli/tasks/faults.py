"""All that is wrong with a table, told at once: each column, what is wrong there, and where."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite, nan
from pathlib import Path

from sheafcli.core.magnitude import LARGEST
from sheafcli.errors import InputError, Remedy
from sheafcli.tasks.cells import is_number, look_of, may_be_missing, shown

MISSING, TEXT, NOT_FINITE, LARGE, POINT, DATE = "missing", "text", "not finite", "large", "point", "date"
"""What may be wrong with a cell; a quantity that is no plain number is told by what it looks like."""

MOST_SHOWN = 20
MOST_LINES = 5


@dataclass
class _Fault:
    """One thing that is wrong: in how many cells, what the first holds, and on which lines.

    `told` is the whole message where it does not hang on the cell, `remedy` what would mend it.
    """

    column: str
    kind: str
    cell: str
    told: str = ""
    remedy: Remedy | None = None
    count: int = 0
    lines: list[int] = field(default_factory=list)

    @property
    def elsewhere(self) -> str:
        """Say in how many other places, and where; "" for one alone."""
        if self.count < 2:
            return ""
        lines = ", ".join(map(str, self.lines)) + (", ..." if self.count > len(self.lines) else "")
        what = "rows" if self.told else "cells"
        return f" ({self.count:,} such {what}, on lines {lines})"


class Faults:
    """Collects what keeps a table from being used; `check` refuses the table if there is anything."""

    def __init__(self, path: Path):
        self._path = path
        self._faults: dict[tuple[str, str], _Fault] = {}

    def number(self, cell: str, column: str, line: int) -> float:
        """Read a cell as a finite number of a size that can be worked with; note it if it is none."""
        try:
            value = float(cell)
        except ValueError:
            value = nan
        if -LARGEST <= value <= LARGEST and is_number(cell):
            return value
        if may_be_missing(cell):
            kind = MISSING
        elif not is_number(cell):
            look = look_of(cell)
            kind = look.what if look else TEXT
        else:
            kind = LARGE if isfinite(value) else NOT_FINITE
        self.add(kind, cell, column, line)
        return 0.0

    def add(self, kind: str, cell: str, column: str, line: int) -> None:
        """Note that a cell is at fault."""
        remedy = Remedy("missing", value="impute") if kind == MISSING else None
        self._note((column, kind), _Fault(column, kind, cell, remedy=remedy), line)

    def row(self, kind: str, told: str, line: int) -> None:
        """Note that a row is at fault; `told` is said of the first of its kind, with {} where others are."""
        self._note(("", kind), _Fault("", kind, "", told), line)

    def column(self, told: str, line: int | None = None, remedy: Remedy | None = None) -> None:
        """Note what is wrong with a whole column, and what would mend it."""
        self._note((told, "column"), _Fault("", "column", "", told, remedy), line)

    def _note(self, key: tuple[str, str], new: _Fault, line: int | None) -> None:
        fault = self._faults.setdefault(key, new)
        fault.count += 1
        if line is not None and fault.count <= MOST_LINES:
            fault.lines.append(line)

    def check(self) -> None:
        """Raise InputError with all that is at fault, in the order of the file."""
        faults = sorted(self._faults.values(), key=lambda fault: fault.lines[:1])
        if not faults:
            return
        told = [_told(fault) for fault in faults[:MOST_SHOWN]]
        places = [f"{self._path}:{fault.lines[0]}" if fault.lines else str(self._path) for fault in faults]
        more = [f"{place}: {message}" for place, message in zip(places[1:], told[1:], strict=False)]
        if len(faults) > MOST_SHOWN:
            more.append(f"{self._path}: and {len(faults) - MOST_SHOWN} more things that are wrong with it")
        line = faults[0].lines[0] if faults[0].lines else None
        remedies = [fault.remedy for fault in faults if fault.remedy is not None]
        raise InputError("\n".join([told[0], *more]), path=self._path, line=line, remedies=remedies)


def _told(fault: _Fault) -> str:
    name, cell, elsewhere = repr(fault.column), shown(fault.cell), fault.elsewhere
    if fault.told:
        return fault.told.replace("{}", elsewhere)
    look = look_of(fault.cell)
    if look is not None and fault.kind == look.what:
        return f"{cell} in {name} is not a number but looks like {look.what}{elsewhere}; write {look.write}"
    written = f" but {cell}" if fault.cell else ""
    return {
        MISSING: f"no value for {name}{written}{elsewhere}; fill it in, take out the row, or set "
        "task.missing: drop or impute",
        NOT_FINITE: f"{cell} in {name} is not finite{elsewhere}; correct it, or take out the row",
        LARGE: f"{cell} in {name} is beyond {LARGEST:g}{elsewhere}: squares and products of such numbers "
        "overflow; give the column in another unit",
        POINT: f"{cell} in {name} has a decimal point{elsewhere}, where decimals are written with a comma; "
        "write all in one way, or set task.decimal",
        TEXT: f"{cell} in {name} is not a number{elsewhere}; correct it, or leave the column out with "
        "task.exclude",
        DATE: f"{cell} in {name} is no date of the format that task.dates gives{elsewhere}; correct one "
        "of them",
    }[fault.kind]
