"""Whether successive halving finds what the whole grid finds, and in how many of its steps.

    python benchmarks/search.py

On three tasks the same grid is swept twice: every run to its end, and by `search: {method: halving}`.
Printed are the loss of the best combination of each (the median over seeds, by which combinations are
judged), and the steps taken. Then the ranges of the grid are searched at random and by TPE with 30 runs
each, from three seeds: printed are the medians of the best losses.
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from sheafcli.config import load_sweep
from sheafcli.records.sweep import SweepRecord
from sheafcli.render.sweep_progress import SweepView
from sheafcli.runs.sweep import SweepDirectory, conduct_sweep
from sheafcli.runs.workers import LocalWorkers

GRIDS = {
    "paraboloid": """
base:
  task: {kind: paraboloid, n_train: 300}
  network: {hidden: [30]}
  training: {method: equilibrium, steps: 1800, log_every: 50}
cross:
  training.learning_rate: {from: 0.0003, to: 0.3, count: 10, scale: log}
  training.optimizer: [sgd, momentum, adam]
seeds: 3
""",
    "circular": """
base:
  task: {kind: circular, n_train: 300}
  network: {hidden: [25]}
  training: {method: backprop, optimizer: adam, steps: 900, log_every: 25}
cross:
  training.learning_rate: {from: 0.0003, to: 0.1, count: 6, scale: log}
  network.hidden: [[10], [25], [25, 25], [50, 50]]
  training.weight_decay: [0, 0.1]
seeds: 3
""",
    "diabetes": """
base:
  task: {kind: diabetes}
  network: {hidden: [20]}
  training: {method: backprop, optimizer: adam, steps: 900, log_every: 25}
cross:
  training.learning_rate: {from: 0.0003, to: 0.1, count: 6, scale: log}
  network.hidden: [[5], [20], [20, 10]]
  training.weight_decay: [0, 0.1, 1.0]
seeds: 3
""",
}


@dataclass(frozen=True)
class Swept:
    """What a sweep came to: the loss of its best combination, and the steps of all its runs."""

    loss: float
    steps: int


def swept(text: str, folder: Path) -> Swept:
    """Do a sweep, and return what it came to."""
    file = folder / "sweep.yaml"
    file.write_text(text)
    sweep, directory = load_sweep(file), SweepDirectory(folder / "runs")
    directory.begin(sweep)
    with SweepView() as view:
        conduct_sweep(sweep, sweep.runs(), directory, LocalWorkers(1), view)
    record = SweepRecord.read(directory.path)
    assert record.best is not None
    return Swept(float(record.best[record.loss]), int(record.index["step"].sum()))


def searched(grid: str, method: str, seed: int) -> float:
    """Search the ranges of a grid by 30 runs, and return the best loss."""
    ranges = re.sub(r"count: \d+, |seeds: 3\n", "", grid).replace("base:", f"base:\n  seed: {seed}")
    with tempfile.TemporaryDirectory() as folder:
        return swept(f"{ranges}search: {{method: {method}, runs: 30}}\n", Path(folder)).loss


def main() -> None:
    """Print a row a task, of either comparison."""
    print("task        grid: loss    steps  halving: loss    steps  above  of the steps")
    for task, grid in GRIDS.items():
        with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
            whole = swept(grid, Path(first))
            halved = swept(f"{grid}search: {{method: halving}}\n", Path(second))
        above, share = halved.loss / whole.loss - 1.0, halved.steps / whole.steps
        print(
            f"{task:10} {whole.loss:11.5g} {whole.steps:8,} {halved.loss:14.5g} {halved.steps:8,} "
            f"{above:6.1%} {share:13.1%}"
        )

    print("task        random: loss  tpe: loss")
    for task, grid in GRIDS.items():
        at_random, by_tpe = (
            median(searched(grid, method, seed) for seed in range(3)) for method in ("random", "tpe")
        )
        print(f"{task:10} {at_random:13.5g} {by_tpe:10.5g}")


if __name__ == "__main__":
    main()
