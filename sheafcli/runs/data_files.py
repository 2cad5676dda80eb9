"""The files that a run reads: their hashes when it began, and whether they are still there and the same."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sheafcli.config.document import dotted
from sheafcli.config.load import FILE_KEYS, read_document
from sheafcli.errors import InputError
from sheafcli.runs.directory import RunDirectory

TASK_PATH = "task.path"
SHOWN_DIGITS = 12


def data_hashes(run: RunDirectory) -> dict[str, str]:
    """Return the SHA-256 of every file that a run's configuration names, by its key, such as task.path."""
    return {key: sha256(path) for key, path in _files(run).items() if path.is_file()}


def check_unchanged(run: RunDirectory) -> None:
    """Raise InputError if a file is not what it was when the run began: it cannot go on with another."""
    recorded = _recorded(run)
    for key, path in _files(run).items():
        if change := _change(recorded.get(key), path, sha256):
            raise InputError(
                f"the file ({key}) {change}, so the run in {run.path} cannot go on from where it was: "
                "bring back the file as it was, or begin the run anew with --overwrite",
                path=path,
            )


def changed_data(run: RunDirectory) -> tuple[str, ...]:
    """Say that the data of a run is not what it was when the run began; nothing where it is, or is gone."""
    try:
        path = _files(run).get(TASK_PATH)
    except InputError:  # a configuration that is damaged, of which a report shows the text
        return ()
    return () if path is None else changes(run.manifest(), path, sha256)


def changes(manifest: Mapping[str, Any], path: Path, digest: Callable[[Path], str]) -> tuple[str, ...]:
    """Say that the file at `path` is not the data that a run's manifest has the hash of.

    `digest` hashes a file, SHA-256 in hexadecimal digits: of many runs it may remember what it hashed.
    """
    change = _change(_hashes(manifest).get(TASK_PATH), path, digest)
    return (f"{path}: the data {change}; the network was made for what it was",) if change else ()


def check_data_is_there(run: RunDirectory) -> None:
    """Raise InputError if the file that a run reads its data from is gone."""
    path = _files(run).get(TASK_PATH)
    if path is not None and not path.is_file():
        raise InputError(
            f"the data of the run in {run.path} is gone: bring it back, or write its new place into "
            f"task.path of {run / 'config.yaml'}; `sheaf diagnose {run.path} --data FILE.npz` looks at other "
            "samples",
            path=path,
        )


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(run: RunDirectory) -> dict[str, Path]:
    """Return the files that a run's configuration names, whether they are there or not."""
    found = {}
    value = read_document(run / "config.yaml").value
    for place, words in FILE_KEYS.items():
        section, key = place
        holder = value.get(section)
        given = holder.get(key) if isinstance(holder, dict) else None
        if isinstance(given, str) and given not in words:
            found[dotted(place)] = run.path / given
    return found


def _recorded(run: RunDirectory) -> Mapping[str, Any]:
    return _hashes(run.manifest())


def _hashes(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    recorded = manifest.get("data")
    return recorded if isinstance(recorded, dict) else {}


def _change(recorded: Any, path: Path, digest: Callable[[Path], str]) -> str | None:
    """Say how a file differs from its recorded hash; None if it does not, or nothing can be said."""
    if not isinstance(recorded, str) or not path.is_file() or (now := digest(path)) == recorded:
        return None
    then, now = (f"{digits[:SHOWN_DIGITS]}..." for digits in (recorded, now))
    return f"has changed since the run began (SHA-256 {then} then, {now} now)"
