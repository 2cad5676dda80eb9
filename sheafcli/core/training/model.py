"""What implicit steps need of a network, of whatever kind; see `sheafcli.core.training.implicit`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from sheafcli.core.network import AnyNetwork
from sheafcli.core.training.descent import Rule
from sheafcli.core.training.least_squares import LeastSquares
from sheafcli.core.types import Array


class Passed(Protocol):
    """A forward pass: the outputs f, samples x n_{k+1}, and what else a model needs of it.

    `sizes` are the root mean squares of what the activations with kinks read.
    """

    @property
    def f(self) -> Array:
        """The outputs."""

    @property
    def sizes(self) -> Sequence[float]:
        """One number an activation with kinks."""


class Model(Protocol):
    """A network as a function of all its weights, `flat`, at the training samples.

    `weighs` is 1 for those that decay, 0 for the others.
    """

    flat: Array
    weighs: Array

    def prepare(self) -> None:
        """Make ready for a cycle, without a change of any output that has a slope."""

    def forward(self, softness: Sequence[float] = ()) -> Any:
        """Pass the samples on (`Passed`); soft are the activations with kinks, one number each, if any."""

    def problem(self, here: Any, T: Array, rho: Array, w: Array, decay: Array) -> LeastSquares:
        """Return the problem of the rows T df, T samples x columns x n_{k+1}; rho is samples x columns.

        w is what decays: the weights, or how far they are from where they decay to.
        """

    def resistance(self, here: Any) -> Array:
        """Return S, samples x n_{k+1} x n_{k+1}."""

    def network(self) -> AnyNetwork:
        """Return the network as it is now."""

    def evaluated(self, y: Array, kappa: float) -> Rule:
        """Return the rule with the equilibrium at the weights, an output edge of stiffness kappa."""
