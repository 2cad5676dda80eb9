"""First-order update rules for one array of weights: plain gradient descent and Adam."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sheafcli.core.outputs import Array


class Optimizer(Protocol):
    """A rule that turns a gradient into an update, with a memory of its own per array.

    `slots` says how many arrays, shaped as the weights, the memory holds; they start at zero.
    """

    @property
    def slots(self) -> int:
        """How many memory arrays each array of weights needs."""

    def update(self, weights: Array, gradient: Array, memory: list[Array], step: int) -> None:
        """Change `weights` and `memory` in place; `step` counts from 1."""


@dataclass(frozen=True)
class SGD:
    """w <- w - learning_rate g."""

    learning_rate: float
    slots: int = 0

    def update(self, weights: Array, gradient: Array, memory: list[Array], step: int) -> None:
        """Take one step against the gradient."""
        weights -= self.learning_rate * gradient


@dataclass(frozen=True)
class Adam:
    """Kingma & Ba (2015), Algorithm 1: m and v average g and g^2, both corrected for their zero start.

    w <- w - learning_rate (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon).
    """

    learning_rate: float
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    slots: int = 2

    def update(self, weights: Array, gradient: Array, memory: list[Array], step: int) -> None:
        """Take one step of Adam."""
        m, v = memory
        m += (1.0 - self.beta1) * (gradient - m)
        v += (1.0 - self.beta2) * (gradient * gradient - v)
        scale = np.sqrt(v / (1.0 - self.beta2**step)) + self.epsilon
        weights -= (self.learning_rate / (1.0 - self.beta1**step)) * (m / scale)
