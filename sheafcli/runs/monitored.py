"""The run directory of a training that is not ours: what is recorded while somebody else trains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sheafcli.config.document import write
from sheafcli.config.naming import name_from
from sheafcli.core.chain.network import Network
from sheafcli.core.network import AnyNetwork
from sheafcli.core.training.fit import Data
from sheafcli.interop.networks import network_arrays
from sheafcli.runs.conduct import DISCORD_COLUMNS
from sheafcli.runs.directory import RunDirectory
from sheafcli.runs.files import GrowingTable, write_npz, write_text
from sheafcli.runs.imported import START, TRAINING
from sheafcli.runs.manifest import now, versions

SAMPLES = "samples.npz"
HISTORY_COLUMNS = ("step", "seconds", "train_loss", "test_loss", "energy")
ACCURACY_COLUMNS = ("train_accuracy", "test_accuracy")
SAME_SAMPLES = "no test samples were given: train and test are the same samples"


class MonitoredRun:
    """A run directory that grows while a network is trained elsewhere; it is a run like any other.

    Its task are the samples that are watched, in samples.npz. Its configuration says how one would train the
    network further, from where it began (imported.npz).
    """

    def __init__(self, path: Path, network: AnyNetwork, samples: Data, *, overwrite: bool):
        self.directory = RunDirectory(path)
        self._classifies = network.output.classifies
        self.history = GrowingTable(
            path / "history.csv", (*HISTORY_COLUMNS, *(ACCURACY_COLUMNS if self._classifies else ()))
        )
        self.discord = GrowingTable(path / "discord.csv", (*DISCORD_COLUMNS, "resistance", "inactive"))
        self._manifest = self._begin(network, samples, overwrite=overwrite)

    def _begin(self, network: AnyNetwork, samples: Data, *, overwrite: bool) -> dict[str, Any]:
        directory = self.directory
        name = name_from(directory.path.resolve().name) or "monitored"
        hidden = {"hidden": list(network.widths[1:-1])} if isinstance(network, Network) else {}
        values = {
            "name": name,
            "seed": 0,
            "task": {"kind": "npz", "path": SAMPLES},
            "network": hidden | {"output": network.output.name, "start": START},
            "training": TRAINING,
        }
        parts = {"train": (samples.X, samples.y), "test": (samples.X, samples.y)}
        if has_test := samples.X_test is not None and samples.y_test is not None:
            parts["test"] = (samples.X_test, samples.y_test)
        directory.begin(name, write(values), overwrite=overwrite)
        shape = network.input_shape
        arrays: dict[str, Any] = {}
        for part, (X, y) in parts.items():
            arrays |= {f"X_{part}": np.reshape(X, (-1, *shape)), f"y_{part}": y}
        write_npz(directory / SAMPLES, arrays)
        write_npz(directory / START, network_arrays(network))
        directory.write_network(network)
        self.history.begin()
        self.discord.begin()
        manifest: dict[str, Any] = {
            "name": name,
            "status": "running",
            "message": None,
            "task": "npz",
            "method": "monitored",
            "seed": 0,
            "output": network.output.name,
            **(
                {"widths": list(network.widths)}
                if isinstance(network, Network)
                else {"input_shape": list(shape)}
            ),
            "parameters": sum(
                a.size for fields in network.graph.parameters.values() for a in fields.values()
            ),
            "n_train": len(samples.X),
            "n_test": len(arrays["X_test"]),
            "notes": [] if has_test else [SAME_SAMPLES],
            "started": now(),
            "ended": None,
            "versions": versions(),
            "final": None,
            "baseline": None,
        }
        directory.write_manifest(manifest)
        return manifest

    def record(self, figures: Mapping[str, Any], edges: Iterable[Mapping[str, object]]) -> None:
        """Add a row to the history, and one an edge to the discord."""
        self.history.append([figures])
        self.discord.append(edges)

    def look(self, network: AnyNetwork, tables: Mapping[str, str]) -> None:
        """Write the network as it is now, and tables as CSV by their names."""
        self.directory.write_network(network)
        for name, text in tables.items():
            write_text(self.directory / f"{name}.csv", text)

    def end(self, status: str, final: Mapping[str, Any], message: str | None) -> None:
        """Say how it ended, and with which figures."""
        self._manifest |= {"status": status, "message": message, "ended": now(), "final": dict(final)}
        self.directory.write_manifest(self._manifest)
