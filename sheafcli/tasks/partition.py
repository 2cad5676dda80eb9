"""The rows of a table cut into parts to train on, validate on and test on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from sheafcli.core.types import Array, Shape
from sheafcli.tasks.data import Rows, TaskData
from sheafcli.tasks.encoding import OutputName
from sheafcli.tasks.fitting import Standardize, number_columns, target_column
from sheafcli.tasks.preprocessing import Preprocessing

Indices: TypeAlias = NDArray[np.intp]

FOLD = re.compile(r"([1-9][0-9]{0,5})/([1-9][0-9]{0,5})")
MOST_FOLDS = 1000

PART_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    "test": "test",
}
"""What a column may call the parts, in any capitals."""


TestFraction: TypeAlias = Annotated[
    float,
    Field(gt=0, lt=1, description="Share of the samples held out as the test part."),
]
ValidationFraction: TypeAlias = Annotated[
    float,
    Field(
        ge=0,
        lt=1,
        description="Share of the samples held out as the validation part: its loss is in history.csv and "
        "may end the training (training.stop_when.patience); 0.1 to 0.2 are usual.",
    ),
]
Stratify: TypeAlias = Annotated[
    bool,
    Field(description="Whether each class has the same share of all parts of a random cut, up to a sample."),
]


def _checked_fold(value: object) -> object:
    match = FOLD.fullmatch(value) if isinstance(value, str) else None
    if value is None or (match and int(match[1]) <= int(match[2]) and 2 <= int(match[2]) <= MOST_FOLDS):
        return value
    raise ValueError(f"must be a fold and how many there are, 1/5 to 5/5, of 2 to {MOST_FOLDS:,}, or null")


Fold: TypeAlias = Annotated[
    str | None,
    BeforeValidator(_checked_fold),
    Field(
        json_schema_extra={"allowed": "text such as 2/5, or null"},
        description="Cross-validation: 2/5 tests on the second fifth of the rows, in place of "
        "test_fraction; the test parts of 1/5 to 5/5 are all rows, each once; `folds: 5` in a sweep does "
        "them all.",
    ),
]


def check_shares(test_fraction: float, validation_fraction: float, fold: str | None) -> None:
    """Raise a conflict at validation_fraction if nothing is left to train on."""
    test = 1.0 / int(fold.partition("/")[2]) if fold else test_fraction
    if test + validation_fraction >= 1.0:
        raise PydanticCustomError(
            "conflict",
            "{message}",
            {
                "key": "validation_fraction",
                "message": f"given {validation_fraction:g} beside a test part of {test:g}; their sum must be "
                "below 1",
            },
        )


@dataclass(frozen=True)
class Cut:
    """How rows are cut at random or in order: see the keys of the same names."""

    test_fraction: float
    validation_fraction: float = 0.0
    fold: str | None = None
    ordered: bool = False
    stratify: bool = False

    def draw(self, n_samples: int, seed: np.random.SeedSequence, codes: Indices | None = None) -> Partition:
        """Cut so many rows; ValueError if they are too few. `codes` are their classes, if they have any."""
        order = self._order(n_samples, seed, codes)
        if self.fold:
            number, folds = map(int, self.fold.split("/"))
            if folds > n_samples:
                raise ValueError(f"{n_samples} rows are too few for {folds} folds; choose fewer")
            start, stop = ((number + step) * n_samples // folds for step in (-1, 0))
        else:
            start, stop = 0, min(max(round(self.test_fraction * n_samples), 1), n_samples - 1)
        rest = np.concatenate([order[:start], order[stop:]]) if start else order[stop:]
        held = round(self.validation_fraction * n_samples)
        if self.validation_fraction:
            held = max(held, 1)
        if held >= len(rest):
            raise ValueError(
                f"{n_samples} rows are too few: {stop - start} to test on, {held} to validate on, and none "
                "left to train on"
            )
        parts = rest[held:], rest[:held], order[start:stop]
        if self.ordered:
            parts = parts[0][::-1], parts[1][::-1], parts[2][::-1]
        return Partition(*parts)

    def _order(self, n_samples: int, seed: np.random.SeedSequence, codes: Indices | None) -> Indices:
        """Return the rows in the order in which test, validation and training part take them."""
        if self.ordered:
            return np.arange(n_samples)[::-1]
        generator = np.random.default_rng(seed)
        rows = generator.permutation(n_samples)
        if not self.stratify or codes is None:
            return rows
        return rows[np.argsort(_spread(codes[rows], generator), kind="stable")]


def _spread(codes: NDArray[np.intp], generator: np.random.Generator) -> Array:
    """Return keys in [0, 1) that spread the rows of each class evenly, from a start of its own.

    Sorted by them, every stretch of t rows in n has t n_c / n of a class with n_c, up to one or so.
    """
    keys = np.empty(len(codes))
    for code in np.unique(codes):
        rows = np.flatnonzero(codes == code)
        keys[rows] = (np.arange(len(rows)) + generator.random()) / len(rows)
    return keys


@dataclass(frozen=True, eq=False)
class Partition:
    """The rows that are trained on, validated on and tested on; the first and the last are not empty."""

    train: Indices
    validation: Indices
    test: Indices

    @classmethod
    def told(cls, cells: Sequence[str]) -> Partition:
        """Return the parts that a cell of each row names; ValueError says what is wrong with which row."""
        parts: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
        for row, cell in enumerate(cells):
            part = PART_NAMES.get(cell.casefold())
            if part is None:
                raise UnknownPart(row, cell)
            parts[part].append(row)
        for part in ("train", "test"):
            if not parts[part]:
                raise ValueError(
                    f"no row is of the part {part!r}; the column must say train and test, or validation"
                )
        return cls(*(np.array(rows, dtype=np.intp) for rows in parts.values()))

    def task(
        self,
        X: Array,
        y: Array,
        *,
        output: OutputName,
        standardize: Standardize,
        features: tuple[str, ...],
        targets: tuple[str, ...],
        classes: tuple[str, ...],
        notes: tuple[str, ...] = (),
        shape: Shape = (),
    ) -> TaskData:
        """Cut encoded tables of numbers, samples x features and samples x outputs, into a task's data."""
        preprocessing = Preprocessing(
            columns=number_columns(features, X[self.train], bool(standardize)),
            target=target_column(targets, classes, output, y[self.train], standardize),
        )
        if standardize:
            X = preprocessing.scaled(X)
        return self.cut(X, y, preprocessing, notes=notes, shape=shape)

    def cut(
        self,
        X: Array,
        y: Array,
        preprocessing: Preprocessing,
        *,
        notes: tuple[str, ...] = (),
        shape: Shape = (),
        rows: Rows | None = None,
    ) -> TaskData:
        """Cut network inputs, and targets in their own units; `rows` says where they stand."""
        target = preprocessing.target
        if target.output == "identity" and not target.is_plain:
            y = target.scaled(y)
        return TaskData(
            X_train=X[self.train],
            y_train=y[self.train],
            X_test=X[self.test],
            y_test=y[self.test],
            X_validation=X[self.validation] if len(self.validation) else None,
            y_validation=y[self.validation] if len(self.validation) else None,
            output=target.output,
            features=preprocessing.inputs,
            targets=target.names,
            classes=target.classes,
            notes=notes,
            shape=shape,
            preprocessing=preprocessing,
            rows=rows or Rows(self.train, self.test, self.validation),
        )


class UnknownPart(ValueError):
    """A row says that it is of a part that there is not."""

    def __init__(self, row: int, cell: str):
        self.row, self.cell = row, cell
        super().__init__(cell)
