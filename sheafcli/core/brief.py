"""How objects that hold options show themselves: on one line, with what was chosen."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any

import numpy as np


def brief(options: Any) -> str:
    """Return Name(field=value, ...) of a dataclass: what is no default, and of an array its shape."""
    told = []
    for field in fields(options):
        value = getattr(options, field.name)
        default = field.default if field.default_factory is MISSING else field.default_factory()
        if isinstance(value, np.ndarray) or value != default:
            told.append(f"{field.name}={_shown(value)}")
    return f"{type(options).__name__}({', '.join(told)})"


def _shown(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"array of shape {value.shape}"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key!r}: {_shown(item)}' for key, item in value.items())}}}"
    return " ".join(repr(value).split())
