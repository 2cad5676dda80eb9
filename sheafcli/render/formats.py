"""How tables are printed."""

from typing import Literal, TypeAlias

Format: TypeAlias = Literal["table", "csv", "json"]
