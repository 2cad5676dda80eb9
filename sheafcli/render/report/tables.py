"""Tables of the report: what every figure shows in numbers, legible where nothing can be drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import pandas as pd

from sheafcli.render.numbers import MISSING, aligned, percent, times
from sheafcli.render.palette import OPERATION_COLOURS

FIGURE_SPACE: Final = "\N{FIGURE SPACE}"
DIGITS = 4


@dataclass(frozen=True)
class Cell:
    """A cell: its text, a bar behind it (a share of 1), a dot of a colour before it."""

    text: str
    bar: float | None = None
    dot: str | None = None


@dataclass(frozen=True)
class Column:
    """A column: its header, its cells, and whether they are numbers, or words that may take several lines."""

    header: str
    cells: Sequence[Cell]
    is_number: bool
    is_words: bool = False


@dataclass(frozen=True)
class Table:
    """A table: its caption, and its columns, of which the first names the rows."""

    caption: str
    columns: Sequence[Column]

    @property
    def rows(self) -> list[tuple[Cell, ...]]:
        """The cells row by row."""
        return list(zip(*(column.cells for column in self.columns), strict=True))


Write: TypeAlias = Callable[[Iterable[Any]], list[Cell]]
"""How a column becomes cells."""


def number_cells(values: Iterable[float]) -> list[Cell]:
    """Return numbers with four significant digits, their points in line."""
    return [Cell(text.lstrip().replace(" ", FIGURE_SPACE)) for text in aligned(list(values), DIGITS)]


def share_cells(shares: Iterable[float]) -> list[Cell]:
    """Return shares in percent, each over a bar of its length."""
    return [
        Cell(percent(share), None if math.isnan(share) else min(max(share, 0.0), 1.0)) for share in shares
    ]


def percent_cells(shares: Iterable[float]) -> list[Cell]:
    """Return shares in percent."""
    return [Cell(percent(share)) for share in shares]


def factor_cells(values: Iterable[float]) -> list[Cell]:
    """Return factors with two decimals."""
    return [Cell(MISSING if math.isnan(value) else f"{value:.2f}") for value in values]


def count_cells(values: Iterable[int]) -> list[Cell]:
    """Return whole numbers."""
    return [Cell(f"{value:,}") for value in values]


def text_cells(values: Iterable[object]) -> list[Cell]:
    """Return text as it is."""
    return [Cell(str(value)) for value in values]


def word_cells(values: Iterable[object]) -> list[Cell]:
    """Return text that may go on in a new line."""
    return [Cell(str(value)) for value in values]


def rounding_cells(values: Iterable[float]) -> list[Cell]:
    """Return how many times its rounding something is."""
    return [Cell(times(value)) for value in values]


def operation_cells(values: Iterable[object]) -> list[Cell]:
    """Return operations, each with its colour."""
    return [Cell(str(value), dot=OPERATION_COLOURS[str(value)]) for value in values]


NUMBERS: Final = (number_cells, share_cells, percent_cells, factor_cells, count_cells, rounding_cells)

WRITERS: Final[Mapping[str, tuple[str, Write]]] = {
    "blame": ("blame", share_cells),
    "layer": ("layer", text_cells),
    "neuron": ("neuron", text_cells),
    "sample": ("sample", text_cells),
    "line": ("line", text_cells),
    "row": ("row", text_cells),
    "class": ("class", text_cells),
    "edge": ("edge", text_cells),
    "operation": ("operation", operation_cells),
    "samples": ("samples", count_cells),
    "step": ("step", count_cells),
    "share": ("share", share_cells),
    "discord": ("discord", number_cells),
    "std": ("std", number_cells),
    "median": ("median", number_cells),
    "max": ("max", number_cells),
    "resistance": ("resistance share", percent_cells),
    "excess": ("excess", factor_cells),
    "kind": ("likeliest kind", text_cells),
    "kind_blame": ("if here", percent_cells),
    "evidence": ("evidence, nats", number_cells),
    "part": ("likeliest part", text_cells),
    "explainable": ("explainable", percent_cells),
    "loss": ("loss", number_cells),
    "fitted_loss": ("loss, fitted", number_cells),
    "repaired_loss": ("loss, repaired", number_cells),
    "accuracy": ("accuracy", percent_cells),
    "precision": ("precision", percent_cells),
    "recall": ("recall", percent_cells),
    "f1": ("F1", percent_cells),
    "auc": ("AUC", number_cells),
    "r2": ("R2", number_cells),
    "rmse": ("RMSE", number_cells),
    "mae": ("MAE", number_cells),
    "active": ("active", percent_cells),
    "target": ("target", text_cells),
    "predicted": ("predicted", text_cells),
    "worst_edge": ("worst edge", text_cells),
    "train_loss": ("train loss", number_cells),
    "validation_loss": ("validation loss", number_cells),
    "test_loss": ("test loss", number_cells),
    "energy": ("energy", number_cells),
    "train_accuracy": ("train accuracy", percent_cells),
    "test_accuracy": ("test accuracy", percent_cells),
    "test_r2": ("test R2", number_cells),
    "test_rmse": ("test RMSE", number_cells),
    "test_f1": ("test F1", percent_cells),
    "test_auc": ("test AUC", number_cells),
    "seconds": ("seconds", factor_cells),
    "gap": ("gap", number_cells),
    "largest": ("largest eigenvalue", number_cells),
    "condition": ("condition number", number_cells),
    "vertex": ("operation", text_cells),
    "local_rms": ("local rms", number_cells),
    "times_rounding": ("x rounding", rounding_cells),
    "kind_says": ("what it looks like", word_cells),
    "segment": ("stands for", word_cells),
    "over_samples": ("", text_cells),
}
"""How each column of the run's tables is headed and written."""


MAY_BE_NUMBERS: Final = ("target", "predicted")
"""Columns that hold numbers of a regression, or names of classes."""


def are_numbers(values: pd.Series[Any]) -> bool:
    """Say whether a column of text is one of numbers with decimals: of a regression, not codes of classes."""
    numbers = pd.to_numeric(values, errors="coerce")
    return bool(numbers.notna().all() and (numbers % 1 != 0).any())


def table_of(frame: pd.DataFrame, columns: Sequence[str], caption: str) -> Table:
    """Return those of the columns, in this order, that a frame has."""
    made = []
    for column in columns:
        if column in frame:
            header, write = WRITERS[column]
            if column in MAY_BE_NUMBERS and are_numbers(frame[column]):
                frame, write = frame.assign(**{column: pd.to_numeric(frame[column])}), number_cells
            made.append(Column(header, write(frame[column]), write in NUMBERS, write is word_cells))
    return Table(caption, made)
