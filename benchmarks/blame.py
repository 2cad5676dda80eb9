"""Plant faults of many kinds in many networks, and keep what their layers show: what blame is fitted to.

    python benchmarks/blame.py

Appends to tables in benchmarks/results/planted/, a row a layer of a network with a fault, or with none:

- plain_fit: every kind twice in each of 600 networks, with the scores that take no repair;
- fit, held_out, healthy: kinds in turn, with all scores; healthy networks have no faults.

What is in them is not repeated. `benchmarks/blame_fit.py` fits and measures.
"""

from __future__ import annotations

import os

# Libraries read these when they are loaded.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from blame_faults import KINDS, N_SAMPLES, Fault, trained
from rich.progress import track

from sheafcli.core.chain.extension import extend
from sheafcli.core.chain.local_fit import local_fits
from sheafcli.core.chain.network import Network
from sheafcli.core.chain.repair import repairs
from sheafcli.core.types import Array
from sheafcli.diagnostics.constant import loss_of_constant
from sheafcli.diagnostics.scores import layer_scores, plain_scores

PLANTED = Path(__file__).parent / "results" / "planted"
FAULTS_A_NETWORK = 6
# How many networks a table has. Plain ones are numbered from FIRST_PLAIN on: no network is in two tables.
NETWORKS = {"plain_fit": 600, "fit": 100, "held_out": 100, "healthy": 200}
FIRST_PLAIN = 1000
Scores = list[dict[str, float]]


def all_scores(network: Network, X: Array, y: Array) -> Scores:
    """Return every score of every layer."""
    some = np.unique(np.linspace(0, len(X) - 1, min(len(X), N_SAMPLES)).astype(int))
    X, y = X[some], y[some]
    settled = extend(network, X, target=y).cochain
    tried, fits = list(repairs(network, X, y)), local_fits(network, X, y, settled)
    return layer_scores(network, X, y, tried, fits, settled)


def kinds_of(table: str, number: int) -> list[str]:
    """Return what is planted in a network, one after the other: first nothing."""
    if table == "healthy":
        return ["none"]
    if table == "plain_fit":
        return ["none", *KINDS, *KINDS]
    order = list(KINDS)
    return ["none", *(order[(FAULTS_A_NETWORK * number + i) % len(order)] for i in range(FAULTS_A_NETWORK))]


def rows_of(table: str, number: int) -> Iterator[dict[str, object]]:
    """Plant faults in the network of a number, and yield what every layer shows."""
    part, offset = ("fit", FIRST_PLAIN) if table == "plain_fit" else (table, 0)
    scores: Callable[[Network, Array, Array], Scores] = plain_scores if offset else all_scores
    task, network, X, y = trained(part, number + offset)
    before = network.output.loss(network.logits(X), y)
    rng = np.random.default_rng([list(NETWORKS).index(table), number])
    for kind in kinds_of(table, number):
        try:
            fault = Fault(network, 0) if kind == "none" else KINDS[kind](network, X, y, rng)
        except ValueError:  # no neuron that can be killed, say
            continue
        if fault is None:
            continue
        found = scores(fault.network, X, y)
        about = {
            "number": number,
            "task": task,
            "output": network.output.name,
            "samples": len(X),
            "layers": len(found),
            "kind": kind,
            "fault": fault.layer,
            "loss_before": before,
            "loss_after": fault.network.output.loss(fault.network.logits(X), y),
            "constant": loss_of_constant(network.output, y),
        }
        for layer, one in enumerate(found, start=1):
            yield about | {"layer": layer} | one


def missing() -> Iterator[tuple[str, int]]:
    """Yield the networks that are not in the tables yet, the tables in turn."""
    done = {name: _numbers(PLANTED / f"{name}.csv") for name in NETWORKS}
    for number in range(max(NETWORKS.values())):
        for name, count in NETWORKS.items():
            if number < count and number not in done[name]:
                yield name, number


def _numbers(path: Path) -> set[int]:
    return set(pd.read_csv(path, usecols=["number"])["number"]) if path.exists() else set()


def main() -> None:
    """Plant what is missing."""
    PLANTED.mkdir(parents=True, exist_ok=True)
    for name, number in track(list(missing()), "planting faults"):
        path = PLANTED / f"{name}.csv"
        rows = pd.DataFrame(rows_of(name, number))
        rows.to_csv(path, mode="a", header=not path.exists(), index=False)


if __name__ == "__main__":
    main()
