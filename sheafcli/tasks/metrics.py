"""How good predictions are, in the target's own terms: quantities in their units, classes by name.

Of a quantity, R2 = 1 - sum (y - p)^2 / sum (y - mean y)^2, the root mean square error and the mean absolute
error. Of classes the confusion matrix, and from it for each class

    precision   the share of those predicted that are of the class
    recall      the share of those of the class that are predicted
    F1          their harmonic mean
    AUC         the chance that one of the class has a higher probability of it than one of the others,

the area under the receiver operating characteristic, ties counting a half (Mann and Whitney 1947; Fawcett,
"An introduction to ROC analysis", 2006). The calibration error is by how far the probability of the
predicted class is off the share that is right, within ten bins of it, averaged over the samples (Guo and
others, "On calibration of modern neural networks", 2017). Means over classes weigh all classes alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.types import Array
from sheafcli.tasks.target_column import TargetColumn

BINS = 10
FOLLOWED = ("r2", "rmse", "f1", "auc")
"""The figures that are followed while a network is trained."""


@dataclass(frozen=True)
class Quantity:
    """How good the predictions of one quantity are; R2 is NaN where it does not vary."""

    name: str
    r2: float
    rmse: float
    mae: float


@dataclass(frozen=True)
class ClassScore:
    """How good those of one class, or of one yes-or-no target, are; AUC NaN where it is all or none."""

    name: str
    samples: int
    precision: float
    recall: float
    f1: float
    auc: float


@dataclass(frozen=True, eq=False)
class Metrics:
    """How good the predictions of a set of samples are.

    `quantities` or `classes` have an entry a target or class. `confusion`, true x predicted, counts samples;
    None for quantities and for several yes-or-no targets. `calibration_error` and `accuracy` are of classes.
    """

    samples: int
    quantities: tuple[Quantity, ...] = ()
    classes: tuple[ClassScore, ...] = ()
    confusion: NDArray[np.intp] | None = None
    accuracy: float = np.nan
    calibration_error: float = np.nan

    @property
    def figures(self) -> dict[str, float]:
        """One figure each: of quantities R2, RMSE and MAE, of classes F1, AUC and the calibration error.

        Errors of several quantities, in units of their own, have no mean and are left out.
        """
        if self.quantities:
            one = len(self.quantities) == 1
            errors = {"rmse": self.quantities[0].rmse, "mae": self.quantities[0].mae} if one else {}
            return {"r2": _mean([quantity.r2 for quantity in self.quantities])} | errors
        return {
            "f1": _mean([score.f1 for score in self.classes]),
            "auc": _mean([score.auc for score in self.classes]),
            "calibration_error": self.calibration_error,
        }


def followed(target: TargetColumn) -> tuple[str, ...]:
    """Return those of `FOLLOWED` that a target has: R2, and RMSE of one quantity; F1 and AUC of classes."""
    if target.output != "identity":
        return FOLLOWED[2:]
    return FOLLOWED[: 2 if len(target.names) == 1 else 1]


def metrics_of(target: TargetColumn, output: Array, y: Array) -> Metrics:
    """Return how good a network's output phi(z), samples x outputs, is for targets y, encoded likewise."""
    if target.output == "identity":
        truth, predicted = target.values(y), target.values(output)
        pairs = zip(target.names, truth.T, predicted.T, strict=True)
        return Metrics(len(y), quantities=tuple(_quantity(*pair) for pair in pairs))
    if len(target.names) > 1:
        labels = zip(target.names, (y >= 0.5).T, (output >= 0.5).T, output.T, strict=True)
        scores = tuple(_score(*label) for label in labels)
        right = ((y >= 0.5) == (output >= 0.5)).all(axis=1)
        sure = np.maximum(output, 1.0 - output)
        hit = (y >= 0.5) == (output >= 0.5)
        return Metrics(
            len(y),
            classes=scores,
            accuracy=float(right.mean()),
            calibration_error=calibration_error(sure.ravel(), hit.ravel()),
        )
    probabilities, truth = target.probabilities(output), target.probabilities(y).argmax(axis=1)
    predicted = probabilities.argmax(axis=1)
    n = len(target.classes)
    confusion = np.zeros((n, n), dtype=np.intp)
    np.add.at(confusion, (truth, predicted), 1)
    scores = tuple(
        _score(name, truth == code, predicted == code, probabilities[:, code])
        for code, name in enumerate(target.classes)
    )
    return Metrics(
        len(y),
        classes=scores,
        confusion=confusion,
        accuracy=float((truth == predicted).mean()),
        calibration_error=calibration_error(probabilities.max(axis=1), truth == predicted),
    )


def calibration_error(confidence: Array, right: NDArray[np.bool_]) -> float:
    """Return the mean distance of confidence, from 0 to 1, from the share that is right, over ten bins."""
    bins = np.clip(np.ceil(confidence * BINS).astype(np.intp) - 1, 0, BINS - 1)
    off = np.bincount(bins, weights=right - confidence, minlength=BINS)
    return float(np.abs(off).sum() / len(confidence))


def _quantity(name: str, truth: Array, predicted: Array) -> Quantity:
    error = predicted - truth
    spread = float(np.sum((truth - truth.mean()) ** 2))
    r2 = 1.0 - float(np.sum(error**2)) / spread if spread > 0.0 else np.nan
    return Quantity(name, r2, float(np.sqrt(np.mean(error**2))), float(np.mean(np.abs(error))))


def _score(
    name: str, truth: NDArray[np.bool_], predicted: NDArray[np.bool_], probability: Array
) -> ClassScore:
    both = int((truth & predicted).sum())
    precision, recall = _share(both, int(predicted.sum())), _share(both, int(truth.sum()))
    f1 = _share(2 * both, int(truth.sum() + predicted.sum()))
    return ClassScore(name, int(truth.sum()), precision, recall, f1, _auc(truth, probability))


def _auc(truth: NDArray[np.bool_], probability: Array) -> float:
    ours, others = int(truth.sum()), int((~truth).sum())
    if not ours or not others:
        return np.nan
    # Those of equal probability share the mean of their ranks.
    _, place, alike = np.unique(probability, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(alike) - 0.5 * (alike - 1))[place]
    return float((ranks[truth].sum() - ours * (ours + 1) / 2) / (ours * others))


def _share(part: int, whole: int) -> float:
    """Return a share, 0 of nothing."""
    return part / whole if whole else 0.0


def _mean(values: list[float]) -> float:
    """Return the mean of what there is."""
    there = [value for value in values if not np.isnan(value)]
    return float(np.mean(there)) if there else np.nan
