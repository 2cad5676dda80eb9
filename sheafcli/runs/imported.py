"""A network that was trained elsewhere, made a run: to look at, and to train further."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from sheafcli.config import Config, dump_config, load_config
from sheafcli.config.document import parse, write
from sheafcli.config.naming import name_from
from sheafcli.config.problems import did_you_mean, found_problems
from sheafcli.config.schema import MAX_HIDDEN
from sheafcli.core.chain.network import Network
from sheafcli.core.network import AnyNetwork
from sheafcli.core.outputs import OUTPUTS, output_named
from sheafcli.errors import InputError
from sheafcli.interop.models import Model, read_model
from sheafcli.interop.networks import network_arrays
from sheafcli.interop.onnx_runtime import Difference, difference, few_samples
from sheafcli.runs.assumptions import certain
from sheafcli.runs.constant import doubts
from sheafcli.runs.data_files import data_hashes, sha256
from sheafcli.runs.directory import RunDirectory
from sheafcli.runs.experiment import Experiment, check_parts
from sheafcli.runs.files import write_npz, write_text
from sheafcli.runs.manifest import now, sizes, versions
from sheafcli.runs.matching import matched, meanings
from sheafcli.tasks import TASKS, TaskData

START = "imported.npz"
"""The file in the run directory that config.yaml starts from; training in place leaves it alone."""

TRAINING = {
    "method": "equilibrium",
    "optimizer": "adam",
    "learning_rate": 0.001,  # a tenth of the default: the network is trained already
    "epochs": 100,
    "log_every": 10,
}
"""The training section of config.yaml: how one would train the network further."""

NO_TASK = """\
# Not a whole configuration yet: the network was imported without data, so there is no task. What needs one
# (train, verify, spectrum, diffuse) goes on once there is a section such as
#
#     task: {kind: csv, path: data.csv, target: y}
#
# or when the network is imported again with --data. `sheaf diagnose RUN --data FILE.npz` needs none.
"""

DOUBTFUL = 1e-3
"""A larger difference to ONNX Runtime, as a share of the largest prediction, is said aloud."""

UNSAID = "the file does not say which output function ends the network"


@dataclass(frozen=True, eq=False)
class DataSource:
    """Where data comes from: a task section, the seed that cuts it, the output that it was asked for.

    `standardizes` says that the task shifts and scales its columns although nobody asked for it.
    """

    section: dict[str, Any]
    seed: int = 0
    output: str | None = None
    standardizes: bool = False

    @classmethod
    def named(cls, data: str, targets: Sequence[str]) -> DataSource:
        """Return the data that words on a command line name; InputError if there is none of the kind.

        `data` is a .csv file, of which `targets` are to be predicted; an .npz file; a .yaml configuration;
        or a kind of task that needs no options. Columns are names, or positions if they are integers.
        """
        path = Path(data)
        suffix = path.suffix.lower()
        if targets and suffix != ".csv":
            raise InputError(
                f"--target names columns of a .csv file, and --data {data} is none; leave it out"
            )
        if suffix == ".csv":
            if not targets:
                raise InputError("which column is to be predicted? name it with --target COLUMN", path=path)
            section = {"path": str(path.resolve()), "target": [_column(target) for target in targets]}
            return cls({"kind": "csv"} | section, standardizes=True)
        if suffix == ".npz":
            return cls({"kind": "npz", "path": str(path.resolve())})
        if suffix in (".yaml", ".yml"):
            config = load_config(path)
            task = config.task
            standardizes = "standardize" in set(type(task).model_fields) - task.model_fields_set
            return cls(task.model_dump(mode="json"), config.seed, config.network.output, standardizes)
        kinds = [
            kind
            for kind, task in TASKS.items()
            if not any(field.is_required() for field in task.model_fields.values())
        ]
        if data not in kinds:
            raise InputError(
                f"--data {data}: must be a .csv, .npz or .yaml file, or one of {', '.join(kinds)}"
                f"{did_you_mean(data, kinds)}"
            )
        return cls({"kind": data}, standardizes="standardize" in TASKS[data].model_fields)


@dataclass(frozen=True, eq=False)
class Imported:
    """A network from a model file, checked against its data if there is any, ready to be written as a run.

    Attributes
    ----------
    name : the name of the run.
    network : with the output function that the file says, or else the one asked for, or else the one that
        the data's targets need, or else the identity.
    task : the data, None if none was named.
    configuration : what config.yaml is to hold.
    kind : the kind of task, None without data.
    seed : the seed that the data is cut by.
    source : the file: its name, its format and its hash, and the hashes of the files beside it that belong
        to it, by name.
    notes : what was assumed, a sentence each.
    difference : how far its predictions are from ONNX Runtime's; None where that does not run it.
    tensors : the vertices by what the file calls their values.
    """

    name: str
    network: AnyNetwork
    task: TaskData | None
    configuration: str
    kind: str | None
    seed: int
    source: Mapping[str, Any]
    notes: tuple[str, ...]
    difference: Difference | None
    tensors: Mapping[str, str]

    @classmethod
    def read(
        cls,
        path: Path,
        directory: RunDirectory,
        source: DataSource | None = None,
        ending: str | None = None,
        order: Sequence[str] = (),
        *,
        fold: bool = False,
    ) -> Imported:
        """Read a model file for a run in `directory`, without writing anything.

        `ending` is the output function of a file that does not say it, or the output to read of an ONNX graph
        that has several, `order` the modules of a state_dict in their order, `fold` whether the batch
        normalisations of a graph go into its layers. InputError if the file or the data is unusable, or the
        network does not fit the data.
        """
        model = certain(read_model(path, ending, order, fold=fold), path, order)
        chain = model.network if isinstance(model.network, Network) else None
        if chain is not None and (n_hidden := chain.depth) > MAX_HIDDEN:
            raise InputError(
                f"the network has {n_hidden:,} hidden layers, and a run has at most {MAX_HIDDEN}", path=path
            )
        hidden = {} if chain is None else {"hidden": list(chain.widths[1:-1])}
        values: dict[str, Any] = {
            "name": name_from(directory.path.resolve().name) or name_from(path.stem) or "network",
            "seed": 0 if source is None else source.seed,
            "network": hidden | {"output": model.network.output.name},
            "training": TRAINING,
        }
        asked = model.network.output.name if model.says_output or ending in OUTPUTS else None
        notes, task, network = list(model.notes), None, model.network
        if source is None:
            if asked is None:
                notes.append(f"{UNSAID}: identity is assumed")
            notes += meanings(model.features, model.classes, network)
        else:
            values["task"], scaling = _scaled_once(source, model)
            task = _fitting_task(values, directory, model, path, asked or source.output)
            values["network"]["output"] = task.output
            if asked is None:
                notes.append(f"{UNSAID}: it is {task.output}, which the targets ask for")
            try:
                network, matching = matched(model, task)
            except InputError as error:
                raise InputError(error.message, path=path) from error
            check_parts(network, task, path)
            notes += [*task.notes, *scaling, *matching]
        network = replace(network, output=output_named(values["network"]["output"]))
        if task is not None:
            notes += doubts(network, task, model.assumed)
        difference, comparing = _compared(path, model, task)
        notes += comparing
        values["network"]["start"] = START
        config = _checked(values, directory)
        about: dict[str, Any] = {"file": path.name, "format": model.format, "sha256": sha256(path)}
        if model.beside:
            about["beside"] = {str(file.relative_to(path.parent)): sha256(file) for file in model.beside}
        return cls(
            name=values["name"],
            network=network,
            task=task,
            configuration=NO_TASK + write(values) if config is None else dump_config(config),
            kind=None if config is None else config.task.kind,
            seed=values["seed"],
            source=about,
            notes=tuple(notes),
            difference=difference,
            tensors=model.tensors if _in_order(network, model.network) else {},
        )

    @cached_property
    def figures(self) -> dict[str, float | None]:
        """The network's losses and accuracies on its data; nothing without data."""
        task, output = self.task, self.network.output
        found: dict[str, float | None] = {}
        if task is not None:
            parts = {"train": (task.X_train, task.y_train), "test": (task.X_test, task.y_test)}
            for part, (X, y) in parts.items():
                z = self.network.logits(X)
                found |= {f"{part}_loss": output.loss(z, y), f"{part}_accuracy": output.accuracy(z, y)}
        return found

    def write(self, directory: RunDirectory, *, overwrite: bool) -> None:
        """Make the run directory, whole or not at all; another run in it goes only if `overwrite` says so."""
        made = [folder for folder in (directory.path, *directory.path.parents) if not folder.exists()]
        try:
            directory.begin(self.name, self.configuration, overwrite=overwrite)
            with directory.locked():
                try:
                    write_npz(directory / START, network_arrays(self.network))
                    directory.write_network(self.network)
                    if self.tensors:
                        text = json.dumps(dict(self.tensors), indent=0)
                        write_text(directory / "tensors.json", text + "\n")
                    if self.task is not None:
                        directory.write_preprocessing(self.task.preprocessing)
                    directory.write_manifest(self._manifest() | {"data": data_hashes(directory)})
                except BaseException:
                    directory.clear()
                    raise
        except BaseException:
            for folder in made:
                with suppress(OSError):  # it holds files that are not of this run
                    folder.rmdir()
            raise

    def _manifest(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "status": "imported",
            "message": f"imported from {self.source['file']}",
            "task": self.kind,
            "method": "imported",
            "seed": self.seed,
            **sizes(self.network, self.task),
            "ended": now(),
            "versions": versions(),
            "source": dict(self.source),
            "notes": list(self.notes),
            "final": self.figures or None,
            "baseline": None,
        }


