"""Files that a command keeps beside what it prints: where they cannot be written, the rest is done."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable

import typer

from sheafcli.render.console import remark
from sheafcli.runs import RunDirectory

READ_ONLY = {errno.EACCES, errno.EPERM, errno.EROFS}
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def attempt(write: Callable[[], object]) -> OSError | None:
    """Write files; return the error that says why not if the place is read-only or full, else raise it."""
    try:
        write()
    except OSError as error:
        if error.errno not in READ_ONLY | FULL:
            raise
        return error
    return None


def tell_unwritten(error: OSError) -> None:
    """Say which file was not written, nor those after it; end with status 1 if that is an accident.

    Nobody expects files from a command in a directory that is another's, but from one on a full disk.
    """
    remark(
        f"note: not written: {error.filename} ({error.strerror}), nor what comes after it; all else is above"
    )
    if error.errno in FULL:
        raise typer.Exit(1)


def wants_figures(run: RunDirectory, names: Iterable[str], *, asked: bool) -> bool:
    """Return whether to draw pictures: if they are asked for, or there already and would be out of date."""
    return asked or any((run.figures / f"{name}.png").exists() for name in names)
