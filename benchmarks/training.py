"""Training methods side by side at equal wall time, on the eight rows of the paper's table, five seeds each.

Every run starts from the reference implementation's own data and He draws (tests/golden/, seeds 0 to 4), on
one thread and in float64:

- heat: our joint flow with the paper's dt and number of steps, and with `dt: auto` to the same time;
- sgd_100k: our full-batch gradient descent, as many epochs as the paper has Euler steps;
- equilibrium, backprop: ours, Adam with a learning rate of 0.003, 0.01 or 0.03, cosine schedule;
- torch_adam: PyTorch eager, full batch, the same learning rates and the same schedule;
- torch_sgd: PyTorch eager, full batch, the paper's learning rate.

The schedule ends with the budget, 2 or 10 seconds: its number of steps is set from a short run before.
The clock stops while a run is looked at. A run is looked at in times that grow by 4%; early stopping, for all
alike, takes the moment of least loss on 2,000 validation samples of the same distribution, which no run
trains on. Test losses are those of the reference's 100 test samples, and of 10,000 more.

    python benchmarks/training.py [--jobs 2]

Writes benchmarks/results/training_runs.csv, a row a run, and training_curves.csv, the median curves; a run
that is in the first is not repeated.
"""

from __future__ import annotations

import os

# Libraries read these when they are loaded.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import csv
import json
import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import track
from torch_training import TorchTraining

from sheafcli.core.chain.network import Network
from sheafcli.core.outputs import output_named
from sheafcli.core.training.backprop import Backprop
from sheafcli.core.training.equilibrium import Equilibrium
from sheafcli.core.training.heat import Heat
from sheafcli.core.training.optimizers import SGD, Adam
from sheafcli.core.training.protocol import Method
from sheafcli.tasks.synthetic import Blobs, Circular, Paraboloid, Saddle

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"
RUNS = ROOT / "benchmarks" / "results" / "training_runs.csv"
CURVES = RUNS.with_name("training_curves.csv")
# The looks of single runs, from which the curves are made; too much to keep.
LOOKS = ROOT / "results" / "training_looks.csv"

TASKS = {"paraboloid": Paraboloid, "saddle": Saddle, "circular": Circular, "blobs": Blobs}
SEEDS = range(5)
BUDGETS = (2.0, 10.0)
RATES = (0.003, 0.01, 0.03)
SGD_RATES = {"paraboloid": 0.005, "saddle": 0.005, "circular": 0.01, "blobs": 0.01}
N_VALIDATION, N_TEST = 2_000, 10_000
# A run is looked at first after so many seconds, then at times that grow by this factor.
FIRST_LOOK, GROWTH = 1e-3, 1.04
# The time of a step is taken over this share of the budget, so many steps at a time.
CALIBRATION_SHARE, CALIBRATION = 0.05, 50
# The losses that others are timed to, by the runs that end with them.
REFERENCES = {"heat": "heat", "sgd": "sgd_100k"}
GRID = np.geomspace(0.01, 10.0, 41)


