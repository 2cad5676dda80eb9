"""Learning from the training rows of a table what is done to its columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, TypeAlias

import numpy as np
from pydantic import Field

from sheafcli.core.types import Array
from sheafcli.tasks.columns import NumberColumn
from sheafcli.tasks.encoding import OutputName
from sheafcli.tasks.target_column import TargetColumn

Standardize: TypeAlias = Annotated[
    bool | Literal["inputs"],
    Field(
        description="Whether features, and the targets of a regression, are shifted and scaled to "
        "mean 0 and standard deviation 1 on the training part; inputs leaves the targets as they are."
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
