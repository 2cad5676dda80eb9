"""Tasks from .npz files: arrays that are already split and encoded."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

import numpy as np
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
    note_on_images,
    note_on_quantities,
    sample_shape,
    targets_of,
)

KEYS = ("X_train", "y_train", "X_test", "y_test")


class NpzArrays(TaskSpecification):
    """Arrays X_train, y_train, X_test, y_test of an .npz file, taken as they are.

    X is samples x features, or images: samples x rows x columns, or samples x channels x rows x columns
    (one to three axes after the channels). y is samples x outputs (or one value a sample). By default the
    output is read off the targets: one column of 0 and 1 is sigmoid, one-hot rows are softmax, all else
    is identity. With output softmax, whole numbers 0, ..., k - 1, one a sample, are classes, and rows
    may be shares; with output sigmoid, several columns of 0 and 1 are so many yes-or-no targets.
    Other arrays in the file are left alone.
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
            # One by one, so that what is converted is let go before the next.
            shape, image = sample_shape(arrays["X_train"]), note_on_images(arrays["X_train"], "X_train")
            shape_of_test = sample_shape(arrays["X_test"])
            X_train, X_test = (inputs_of(arrays.pop(key), key) for key in ("X_train", "X_test"))
            y_train, y_test = (targets_of(arrays.pop(key), key) for key in ("y_train", "y_test"))
            _check_agreement("X_train", X_train, "y_train", y_train, axis=0, what="samples")
            _check_agreement("X_test", X_test, "y_test", y_test, axis=0, what="samples")
            _check_agreement("y_train", y_train, "y_test", y_test, axis=1, what="outputs")
            _check_agreement("X_train", X_train, "X_test", X_test, axis=1, what="features")
            if shape_of_test != shape:
                raise ValueError(
                    f"samples of X_train have the shape {shape}, of X_test {shape_of_test}; they must agree"
                )
            notes = ([] if image is None else [image]) + _constant_columns(y_train)
            fitting = get_args(OutputName) if output else (_default_output(y_train, y_test),)
            chosen = choose_output(output, fitting, "arrays")
            n_outputs = _n_outputs(chosen, y_train, y_test)
            y_train = encoded(y_train, chosen, n_outputs, "y_train")
            y_test = encoded(y_test, chosen, n_outputs, "y_test")
        except ValueError as error:
            raise self._error(str(error)) from error
        if output is None and chosen == "identity" and (note := note_on_quantities(y_train)):
            notes.append(note)
        n_classes = {"identity": 0, "sigmoid": 2, "softmax": n_outputs}[chosen]
        classifies_once = chosen == "softmax" or (chosen == "sigmoid" and n_outputs == 1)
        return TaskData(
            X_train,
            y_train,
            X_test,
            y_test,
            chosen,
            features=_numbered("x", X_train.shape[1]),
            targets=("class",) if classifies_once else _numbered("y", n_outputs),
            classes=tuple(str(code) for code in range(n_classes)),
            named=False,
            notes=tuple(notes),
            shape=shape,
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


def _default_output(y_train: Array, y_test: Array) -> OutputName:
    """Name the output that the targets of both parts are encoded for."""
    encoding = encoding_of(y_train)
    if encoding not in ("identity", encoding_of(y_test)):
        raise ValueError(
            f"y_train is encoded for output {encoding} and y_test is not; correct y_test, or set output: "
            "identity if this is a regression"
        )
    return encoding


def _n_outputs(output: OutputName, y_train: Array, y_test: Array) -> int:
    """Return the number of outputs: columns, or of class numbers one more than the largest."""
    if output != "softmax" or y_train.shape[1] > 1:
        return int(y_train.shape[1])
    largest = max(float(y_train.max()), float(y_test.max()))
    if largest >= MAX_CLASSES:
        raise ValueError(
            f"y goes up to {largest:g}, too many for class numbers (at most {MAX_CLASSES} classes); "
            "number the classes from 0, or set output: identity if this is a regression"
        )
    return max(2, int(largest) + 1)


def _numbered(letter: str, count: int) -> tuple[str, ...]:
    return tuple(f"{letter}{number}" for number in range(1, count + 1))
