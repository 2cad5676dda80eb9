"""Inputs and targets as arrays hold them; targets are encoded for a network output, or refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.magnitude import check_magnitude
from sheafcli.core.types import Array, Shape
from sheafcli.tasks.encoding import OutputName, class_outputs, encode_classes

SUM_TOLERANCE = 1e-5
"""Shares in single precision sum to 1 up to this; they are then divided by their sum."""

MAX_DISTINCT = 20
"""Whole numbers with more distinct values than this do not look like classes."""


def inputs_of(array: NDArray[Any], name: str) -> Array:
    """Return inputs, samples x features, in float64; ValueError unless they are numbers in range.

    Images, samples x (channels x) up to three axes, are flattened in C order; see `sample_shape`.
    """
    flat = array.reshape(len(array), -1) if 2 < array.ndim <= 5 and array.size else array
    return _matrix(flat, name, "features, or samples x (channels x) rows x columns of images")


def sample_shape(array: NDArray[Any]) -> Shape:
    """Return the shape of a sample of inputs: (features,), or channels x rows x columns of an image.

    Images without a channels axis, samples x rows x columns, have one channel.
    """
    return (1, *array.shape[1:]) if array.ndim == 3 else array.shape[1:]


def note_on_images(array: NDArray[Any], name: str) -> str | None:
    """Say how an array of images is read where it could be read otherwise; None where it could not."""
    size = " x ".join(map(str, array.shape[1:]))
    if array.ndim == 3:
        return (
            f"{name} is samples x {size} and is read as images of one channel; if the first length is that "
            f"of channels, set network.input: [{array.shape[1]}, {array.shape[2]}]"
        )
    if array.ndim > 3 and array.shape[-1] in (1, 3, 4) and array.shape[1] == array.shape[2]:
        return (
            f"{name} is samples x {size} and is read as images of {array.shape[1]} channels; if the channels "
            "come last, move them: numpy.moveaxis(X, -1, 1)"
        )
    return None


def targets_of(array: NDArray[Any], name: str) -> Array:
    """Return targets, samples x columns, in float64, of a vector too; ValueError as `inputs_of`."""
    column = array[:, np.newaxis] if array.ndim == 1 else array
    return _matrix(column, name, "outputs, or one value a sample")


def encoded(y: Array, output: str, n_outputs: int, name: str) -> Array:
    """Return targets, samples x columns, as a network of so many outputs takes them.

    identity : numbers, one column an output.
    sigmoid : 0 or 1, one column an output.
    softmax : rows of shares, none negative, that sum to 1, as one-hot rows do; or one column of class
        numbers 0, ..., n_outputs - 1, which becomes one-hot rows.

    Raises ValueError that says what was found and what to do, where they are anything else.
    """
    if output == "softmax" and y.shape[1] == 1 < n_outputs:
        return _one_hot(y[:, 0], n_outputs, name)
    if y.shape[1] != n_outputs:
        classes = f" or one class number, 0 to {n_outputs - 1}," if output == "softmax" else ""
        raise ValueError(
            f"{name} must have {n_outputs} column{'s' if n_outputs > 1 else ''}{classes} a sample for output "
            f"{output}; got shape {y.shape}"
        )
    if output == "sigmoid":
        _check_zero_or_one(y, name)
    return _shares(y, name) if output == "softmax" else y


@dataclass(frozen=True, eq=False)
class Labels:
    """Whole numbers that are classes, in order, and what to say aloud of them."""

    values: NDArray[Any]
    note: str

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each class."""
        return tuple(str(value) for value in self.values.tolist())

    @property
    def output(self) -> OutputName:
        """The output that they need."""
        return class_outputs(len(self.values))[0]

    def codes(self, y: Array) -> Array:
        """Return labels, samples x 1, as class numbers 0, 1, ..."""
        return np.searchsorted(self.values, y).astype(np.float64)


