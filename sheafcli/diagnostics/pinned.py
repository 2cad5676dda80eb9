"""Pinned discord: where a network, however it was trained, carries its prediction error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sheafcli.core.extension import Extension, extend
from sheafcli.core.network import Network
from sheafcli.core.outputs import Array
from sheafcli.diagnostics.discord import discord_table, neuron_table


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """The pinned equilibrium of some samples, and its discord by edge and by neuron."""

    extension: Extension
    edges: pd.DataFrame
    neurons: pd.DataFrame

    @property
    def unsettled(self) -> list[int]:
        """Which samples did not reach the tolerance."""
        return np.flatnonzero(~self.extension.converged).tolist()


def diagnose(network: Network, X: Array, y: Array) -> Diagnosis:
    """Pin the input to X and the output to the true y, solve, and read the discord of every edge."""
    extension = extend(network, X, target=y)
    return Diagnosis(
        extension,
        discord_table(network, X, extension.cochain),
        neuron_table(network, X, extension.cochain),
    )
