"""Runs that are killed (-9) at random moments and taken up again: they must end as if nothing had been.

    python benchmarks/kills.py --kills 200

Each chain is one run: begun, killed and resumed some times, then let to its end. Its network and its
tables are compared byte for byte, but for the seconds, with those of a run that nobody disturbed.
Checkpoints are written twenty times as often as usual, so that many kills hit a write.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from sheafcli.cli.app import main
from sheafcli.cli.commands import COMMANDS, function_of
from sheafcli.render.console import say, stdout
from sheafcli.render.house_table import house_table
from sheafcli.runs import conduct

CHAIN = 10
CHECKPOINT_SECONDS = 0.05
TASKS = {"heat": "paraboloid", "equilibrium": "blobs", "implicit": "saddle", "backprop": "circular"}
TRAININGS = {
    "heat": "{steps: 6000, dt: 0.01, log_every: 20}",
    "equilibrium": "{method: equilibrium, epochs: 250, batch_size: 16, schedule: cosine, log_every: 5}",
    "implicit": "{method: implicit, steps: 900, log_every: 5}",
    "backprop": "{method: backprop, epochs: 500, batch_size: 16, optimizer: adam, log_every: 5}",
}
CONFIG = """\
seed: 4
task: {{kind: {task}, n_train: 60, n_test: 20}}
network: {{hidden: [6, 5]}}
training: {training}
baseline: {{epochs: 400, batch_size: 16, optimizer: momentum, log_every: 5}}
"""


def train(folder: Path, output: str) -> int:
    """Begin or take up a run in a child; return its process."""
    child = os.fork()
    if child == 0:
        status = 70
        try:
            os.chdir(folder)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # that a run is finished already is no news here
            conduct.CHECKPOINT_SECONDS = CHECKPOINT_SECONDS
            sys.argv = ["sheaf", "train", "c.yaml", "--output", output, "--resume", "--quiet"]
            main()
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        finally:
            os._exit(status)
    return child


def ended(child: int) -> int:
    """Wait for a child; return its status."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def results(run: Path) -> dict[str, object]:
    """Return the bytes of the network, and the tables without what a clock said."""
    tables = {
        name: pd.read_csv(run / f"{name}.csv", dtype=str) for name in ("history", "baseline", "discord")
    }
    plain = {name: table.drop(columns="seconds", errors="ignore").to_csv() for name, table in tables.items()}
    return {"network": (run / "network.npz").read_bytes()} | plain


def chain(method: str, kills: int, draw: random.Random) -> tuple[int, str]:
    """Kill a run some times; return how often it was hit, and what differs at the end, if anything."""
    with tempfile.TemporaryDirectory(prefix="kills-") as place:
        folder, hits = Path(place), 0
        (folder / "c.yaml").write_text(CONFIG.format(task=TASKS[method], training=TRAININGS[method]))
        began = time.monotonic()
        if (status := ended(train(folder, "whole"))) != 0:
            return 0, f"status {status} undisturbed"
        seconds = time.monotonic() - began
        for _ in range(kills):
            child = train(folder, "run")
            time.sleep(draw.uniform(0.0, 1.5 * seconds / kills))
            os.kill(child, signal.SIGKILL)
            status = ended(child)
            hits += status == -signal.SIGKILL
            if status not in (0, -signal.SIGKILL):
                return hits, f"status {status} on the way"
        if (status := ended(train(folder, "run"))) != 0:
            return hits, f"status {status} at the end"
        whole, run = results(folder / "whole"), results(folder / "run")
        return hits, ", ".join(name for name in whole if whole[name] != run[name])


def run_chains() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    for name in COMMANDS:
        function_of(name)
    draw = random.Random(given.seed)
    table = house_table("Killed and resumed")
    for header in ("method", "chains", "kills", "differ"):
        table.add_column(header, no_wrap=True, justify="left" if header == "method" else "right")
    counts = {method: [0, 0, 0] for method in TRAININGS}
    told: list[str] = []
    while sum(hits for _, hits, _ in counts.values()) < given.kills:
        method = min(counts, key=lambda method: counts[method][1])
        hits, differs = chain(method, CHAIN, draw)
        counts[method] = [a + b for a, b in zip(counts[method], (1, hits, bool(differs)), strict=True)]
        told += [f"{method}: {differs}"] if differs else []
    for method, numbers in counts.items():
        table.add_row(method, *map(str, numbers))
    stdout().print(table)
    for line in told:
        say(line)
    if told:
        raise SystemExit(1)


if __name__ == "__main__":
    run_chains()
