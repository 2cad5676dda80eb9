"""CPU time from nothing to the end of short commands, beside `import numpy`.

    python benchmarks/startup.py [--repeats 10]

Each command is a process of its own; the least of all repeats counts, since whatever else the machine does
only adds. Byte code is compiled once beforehand, as pip does on installing. Writes
benchmarks/results/startup.csv.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

RESULTS = Path(__file__).resolve().parent / "results"
CONFIGURATION = """\
name: small
seed: 3
task: {kind: paraboloid, n_train: 40, n_test: 20}
network: {hidden: [5]}
training: {steps: 300, dt: 0.02, log_every: 100}
"""
COMMANDS = {
    'python -c "import numpy"': ("-c", "import numpy"),
    'python -c "import sheafcli"': ("-c", "import sheafcli"),
    "sheaf --version": ("-m", "sheafcli", "--version"),
    "sheaf --help": ("-m", "sheafcli", "--help"),
    "sheaf validate small.yaml": ("-m", "sheafcli", "validate", "small.yaml"),
    "sheaf diagnose small": ("-m", "sheafcli", "diagnose", "small"),
    "sheaf diagnose small --figures": ("-m", "sheafcli", "diagnose", "small", "--figures"),
}


def cpu_seconds(arguments: Sequence[str], folder: Path, environment: dict[str, str]) -> float:
    """Return the CPU time, of user and system, that Python takes for the arguments."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Time all commands in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=10, help="how often each is timed")
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "small.yaml").write_text(CONFIGURATION)
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = str(folder / "byte-code")
        train = ("-m", "sheafcli", "train", "small.yaml", "--output", "small", "--quiet")
        for arguments in (train, *COMMANDS.values()):  # the first time compiles
            cpu_seconds(arguments, folder, environment)
        for picture in ("neurons", "edges", "resistance", "tension"):
            (folder / "small" / "figures" / f"{picture}.png").unlink()
        least = {
            label: min(cpu_seconds(arguments, folder, environment) for _ in range(repeats))
            for label, arguments in COMMANDS.items()
        }
    table = pd.DataFrame({"command": least.keys(), "CPU seconds": [round(s, 3) for s in least.values()]})
    table.to_csv(RESULTS / "startup.csv", index=False, lineterminator="\n")
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
