"""From a configuration back to YAML."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from sheafcli.config.document import write
from sheafcli.config.schema import Config
from sheafcli.config.words import fields_of


def dump_config(config: Config) -> str:
    """Write the whole configuration as YAML, defaults filled in.

    `load_config` of this text gives an equal configuration, as long as the files it names exist.
    """
    return write(_plain(config))


def _plain(section: BaseModel) -> dict[str, Any]:
    values = section.model_dump(mode="json")
    for key in values:
        part = getattr(section, key)
        if isinstance(part, BaseModel):
            values[key] = _plain(part)
    return {key: values[key] for key in fields_of(type(section))}
