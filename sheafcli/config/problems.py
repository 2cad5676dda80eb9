"""From what validation found to what a user reads: key, line, what was given, what is allowed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from pydantic_core import ErrorDetails

from sheafcli.config.document import Document, KeyPath, Origin, Problem, dotted
from sheafcli.config.schema import Config
from sheafcli.config.words import (
    DISCRIMINATORS,
    Model,
    allowed,
    choices_of,
    describe,
    discriminator,
    fields_of,
    item_of,
    models_of,
    tags_of,
)
from sheafcli.errors import InputError

_MAX_SHOWN = 20


def found_problems(errors: Iterable[ErrorDetails], document: Document) -> dict[KeyPath, Problem]:
    """Make one problem of the complaints of validation about each key."""
    problems: dict[KeyPath, Problem] = {}
    for error in errors:
        place = _find(error)
        # A union complains once for each of its alternatives, and each time in the same words.
        origin = document.origin(place.path)
        # What stands nowhere is missing under the key that should hold it.
        is_given = place.path in document.origins
        problems[place.path] = _problem(error, place, origin if is_given else origin.of_key())
    return problems


def problem_at(path: KeyPath, message: str, origin: Origin) -> Problem:
    """Make a problem with the value at `path`."""
    return Problem(f"{dotted(path)}: {message}", origin.line, origin.override, origin.file)


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Ask for the nearest known name, if one is near."""
    nearest = get_close_matches(given, list(known), n=1)
    return f"; did you mean {nearest[0]}?" if nearest else ""


def input_error(problems: Iterable[Problem], path: Path) -> InputError:
    """Make one error of all problems: the first at its line, each other on a line of its own.

    They stand in the order of the file; those without a line in it come last.
    """
    ordered = sorted(problems, key=lambda problem: problem.line or float("inf"))
    errors = [_single(problem, path) for problem in ordered]
    first, *rest = errors[:_MAX_SHOWN]
    lines = [first.message, *map(str, rest)]
    if len(errors) > _MAX_SHOWN:
        lines.append(f"{path}: and {len(errors) - _MAX_SHOWN} more problems")
    return InputError("\n".join(lines), path=first.path, line=first.line)


def _single(problem: Problem, path: Path) -> InputError:
    if problem.override is not None:
        return InputError(f"--set {problem.override}: {problem.message}")
    return InputError(problem.message, path=problem.file or path, line=problem.line)


@dataclass(frozen=True)
class _Place:
    """Where validation complains: the key path, and what the schema has there."""

    path: KeyPath = ()
    annotation: Any = Config
    words: str = ""
    known: tuple[str, ...] = ()
    # Of a union told apart by a tag: the tag that was given, and what the other tags stand for.
    tag: str = ""
    others: Mapping[str, Model] = field(default_factory=dict)

    def enter(self, step: str | int) -> _Place:
        """Follow one step of an error's location: a tag of a union, a key or an index."""
        tags, models = tags_of(self.annotation), models_of(self.annotation)
        if tags:
            others = {tag: model for tag, model in tags.items() if tag != step}
            return replace(self, annotation=tags[str(step)], tag=str(step), others=others)
        path = (*self.path, step)
        if models:
            fields = fields_of(models[0])
            if step not in fields:
                return _Place(path, known=tuple(fields), tag=self.tag, others=self.others)
            found = fields[str(step)]
            return _Place(path, found.annotation, allowed(found))
        if isinstance(step, int):
            item = item_of(self.annotation)
            return _Place(path, item, describe(item))
        # What is left is the name that validation gives to an alternative: `constrained-float`.
        return self


def _find(error: ErrorDetails) -> _Place:
    place = _Place()
    for step in error["loc"]:
        place = place.enter(step)
    if error["type"] == "conflict":
        return replace(place, path=(*place.path, *error["ctx"]["key"].split(".")))
    if error["type"].startswith("union_tag"):
        key = discriminator(place.annotation)
        tags = tags_of(place.annotation)
        return _Place((*place.path, key), Literal[*tags], f"one of {', '.join(tags)}")
    return place


def _unknown_key(place: _Place) -> str:
    key, here = str(place.path[-1]), dotted(place.path[:-1]) or "the top level"
    known = f"known here: {', '.join(place.known)}"
    if owners := [tag for tag, model in place.others.items() if key in fields_of(model)]:
        tells_apart = next(key for key in DISCRIMINATORS if key in place.known)
        return f"belongs to {tells_apart} {any_of(owners)}, not to {place.tag}; {known}"
    if sections := _sections_with(key):
        return f"belongs to {' or '.join(sections)}, not to {here}; {known}"
    return f"unknown key{did_you_mean(key, place.known) or f'; {known}'}"


def _sections_with(key: str) -> list[str]:
    sections = {name: models_of(field.annotation) for name, field in fields_of(Config).items()}
    return [name for name, models in sections.items() if any(key in fields_of(model) for model in models)]


def _problem(error: ErrorDetails, place: _Place, origin: Origin) -> Problem:
    path, must = place.path, f"must be {place.words}"
    match error["type"]:
        case "missing" | "union_tag_not_found":
            return problem_at(path, f"missing; {must}", origin.of_key())
        case "extra_forbidden":
            return problem_at(path, _unknown_key(place), origin.of_key())
        case "conflict":
            return problem_at(path, error["ctx"]["message"], origin)
        case "value_error":
            return problem_at(path, f"given {origin.given}; {error['ctx']['error']}", origin)
        case _:
            nearest = did_you_mean(origin.given, choices_of(place.annotation))
            return problem_at(path, f"given {origin.given}; {must}{nearest}", origin)


def any_of(names: list[str]) -> str:
    """Return names as "a", "a or b", "a, b or c"."""
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
