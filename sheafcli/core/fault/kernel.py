"""How a change of an operation's parameters moves the outputs: the kernel J J^T over samples and directions.

J has a row a sample and direction of the outputs, and a column a parameter. With G the pull-back of the
direction at the operation's output and x what the operation reads, the row of a dense layer is G x^T, so that
J J^T = (G . G') (x . x'); that of a convolution is G P^T, P what its kernel sees, a column a place.
"""

from __future__ import annotations

import numpy as np

from sheafcli.core.blocks import blocks
from sheafcli.core.operation import Designed, Learnable
from sheafcli.core.types import Array


def kernel(operation: Learnable, x: Array, G: Array) -> Array:
    """Return J J^T in float64, rows sample by sample: (samples directions) x (samples directions).

    x is samples x the parent's stalk, G directions x samples x own stalk. The rows of J are there in blocks
    of parameters, and not at all where a product of two small Gram matrices gives J J^T.
    """
    if not isinstance(operation, Designed):
        rows = [_row(operation, x[i : i + 1], G[j, i : i + 1]) for i in range(len(x)) for j in range(len(G))]
        return _gram(np.stack(rows))
    design = operation.design(x)
    pulls = np.swapaxes(operation.by_group(G), 0, 1)
    groups, outputs, places = pulls.shape[2:]
    size = len(x) * len(G)
    K = np.zeros((size, size))
    if places == 1:
        for g in range(groups):
            met = np.repeat(np.repeat(_gram(design[:, g, :, 0]), len(G), axis=0), len(G), axis=1)
            K += _gram(pulls[:, :, g, :, 0].reshape(size, -1)) * met
    else:
        transposed = np.swapaxes(design, 2, 3)[:, None]
        for some in blocks(outputs, size * groups * design.shape[2]):
            K += _gram(np.matmul(pulls[:, :, :, some], transposed).reshape(size, -1))
    if "bias" in operation.parameters:
        K += _gram(pulls.sum(axis=-1).reshape(size, -1))
    return K


def _row(operation: Learnable, x: Array, v: Array) -> Array:
    return np.concatenate([part.ravel() for part in operation.gradient(x, v).values()])


def _gram(rows: Array) -> Array:
    rows = rows.astype(np.float64, copy=False)
    return np.asarray(rows @ rows.T)
