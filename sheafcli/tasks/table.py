"""Tasks from CSV files: which columns, and whether the target is a quantity or a class."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from sheafcli.core.magnitude import beyond
from sheafcli.core.types import Array
from sheafcli.errors import InputError
from sheafcli.tasks.csv_file import Column, read_table
from sheafcli.tasks.data import TaskData
from sheafcli.tasks.fitting import Standardize
from sheafcli.tasks.partition import Partition, TestFraction
from sheafcli.tasks.separators import CHARACTERS, Decimal, Delimiter
from sheafcli.tasks.specification import TaskSpecification
from sheafcli.tasks.table_target import read_target

SMALLEST_RANGE = 1e-100
"""Below this the variance of a column leaves the range of floating point."""


def _by_name(names: dict[str, str]) -> BeforeValidator:
    """Let a character stand for its name, so that `;` may be written for semicolon."""
    return BeforeValidator(lambda given: names.get(given, given) if isinstance(given, str) else given)


class CsvTable(TaskSpecification):
    """A CSV file, cut at random into a training and a test part.

    `sheafcli.tasks.table_target.read_target` says when the target is a quantity and when classes,
    `sheafcli.tasks.csv_file.read_table` when the first row is taken for a header, and
    `sheafcli.tasks.separators.recognise` what separates values.
    """

    kind: Literal["csv"] = Field("csv", description="A table from a CSV file.")
    path: Path = Field(strict=False, description="The CSV file: UTF-8, header optional.")
    target: Column | tuple[Column, ...] = Field(
        description="The column to predict, or a list of them: by name, or by position from 0 (or "
        "from -1 backwards)."
    )
    features: tuple[Column, ...] | None = Field(
        None,
        description="The columns to predict from, by name or position; left out, all but the target.",
    )
    delimiter: Annotated[Delimiter, _by_name({character: name for name, character in CHARACTERS.items()})] = (
        Field(
            "auto",
            description="What separates the values of a row: auto recognises it where it is certain, and "
            "says so unless it is a comma.",
        )
    )
    decimal: Annotated[Decimal, _by_name({".": "point", ",": "comma"})] = Field(
        "auto",
        description="What stands before the decimals of a number: auto is a point, or a comma where numbers "
        "cannot be read otherwise, which it says; write comma where 3,15 is in quotes between commas.",
    )
    test_fraction: TestFraction = 0.25
    standardize: Standardize = True

    @field_validator("target", "features", mode="before")
    @classmethod
    def _check_columns(cls, value: Any, field: ValidationInfo) -> Any:
        """Say in one sentence what a union of types would say in three."""
        if field.field_name == "features":
            if value is None:
                return None
            if not isinstance(value, list | tuple):
                raise ValueError("features is a list of columns, in brackets")
        columns = value if isinstance(value, list | tuple) else [value]
        if not columns:
            raise ValueError("an empty list names no column")
        # not isinstance: True is an int
        if any(type(column) not in (str, int) for column in columns):
            raise ValueError("a column is a name (text) or a position (a whole number)")
        return tuple(value) if isinstance(value, list) else value

    def load(self, seed: np.random.SeedSequence, output: str | None) -> TaskData:
        """Read the file, cut it at random, and standardise it by its training part."""
        targets = self.target if isinstance(self.target, tuple) else (self.target,)
        table = read_table(self.path, targets, self.features, delimiter=self.delimiter, decimal=self.decimal)
        target = read_target(table, self.path, output)
        y, chosen = target.y, target.output
        partition = Partition.draw(len(y), self.test_fraction, seed)
        for name, column in zip(table.features, table.X.T, strict=True):
            self._check_range(name, column, partition, "it says nothing; list the other columns in features")
        if chosen == "identity":
            for name, column in zip(table.targets, y.T, strict=True):
                self._check_range(name, column, partition, "there is nothing to predict")
        elif np.ptp(y[partition.train], axis=0).max() == 0:
            raise self._error(
                f"target {table.targets[0]!r} has the same class in all of the training part: "
                "there is nothing to predict; give more samples, or another seed"
            )
        task = partition.task(
            table.X,
            y,
            output=chosen,
            standardize=self.standardize,
            features=table.features,
            targets=table.targets,
            classes=target.classes,
            notes=(*table.notes, *target.notes),
        )
        self._check_outliers(task.X_test, table.features)
        if chosen == "identity":
            self._check_outliers(task.y_test, table.targets)
        return task

    def _check_range(self, name: str, column: Array, partition: Partition, verdict: str) -> None:
        """Refuse a column that is constant on the training part or cannot be standardised."""
        spread = np.ptp(column[partition.train])
        if spread == 0:
            raise self._error(
                f"column {name!r} is {column[partition.train[0]]:g} in all of the training part: {verdict}"
            )
        if spread < SMALLEST_RANGE:
            raise self._error(
                f"column {name!r} has values too close together for floating point, {spread:g} apart at most "
                "in the training part; give it in another unit"
            )

    def _check_outliers(self, part: Array, names: tuple[str, ...]) -> None:
        """Refuse test values that standardising by the training part puts out of range."""
        place = beyond(part)
        if place is not None:
            raise self._error(
                f"column {names[place[1]]!r} has a test value that is {abs(part[place]):.3g} standard "
                "deviations of the training part from its mean; correct it, or take out the row"
            )

    def _error(self, message: str) -> InputError:
        return InputError(message, path=self.path)
