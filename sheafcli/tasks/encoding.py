"""How targets are encoded for a network output: numbers, columns of 0 and 1, or rows of shares."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.types import Array

OutputName: TypeAlias = Literal["identity", "sigmoid", "softmax"]

ROUNDING = 1e-12
"""Shares that were divided by their sum differ from 1 by less."""


def class_outputs(n_classes: int) -> tuple[OutputName, ...]:
    """Name the network outputs that fit `n_classes` classes, the usual one first."""
    return ("sigmoid", "softmax") if n_classes == 2 else ("softmax",)


def encode_classes(labels: NDArray[np.intp], n_classes: int, output: OutputName) -> Array:
    """Encode labels 0, ..., n_classes - 1: one column of 0 and 1 (sigmoid) or one-hot (softmax)."""
    if output == "sigmoid":
        return labels[:, np.newaxis].astype(np.float64)
    one_hot = np.zeros((len(labels), n_classes))
    one_hot[np.arange(len(labels)), labels] = 1.0
    return one_hot


def is_encoded(y: Array, output: OutputName) -> bool:
    """Tell whether targets, samples x outputs, are what `TaskData` says of those for an output."""
    if output == "sigmoid":
        return bool(np.isin(y, (0.0, 1.0)).all())
    if output == "softmax":
        return bool((y >= 0.0).all() and np.allclose(y.sum(axis=1), 1.0, rtol=0.0, atol=ROUNDING))
    return True


def encoding_of(y: Array) -> OutputName:
    """Name the output that targets (samples x outputs) look encoded for.

    sigmoid: one column of 0 and 1. softmax: two or more columns, each row one-hot. Else identity.
    """
    if not np.isin(y, (0.0, 1.0)).all():
        return "identity"
    if y.shape[1] == 1:
        return "sigmoid"
    return "softmax" if (y.sum(axis=1) == 1.0).all() else "identity"
