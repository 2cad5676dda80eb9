"""What a network is measured against: the best prediction that is the same for all samples."""

from __future__ import annotations

import numpy as np

from sheafcli.core.outputs import Output
from sheafcli.core.types import Array


def relative_loss(output: Output, z: Array, y: Array) -> float:
    """Return the loss of predictions phi(z) over that of the best constant one, the mean of the targets."""
    return output.loss(z, y) / max(loss_of_constant(output, y), np.finfo(np.float64).tiny)


def loss_of_constant(output: Output, y: Array) -> float:
    """Return the loss of the best constant prediction, the mean of the targets."""
    best = y.mean(axis=0)
    if output.classifies:
        chance = np.clip(best, 1e-12, 1.0 - 1e-12)
        best = np.log(chance) - (np.log1p(-chance) if output.name == "sigmoid" else 0.0)
    return output.loss(np.broadcast_to(best, y.shape), y)
