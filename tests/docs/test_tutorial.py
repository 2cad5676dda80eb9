"""The tutorial as a reader does it: its files are written, its commands run, and what it claims holds."""

import csv
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tutorial.md"
FILE = re.compile(r'^```python title="([\w.]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
COMMANDS = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAMS = {"python": [sys.executable], "sheaf": [sys.executable, "-m", "sheafcli"]}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Do all that the page says; return the folder, and what each command printed."""
    folder, text = tmp_path_factory.mktemp("tutorial"), PAGE.read_text(encoding="utf-8")
    for name, content in FILE.findall(text):
        (folder / name).write_text(content)
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}
    path = os.pathsep.join(filter(None, [str(PAGE.parents[1]), os.environ.get("PYTHONPATH")]))
    printed = {}
    for block in COMMANDS.findall(text):
        for command in block.splitlines():
            program, *words = shlex.split(command)
            ran = subprocess.run(
                [*PROGRAMS[program], *words],
                cwd=folder,
                env=os.environ | threads | {"PYTHONPATH": path},
                capture_output=True,
                encoding="utf-8",
                check=False,
            )
            assert ran.returncode == 0, f"{command}: {ran.stderr}"
            printed[command] = ran.stdout
    return folder, printed


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def accuracy_of(printed, name):
    """Return the accuracy on the test part that the import of a file printed."""
    (text,) = [text for command, text in printed.items() if command.startswith(f"sheaf import {name}")]
    return float(re.search(r"^test .* ([\d.]+)%", text, re.MULTILINE)[1])


def test_it_begins_with_a_network_that_guesses_and_ends_with_one_that_reads(done):
    _, printed = done
    assert accuracy_of(printed, "serving.pt") < 25.0
    assert accuracy_of(printed, "mended.pt") > 85.0


def test_the_second_layer_is_blamed_and_told(done):
    folder, _ = done
    layers = rows_of(folder / "results" / "serving" / "layers.csv")
    assert [row["layer"] for row in layers if float(row["blame"]) > 0.5] == ["2"]
    told = [
        row["layer"]
        for row in rows_of(folder / "results" / "serving" / "findings.csv")
        if "at-fault" in row["rule"]
    ]
    assert told == ["2"]
    evidence = {row["layer"]: float(row["evidence"]) for row in layers}
    assert evidence.pop("2") > max(evidence.values()) + 10.0


def test_the_difference_is_in_that_layer_alone(done):
    _, printed = done
    (text,) = [text for command, text in printed.items() if command.startswith("sheaf diff")]
    assert text.startswith("affine_2 alone explains 100% of the output difference")
