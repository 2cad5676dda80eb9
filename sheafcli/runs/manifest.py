"""What every manifest.json says, whatever made the run."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
import scipy

from sheafcli.core.chain.network import Network
from sheafcli.tasks import TaskData


def sizes(network: Network, task: TaskData | None) -> dict[str, Any]:
    """Return the output, the widths and the numbers of parameters and samples."""
    return {
        "output": network.output.name,
        "widths": list(network.widths),
        "parameters": sum(W.size + W.shape[0] for W in network.weights),
        "n_train": None if task is None else task.n_train,
        "n_test": None if task is None else len(task.X_test),
    }


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
