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


@dataclass(frozen=True, kw_only=True, repr=False)
class Backprop(Descent):
    """Gradient descent on the loss.

    Parameters
    ----------
    optimizer
        The update rule with its learning rate, such as Adam(0.01), or its name: "adam", "sgd", "momentum".
    epochs, steps
        When to end: after so many passes over the data or so many updates; 10,000 epochs unless given.
    schedule
        What becomes of the learning rate on the way to the end: "constant", "linear" to zero, or "cosine".
    batch_size
        Samples an update reads; None reads all.
    weight_decay
        Weights (not biases) shrink by this factor of the learning rate at each step.
    stop_when
        Conditions to end early.
    precision
        "double", "single", or "auto": double for plain chains, single for all other networks.

    Examples
    --------
    >>> import numpy as np, sheafcli as sc
    >>> X = np.random.default_rng(0).uniform(-2, 2, size=(50, 2))
    >>> method = sc.Backprop(optimizer="sgd", epochs=500)
    >>> fit = sc.train(sc.Network.he([2, 8, 1]), X, (X**2).sum(axis=1), method)
    >>> fit.history[-1].train_loss < fit.history[0].train_loss
    True
    """

    def start(self, network: AnyNetwork, X: Array, y: Array, seed: Seed = 0) -> DescentSession:
        """Begin a session; `seed` draws the order of mini-batches."""
        rule = chain.BackpropRule() if isinstance(network, Network) else BackpropRule()
        return DescentSession(self, rule, network, X, y, seed)
