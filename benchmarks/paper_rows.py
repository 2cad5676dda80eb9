"""The eight training rows of the paper, by `sheaf train`, beside the reference implementation's figures.

Each row starts from the reference's own data, weights (seed 42) and, for the regressions, stalks, all in
tests/golden/. It is trained twice: with the paper's fixed dt, and with `dt: auto` to the same integration
time. Writes docs/results.md and benchmarks/results/paper_rows.csv.

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


def markdown(published: list[dict], found: list[dict]) -> str:
    """Return docs/results.md."""
    lines = [
        "# Results",
        "",
        "Written by `make results`. Each row trains by `sheaf train` from the data, weights (seed 42) and",
        "the stalks of the reference implementation of arXiv:2603.14831, whose losses stand beside ours.",
        "The loss is the mean squared error or the mean cross-entropy; float64, one thread.",
        "",
        "## The paper's own step size",
        "",
        "| task | widths | Euler steps | train | reference | off by | test | reference | off by | seconds |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row, paper in zip(published, found[::2], strict=True):
        lines.append(
            f"| {paper['task']} | {paper['widths']} | {paper['steps']:,} of {row['dt']} "
            f"| {paper['train']:.6f} | {row['sheaf_train']:.6f} | {paper['train_error']:+.4%} "
            f"| {paper['test']:.6f} | {row['sheaf_test']:.6f} | {paper['test_error']:+.4%} "
            f"| {paper['seconds']:.1f} |"
        )
    lines += [
        "",
        "## `dt: auto`, to the same integration time",
        "",
        "| task | widths | steps | fewer by | train | off by | test | off by | seconds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row, auto in zip(published, found[1::2], strict=True):
        lines.append(
            f"| {auto['task']} | {auto['widths']} | {auto['steps']:,} | {row['steps'] / auto['steps']:.1f} "
            f"| {auto['train']:.6f} | {auto['train_error']:+.2%} | {auto['test']:.6f} "
            f"| {auto['test_error']:+.2%} | {auto['seconds']:.1f} |"
        )
    lines += [
        "",
        "The classification rows restart their stalks from the forward pass every 5 or 10 units of time;",
        "each restart is followed by small steps, so the saving is smaller there.",
        "",
        "## Speed",
        "",
        "Measured by `make bench` on one thread, each pair in one run: a joint Euler step beside the same",
        "step written plainly in PyTorch eager; the exact solver and the stabilised integrator beside Euler.",
        "",
        *table_of("joint_step.csv"),
        "",
        *table_of("theory.csv"),
        "",
    ]
    return "\n".join(lines)


def table_of(name: str) -> list[str]:
    """Return a table of benchmarks/results/ as Markdown, its figures to four digits."""
    with (ROOT / "benchmarks" / "results" / name).open(newline="") as file:
        header, *rows = csv.reader(file)
    lines = [header, ["---"] * len(header), *([shortened(cell) for cell in row] for row in rows)]
    return ["| " + " | ".join(line) + " |" for line in lines]


def shortened(cell: str) -> str:
    """Return a number to four digits, or whole with separators if large, and any other text as it is."""
    try:
        value = float(cell)
    except ValueError:
        return cell.strip()
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def main() -> None:
    """Run all rows and write the tables."""
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
    (ROOT / "docs" / "results.md").write_text(markdown(published, found))
    print(f"wrote docs/results.md and {table.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
