"""Small experiments, and a watcher that can stop them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sheafcli.config import load_config
from sheafcli.runs import Experiment, RunDirectory
from sheafcli.runs.observer import Silent

SMALL = """\
name: small
seed: 3
task: {kind: paraboloid, n_train: 20, n_test: 10}
network: {hidden: [4]}
training: {steps: 60, dt: 0.02, log_every: 20}
baseline: {epochs: 30, log_every: 10, learning_rate: 0.05}
"""


@pytest.fixture
def prepare(tmp_path) -> Callable[..., Experiment]:
    """Load a configuration, by default SMALL, with overrides."""

    def prepare(*overrides: str, text: str = SMALL) -> Experiment:
        path = tmp_path / "small.yaml"
        path.write_text(text)
        return Experiment.prepare(load_config(path, overrides))

    return prepare


@pytest.fixture
def begin(tmp_path) -> Callable[..., RunDirectory]:
    """Create the directory of an experiment's run."""

    def begin(experiment: Experiment, name: str = "run") -> RunDirectory:
        directory = RunDirectory(tmp_path / name)
        directory.create(experiment.config, overwrite=False)
        return directory

    return begin


@pytest.fixture
def contents() -> Callable[[Path], dict[str, bytes]]:
    """Read every file below a folder."""

    def contents(folder: Path) -> dict[str, bytes]:
        files = (path for path in sorted(folder.rglob("*")) if path.is_file())
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}

    return contents


class Watcher(Silent):
    """Notes what it is told, and raises an error at a call of a given number."""

    def __init__(self, stop_at: int | None = None, error: BaseException | None = None):
        self.calls: list[str] = []
        self._stop_at, self._error = stop_at, error or KeyboardInterrupt()

    def _note(self, call: str) -> None:
        self.calls.append(call)
        if len(self.calls) - 1 == self._stop_at:
            raise self._error

    def phase_started(self, phase, step, total):
        self._note(f"{phase} from {step} of {total}")

    def recorded(self, record):
        self._note(f"record {record.step}")

    def phase_ended(self):
        self._note("ended")


@pytest.fixture
def watcher() -> type[Watcher]:
    return Watcher
