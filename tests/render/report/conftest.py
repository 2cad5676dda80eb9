"""A run of four classes with awkward names, written without training, with all that a report shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sheafcli.core.chain.network import Network
from sheafcli.core.difference import values_of
from sheafcli.core.spectrum import spectrum
from sheafcli.diagnostics.difference import compare
from sheafcli.diagnostics.pinned import diagnose
from sheafcli.diagnostics.spectrum import spectrum_table
from sheafcli.runs import RunDirectory

NAME = "<b>bold</b> & co"
CLASSES = ("<script>alert(1)</script>", "NA", "a & b", "<i>%{x}</i>")
WIDTHS = [3, 6, 5, 4]
STEPS = range(0, 500, 10)


def write_run(path: Path) -> RunDirectory:
    rng = np.random.default_rng(0)
    network = Network.he(WIDTHS, output="softmax", seed=1)
    X, y = rng.normal(size=(60, WIDTHS[0])), np.eye(WIDTHS[-1])[rng.integers(0, WIDTHS[-1], 60)]
    found = diagnose(network, X, y, CLASSES)
    last = replace(network, weights=(*network.weights[:-1], 1.01 * network.weights[-1]))
    compared = compare(network, X, values_of(last.graph, X), other=last)
    tables = {
        "diagnosis": found.edges,
        "layers": found.layers.assign(blame=[0.2, 0.7, 0.1], explainable=[0.5, 0.4, 0.3], fitted_loss=1.0),
        "operations": found.operations,
        "neurons": found.neurons,
        "samples": found.samples,
        "classes": found.classes,
        "spectrum": spectrum_table(spectrum(network, X)),
        "diff": compared.operations,
    }
    decay = np.exp(-np.arange(len(STEPS)) / 10)
    history = {"step": STEPS, "seconds": 0.1, "train_loss": decay, "test_loss": 0.1 + decay, "energy": decay}
    accuracies = {"train_accuracy": 1 - decay / 2, "test_accuracy": 0.9 - decay / 2}
    tables["history"] = pd.DataFrame({**history, **accuracies})
    tables["baseline"] = tables["history"].assign(train_loss=2 * decay)
    tables["discord"] = pd.concat(
        found.edges[["layer", "operation", "edge", "share"]].assign(
            step=step, discord=found.edges["discord"] * factor
        )
        for step, factor in zip(STEPS, decay, strict=True)
    )
    tables["findings"] = pd.DataFrame(
        {
            "severity": ["info", "error"],
            "rule": ["excess", "<img src=x onerror=alert(1)>"],
            "layer": [2, np.nan],
            "operation": ["affine", ""],
            "neurons": ["", "3 4"],
            "evidence": ["feature <u> & <v>", "seen"],
            "advice": ["nothing to do", "retrain"],
        }
    )
    path.mkdir()
    for name, table in tables.items():
        (path / f"{name}.csv").write_text(table.to_csv(index=False))
    told = {"sentence": compared.sentence, "other": "runs/<b>other</b>", "precision": "float64"}
    (path / "diff.json").write_text(json.dumps(told))
    final = {"step": 490, "train_loss": 0.0074, "test_loss": 0.1074, "test_accuracy": 0.9, "seconds": 4.9}
    manifest = {
        "name": NAME,
        "status": "finished",
        "task": "blobs",
        "method": "heat",
        "output": "softmax",
        "widths": WIDTHS,
        "parameters": 83,
        "n_train": 60,
        "versions": {"sheafcli": "0.1.0"},
        "final": final,
    }
    (path / "manifest.json").write_text(json.dumps(manifest))
    (path / "config.yaml").write_text("name: strange  # <b>, & and </script>\nseed: 1\n")
    return RunDirectory(path)


@pytest.fixture
def run(tmp_path) -> RunDirectory:
    """The run in a directory of its own."""
    return write_run(tmp_path / "run")


@pytest.fixture(scope="session")
def make_run() -> Callable[[Path], RunDirectory]:
    """Write the run where asked."""
    return write_run
