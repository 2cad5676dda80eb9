"""Sheaf training with the fast phase solved: every step at the equilibrium of the stalks.

With the input pinned and an output edge of stiffness gamma pulling the output towards y, the stalks of
`Heat` tend to an equilibrium while the weights stand still. Here each step finds it in closed form, on the
pattern of the forward pass and without forming S (`sheafcli.core.multipliers`). Each edge with parameters
then learns from its own residual and its own input alone. With E_gamma = gamma Loss + half the discord, that
divided by gamma tends to back-propagation's gradient as gamma -> 0; gamma = 1 is the energy of `Heat`. The
optimizer is given E_gamma / gamma in units of the reported loss, so that a learning rate keeps its meaning
whatever gamma is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sheafcli.core.chain.network import Network
from sheafcli.core.chain.training import equilibrium as chain
from sheafcli.core.network import AnyNetwork
from sheafcli.core.training.descent import Descent, DescentSession
from sheafcli.core.training.graph.equilibrium import EquilibriumRule
from sheafcli.core.types import Array, Seed


@dataclass(frozen=True, kw_only=True, repr=False)
class Equilibrium(Descent):
    """Sheaf training whose stalks are at rest at every step: descent of the equilibrium's energy.

    Parameters
    ----------
    optimizer, epochs, steps, schedule, batch_size, weight_decay, stop_when, precision
        As of `Backprop`.
    gamma
        The stiffness of the output edge, against 1 of all others. Small ones give back-propagation's
        updates, 1 is the energy of `Heat`.

    Examples
    --------
    >>> import numpy as np, sheafcli as sc
    >>> X = np.random.default_rng(0).uniform(-2, 2, size=(50, 2))
    >>> method = sc.Equilibrium(optimizer=sc.Adam(0.03), epochs=200, schedule="cosine")
    >>> fit = sc.train(sc.Network.he([2, 8, 1]), X, (X**2).sum(axis=1), method)
    >>> fit.history[-1].train_loss < fit.history[0].train_loss
    True
    """

    gamma: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 < self.gamma < np.inf:
            raise ValueError(f"gamma must be above 0 and finite, got {self.gamma!r}")

    def start(self, network: AnyNetwork, X: Array, y: Array, seed: Seed = 0) -> DescentSession:
        """Begin a session; `seed` draws the order of mini-batches."""
        kind = chain.EquilibriumRule if isinstance(network, Network) else EquilibriumRule
        return DescentSession(self, kind(self.gamma), network, X, y, seed)
