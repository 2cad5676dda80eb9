"""The columns of a table: what each holds, the network inputs that it makes, and the way back to its cells.

A column of kind

- number makes one input, (x - mean) / scale;
- date likewise, of the days since 1970-01-01, with the time of day as a part of a day;
- boolean makes one input, 0 or 1;
- category makes one input for each category that is kept, 1 for its own and 0 for all others. Rare ones of
  the training part share one more, `NAME=(other)`, as do those that it had not; without rare ones, those
  are 0 throughout.

Where cells were missing in the training part and are filled in, one more input says so: `NAME=(missing)`, 0
or 1.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from sheafcli.core.magnitude import LARGEST
from sheafcli.core.types import Array
from sheafcli.interop.onnx_table import Lookup, Quantity
from sheafcli.tasks.cells import MISSING as MISSING_MARKS
from sheafcli.tasks.cells import MISSING_WORDS, is_number, may_be_missing, means_nothing
from sheafcli.tasks.dates import day, days

OTHER, MISSING = "(other)", "(missing)"
UNKNOWN = "\0"
"""A text that no table holds."""
Cell: TypeAlias = float | str
Flags: TypeAlias = NDArray[np.bool_]


class Encoding(NamedTuple):
    """The cells of one column as network inputs, rows x inputs of the column; see `Encoded`."""

    X: Array
    missing: Flags
    unseen: Flags
    unusable: Flags


class TableColumn(BaseModel, ABC):
    """A column: its name in the file, and whether an input of its own marks the cells that are missing."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, defer_build=True)

    name: str
    marks_missing: bool = False

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of its network inputs, in order."""
        return (*self._value_inputs, *((f"{self.name}={MISSING}",) if self.marks_missing else ()))

    def encode(self, cells: Sequence[str]) -> Encoding:
        """Return cells as network inputs; NaN where nothing can stand for a cell."""
        return self.completed(self._encoded(cells))

    def completed(self, values: Encoding) -> Encoding:
        """Fill in what is missing among the inputs that hold the value, and mark it."""
        block, missing, unseen, unusable = values
        filling = self._filling
        if filling is not None:
            block[missing] = filling
        if self.marks_missing:
            block = np.hstack([block, missing[:, np.newaxis].astype(np.float64)])
        return Encoding(block, missing, unseen, unusable)

    def decode(self, X: Array) -> list[Cell]:
        """Return the cells that network inputs, rows x inputs of the column, stand for; "" where missing.

        Of inputs that no cell makes it is the nearest: the category of the largest input, the truth value of
        0.5 and above.
        """
        cells = self._decoded(X[:, : len(self._value_inputs)])
        if not self.marks_missing:
            return cells
        return ["" if missing else cell for cell, missing in zip(cells, X[:, -1] >= 0.5, strict=True)]

    @property
    @abstractmethod
    def operators(self) -> Quantity | Lookup:
        """What is done to it, as it is written into an ONNX graph."""

    @property
    def is_filled(self) -> bool:
        """Whether something stands for a missing value."""
        return self._filling is not None

    @property
    @abstractmethod
    def _value_inputs(self) -> tuple[str, ...]:
        """The inputs that hold the value."""

    @property
    @abstractmethod
    def _filling(self) -> Array | None:
        """The inputs of what stands for a missing value, None if nothing does."""

    @abstractmethod
    def _encoded(self, cells: Sequence[str]) -> Encoding:
        """Return the inputs that hold the value, NaN where there is none."""

    @abstractmethod
    def _decoded(self, X: Array) -> list[Cell]:
        """Return the cells that those inputs stand for."""

    @property
    @abstractmethod
    def treatment(self) -> str:
        """What is done to the values, in a few words."""

    @property
    @abstractmethod
    def filled_with(self) -> str:
        """What stands for a missing value, in the table's terms; "" if nothing does."""


