"""From a configuration file and overrides to a validated configuration."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from sheafcli.config.architecture import layer_problems
from sheafcli.config.document import (
    Document,
    DocumentError,
    KeyPath,
    Origin,
    Problem,
    parse,
    shown,
)
from sheafcli.config.naming import LONGEST, name_from
from sheafcli.config.problems import did_you_mean, found_problems, input_error, problem_at
from sheafcli.config.schema import Config, StartKeyword
from sheafcli.config.training import DEFAULT_METHOD
from sheafcli.config.words import default_value, fields_of, tags_of
from sheafcli.core.training.heat import Start
from sheafcli.errors import InputError

MAX_BYTES = 2**20
"""Larger files are refused unread: a configuration is a page, not a data set."""

FILE_KEYS: dict[KeyPath, tuple[str, ...]] = {
    ("task", "path"): (),
    ("network", "start"): get_args(StartKeyword),
    ("training", "stalks"): get_args(Start),
}
"""Keys that hold the path of a file, with the words that may stand there instead."""


METHOD = ("training", "method")


def load_config(path: Path | str, overrides: Sequence[str] = ()) -> Config:
    """Read, override and validate a configuration.

    Parameters
    ----------
    path : a YAML file of at most 1 MiB, whose stem names the run unless the file does.
        Paths in it are relative to its folder.
    overrides : strings ``a.b=c``, each setting the key ``a.b`` to the YAML value ``c``. Paths in
        them are relative to the current directory.

    Raises
    ------
    InputError
        If anything is wrong; all that is found is listed, each with its line or override.
    """
    path = Path(path)
    document = read_document(path)
    if is_sweep(document):
        raise InputError("this is a sweep, not a configuration; `sheaf sweep` does its runs", path=path)
    apply_overrides(document, overrides)
    if "name" not in document.value:
        name = named_after(path)
        document.replace(("name",), name, Origin(given=name))
    config = validated(document, path)
    if isinstance(config, list):
        raise input_error(config, path)
    return config


def named_after(path: Path, longest: int = LONGEST) -> str:
    """Return the name of what a file describes that does not say it; InputError if none can be made."""
    name = name_from(path.stem, longest)
    if not name:
        raise InputError(
            "no name for the run can be made of the file's; give one in it, such as `name: run`", path=path
        )
    return name


def validated(document: Document, path: Path) -> Config | list[Problem]:
    """Validate a document that was read from `path`: return its configuration, or all that is wrong."""
    missing_files = resolve_paths(document, path)
    try:
        config = Config.model_validate(document.value)
        problems = {}
    except ValidationError as error:
        problems = found_problems(error.errors(include_url=False), document)
    layers = layer_problems(document)
    return [*document.problems, *layers, *{**missing_files, **problems}.values()] or config


def error_at(key: KeyPath, message: str, path: Path | str, overrides: Sequence[str] = ()) -> InputError:
    """Make the error of a value that only the data shows to be wrong, with its line or override.

    `message` says what is allowed; what was given is read from the configuration.
    """
    document = read_document(Path(path))
    apply_overrides(document, overrides)
    origin = document.origin(key)
    return input_error([problem_at(key, f"given {origin.given}; {message}", origin)], Path(path))


def read_document(path: Path, gives: str = "a configuration gives at least `task` and `network`") -> Document:
    """Read a file of keys with values; InputError if it is too large, not text, not YAML, or empty.

    `gives` says what such a file holds, for the error of an empty one.
    """
    text = _read(path)
    try:
        document = parse(text)
    except DocumentError as error:
        raise input_error([error.problem], path) from None
    if not isinstance(document.value, dict):
        raise input_error([_not_a_mapping(document, gives)], path)
    return document


def is_sweep(document: Document) -> bool:
    """Tell the file of a sweep from a configuration: it has a base, and what varies."""
    return "base" in document.value and not {"cross", "zip", "seeds", "folds"}.isdisjoint(document.value)


def apply_overrides(document: Document, overrides: Sequence[str]) -> None:
    """Set keys as strings ``a.b=c`` say; what is wrong with those joins the document's problems."""
    for override in overrides:
        _apply(override, document)


def _read(path: Path) -> str:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise InputError("is not a regular file; give a configuration in YAML", path=path)
        if status.st_size > MAX_BYTES:
            raise InputError(
                f"has {status.st_size} bytes; a configuration has at most {MAX_BYTES}", path=path
            )
        with path.open("rb") as file:
            content = file.read(MAX_BYTES)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"cannot be read: {reason}", path=path) from None
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"is not UTF-8 text: byte 0x{content[error.start]:02x}; save it as UTF-8",
            path=path,
            line=line,
        ) from None


def _not_a_mapping(document: Document, gives: str) -> Problem:
    origin = document.origins.get(())
    if origin is None:
        return Problem(f"is empty; {gives}", 1)
    return Problem(f"given {origin.given}; must be keys with values, as in `seed: 0`", origin.line)


def overridden_key(override: str) -> tuple[str, ...]:
    """Return the key path of an override ``a.b=c``."""
    return tuple(name.strip() for name in override.partition("=")[0].split("."))


def _apply(override: str, document: Document) -> None:
    names = overridden_key(override)
    _, equals, text = override.partition("=")
    if not equals or not all(names):
        message = "must be KEY=VALUE, as in training.steps=1000"
        document.problems.append(Problem(message, override=shown(override)))
        return
    try:
        given = parse(text)
    except DocumentError as error:
        document.problems.append(Problem(error.problem.message, override=shown(override)))
        return
    document.problems += [Problem(p.message, override=shown(override)) for p in given.problems]
    origin = Origin(given=shown(text), override=shown(override))
    if names == METHOD:
        _leave_defaults(document, given.value)
    document.replace(names, given.value, origin)


def _leave_defaults(document: Document, method: Any) -> None:
    """Take out what the file's training has as its method's defaults: another method has its own.

    So a file that holds every key, as `sheaf init` writes it, can be trained by another method. Values that
    are no defaults stay, and are errors where the other method has no such key.
    """
    section = document.value.get(METHOD[0])
    specs = tags_of(Config.model_fields[METHOD[0]].annotation)
    before = section.get(METHOD[1], DEFAULT_METHOD) if isinstance(section, dict) else None
    if not isinstance(before, str) or before == method or before not in specs:
        return
    defaults = {key: default_value(field) for key, field in fields_of(specs[before]).items()}
    for key in [key for key, value in section.items() if key in defaults and key != METHOD[1]]:
        place = (METHOD[0], key)
        if document.origin(place).override is None and section[key] == defaults[key]:
            document.remove(place)


def resolve_paths(document: Document, path: Path) -> dict[KeyPath, Problem]:
    """Make the paths of files absolute, and say which files are missing.

    They are relative to the folder of the file that gives them: that at `path` unless they are another's.
    """
    problems = {}
    for place, words in FILE_KEYS.items():
        section, key = place
        holder = document.value.get(section)
        given = holder.get(key) if isinstance(holder, dict) else None
        origin = document.origin(place)
        if not isinstance(given, str) or given in words:
            continue
        folder = (origin.file or path).parent if origin.override is None else Path()
        file = folder / given
        if os.path.isfile(file):
            document.replace(place, str(file.resolve()), replace(origin, given=given))
        else:
            alternatives = f"{', '.join(words)} or " if words else ""
            message = (
                f"no file {shown(os.path.abspath(file), 300)}; must be {alternatives}"
                f"the path of a file{did_you_mean(given, words)}"
            )
            problems[place] = problem_at(place, message, origin)
    return problems
