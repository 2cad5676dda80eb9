"""Sheaf training of ReLU networks: the forward pass as a harmonic extension, discord edge by edge.

import sheafcli as sc
network = sc.Network.he([2, 30, 1], output="identity", seed=0)
fit = sc.train(network, X, y, sc.Implicit())    # or its name, "implicit"
sc.plot(fit)
sc.diagnose(fit.network, X_test, y_test)        # where it falters, and what is wrong with it
sc.save(fit, "model.onnx")
fit = sc.train(network, X, y, sc.Equilibrium(steps=10_000, optimizer=sc.Adam(0.03), schedule="cosine"))
flow = sc.train(network, X, y, sc.Heat(time=500, dt="auto"))
settled = sc.extend(fit.network, X, target=y, pins=[sc.Pin("z1", 3, 0.5)])
sc.discord(fit.network, X, settled.cochain)
network = sc.load("resnet.onnx")                # or a run directory, or sc.from_torch(model, example)
sc.diff(network, sc.record(model, X), X)        # where another run of it computes something else
sc.infer(network, X, target=y, free=["x3"])     # the inputs that would have made it so
sc.NeuralSheaf(fit.network).laplacian(pattern, block="free")
"""

from importlib import import_module
from types import FunctionType
from typing import TYPE_CHECKING, Any

from sheafcli.threads import one_thread

if TYPE_CHECKING:
    from sheafcli.api.diagnosing import Diagnosis, diagnose
    from sheafcli.api.drawing import plot
    from sheafcli.api.monitoring import Monitor, monitor
    from sheafcli.api.saving import save
    from sheafcli.api.training import Fit, train
    from sheafcli.core.chain.cochain import Cochain
    from sheafcli.core.chain.extension import extend
    from sheafcli.core.chain.network import Network
    from sheafcli.core.chain.sheaf import NeuralSheaf
    from sheafcli.core.diffusion import diffuse
    from sheafcli.core.integrators import Chebyshev, Euler, Stiff
    from sheafcli.core.network import GraphNetwork
    from sheafcli.core.pins import Pin
    from sheafcli.core.training.backprop import Backprop
    from sheafcli.core.training.descent import StopWhen
    from sheafcli.core.training.equilibrium import Equilibrium
    from sheafcli.core.training.heat import Heat
    from sheafcli.core.training.implicit import Implicit
    from sheafcli.core.training.optimizers import SGD, Adam, Momentum
    from sheafcli.diagnostics.difference import diff
    from sheafcli.diagnostics.discord import discord_table as discord
    from sheafcli.diagnostics.inference import infer
    from sheafcli.diagnostics.prediction import predict
    from sheafcli.interop.recording import record
    from sheafcli.runs.loading import from_torch, load

__all__ = [
    "SGD",
    "Adam",
    "Backprop",
    "Chebyshev",
    "Cochain",
    "Diagnosis",
    "Equilibrium",
    "Euler",
    "Fit",
    "GraphNetwork",
    "Heat",
    "Implicit",
    "Momentum",
    "Monitor",
    "Network",
    "NeuralSheaf",
    "Pin",
    "Stiff",
    "StopWhen",
    "diagnose",
    "diff",
    "diffuse",
    "discord",
    "extend",
    "from_torch",
    "infer",
    "load",
    "monitor",
    "plot",
    "predict",
    "record",
    "save",
    "train",
]

# Where each name is, and what it is called there if otherwise.
_PLACES = {
    "api.diagnosing": ("Diagnosis", "diagnose"),
    "api.drawing": ("plot",),
    "api.monitoring": ("Monitor", "monitor"),
    "api.saving": ("save",),
    "api.training": ("Fit", "train"),
    "core.chain.cochain": ("Cochain",),
    "core.chain.extension": ("extend",),
    "core.diffusion": ("diffuse",),
    "core.integrators": ("Chebyshev", "Euler", "Stiff"),
    "core.chain.network": ("Network",),
    "core.network": ("GraphNetwork",),
    "core.pins": ("Pin",),
    "core.chain.sheaf": ("NeuralSheaf",),
    "core.training.backprop": ("Backprop",),
    "core.training.descent": ("StopWhen",),
    "core.training.equilibrium": ("Equilibrium",),
    "core.training.heat": ("Heat",),
    "core.training.implicit": ("Implicit",),
    "core.training.optimizers": ("SGD", "Adam", "Momentum"),
    "diagnostics.discord": ("discord_table",),
    "diagnostics.difference": ("diff",),
    "diagnostics.inference": ("infer",),
    "diagnostics.prediction": ("predict",),
    "interop.recording": ("record",),
    "runs.loading": ("from_torch", "load"),
}
_MODULES = {name: module for module, names in _PLACES.items() for name in names}
_NAMES = {"discord": "discord_table"}


def __getattr__(name: str) -> Any:
    """Import a name with the first use of it.

    Ctrl-C while NumPy and SciPy are imported ends in a traceback where nobody catches it; so the command
    line, which imports this package first, must come to its own first line before they are. Functions run
    with one BLAS thread, as commands do (`sheafcli.threads`).
    """
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415  # takes longer than all the rest here

        return version("sheafcli")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    place = _NAMES.get(name, name)
    member = getattr(import_module(f"sheafcli.{_MODULES[place]}"), place)
    if isinstance(member, FunctionType):
        member = one_thread(member)
    globals()[name] = member
    return member


def __dir__() -> list[str]:
    return sorted(__all__)
