"""A network under study, named on the command line by its run directory or by a configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sheafcli.core.network import Network
from sheafcli.runs.directory import RunDirectory
from sheafcli.runs.experiment import Experiment, check_parts
from sheafcli.tasks import TaskData


@dataclass(frozen=True, eq=False)
class Subject:
    """A network with the data of its task: of a run, as trained; of a configuration, as it would start."""

    name: str
    network: Network
    task: TaskData
    seed: int
    run: RunDirectory | None

    @classmethod
    def load(cls, path: Path) -> Subject:
        """Load the run at a directory, or else the configuration at a file."""
        if path.is_dir() or path.suffix not in (".yaml", ".yml"):
            run = RunDirectory.existing(path)
            experiment = Experiment.load(run / "config.yaml")
            network = run.network()
            check_parts(network, experiment.task, run / "network.npz")
            return cls(experiment.config.name, network, experiment.task, experiment.config.seed, run)
        experiment = Experiment.load(path)
        config = experiment.config
        return cls(config.name, experiment.network, experiment.task, config.seed, None)
