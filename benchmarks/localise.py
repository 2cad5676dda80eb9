"""Does a diagnosis pinpoint? Faults planted in trained networks, and which layer every score says it was.

Networks: regression (paraboloid) with 2 and with 4 hidden layers, digits with 4; four of each, from
different seeds. Kinds of fault, so many seeded ones a kind and network:

- noise: Gaussian noise of half the layer's norm on the weights of any layer;
- scrambled: the weights into one hidden neuron drawn anew, with their norm kept;
- killed: the bias of one hidden neuron lowered until it is active on no sample;
- saturated: the bias of one output raised by ten times the spread of the outputs;
- shuffled: the weights out of one input permuted.

Scores: those of the tables of `sheaf diagnose`, of which blame is fitted to all others and more
(`benchmarks/blame.py`, on other networks and, but for the paraboloid, other tasks); and the usual ones: the
norm of the loss's gradient in W_l, alone and against that of W_l; how far the weights' norm is from a He
draw's; how much the activations grow or shrink from layer to layer; the share of neurons that are never
active. Each names a layer; ties are
broken at random. All see the same 300 training samples and nothing of the network before the fault.

    python benchmarks/localise.py [--jobs 2] [--faults 200]

Writes benchmarks/results/localise.csv, a row a fault; what is in it is not repeated.
"""

from __future__ import annotations

import os

# Libraries read these when they are loaded.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import csv
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from rich.progress import track

from sheafcli.core.chain.network import Network
from sheafcli.core.chain.training.backprop import gradient
from sheafcli.core.training.equilibrium import Equilibrium
from sheafcli.core.training.fit import train
from sheafcli.core.training.optimizers import Adam
from sheafcli.core.types import Array
from sheafcli.diagnostics.fault import fault_table
from sheafcli.diagnostics.pinned import diagnose
from sheafcli.tasks.bundled import Digits
from sheafcli.tasks.synthetic import Paraboloid

FAULTS = Path(__file__).parent / "results" / "localise.csv"
N_NETWORKS, N_SAMPLES = 4, 300
WIDTHS = {
    "regression, 2 hidden layers": (2, 20, 20, 1),
    "regression, 4 hidden layers": (2, 20, 20, 20, 20, 1),
    "digits, 4 hidden layers": (64, 32, 32, 32, 32, 10),
}
KINDS = ("noise", "scrambled", "killed", "saturated", "shuffled")
SCORES = (
    "blame",
    "evidence",
    "repaired_loss",
    "fitted_loss",
    "explainable",
    "discord",
    "excess",
    "gradient",
    "relative_gradient",
    "weight_norm",
    "activation_scale",
    "dead_share",
)
Rng = np.random.Generator


@dataclass(frozen=True, eq=False)
class Fault:
    """A network with a fault, and the layer, from 1, that it is in."""

    network: Network
    layer: int


@cache
def trained(name: str, seed: int) -> tuple[Network, Array, Array]:
    """Return a trained network with the samples of its training that the scores see."""
    widths = WIDTHS[name]
    if widths[0] == 64:
        task = Digits().load(np.random.SeedSequence(seed), None)
        method = Equilibrium(epochs=30, batch_size=64, optimizer=Adam(0.002), schedule="cosine")
    else:
        task = Paraboloid(n_train=N_SAMPLES, n_test=N_SAMPLES).load(np.random.SeedSequence(seed), None)
        method = Equilibrium(steps=3000, optimizer=Adam(0.02), schedule="cosine")
    start = Network.he(widths, task.output, seed)
    network = train(start, task.X_train, task.y_train, method, seed=seed).network
    return network, task.X_train[:N_SAMPLES], task.y_train[:N_SAMPLES]


def noise(network: Network, X: Array, rng: Rng) -> Fault:
    """Add noise of half its norm to the weights of a layer."""
    layer = int(rng.integers(1, network.depth + 2))
    W = network.weights[layer - 1]
    E = rng.standard_normal(W.shape)
    return Fault(changed(network, layer, W=W + 0.5 * np.linalg.norm(W) * E / np.linalg.norm(E)), layer)


def scrambled(network: Network, X: Array, rng: Rng) -> Fault:
    """Draw the weights into a hidden neuron anew."""
    layer = int(rng.integers(1, network.depth + 1))
    W = network.weights[layer - 1].copy()
    neuron, row = rng.integers(len(W)), rng.standard_normal(W.shape[1])
    W[neuron] = row * np.linalg.norm(W[neuron]) / np.linalg.norm(row)
    return Fault(changed(network, layer, W=W), layer)


def killed(network: Network, X: Array, rng: Rng) -> Fault:
    """Lower the bias of a hidden neuron, one that is active on a tenth of the samples, until it never is."""
    layer = int(rng.integers(1, network.depth + 1))
    z = network.pre_activations(X)[layer - 1]
    neuron = rng.choice(np.flatnonzero((z > 0.0).mean(axis=0) >= 0.1))
    b = network.biases[layer - 1].copy()
    b[neuron] -= 1.0 + 1.5 * z[:, neuron].max()
    return Fault(changed(network, layer, b=b), layer)


def saturated(network: Network, X: Array, rng: Rng) -> Fault:
    """Raise the bias of an output by ten times the spread of the outputs."""
    b = network.biases[-1].copy()
    b[rng.integers(len(b))] += 10.0 * network.logits(X).std()
    return Fault(changed(network, network.depth + 1, b=b), network.depth + 1)


def shuffled(network: Network, X: Array, rng: Rng) -> Fault:
    """Permute the weights out of an input: one that the network reads."""
    W = network.weights[0].copy()
    column = rng.choice(np.flatnonzero(X.std(axis=0) > 0.0))
    W[:, column] = rng.permutation(W[:, column])
    return Fault(changed(network, 1, W=W), 1)


