"""Equilibrium training on real tables and on 60,000 images, beside PyTorch's Adam and our back-propagation.

The tables are those of scikit-learn (digits, breast_cancer, diabetes; standardised, a quarter held out), with
[64] hidden neurons, batches of 64 and Adam at 0.01 with a cosine schedule over 30 epochs, for both. The
images are those of handwriting.py, with [256, 256] hidden neurons, batches of 128 and Adam at 0.001 with a
cosine schedule over 60 seconds. One thread; a clock that stops while a run is looked at, after each epoch.

    python benchmarks/real_data.py

Writes benchmarks/results/real_tables.csv, images.csv and step_cost.csv. The images are kept in results/.
"""

from __future__ import annotations

import os

# Libraries read these when they are loaded.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from handwriting import draw
from rich.console import Console
from torch_training import TorchTraining

from sheafcli.core.chain.network import Network
from sheafcli.core.training.backprop import Backprop
from sheafcli.core.training.equilibrium import Equilibrium
from sheafcli.core.training.optimizers import Adam
from sheafcli.runs.files import write_npz
from sheafcli.tasks import TASKS
from sheafcli.tasks.data import TaskData

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
IMAGES = ROOT / "results" / "handwriting.npz"

SEEDS = range(5)
TABLE_RATE, TABLE_BATCH, TABLE_EPOCHS = 0.01, 64, 30
IMAGE_SECONDS, IMAGE_RATE, IMAGE_BATCH = 60.0, 0.001, 128
GOAL = 0.97
# How often both kinds of step are timed in turn, and how many steps at a time.
ROUNDS = 25


