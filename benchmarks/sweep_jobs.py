"""A sweep of 24 short runs by one, two, ... jobs at a time, in turn on the same machine.

    python benchmarks/sweep_jobs.py [--repeats 3]

Times the whole command, from nothing to the table, and writes benchmarks/results/sweep_jobs.csv.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from sheafcli.runs.workers import processors

RESULTS = Path(__file__).resolve().parent / "results"
SHEAF = Path(sys.executable).with_name("sheaf")
SWEEP = """\
name: short
base:
  task: {kind: saddle}
  network: {hidden: [30]}
  training: {method: heat, steps: 50000, dt: 0.005}
cross:
  training.beta: {from: 1.0e-3, to: 0.1, count: 4, scale: log}
  network.hidden: [[20], [30]]
seeds: 3
"""


def seconds(file: Path, jobs: int) -> float:
    """Return how long the sweep takes by so many jobs at a time."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        command = [SHEAF, "sweep", file, "--jobs", str(jobs), "--output", Path(folder) / "runs", "--quiet"]
        subprocess.run(command, check=True)
        return time.monotonic() - begun


def main() -> None:
    """Time one job, and as many as there are processors, in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="how often each is timed")
    repeats = parser.parse_args().repeats
    jobs = sorted({1, 2, processors()})
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "short.yaml"
        file.write_text(SWEEP)
        times = pd.DataFrame([{n: seconds(file, n) for n in jobs} for _ in range(repeats)])
    table = pd.DataFrame({
        "jobs": jobs,
        "seconds": [times[n].median() for n in jobs],
        "of one job": [(times[n] / times[1]).median() for n in jobs],
    })  # fmt: skip
    table.to_csv(RESULTS / "sweep_jobs.csv", index=False, lineterminator="\n")
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
