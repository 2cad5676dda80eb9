"""Back-propagation: what sheaf training is compared with.

The loss is the mean squared error over samples and outputs, or the mean cross-entropy.
"""

from __future__ import annotations

from dataclasses import dataclass

from sheafcli.core.chain.network import Network
from sheafcli.core.chain.training import backprop as chain
from sheafcli.core.network import AnyNetwork
from sheafcli.core.training.descent import Descent, DescentSession
from sheafcli.core.training.graph.backprop import BackpropRule
from sheafcli.core.types import Array, Seed


@dataclass(frozen=True, kw_only=True)
class Backprop(Descent):
    """Gradient descent on the loss."""

    def start(self, network: AnyNetwork, X: Array, y: Array, seed: Seed = 0) -> DescentSession:
        """Begin a session; `seed` draws the order of mini-batches."""
        rule = chain.BackpropRule() if isinstance(network, Network) else BackpropRule()
        return DescentSession(self, rule, network, X, y, seed)
