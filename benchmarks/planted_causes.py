"""Does the leading finding name the cause? What people do wrong, planted on purpose, and what is said of it.

Each kind is planted in runs of `sheaf train`, examined as `sheaf diagnose` does, and counted as found if the
first finding above info is the one that names it; a healthy run may have none at all.

- scaled: the inputs to be tested are 255 times too large, 1/16 of their size, or not standardised;
- swapped: two columns that matter have changed places, or all are in another order;
- label noise: a fifth of the training labels is replaced by other classes;
- at chance: the learning rate is far too high;
- underfit: too few steps, or a network with too few neurons;
- overfit: few samples, a wide network, trained to the end;
- dead layer: the biases of a hidden layer are lowered until nothing passes;
- re-initialised: the weights of one layer are drawn anew;
- healthy: nothing.

Thresholds of the rules were chosen on digits and breast_cancer with the seeds 0 to 4. The seeds from 5
on, and the other tables, were looked at only to be counted.

    python benchmarks/planted_causes.py [--seeds 5] [--first 0] [--tables digits,breast_cancer]

Writes benchmarks/results/planted_causes.csv, a row a run; what is in it is not repeated.
"""

from __future__ import annotations

import os

# Libraries read these when they are loaded.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from sheafcli.core.chain.network import Network
from sheafcli.diagnostics.examination import examine_run
from sheafcli.diagnostics.findings import Finding
from sheafcli.errors import InputError
from sheafcli.runs import Experiment, RunDirectory, RunFailed
from sheafcli.runs.conduct import conduct
from sheafcli.runs.observer import Silent
from sheafcli.runs.samples import Samples
from sheafcli.tasks import TASKS

RESULTS = Path(__file__).parent / "results" / "planted_causes.csv"
KINDS = {
    "scaled": {"inputs-shifted"},
    "swapped": {"inputs-shifted"},
    "label noise": {"label-noise"},
    "at chance": {"no-better-than-constant", "diverging-run"},
    "underfit": {"underfit"},
    "overfit": {"parts-apart"},
    "dead layer": {"dead-relu"},
    "re-initialised": {"layer-at-fault"},
    "healthy": set(),
}
"""The rules that name each kind. Of a re-initialised layer the finding must name the layer, too."""

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Planted:
    """A run to be diagnosed: the arrays of its task, how it trains, and the layer that is to be named."""

    arrays: dict[str, Array]
    hidden: tuple[int, ...]
    training: dict[str, object]
    layer: int | None = None


def table(name: str, seed: int) -> dict[str, Array]:
    """Return a task's arrays, cut by a seed; a table of scikit-learn's standardised on its training part."""
    if name == "wine":
        return _wine(seed)
    task = TASKS[name](kind=name).load(np.random.SeedSequence(seed), None)
    return {key: getattr(task, key) for key in ("X_train", "y_train", "X_test", "y_test")}


def _wine(seed: int) -> dict[str, Array]:
    from sklearn.datasets import load_wine  # noqa: PLC0415

    from sheafcli.tasks.partition import Partition  # noqa: PLC0415

    bunch = load_wine()
    y = np.eye(3)[bunch.target]
    task = Partition.draw(len(y), 0.25, np.random.SeedSequence(seed)).task(
        *(bunch.data, y),
        output="softmax",
        standardize=True,
        features=tuple(bunch.feature_names),
        targets=("class",),
        classes=tuple(map(str, bunch.target_names)),
    )
    return {key: getattr(task, key) for key in ("X_train", "y_train", "X_test", "y_test")}


def healthy(name: str, seed: int) -> Planted:
    """Return a run that goes well, by equilibrium or backprop, with two hidden layers or three."""
    hidden = ((32, 16), (24, 24), (24, 16, 16))[seed % 3]
    method = ("equilibrium", "backprop")[seed % 2]
    training = {"method": method, "optimizer": "adam", "learning_rate": 0.01, "schedule": "cosine"}
    epochs = {"digits": 15, "breast_cancer": 40, "wine": 40, "diabetes": 40}.get(name, 100)
    return Planted(table(name, seed), hidden, training | {"batch_size": 64, "epochs": epochs})


def label_noise(name: str, seed: int) -> Planted:
    """Replace a fifth of the training labels by other classes."""
    run, rng = healthy(name, seed), np.random.default_rng([seed, 1])
    y = run.arrays["y_train"].copy()
    for i in rng.choice(len(y), round(0.2 * len(y)), replace=False):
        y[i] = np.roll(y[i], rng.integers(1, y.shape[1])) if y.shape[1] > 1 else 1.0 - y[i]
    return replace(run, arrays=run.arrays | {"y_train": y})


