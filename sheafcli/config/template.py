"""The configuration a user starts from: every key, its default, and why one would change it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pydantic.fields import FieldInfo

from sheafcli.config.document import write_value
from sheafcli.config.problems import did_you_mean
from sheafcli.config.schema import Config
from sheafcli.config.words import (
    DISCRIMINATORS,
    Model,
    allowed,
    default_value,
    fields_of,
    models_of,
    one_of,
    tags_of,
)
from sheafcli.errors import InputError

_HEAD = """\
# A configuration of `sheaf train`. Keys that keep their default value may be deleted.
# `sheaf validate` checks the file.
"""


BEST, PUBLISHED = "implicit", "heat"
"""The method that trains best, which a template shows unless told otherwise, and the paper's, beside it."""

PUBLISHED_TRAINING = "The paper's own training, in place of the section above; it takes many more steps:"


def template(
    kind: str, method: str = BEST, values: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
) -> str:
    """Write a commented configuration for a kind of task and a method of training.

    `values` are keys by section in place of their defaults. It is valid once the files it names exist. Where
    the method is not the paper's, that stands beside it as a comment.

    Raises
    ------
    InputError
        If there is no such kind of task, or no such method.
    """
    kinds, methods = (tags_of(fields_of(Config)[key].annotation) for key in ("task", "training"))
    for what, given, known in (("task", kind, kinds), ("method", method, methods)):
        if given not in known:
            raise InputError(f"no {what} {given}; must be {one_of(list(known))}{did_you_mean(given, known)}")
    chosen = {"task": kinds[kind], "training": methods[method]}
    lines = [_HEAD]
    for key, field in fields_of(Config).items():
        if key == "name":
            lines += [*_comment(_explained(field)), f"# name: {kind}"]
        elif models := models_of(field.annotation):
            lines += _comment(field.description or "")
            if not field.is_required() and field.default is None:  # what only some want, and takes time
                lines += _commented(key, models[0])
            else:
                variants = one_of(list(tags_of(field.annotation)))
                section = _section(chosen.get(key, models[0]), kind, variants, values.get(key, {}))
                lines += [f"{key}:", *(f"  {line}" for line in section)]
        else:
            lines += [*_comment(_explained(field)), f"{key}: {write_value(field.default)}"]
        if key == "training" and method != PUBLISHED:
            lines += ["", *_comment(PUBLISHED_TRAINING), *_commented(key, methods[PUBLISHED])]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _commented(key: str, model: Model) -> list[str]:
    """Write a section with its defaults as a comment, without explanations."""
    defaults = {name: default_value(field) for name, field in fields_of(model).items()}
    rows = [f"  {name}: {write_value(value)}" for name, value in defaults.items() if value is not None]
    return [f"# {line}" for line in [f"{key}:", *rows]]


def _section(model: Model, kind: str, variants: str, values: Mapping[str, Any]) -> list[str]:
    """Write the keys of a section, of which its discriminator allows `variants`."""
    given = {"path": f"data.{kind}", "target": "y", "hidden": [30]} | dict(values)
    lines: list[str] = []
    for key, field in fields_of(model).items():
        own = key in values or key == "hidden" or field.is_required()
        value = given[key] if own else default_value(field)
        words = variants if key in DISCRIMINATORS else allowed(field)
        lines += [*_comment(_explained(field, words)), f"{key}: {write_value(value)}"]
    return lines


def _explained(field: FieldInfo, words: str = "") -> str:
    return f"{field.description} Allowed: {words or allowed(field)}."


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, width=92, initial_indent="# ", subsequent_indent="# ")
