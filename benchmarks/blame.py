"""Plant faults of many kinds in many networks, and keep what their layers show: what blame is fitted to.

    python benchmarks/blame.py

Appends to tables in benchmarks/results/planted/, a row a layer of a network with a fault, or with none:

- plain_fit: every kind twice in each of 1,950 networks, with the scores that take no repair;
- fit: four kinds in turn in each of 584 other networks, with all scores;
- held_out: three kinds in turn in each of 108 networks, with all scores, and 92 more without a fault;
- localise: the first 24 faults of every kind and network of `benchmarks/localise.py`, with all scores.

`benchmarks/blame_tasks.py` says on which tasks, and of which depths and widths. What is in the tables is not
repeated. `benchmarks/blame_fit.py` fits and measures.
"""

from __future__ import annotations

import os

# Libraries read these when they are loaded.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import localise
import numpy as np
import pandas as pd
from blame_faults import KINDS, Fault
from blame_tasks import trained
from rich.progress import track

from sheafcli.core.chain.extension import extend
from sheafcli.core.chain.local_fit import local_fits
from sheafcli.core.chain.network import Network
from sheafcli.core.chain.repair import repairs
from sheafcli.core.types import Array
from sheafcli.diagnostics.constant import loss_of_constant
from sheafcli.diagnostics.scores import layer_scores, plain_scores

PLANTED = Path(__file__).parent / "results" / "planted"
# How many networks a table has, in how many of them faults are planted, and how many in each.
NETWORKS = {"plain_fit": 1950, "fit": 584, "held_out": 200, "localise": 24}
FAULTY = {"plain_fit": 1950, "fit": 584, "held_out": 108}
FAULTS_A_NETWORK = {"fit": 4, "held_out": 3}
# Networks of plain_fit are those of fit from this number on.
FIRST_PLAIN = 1000
N_SAMPLES = 300
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
    if number >= FAULTY[table]:
        return ["none"]
    if table == "plain_fit":
        return ["none", *KINDS, *KINDS]
    order, some = list(KINDS), FAULTS_A_NETWORK[table]
    return ["none", *(order[(some * number + i) % len(order)] for i in range(some))]


class Planted(NamedTuple):
    """A network before and after a fault of a kind, on samples of a task."""

    task: str
    kind: str
    network: Network
    fault: Fault
    X: Array
    y: Array


def planted(table: str, number: int) -> Iterator[Planted]:
    """Plant faults in the network of a number."""
    if table == "localise":
        for name in localise.WIDTHS:
            for kind in localise.KINDS:
                network, X, y, fault = localise.planted(name, kind, number)
                yield Planted(name, kind, network, Fault(fault.network, fault.layer), X, y)
        return
    part, number_there = ("fit", FIRST_PLAIN + number) if table == "plain_fit" else (table, number)
    task, network, X, y = trained(part, number_there)
    rng = np.random.default_rng([list(NETWORKS).index(table), number])
    for kind in kinds_of(table, number):
        try:
            fault = Fault(network, 0) if kind == "none" else KINDS[kind](network, X, y, rng)
        except ValueError:  # no neuron that can be killed, say
            continue
        if fault is not None:
            yield Planted(task, kind, network, fault, X, y)


def rows_of(table: str, number: int) -> Iterator[dict[str, object]]:
    """Plant faults in the network of a number, and yield what every layer shows."""
    scores: Callable[[Network, Array, Array], Scores] = plain_scores if table == "plain_fit" else all_scores
    for task, kind, network, fault, X, y in planted(table, number):
        found = scores(fault.network, X, y)
        before, after = (n.output.loss(n.logits(X), y) for n in (network, fault.network))
        about = {
            "number": number,
            "task": task,
            "output": network.output.name,
            "samples": len(X),
            "layers": len(found),
            "kind": kind,
            "fault": fault.layer,
            "loss_before": before,
            "loss_after": after,
            "constant": loss_of_constant(network.output, y),
        }
        for layer, one in enumerate(found, start=1):
            yield about | {"layer": layer} | one


def missing() -> Iterator[tuple[str, int]]:
    """Yield the networks that are not in the tables yet."""
    done = {name: _numbers(PLANTED / f"{name}.csv") for name in NETWORKS}
    for name, count in NETWORKS.items():
        yield from ((name, number) for number in range(count) if number not in done[name])


def _numbers(path: Path) -> set[int]:
    return set(pd.read_csv(path, usecols=["number"])["number"]) if path.exists() else set()


def main() -> None:
    """Plant what is missing."""
    PLANTED.mkdir(parents=True, exist_ok=True)
    for name, number in track(list(missing()), "planting faults"):
        path = PLANTED / f"{name}.csv"
        rows = pd.DataFrame(rows_of(name, number))
        rows.to_csv(path, mode="a", header=not path.exists(), index=False, float_format="%.6g")


if __name__ == "__main__":
    main()