def at_chance(name: str, seed: int) -> Planted | None:
    """Train at a learning rate so high that the network ends no better than a constant; None if none is."""
    run, optimizer = healthy(name, seed), ("adam", "momentum", "sgd")[seed % 3]
    X, y = run.arrays["X_train"], run.arrays["y_train"]
    for rate in 10.0 ** np.arange(6):
        more = {"learning_rate": float(rate), "optimizer": optimizer, "schedule": "constant"}
        planted = replace(run, training=run.training | more)
        with tempfile.TemporaryDirectory() as folder:
            directory = trained(planted, Path(folder), "tried", seed)
            lost = directory.manifest()["status"] == "diverged"
            if lost or np.mean((directory.network().predict(X) - y) ** 2) >= 0.95 * np.mean(y.var(axis=0)):
                return planted
    return None


def underfit(name: str, seed: int) -> Planted:
    """Stop after a few steps, or train a network with two neurons a layer."""
    run = healthy(name, seed)
    if seed % 2 and run.arrays["y_train"].shape[1] > 2:
        return replace(run, hidden=(2, 2))
    steps = {"epochs": None, "steps": 5, "log_every": 1, "learning_rate": 0.003, "schedule": "constant"}
    return replace(run, training=run.training | steps)


def overfit(name: str, seed: int) -> Planted:
    """Train a wide network to the end on few samples; of tables, beside columns that say nothing."""
    run = healthy(name, seed)
    few = {"digits": 60, "diabetes": 60, "wine": 20}.get(name, 30)
    rng = np.random.default_rng([seed, 2])
    rows = rng.permutation(len(run.arrays["y_train"]))[:few]
    arrays = run.arrays | {key: run.arrays[key][rows] for key in ("X_train", "y_train")}
    if name != "digits":
        for key in ("X_train", "X_test"):
            noise = rng.standard_normal((len(arrays[key]), 200))
            arrays[key] = np.hstack([arrays[key], noise])
    return Planted(arrays, (128, 64), run.training | {"epochs": 200, "batch_size": 10, "weight_decay": 0.0})


def scaled(run: Planted, seed: int) -> Planted:
    """Scale the inputs to be tested by a factor, or leave them unstandardised."""
    X = run.arrays["X_test"]
    rng = np.random.default_rng([seed, 3])
    raw = np.exp(rng.normal(1.0, 2.0, X.shape[1])), 5.0 * rng.standard_normal(X.shape[1])
    X = (X / 16.0, 255.0 * X, raw[0] * X + raw[0] * raw[1], X * 10.0)[seed % 4]
    return replace(run, arrays=run.arrays | {"X_test": X})


def swapped(run: Planted, network: Network, seed: int) -> Planted:
    """Put all columns to be tested in another order, or exchange the two of 300 pairs that cost most."""
    X, y = run.arrays["X_test"], run.arrays["y_test"]
    rng, d = np.random.default_rng([seed, 4]), X.shape[1]
    orders = [rng.permutation(d)] if seed % 2 else [_exchange(rng, d) for _ in range(300)]
    worst = max(orders, key=lambda order: network.output.loss(network.logits(X[:, order]), y))
    return replace(run, arrays=run.arrays | {"X_test": X[:, worst]})


def _exchange(rng: np.random.Generator, d: int) -> NDArray[np.intp]:
    order = np.arange(d)
    i, j = rng.choice(d, 2, replace=False)
    order[[i, j]] = order[[j, i]]
    return order


def dead(network: Network, X: Array, seed: int) -> Network:
    """Lower the biases of a hidden layer until none of its neurons is active."""
    layer = seed % network.depth + 1
    b = network.biases[layer - 1] - network.pre_activations(X)[layer - 1].max(axis=0) - 1.0
    biases = [*network.biases]
    biases[layer - 1] = b
    return replace(network, biases=tuple(biases))


def redrawn(network: Network, seed: int) -> tuple[Network, int]:
    """Draw the weights of one layer anew, as a start would; return which, too."""
    layer = seed % (network.depth + 1) + 1
    fresh = Network.he(network.widths, network.output.name, 1000 + seed)
    weights, biases = [*network.weights], [*network.biases]
    weights[layer - 1], biases[layer - 1] = fresh.weights[layer - 1], fresh.biases[layer - 1]
    return replace(network, weights=tuple(weights), biases=tuple(biases)), layer


def trained(run: Planted, folder: Path, name: str, seed: int) -> RunDirectory:
    """Train a run as `sheaf train` does; one that diverges leaves its directory, too."""
    directory = written(run, folder, name, seed)
    with suppress(RunFailed):
        conduct(Experiment.load(directory / "config.yaml"), directory, Silent())
    return directory


