"""The data of a task: samples to train on, samples to test on, encoded for one network output."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.types import Array, Shape
from sheafcli.tasks.encoding import OutputName, class_outputs, is_encoded
from sheafcli.tasks.preprocessing import Preprocessing


@dataclass(frozen=True, eq=False)
class Rows:
    """Where the samples of each part stand in the user's own data.

    `word` is what a place is called: the line of a file, from 1, on which a row starts; or else the row of
    an array or a table, from 0.
    """

    train: NDArray[np.intp]
    test: NDArray[np.intp]
    validation: NDArray[np.intp]
    word: str = "row"

    @property
    def counted(self) -> bool:
        """Whether the samples of each part are simply counted from 0, as in arrays of their own."""
        return all(np.array_equal(part, np.arange(len(part))) for part in (self.train, self.test))


@dataclass(frozen=True, eq=False)
class TaskData:
    """Training and test samples with targets encoded for the network output `output`.

    All arrays are float64, samples x features or samples x outputs.

    Attributes
    ----------
    X_train, X_test : inputs, n_train x n_features and n_test x n_features.
    y_train, y_test : targets, n_train x n_outputs and n_test x n_outputs: real numbers (identity),
        a column of 0 and 1 for each yes-or-no target (sigmoid; one column for two classes), or rows of
        shares that sum to 1, one-hot unless the data says otherwise (softmax).
    output : the network output that the targets are encoded for.
    features : the name of each input column.
    targets : the name of each output column (identity, sigmoid), or the one name of what the classes
        say (softmax, and sigmoid with one output).
    classes : the name of each class, in the order of the codes 0, 1, ...; empty for identity.
    named : whether the names of features and classes come with the data; else they are numbers only.
    shape : the shape of a sample where it is an image, channels x rows x columns, which the columns of X hold
        in C order; (n_features,) otherwise.
    X_validation, y_validation : samples whose loss may end the training; None where there are none.
    rows : where each sample stands in the user's own data.
    preprocessing : what was done to the columns of the user's table; how to do it to another, and to undo it.
    notes : how the data was read where it could be read otherwise, a sentence each, to be said aloud.
    """

    X_train: Array
    y_train: Array
    X_test: Array
    y_test: Array
    output: OutputName
    features: tuple[str, ...]
    targets: tuple[str, ...]
    classes: tuple[str, ...]
    named: bool = True
    notes: tuple[str, ...] = ()
    shape: Shape = ()
    X_validation: Array | None = None
    y_validation: Array | None = None
    preprocessing: Preprocessing = None  # type: ignore[assignment]  # never None once it is made
    rows: Rows = None  # type: ignore[assignment]  # likewise

    def __post_init__(self) -> None:
        self._fill_in()
        if self.preprocessing.inputs != self.features:
            raise ValueError("the preprocessing makes other inputs than the features are called")
        if math.prod(self.shape) != self.n_features:
            raise ValueError(f"{self.n_features} features do not fill the shape {self.shape}")
        parts = [
            ("train", self.X_train, self.y_train),
            ("test", self.X_test, self.y_test),
        ]
        if self.X_validation is not None and self.y_validation is not None:
            parts.append(("validation", self.X_validation, self.y_validation))
        for name, array in (pair for part, X, y in parts for pair in ((f"X_{part}", X), (f"y_{part}", y))):
            if array.dtype != np.float64 or array.ndim != 2 or array.size == 0:
                raise ValueError(
                    f"{name} must be a non-empty float64 matrix, not {array.dtype} of shape {array.shape}"
                )
            if not np.isfinite(array).all():
                raise ValueError(f"{name} must be finite")
        for part, X, y in parts:
            if len(X) != len(y):
                raise ValueError(f"{len(X)} inputs and {len(y)} targets in the {part} part")
            if X.shape[1] != len(self.features):
                raise ValueError(f"{X.shape[1]} input columns, {len(self.features)} feature names")
            if y.shape[1] != self._expected_outputs():
                raise ValueError(
                    f"{y.shape[1]} target columns in the {part} part do not agree with output "
                    f"{self.output}, {len(self.targets)} targets and {len(self.classes)} classes"
                )
            if not is_encoded(y, self.output):
                raise ValueError(f"the {part} targets are not encoded for output {self.output}")

    def _fill_in(self) -> None:
        """Set what was left out and follows from the arrays: shape, plain columns, rows in their order."""
        if not self.shape:
            object.__setattr__(self, "shape", (self.n_features,))
        if self.preprocessing is None:
            plain = Preprocessing.plain(self.features, self.targets, self.output, self.classes)
            object.__setattr__(self, "preprocessing", plain)
        if self.rows is None:
            lengths = (
                len(self.X_train),
                len(self.X_test),
                0 if self.X_validation is None else len(self.X_validation),
            )
            object.__setattr__(self, "rows", Rows(*map(np.arange, lengths)))

    def _expected_outputs(self) -> int:
        """Count the outputs that the names speak of; -1 where they do not fit `output`."""
        n_classes = len(self.classes)
        if self.output == "identity":
            return len(self.targets) if n_classes == 0 else -1
        if self.output not in class_outputs(n_classes):
            return -1
        if self.output == "sigmoid":
            return len(self.targets)
        return n_classes if len(self.targets) == 1 else -1

    @property
    def n_train(self) -> int:
        """The number of training samples."""
        return len(self.X_train)

    @property
    def n_features(self) -> int:
        """The number of input columns: the width of the network's input."""
        return len(self.features)

    @property
    def n_outputs(self) -> int:
        """The number of target columns: the width of the network's output."""
        return int(self.y_train.shape[1])
