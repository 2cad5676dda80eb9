"""What a key allows, in plain words read off its type: for the reference and for errors."""

from __future__ import annotations

import types
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sheafcli.config.document import write_value

Model: TypeAlias = type[BaseModel]

DISCRIMINATORS = ("kind", "method")
"""The keys that say which of several models a section is."""

_NOUNS = {str: "text", bool: "true or false", type(None): "null", Path: "the path of a file"}


def fields_of(model: Model) -> dict[str, FieldInfo]:
    """List the fields of a section as people read them: first the one that says what it is."""
    fields = model.model_fields
    return {key: fields[key] for key in sorted(fields, key=lambda key: key not in DISCRIMINATORS)}


def allowed(field: FieldInfo) -> str:
    """Say what may be given for a field of a model."""
    return _own_words(field, "allowed") or describe(field.annotation, field.metadata)


def default(field: FieldInfo) -> str:
    """Say what a field is when it is left out, in YAML unless in its own words."""
    if words := _own_words(field, "default"):
        return words
    return "required" if field.is_required() else f"`{write_value(default_value(field))}`"


def default_value(field: FieldInfo) -> Any:
    """Return what a field that may be left out is then, in plain values."""
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return value.model_dump()
    return dict(value) if isinstance(value, dict) else value


def describe(annotation: Any, constraints: Sequence[Any] = ()) -> str:
    """Say what a type with its constraints allows: ``a finite number above 0, or auto``."""
    annotation, own = unwrap(annotation)
    constraints = [*constraints, *own]
    kind = get_origin(annotation) or annotation
    if members := alternatives(annotation):
        if tags := tags_of(annotation):
            return f"a mapping whose {discriminator(annotation)} is one of {', '.join(tags)}"
        words = ", or ".join(describe(member, constraints) for member in members)
    elif kind is Literal:
        words = one_of(choices_of(annotation))
    elif kind in (list, tuple):
        item = describe(get_args(annotation)[0]).replace(", or ", " or ")
        words = f"a list{_size(constraints)}, each item {item}"
    elif kind in (int, float):
        words = ("an integer" if kind is int else "a finite number") + _range(constraints)
    elif isinstance(kind, type) and issubclass(kind, BaseModel):
        words = f"a mapping of {', '.join(fields_of(kind))}"
    else:
        words = _NOUNS[kind]
    return words


def choices_of(annotation: Any) -> list[str]:
    """List all literal texts among what a type allows."""
    annotation, _ = unwrap(annotation)
    if get_origin(annotation) is Literal:
        return [choice for choice in get_args(annotation) if isinstance(choice, str)]
    return [text for member in alternatives(annotation) for text in choices_of(member)]


def models_of(annotation: Any) -> list[Model]:
    """List the models among a type and its alternatives: the sections that may stand there."""
    annotation, _ = unwrap(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for member in alternatives(annotation) for model in models_of(member)]


def item_of(annotation: Any) -> Any:
    """Find the type of the items of the list among a type and its alternatives, or None."""
    annotation, _ = unwrap(annotation)
    if get_origin(annotation) in (list, tuple):
        return get_args(annotation)[0]
    items = (item_of(member) for member in alternatives(annotation))
    return next((item for item in items if item is not None), None)


def discriminator(annotation: Any) -> str:
    """Name the key that tells the models of a union apart."""
    fields = models_of(annotation)[0].model_fields
    return next(key for key in DISCRIMINATORS if key in fields)


def tags_of(annotation: Any) -> dict[str, Model]:
    """Map each value of the discriminator to its model; empty unless there are several models."""
    models = models_of(annotation)
    if len(models) < 2:
        return {}
    key = discriminator(annotation)
    return {tag: model for model in models for tag in choices_of(model.model_fields[key].annotation)}


def alternatives(annotation: Any) -> tuple[Any, ...]:
    """List the members of a union; nothing for any other type."""
    is_union = get_origin(annotation) in (Union, types.UnionType)
    return get_args(annotation) if is_union else ()


def unwrap(annotation: Any) -> tuple[Any, list[Any]]:
    """Split a type from the constraints that ``Annotated`` attaches to it."""
    if get_origin(annotation) is not Annotated:
        return annotation, []
    bare, *metadata = get_args(annotation)
    nested = (item.metadata if isinstance(item, FieldInfo) else [item] for item in metadata)
    return bare, [constraint for items in nested for constraint in items]


def _own_words(field: FieldInfo, about: str) -> str:
    """Look up what a field says of itself where its type does not tell."""
    extra = field.json_schema_extra
    return str(extra.get(about, "")) if isinstance(extra, dict) else ""


def one_of(choices: Sequence[str]) -> str:
    """Say that one of several words may stand."""
    return "".join(choices) if len(choices) < 2 else f"one of {', '.join(choices)}"


def _bound(constraints: Sequence[Any], name: str) -> Any:
    """Find the value of a constraint such as ``ge``, or None."""
    values = (getattr(constraint, name, None) for constraint in constraints)
    return next((value for value in values if value is not None), None)


def _size(constraints: Sequence[Any]) -> str:
    most = _bound(constraints, "max_length")
    return "" if most is None else f" of at most {most} items"


def _range(constraints: Sequence[Any]) -> str:
    least, most = _bound(constraints, "ge"), _bound(constraints, "le")
    above, below = _bound(constraints, "gt"), _bound(constraints, "lt")
    if least is not None and most is not None:
        return f" from {least} to {most}"
    bounds = {"of at least": least, "above": above, "of at most": most, "below": below}
    parts = [f"{words} {value}" for words, value in bounds.items() if value is not None]
    return f" {' and '.join(parts)}" if parts else ""
