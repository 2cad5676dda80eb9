"""The terminal transcripts of README.md and docs/: run again, to check them or to write them anew.

A transcript is a fenced block marked `console`. Every line that begins with "$ " is a command of ours,
run in one temporary folder a document, with the project's experiments/ beside it; the lines after it are
what it printed.

    python tests/docs/transcripts.py        # write all of them anew
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"(?<=^```console\n).*?(?=^```$)", re.MULTILINE | re.DOTALL)


def run(command: str, folder: Path) -> str:
    """Return what a command prints on standard output."""
    words = shlex.split(command)
    assert words[0] == "sheaf", f"transcripts hold commands of ours: {command}"
    given = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "FORCE_COLOR")}
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [Path(sys.executable).with_name("sheaf"), *words[1:]],
        cwd=folder,
        env=threads | given | {"PYTHONIOENCODING": "utf-8"},
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=False,
    )
    return "".join(line.rstrip() + "\n" for line in done.stdout.splitlines())


def commands(block: str) -> list[str]:
    """Return the commands of a block."""
    return [line[2:] for line in block.splitlines() if line.startswith("$ ")]


def replay(text: str) -> list[str]:
    """Return every block of a document as it would be printed now."""
    blocks = []
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "experiments").symlink_to(ROOT / "experiments")
        for block in BLOCK.findall(text):
            blocks.append("".join(f"$ {command}\n{run(command, Path(name))}" for command in commands(block)))
    return blocks


def main() -> None:
    """Write every transcript anew."""
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        for shown, printed in zip(BLOCK.findall(text), replay(text), strict=True):
            text = text.replace(f"```console\n{shown}```", f"```console\n{printed}```", 1)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
