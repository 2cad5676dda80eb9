"""First-order update rules for arrays of weights: gradient descent, with momentum, and Adam.

Each works entry by entry, so an edge's update depends on that edge's own gradients alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from sheafcli.core.types import Array

LEARNING_RATE = 0.01


class Optimizer(Protocol):
    """A rule that turns a gradient into an update, with a memory of its own per array.

    `slots` says how many arrays, shaped as the weights, the memory holds; they start at zero.
    `learning_rate` is the base rate, that of `update` is what a schedule has made of it.
    """

    slots: ClassVar[int]

    @property
    def learning_rate(self) -> float:
        """The step size at the start."""

    def update(
        self, weights: Array, gradient: Array, memory: list[Array], step: int, learning_rate: float
    ) -> None:
        """Change `weights` and `memory` in place; `step` counts from 1. `gradient` may be overwritten."""


def _check(optimizer: SGD | Momentum | Adam, *averages: str) -> None:
    if not 0.0 < optimizer.learning_rate < np.inf:
        raise ValueError(f"learning_rate must be above 0 and finite, got {optimizer.learning_rate!r}")
    for name in averages:
        if not 0.0 <= getattr(optimizer, name) < 1.0:
            raise ValueError(f"{name} must be at least 0 and below 1, got {getattr(optimizer, name)!r}")


@dataclass(frozen=True)
class SGD:
    """Gradient descent: w <- w - learning_rate g.

    Examples
    --------
    >>> import sheafcli as sc
    >>> sc.Backprop(optimizer=sc.SGD(0.005), epochs=100)  # or "sgd", with a rate of 0.01
    Backprop(optimizer=SGD(learning_rate=0.005), epochs=100)
    """

    learning_rate: float = LEARNING_RATE
    slots: ClassVar[int] = 0

    def __post_init__(self) -> None:
        _check(self)

    def update(
        self, weights: Array, gradient: Array, memory: list[Array], step: int, learning_rate: float
    ) -> None:
        """Take one step against the gradient."""
        gradient *= learning_rate
        weights -= gradient


@dataclass(frozen=True)
class Momentum:
    """Polyak's heavy ball: v <- momentum v + g,  w <- w - learning_rate v.

    Examples
    --------
    >>> import sheafcli as sc
    >>> sc.Backprop(optimizer=sc.Momentum(0.005, momentum=0.95), epochs=100)  # or "momentum"
    Backprop(optimizer=Momentum(learning_rate=0.005, momentum=0.95), epochs=100)
    """

    learning_rate: float = LEARNING_RATE
    momentum: float = 0.9
    slots: ClassVar[int] = 1

    def __post_init__(self) -> None:
        _check(self, "momentum")

    def update(
        self, weights: Array, gradient: Array, memory: list[Array], step: int, learning_rate: float
    ) -> None:
        """Take one step along the velocity."""
        (velocity,) = memory
        velocity *= self.momentum
        velocity += gradient
        weights -= learning_rate * velocity


@dataclass(frozen=True)
class Adam:
    """Kingma & Ba (2015), Algorithm 1: m and v average g and g^2, both corrected for their zero start.

    w <- w - learning_rate (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon).

    Examples
    --------
    >>> import sheafcli as sc
    >>> sc.Equilibrium(optimizer=sc.Adam(0.03), epochs=30).optimizer  # or "adam", with a rate of 0.01
    Adam(learning_rate=0.03, beta1=0.9, beta2=0.999, epsilon=1e-08)
    """

    learning_rate: float = LEARNING_RATE
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    slots: ClassVar[int] = 2

    def __post_init__(self) -> None:
        _check(self, "beta1", "beta2")
        if not 0.0 < self.epsilon < np.inf:
            raise ValueError(f"epsilon must be above 0 and finite, got {self.epsilon!r}")

    def update(
        self, weights: Array, gradient: Array, memory: list[Array], step: int, learning_rate: float
    ) -> None:
        """Take one step of Adam."""
        m, v = memory
        work = gradient * gradient
        work *= 1.0 - self.beta2
        v *= self.beta2
        v += work
        gradient *= 1.0 - self.beta1
        m *= self.beta1
        m += gradient
        np.sqrt(v, out=work)
        work *= 1.0 / np.sqrt(1.0 - self.beta2**step)
        work += self.epsilon
        np.divide(m, work, out=work)
        work *= learning_rate / (1.0 - self.beta1**step)
        weights -= work


OPTIMIZERS: dict[str, type[SGD | Momentum | Adam]] = {"adam": Adam, "sgd": SGD, "momentum": Momentum}


def as_optimizer(optimizer: Optimizer | str) -> Optimizer:
    """Return an optimizer as it is, or the one that a name says, with its defaults."""
    if isinstance(optimizer, str) and optimizer in OPTIMIZERS:
        return OPTIMIZERS[optimizer]()
    if isinstance(optimizer, str):
        raise ValueError(f"no optimizer is called {optimizer!r}; there are {', '.join(OPTIMIZERS)}")
    if not hasattr(optimizer, "learning_rate") or not hasattr(optimizer, "slots"):
        raise TypeError(
            f"the optimizer must be one of sheafcli's, such as Adam(0.01), or its name, "
            f"{', '.join(OPTIMIZERS)}; got {type(optimizer).__name__}"
        )
    return optimizer
