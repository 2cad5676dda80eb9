"""Sheaf training of ReLU networks: the forward pass as a harmonic extension, discord edge by edge.

import sheafcli as sc
network = sc.Network.he([2, 30, 1], output="identity", seed=0)
fit = sc.train(network, X, y, sc.Equilibrium(steps=10_000, optimizer=sc.Adam(0.03), schedule="cosine"))
flow = sc.train(network, X, y, sc.Heat(time=500, dt="auto"))
settled = sc.extend(fit.network, X, target=y, pins=[sc.Pin("z1", 3, 0.5)])
sc.discord(fit.network, X, settled.cochain)
sc.NeuralSheaf(fit.network).laplacian(pattern, block="free")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sheafcli.core.cochain import Cochain
from sheafcli.core.diffusion import diffuse
from sheafcli.core.extension import extend
from sheafcli.core.integrators import Chebyshev, Euler, Implicit
from sheafcli.core.network import Network
from sheafcli.core.pins import Pin
from sheafcli.core.sheaf import NeuralSheaf
from sheafcli.core.training.backprop import Backprop
from sheafcli.core.training.descent import StopWhen
from sheafcli.core.training.equilibrium import Equilibrium
from sheafcli.core.training.fit import train
from sheafcli.core.training.heat import Heat
from sheafcli.core.training.optimizers import SGD, Adam, Momentum

if TYPE_CHECKING:
    from sheafcli.diagnostics.discord import discord_table as discord

__all__ = [
    "SGD",
    "Adam",
    "Backprop",
    "Chebyshev",
    "Cochain",
    "Equilibrium",
    "Euler",
    "Heat",
    "Implicit",
    "Momentum",
    "Network",
    "NeuralSheaf",
    "Pin",
    "StopWhen",
    "diffuse",
    "discord",
    "extend",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import the table of discord with the first use of it: pandas is slow to begin with."""
    if name == "discord":
        return import_module("sheafcli.diagnostics.discord").discord_table
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