def labels_of(parts: Sequence[NDArray[Any]]) -> Labels | None:
    """Return the classes of targets of an integer type, one a sample, in all parts; None if they are none.

    They are classes if there are at most 20, and at most half as many as training samples. 0 and 1 need no
    word, and no class of its own: `encoding_of` knows them.
    """
    if any(y.dtype.kind not in "iu" or y.ndim == 0 or y.size != len(y) or y.size == 0 for y in parts):
        return None
    values = np.unique(np.concatenate([y.reshape(-1) for y in parts]))
    if not 2 <= len(values) <= MAX_DISTINCT or 2 * len(values) > len(parts[0]):
        return None
    if np.array_equal(values, [0, 1]):
        return None
    return Labels(
        values,
        f"y is whole numbers of an integer type, {len(values)} of them from {values[0]} to {values[-1]}: "
        "read as "
        "classes; set network.output: identity if they are a quantity",
    )


def note_on_quantities(y: Array) -> str | None:
    """Say how targets that are read as quantities could be read as classes; None if they could not well be.

    A column of few whole numbers, most of them more than once, may be labels; so may columns of 0 and 1.
    """
    distinct = np.unique(y)
    if y.shape[1] > 1:
        if not np.isin(distinct, (0.0, 1.0)).all():
            return None
        return (
            f"the {y.shape[1]} columns of y are 0 and 1 and are read as quantities; if they are labels, "
            "several a sample, set output: sigmoid"
        )
    if not np.array_equal(distinct, np.floor(distinct)):
        return None
    if len(distinct) > MAX_DISTINCT or 2 * len(distinct) > len(y):
        return None
    if np.array_equal(distinct, np.arange(len(distinct))):
        return (
            f"y is whole numbers from 0 to {len(distinct) - 1} and is read as a quantity; if these are "
            "classes, set output: softmax"
        )
    shown = ", ".join(f"{value:g}" for value in distinct)
    return (
        f"y is one of {shown} and is read as a quantity; if these are classes, number them from 0: two "
        "classes are 0 and 1, more need output: softmax"
    )


def _matrix(array: NDArray[Any], name: str, columns: str) -> Array:
    """Check an array of numbers or truth values, and return it as a float64 matrix."""
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} has dtype {array.dtype}; save it with a real numeric dtype")
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"{name} has shape {array.shape}; it must be samples x {columns}, and not empty")
    with np.errstate(over="ignore"):  # a wider float may become infinite: refused just below
        matrix: Array = array.astype(np.float64, copy=False)
    check_magnitude(name, matrix)
    return matrix


def _check_zero_or_one(y: Array, name: str) -> None:
    wrong = np.argwhere((y != 0.0) & (y != 1.0))
    if len(wrong) == 0:
        return
    row, column = wrong[0]
    distinct = np.unique(y)
    if len(distinct) == 2 and np.array_equal(distinct, np.floor(distinct)):
        codes = (f"{value:g} as {code}" for code, value in enumerate(distinct) if value != code)
        advice = f"write {' and '.join(codes)}"
    else:
        advice = "write 1 where the sample is of the class, and 0 where it is not"
    raise ValueError(
        f"{name} must be 0 or 1 for output sigmoid; found {y[row, column]:g} in sample {row}: {advice}"
    )


def _shares(y: Array, name: str) -> Array:
    wanted = f"{name} must be rows of shares that sum to 1, such as one-hot rows, for output softmax"
    sums = y.sum(axis=1, keepdims=True)
    if len(negative := np.argwhere(y < 0.0)):
        row, column = negative[0]
        raise ValueError(f"{wanted}; found {y[row, column]:g} in sample {row}")
    if len(wrong := np.flatnonzero(np.abs(sums[:, 0] - 1.0) > SUM_TOLERANCE)):
        row = wrong[0]
        labels = np.isin(y, (0.0, 1.0)).all()
        advice = "several labels a sample need output sigmoid" if labels else "divide each row by its sum"
        raise ValueError(f"{wanted}; sample {row} sums to {sums[row, 0]:g}: {advice}")
    return np.asarray(y / sums)


def _one_hot(labels: Array, n_classes: int, name: str) -> Array:
    wrong = np.flatnonzero((labels != np.floor(labels)) | (labels < 0.0) | (labels >= n_classes))
    if len(wrong):
        raise ValueError(
            f"{name} must be class numbers 0 to {n_classes - 1} or rows of {n_classes} shares that sum to 1 "
            f"for output softmax; found {labels[wrong[0]]:g} in sample {wrong[0]}"
        )
    return encode_classes(labels.astype(np.intp), n_classes, "softmax")
