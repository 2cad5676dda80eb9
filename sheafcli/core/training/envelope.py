"""What a misfit costs a network whose inner edges give way: the energy with all stalks relaxed.

With stiffness 1 at the output edge and 1 / kappa at all others, the stalks leave of a forward output f

    E(f) = min over z of Phi(z, y) + (z - f)^T (kappa S)^-1 (z - f) / 2,

S the effective resistance: Moreau's envelope of the potential Phi. With lambda = y - phi(z) at the minimum,
z = f + kappa S lambda, its gradient is -lambda and its curvature

    (kappa S + J_phi(z)^-1)^-1 = R (I + kappa R^T S R)^-1 R^T,   R R^T = J_phi(z).

kappa = 0 makes the inner edges rigid: E is Phi; kappa = 1 is the energy of heat.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from sheafcli.core.multipliers import multipliers
from sheafcli.core.outputs import Output
from sheafcli.core.types import Array


@dataclass(eq=False)
class Envelope:
    """E of all samples, for targets y, samples x n_{k+1}.

    `give` is kappa S, samples x n_{k+1} x n_{k+1}; None stands for zero. f has one row a sample.
    """

    output: Output
    y: Array
    give: Array | None = None
    # Where the next equilibrium is looked for: at the last one, a step away.
    _pull: Array | None = field(default=None, init=False)

    def value(self, f: Array) -> float:
        """Return E, summed over the samples."""
        z, pull = self._settled(f)
        strain = 0.0 if self.give is None else 0.5 * float(np.sum(pull * (z - f)))
        return float(np.sum(self.output.potential(z, self.y))) + strain

    def root(self, f: Array) -> tuple[Array, Array]:
        """Return T, samples x columns x n_{k+1}, and rho, samples x columns.

        T^T T is the curvature of E, T^T rho its gradient with the sign turned. NaN where they overflow.
        """
        z, _ = self._settled(f)
        T, rho = self.output.root(z), self.output.pull(z, self.y)
        if self.give is None:
            return T, rho
        # I + R^T kappa S R = V diag(values) V^T; all are at least 1, whatever rounding has made of them.
        inner = np.eye(T.shape[1]) + T @ self.give @ np.swapaxes(T, 1, 2)
        if not np.isfinite(inner).all():
            return np.full_like(T, np.nan), np.full_like(rho, np.nan)
        values, V = np.linalg.eigh(inner)
        scale, turn = np.sqrt(np.maximum(values, 1.0)), np.swapaxes(V, 1, 2)
        return turn @ T / scale[:, :, np.newaxis], scale * np.einsum("nij,nj->ni", turn, rho)

    def _settled(self, f: Array) -> tuple[Array, Array]:
        """Return z and lambda."""
        if self.give is None:
            return f, f
        give = self.give

        def resist(v: Array) -> Array:
            return np.asarray(np.einsum("nij,nj->ni", give, v))

        pull, _ = multipliers(self.output, f, self.y, 1.0, resist, self._pull)
        self._pull = pull if np.isfinite(pull).all() else None
        return f + resist(pull), pull
