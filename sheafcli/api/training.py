"""Training from a notebook."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from sheafcli.api.html import shown
from sheafcli.core.network import AnyNetwork
from sheafcli.core.training import fit as core
from sheafcli.core.training.backprop import Backprop
from sheafcli.core.training.equilibrium import Equilibrium
from sheafcli.core.training.implicit import Implicit
from sheafcli.core.training.protocol import Method
from sheafcli.core.types import Array, Seed
from sheafcli.tasks.targets import encoded

METHODS: dict[str, Callable[[], Method]] = {
    "implicit": Implicit,
    "equilibrium": Equilibrium,
    "backprop": Backprop,
}


class Fit(core.Fit):
    """A finished training.

    Attributes
    ----------
    network
        The trained network.
    history
        A record every so many steps, the first before training; `table` has them as a DataFrame.
    discord
        The training discord of every edge at the end; `discord_table` has it as a DataFrame.

    Examples
    --------
    >>> import numpy as np, sheafcli as sc
    >>> X = np.random.default_rng(0).uniform(-2, 2, size=(50, 2))
    >>> fit = sc.train(sc.Network.he([2, 8, 1]), X, (X**2).sum(axis=1), sc.Implicit(steps=20))
    >>> fit.table["step"].tolist()
    [0, 20]
    """

    @property
    def table(self) -> pd.DataFrame:
        """The history as a table, a row a record; columns that nothing is known of are left out."""
        return pd.DataFrame([asdict(record) for record in self.history]).dropna(axis=1, how="all")

    @property
    def discord_table(self) -> pd.DataFrame:
        """The training discord by edge, with each edge's share."""
        total = sum(self.discord.values()) or 1.0
        rows = [(edge.name, edge.layer, value, value / total) for edge, value in self.discord.items()]
        return pd.DataFrame(rows, columns=["edge", "layer", "discord", "share"])

    def _repr_html_(self) -> str:
        return shown(
            repr(self), {"History": self.table.tail(5), "Discord of the training stalks": self.discord_table}
        )


def train(
    network: AnyNetwork,
    X: Array,
    y: Array,
    method: Method | str = "implicit",
    *,
    X_test: Array | None = None,
    y_test: Array | None = None,
    seed: Seed = 0,
    log_every: int = 100,
) -> Fit:
    """Train a network on samples, and return what came of it. The network given is not changed.

    Parameters
    ----------
    network
        Where training starts, such as ``sc.Network.he([2, 30, 1], seed=0)``, or a network that `load` read.
    X
        Inputs, samples x features.
    y
        Targets, samples x outputs; one output may come flat. For a softmax output class numbers 0, 1, ...
        will do, for a sigmoid output 0 and 1.
    method
        How to train, an object that holds its own options, or its name for the defaults:

        - ``sc.Implicit()``, "implicit": stalks and weights relax together, without a learning rate. It trains
          best, in networks of up to a few thousand weights or samples.
        - ``sc.Equilibrium(epochs=30, batch_size=64)``, "equilibrium": sheaf training by mini-batches, for any
          network and any number of samples.
        - ``sc.Heat(time=60)``: the paper's joint heat flow of stalks and weights.
        - ``sc.Backprop()``, "backprop": back-propagation, to compare with.
    X_test, y_test
        Samples to report the loss of; they are not trained on.
    seed
        Draws whatever the method draws: equal seeds give equal results.
    log_every
        So many steps lie between two records of the history.

    Returns
    -------
    Fit
        With the trained `network`, the `history`, and the training `discord` of every edge.

    Examples
    --------
    >>> import numpy as np, sheafcli as sc
    >>> X = np.random.default_rng(0).uniform(-2, 2, size=(100, 2))
    >>> y = (X**2).sum(axis=1)
    >>> fit = sc.train(sc.Network.he([2, 30, 1]), X, y, sc.Implicit(steps=60))
    >>> fit.history[-1].train_loss < 0.01
    True
    >>> fit.network.predict(X).shape
    (100, 1)
    """
    y = targets(network, y, "y")
    y_test = None if y_test is None else targets(network, y_test, "y_test")
    fit = core.train(
        network, X, y, _method(method), X_test=X_test, y_test=y_test, seed=seed, log_every=log_every
    )
    return Fit(fit.network, fit.history, fit.discord)


def targets(network: AnyNetwork, y: Any, name: str) -> Array:
    """Return targets as a network takes them, samples x outputs; ValueError says what does not fit."""
    y = np.asarray(y)
    if y.dtype.kind not in "biuf":
        raise ValueError(f"{name} must hold numbers; number the classes 0, 1, ..., got type {y.dtype}")
    y = y.astype(np.float64)
    return encoded(y[:, None] if y.ndim == 1 else y, network.output.name, network.n_outputs, name)


def _method(method: Method | str) -> Method:
    if not isinstance(method, str):
        return method
    if method in METHODS:
        return METHODS[method]()
    if method == "heat":
        raise ValueError(
            "heat training must be told when to end: give sc.Heat(time=60) or sc.Heat(steps=100_000)"
        )
    raise ValueError(f"no training method is called {method!r}; there are {', '.join(METHODS)} and heat")
