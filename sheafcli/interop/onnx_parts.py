"""Parts of operations in an ONNX graph, for which no edge stands: put together with others, or refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sheafcli.core.operations.join import broadcast
from sheafcli.core.types import Array, Shape


@dataclass(frozen=True, eq=False)
class Unary:
    """A function entry by entry."""

    name: str
    function: Callable[[Array], Array]

    def shape(self, parent: Shape) -> Shape:
        """Return the same shape."""
        return parent

    def forward(self, x: Array) -> Array:
        """Return the function's values."""
        return np.asarray(self.function(x))


@dataclass(frozen=True, eq=False)
class Quotient:
    """The quotient of two values."""

    def shape(self, first: Shape, second: Shape) -> Shape:
        """Return the shape that both broadcast to."""
        return broadcast(first, second)

    def forward(self, first: Array, second: Array) -> Array:
        """Return the quotient."""
        return np.asarray(first / second)


Part = Unary | Quotient
