"""Whether an imported network predicts better than the best constant does, and what it means if not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from sheafcli.core.network import AnyNetwork
from sheafcli.core.outputs import Output
from sheafcli.core.types import Array
from sheafcli.tasks import TaskData


@dataclass(frozen=True)
class Comparison:
    """The loss of a network and that of the best constant on the same samples, and their accuracies."""

    losses: tuple[float, float]
    accuracies: tuple[float, float] | None
    n_samples: int

    @property
    def lost(self) -> bool:
        """Whether the loss is no smaller than that of the constant."""
        return self.losses[0] >= self.losses[1]

    @property
    def found_classes(self) -> bool:
        """Whether the accuracy p exceeds the constant's, q, by two standard errors sqrt(q (1 - q) / n)."""
        if self.accuracies is None:
            return False
        p, q = self.accuracies
        return bool(p > q + 2.0 * np.sqrt(q * (1.0 - q) / self.n_samples))

    def __str__(self) -> str:
        shown = f"loss {self.losses[0]:.4g}, the best constant {self.losses[1]:.4g}"
        if self.accuracies is not None:
            shown += f"; accuracy {self.accuracies[0]:.1%}, the best constant {self.accuracies[1]:.1%}"
        return shown


def best_constant(output: Output, y: Array) -> Array:
    """Return the pre-activation, one for all samples, of the least loss on targets y (samples x outputs).

    It is phi^-1 of the mean target: the mean itself, log(p / (1 - p)) or log p with p the classes' shares.
    """
    mean = y.mean(axis=0)
    share = np.clip(mean, 1e-12, 1.0 - 1e-12)
    z = {"identity": mean, "sigmoid": scipy.special.logit(share), "softmax": np.log(share)}[output.name]
    return np.broadcast_to(z, y.shape)


def compared(network: AnyNetwork, X: Array, y: Array) -> Comparison:
    """Compare a network with the best constant on samples X with targets y."""
    output, z = network.output, network.logits(X)
    constant = best_constant(output, y)
    accuracies = output.accuracy(z, y), output.accuracy(constant, y)
    known = None if accuracies[0] is None or accuracies[1] is None else (accuracies[0], accuracies[1])
    return Comparison((output.loss(z, y), output.loss(constant, y)), known, len(y))


def doubts(network: AnyNetwork, task: TaskData, assumed: bool) -> list[str]:
    """Return notes on how far all samples of a task bear out a network, `assumed` or as its file says it.

    A loss above that of a constant is enough to doubt what was assumed: training lowers it at once. What a
    file says is doubted only if the classes are not found either: a network may be right and too sure.
    """
    X, y = np.vstack([task.X_train, task.X_test]), np.vstack([task.y_train, task.y_test])
    comparison = compared(network, X, y)
    alike = np.ptp(y, axis=0).max() == 0.0  # then a constant is never wrong
    if alike or not comparison.lost or (comparison.found_classes and not assumed):
        known = "the network is an assumption: compare the figures below with those that you know of it"
        return [known] if assumed else []
    figures = f"on this data ({comparison})"
    scaled = "the data is scaled otherwise than in training"
    if not assumed:
        return [f"the network predicts no better than a constant {figures}: it knows other data, or {scaled}"]
    return [
        f"by its loss the assumed network predicts no better than a constant {figures}: the assumed order or "
        f"activation is probably wrong, or {scaled}; export the model to ONNX, which records the first two"
    ]
