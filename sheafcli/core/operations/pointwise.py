"""Activations that act entry by entry: a value and a slope each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy
from numpy.typing import NDArray

from sheafcli.core.operation import Kind
from sheafcli.core.operations.maps import Maps, diagonal
from sheafcli.core.operations.parameters import Parametrised, check_broadcast, like, summed_to
from sheafcli.core.types import Array, Shape


class Pointwise(ABC):
    """g(x) entry by entry. A subclass gives `forward` and `slope`, the derivative."""

    kind: ClassVar[Kind] = "activation"

    def shape(self, parent: Shape) -> Shape:
        """Return the same shape."""
        return parent

    @abstractmethod
    def forward(self, x: Array) -> Array:
        """Return g(x)."""

    @abstractmethod
    def slope(self, x: Array) -> NDArray[Any]:
        """Return g'(x), real or boolean; at a kink, from the right."""

    def at(self, x: Array) -> Maps:
        """Return diag(g'(x))."""
        return diagonal(self.slope(x))


class PiecewiseLinear(Pointwise):
    """A pointwise operation that is linear in pieces; they meet at its knots, 0 unless it says otherwise."""

    @property
    def knots(self) -> tuple[float, ...]:
        """Where the pieces meet, ascending."""
        return (0.0,)

    def pattern(self, x: Array) -> NDArray[np.integer[Any]]:
        """Return how many knots lie at or below x."""
        pieces = np.zeros(x.shape, dtype=np.int8)
        for knot in self.knots:
            pieces += x >= knot
        return pieces


@dataclass(frozen=True)
class ReLU(PiecewiseLinear):
    """max(x, 0)."""

    def forward(self, x: Array) -> Array:
        """Return max(x, 0)."""
        return np.asarray(np.maximum(x, 0.0))

    def slope(self, x: Array) -> NDArray[np.bool_]:
        """Return whether x >= 0."""
        return x >= 0.0


class Leaky(PiecewiseLinear):
    """x where x >= 0, below * x elsewhere."""

    below: float | Array

    def forward(self, x: Array) -> Array:
        """Return x or below * x."""
        return x * self.slope(x)

    def slope(self, x: Array) -> Array:
        """Return 1 or below."""
        return np.where(x >= 0.0, x.dtype.type(1.0), like(np.asarray(self.below), x))


@dataclass(frozen=True)
class LeakyReLU(Leaky):
    """x where x >= 0, below * x elsewhere."""

    below: float = 0.01


@dataclass(frozen=True, eq=False)
class PReLU(Parametrised, Leaky):
    """x where x >= 0, below * x elsewhere; `below` is a parameter that broadcasts over the stalk.

    One slope a channel of an image has shape channels x 1 x 1.
    """

    below: Array
    learned: ClassVar[tuple[str, ...]] = ("below",)

    def shape(self, parent: Shape) -> Shape:
        """Return the same shape."""
        check_broadcast("below", self.below, parent)
        return parent

    def gradient(self, x: Array, v: Array) -> dict[str, Array]:
        """Return the sum of v * min(x, 0)."""
        return {"below": summed_to(v * np.minimum(x, 0.0), self.below.shape)}


@dataclass(frozen=True)
class Clip(PiecewiseLinear):
    """min(max(x, low), high); ReLU6 is Clip(0, 6)."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"low must lie below high, got {self.low} and {self.high}")

    @property
    def knots(self) -> tuple[float, ...]:
        """Both ends."""
        return (self.low, self.high)

    def forward(self, x: Array) -> Array:
        """Return x cut off at both ends."""
        return np.asarray(np.clip(x, float(self.low), float(self.high)))

    def slope(self, x: Array) -> NDArray[np.bool_]:
        """Return whether low <= x < high."""
        return np.asarray((x >= self.low) & (x < self.high))


@dataclass(frozen=True)
class Abs(PiecewiseLinear):
    """|x|."""

    def forward(self, x: Array) -> Array:
        """Return |x|."""
        return np.asarray(np.abs(x))

    def slope(self, x: Array) -> Array:
        """Return 1 where x >= 0, -1 elsewhere."""
        return np.where(x >= 0.0, x.dtype.type(1.0), x.dtype.type(-1.0))


@dataclass(frozen=True)
class HardSigmoid(PiecewiseLinear):
    """min(max(alpha x + beta, 0), 1), as ONNX has it; PyTorch's has alpha = 1/6, beta = 1/2."""

    alpha: float = 1.0 / 6.0
    beta: float = 0.5

    def __post_init__(self) -> None:
        if not self.alpha > 0.0:
            raise ValueError(f"alpha must be above 0, got {self.alpha}")

    @property
    def knots(self) -> tuple[float, ...]:
        """Where alpha x + beta is 0 and 1."""
        return (-self.beta / self.alpha, (1.0 - self.beta) / self.alpha)

    def forward(self, x: Array) -> Array:
        """Return alpha x + beta cut off at 0 and 1."""
        return np.asarray(np.clip(float(self.alpha) * x + float(self.beta), 0.0, 1.0))

    def slope(self, x: Array) -> Array:
        """Return alpha between the knots, 0 elsewhere."""
        return np.asarray((self.pattern(x) == 1) * x.dtype.type(self.alpha))


