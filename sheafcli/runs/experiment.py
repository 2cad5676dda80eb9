"""From a configuration to the objects of a run: data, start network, training methods."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import dropwhile
from pathlib import Path
from typing import Any

import numpy as np

from sheafcli.config import Config, error_at, load_config
from sheafcli.config.architecture import Unbuildable, build, has_dropout
from sheafcli.config.document import KeyPath, dotted
from sheafcli.config.schema import NetworkSpec
from sheafcli.config.section import Section
from sheafcli.config.training import DescentSpec, EquilibriumSpec, ImplicitSpec, PatienceSpec, StopSpec
from sheafcli.core.chain.cochain import Cochain
from sheafcli.core.chain.network import Network
from sheafcli.core.network import AnyNetwork, check_samples
from sheafcli.core.training.backprop import Backprop
from sheafcli.core.training.cost import Cost
from sheafcli.core.training.descent import StopWhen
from sheafcli.core.training.equilibrium import Equilibrium
from sheafcli.core.training.fit import Data
from sheafcli.core.training.heat import Heat
from sheafcli.core.training.implicit import Implicit
from sheafcli.core.training.optimizers import OPTIMIZERS
from sheafcli.core.training.protocol import MOST_STEPS, Method
from sheafcli.core.types import Array, Shape
from sheafcli.errors import InputError
from sheafcli.interop.networks import read_network, read_stalks
from sheafcli.runs.chains import chain_for
from sheafcli.runs.manifest import form
from sheafcli.tasks import TaskData

DROPOUT = (
    "dropout does nothing here: training is on the network as it predicts, where dropout is not at work; "
    "training.weight_decay is another way to keep weights small"
)
# An implicit step of more operations takes seconds; thousands of steps of a descent take no longer.
MANY_OPERATIONS, OPERATIONS_A_SECOND = 1e10, 1e10


class _Unfit(InputError):
    """A value of the configuration that does not fit the data; `message` says what would."""

    def __init__(self, key: KeyPath, message: str):
        self.key = key
        super().__init__(message)

    def __str__(self) -> str:
        return f"{dotted(self.key)}: {self.message}"


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
    network: AnyNetwork
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
        if config.network.layers is not None and has_dropout(config.network.layers):
            task = replace(task, notes=(*task.notes, DROPOUT))
        network = _start_network(config, task, weights_seed)
        source = config.network.start if isinstance(config.network.start, Path) else None
        check_parts(network, task, source or getattr(config.task, "path", None))
        for name, section in (("training", config.training), ("baseline", config.baseline)):
            _check_patience(name, section, task)
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
        seconds = cost.operations / OPERATIONS_A_SECOND
        slow = (
            f"a step of implicit takes about {cost.operations:.1e} operations, some {seconds:.2g} s, and "
            f"{cost.bytes / 1e9:.2g} GB here, for {cost.unknowns:,} weights and {cost.rows:,} residuals; "
            "equilibrium and backprop with batch_size are the better choice"
        )
        return (*self.task.notes, slow)

    @property
    def data(self) -> Data:
        """The task's arrays as training takes them."""
        task = self.task
        return Data(
            task.X_train, task.y_train, task.X_test, task.y_test, task.X_validation, task.y_validation
        )


def load_data(config: Config) -> TaskData:
    """Load the data of a configuration alone; InputError if it is unusable."""
    task_seed = np.random.SeedSequence(config.seed).spawn(3)[0]
    return config.task.load(task_seed, config.network.output)


def check_parts(network: AnyNetwork, task: TaskData, path: Path | None) -> None:
    """Refuse a network, of the file at `path`, of another task, or in which samples grow out of range."""
    if not fits(network.input_shape, task.shape) or network.n_outputs != task.n_outputs:
        raise InputError(
            f"the network has {_inputs(network.input_shape)} inputs and {network.n_outputs} outputs, "
            f"the run's task {_inputs(task.shape)} and {task.n_outputs}",
            path=path,
        )
    for X, y in ((task.X_train, task.y_train), (task.X_test, task.y_test)):
        try:
            check_samples(network, X, y)
        except ValueError as error:
            raise InputError(str(error), path=path) from error


def fits(network: Shape, data: Shape) -> bool:
    """Tell whether a network whose samples have one shape takes data of another.

    One of the two may be flat, and first axes of length 1 may be left out.
    """
    if 1 in (len(network), len(data)):
        return math.prod(network) == math.prod(data)
    shapes = (list(dropwhile(lambda n: n == 1, shape)) for shape in (network, data))
    return next(shapes) == next(shapes)


def _inputs(shape: Shape) -> str:
    return " x ".join(map(str, shape))


def _start_network(config: Config, task: TaskData, seed: np.random.SeedSequence) -> AnyNetwork:
    spec = config.network
    if spec.layers is not None:
        return _layered(spec, task, seed)
    if spec.start != "he":
        network = read_network(spec.start, task.output)
        if spec.hidden is None:
            return network
    assert spec.hidden is not None
    widths = (task.n_features, *spec.hidden, task.n_outputs)
    if spec.start == "he":
        return Network.he(widths, task.output, seed)
    if not isinstance(network, Network):
        raise InputError(
            f"the start weights are of another network, {form(network)}; the configuration and its task ask "
            f"for widths {list(widths)}",
            path=config.network.start,
        )
    if network.widths != widths:
        raise InputError(
            f"the start weights have widths {list(network.widths)}, "
            f"the configuration and its task ask for {list(widths)}",
            path=config.network.start,
        )
    return network


