"""The reference of every key of a configuration, read off the schema."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

from pydantic.fields import FieldInfo

from sheafcli.config.layers import LAYERS, PLAIN
from sheafcli.config.schema import Config
from sheafcli.config.words import (
    Model,
    allowed,
    default,
    discriminator,
    fields_of,
    models_of,
    tags_of,
)


def reference() -> str:
    """Write the Markdown reference: a table of keys for the top level and for each section."""
    sections = {key: field for key, field in fields_of(Config).items() if _is_section(field)}
    parts = ["## Top level", _table(Config, sections)]
    for key, field in sections.items():
        parts += [f"## `{key}`", f"{field.description} {_when_left_out(field)}"]
        if variants := tags_of(field.annotation):
            tell_apart = discriminator(field.annotation)
            for tag, model in variants.items():
                parts += [
                    f"### `{tell_apart}: {tag}`",
                    _summary(model),
                    _table(model, [tell_apart]),
                ]
        else:
            parts += [_table(model) for model in models_of(field.annotation)]
        if key == "network":
            parts += _layers()
    return "\n\n".join(parts) + "\n"


def _layers() -> list[str]:
    """Describe the layers of a network: those without options in a line, the others with a table each."""
    without = ", ".join(f"`{name}`" for name in PLAIN)
    parts = [
        "### `network.layers`",
        "Each item is one layer: its name, or its name with options. Where one option is marked as the main "
        "one, its value may stand alone: `dense: 64` is `dense: {units: 64}`. Activations without options: "
        f"{without}.",
    ]
    for name, model in LAYERS.items():
        if name not in PLAIN:
            main = getattr(model, "main", None)
            alone = f" Its main option is `{main}`." if main else ""
            parts.append(f"#### `{name}`\n\n{_summary(model)}{alone}")
            parts += [_table(model)] if fields_of(model) else []
    return parts


def _is_section(field: FieldInfo) -> bool:
    return bool(models_of(field.annotation))


def _when_left_out(field: FieldInfo) -> str:
    if field.is_required():
        return "Required."
    if field.default_factory is not None:
        return "Left out, every key has its default."
    return "Left out, there is none."


def _summary(model: Model) -> str:
    return (inspect.getdoc(model) or "").partition("\n\n")[0].replace("\n", " ")


def _table(model: Model, without: Iterable[str] = ()) -> str:
    rows = [("Key", "Allowed", "Default", "Description"), ("---",) * 4]
    for key, field in fields_of(model).items():
        if key not in without:
            rows.append((f"`{key}`", allowed(field), default(field), field.description or ""))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