@dataclass(frozen=True)
class HardSwish(Pointwise):
    """x min(max(x + 3, 0), 6) / 6."""

    def forward(self, x: Array) -> Array:
        """Return x min(max(x + 3, 0), 6) / 6."""
        return np.asarray(x * (np.clip(x + 3.0, 0.0, 6.0) / 6.0))

    def slope(self, x: Array) -> Array:
        """Return 0 below -3, 1 from 3 on, (2 x + 3) / 6 between."""
        between = (x >= -3.0) & (x < 3.0)
        return np.asarray(np.where(between, x / 3.0 + 0.5, like((x >= 3.0).astype(np.int8), x)))


@dataclass(frozen=True)
class Sigmoid(Pointwise):
    """1 / (1 + exp(-x))."""

    def forward(self, x: Array) -> Array:
        """Return 1 / (1 + exp(-x))."""
        return np.asarray(scipy.special.expit(x))

    def slope(self, x: Array) -> Array:
        """Return g (1 - g), with 1 - g(x) = g(-x), which loses no digits."""
        return np.asarray(scipy.special.expit(x) * scipy.special.expit(-x))


@dataclass(frozen=True)
class Tanh(Pointwise):
    """The hyperbolic tangent."""

    def forward(self, x: Array) -> Array:
        """Return tanh(x)."""
        return np.asarray(np.tanh(x))

    def slope(self, x: Array) -> Array:
        """Return 1 / cosh(x)^2 = 4 g (1 - g) for the sigmoid g at 2 x."""
        return np.asarray(4.0 * scipy.special.expit(2.0 * x) * scipy.special.expit(-2.0 * x))


@dataclass(frozen=True)
class SiLU(Pointwise):
    """x / (1 + exp(-x)), also called swish."""

    def forward(self, x: Array) -> Array:
        """Return x g for the sigmoid g."""
        return np.asarray(x * scipy.special.expit(x))

    def slope(self, x: Array) -> Array:
        """Return g + x g (1 - g)."""
        return np.asarray(scipy.special.expit(x) * (1.0 + x * scipy.special.expit(-x)))


@dataclass(frozen=True)
class GELU(Pointwise):
    """x Phi(x), Phi the distribution function of a standard normal variable."""

    def forward(self, x: Array) -> Array:
        """Return x (1 + erf(x / sqrt 2)) / 2."""
        return np.asarray(x * (0.5 + 0.5 * scipy.special.erf(x * float(np.sqrt(0.5)))))

    def slope(self, x: Array) -> Array:
        """Return Phi(x) + x exp(-x^2 / 2) / sqrt(2 pi)."""
        density = np.exp(-0.5 * x * x) * float(1.0 / np.sqrt(2.0 * np.pi))
        return np.asarray(0.5 + 0.5 * scipy.special.erf(x * float(np.sqrt(0.5))) + x * density)


@dataclass(frozen=True)
class TanhGELU(Pointwise):
    """x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2, the usual approximation of GELU."""

    factor: ClassVar[float] = float(np.sqrt(2.0 / np.pi))
    cubic: ClassVar[float] = 0.044715

    def forward(self, x: Array) -> Array:
        """Return x g for the sigmoid g at twice the tangent's argument."""
        return np.asarray(x * scipy.special.expit(2.0 * self.factor * (x + self.cubic * x * x * x)))

    def slope(self, x: Array) -> Array:
        """Return g + x g (1 - g) u', u twice the tangent's argument."""
        u = 2.0 * self.factor * (x + self.cubic * x * x * x)
        return np.asarray(
            scipy.special.expit(u)
            * (1.0 + x * scipy.special.expit(-u) * (2.0 * self.factor * (1.0 + 3.0 * self.cubic * x * x)))
        )


@dataclass(frozen=True)
class Softplus(Pointwise):
    """log(1 + exp(beta x)) / beta."""

    beta: float = 1.0

    def __post_init__(self) -> None:
        if not self.beta > 0.0:
            raise ValueError(f"beta must be above 0, got {self.beta}")

    def forward(self, x: Array) -> Array:
        """Return log(1 + exp(beta x)) / beta."""
        return np.asarray(np.logaddexp(x.dtype.type(0.0), float(self.beta) * x) / float(self.beta))

    def slope(self, x: Array) -> Array:
        """Return the sigmoid of beta x."""
        return np.asarray(scipy.special.expit(float(self.beta) * x))


@dataclass(frozen=True)
class ELU(Pointwise):
    """x where x >= 0, alpha (exp(x) - 1) elsewhere."""

    alpha: float = 1.0

    def forward(self, x: Array) -> Array:
        """Return x or alpha (exp(x) - 1)."""
        return np.asarray(np.where(x >= 0.0, x, float(self.alpha) * np.expm1(np.minimum(x, 0.0))))

    def slope(self, x: Array) -> Array:
        """Return 1 or alpha exp(x)."""
        return np.asarray(
            np.where(x >= 0.0, x.dtype.type(1.0), float(self.alpha) * np.exp(np.minimum(x, 0.0)))
        )
