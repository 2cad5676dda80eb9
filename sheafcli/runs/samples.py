"""Which samples a run is diagnosed on: a part of its own task, or those of a file."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.network import AnyNetwork, check_samples
from sheafcli.core.types import Array
from sheafcli.errors import InputError
from sheafcli.interop.npz import read_npz
from sheafcli.runs.data_files import check_data_is_there
from sheafcli.runs.directory import RunDirectory
from sheafcli.runs.experiment import Experiment, check_parts
from sheafcli.tasks import TaskData
from sheafcli.tasks.targets import encoded, inputs_of, targets_of

PARTS = ("test", "train")


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs X, samples x n_0, and targets y, samples x n_{k+1}, called `part`.

    `other` is the other part of the task, called `other_part`: for a file what the run was trained on, None
    where that is not known. `start` is the network that training began from, None likewise. `features` and
    `classes` are the names of inputs and classes, empty where nobody names them. `places` and
    `other_places` say where the samples stand in the user's own data, None where they are counted from 0
    there; `word` is what a place is called: line or row.
    """

    X: Array
    y: Array
    part: str
    other: tuple[Array, Array] | None = None
    other_part: str = ""
    features: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    start: AnyNetwork | None = None
    places: NDArray[np.intp] | None = None
    other_places: NDArray[np.intp] | None = None
    word: str = ""

    @property
    def known_places(self) -> tuple[tuple[str, NDArray[np.intp] | None], ...]:
        """The places of both parts, by their names."""
        return (self.part, self.places), (self.other_part, self.other_places)

    @property
    def trained_on(self) -> tuple[Array, Array]:
        """The training samples if they are known, else these: what they miss, more data would not mend."""
        return self.other if self.other is not None and self.part == "test" else (self.X, self.y)

    @classmethod
    def choose(cls, run: RunDirectory, network: AnyNetwork, data: str, limit: int | None) -> Samples:
        """Return the first `limit` samples of `data`: test, train, or the path of an .npz file of X and y."""
        if data in PARTS:
            return cls._of_task(run, network, data, limit)
        X, y = _read(Path(data), network)
        try:
            task = cls._of_task(run, network, "train", None)
        except InputError:  # a run without data, or whose data has gone
            return cls(X[:limit], y[:limit], Path(data).name)
        return replace(
            task,
            X=X[:limit],
            y=y[:limit],
            part=Path(data).name,
            other=(task.X, task.y),
            other_part="train",
            places=None,
            other_places=task.places,
        )

    @classmethod
    def _of_task(cls, run: RunDirectory, network: AnyNetwork, part: str, limit: int | None) -> Samples:
        check_data_is_there(run)
        experiment = Experiment.load(run / "config.yaml")
        task = experiment.task
        check_parts(network, task, run / "network.npz")
        other_part = PARTS[1 - PARTS.index(part)]
        X, y = _part(task, part)
        other = _part(task, other_part)
        names = task.features, task.classes
        found = cls(X[:limit], y[:limit], part, other, other_part, *names, experiment.network)
        if task.rows.counted:
            return found
        places, other_places = (getattr(task.rows, name) for name in (part, other_part))
        return replace(found, places=places[:limit], other_places=other_places, word=task.rows.word)


def _part(task: TaskData, part: str) -> tuple[Array, Array]:
    return (task.X_test, task.y_test) if part == "test" else (task.X_train, task.y_train)


def _read(path: Path, network: AnyNetwork) -> tuple[Array, Array]:
    if path.suffix.lower() == ".csv":
        raise InputError(
            "a run is diagnosed on test, train or an .npz file of X and y as its network takes them "
            "(numpy.savez); `sheaf predict` judges the rows of a table",
            path=path,
        )
    arrays = read_npz(path)
    if not {"X", "y"} <= set(arrays):
        found = ", ".join(arrays) or "nothing"
        raise InputError(f"needs the arrays X and y; found {found}", path=path)
    n_inputs, n_outputs = math.prod(network.input_shape), network.n_outputs
    try:
        X, y = inputs_of(arrays["X"], "X"), targets_of(arrays["y"], "y")
        if X.shape[1] != n_inputs:
            raise ValueError(f"X must be samples x {n_inputs}, got shape {X.shape}")
        if len(X) != len(y):
            raise ValueError(f"X has {len(X)} samples and y has {len(y)}; they must agree")
        y = encoded(y, network.output.name, n_outputs, "y")
        check_samples(network, X, y)
        return X, y
    except ValueError as error:
        raise InputError(str(error), path=path) from error