class QuantityColumn(TableColumn, ABC):
    """A column of quantities, shifted and scaled.

    Attributes
    ----------
    mean, scale : input = (x - mean) / scale; a scale of 0 says that the column is the same throughout the
        training part, and its input 0.
    fill : what stands for a missing value, None if nothing does.
    least, most : the range of the training part, None where it is not known.
    """

    mean: float = 0.0
    scale: float = 1.0
    fill: float | None = None
    least: float | None = None
    most: float | None = None

    @property
    def _value_inputs(self) -> tuple[str, ...]:
        return (self.name,)

    @property
    def _filling(self) -> Array | None:
        return None if self.fill is None else self.scaled(np.array([self.fill]))

    @property
    def operators(self) -> Quantity:
        """What is done to it, as it is written into an ONNX graph."""
        return Quantity(self.name, self.mean, self.scale, self.fill, self.marks_missing)

    def scaled(self, values: Array) -> Array:
        """Return values of the table as inputs."""
        return np.asarray((values - self.mean) / self.scale if self.scale else np.zeros_like(values))

    def unscaled(self, inputs: Array) -> Array:
        """Return inputs as values of the table."""
        return inputs * self.scale + self.mean

    @property
    def treatment(self) -> str:
        """What is done to the values, in a few words."""
        if self.scale == 0.0:
            return "constant: 0"
        if self.mean == 0.0 and self.scale == 1.0:
            return "as it is"
        return f"(x - {self.mean:.6g}) / {self.scale:.6g}"


class NumberColumn(QuantityColumn):
    """A column of numbers; `whole` says that all of the training part are whole ones."""

    kind: Literal["number"] = "number"
    whole: bool = False

    def _encoded(self, cells: Sequence[str]) -> Encoding:
        values, missing, unusable = numbers(cells)
        return Encoding(self.scaled(values)[:, np.newaxis], missing, np.zeros_like(missing), unusable)

    def _decoded(self, X: Array) -> list[Cell]:
        values: list[Cell] = self.unscaled(X[:, 0]).tolist()
        return values

    @property
    def filled_with(self) -> str:
        """What stands for a missing value; "" if nothing does."""
        return "" if self.fill is None else f"{self.fill:.6g}"


class DateColumn(QuantityColumn):
    """A column of dates, in a format of `datetime.strptime` or "iso", as days since 1970-01-01."""

    kind: Literal["date"] = "date"
    format: str

    def _encoded(self, cells: Sequence[str]) -> Encoding:
        known = {cell: days(cell, self.format) for cell in set(cells)}
        values = np.array([known[cell] for cell in cells], dtype=np.float64)
        missing = np.array([cell.strip() == "" or may_be_missing(cell) for cell in cells], dtype=bool)
        values[missing] = np.nan
        unusable = np.isnan(values) & ~missing
        return Encoding(self.scaled(values)[:, np.newaxis], missing, np.zeros_like(missing), unusable)

    def _decoded(self, X: Array) -> list[Cell]:
        return [day(value, self.format) for value in self.unscaled(X[:, 0]).tolist()]

    @property
    def filled_with(self) -> str:
        """What stands for a missing value, to the day; "" if nothing does."""
        return "" if self.fill is None else day(float(round(self.fill)), self.format)


class TextColumn(TableColumn, ABC):
    """A column of texts, of which finitely many are known."""

    @property
    @abstractmethod
    def known(self) -> tuple[str, ...]:
        """Every text that stands for something."""

    @property
    def operators(self) -> Lookup:
        """What is done to it, as it is written into an ONNX graph: with what says that there is no value."""
        words = sorted(MISSING_WORDS | MISSING_MARKS)
        nothing = {spelt for word in words for spelt in (word, word.upper(), word.capitalize())}
        texts = [*self.known, *sorted(nothing - set(self.known))]
        rows = self.encode([*texts, UNKNOWN]).X.tolist()
        return Lookup(self.name, dict(zip(texts, rows[:-1], strict=True)), rows[-1])


class BooleanColumn(TextColumn):
    """A column of two texts that say no and yes, in any capitals; `fill` stands for a missing one."""

    kind: Literal["boolean"] = "boolean"
    values: tuple[str, str]
    fill: str | None = None

    @property
    def known(self) -> tuple[str, ...]:
        """Both texts, in the usual capitals."""
        spelt = ((v, v.lower(), v.upper(), v.capitalize()) for v in self.values)
        return tuple(dict.fromkeys(text for texts in spelt for text in texts))

    @property
    def _value_inputs(self) -> tuple[str, ...]:
        return (self.name,)

    @property
    def _filling(self) -> Array | None:
        return None if self.fill is None else np.array([float(self.values.index(self.fill))])

    def _encoded(self, cells: Sequence[str]) -> Encoding:
        codes = {value.casefold(): float(code) for code, value in enumerate(self.values)}
        values = np.array([codes.get(cell.casefold(), np.nan) for cell in cells], dtype=np.float64)
        missing = np.array([cell == "" or may_be_missing(cell) for cell in cells], dtype=bool) & np.isnan(
            values
        )
        unusable = np.isnan(values) & ~missing
        return Encoding(values[:, np.newaxis], missing, np.zeros_like(missing), unusable)

    def _decoded(self, X: Array) -> list[Cell]:
        return [self.values[int(value >= 0.5)] for value in X[:, 0]]

    @property
    def treatment(self) -> str:
        """What is done to the values, in a few words."""
        return f"{self.values[0]} 0, {self.values[1]} 1"

    @property
    def filled_with(self) -> str:
        """What stands for a missing value; "" if nothing does."""
        return self.fill or ""


