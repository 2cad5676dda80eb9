"""From a configuration to the objects of a run: data, start network, training methods."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sheafcli.config import Config, error_at, load_config
from sheafcli.config.training import DescentSpec, EquilibriumSpec, ImplicitSpec
from sheafcli.core.chain.cochain import Cochain
from sheafcli.core.chain.network import Network
from sheafcli.core.chain.reach import check_reach
from sheafcli.core.training.backprop import Backprop
from sheafcli.core.training.descent import StopWhen
from sheafcli.core.training.equilibrium import Equilibrium
from sheafcli.core.training.fit import Data
from sheafcli.core.training.heat import Heat
from sheafcli.core.training.implicit import Cost, Implicit
from sheafcli.core.training.optimizers import OPTIMIZERS
from sheafcli.core.training.protocol import MOST_STEPS, Method
from sheafcli.core.types import Array
from sheafcli.errors import InputError
from sheafcli.interop.networks import read_network, read_stalks
from sheafcli.tasks import TaskData

# An implicit step of more operations takes seconds; thousands of steps of a descent take no longer.
MANY_OPERATIONS = 1e11


class _Unfit(InputError):
    """A value of the configuration that does not fit the data; `message` says what would."""

    def __init__(self, key: tuple[str, str], message: str):
        self.key = key
        super().__init__(message)

    def __str__(self) -> str:
        return f"{'.'.join(self.key)}: {self.message}"


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
    task, the start weights and the stalks, or the order of mini-batches.
    """

    config: Config
    task: TaskData
    network: Network
    phases: tuple[Phase, ...]

    @classmethod
    def load(cls, path: Path | str, overrides: Sequence[str] = ()) -> Experiment:
        """Read a configuration and prepare what it stands for; InputError as `load_config` and `prepare`."""
        try:
            return cls.prepare(load_config(path, overrides))
        except _Unfit as error:
            raise error_at(error.key, error.message, path, overrides) from None

    @classmethod
    def prepare(cls, config: Config) -> Experiment:
        """Load data and start weights; InputError where they are unusable or do not fit each other."""
        _, weights_seed, stalks_seed = np.random.SeedSequence(config.seed).spawn(3)
        task = load_data(config)
        network = _start_network(config, task, weights_seed)
        source = config.network.start if isinstance(config.network.start, Path) else None
        check_parts(network, task, source or getattr(config.task, "path", None))
        phases = [_training_phase(config, task, network, stalks_seed)]
        if config.baseline is not None:
            phases.append(_descent_phase("baseline", config.baseline, task, network, stalks_seed))
        return cls(config, task, network, tuple(phases))

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user ought to know before it begins: of the data, and that a step takes long."""
        if not isinstance(self.config.training, ImplicitSpec):
            return self.task.notes
        cost = Cost.of(self.network, self.task.n_train)
        if cost.operations < MANY_OPERATIONS:
            return self.task.notes
        slow = (
            f"a step of implicit takes about {cost.operations:.1e} operations and {cost.bytes / 1e9:.2g} GB "
            f"here, for {cost.unknowns:,} weights and {cost.rows:,} residuals; equilibrium and backprop with "
            "batch_size are the better choice"
        )
        return (*self.task.notes, slow)

    @property
    def data(self) -> Data:
        """The task's arrays as training takes them."""
        return Data(self.task.X_train, self.task.y_train, self.task.X_test, self.task.y_test)


def load_data(config: Config) -> TaskData:
    """Load the data of a configuration alone; InputError if it is unusable."""
    task_seed = np.random.SeedSequence(config.seed).spawn(3)[0]
    return config.task.load(task_seed, config.network.output)


