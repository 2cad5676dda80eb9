"""One table cut into a training and a test part, and standardised by the training part alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sheafcli.core.types import Array, Shape
from sheafcli.tasks.data import TaskData
from sheafcli.tasks.encoding import OutputName
from sheafcli.tasks.fitting import Standardize, number_columns, target_column
from sheafcli.tasks.preprocessing import Preprocessing

TestFraction: TypeAlias = Annotated[
    float,
    Field(gt=0, lt=1, description="Share of the samples held out as the test part."),
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
        """Cut encoded tables, samples x features and samples x outputs, into a task's data."""
        preprocessing = Preprocessing(
            columns=number_columns(features, X[self.train], bool(standardize)),
            target=target_column(targets, classes, output, y[self.train], standardize),
        )
        if standardize:
            X = preprocessing.scaled(X)
        if output == "identity" and standardize is True:
            y = preprocessing.target.scaled(y)
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
            preprocessing=preprocessing,
        )
