"""Locks on directories: one process at work in each, and nothing left behind when it is killed."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sheafcli.errors import InputError

SECOND_ATTEMPT_SECONDS = 0.02


class Busy(InputError):
    """Another process is at work in a directory."""


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold a directory for this process alone; Busy says that another one is working on `what` in it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        try:
            _lock(descriptor)
        except BlockingIOError as error:
            raise Busy(f"another process is working on this {what}", path=path) from error
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    """Lock a file at the second attempt at last: who only looks, by `is_locked`, holds it for a moment."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        time.sleep(SECOND_ATTEMPT_SECONDS)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


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
