"""Tasks from .npz files: arrays that are already split and encoded."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sheafcli.core.network import is_finite
from sheafcli.errors import InputError
from sheafcli.interop.npz import read_npz
from sheafcli.tasks.data import Array, OutputName, TaskData, encoding_of
from sheafcli.tasks.specification import TaskSpecification, choose_output

KEYS = ("X_train", "y_train", "X_test", "y_test")


class NpzArrays(TaskSpecification):
    """Arrays X_train, y_train, X_test, y_test of an .npz file, taken as they are.

    X is samples x features, y is samples x outputs (or one value a sample). By default the output
    is read off the targets: one column of 0 and 1 is sigmoid, one-hot rows are softmax, all else
    is identity. Other arrays in the file are left alone.
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
        # One by one, so that what is converted is let go before the next.
        X_train, y_train, X_test, y_test = (self._matrix(key, arrays.pop(key)) for key in KEYS)
        self._check_agreement("X_train", X_train, "y_train", y_train, axis=0, what="samples")
        self._check_agreement("X_test", X_test, "y_test", y_test, axis=0, what="samples")
        self._check_agreement("X_train", X_train, "X_test", X_test, axis=1, what="features")
        self._check_agreement("y_train", y_train, "y_test", y_test, axis=1, what="outputs")

        chosen = choose_output(output, self._fitting(y_train, y_test, output), "these targets")
        n_outputs = y_train.shape[1]
        n_classes = {"identity": 0, "sigmoid": 2, "softmax": n_outputs}[chosen]
        return TaskData(
            X_train,
            y_train,
            X_test,
            y_test,
            chosen,
            features=_numbered("x", X_train.shape[1]),
            targets=_numbered("y", n_outputs) if chosen == "identity" else ("class",),
            classes=tuple(str(code) for code in range(n_classes)),
        )

    def _matrix(self, key: str, array: NDArray[Any]) -> Array:
        """Check one array and return it as a float64 matrix; a vector of targets is one column."""
        if array.dtype.kind not in "biuf":
            raise self._error(f"{key} has dtype {array.dtype}; save it with a real numeric dtype")
        is_target = key.startswith("y")
        if is_target and array.ndim == 1:
            array = array[:, np.newaxis]
        if array.ndim != 2 or array.size == 0:
            raise self._error(
                f"{key} has shape {array.shape}; it must be samples x "
                f"{'outputs, or one value a sample' if is_target else 'features'}, and not empty"
            )
        with np.errstate(over="ignore"):  # a wider float may become infinite: refused just below
            matrix = array.astype(np.float64, copy=False)
        if not is_finite(matrix):
            row, column = np.argwhere(~np.isfinite(matrix))[0]
            raise self._error(f"{key}[{row}, {column}] is {matrix[row, column]}; every value must be finite")
        return matrix

    def _check_agreement(
        self, one: str, first: Array, other: str, second: Array, *, axis: int, what: str
    ) -> None:
        if first.shape[axis] != second.shape[axis]:
            raise self._error(
                f"{one} has {first.shape[axis]} {what} and {other} has {second.shape[axis]}; they must agree"
            )

    def _fitting(self, y_train: Array, y_test: Array, asked: str | None) -> tuple[OutputName, ...]:
        """Name the outputs that the targets of both parts are encoded for, the default first."""
        encoding, encoding_test = encoding_of(y_train), encoding_of(y_test)
        if encoding == "identity":
            return ("identity",)
        if encoding == encoding_test:
            return (encoding, "identity")
        if asked is None:
            raise self._error(
                f"y_train is encoded for output {encoding} and y_test is not; "
                "correct y_test, or set output: identity if this is a regression"
            )
        return ("identity",)

    def _error(self, message: str) -> InputError:
        return InputError(message, path=self.path)


def _numbered(letter: str, count: int) -> tuple[str, ...]:
    return tuple(f"{letter}{number}" for number in range(1, count + 1))
