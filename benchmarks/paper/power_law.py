"""Straight lines and power laws fitted by ordinary least squares, with their errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """y = intercept + slope x, by ordinary least squares over n points, errors as one standard deviation.

    `spread` is the standard deviation of the residuals.
    """

    slope: float
    slope_error: float
    intercept: float
    intercept_error: float
    r_squared: float
    spread: float
    n: int

    def __call__(self, x: Array) -> Array:
        """Return the line's heights at x."""
        return np.asarray(self.intercept + self.slope * np.asarray(x, dtype=np.float64))

    def power(self, x: Array) -> Array:
        """Return exp(intercept) x^slope: the law whose logs the line was fitted to."""
        return np.asarray(np.exp(self(np.log(x))))

    def __str__(self) -> str:
        return f"{self.slope:.3f} +- {self.slope_error:.3f}, R^2 = {self.r_squared:.3f}, n = {self.n}"


def fit_line(x: Sequence[float] | Array, y: Sequence[float] | Array) -> Line:
    """Fit y = intercept + slope x to at least three points."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if len(x) < 3:
        raise ValueError(f"a line with its errors needs at least 3 points, got {len(x)}")
    dx, dy = x - x.mean(), y - y.mean()
    slope = float(dx @ dy / (dx @ dx))
    intercept = float(y.mean() - slope * x.mean())
    left = dy - slope * dx
    # Not from R^2, as usual: where a fit is all but exact, 1 - R^2 has lost its digits.
    spread = float(np.sqrt(left @ left / (len(x) - 2)))
    slope_error = spread / float(np.sqrt(dx @ dx))
    intercept_error = slope_error * float(np.sqrt(np.mean(x**2)))
    r_squared = 1.0 - float(left @ left) / float(dy @ dy)
    return Line(slope, slope_error, intercept, intercept_error, r_squared, spread, len(x))


def fit_power(x: Sequence[float] | Array, y: Sequence[float] | Array) -> Line:
    """Fit y = exp(intercept) x^slope, by a line through the logs of x and y."""
    return fit_line(np.log(x), np.log(y))