class CategoryColumn(TextColumn):
    """A column of categories.

    Attributes
    ----------
    categories : those with an input of their own, in order.
    rare : those of the training part that share the input `(other)`; there is one if there are any.
    fill : what stands for a missing value, None if nothing does.
    """

    kind: Literal["category"] = "category"
    categories: tuple[str, ...]
    rare: tuple[str, ...] = ()
    fill: str | None = None

    @property
    def known(self) -> tuple[str, ...]:
        """Every category of the training part."""
        return (*self.categories, *self.rare)

    @property
    def _value_inputs(self) -> tuple[str, ...]:
        return tuple(f"{self.name}={value}" for value in (*self.categories, *((OTHER,) if self.rare else ())))

    @cached_property
    def codes(self) -> dict[str, int]:
        """The place of each known category among the inputs."""
        places = {value: code for code, value in enumerate(self.categories)}
        return places | dict.fromkeys((*self.rare, OTHER) if self.rare else (), len(self.categories))

    @property
    def _filling(self) -> Array | None:
        if self.fill is None:
            return None
        return np.asarray(np.eye(len(self._value_inputs))[self.codes[self.fill]])

    def _encoded(self, cells: Sequence[str]) -> Encoding:
        known, width = self.codes, len(self._value_inputs)
        codes = np.array([known.get(cell, -1) for cell in cells], dtype=np.intp)
        outside = np.flatnonzero(codes < 0)
        missing = np.zeros(len(cells), dtype=bool)
        missing[outside] = [means_nothing(cells[at]) for at in outside.tolist()]
        unseen = (codes < 0) & ~missing
        if self.rare:
            codes[unseen] = len(self.categories)
        block = np.zeros((len(cells), width))
        placed = np.flatnonzero(codes >= 0)
        block[placed, codes[placed]] = 1.0
        block[missing] = np.nan
        return Encoding(block, missing, unseen, np.zeros_like(missing))

    def _decoded(self, X: Array) -> list[Cell]:
        names = (*self.categories, *((OTHER,) if self.rare else ()))
        return [
            names[code] if any_ else OTHER
            for code, any_ in zip(X.argmax(axis=1).tolist(), (X != 0.0).any(axis=1), strict=True)
        ]

    @property
    def treatment(self) -> str:
        """What is done to the values, in a few words."""
        rare = len(self.rare)
        pooled = f"; {rare} rare {'one' if rare == 1 else 'ones'} as (other)" if rare else ""
        return f"one-hot: {', '.join(self.categories)}{pooled}"

    @property
    def filled_with(self) -> str:
        """What stands for a missing value; "" if nothing does."""
        return self.fill or ""


Column: TypeAlias = NumberColumn | BooleanColumn | CategoryColumn | DateColumn


def numbers(cells: Sequence[str]) -> tuple[Array, Flags, Flags]:
    """Return plain numbers in range, NaN for other cells; which are missing; which are something else."""
    try:
        values = np.array([float(cell) for cell in cells], dtype=np.float64)
        joined = "".join(cells)
        quick = "_" not in joined and joined.isascii()
    except ValueError:
        quick = False
    if not quick:
        values = np.array([float(cell) if is_number(cell) else np.nan for cell in cells], dtype=np.float64)
    sound = (values >= -LARGEST) & (values <= LARGEST)
    missing = np.zeros(len(cells), dtype=bool)
    odd = np.flatnonzero(~sound)
    missing[odd] = [may_be_missing(cells[at]) for at in odd.tolist()]
    values[odd] = np.nan
    return values, missing, ~sound & ~missing
