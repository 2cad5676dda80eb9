"""A network under study, named on the command line by its run directory or by a configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sheafcli.core.network import AnyNetwork
from sheafcli.errors import InputError
from sheafcli.runs.data_files import changed_data, check_data_is_there
from sheafcli.runs.directory import RunDirectory
from sheafcli.runs.experiment import Experiment, check_parts
from sheafcli.tasks import TaskData
from sheafcli.tasks.specification import TaskSpecification


@dataclass(frozen=True, eq=False)
class Subject:
    """A network with the data of its task: of a run, as trained; of a configuration, as it would start.

    `specification` is what the configuration says of the data, `notes` what is to be said of it before
    anything else.
    """

    name: str
    network: AnyNetwork
    task: TaskData
    specification: TaskSpecification
    seed: int
    run: RunDirectory | None
    notes: tuple[str, ...]

    @classmethod
    def load(cls, path: Path) -> Subject:
        """Load the run at a directory, or else the configuration at a file."""
        if path.is_dir() or path.suffix not in (".yaml", ".yml"):
            run = RunDirectory.existing(path)
            check_data_is_there(run)
            experiment = Experiment.load(run / "config.yaml")
            config, network = experiment.config, run.network()
            check_run_parts(run, network, experiment.task)
            data, told = experiment.task, config.task
            return cls(config.name, network, data, told, config.seed, run, changed_data(run))
        experiment = Experiment.load(path)
        config = experiment.config
        task = experiment.task
        return cls(config.name, experiment.network, task, config.task, config.seed, None, task.notes)


def check_run_parts(run: RunDirectory, network: AnyNetwork, task: TaskData) -> None:
    """Refuse a network of a run that is of another task, or of other data than is there now."""
    try:
        check_parts(network, task, run / "network.npz")
    except InputError as error:
        if not (changed := changed_data(run)):
            raise
        raise InputError(
            f"{changed[0]}; as it is now, {error.message}: bring the data back, or train the run anew"
        ) from error
