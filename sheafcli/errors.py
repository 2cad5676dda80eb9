"""What a command ends with: an error that the user can mend, or a run that failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Remedy:
    """A key of a table's task that would mend an error: what a program can follow of its advice.

    `column` is what joins the list or mapping of that key, with the format of its dates in `value`; for
    missing values `value` alone is set. `why` says what is wrong with a column that is to be left out.
    """

    key: Literal["exclude", "categories", "dates", "missing"]
    column: str = ""
    value: str = ""
    why: str = ""


class InputError(Exception):
    """Something the user gave is wrong: a file, a value, an option.

    `message` says what was given and what is allowed; `path` and `line` (from 1) say where, when the
    place is a file. The command line prints it as ``FILE:LINE: message`` on standard error and exits
    with status 2. `remedies` are those of its advice that a program can follow.
    """

    def __init__(
        self,
        message: str,
        *,
        path: Path | str | None = None,
        line: int | None = None,
        remedies: Sequence[Remedy] = (),
    ):
        self.message = message
        self.remedies = tuple(remedies)
        self.path = Path(path) if path is not None else None
        self.line = line
        super().__init__(str(self))

    def __str__(self) -> str:
        if self.path is None:
            return self.message
        place = str(self.path) if self.line is None else f"{self.path}:{self.line}"
        return f"{place}: {self.message}"


class RunFailed(Exception):
    """A run ended early: it diverged, or its files could not be written. The directory says more."""
