"""YAML to a validated specification of a run, with the line of every error, and back."""

from sheafcli.config.dump import dump_config
from sheafcli.config.load import error_at, load_config
from sheafcli.config.schema import Config
from sheafcli.config.sweep import Sweep, SweepRun
from sheafcli.config.sweep_file import load_sweep

__all__ = ["Config", "Sweep", "SweepRun", "dump_config", "error_at", "load_config", "load_sweep"]
