"""All that is wrong with the cells of a table, told at once: each column, what is wrong there, and where."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite, nan
from pathlib import Path

from sheafcli.core.magnitude import LARGEST
from sheafcli.errors import InputError
from sheafcli.tasks.cells import is_number, look_of, may_be_missing, shown

MISSING, TEXT, NOT_FINITE, LARGE, POINT = "missing", "text", "not finite", "large", "point"
"""What may be wrong with a cell; a quantity that is no plain number is told by what it looks like."""

MOST_SHOWN = 20
MOST_LINES = 5


@dataclass
class _Fault:
    """One thing that is wrong in one column: in how many cells, what the first holds, and on which lines."""

    column: str
    kind: str
    cell: str
    count: int = 0
    lines: list[int] = field(default_factory=list)

    @property
    def elsewhere(self) -> str:
        """Say in how many other cells, and where; "" for one cell alone."""
        if self.count == 1:
            return ""
        lines = ", ".join(map(str, self.lines)) + (", ..." if self.count > len(self.lines) else "")
        return f" ({self.count:,} such cells, on lines {lines})"


class Faults:
    """Collects the cells of a table that cannot be used; `check` refuses the table if there are any."""

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
        fault = self._faults.setdefault((column, kind), _Fault(column, kind, cell))
        fault.count += 1
        if fault.count <= MOST_LINES:
            fault.lines.append(line)

    def check(self, n_samples: int) -> None:
        """Raise InputError with all that is at fault, in the order of the file."""
        faults = sorted(self._faults.values(), key=lambda fault: fault.lines[0])
        if not faults:
            return
        told = [f"{self._path}:{fault.lines[0]}: {_told(fault, n_samples)}" for fault in faults[:MOST_SHOWN]]
        if len(faults) > MOST_SHOWN:
            told.append(
                f"{self._path}: and {len(faults) - MOST_SHOWN} more columns with cells that cannot be used"
            )
        first = faults[0]
        message = "\n".join([_told(first, n_samples), *told[1:]])
        raise InputError(message, path=self._path, line=first.lines[0])


def _told(fault: _Fault, n_samples: int) -> str:
    name, cell, elsewhere = repr(fault.column), shown(fault.cell), fault.elsewhere
    look = look_of(fault.cell)
    if look is not None and fault.kind == look.what:
        return f"{cell} in {name} is not a number but looks like {look.what}{elsewhere}; write {look.write}"
    if fault.kind == TEXT and 2 * fault.count > n_samples:
        return (
            f"{name} holds text: {cell} is not a number{elsewhere}; code its values as numbers, or leave the "
            "column out (task.features lists those to use)"
        )
    written = f" but {cell}" if fault.cell else ""
    return {
        MISSING: f"no value for {name}{written}{elsewhere}; fill it in, or take out the row",
        NOT_FINITE: f"{cell} in {name} is not finite{elsewhere}; correct it, or take out the row",
        LARGE: f"{cell} in {name} is beyond {LARGEST:g}{elsewhere}: squares and products of such numbers "
        "overflow; give the column in another unit",
        POINT: f"{cell} in {name} has a decimal point{elsewhere}, where decimals are written with a comma; "
        "write all in one way, or set task.decimal",
        TEXT: f"{cell} in {name} is not a number{elsewhere}; correct it, or leave the column out",
    }[fault.kind]
