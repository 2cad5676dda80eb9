"""YAML to a validated specification of a run, with the line of every error, and back."""

from sheafcli.config.dump import dump_config
from sheafcli.config.load import error_at, load_config
from sheafcli.config.schema import Config

__all__ = ["Config", "dump_config", "error_at", "load_config"]