def written(run: Planted, folder: Path, name: str, seed: int) -> RunDirectory:
    """Write a run's data and configuration, and make its directory."""
    data = folder / f"{name}.npz"
    np.savez(data, **run.arrays)
    training = {key: value for key, value in run.training.items() if value is not None}
    configuration = {
        "name": name,
        "seed": seed,
        "task": {"kind": "npz", "path": str(data)},
        "network": {"hidden": list(run.hidden)},
        "training": training,
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(configuration))
    directory = RunDirectory(folder / name)
    directory.create(Experiment.load(path).config, overwrite=False)
    return directory


def findings(directory: RunDirectory) -> list[Finding]:
    """Return what `sheaf diagnose` finds; where it fails, the finding that its error tells.

    Where numbers grow out of range it refuses the network, and names no cause.
    """
    network = directory.network()
    try:
        samples = Samples.choose(directory, network, "test", None)
        return examine_run(directory, network, samples, lambda _: None).findings
    except InputError:
        return []
    except RunFailed as error:
        rule, _, evidence = str(error).partition("nothing is written. ")[2].partition(": ")
        return [Finding("error", rule, None, None, (), evidence, "")]


def runs(
    table_name: str, seed: int, kinds: set[str], folder: Path
) -> Iterator[tuple[str, int | None, list[Finding]]]:
    """Plant the kinds and yield what is found of each: the kind, the layer to be named, the findings."""
    run = healthy(table_name, seed)
    base = trained(run, folder, "healthy", seed)
    network = base.network()
    for kind, plant in {
        "label noise": label_noise,
        "at chance": at_chance,
        "underfit": underfit,
        "overfit": overfit,
    }.items():
        if kind in kinds and (kind != "label noise" or network.output.classifies):
            sick = plant(table_name, seed)
            if sick is not None:
                yield kind, None, findings(trained(sick, folder, kind.replace(" ", "_"), seed))
    for kind, data in {
        "scaled": lambda: scaled(run, seed),
        "swapped": lambda: swapped(run, network, seed),
    }.items():
        if kind in kinds:
            # Trained on the same samples the network would be the same.
            other = written(data(), folder, kind, seed)
            other.write_network(network)
            shutil.copy(base / "history.csv", other / "history.csv")
            yield kind, None, findings(other)
    if "healthy" in kinds:
        yield "healthy", None, findings(base)
    if "dead layer" in kinds:
        everywhere = np.concatenate([run.arrays["X_train"], run.arrays["X_test"]])
        base.write_network(dead(network, everywhere, seed))
        yield "dead layer", None, findings(base)
    if "re-initialised" in kinds:
        broken, layer = redrawn(network, seed)
        base.write_network(broken)
        yield "re-initialised", layer, findings(base)


def named(kind: str, layer: int | None, found: list[Finding]) -> bool:
    """Say whether the leading finding names the cause."""
    grave = [finding for finding in found if finding.severity != "info"]
    if kind == "healthy":
        return not grave
    return bool(grave) and grave[0].rule in KINDS[kind] and layer in (None, grave[0].layer)


def planted(name: str, seed: int, kinds: set[str]) -> Iterator[dict[str, object]]:
    """Plant the kinds in runs on a table and yield a row each."""
    with tempfile.TemporaryDirectory() as folder:
        for kind, layer, found in runs(name, seed, kinds, Path(folder)):
            lead = found[0] if found else None
            yield {
                "table": name,
                "seed": seed,
                "kind": kind,
                "found": named(kind, layer, found),
                "rule": lead.rule if lead else "",
                "severity": lead.severity if lead else "",
                "layer": layer,
                "evidence": lead.evidence if lead else "",
            }


def main() -> None:
    """Plant what is not in the table yet, write it row by row, and print how often it was named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="how many seeds (default 5)")
    parser.add_argument("--first", type=int, default=5, help="the first of them (default 5)")
    parser.add_argument("--tables", default="digits,breast_cancer,wine", help="which tables, by commas")
    parser.add_argument("--kinds", default=",".join(KINDS), help="which kinds, by commas")
    parser.add_argument("--output", type=Path, default=RESULTS, help="where the CSV file goes")
    asked = parser.parse_args()
    done = pd.read_csv(asked.output) if asked.output.exists() else pd.DataFrame({"table": [], "seed": []})
    for name in asked.tables.split(","):
        for seed in range(asked.first, asked.first + asked.seeds):
            here = done[(done["table"] == name) & (done["seed"] == seed)]
            kinds = set(asked.kinds.split(",")) - set(here.get("kind", ()))
            for row in planted(name, seed, kinds) if kinds else ():
                pd.DataFrame([row]).to_csv(
                    asked.output,
                    mode="a",
                    header=not asked.output.exists(),
                    index=False,
                    lineterminator="\n",
                )
                print(*list(row.values())[:7], sep=" | ", flush=True)
    told = pd.read_csv(asked.output)
    print(told.pivot_table(index="kind", columns="table", values="found", aggfunc="sum").to_string())
    print(f"{told['found'].sum()} of {len(told)} named")


if __name__ == "__main__":
    main()
