"""All of the paper's experiments: the runs, the figures and tables, and docs/paper.md.

    python benchmarks/paper/run.py [--quick] [--jobs N] [--output DIR]

Every file of experiments/paper/ is run by the command it is for, into DIR/runs/ (DIR is results/paper);
then each exhibit makes its figures and tables from those runs. What was run already is not run again.
With --quick all is shorter and smaller, without what only long runs show; the page is DIR/paper.md (DIR is
results/paper-quick), and a row that does not hold is an error.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
from convergence import DIFFUSED
from page import page
from rich.console import Console
from rich.progress import track

from sheafcli.runs.files import write_text
from sheafcli.runs.manifest import now, versions
from sheafcli.runs.workers import processors

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENTS = ROOT / "experiments" / "paper"
RECORD = ROOT / "benchmarks" / "results" / "paper.json"
DOCS = ROOT / "docs"
PICTURES = "images/paper"
SHEAF = Path(sys.executable).with_name("sheaf")
# In the order of the page.
EXHIBITS = (
    *("convergence", "phase_planes", "determinants", "training", "depth_time", "beta", "gap_by_depth"),
    *("spectral_evolution", "discord_stages", "pinned_discord", "laws"),
)
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def run_all(output: Path, jobs: int, *, quick: bool) -> None:
    """Run every file of experiments/paper/ into output/runs/."""
    shorter: dict[str, list[str]] = {}
    for name in EXHIBITS:
        shorter |= getattr(import_module(name), "QUICK", {})
    for file in sorted(EXPERIMENTS.glob("*.yaml")):
        print(f"{file.relative_to(ROOT)}", file=sys.stderr, flush=True)
        place = output / "runs" / file.stem
        if file.stem in DIFFUSED:
            command = ["diffuse", file, "--output", place, "--format", "csv"]
        else:
            command = ["sweep", file, "--output", place, "--jobs", str(jobs), "--quiet"]
            if sys.stderr.isatty():
                command.remove("--quiet")
            for override in shorter.get(file.stem, []) if quick else []:
                command += ["--set", override]
        done = subprocess.run([SHEAF, *command], check=False, stdout=subprocess.DEVNULL)
        # A run that diverges is a result; anything else that ends a command is not.
        if done.returncode and not (done.returncode == 1 and _only_diverged(place)):
            sys.exit(f"{file.relative_to(ROOT)} was not completed; see above")


def _only_diverged(place: Path) -> bool:
    index = place / "sweep.csv"
    return index.exists() and set(pd.read_csv(index)["status"]) <= {"finished", "diverged"}


def make_exhibit(job: tuple[str, Path, bool]) -> dict[str, Any]:
    """Make one exhibit's files, and return what the page says of it."""
    name, output, quick = job
    begun = time.monotonic()
    exhibit = import_module(name).exhibit(output / "runs", quick=quick)
    exhibit.write(output)
    return {
        "key": exhibit.key,
        "title": exhibit.title,
        "text": exhibit.text,
        "rows": [asdict(row) | {"holds": bool(row.holds)} for row in exhibit.rows],
        "figures": list(exhibit.figures),
        "tables": list(exhibit.tables),
        "seconds": round(time.monotonic() - begun, 1),
    }


def runs_of(output: Path) -> tuple[int, float]:
    """Return how many runs there are, and the seconds that they took in all."""
    finals = [
        (json.loads(path.read_text()).get("final") or {}).get("seconds", 0.0)
        for path in (output / "runs").glob("*/*/manifest.json")
    ]
    return len(finals), sum(finals)


def main() -> None:
    """Run everything and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a reduced version, in a few minutes")
    parser.add_argument("--jobs", type=int, default=processors(), help="runs at a time")
    parser.add_argument("--output", type=Path, help="where to write")
    given = parser.parse_args()
    name = "paper-quick" if given.quick else "paper"
    output = (given.output or ROOT / "results" / name).resolve()
    output.mkdir(parents=True, exist_ok=True)
    os.environ |= ONE_THREAD
    begun = time.monotonic()
    run_all(output, given.jobs, quick=given.quick)
    work = [(exhibit, output, given.quick) for exhibit in EXHIBITS]
    with ProcessPoolExecutor(given.jobs) as pool:
        console = Console(stderr=True)
        exhibits = list(track(pool.map(make_exhibit, work), "figures and tables", len(work), console=console))
    runs, run_seconds = runs_of(output)
    found = {
        "made": {
            "command": f"make {name}",
            "when": now()[:10],
            "runs": runs,
            "run_seconds": round(run_seconds, 1),
            "seconds": round(time.monotonic() - begun, 1),
            "jobs": given.jobs,
            "processors": processors(),
            **versions(),
        },
        "exhibits": exhibits,
    }
    text = json.dumps(found, indent=1) + "\n"
    write_text(output / "paper.json", text)
    write_text(output / "paper.md", page(found, "."))
    if not given.quick and given.output is None:
        write_text(RECORD, text)
        write_text(DOCS / "paper.md", page(found, PICTURES))
        (DOCS / PICTURES).mkdir(parents=True, exist_ok=True)
        for stem in (stem for exhibit in exhibits for stem in exhibit["figures"]):
            shutil.copyfile(output / f"{stem}.png", DOCS / PICTURES / f"{stem}.png")
    rows = [row for exhibit in exhibits for row in exhibit["rows"]]
    failing = [row["quantity"] for row in rows if not row["holds"]]
    print(f"{len(rows) - len(failing)} of {len(rows)} rows hold: {output / 'paper.md'}")
    # In short all rows hold: one that does not is a fault of ours. At length the page says which do not.
    if given.quick and failing:
        sys.exit("\n".join(["these do not hold:", *failing]))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted; call it again to go on")
