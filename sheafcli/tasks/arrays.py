"""Tasks from .npz files: arrays that are already split and encoded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sheafcli.core.types import Array
from sheafcli.errors import InputError
from sheafcli.interop.npz import read_npz
from sheafcli.tasks.data import TaskData
from sheafcli.tasks.encoding import OutputName, encoding_of
from sheafcli.tasks.specification import TaskSpecification, choose_output
from sheafcli.tasks.table_target import MAX_CLASSES
from sheafcli.tasks.targets import (
    encoded,
    inputs_of,
    labels_of,
    note_on_images,
    note_on_quantities,
    sample_shape,
    targets_of,
)

KEYS = ("X_train", "y_train", "X_test", "y_test")


class NpzArrays(TaskSpecification):
    """Arrays X_train, y_train, X_test, y_test of an .npz file, taken as they are.

    X_validation and y_validation may stand beside them.

    X is samples x features, or images: samples x rows x columns, or samples x channels x rows x columns
    (one to three axes after the channels). y is samples x outputs (or one value a sample). By default the
    output is read off the targets: one column of 0 and 1 is sigmoid, one-hot rows are softmax, all else is
    identity; one whole number a sample, of an integer type, is a class where `labels_of` says so. With
    output softmax, whole numbers 0, ..., k - 1, one a sample, are classes, and rows may be shares; with
    output sigmoid, several columns of 0 and 1 are so many yes-or-no targets. Other arrays in the file are
    left alone.
    """

    kind: Literal["npz"] = Field("npz", description="Arrays from an .npz file.")
    path: Path = Field(strict=False, description="The .npz file, with keys X_train, y_train, X_test, y_test.")

    def load(self, seed: np.random.SeedSequence, output: str | None) -> TaskData:
        """Read the arrays; nothing is random here, so `seed` is not used."""
        arrays = read_npz(self.path)
        missing = [key for key in KEYS if key not in arrays]
        if missing:
            raise self._error(
                f"no {', '.join(missing)} among its keys ({', '.join(arrays) or 'none'}); "
                f"needed: {', '.join(KEYS)}"
            )
        try:
            return self._task(arrays, output)
        except ValueError as error:
            raise self._error(str(error)) from error

    def _task(self, arrays: dict[str, NDArray[Any]], output: str | None) -> TaskData:
        parts = ["train", "test", *(["validation"] if "X_validation" in arrays else [])]
        if ("X_validation" in arrays) != ("y_validation" in arrays):
            raise ValueError("X_validation and y_validation belong together; give both or none")
        shape, image = sample_shape(arrays["X_train"]), note_on_images(arrays["X_train"], "X_train")
        shapes = {part: sample_shape(arrays[f"X_{part}"]) for part in parts}
        labels = None if output else labels_of([arrays[f"y_{part}"] for part in parts])
        # One by one, so that what is converted is let go before the next.
        X = {part: inputs_of(arrays.pop(f"X_{part}"), f"X_{part}") for part in parts}
        y = {part: targets_of(arrays.pop(f"y_{part}"), f"y_{part}") for part in parts}
        for part in parts:
            _check_agreement(f"X_{part}", X[part], f"y_{part}", y[part], axis=0, what="samples")
        for part in parts[1:]:
            _check_agreement("y_train", y["train"], f"y_{part}", y[part], axis=1, what="outputs")
            _check_agreement("X_train", X["train"], f"X_{part}", X[part], axis=1, what="features")
            if shapes[part] != shape:
                raise ValueError(
                    f"samples of X_train have the shape {shape}, of X_{part} {shapes[part]}; they must agree"
                )
        notes = ([] if image is None else [image]) + _constant_columns(y["train"])
        if labels is not None:
            notes.append(labels.note)
            y = {part: labels.codes(y[part]) for part in parts}
        others = [y[part] for part in parts[1:]]
        of_data = labels.output if labels else None if output else _default_output(y["train"], others)
        fitting = (of_data,) if of_data else get_args(OutputName)
        chosen = choose_output(output, fitting, "arrays")
        n_outputs = _n_outputs(chosen, y["train"], others)
        y = {part: encoded(y[part], chosen, n_outputs, f"y_{part}") for part in parts}
        if output is None and chosen == "identity" and (note := note_on_quantities(y["train"])):
            notes.append(note)
        n_classes = {"identity": 0, "sigmoid": 2, "softmax": n_outputs}[chosen]
        classifies_once = chosen == "softmax" or (chosen == "sigmoid" and n_outputs == 1)
        return TaskData(
            X["train"],
            y["train"],
            X["test"],
            y["test"],
            chosen,
            features=_numbered("x", X["train"].shape[1]),
            targets=("class",) if classifies_once else _numbered("y", n_outputs),
            classes=labels.names if labels else tuple(str(code) for code in range(n_classes)),
            named=False,
            notes=tuple(notes),
            shape=shape,
            X_validation=X.get("validation"),
            y_validation=y.get("validation"),
        )

    def _error(self, message: str) -> InputError:
        return InputError(message, path=self.path)


def _check_agreement(one: str, first: Array, other: str, second: Array, *, axis: int, what: str) -> None:
    if first.shape[axis] != second.shape[axis]:
        raise ValueError(
            f"{one} has {first.shape[axis]} {what} and {other} has {second.shape[axis]}; they must agree"
        )


def _constant_columns(y_train: Array) -> list[str]:
    """Raise ValueError if the training targets are all the same; say which of several columns are."""
    constant = np.flatnonzero(np.ptp(y_train, axis=0) == 0)
    if len(constant) == y_train.shape[1]:
        value = f"is {y_train[0, 0]:g}" if len(constant) == 1 else "is the same"
        raise ValueError(
            f"y_train {value} in all of the training part: there is nothing to predict; give other samples"
        )
    if len(constant) == 0 or encoding_of(y_train) == "softmax":
        return []
    names = ", ".join(f"y{column + 1}" for column in constant)
    return [f"{names} of y_train is the same in all of the training part: there is nothing to learn of it"]


def _default_output(y_train: Array, others: Sequence[Array]) -> OutputName:
    """Name the output that the targets of all parts are encoded for."""
    encoding = encoding_of(y_train)
    if encoding != "identity" and any(encoding_of(y) != encoding for y in others):
        raise ValueError(
            f"y_train is encoded for output {encoding} and y_test is not; correct y_test, or set output: "
            "identity if this is a regression"
        )
    return encoding


def _n_outputs(output: OutputName, y_train: Array, others: Sequence[Array]) -> int:
    """Return the number of outputs: columns, or of class numbers one more than the largest."""
    if output != "softmax" or y_train.shape[1] > 1:
        return int(y_train.shape[1])
    largest = max(float(y.max()) for y in (y_train, *others))
    if largest >= MAX_CLASSES:
        raise ValueError(
            f"y goes up to {largest:g}, too many for class numbers (at most {MAX_CLASSES} classes); "
            "number the classes from 0, or set output: identity if this is a regression"
        )
    return max(2, int(largest) + 1)


def _numbered(letter: str, count: int) -> tuple[str, ...]:
    return tuple(f"{letter}{number}" for number in range(1, count + 1))
