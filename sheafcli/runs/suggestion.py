"""A configuration to start from that fits a file of data: target, width, method and steps by its size."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sheafcli.core.chain.network import Network
from sheafcli.core.training.cost import Cost
from sheafcli.core.training.cycle import CYCLE
from sheafcli.errors import InputError, Remedy
from sheafcli.runs.experiment import OPERATIONS_A_SECOND
from sheafcli.tasks import TASKS, TaskData

FORMATS = {".csv": "csv", ".tsv": "csv", ".txt": "csv", ".parquet": "csv", ".npz": "npz"}
TARGETS = ("target", "y", "label", "class", "outcome", "response")
"""Columns of such a name are taken for the target; else it is the last one."""

LEAST_WIDTH, MOST_WIDTH = 8, 64
SECONDS = 30.0
"""Implicit steps are suggested if a cycle of them takes no longer, and as many cycles as fit."""

MOST_CYCLES = 5
"""More cycles of implicit steps are not suggested: what they gain on measured data is mostly its noise."""

CLASS_DECAY, QUANTITY_DECAY = 0.01, 0.03
"""What is suggested against overfitting: targets of a regression are noisier than classes."""

BATCH, UPDATES = 64, 10_000
"""Mini-batches are suggested where implicit steps take too long, for about so many updates."""


@dataclass(frozen=True)
class Suggestion:
    """Keys by section that differ from a template's, and sentences that say what was found and guessed."""

    kind: str
    method: str
    values: Mapping[str, Mapping[str, Any]]
    told: tuple[str, ...]
    notes: tuple[str, ...]


def suggest(data: Path, config: Path, target: str | None, method: str | None) -> Suggestion:
    """Read a file of data and return what suits it, for a configuration at `config`.

    `target` is a column of a table, by name or position; None guesses it. `method` None chooses it.
    InputError where the file cannot be read as it is.
    """
    kind = FORMATS.get(data.suffix.lower())
    if kind is None:
        raise InputError(f"unknown suffix {data.suffix!r}; --data takes {', '.join(FORMATS)}", path=data)
    if not data.is_file():
        raise InputError("no such file", path=data)
    section: dict[str, Any] = {"path": data}
    if kind == "npz":
        if target is not None:
            raise InputError(
                "--target names a column of a table, and arrays have none; leave it out", path=data
            )
        told: list[str] = []
        task = _load(kind, section)
    else:
        task, section, told = _with_target(data, target)
    section["path"] = os.path.relpath(data, config.parent)
    width = _width(task)
    network = Network.he([task.n_features, width, task.n_outputs], output=task.output)
    chosen_method, training = _training(network, task, method)
    outputs = f"{task.n_outputs} {'outputs' if task.n_outputs > 1 else 'output'}"
    what = f"{len(task.classes)} classes" if task.classes else f"a regression of {outputs}"
    told.append(
        f"data: {task.n_train:,} training and {len(task.X_test):,} test samples, {task.n_features} inputs, "
        f"{what}"
    )
    told.append(
        f"network: a hidden layer of {width}, {task.output} output; "
        f"training: {_spelt(chosen_method, training)}"
    )
    return Suggestion(
        kind,
        chosen_method,
        {"task": section, "network": {"hidden": [width]}, "training": training},
        tuple(told),
        tuple(task.notes),
    )


def _load(kind: str, values: Mapping[str, Any]) -> TaskData:
    seed = np.random.SeedSequence(0).spawn(1)[0]
    return TASKS[kind].model_validate(values).load(seed, None)


def _table(values: dict[str, Any], told: list[str]) -> TaskData:
    """Return the task of a table; what its cells ask for joins the values, and is told.

    Dates get their format, columns of names or free text are left out, numbers beside texts are categories,
    missing values are filled in: as the errors of reading the table advise. What they do not advise stays an
    error. A time series is cut in its order.
    """
    while True:
        try:
            task = _load("csv", values)
            series = None if "split" in values else _series(task, values.get("dates", {}))
            if series is None:
                return task
            values["split"] = "ordered"
            told.append(f"split: ordered, for rows are in the order of {series}: tested on the last")
            continue
        except InputError as error:
            new = [remedy for remedy in error.remedies if not _followed(values, remedy)]
            if not new:
                raise
        _follow(values, new)
        told += _said(new)


