"""Learning from the training rows of a table what is done to its columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sheafcli.core.types import Array
from sheafcli.tasks.columns import (
    BooleanColumn,
    CategoryColumn,
    Column,
    DateColumn,
    Encoding,
    NumberColumn,
    QuantityColumn,
    TableColumn,
)
from sheafcli.tasks.encoding import OutputName
from sheafcli.tasks.kinds import Parsed
from sheafcli.tasks.target_column import TargetColumn

SMALLEST_RANGE = 1e-100
"""Below this the variance of a column leaves the range of floating point."""

MOST_CATEGORIES = 1000
"""More categories of one column than this are taken for a mistake: a column of identifiers, say."""

Standardize: TypeAlias = Annotated[
    bool | Literal["inputs"],
    Field(
        description="Whether features, and the targets of a regression, are shifted and scaled to "
        "mean 0 and standard deviation 1 on the training part; with inputs, the features alone."
    ),
]


def moments(train: Array, standardize: bool) -> tuple[Array, Array]:
    """Return what each column of training rows is shifted and divided by: mean and deviation, or 0 and 1.

    A column that is the same throughout has no scale, and a network cannot learn what it means: its scale
    is 0, which stands for an input that is 0.
    """
    if not standardize:
        return np.zeros(train.shape[1]), np.ones(train.shape[1])
    scales = train.std(axis=0)
    scales[np.ptp(train, axis=0) == 0] = 0.0
    return train.mean(axis=0), scales


def number_columns(names: Sequence[str], train: Array, standardize: bool) -> tuple[NumberColumn, ...]:
    """Return columns of numbers without missing values, of their training rows: rows x columns."""
    means, scales = moments(train, standardize)
    whole = (train == np.floor(train)).all(axis=0)
    figures = zip(
        names,
        means.tolist(),
        scales.tolist(),
        train.min(axis=0).tolist(),
        train.max(axis=0).tolist(),
        whole.tolist(),
        strict=True,
    )
    return tuple(
        NumberColumn(name=name, mean=mean, scale=scale, least=least, most=most, whole=integers)
        for name, mean, scale, least, most, integers in figures
    )


def target_column(
    names: Sequence[str], classes: Sequence[str], output: OutputName, train: Array, standardize: Standardize
) -> TargetColumn:
    """Return the target of training rows, samples x outputs, encoded for an output.

    With `standardize` True, the targets of a regression are standardised, so that losses read in units of
    the target's variance: predicting the training mean costs 1. With "inputs" they keep their unit.
    """
    means, scales = (
        moments(train, standardize is True) if output == "identity" else (np.empty(0), np.empty(0))
    )
    return TargetColumn(
        names=tuple(names),
        output=output,
        classes=tuple(classes),
        means=tuple(means.tolist()),
        scales=tuple(scales.tolist()),
    )


class SaysNothing(ValueError):
    """A column is the same in all of the training part: it can only be left out."""


def fitted(
    column: Parsed, train: NDArray[np.intp], *, standardize: bool, impute: bool, rare: float
) -> Column:
    """Return what is done to a column, learnt from its training rows.

    Of quantities the filling is the mean of the training rows, and mean and scale are those of the filled
    column; of texts it is the most frequent one, of equally frequent ones the first in order. Categories in
    fewer than `rare` times all training rows are pooled. ValueError says why nothing can be learnt of the
    column, and `SaysNothing` that it is the same everywhere.
    """
    values, missing = column.values[train], column.missing[train]
    there = values[~missing]
    if len(there) == 0:
        raise SaysNothing(
            "holds no value in the training part: it says nothing; leave it out with task.exclude"
        )
    marks = impute and bool(missing.any())
    if column.kind == "boolean":
        share = float(there.mean())
        if share in (0.0, 1.0) and not marks:
            raise _same(column.texts[int(share)])
        no, yes = column.texts
        fill = column.texts[int(share > 0.5)] if impute else None
        return BooleanColumn(name=column.name, values=(no, yes), fill=fill, marks_missing=marks)
    if column.kind == "category":
        return _categories(column, there.astype(np.intp), rare * len(train), impute=impute, marks=marks)
    mean = float(there.mean())
    values = np.where(missing, mean, values)[:, np.newaxis]
    spread = float(np.ptp(there))
    if spread == 0.0 and not marks:
        raise _same(f"{there[0]:g}")
    if 0.0 < spread < SMALLEST_RANGE:
        raise ValueError(
            f"has values too close together for floating point, {spread:g} apart at most in the training "
            "part; give it in another unit"
        )
    means, scales = moments(values, standardize)
    whole = bool((there == np.floor(there)).all())
    kind: Callable[..., NumberColumn | DateColumn] = (
        partial(DateColumn, format=column.format)
        if column.kind == "date"
        else partial(NumberColumn, whole=whole)
    )
    return kind(
        name=column.name,
        marks_missing=marks,
        mean=float(means[0]),
        scale=float(scales[0]),
        fill=mean if impute else None,
        least=float(there.min()),
        most=float(there.max()),
    )


def _categories(
    column: Parsed, codes: NDArray[np.intp], least: float, *, impute: bool, marks: bool
) -> CategoryColumn:
    counts = np.bincount(codes, minlength=len(column.texts))
    kept = [text for text, count in zip(column.texts, counts, strict=True) if count > 0 and count >= least]
    rare = [text for text, count in zip(column.texts, counts, strict=True) if 0 < count < least]
    if not kept:
        raise ValueError(
            f"has {len(rare):,} categories, all of them in fewer training rows than task.rare asks for: it "
            "says nothing; leave it out with task.exclude, or set a smaller task.rare"
        )
    if len(kept) > MOST_CATEGORIES:
        raise ValueError(
            f"has {len(kept):,} categories, each an input of the network, and at most {MOST_CATEGORIES:,} "
            "are taken; leave it out with task.exclude, or set a larger task.rare"
        )
    if len(kept) + len(rare) == 1 and not marks:
        raise _same(repr(kept[0]))
    fill = column.texts[int(counts.argmax())] if impute else None
    return CategoryColumn(
        name=column.name, categories=tuple(kept), rare=tuple(rare), fill=fill, marks_missing=marks
    )


def _same(value: str) -> SaysNothing:
    told = f"is {value} in all of the training part: it says nothing; leave it out with task.exclude"
    return SaysNothing(told)


def inputs_of(column: Parsed, fitted_column: TableColumn) -> Array:
    """Return the network inputs of a column that was read: what `encode` of its cells gives."""
    missing = column.missing
    none = np.zeros_like(missing)
    if column.kind == "category":
        texts = np.array([*column.texts, ""], dtype=object)
        codes = np.where(missing, len(column.texts), column.values).astype(np.intp)
        return fitted_column.encode(texts[codes].tolist()).X
    values = (
        fitted_column.scaled(column.values) if isinstance(fitted_column, QuantityColumn) else column.values
    )
    return fitted_column.completed(Encoding(values[:, np.newaxis].copy(), missing, none, none)).X