def _compared(path: Path, model: Model, task: TaskData | None) -> tuple[Difference | None, list[str]]:
    """Return how far the predictions are from ONNX Runtime's, and what to say of that."""
    if model.interface is None:
        return None, []
    X = few_samples(model.network, None if task is None else task.X_train)
    try:
        found = difference(path, model.interface, model.network, X)
    except ValueError as error:
        return None, [str(error)]
    if found is not None and found.relative > DOUBTFUL:
        return found, [
            f"predictions differ from ONNX Runtime's by {found.relative:.1e} of the largest, more than "
            "rounding usually does: look at both before you rely on this run"
        ]
    return found, []


def _in_order(network: AnyNetwork, of_file: AnyNetwork) -> bool:
    """Tell whether inputs and classes are in the file's order, so that its values are the network's."""
    if not (isinstance(network, Network) and isinstance(of_file, Network)):
        return True
    return all(np.array_equal(network.weights[end], of_file.weights[end]) for end in (0, -1))


def _column(text: str) -> str | int:
    """Return a column as configurations have it: a position if it is written as an integer."""
    return int(text) if text.removeprefix("-").isdecimal() else text


def _scaled_once(source: DataSource, model: Model) -> tuple[dict[str, Any], list[str]]:
    """Return the task's section, so that not both it and the model scale the data, and what to say of it."""
    section = source.section
    if not (model.scales_inputs or model.scales_targets):
        advice = (
            "the data is standardised; if the network was trained on the data as it is, give --data a .yaml "
            "configuration with task.standardize: false"
        )
        return section, [advice] if source.standardizes else []
    scaler = f"the file holds a scaler of the {'inputs' if model.scales_inputs else 'target'}"
    if source.standardizes:
        # A regressor behind a scaler of its inputs predicts the target as it is.
        standardize, what = (False, "data") if model.scales_inputs else ("inputs", "target")
        note = f"the {what} is taken as it is (task.standardize: {str(standardize).lower()})"
        return section | {"standardize": standardize}, [f"{scaler}: {note}"]
    given = section.get("standardize", False)
    if given is True or (given and model.scales_inputs):
        return section, [f"{scaler}, and task.standardize: {str(given).lower()} scales it before that"]
    return section, []


