"""Real tables that come with scikit-learn (the extra `datasets`): nothing is downloaded."""

from __future__ import annotations

from types import ModuleType
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from sheafcli.core.types import Shape
from sheafcli.errors import InputError
from sheafcli.tasks.data import TaskData
from sheafcli.tasks.encoding import class_outputs, encode_classes
from sheafcli.tasks.fitting import Standardize
from sheafcli.tasks.partition import Cut, Fold, Stratify, TestFraction, ValidationFraction, check_shares
from sheafcli.tasks.specification import TaskSpecification, choose_output


class BundledTask(TaskSpecification):
    """A table of scikit-learn, cut at random into a training and a test part.

    Unlike a CSV file, these tables may hold columns that are constant on the training part (border
    pixels of the digits): nobody can mend them here, so standardising turns them into zeros.
    """

    test_fraction: TestFraction = 0.25
    validation_fraction: ValidationFraction = 0.0
    stratify: Stratify = False
    fold: Fold = None
    standardize: Standardize = True

    target: ClassVar[str]
    shape: ClassVar[Shape] = ()

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        check_shares(self.test_fraction, self.validation_fraction, self.fold)
        return self

    def _load(
        self, bunch: Any, classes: tuple[str, ...], seed: np.random.SeedSequence, output: str | None
    ) -> TaskData:
        """Encode and cut a scikit-learn table; no `classes` means a regression."""
        if classes:
            chosen = choose_output(output, class_outputs(len(classes)), f"{len(classes)} classes")
            y = encode_classes(bunch.target, len(classes), chosen)
        else:
            chosen = choose_output(output, ("identity",), "a regression")
            y = bunch.target[:, np.newaxis]
        cut = Cut(self.test_fraction, self.validation_fraction, self.fold, stratify=self.stratify)
        codes = bunch.target.astype(np.intp) if classes else None
        return cut.draw(len(y), seed, codes).task(
            bunch.data,
            y,
            output=chosen,
            standardize=self.standardize,
            features=tuple(str(name) for name in bunch.feature_names),
            targets=(self.target,),
            classes=classes,
            shape=self.shape,
        )


class Digits(BundledTask):
    """Handwritten digits, 1,797 pictures of 8 x 8 pixels with values 0 to 16, in ten classes."""

    kind: Literal["digits"] = Field("digits", description="Handwritten digits of 8 x 8 pixels.")
    target: ClassVar[str] = "digit"
    shape: ClassVar[Shape] = (1, 8, 8)

    def load(self, seed: np.random.SeedSequence, output: str | None) -> TaskData:
        """Load the pictures as rows of 64 pixels, and their digits as classes."""
        bunch = _sklearn_datasets(self.kind).load_digits()
        return self._load(bunch, tuple(str(digit) for digit in bunch.target_names), seed, output)


class Diabetes(BundledTask):
    """Progression of diabetes after one year in 442 patients, from ten measurements, raw units.

    B. Efron, T. Hastie, I. Johnstone, R. Tibshirani, "Least angle regression", Annals of Statistics
    32 (2004) 407-499. The same table stands as a CSV file in experiments/data/diabetes.csv.
    """

    kind: Literal["diabetes"] = Field("diabetes", description="Progression of diabetes.")
    target: ClassVar[str] = "progression"

    def load(self, seed: np.random.SeedSequence, output: str | None) -> TaskData:
        """Load the measurements in raw units, and the progression as a regression target."""
        return self._load(_sklearn_datasets(self.kind).load_diabetes(scaled=False), (), seed, output)


class BreastCancer(BundledTask):
    """Diagnosis of 569 breast tumours, malignant or benign, from thirty measurements of nuclei."""

    kind: Literal["breast_cancer"] = Field(
        "breast_cancer", description="Malignant and benign breast tumours."
    )
    target: ClassVar[str] = "diagnosis"

    def load(self, seed: np.random.SeedSequence, output: str | None) -> TaskData:
        """Load the measurements, and the diagnoses as classes."""
        bunch = _sklearn_datasets(self.kind).load_breast_cancer()
        return self._load(bunch, tuple(str(name) for name in bunch.target_names), seed, output)


def _sklearn_datasets(kind: str) -> ModuleType:
    """Import scikit-learn's tables, here only: it is heavy, and an extra."""
    try:
        from sklearn import datasets  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise InputError(
            f"task {kind} comes with scikit-learn, which is not installed; run: pip install "
            "'sheafcli[datasets]'"
        ) from error
    module: ModuleType = datasets
    return module
