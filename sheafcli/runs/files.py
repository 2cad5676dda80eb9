"""Files that appear whole or not at all, and tables that grow by whole rows."""

from __future__ import annotations

import csv
import fcntl
import io
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sheafcli.errors import InputError

# What a run logs: nothing, a number, or the name of an operation or an edge.
VALUE = re.compile(r"|-?\d+(\.\d*)?(e[+-]?\d+)?|-?inf|nan|[a-z]+(_\d+)?")


def temporary_of(path: Path) -> Path:
    """Return the file that becomes `path`; it stays behind only where a process was killed."""
    return path.with_name(f".{path.name}.tmp")


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it; on failure nothing is left.

    Of two processes that write the same file one waits for the other.
    """
    temporary = temporary_of(path)
    try:
        with _alone(temporary) as file:
            try:
                write(file)
                file.flush()
                os.fsync(file.fileno())
                temporary.replace(path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise


def _alone(temporary: Path) -> BinaryIO:
    """Open a temporary file, emptied, once no other process holds it."""
    while True:
        file = os.fdopen(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), "r+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.path.samestat(os.fstat(file.fileno()), temporary.stat()):
                file.truncate()
                return file
        except FileNotFoundError:  # as below
            pass
        except BaseException:
            file.close()
            raise
        file.close()  # another process has made what it wrote of it: begin anew


def write_text(path: Path, text: str) -> None:
    """Write a text file whole."""
    write_whole(path, lambda file: file.write(text.encode()))


def write_npz(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write an .npz file whole; equal arrays give equal bytes."""
    write_whole(path, lambda file: np.savez(file, **arrays))


def csv_line(values: Iterable[object]) -> str:
    """Return one CSV row; numbers are written so that they read back exactly, None as nothing."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow("" if value is None else value for value in values)
    return line.getvalue()


class GrowingTable:
    """A CSV file that gains whole rows: one write a batch, taken back if it does not fit the disk.

    Rows may have more than the file has columns for: what has none is left out.
    """

    def __init__(self, path: Path, columns: Sequence[str]):
        self.path, self.columns = path, tuple(columns)

    def begin(self) -> None:
        """Start the file anew with its header."""
        write_text(self.path, csv_line(self.columns))

    def append(self, rows: Iterable[Mapping[str, object]]) -> None:
        """Add rows, each a mapping from column to value."""
        text = "".join(csv_line(row[column] for column in self.columns) for row in rows)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        try:
            size = os.fstat(descriptor).st_size
            left = memoryview(text.encode())
            try:
                while left:
                    left = left[os.write(descriptor, left) :]
            except OSError as error:
                os.ftruncate(descriptor, size)
                error.filename = str(self.path)
                raise
        finally:
            os.close(descriptor)

    def keep_until(self, step: int) -> None:
        """Drop the rows after a step (the first column), and a last row that was cut short.

        A file that an earlier version began, with some of the columns, goes on with those.
        InputError at the first line of the others that no run writes: who looks at the table would fail.
        """
        kept, number = [], 1
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
            self.columns = self._begun(lines)
            for number, row in enumerate(lines[1:], start=2):  # noqa: B007  # told below
                if not row.endswith("\n"):
                    break
                first, *others = row.rstrip("\n").split(",")
                if len(others) + 1 != len(self.columns) or not all(map(VALUE.fullmatch, others)):
                    raise ValueError(row)
                if int(first) <= step:
                    kept.append(row)
        except (OSError, ValueError) as error:
            raise InputError(
                "the table is damaged; take this line out, or start again with --overwrite",
                path=self.path,
                line=number,
            ) from error
        write_text(self.path, "".join([csv_line(self.columns), *kept]))

    def _begun(self, lines: Sequence[str]) -> tuple[str, ...]:
        """Return the columns with which a file was begun; all of them where its header is not whole."""
        if not (lines and lines[0].endswith("\n")):
            return self.columns
        begun = tuple(lines[0].rstrip("\n").split(","))
        if begun[0] != self.columns[0] or not set(begun) <= set(self.columns):
            raise ValueError(lines[0])
        return begun
