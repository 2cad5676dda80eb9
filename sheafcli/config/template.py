"""The configuration a user starts from: every key, its default, and why one would change it."""

from __future__ import annotations

import textwrap

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
# A configuration of `sheaf train`. Every key has its default value, except where there is none:
# put your own there. Keys that keep their default may be deleted. `sheaf validate` checks the file.
"""


def template(kind: str) -> str:
    """Write a commented configuration for a kind of task, valid once the files it names exist.

    Raises
    ------
    InputError
        If there is no such kind of task.
    """
    kinds = tags_of(fields_of(Config)["task"].annotation)
    if kind not in kinds:
        raise InputError(f"no task {kind}; must be {one_of(list(kinds))}{did_you_mean(kind, kinds)}")
    lines = [_HEAD]
    for key, field in fields_of(Config).items():
        if key == "name":
            lines += [*_comment(_explained(field)), f"# name: {kind}"]
        elif models := models_of(field.annotation):
            # Of the ways to train, the template shows the first.
            model = kinds[kind] if key == "task" else models[0]
            variants = one_of(list(tags_of(field.annotation)))
            lines += [*_comment(field.description or ""), f"{key}:"]
            lines += [f"  {line}" for line in _section(model, kind, variants)]
        else:
            lines += [*_comment(_explained(field)), f"{key}: {write_value(field.default)}"]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _section(model: Model, kind: str, variants: str) -> list[str]:
    """Write the keys of a section, of which its discriminator allows `variants`."""
    placeholders = {"path": f"data.{kind}", "target": "y", "hidden": [30]}
    lines: list[str] = []
    for key, field in fields_of(model).items():
        value = placeholders[key] if field.is_required() or key == "hidden" else default_value(field)
        words = variants if key in DISCRIMINATORS else allowed(field)
        lines += [*_comment(_explained(field, words)), f"{key}: {write_value(value)}"]
    return lines


def _explained(field: FieldInfo, words: str = "") -> str:
    return f"{field.description} Allowed: {words or allowed(field)}."


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, width=92, initial_indent="# ", subsequent_indent="# ")
