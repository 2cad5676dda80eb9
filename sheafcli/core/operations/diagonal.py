"""The restriction of every operation that acts entry by entry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.types import Array


@dataclass(frozen=True, eq=False)
class Diagonal:
    """A = diag(slopes): slopes are samples x stalk, real in the precision of the values, or booleans."""

    slopes: NDArray[Any]

    def jvp(self, dx: Array) -> Array:
        """Return slopes * dx."""
        return np.asarray(dx * self.slopes)

    def vjp(self, v: Array) -> tuple[Array]:
        """Return slopes * v."""
        return (v * self.slopes,)

    def norm(self) -> tuple[float]:
        """Return the largest slope."""
        return (float(np.max(np.abs(self.slopes))),)
