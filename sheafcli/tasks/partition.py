"""One table cut into a training and a test part, and standardised by the training part alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sheafcli.core.types import Array, Shape
from sheafcli.tasks.data import OutputName, TaskData

TestFraction: TypeAlias = Annotated[
    float,
    Field(gt=0, lt=1, description="Share of the samples held out as the test part."),
]
Standardize: TypeAlias = Annotated[
    bool | Literal["inputs"],
    Field(
        description="Whether features, and the targets of a regression, are shifted and scaled to "
        "mean 0 and standard deviation 1 on the training part; inputs leaves the targets as they are."
    ),
]


@dataclass(frozen=True, eq=False)
class Partition:
    """The rows of a table that are trained on and those that are tested on; neither is empty."""

    train: NDArray[np.intp]
    test: NDArray[np.intp]

    @classmethod
    def draw(cls, n_samples: int, test_fraction: float, seed: np.random.SeedSequence) -> Partition:
        """Draw a partition of `n_samples` >= 2 rows at random, not stratified."""
        n_test = min(max(round(test_fraction * n_samples), 1), n_samples - 1)
        rows = np.random.default_rng(seed).permutation(n_samples)
        return cls(train=rows[n_test:], test=rows[:n_test])

    def standardize(self, table: Array) -> Array:
        """Shift and scale each column to mean 0 and standard deviation 1 on the training rows.

        A column that is constant on the training rows has no scale, and a network cannot learn
        what it means: it becomes zeros throughout.
        """
        train = table[self.train]
        constant = np.ptp(train, axis=0) == 0
        standardized: Array = (table - train.mean(axis=0)) / np.where(constant, 1.0, train.std(axis=0))
        standardized[:, constant] = 0.0
        return standardized

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
        """Cut encoded tables, samples x features and samples x outputs, into a task's data.

        With `standardize` True, the targets of a regression are standardised too, so that losses read
        in units of the target's variance: predicting the training mean costs 1. With "inputs" they keep
        their unit.
        """
        if standardize:
            X = self.standardize(X)
            if output == "identity" and standardize != "inputs":
                y = self.standardize(y)
        return TaskData(
            X_train=X[self.train],
            y_train=y[self.train],
            X_test=X[self.test],
            y_test=y[self.test],
            output=output,
            features=features,
            targets=targets,
            classes=classes,
            notes=notes,
            shape=shape,
        )
