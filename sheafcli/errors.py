"""What a command ends with: an error that the user can mend, or a run that failed."""

from __future__ import annotations

from pathlib import Path


class InputError(Exception):
    """Something the user gave is wrong: a file, a value, an option.

    `message` says what was given and what is allowed; `path` and `line` (from 1) say where, when the
    place is a file. The command line prints it as ``FILE:LINE: message`` on standard error and exits
    with status 2.
    """

    def __init__(self, message: str, *, path: Path | str | None = None, line: int | None = None):
        self.message = message
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
