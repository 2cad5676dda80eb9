"""Locks on directories: one process at work in each, and nothing left behind when it is killed."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sheafcli.errors import InputError


class Busy(InputError):
    """Another process is at work in a directory."""


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold a directory for this process alone; Busy says that another one is working on `what` in it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Busy(f"another process is working on this {what}", path=path) from error
        yield
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Say whether some process holds a directory; one that was killed holds nothing."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