def _layered(spec: NetworkSpec, task: TaskData, seed: np.random.SeedSequence) -> AnyNetwork:
    """Return the network of a list of layers, with weights of its own or those of a file."""
    shape = spec.input or task.shape
    if math.prod(shape) != task.n_features:
        raise _Unfit(
            ("network", "input"),
            f"{_inputs(shape)} are {math.prod(shape)} numbers, a sample of the data has {task.n_features}",
        )
    try:
        network = build(spec.layers or (), shape, task.n_outputs, task.output, seed)
    except Unbuildable as error:
        raise _Unfit(error.path, str(error)) from None
    if spec.start == "he":
        return network
    start = read_network(spec.start, task.output)
    if not alike(network, start):
        raise InputError(
            f"the start weights are of another network, {form(start)}; the configuration and its task ask "
            f"for {form(network)}",
            path=spec.start,
        )
    return start


def alike(one: AnyNetwork, other: AnyNetwork) -> bool:
    """Tell whether two networks differ in the values of their parameters alone."""
    shapes = []
    for network in (one, other):
        graph = network.graph
        kinds = [
            (vertex.name, type(vertex.operation), vertex.parents, vertex.shape) for vertex in graph.vertices
        ]
        fields = {
            (name, field): array.shape
            for name, parameters in graph.parameters.items()
            for field, array in parameters.items()
        }
        shapes.append((kinds, fields))
    return shapes[0] == shapes[1]


def _training_phase(
    config: Config, task: TaskData, network: AnyNetwork, seed: np.random.SeedSequence
) -> Phase:
    spec = config.training
    if isinstance(spec, DescentSpec):
        return _descent_phase("training", spec, task, network, seed)
    if isinstance(spec, ImplicitSpec):
        _check_memory(Cost.of(network, task.n_train))
        implicit = Implicit(
            **_options(spec, Implicit) | {"stop_when": StopWhen(**_options(spec.stop_when, StopWhen))}
        )
        return Phase("training", implicit, spec.log_every, spec.steps, seed)
    stalks: Any = spec.stalks
    if not isinstance(stalks, str):
        stalks = _start_stalks(stalks, task, network)
    stop_when = StopWhen(patience=spec.stop_when.patience)
    method = Heat(**_options(spec, Heat) | {"stalks": stalks, "stop_when": stop_when})
    _check_pace(method, network, task, seed)
    return Phase("training", method, spec.log_every, spec.steps, seed)


def _check_pace(method: Heat, network: AnyNetwork, task: TaskData, seed: np.random.SeedSequence) -> None:
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


def _check_patience(name: str, section: Section | None, task: TaskData) -> None:
    """Refuse to wait for a lower validation loss where nothing is validated on."""
    stop_when = getattr(section, "stop_when", None)
    waits = isinstance(stop_when, PatienceSpec | StopSpec) and stop_when.patience is not None
    if waits and task.X_validation is None:
        raise _Unfit(
            (name, "stop_when", "patience"),
            "there is no validation part to look at; set task.validation_fraction, or for .npz arrays give "
            "X_validation and y_validation",
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


def _start_stalks(path: Path, task: TaskData, network: AnyNetwork) -> dict[str, Array]:
    stalks = read_stalks(path)
    try:
        found = Cochain.from_stalks(chain_for(network, "a file of start stalks").widths, stalks)
    except ValueError as error:
        raise InputError(str(error), path=path) from error
    if found.n_samples != task.n_train:
        raise InputError(
            f"the start stalks hold {found.n_samples} samples, the task trains on {task.n_train}", path=path
        )
    return stalks


def _descent_phase(
    name: str, spec: DescentSpec, task: TaskData, network: AnyNetwork, seed: np.random.SeedSequence
) -> Phase:
    method = _descent(spec)
    if spec.batch_size is not None and spec.batch_size > task.n_train:
        raise _Unfit((name, "batch_size"), f"must be at most {task.n_train}, the number of training samples")
    log_every = spec.log_steps(method.steps_per_epoch(task.n_train))
    assert log_every is not None
    if method.dtype(network) == np.float32:
        _check_single(name, spec, method, network, task, seed)
    return Phase(name, method, log_every, method.total_steps(task.n_train), seed)


def _check_single(
    name: str,
    spec: DescentSpec,
    method: Backprop | Equilibrium,
    network: AnyNetwork,
    task: TaskData,
    seed: np.random.SeedSequence,
) -> None:
    """Refuse single precision where it does not hold parameters, inputs, or squares of the first gradient."""
    try:
        if not method.start(network, task.X_train, task.y_train, seed).overflows():
            return
        beyond = "squares of the first gradient"
    except OverflowError as error:
        beyond = str(error)
    meant = "that is single for this network; " if spec.precision == "auto" else ""
    raise _Unfit(
        (name, "precision"),
        f"{meant}its numbers end at 3.4e38, and {beyond} go beyond; must be double here, or scale the inputs "
        "and the weights down",
    )


def _descent(spec: DescentSpec) -> Backprop | Equilibrium:
    kind = Equilibrium if isinstance(spec, EquilibriumSpec) else Backprop
    built = {
        "optimizer": OPTIMIZERS[spec.optimizer](spec.learning_rate),
        "stop_when": StopWhen(**_options(spec.stop_when, StopWhen)),
    }
    return kind(**_options(spec, kind) | built)


def _options(section: Section, method: type) -> dict[str, Any]:
    """Return the options of a method as a section of the configuration has them: keys have their names."""
    return {field.name: getattr(section, field.name) for field in fields(method)}
