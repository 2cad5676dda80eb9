"""Early stopping on classes, on fresh draws: implicit steps beside our back-propagation with Adam.

The two tasks with classes of the paper's table, two widths each, ten draws of data and start (seeds 200 to
209; the paper's table has one draw of data and five starts). The path that implicit steps follow was chosen
on seeds 100 to 129. Both stop at the least loss on 2,000 validation samples, and are scored by the loss on
10,000 more. Implicit steps are looked at after each of the 60 of their
first cycle, Adam at steps that grow by 3% to 25,000, on the cosine schedule of 150,000.

    python benchmarks/early_stopping.py

Writes benchmarks/results/early_stopping.csv, a row a run.
"""

from __future__ import annotations

import os

# Libraries read these when they are loaded.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from training import TASKS, append

from sheafcli.core.chain.network import Network
from sheafcli.core.training.backprop import Backprop
from sheafcli.core.training.cycle import CYCLE
from sheafcli.core.training.implicit import Implicit
from sheafcli.core.training.optimizers import Adam
from sheafcli.core.training.protocol import Method

RUNS = Path(__file__).resolve().parent / "results" / "early_stopping.csv"
CELLS = {
    ("circular", (2, 25, 1)): "sigmoid",
    ("circular", (2, 10, 8, 1)): "sigmoid",
    ("blobs", (2, 25, 4)): "softmax",
    ("blobs", (2, 10, 8, 4)): "softmax",
}
DRAWS = range(200, 210)
RATES, SCHEDULED, STEPS, GROWTH = (0.003, 0.01, 0.03), 150_000, 25_000, 1.03
N_TRAIN, N_VALIDATION, N_TEST = 300, 2_000, 10_000

Part = tuple[np.ndarray, np.ndarray]


def draw(task: str, n: int, seed: int) -> Part:
    """Draw samples of a task."""
    drawn = TASKS[task](kind=task, n_train=n, n_test=1).load(np.random.SeedSequence(seed), None)
    return drawn.X_train, drawn.y_train


def loss(network: Network, part: Part) -> float:
    """Return the loss on samples."""
    return network.output.loss(network.logits(part[0]), part[1])


def looks(limit: int) -> Iterator[int]:
    """Yield steps that grow by GROWTH, or by one."""
    step = 0
    while step < limit:
        step = max(step + 1, int(step * GROWTH))
        yield step


def stopped(method: Method, last: int, network: Network, parts: list[Part]) -> dict[str, float]:
    """Train, and return the losses at the look of least validation loss."""
    train, validation, test = parts
    session, least, seconds = method.start(network, *train), np.inf, 0.0
    found: dict[str, float] = {}
    for step in looks(last):
        started = time.process_time()
        session.advance(step - session.step)
        seconds += time.process_time() - started
        now = session.network()
        value = loss(now, validation)
        if value < least:
            least = value
            found = {"step": step, "seconds": seconds, "validation": value, "test": loss(now, test)}
    return found


def main() -> None:
    """Run all."""
    RUNS.unlink(missing_ok=True)
    runs = [(cell, seed) for cell in CELLS for seed in DRAWS]
    for (task, widths), seed in track(runs, "draws", console=Console(stderr=True)):
        parts = [
            draw(task, n, seed + 1000 * place) for place, n in enumerate((N_TRAIN, N_VALIDATION, N_TEST))
        ]
        network = Network.he(list(widths), CELLS[task, widths], seed=seed)
        key = {"task": task, "widths": "-".join(map(str, widths)), "seed": seed}
        rows = [key | {"method": "implicit", "rate": ""} | stopped(Implicit(), CYCLE, network, parts)]
        for rate in RATES:
            adam = Backprop(steps=SCHEDULED, schedule="cosine", optimizer=Adam(rate))
            rows.append(key | {"method": "adam", "rate": rate} | stopped(adam, STEPS, network, parts))
        append(RUNS, rows)


if __name__ == "__main__":
    main()