def _fitting_task(
    values: dict[str, Any], directory: RunDirectory, model: Model, path: Path, asked: str | None
) -> TaskData:
    """Load the data with targets encoded for `asked`, or for what fits the network's number of outputs."""
    n_inputs, n_outputs = math.prod(model.network.input_shape), model.network.n_outputs

    def load(output: str | None) -> TaskData:
        # The start weights are not written yet, and He ones do as well to load the data.
        network = values["network"] | {"output": output, "start": "he"}
        network.setdefault("hidden", [])
        config = _checked(values | {"network": network}, directory)
        assert config is not None
        return Experiment.prepare(config).task

    try:
        task = load(asked)
    except InputError as error:
        if asked is None:
            raise
        task = load(None)  # raises the same error, unless it was the output that did not fit
        advice = "" if model.says_output else ", or another --ending"
        raise InputError(
            f"the network ends in {asked}, and the data asks for {task.output} ({error.message}): "
            f"give the data that it was trained on{advice}",
            path=path,
        ) from error
    if asked is None and (task.n_outputs != n_outputs or (model.classes and not task.classes)):
        with suppress(InputError):  # two classes as two outputs, or numbers that are classes
            task = load("softmax" if n_outputs > 1 else "sigmoid")
    if n_inputs != task.n_features:
        raise InputError(
            f"the network takes {n_inputs} inputs, the data has {task.n_features} columns to predict from: "
            "give the data that it was trained on",
            path=path,
        )
    if n_outputs != task.n_outputs:
        raise InputError(
            f"the network gives {n_outputs} outputs, the targets with output {task.output} ask for "
            f"{task.n_outputs}: give the data that it was trained on",
            path=path,
        )
    return task


def _checked(values: dict[str, Any], directory: RunDirectory) -> Config | None:
    """Return the configuration of the values, None if nothing but the task is missing; else InputError."""
    document = parse(write(values))
    try:
        return Config.model_validate(document.value)
    except ValidationError as error:
        problems = found_problems(error.errors(include_url=False), document)
    if "task" not in values:
        problems.pop(("task",))
    if problems:
        found = "; ".join(problem.message for problem in problems.values())
        raise InputError(found, path=directory.path)
    return None