def tables() -> Iterator[dict[str, object]]:
    """Train on the tables; yield a row a run."""
    for kind in ("digits", "breast_cancer", "diabetes"):
        for seed in SEEDS:
            task_seed, weights_seed = np.random.SeedSequence(seed).spawn(2)
            task: TaskData = TASKS[kind](kind=kind).load(task_seed, None)
            start = Network.he((task.n_features, 64, task.n_outputs), task.output, weights_seed)
            X, y, per_epoch = task.X_train, task.y_train, -(-task.n_train // TABLE_BATCH)
            steps = TABLE_EPOCHS * per_epoch
            method = Equilibrium(
                steps=steps, schedule="cosine", optimizer=Adam(TABLE_RATE), batch_size=TABLE_BATCH
            )
            torch = TorchTraining(start, X, y, "adam", TABLE_RATE, steps, TABLE_BATCH, seed)
            for name, arm in (("equilibrium", method.start(start, X, y, seed)), ("torch_adam", torch)):
                seconds, reached = 0.0, np.inf
                while not arm.finished:
                    began = time.perf_counter()
                    arm.advance(per_epoch)
                    seconds += time.perf_counter() - began
                    network = arm.network()
                    z = network.logits(task.X_test)
                    accuracy = network.output.accuracy(z, task.y_test)
                    if accuracy is not None and accuracy >= GOAL:
                        reached = min(reached, seconds)
                yield {
                    "task": kind, "seed": seed, "method": name, "seconds": seconds,
                    "test_loss": network.output.loss(z, task.y_test), "test_accuracy": accuracy,
                    "to_97": reached,
                }  # fmt: skip


def images(data: dict[str, np.ndarray]) -> Iterator[dict[str, object]]:
    """Train on the images, as many steps as 60 seconds allow; yield a row a run."""
    X, y = data["X_train"].astype(np.float64), data["y_train"].astype(np.float64)
    start = Network.he((784, 256, 256, 10), "softmax", 0)
    for precision, (name, method) in product(
        ("double", "single"), (("equilibrium", Equilibrium), ("backprop", Backprop))
    ):
        options = {"optimizer": Adam(IMAGE_RATE), "batch_size": IMAGE_BATCH, "precision": precision}
        trial = method(steps=10**6, **options).start(start, X, y, 0)
        trial.advance(20)
        began = time.perf_counter()
        trial.advance(200)
        steps = int(200 * IMAGE_SECONDS / (time.perf_counter() - began))
        run = method(steps=steps, schedule="cosine", **options).start(start, X, y, 0)
        began = time.perf_counter()
        run.advance(steps)
        seconds = time.perf_counter() - began
        network = run.network()
        yield {
            "method": name, "precision": precision, "seconds": seconds, "steps": steps,
            "epochs": steps * IMAGE_BATCH / len(X),
            "test_accuracy": network.output.accuracy(network.logits(data["X_test"]), data["y_test"]),
        }  # fmt: skip


def epoch_memory() -> dict[str, object]:
    """Run one epoch by `sheaf train`, in a process of its own; return its peak memory beside the data's."""
    config = {
        "task": {"kind": "npz", "path": str(IMAGES)},
        "network": {"hidden": [256, 256]},
        "training": {
            "method": "equilibrium",
            "epochs": 1,
            "batch_size": IMAGE_BATCH,
            "learning_rate": IMAGE_RATE,
        },
    }
    path, run = ROOT / "results" / "images.yaml", ROOT / "results" / "images"
    path.write_text(yaml.safe_dump(config))
    sheaf = Path(sys.executable).with_name("sheaf")
    subprocess.run([sheaf, "train", path, "--output", run, "--overwrite", "--quiet"], check=True)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    held = 70_000 * (784 + 10) * 8 / 2**20
    return {"peak_mb": peak, "data_mb": held, "beyond_data_mb": peak - held}


def step_costs() -> Iterator[dict[str, object]]:
    """Time a step of equilibrium training beside one of back-propagation, in turns, in CPU seconds."""
    for widths, output, samples, batch, steps in (
        ((2, 30, 1), "identity", 300, None, 1000),
        ((2, 25, 1), "sigmoid", 300, None, 500),
        ((2, 25, 4), "softmax", 300, None, 300),
        ((784, 256, 256, 10), "softmax", 1280, 128, 10),
    ):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(samples, widths[0]))
        labels = rng.integers(0, max(widths[-1], 2), samples)
        y = rng.normal(size=(samples, 1)) if output == "identity" else np.eye(max(widths[-1], 2))[labels]
        y = y[:, :1] if output == "sigmoid" else y
        start = Network.he(widths, output, 0)
        options = {"steps": 10**6, "optimizer": Adam(0.001), "batch_size": batch}
        sessions = {
            "backprop": Backprop(**options).start(start, X, y, 0),
            "gamma 0.00001": Equilibrium(**options).start(start, X, y, 0),
            "gamma 1": Equilibrium(gamma=1.0, **options).start(start, X, y, 0),
        }
        times: dict[str, list[float]] = {name: [] for name in sessions}
        for turn in range(ROUNDS + 1):
            for name, session in sessions.items():
                began = time.process_time()
                session.advance(steps)
                if turn > 0:
                    times[name].append((time.process_time() - began) / steps)
        micro = {name: 1e6 * float(np.median(taken)) for name, taken in times.items()}
        yield {
            "widths": "-".join(map(str, widths)), "samples": batch or samples,
            "backprop_us": micro["backprop"],
            "gamma_0.00001_us": micro["gamma 0.00001"], "ratio": micro["gamma 0.00001"] / micro["backprop"],
            "gamma_1_us": micro["gamma 1"], "ratio_1": micro["gamma 1"] / micro["backprop"],
        }  # fmt: skip


def keep(name: str, rows: list[dict[str, object]]) -> None:
    """Write a table and say so."""
    pd.DataFrame(rows).to_csv(RESULTS / name, index=False, float_format="%.6g", lineterminator="\n")
    print(f"wrote benchmarks/results/{name}")


def main() -> None:
    """Measure all and write the tables."""
    console = Console(stderr=True)
    with console.status("step costs"):
        keep("step_cost.csv", list(step_costs()))
    with console.status("tables"):
        keep("real_tables.csv", list(tables()))
    with console.status("images: drawing"):
        data = draw(dtype=np.float32)
        write_npz(IMAGES, data)
    with console.status("images: one epoch by sheaf train"):
        memory = epoch_memory()
    with console.status("images: four runs of a minute"):
        rows = [row | memory for row in images(data)]
    keep("images.csv", rows)


if __name__ == "__main__":
    main()
