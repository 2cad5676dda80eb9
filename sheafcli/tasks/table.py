"""Tasks from tables in files: which columns, what they hold, and which rows are trained on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from sheafcli.core.magnitude import beyond
from sheafcli.core.types import Array
from sheafcli.errors import InputError, Remedy
from sheafcli.tasks.cells import is_missing, means_nothing, shown
from sheafcli.tasks.columns import OTHER, CategoryColumn
from sheafcli.tasks.columns import Column as Fitted
from sheafcli.tasks.csv_file import Column, Roles, Table, read_table
from sheafcli.tasks.csv_rows import PARQUET, Encoding, Written
from sheafcli.tasks.data import Rows, TaskData
from sheafcli.tasks.faults import MISSING, Faults
from sheafcli.tasks.fitting import SMALLEST_RANGE, SaysNothing, Standardize, fitted, inputs_of, target_column
from sheafcli.tasks.kinds import Parsed, settle
from sheafcli.tasks.partition import (
    Cut,
    Fold,
    Partition,
    Stratify,
    TestFraction,
    UnknownPart,
    ValidationFraction,
    check_shares,
)
from sheafcli.tasks.preprocessing import Missing, Preprocessing
from sheafcli.tasks.separators import CHARACTERS, Decimal, Delimiter
from sheafcli.tasks.specification import TaskSpecification
from sheafcli.tasks.table_target import Target, read_target

MOST_NAMED = 5


def _by_name(names: dict[str, str]) -> BeforeValidator:
    """Let a character stand for its name, so that `;` may be written for semicolon."""
    return BeforeValidator(lambda given: names.get(given, given) if isinstance(given, str) else given)


class _Formats(dict[str, str]):
    """Formats of dates by column; with a hash, as all that a specification holds has one."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))


