"""Whether an imported network predicts better than the best constant does, and what it means if not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from sheafcli.core.network import Network
from sheafcli.core.outputs import Output
from sheafcli.tasks import TaskData

Array = NDArray[np.float64]


def doubts(network: Network, task: TaskData, assumed: bool) -> list[str]:
    """Return notes on how far the data bear out a network, `assumed` or as its file says it."""
    X, y = np.vstack([task.X_train, task.X_test]), np.vstack([task.y_train, task.y_test])
    losses = no_better_than_constant(network, X, y)
    if losses is None:
        known = "the network is an assumption: compare the figures below with those that you know of it"
        return [known] if assumed else []
    figures = f"on this data (loss {losses[0]:.4g}, the best constant {losses[1]:.4g})"
    scaled = "the data is scaled otherwise than in training"
    if not assumed:
        return [f"the network predicts no better than a constant {figures}: it knows other data, or {scaled}"]
    return [
        f"the assumed network predicts no better than a constant {figures}: the assumed order or activation "
        f"is probably wrong, or {scaled}; export the model to ONNX, which records the first two"
    ]


def best_constant(output: Output, y: Array) -> Array:
    """Return the pre-activation, one for all samples, of the least loss on targets y (samples x outputs).

    It is phi^-1 of the mean target: the mean itself, log(p / (1 - p)) or log p with p the classes' shares.
    """
    mean = y.mean(axis=0)
    share = np.clip(mean, 1e-12, 1.0 - 1e-12)
    z = {"identity": mean, "sigmoid": logit(share), "softmax": np.log(share)}[output.name]
    return np.broadcast_to(z, y.shape)


def no_better_than_constant(network: Network, X: Array, y: Array) -> tuple[float, float] | None:
    """Return the losses of a network and of the best constant if the network is no better, else None.

    With classes its accuracy must be no better either, by two standard errors sqrt(p (1 - p) / n).
    """
    output = network.output
    z, constant = network.logits(X), best_constant(output, y)
    losses = output.loss(z, y), output.loss(constant, y)
    if np.ptp(y, axis=0).max() == 0.0 or losses[0] < losses[1]:
        return None
    reached, chance = output.accuracy(z, y), output.accuracy(constant, y)
    if reached is not None and chance is not None:
        error = np.sqrt(chance * (1.0 - chance) / len(y))
        if reached > chance + 2.0 * error:
            return None
    return losses
