"""What all sections of a configuration have in common."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0)]
# Strict validation knows no way from text to a path; this is the one conversion allowed.
FilePath = Annotated[Path, Field(strict=False)]


class Section(BaseModel):
    """A mapping of the configuration: immutable, no unknown keys, no conversions, no NaN."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)


def option(method: type, name: str, description: str) -> Any:
    """Make the field of an option of a training method: its default is the method's own."""
    (default,) = (field.default for field in fields(method) if field.name == name)
    return Field(default=default, description=description)


def conflict(key: str, message: str) -> PydanticCustomError:
    """Make an error between several keys, to be shown at one: dotted, from the section on."""
    return PydanticCustomError("conflict", "{message}", {"key": key, "message": message})
