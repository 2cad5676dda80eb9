"""From a configuration to the objects of a run: data, start network, training methods."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sheafcli.config.schema import BaselineSpec, Config, HeatSpec
from sheafcli.core.cochain import Cochain
from sheafcli.core.network import Network
from sheafcli.core.outputs import Array
from sheafcli.core.training.backprop import Backprop
from sheafcli.core.training.fit import Data
from sheafcli.core.training.heat import Heat
from sheafcli.core.training.optimizers import SGD, Adam
from sheafcli.core.training.protocol import Method
from sheafcli.errors import InputError
from sheafcli.interop.networks import read_network, read_stalks
from sheafcli.tasks import TaskData

OPTIMIZERS = {"sgd": SGD, "adam": Adam}


@dataclass(frozen=True, eq=False)
class Phase:
    """One training of a run, "training" or "baseline": a method, its data and its logging."""

    name: str
    method: Method
    log_every: int
    total: int | None
    seed: np.random.SeedSequence


@dataclass(frozen=True, eq=False)
class Experiment:
    """Everything a configuration stands for, loaded and checked: ready to be conducted.

    All randomness derives from `config.seed` by numpy SeedSequence: its children draw, in order, the
    task, the start weights and the stalks.
    """

    config: Config
    task: TaskData
    network: Network
    phases: tuple[Phase, ...]

    @classmethod
    def prepare(cls, config: Config) -> Experiment:
        """Load data and start weights; InputError where they are unusable or do not fit each other."""
        task_seed, weights_seed, stalks_seed = np.random.SeedSequence(config.seed).spawn(3)
        task = config.task.load(task_seed, config.network.output)
        network = _start_network(config, task, weights_seed)
        phases = [_training_phase(config, task, network, stalks_seed)]
        if config.baseline is not None:
            phases.append(_backprop_phase("baseline", config.baseline, stalks_seed))
        return cls(config, task, network, tuple(phases))

    @property
    def data(self) -> Data:
        """The task's arrays as training takes them."""
        return Data(self.task.X_train, self.task.y_train, self.task.X_test, self.task.y_test)


def _start_network(config: Config, task: TaskData, seed: np.random.SeedSequence) -> Network:
    widths = (task.n_features, *config.network.hidden, task.n_outputs)
    if config.network.start == "he":
        return Network.he(widths, task.output, seed)
    network = read_network(config.network.start, task.output)
    if network.widths != widths:
        raise InputError(
            f"the start weights have widths {list(network.widths)}, "
            f"the configuration and its task ask for {list(widths)}",
            path=config.network.start,
        )
    return network


def _training_phase(config: Config, task: TaskData, network: Network, seed: np.random.SeedSequence) -> Phase:
    spec = config.training
    if not isinstance(spec, HeatSpec):
        return _backprop_phase("training", spec, seed)
    method = Heat(
        steps=spec.steps,
        time=spec.time,
        dt=spec.dt,
        alpha=spec.alpha,
        beta=spec.beta,
        stalks=spec.stalks if isinstance(spec.stalks, str) else _start_stalks(spec.stalks, task, network),
        reset_every=spec.reset_every,
        reset_time=spec.reset_time,
    )
    return Phase("training", method, spec.log_every, spec.steps, seed)


def _start_stalks(path: Path, task: TaskData, network: Network) -> dict[str, Array]:
    stalks = read_stalks(path)
    try:
        found = Cochain.from_stalks(network.widths, stalks)
    except ValueError as error:
        raise InputError(str(error), path=path) from error
    if found.n_samples != task.n_train:
        raise InputError(
            f"the start stalks hold {found.n_samples} samples, the task trains on {task.n_train}", path=path
        )
    return stalks


def _backprop_phase(name: str, spec: BaselineSpec, seed: np.random.SeedSequence) -> Phase:
    method = Backprop(spec.epochs, OPTIMIZERS[spec.optimizer](spec.learning_rate))
    return Phase(name, method, spec.log_every, spec.epochs, seed)