@dataclass(frozen=True)
class Row:
    """One row of the paper's table with one start: data, network, and what the paper trains it by."""

    task: str
    widths: tuple[int, ...]
    steps: int
    dt: float
    seed: int

    @property
    def key(self) -> dict[str, object]:
        """How the row is named in the tables."""
        return {"task": self.task, "widths": "-".join(map(str, self.widths)), "seed": self.seed}

    def network(self) -> Network:
        """Return the start network."""
        with np.load(GOLDEN / f"init_{'_'.join(map(str, self.widths))}.npz") as init:
            weights = tuple(init[f"seed{self.seed}_W{i}"] for i in range(1, len(self.widths)))
        output = {"circular": "sigmoid", "blobs": "softmax"}.get(self.task, "identity")
        return Network(weights, tuple(np.zeros(len(W)) for W in weights), output_named(output))

    def data(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Return X and y by part: train and test of the reference, validation and large_test drawn anew."""
        with np.load(GOLDEN / f"tasks_{self.task}.npz") as file:
            parts = {part: (file[f"X_{part}"], file[f"y_{part}"]) for part in ("train", "test")}
        spec = TASKS[self.task](kind=self.task, n_train=N_VALIDATION, n_test=N_TEST)
        drawn = spec.load(np.random.SeedSequence(20_260_314), None)
        parts["validation"] = drawn.X_train, drawn.y_train
        parts["large_test"] = drawn.X_test, drawn.y_test
        return parts


class Arm(Protocol):
    """A training under way, as the sessions of ours are."""

    @property
    def step(self) -> int:
        """How many steps are done."""

    @property
    def finished(self) -> bool:
        """Whether it has come to its own end."""

    def advance(self, steps: int) -> None:
        """Take up to so many steps."""

    def network(self) -> Network:
        """Return the network as it is now."""


def looks(row: Row, arm: Arm, budget: float = np.inf) -> Iterator[dict[str, float]]:
    """Train to the end or for so many seconds, and say where it stands on the way."""
    data = row.data()

    def look() -> dict[str, float]:
        network = arm.network()
        found = {part: network.output.loss(network.logits(X), y) for part, (X, y) in data.items()}
        return {"seconds": seconds, "step": arm.step} | found

    seconds = 0.0
    yield look()
    due, pace = FIRST_LOOK, 1e-4
    while seconds < budget and not arm.finished:
        before, started = arm.step, time.perf_counter()
        arm.advance(max(int((min(due, budget) - seconds) / pace), 1))
        took = time.perf_counter() - started
        seconds, pace = seconds + took, took / (arm.step - before)
        if seconds >= min(due, budget) or arm.finished:
            yield look()
            due = max(due * GROWTH, seconds)


def arms(row: Row) -> Iterator[tuple[str, float, float, Callable[[int], Arm]]]:
    """List the runs within a budget: method, learning rate, seconds, and what makes one of so many steps."""
    network = row.network()
    X, y = row.data()["train"]

    def ours(method: type[Backprop] | type[Equilibrium], rate: float) -> Callable[[int], Arm]:
        return lambda steps: method(steps=steps, schedule="cosine", optimizer=Adam(rate)).start(network, X, y)

    def theirs(rate: float) -> Callable[[int], Arm]:
        return lambda steps: TorchTraining(network, X, y, "adam", rate, steps)

    for budget in BUDGETS:
        for rate in RATES:
            yield "equilibrium", rate, budget, ours(Equilibrium, rate)
            yield "torch_adam", rate, budget, theirs(rate)
            if budget == BUDGETS[-1]:
                yield "backprop", rate, budget, ours(Backprop, rate)
    rate = SGD_RATES[row.task]
    yield "torch_sgd", rate, BUDGETS[-1], lambda _: TorchTraining(network, X, y, "sgd", rate, None)


def calibrated(make: Callable[[int], Arm], budget: float) -> int:
    """Return how many steps the budget allows, from a short run that is thrown away."""
    arm = make(10**6)
    arm.advance(CALIBRATION)
    started = time.perf_counter()
    while time.perf_counter() - started < CALIBRATION_SHARE * budget:
        arm.advance(CALIBRATION)
    return int(budget * (arm.step - CALIBRATION) / (time.perf_counter() - started))


def references(row: Row) -> dict[str, list[dict[str, float]]]:
    """Run what has a length of its own: heat by the paper's dt and by auto, and as many epochs of SGD."""
    network = row.network()
    X, y = row.data()["train"]
    regression = row.task in ("paraboloid", "saddle")
    stalks = "random" if regression else "forward"
    reset_every = None if regression else 1000
    reset_time = None if regression else 1000 * row.dt
    methods: dict[str, Method] = {
        "heat": Heat(steps=row.steps, dt=row.dt, stalks=stalks, reset_every=reset_every),
        "heat_auto": Heat(time=row.steps * row.dt, stalks=stalks, reset_time=reset_time),
        "sgd_100k": Backprop(steps=row.steps, optimizer=SGD(SGD_RATES[row.task])),
    }
    return {name: list(looks(row, method.start(network, X, y, row.seed))) for name, method in methods.items()}


def time_to(seen: list[dict[str, float]], loss: float) -> float:
    """Return when the training loss was first at or below a value; infinite if it never was."""
    return next((look["seconds"] for look in seen if look["train"] <= loss), np.inf)


def summary(seen: list[dict[str, float]], targets: dict[str, float]) -> dict[str, object]:
    """Return the figures of one run."""
    last, best = seen[-1], min(seen, key=lambda look: look["validation"])
    return {
        "steps": last["step"], "seconds": last["seconds"],
        "train": last["train"], "test": last["test"], "large_test": last["large_test"],
        "stopped_at": best["seconds"], "stopped_validation": best["validation"],
        "stopped_test": best["test"], "stopped_large_test": best["large_test"],
    } | {f"to_{name}": time_to(seen, loss) for name, loss in targets.items()}  # fmt: skip


Found = list[tuple[dict[str, object], list[dict[str, float]]]]


def run(row: Row, known: dict[tuple[str, str, str], float]) -> Found:
    """Run what is not known of one row and start, in turn; a summary and the looks of each.

    `known` has the training loss at the end by method, learning rate and budget.
    """
    found: Found = []
    targets = {name: known.get((of, "", ""), np.nan) for name, of in REFERENCES.items()}
    if not np.isfinite(list(targets.values())).all():
        reference = references(row)
        targets = {name: reference[of][-1]["train"] for name, of in REFERENCES.items()}
        found = [
            (row.key | {"method": name, "rate": None, "budget": None} | summary(seen, targets), seen)
            for name, seen in reference.items()
        ]
    for method, rate, budget, make in arms(row):
        if (method, str(rate), str(budget)) not in known:
            seen = list(looks(row, make(calibrated(make, budget)), budget))
            key = row.key | {"method": method, "rate": rate, "budget": budget}
            found.append((key | summary(seen, targets), seen))
    return found


def rows() -> list[Row]:
    """Return all rows with all starts, those of one start together."""
    published = json.loads((GOLDEN / "published.json").read_text())["training_results"]
    return [
        Row(row["task"], tuple(row["arch"]), row["steps"], row["dt"], seed)
        for seed in SEEDS
        for row in published
    ]


def curve_rows(found: Found) -> Iterator[dict[str, object]]:
    """Yield the looks of the longest runs on a common grid of seconds."""
    for key, seen in found:
        if key["budget"] in (BUDGETS[-1], None):
            seconds = np.array([look["seconds"] for look in seen])
            for at in GRID:
                look = seen[int(np.searchsorted(seconds, at, side="right")) - 1]
                yield {name: key[name] for name in ("task", "widths", "seed", "method", "rate")} | {
                    "seconds": f"{at:.4g}", "train": look["train"], "validation": look["validation"],
                }  # fmt: skip


def write_curves() -> None:
    """Write the medians of the looks over the seeds."""
    looks_ = pd.read_csv(LOOKS)
    by = ["task", "widths", "method", "rate", "seconds"]
    medians = looks_.groupby(by, dropna=False, sort=False)[["train", "validation"]].median()
    medians.reset_index().to_csv(CURVES, index=False, float_format="%.4g", lineterminator="\n")


def append(path: Path, rows_: list[dict[str, object]]) -> None:
    """Add rows to a table, with a header if it is new."""
    new = not path.exists()
    path.parent.mkdir(exist_ok=True)
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(rows_[0]), lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerows(rows_)


def main() -> None:
    """Run what is missing and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="rows at a time, one thread each"
    )
    options = parser.parse_args()
    known: dict[Row, dict[tuple[str, str, str], float]] = {row: {} for row in rows()}
    if RUNS.exists():
        with RUNS.open(newline="") as file:
            for line in csv.DictReader(file):
                row = next(row for row in known if all(str(v) == line[k] for k, v in row.key.items()))
                known[row][line["method"], line["rate"], line["budget"]] = float(line["train"])
    with ProcessPoolExecutor(options.jobs, multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(run, row, losses) for row, losses in known.items()]
        for future in track(as_completed(futures), "rows", len(futures), console=Console(stderr=True)):
            found = future.result()
            if found:
                append(LOOKS, list(curve_rows(found)))
                append(RUNS, [key for key, _ in found])
    write_curves()


if __name__ == "__main__":
    main()
