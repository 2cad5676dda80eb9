"""Runs `sheaf` in this process, or as a process of its own, and finished runs to look at."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sheafcli.cli.app import main
from sheafcli.config import load_config
from sheafcli.runs import Experiment, RunDirectory, conduct
from sheafcli.runs.observer import Silent

SHEAF = str(Path(sys.executable).with_name("sheaf"))

SMALL = """\
name: small
seed: 3
task: {kind: paraboloid, n_train: 40, n_test: 20}
network: {hidden: [5]}
training: {steps: 300, dt: 0.02, log_every: 100}
baseline: {epochs: 200, log_every: 100}
"""

# Two classes by the other sheaf training, in mini-batches: three steps an epoch.
BALANCED = """\
name: balanced
seed: 3
task: {kind: circular, n_train: 40, n_test: 20}
network: {hidden: [5]}
training: {method: equilibrium, epochs: 60, batch_size: 16}
baseline: {epochs: 20, batch_size: 16}
"""


@dataclass(frozen=True)
class Outcome:
    """What a command came to."""

    code: int
    out: str
    err: str


def contents(folder: Path) -> dict[str, bytes | None]:
    """Read every file below a folder; None stands for a directory."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Work in an empty folder with small.yaml in it, in an environment like everybody's."""
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TERMINAL_WIDTH", "_TYPER_FORCE_DISABLE_TERMINAL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(SMALL)
    return tmp_path


@pytest.fixture
def sheaf(folder, monkeypatch, capsys) -> Callable[..., Outcome]:
    """Run `sheaf` with arguments in this process, exactly as the console script does."""

    def sheaf(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["sheaf", *map(str, arguments)])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as exit_:
            code = exit_.code or 0
        return Outcome(code, *capsys.readouterr())

    return sheaf


@pytest.fixture
def refused(sheaf, folder) -> Callable[..., str]:
    """Check that arguments are refused with status 2 and nothing is written; return the error."""

    def refused(*arguments: object, words: str) -> str:
        before = contents(folder)
        outcome = sheaf(*arguments)
        assert outcome.code == 2, outcome
        assert outcome.out == ""
        assert words in outcome.err
        assert contents(folder) == before
        return outcome.err

    return refused


def environment(**changes: str) -> dict[str, str]:
    """Return the environment of a process: one thread, no wishes about colours or widths."""
    wishes = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TERM", "CI", "GITHUB_ACTIONS")
    kept = {name: value for name, value in os.environ.items() if name not in wishes}
    return kept | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"} | changes


@pytest.fixture
def start(folder) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `sheaf` as a process of its own; what still runs at the end of the test is killed."""
    processes = []

    def start(
        *arguments: object,
        prepare: Callable[[], object] | None = None,
        streams: dict[str, int] | None = None,
        **changes: str,
    ) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [SHEAF, *map(str, arguments)],
            cwd=folder,
            env=environment(**changes),
            **(streams or {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}),
            text=True,
            preexec_fn=prepare,  # noqa: PLW1509 - no thread runs here
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def finish() -> Callable[[subprocess.Popen[str]], Outcome]:
    """Wait for a process to end by itself."""

    def finish(process: subprocess.Popen[str]) -> Outcome:
        out, err = process.communicate(timeout=300)
        return Outcome(process.returncode, out, err)

    return finish


@pytest.fixture(scope="session")
def train_once(tmp_path_factory) -> Callable[[str], Path]:
    """Train a configuration once for all tests, without pictures; they look at copies of the run."""
    runs: dict[str, Path] = {}

    def train_once(text: str) -> Path:
        if text not in runs:
            folder = tmp_path_factory.mktemp("trained")
            (folder / "config.yaml").write_text(text)
            experiment = Experiment.prepare(load_config(folder / "config.yaml"))
            directory = RunDirectory(folder / "run")
            directory.create(experiment.config, overwrite=False)
            conduct(experiment, directory, Silent())
            runs[text] = directory.path
        return runs[text]

    return train_once


@pytest.fixture
def run(train_once, folder) -> Path:
    """A copy of the finished run of small.yaml, named run."""
    shutil.copytree(train_once(SMALL), folder / "run")
    return Path("run")


@pytest.fixture
def balanced(folder) -> Path:
    """A configuration of a run by equilibrium in mini-batches, named balanced.yaml."""
    (folder / "balanced.yaml").write_text(BALANCED)
    return Path("balanced.yaml")


@pytest.fixture
def balanced_run(train_once, folder) -> Path:
    """A copy of the finished run of balanced.yaml, named balanced."""
    shutil.copytree(train_once(BALANCED), folder / "balanced")
    return Path("balanced")


@pytest.fixture(params=["run", "balanced_run"])
def any_run(request) -> Path:
    """A copy of a finished run by one sheaf training or the other."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def read() -> Callable[[Path], dict[str, bytes | None]]:
    """Read a folder: `contents`."""
    return contents
