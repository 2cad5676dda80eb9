"""The run directory: create, append, checkpoint, resume, read."""

from sheafcli.errors import RunFailed
from sheafcli.runs.conduct import conduct
from sheafcli.runs.directory import RunDirectory
from sheafcli.runs.experiment import Experiment

__all__ = ["Experiment", "RunDirectory", "RunFailed", "conduct"]