def _followed(values: Mapping[str, Any], remedy: Remedy) -> bool:
    return remedy.key in values if remedy.key == "missing" else remedy.column in values.get(remedy.key, ())


def _follow(values: dict[str, Any], remedies: Iterable[Remedy]) -> None:
    """Write remedies into the values of a task."""
    for remedy in remedies:
        if remedy.key == "missing":
            values["missing"] = remedy.value
        elif remedy.key == "dates":
            values["dates"] = {**values.get("dates", {}), remedy.column: remedy.value}
        else:
            values[remedy.key] = (*values.get(remedy.key, ()), remedy.column)


def _said(remedies: Sequence[Remedy]) -> list[str]:
    """Return sentences that say what was done, one for columns of which the same is said."""
    columns: dict[str, list[str]] = {}
    for remedy in remedies:
        what = {
            "dates": "dates",
            "exclude": f"left out ({remedy.why})",
            "categories": "categories, some of which are numbers",
            "missing": "missing values",
        }[remedy.key]
        how = f"{remedy.column} as {remedy.value}" if remedy.key == "dates" else remedy.column
        columns.setdefault(what, []).append(how or "filled in and marked (missing: impute)")
    return [f"{what}: {', '.join(dict.fromkeys(names))}" for what, names in columns.items()]


def _series(task: TaskData, dates: Iterable[str]) -> str | None:
    """Return the column of dates, most of them distinct, in whose order the rows are, if there is one."""
    order = np.argsort(np.concatenate([task.rows.train, task.rows.test]))
    for name in dates:
        values = np.concatenate([task.X_train, task.X_test])[order, task.preprocessing.places[name].start]
        steps = np.diff(values)
        if (steps >= 0.0).all() and 2 * np.count_nonzero(steps) > len(steps):
            return name
    return None


def _with_target(data: Path, target: str | None) -> tuple[TaskData, dict[str, Any], list[str]]:
    """Return the task of a table, the keys that make it, and what was found and guessed."""
    if target is not None:
        column: str | int = int(target) if target.removeprefix("-").isdecimal() else target
        return _told(data, column, "")
    task, values, told = _told(data, -1, ", the last column; --target COLUMN chooses another")
    if not task.named:
        return task, values, told
    columns = (*(column.name for column in task.preprocessing.columns), *task.targets)
    by_name = {name.lower(): name for name in columns}
    name = next((by_name[name] for name in TARGETS if name in by_name), task.targets[0])
    if name == task.targets[0]:
        told[0] = told[0].replace("target: -1", f"target: {name}")
        return task, values | {"target": name}, told
    return _told(data, name, ", by its name; --target COLUMN chooses another")


def _told(data: Path, target: str | int, why: str) -> tuple[TaskData, dict[str, Any], list[str]]:
    values: dict[str, Any] = {"path": data, "target": target}
    told = [f"target: {target}{why}"]
    return _table(values, told), values, told


def _width(task: TaskData) -> int:
    """Return the power of two at which the weights are about half as many as what they are to explain."""
    explained = task.n_train * task.n_outputs
    fitting = explained / (2.0 * (task.n_features + task.n_outputs + 1))
    return 1 << round(math.log2(min(max(fitting, LEAST_WIDTH), MOST_WIDTH)))


def _training(network: Network, task: TaskData, method: str | None) -> tuple[str, dict[str, Any]]:
    """Return a method and those of its options that are not the default."""
    cycle = CYCLE * Cost.of(network, task.n_train).operations / OPERATIONS_A_SECOND
    decay = CLASS_DECAY if task.classes else QUANTITY_DECAY
    if method is None:
        method = "implicit" if cycle <= SECONDS else "equilibrium"
    if method == "implicit":
        cycles = max(1, min(MOST_CYCLES, int(SECONDS / cycle)))
        return method, {"steps": CYCLE * cycles, "weight_decay": decay}
    if method in ("equilibrium", "backprop") and task.n_train > 4 * BATCH:
        epochs = max(1, round(UPDATES * BATCH / task.n_train))
        chosen: dict[str, Any] = {"epochs": epochs, "batch_size": BATCH, "schedule": "cosine"}
        return method, chosen | {"weight_decay": CLASS_DECAY}
    return method, {}


def _spelt(method: str, training: Mapping[str, Any]) -> str:
    lengths = (f"{training[key]:,} {key}" for key in ("steps", "epochs") if key in training)
    return ", ".join([method, *lengths])
