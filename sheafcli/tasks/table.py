"""Tasks from CSV files: which columns, and whether the target is a quantity or a class."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, ValidationInfo, field_validator

from sheafcli.errors import InputError
from sheafcli.tasks.csv_file import Column, Table, finite_number, is_number, read_table, shown
from sheafcli.tasks.data import Array, OutputName, TaskData, class_outputs, encode_classes
from sheafcli.tasks.partition import Partition, Standardize, TestFraction
from sheafcli.tasks.specification import TaskSpecification, choose_output

MAX_INTEGER_CLASSES = 20
"""Integers with more distinct values than this are a quantity unless the output says otherwise."""

MAX_CLASSES = 1000
"""More classes than this are taken for a mistake: a column of identifiers, say."""

LARGEST, SMALLEST_RANGE = 1e100, 1e-100
"""Beyond these a column's mean and variance leave the range of floating point."""

INTEGER = re.compile(r"[+-]?[0-9]{1,15}")  # as many digits as float64 holds exactly


class CsvTable(TaskSpecification):
    """A CSV file, cut at random into a training and a test part.

    Several targets, or one written with decimals, are a regression. Text, or integers with at most
    20 distinct values, are classes. Setting the output overrules this for integers: identity makes
    them a quantity, sigmoid and softmax make them classes. `sheafcli.tasks.csv_file.read_table`
    says when the first row is taken for a header.
    """

    kind: Literal["csv"] = Field("csv", description="A table from a CSV file.")
    path: Path = Field(strict=False, description="The CSV file: UTF-8, separated by commas, header optional.")
    target: Column | tuple[Column, ...] = Field(
        description="The column to predict, or a list of them: by name, or by position from 0 (or "
        "from -1 backwards)."
    )
    features: tuple[Column, ...] | None = Field(
        None,
        description="The columns to predict from, by name or position; left out, all but the target.",
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
        table = read_table(self.path, targets, self.features)
        y, chosen, classes = self._targets(table, output)
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
        return partition.task(
            table.X,
            y,
            output=chosen,
            standardize=self.standardize,
            features=table.features,
            targets=table.targets,
            classes=classes,
        )

    def _targets(self, table: Table, output: str | None) -> tuple[Array, OutputName, tuple[str, ...]]:
        """Settle what the targets are, and encode them: samples x outputs, output, classes."""
        if len(table.targets) > 1:
            chosen = choose_output(output, ("identity",), f"{len(table.targets)} targets")
            return self._numbers(table), chosen, ()
        cells, name = table.target_cells[0], table.targets[0]
        if not self._written_as_numbers(table):
            classes = sorted(set(cells))
            task = f"the {len(classes)} distinct texts in {name!r}"
            return self._encode(
                cells, classes, choose_output(output, class_outputs(len(classes)), task), task
            )
        numbers = self._numbers(table)
        if not all(map(INTEGER.fullmatch, cells)):
            return numbers, choose_output(output, ("identity",), f"{name!r}, with decimals"), ()
        labels = [str(int(cell)) for cell in cells]
        classes = sorted(set(labels), key=int)
        task = f"the {len(classes)} distinct integers in {name!r}"
        fitting = class_outputs(len(classes))
        if len(classes) <= MAX_INTEGER_CLASSES:
            chosen = choose_output(output, (*fitting, "identity"), task)
        else:
            chosen = choose_output(output, ("identity", *fitting), task)
        if chosen == "identity":
            return numbers, chosen, ()
        return self._encode(labels, classes, chosen, task)

    def _encode(
        self, labels: list[str], classes: list[str], output: OutputName, task: str
    ) -> tuple[Array, OutputName, tuple[str, ...]]:
        """Encode class labels, one a sample, by their place among `classes`."""
        if len(classes) > MAX_CLASSES:
            raise self._error(
                f"{task} are too many for classes (at most {MAX_CLASSES}); choose another target"
            )
        code = {label: number for number, label in enumerate(classes)}
        codes = np.array([code[label] for label in labels])
        return encode_classes(codes, len(classes), output), output, tuple(classes)

    def _written_as_numbers(self, table: Table) -> bool:
        """Tell numbers from text in the only target, and refuse a mixture of both."""
        cells, name = table.target_cells[0], table.targets[0]
        numeric = is_number(cells[0])
        for cell, line in zip(cells, table.lines, strict=True):
            if is_number(cell) != numeric:
                raise InputError(
                    f"{shown(cell)} in {name!r} is {'not ' if numeric else ''}a number, and "
                    f"{shown(cells[0])} on line {table.lines[0]} is{'' if numeric else ' not'}; "
                    "a target is numbers or the names of classes, not both",
                    path=self.path,
                    line=line,
                )
        return numeric

    def _numbers(self, table: Table) -> Array:
        """Read all targets as finite numbers, samples x targets."""
        return np.array(
            [
                [
                    finite_number(cell, name, self.path, line)
                    for cell, line in zip(cells, table.lines, strict=True)
                ]
                for name, cells in zip(table.targets, table.target_cells, strict=True)
            ]
        ).T

    def _check_range(self, name: str, column: Array, partition: Partition, verdict: str) -> None:
        """Refuse a column that is constant on the training part or cannot be standardised."""
        spread = np.ptp(column[partition.train])
        if spread == 0:
            raise self._error(
                f"column {name!r} is {column[partition.train[0]]:g} in all of the training part: {verdict}"
            )
        if spread < SMALLEST_RANGE or np.abs(column).max() > LARGEST:
            raise self._error(
                f"column {name!r} has values too large or too close together for floating point; "
                "give it in another unit"
            )

    def _error(self, message: str) -> InputError:
        return InputError(message, path=self.path)
