"""The eight training rows of the paper, by `sheaf train`, beside the reference implementation's figures.

Each row starts from the reference's own data, weights (seed 42) and, for the regressions, stalks, all in
tests/golden/. It is trained twice: with the paper's fixed dt, and with `dt: auto` to the same integration
time. Writes benchmarks/results/paper_rows.csv.

    python benchmarks/paper_rows.py [--jobs 2]
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import yaml
from rich.console import Console
from rich.progress import track

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"
REGRESSIONS = ("paraboloid", "saddle")
COLUMNS = ("task", "widths", "dt", "steps", "time", "seconds", "train", "test", "train_error", "test_error")


def write_config(row: dict, dt: float | str, folder: Path) -> Path:
    """Write the configuration of one row, and the start weights it names."""
    widths = row["arch"]
    name = f"{row['task']}_{'_'.join(map(str, widths))}"
    with np.load(GOLDEN / f"init_{'_'.join(map(str, widths))}.npz") as init:
        start = {f"W{i}": init[f"seed42_W{i}"] for i in range(1, len(widths))}
    np.savez(folder / f"{name}_start.npz", **start)
    regression = row["task"] in REGRESSIONS
    training = {
        "method": "heat",
        "dt": dt,
        "stalks": str(GOLDEN / f"stalks_{name}.npz") if regression else "forward",
        "log_every": 10_000,
    }
    # Classification restarts its stalks every 1,000 of the paper's steps.
    if dt == "auto":
        training["time"] = row["steps"] * row["dt"]
        training |= {} if regression else {"reset_time": 1000 * row["dt"]}
    else:
        training["steps"] = row["steps"]
        training |= {} if regression else {"reset_every": 1000}
    config = {
        "name": name,
        "task": {"kind": "npz", "path": str(GOLDEN / f"tasks_{row['task']}.npz")},
        "network": {"hidden": widths[1:-1], "start": f"{name}_start.npz"},
        "training": training,
    }
    path = folder / f"{name}_{'auto' if dt == 'auto' else 'paper'}.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


def run(job: tuple[dict, float | str, Path]) -> dict:
    """Train one row in a process of its own, on one thread, and return its figures."""
    row, dt, folder = job
    config = write_config(row, dt, folder)
    output = folder / config.stem
    command = [Path(sys.executable).with_name("sheaf"), "train", config, "--output", output, "--quiet"]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    subprocess.run(command, check=True, env=one_thread)
    final = json.loads((output / "manifest.json").read_text())["final"]
    return {
        "task": row["task"],
        "widths": ",".join(map(str, row["arch"])),
        "dt": dt,
        "steps": final["step"],
        "time": final["time"],
        "seconds": final["seconds"],
        "train": final["train_loss"],
        "test": final["test_loss"],
        "train_error": final["train_loss"] / row["sheaf_train"] - 1.0,
        "test_error": final["test_loss"] / row["sheaf_test"] - 1.0,
    }


def main() -> None:
    """Run all rows and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="rows at a time")
    jobs = parser.parse_args().jobs
    published = json.loads((GOLDEN / "published.json").read_text())["training_results"]
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(jobs) as pool:
        work = [(row, dt, Path(name)) for row in published for dt in (row["dt"], "auto")]
        found = list(track(pool.map(run, work), "rows", len(work), console=Console(stderr=True)))
    table = ROOT / "benchmarks" / "results" / "paper_rows.csv"
    table.parent.mkdir(exist_ok=True)
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)
    print(f"wrote {table.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
