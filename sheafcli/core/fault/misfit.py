"""What the evidence for a fault is made of, anywhere: the cost C of the targets, and its prior.

C is their negative log likelihood, with the variance of their noise where it is not known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sheafcli.core.outputs import Identity, Output
from sheafcli.core.types import Array

# The standard deviation of a change, in units of the root mean square weight, the narrowest first.
PRIORS = (0.1, 0.3, 1.0, 5.0)
# The least variance of a target's noise, in units of its mean square.
NOISE, TINY = 1e-12, 1e-30


@dataclass(frozen=True, eq=False)
class Misfit:
    """C as a function of the outputs, for targets y, samples x n_{k+1}.

    For classes it is the sum of the output's potential over the samples. For the identity the variance L of
    the noise is not known, and the best for what is left: C = N/2 log L, N = samples x n_{k+1}.
    """

    output: Output
    y: Array

    @property
    def profiled(self) -> bool:
        """Whether the variance of the noise is not known, but the best for what is left."""
        return isinstance(self.output, Identity)

    def potential(self, z: Array) -> float:
        """Return the mean potential per sample at outputs z, samples x n_{k+1}."""
        return float(np.mean(self.output.potential(z, self.y)))

    def variance(self, potential: float) -> float:
        """Return the variance L of the noise: the mean squared error, or 1 where a likelihood has none."""
        if self.profiled:
            # No target is better known than to so many digits: a perfect fit has a likelihood, too.
            known = NOISE * float(np.mean(self.y * self.y)) + TINY
            return 2.0 * potential / float(self.y.shape[1]) + known
        return 1.0

    def cost(self, potential: float) -> float:
        """Return C from the mean potential per sample."""
        if self.profiled:
            return float(0.5 * self.y.size * np.log(self.variance(potential)))
        return len(self.y) * potential

    def loss(self, potential: float) -> float:
        """Return the loss that is reported."""
        return potential * self.output.loss_scale(self.y.shape[1])
