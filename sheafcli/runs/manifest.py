"""What every manifest.json says, whatever made the run."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
import scipy

from sheafcli.core.chain.network import Network
from sheafcli.core.network import AnyNetwork
from sheafcli.tasks import TaskData


def sizes(network: AnyNetwork, task: TaskData | None) -> dict[str, Any]:
    """Return the output, the sizes of the network, and the numbers of parameters and samples.

    A plain chain has widths, any other network an input shape.
    """
    return {
        "output": network.output.name,
        **(
            {"widths": list(network.widths)}
            if isinstance(network, Network)
            else {"input_shape": list(network.input_shape)}
        ),
        "parameters": sum(a.size for fields in network.graph.parameters.values() for a in fields.values()),
        "n_train": None if task is None else task.n_train,
        "n_test": None if task is None else len(task.X_test),
    }


def form(network: AnyNetwork) -> str:
    """Return what a network is made of, in short: a chain's widths, or the input's shape and the layers."""
    if isinstance(network, Network):
        return "-".join(map(str, network.widths))
    shape = " x ".join(map(str, network.input_shape))
    layers = max(edge.layer for edge in network.edges)
    return f"{shape} to {network.n_outputs} by {len(network.graph.edges)} edges in {layers} layers"


def versions() -> dict[str, str]:
    """Return the versions that the numbers of a run depend on."""
    return {
        "sheafcli": version("sheafcli"),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
    }


def now() -> str:
    """Return the time, in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
