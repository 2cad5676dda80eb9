"""The runs of a sweep as the exhibits on training read them, and the published figures beside them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sheafcli.config import Config
from sheafcli.core.chain.network import Network
from sheafcli.errors import InputError
from sheafcli.runs.directory import RunDirectory
from sheafcli.runs.experiment import Experiment
from sheafcli.tasks.data import TaskData

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"


def published(key: str) -> Any:
    """Return what the reference implementation found, by its key in published.json."""
    return json.loads((GOLDEN / "published.json").read_text())[key]


@dataclass(frozen=True)
class Run:
    """A run that has ended, by its directory."""

    directory: RunDirectory

    @cached_property
    def config(self) -> Config:
        """Its configuration."""
        return self.directory.config()

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """Its manifest."""
        return self.directory.manifest()

    @cached_property
    def network(self) -> Network:
        """Its trained network."""
        return self.directory.network()

    @cached_property
    def data(self) -> TaskData:
        """Its training and test samples."""
        return Experiment.prepare(self.config).task

    @property
    def task(self) -> str:
        """The name of its task; that of the reference's arrays in tasks_NAME.npz is NAME."""
        task = self.config.task
        return task.path.stem.removeprefix("tasks_") if task.kind == "npz" else task.kind

    @property
    def name(self) -> str:
        """Its task and the widths of its network."""
        return f"{self.task} {list(self.network.widths)}"

    def final(self, key: str) -> float:
        """Return a final figure; infinity where the run has diverged."""
        return np.inf if self.manifest["status"] == "diverged" else float(self.manifest["final"][key])

    def table(self, name: str) -> pd.DataFrame:
        """Return one of its tables."""
        return pd.read_csv(self.directory / name)


def sweep(runs: Path, stem: str) -> list[Run]:
    """Return the runs of a sweep in its order; InputError where one has not come to an end."""
    folders = sorted((runs / stem).glob("[0-9]*"), key=lambda folder: int(folder.name))
    found = [Run(RunDirectory.existing(folder)) for folder in folders]
    if not found:
        raise InputError(
            f"no runs; make them with `sheaf sweep experiments/paper/{stem}.yaml`", path=runs / stem
        )
    for run in found:
        if run.manifest["status"] not in ("finished", "diverged"):
            raise InputError("the run has not ended; finish the sweep first", path=run.directory.path)
    return found


def chosen(runs: Iterable[Run], task: str, widths: Iterable[int]) -> list[Run]:
    """Return the runs of a task and of a network of these widths."""
    return [run for run in runs if run.task == task and run.network.widths == tuple(widths)]