def changed(network: Network, layer: int, W: Array | None = None, b: Array | None = None) -> Network:
    """Return the network with other weights or biases in a layer."""
    weights, biases = list(network.weights), list(network.biases)
    weights[layer - 1] = weights[layer - 1] if W is None else W
    biases[layer - 1] = biases[layer - 1] if b is None else b
    return Network(tuple(weights), tuple(biases), network.output)


PLANT: dict[str, Callable[[Network, Array, Rng], Fault]] = {
    "noise": noise,
    "scrambled": scrambled,
    "killed": killed,
    "saturated": saturated,
    "shuffled": shuffled,
}


def scores(network: Network, X: Array, y: Array) -> dict[str, Array]:
    """Return every score of every layer: the highest names the culprit."""
    diagnosis = diagnose(network, X, y)
    fault = fault_table(network, X, y)
    slopes = [np.hypot(np.linalg.norm(dW), np.linalg.norm(db)) for dW, db in gradient(network, X, y)]
    norms = np.array([np.linalg.norm(W) for W in network.weights])
    stalks = network.pre_activations(X)
    sizes = [np.sqrt(np.mean(a * a)) for a in (X, *(np.maximum(z, 0.0) for z in stalks[:-1]), stalks[-1])]
    tiny = np.finfo(np.float64).tiny
    return {
        "blame": fault["blame"].to_numpy(),
        "evidence": fault["evidence"].to_numpy(),
        "repaired_loss": -fault["repaired_loss"].to_numpy(),
        "fitted_loss": -fault["fitted_loss"].to_numpy(),
        "explainable": fault["explainable"].fillna(0.0).to_numpy(),
        "discord": diagnosis.layers["share"].to_numpy(),
        "excess": diagnosis.layers["excess"].to_numpy(),
        "gradient": np.array(slopes),
        "relative_gradient": np.array(slopes) / norms,
        "weight_norm": np.abs(np.log(norms / [np.sqrt(2.0 * len(W)) for W in network.weights])),
        "activation_scale": np.abs(np.diff(np.log(np.maximum(sizes, tiny)))),
        "dead_share": np.array([*((z <= 0.0).all(axis=0).mean() for z in stalks[:-1]), 0.0]),
    }


def named(values: Array, rng: Rng) -> int:
    """Return the layer, from 1, with the highest score; one of them at random if several have it."""
    return int(rng.choice(np.flatnonzero(values == values.max()))) + 1


def planted(name: str, kind: str, number: int) -> tuple[Network, Array, Array, Fault]:
    """Return a network with its samples, and with the fault of a kind and a number."""
    network, X, y = trained(name, number % N_NETWORKS)
    rng = np.random.default_rng([list(WIDTHS).index(name), KINDS.index(kind), number])
    return network, X, y, PLANT[kind](network, X, rng)


def examine(name: str, kind: str, number: int) -> dict[str, object]:
    """Plant a fault and return its row: what it was, and which layer every score names."""
    network, X, y, fault = planted(name, kind, number)
    rng = np.random.default_rng([list(WIDTHS).index(name), KINDS.index(kind), number, 1])
    found = scores(fault.network, X, y)
    before, after = (n.output.loss(n.logits(X), y) for n in (network, fault.network))
    told = {score: named(found[score], rng) for score in SCORES}
    row = {"network": name, "kind": kind, "number": number, "layer": fault.layer}
    return row | {"loss_before": before, "loss_after": after} | told


def missing(faults: int) -> Iterator[tuple[str, str, int]]:
    """Yield the faults that are not in the table yet, the kinds and networks in turn."""
    done = set()
    if FAULTS.exists():
        seen = pd.read_csv(FAULTS)
        if not set(SCORES) <= set(seen):
            raise SystemExit(f"{FAULTS} does not have all scores: move it away, and plant all faults anew")
        done = set(zip(seen["network"], seen["kind"], seen["number"], strict=True))
    for number in range(faults):
        for name in WIDTHS:
            for kind in KINDS:
                if (name, kind, number) not in done:
                    yield name, kind, number


def main() -> None:
    """Examine what is missing, and show how often every score was right."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--jobs", type=int, default=2, metavar="N", help="how many processes work (default 2)"
    )
    parser.add_argument(
        "--faults", type=int, default=200, metavar="N", help="how many of a kind and network (default 200)"
    )
    options = parser.parse_args()
    with ProcessPoolExecutor(options.jobs) as pool:
        tasks = [pool.submit(examine, *fault) for fault in missing(options.faults)]
        for task in track(as_completed(tasks), "planting faults", total=len(tasks)):
            row = task.result()
            begun = FAULTS.exists()
            with FAULTS.open("a", newline="") as file:
                writer = csv.DictWriter(file, row, lineterminator="\n")
                if not begun:
                    writer.writeheader()
                writer.writerow(row)
    print(accuracies(pd.read_csv(FAULTS)).round(3).to_string())


def accuracies(faults: pd.DataFrame) -> pd.DataFrame:
    """Return how often each score names the right layer, a row a network and kind; chance is 1 / layers."""
    there = [name for name in SCORES if name in faults]
    right = faults[["network", "kind"]].assign(**{name: faults[name] == faults["layer"] for name in there})
    table = right.groupby(["network", "kind"], sort=False)[there].mean()
    layers = [len(WIDTHS[name]) - 1 for name, _ in table.index]
    return table.assign(chance=1.0 / np.array(layers))


if __name__ == "__main__":
    main()