def check_parts(network: Network, task: TaskData, path: Path | None) -> None:
    """Refuse a network, of the file at `path`, of another task, or in which samples grow out of range."""
    if (network.widths[0], network.widths[-1]) != (task.n_features, task.n_outputs):
        raise InputError(
            f"the network has {network.widths[0]} inputs and {network.widths[-1]} outputs, "
            f"the run's task {task.n_features} and {task.n_outputs}",
            path=path,
        )
    for X, y in ((task.X_train, task.y_train), (task.X_test, task.y_test)):
        try:
            check_reach(network, X, y)
        except ValueError as error:
            raise InputError(str(error), path=path) from error


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
    if isinstance(spec, DescentSpec):
        return _descent_phase("training", spec, task, network, seed)
    if isinstance(spec, ImplicitSpec):
        _check_memory(Cost.of(network, task.n_train))
        stop_when = StopWhen(train_loss=spec.stop_when.train_loss, seconds=spec.stop_when.seconds)
        implicit = Implicit(
            steps=spec.steps, kappa=spec.kappa, weight_decay=spec.weight_decay, stop_when=stop_when
        )
        return Phase("training", implicit, spec.log_every, spec.steps, seed)
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
    _check_pace(method, network, task, seed)
    return Phase("training", method, spec.log_every, spec.steps, seed)


def _check_pace(method: Heat, network: Network, task: TaskData, seed: np.random.SeedSequence) -> None:
    """Refuse automatic steps that a restart cuts short every time, or that do not reach the end some day."""
    if method.dt != "auto" or (method.time is None and method.reset_time is None):
        return
    first, mean = method.start(network, task.X_train, task.y_train, seed).step_sizes()
    if method.reset_time is not None and method.reset_time < first:
        raise _Unfit(
            ("training", "reset_time"),
            f"must be at least {first:.3g}, the first step after a restart here: stalks that restart within "
            "a step never settle",
        )
    if method.time is not None and method.time / mean > MOST_STEPS:
        raise _Unfit(
            ("training", "time"),
            f"takes about {method.time / mean:.1e} steps here, of {mean:.1e} each; at most {MOST_STEPS:.0e} "
            "are begun: scale the inputs and the weights down, or choose a shorter time",
        )


def _check_memory(cost: Cost) -> None:
    """Refuse implicit steps that need more memory than the machine has."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if cost.bytes > memory:
        raise _Unfit(
            ("training", "method"),
            f"a step of implicit solves for {min(cost.unknowns, cost.rows):,} unknowns here, of "
            f"{cost.unknowns:,} weights and {cost.rows:,} residuals, and needs {cost.bytes / 1e9:.2g} GB of "
            f"memory, where this machine has {memory / 1e9:.2g} GB; choose equilibrium or backprop, with "
            "batch_size",
        )


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


def _descent_phase(
    name: str, spec: DescentSpec, task: TaskData, network: Network, seed: np.random.SeedSequence
) -> Phase:
    method = _descent(spec)
    if spec.batch_size is not None and spec.batch_size > task.n_train:
        raise _Unfit((name, "batch_size"), f"must be at most {task.n_train}, the number of training samples")
    log_every = spec.log_steps(method.steps_per_epoch(task.n_train))
    assert log_every is not None
    if spec.precision == "single" and method.start(network, task.X_train, task.y_train, seed).overflows():
        raise _Unfit(
            (name, "precision"),
            "its numbers end at 3.4e38, and squares of the first gradient go beyond; must be double here, or "
            "scale the inputs and the weights down",
        )
    return Phase(name, method, log_every, method.total_steps(task.n_train), seed)


def _descent(spec: DescentSpec) -> Backprop | Equilibrium:
    options: dict[str, Any] = {
        "optimizer": OPTIMIZERS[spec.optimizer](spec.learning_rate),
        "epochs": spec.epochs,
        "steps": spec.steps,
        "schedule": spec.schedule,
        "batch_size": spec.batch_size,
        "weight_decay": spec.weight_decay,
        "stop_when": StopWhen(train_loss=spec.stop_when.train_loss, seconds=spec.stop_when.seconds),
        "precision": spec.precision,
    }
    if isinstance(spec, EquilibriumSpec):
        return Equilibrium(gamma=spec.gamma, **options)
    return Backprop(**options)
