"""What is done to the columns of a table, and undone: cells and inputs, outputs and the target's units.

The contract, for whatever works in the table's own terms:

    preprocessing = run.preprocessing()          # of a RunDirectory, read from preprocessing.json
    preprocessing = task.preprocessing           # a TaskData: the same, as it was learnt
    encoded = preprocessing.encode(columns)      # cells as text, by column name -> .X, rows x inputs
    preprocessing.decode(X)                      # the way back: cells by column name
    preprocessing.inputs                         # the name of every network input, in order
    preprocessing.places["age"]                  # the slice of the inputs that a column makes
    preprocessing.target.values(outputs)         # what a network gives, in the target's own units
    preprocessing.target.classes                 # names, in the order of the codes
    preprocessing.described()                    # a row a column, for people

Every kind of task has one: of arrays and synthetic data the columns are called x1, x2, ... and left as they
are. What was learnt (means, scales, categories, fillings) was learnt from the training part alone. It is
applied row by row, so that a table of any length can be read in blocks; and it is numbers and text alone,
so that it is stored as JSON and can be written into an ONNX graph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from sheafcli.core.types import Array
from sheafcli.tasks.columns import Cell, Column, NumberColumn
from sheafcli.tasks.encoding import OutputName
from sheafcli.tasks.target_column import TargetColumn

Missing = Literal["error", "drop", "impute"]


@dataclass(frozen=True, eq=False)
class Encoded:
    """Rows of a table as network inputs, and what was met on the way.

    Attributes
    ----------
    X : rows x inputs; NaN in the inputs of a cell that nothing usable stands in and that nothing stands for.
    missing : rows x columns; the cells without a value, whether something stands for them or not.
    unseen : rows x columns; the categories that the training part had not.
    unusable : rows x columns; the cells that hold something else than their column does, as text among
        numbers.
    """

    X: Array
    missing: NDArray[np.bool_]
    unseen: NDArray[np.bool_]
    unusable: NDArray[np.bool_]

    @property
    def complete(self) -> NDArray[np.bool_]:
        """Which rows a network can take."""
        return np.asarray(~np.isnan(self.X).any(axis=1))


class Preprocessing(BaseModel):
    """What is done to the columns of a table.

    Attributes
    ----------
    columns : the features, in the order of the network's inputs; see `sheafcli.tasks.columns`.
    target : what is predicted; see `sheafcli.tasks.target_column`.
    missing : what becomes of a row with a missing value: refused, left out, or filled in.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)

    columns: tuple[Annotated[Column, Field(discriminator="kind")], ...]
    target: TargetColumn
    missing: Missing = "error"

    @classmethod
    def plain(
        cls, features: Sequence[str], targets: Sequence[str], output: OutputName, classes: Sequence[str]
    ) -> Self:
        """Return what leaves numbers as they are."""
        n = len(targets) if output == "identity" else 0
        target = TargetColumn(
            names=tuple(targets),
            output=output,
            classes=tuple(classes),
            means=(0.0,) * n,
            scales=(1.0,) * n,
        )
        return cls(columns=tuple(NumberColumn(name=name) for name in features), target=target)

    @property
    def is_plain(self) -> bool:
        """Whether nothing is done to any column, nor to the target."""
        untouched = (
            isinstance(column, NumberColumn) and (column.mean, column.scale, column.fill) == (0.0, 1.0, None)
            for column in self.columns
        )
        return self.target.is_plain and all(untouched)

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each column in the file."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """The name of each network input."""
        return tuple(name for column in self.columns for name in column.inputs)

    @cached_property
    def places(self) -> dict[str, slice]:
        """Where the inputs of each column are, by its name."""
        ends = np.cumsum([len(column.inputs) for column in self.columns]).tolist()
        starts = [0, *ends[:-1]]
        return {
            column.name: slice(start, end)
            for column, start, end in zip(self.columns, starts, ends, strict=True)
        }

    def encode(self, columns: Mapping[str, Sequence[str]]) -> Encoded:
        """Return rows as network inputs. `columns` holds the cells of all columns, stripped of blanks.

        A KeyError names a column that is not there. Numbers have a point before their decimals.
        """
        encodings = [column.encode(columns[column.name]) for column in self.columns]
        X = np.hstack([encoding.X for encoding in encodings])
        missing, unseen, unusable = (
            np.column_stack([getattr(encoding, flag) for encoding in encodings])
            for flag in ("missing", "unseen", "unusable")
        )
        return Encoded(X, missing, unseen, unusable)

    def scaled(self, values: Array) -> Array:
        """Return numbers, rows x columns, as network inputs: of columns of numbers, none of them missing."""
        return np.column_stack(
            [
                column.scaled(values[:, at])
                for at, column in enumerate(self.columns)
                if isinstance(column, NumberColumn)
            ]
        )

    def decode(self, X: Array) -> dict[str, list[Cell]]:
        """Return the cells that network inputs, rows x inputs, stand for, by column: the inverse of `encode`.

        Numbers are floats, everything else is text; "" is a missing value. Of inputs that no cell makes, as
        an optimisation finds them, it is the nearest cell.
        """
        return {column.name: column.decode(X[:, self.places[column.name]]) for column in self.columns}

    def described(self) -> list[dict[str, object]]:
        """Return a row a column: column, kind, inputs (how many), treatment, missing (what stands for it)."""
        return [
            {
                "column": column.name,
                "kind": column.kind,
                "inputs": len(column.inputs),
                "treatment": column.treatment,
                "missing": column.filled_with,
            }
            for column in self.columns
        ]

    def to_json(self) -> str:
        """Return it as JSON that `from_json` reads back, every number to the bit."""
        return self.model_dump_json(indent=1, exclude_defaults=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read what `to_json` has written; ValueError says what is wrong with anything else."""
        return cls.model_validate_json(text)