class CsvTable(TaskSpecification):
    """A table from a file, cut into parts; every column says what it holds by its cells, or is told to.

    `sheafcli.tasks.table_target.read_target` says when the target is a quantity and when classes,
    `sheafcli.tasks.kinds` what a feature holds, `sheafcli.tasks.csv_rows.csv_rows` when the first row is
    taken for a header, and `sheafcli.tasks.separators.recognise` what separates values.
    """

    kind: Literal["csv"] = Field("csv", description="A table from a CSV file.")
    path: Path = Field(
        strict=False, description="The file: CSV, header optional; or .parquet, where pyarrow is installed."
    )
    target: Column | tuple[Column, ...] = Field(
        description="The column to predict, or a list of them: by name, or by position from 0 (or "
        "from -1 backwards)."
    )
    features: tuple[Column, ...] | None = Field(
        None,
        description="The columns to predict from, by name or position; left out, all but the target and "
        "those in exclude.",
    )
    exclude: tuple[Column, ...] = Field(
        (), description="Columns to leave out, such as names and identifiers, by name or position."
    )
    categories: tuple[Column, ...] = Field(
        (), description="Features whose numbers are names, as postal codes are; text is categories by itself."
    )
    dates: Annotated[dict[str, str], AfterValidator(_Formats)] = Field(
        _Formats(),
        json_schema_extra={"allowed": "a mapping of names to formats, as in {when: '%d.%m.%Y'}"},
        description="Features that are dates, each with its format: iso is 2024-01-31, any other one is "
        "written as for Python's strptime; a date becomes a number of days.",
    )
    missing: Missing = Field(
        "error",
        description="What becomes of a row with a missing value: error lists them, drop leaves those rows "
        "out, impute fills in the mean or the most frequent value of the training part, and adds an input "
        "that marks it.",
    )
    rare: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.01,
        description="Categories in a smaller share of the training rows are taken together as one, "
        "(other), which also stands for categories that a prediction meets first; 0 keeps all apart.",
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
    encoding: Encoding = Field(
        "utf-8", description="The encoding of the text: what Excel saves in Europe is often windows-1252."
    )
    test_fraction: TestFraction = 0.25
    validation_fraction: ValidationFraction = 0.0
    split: Literal["random", "ordered", "column"] = Field(
        "random",
        description="How rows are cut: random draws them by the seed; ordered trains on the first rows, "
        "validates on the next and tests on the last, as a time series needs; column has split_column say "
        "it.",
    )
    split_column: Column | None = Field(
        None,
        description="With split: column, the column that says of each row train, validation or test.",
    )
    stratify: Stratify = True
    fold: Fold = None
    standardize: Standardize = True

    @field_validator("target", "features", "exclude", "categories", "split_column", mode="before")
    @classmethod
    def _check_columns(cls, value: Any, field: ValidationInfo) -> Any:
        """Say in one sentence what a union of types would say in three."""
        listed = isinstance(value, list | tuple)
        if value is None and field.field_name in ("features", "split_column"):
            return None
        if field.field_name in ("features", "exclude", "categories") and not listed:
            raise ValueError(f"{field.field_name} is a list of columns, in brackets")
        columns = value if listed else [value]
        if not columns and field.field_name in ("target", "features"):
            raise ValueError("an empty list names no column")
        if listed and field.field_name == "split_column":
            raise ValueError("one column says the part of a row, not a list of them")
        # not isinstance: True is an int
        if any(type(column) not in (str, int) for column in columns):
            raise ValueError("a column is a name (text) or a position (a whole number)")
        return tuple(value) if isinstance(value, list) else value

    @field_validator("dates", mode="before")
    @classmethod
    def _check_dates(cls, value: Any) -> Any:
        """Refuse what is no mapping of columns to formats."""
        wanted = "dates is a mapping of names to formats, as in {when: iso} or {when: '%d.%m.%Y'}"
        if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
            raise ValueError(wanted)
        if any(
            not isinstance(format_, str) or (format_ != "iso" and "%" not in format_)
            for format_ in value.values()
        ):
            raise ValueError(f"{wanted}; a format is iso, or has %d, %m, %Y and the like in it")
        return value

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        check_shares(self.test_fraction, self.validation_fraction, self.fold)
        if self.split == "column" and self.split_column is None:
            raise _conflict(
                "split_column",
                "missing; split: column needs the column that says train or test of each row",
            )
        if self.split != "column" and self.split_column is not None:
            raise _conflict(
                "split_column",
                f"given {self.split_column!r}, and split is {self.split}; set split: column, or leave it out",
            )
        if self.split == "column" and (self.fold or self.validation_fraction):
            key = "fold" if self.fold else "validation_fraction"
            given = getattr(self, key)
            raise _conflict(key, f"given {given!r}, and a column says which rows are which; leave it out")
        return self

    def load(self, seed: np.random.SeedSequence, output: str | None) -> TaskData:
        """Read the file, cut it, and learn from the training part what is done to each column."""
        faults = Faults(self.path)
        table = read_table(self.path, self._roles(), self.written, faults)
        notes = [*table.notes]
        table, columns = self._columns(table, faults, notes)
        target = read_target(table, self.path, output)
        notes += target.notes
        partition = self._partition(table, target, seed)
        made = self._fitted(table, columns, partition, faults)
        self._check_target(table, target, partition, faults)
        faults.check()
        preprocessing = Preprocessing(
            columns=tuple(made),
            target=target_column(
                table.targets, target.classes, target.output, target.y[partition.train], self.standardize
            ),
            missing=self.missing,
        )
        X = np.hstack([inputs_of(column, fit) for column, fit in zip(columns, made, strict=True)])
        notes += self._unseen(columns, made, partition)
        parts = (partition.train, partition.test, partition.validation)
        train, test, validation = (table.lines[part] for part in parts)
        word = "row" if self.path.suffix.lower() == PARQUET else "line"
        rows = Rows(train, test, validation, word)
        task = partition.cut(X, target.y, preprocessing, notes=tuple(notes), rows=rows)
        for part, y in ((task.X_test, task.y_test), (task.X_validation, task.y_validation)):
            if part is not None and y is not None:
                self._check_outliers(part, preprocessing.inputs)
                if target.output == "identity":
                    self._check_outliers(y, table.targets)
        return task

    @property
    def written(self) -> Written:
        """How the file is written, as far as it is told."""
        return Written(self.delimiter, self.decimal, self.encoding)

    def _roles(self) -> Roles:
        return Roles(
            self.target if isinstance(self.target, tuple) else (self.target,),
            self.features,
            self.exclude,
            self.split_column,
            self.categories,
            self.dates,
        )

    def _columns(self, table: Table, faults: Faults, notes: list[str]) -> tuple[Table, list[Parsed]]:
        """Settle the kind of every feature; with missing values left out or told. Faults are told here."""
        columns: list[Parsed] = []
        for gathered in table.features:
            name = gathered.name
            settled = settle(
                gathered,
                table.lines,
                faults,
                category=name in table.categories,
                date=table.formats.get(name, ""),
            )
            if settled is not None:
                columns.append(settled.column)
                notes += [f"{self.path.name}: {note}" for note in settled.notes]
        if self.missing == "error":
            for column in columns:
                for at in np.flatnonzero(column.missing).tolist():
                    faults.add(MISSING, _cell(table, column.name, at), column.name, int(table.lines[at]))
            for name, cells in zip(table.targets, table.target_cells, strict=True):
                for at in (at for at, cell in enumerate(cells) if is_missing(cell)):
                    faults.add(MISSING, cells[at], name, int(table.lines[at]))
            faults.check()
            return table, columns
        faults.check()
        gone = np.array([any(map(means_nothing, cells)) for cells in zip(*table.target_cells, strict=True)])
        if self.missing == "drop":
            for column in columns:
                gone |= column.missing
        if not gone.any():
            return table, columns
        if len(gone) - gone.sum() < 2:
            raise self._error(
                f"{gone.sum():,} of {len(gone):,} rows have a missing value, and fewer than two are left; "
                "set task.missing: impute, or leave out the columns where most are missing with "
                "task.exclude"
            )
        why = "" if self.missing == "drop" else " in the target"
        notes.append(
            f"{self.path.name}: {gone.sum():,} of {len(gone):,} rows are left out, for a value is "
            f"missing there{why}"
        )
        left = [Parsed(c.name, c.kind, c.values[~gone], c.texts, c.format) for c in columns]
        return table.keep(~gone), left

    def _partition(self, table: Table, target: Target, seed: np.random.SeedSequence) -> Partition:
        try:
            if self.split == "column":
                return Partition.told(table.parts)
            cut = Cut(
                self.test_fraction,
                self.validation_fraction,
                self.fold,
                self.split == "ordered",
                self.stratify,
            )
            codes = None if target.output == "identity" else target.codes
            return cut.draw(len(table.lines), seed, codes)
        except UnknownPart as error:
            raise InputError(
                f"{shown(error.cell)} in {self.split_column!r} is no part; must be train, validation or test",
                path=self.path,
                line=int(table.lines[error.row]),
            ) from None
        except ValueError as error:
            raise self._error(str(error)) from None

    def _fitted(
        self, table: Table, columns: Iterable[Parsed], partition: Partition, faults: Faults
    ) -> list[Fitted]:
        """Learn what is done to each column; what says nothing is at fault."""
        made = []
        for column in columns:
            try:
                fit = fitted(
                    column,
                    partition.train,
                    standardize=bool(self.standardize),
                    impute=self.missing == "impute",
                    rare=self.rare,
                )
                made.append(fit)
            except ValueError as error:
                out = Remedy("exclude", column.name, why="the same in all rows")
                remedy = out if isinstance(error, SaysNothing) else None
                faults.column(f"column {column.name!r} {error}", remedy=remedy)
        return made

    def _check_target(self, table: Table, target: Target, partition: Partition, faults: Faults) -> None:
        """Note targets of which there is nothing to predict, or that cannot be standardised."""
        train = target.y[partition.train]
        if target.output != "identity":
            if np.ptp(train, axis=0).max() == 0:
                faults.column(
                    f"target {table.targets[0]!r} has the same class in all of the training part: "
                    "there is nothing to predict; give more samples, or another seed"
                )
            return
        for name, values in zip(table.targets, train.T, strict=True):
            spread = float(np.ptp(values))
            if spread == 0.0:
                faults.column(
                    f"column {name!r} is {values[0]:g} in all of the training part: there is nothing to "
                    "predict"
                )
            elif spread < SMALLEST_RANGE:
                faults.column(
                    f"column {name!r} has values too close together for floating point, {spread:g} apart at "
                    "most in the training part; give it in another unit"
                )

    def _unseen(
        self, columns: Iterable[Parsed], made: Iterable[Fitted], partition: Partition
    ) -> Iterable[str]:
        """Say which categories stand outside of the training part alone."""
        held = np.concatenate([partition.test, partition.validation])
        for column, fit in zip(columns, made, strict=True):
            if not isinstance(fit, CategoryColumn):
                continue
            codes = column.values[held][~column.missing[held]].astype(np.intp)
            texts = [column.texts[code] for code in np.unique(codes)]
            unseen = [text for text in texts if text not in fit.codes]
            if unseen:
                more = f" and {len(unseen) - MOST_NAMED:,} more" if len(unseen) > MOST_NAMED else ""
                yield (
                    f"{self.path.name}: {column.name!r} has categories that no training row has: "
                    f"{', '.join(map(shown, unseen[:MOST_NAMED]))}{more}; they are taken "
                    + (f"as {OTHER}" if fit.rare else "as none of the known ones")
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


def _cell(table: Table, name: str, at: int) -> str:
    """Return the cell of a feature, as it is written."""
    gathered = next(column for column in table.features if column.name == name)
    return gathered.texts[int(gathered.codes[at])]


def _conflict(key: str, message: str) -> PydanticCustomError:
    return PydanticCustomError("conflict", "{message}", {"key": key, "message": message})


def written_of(task: TaskSpecification) -> Written:
    """Return how another file with the columns of a task is written: as the task's own file was."""
    return task.written if isinstance(task, CsvTable) else Written()
