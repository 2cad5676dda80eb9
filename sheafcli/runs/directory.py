"""The run directory: what a run leaves behind, and the rules for making, locking and reading it."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sheafcli.config import Config, dump_config, load_config
from sheafcli.core.network import Network
from sheafcli.errors import InputError
from sheafcli.interop.networks import network_arrays, read_network
from sheafcli.runs.files import write_npz, write_text

# Everything that sheafcli itself writes into a run directory; nothing else is ever removed.
FILES = (
    "config.yaml",
    "manifest.json",
    "history.csv",
    "baseline.csv",
    "discord.csv",
    "network.npz",
    "checkpoint.npz",
    "diagnosis.csv",
    "neurons.csv",
)
FIGURES = "figures"
MANIFEST_LIMIT = 1 << 20


@dataclass(frozen=True)
class RunDirectory:
    """A directory that holds one run."""

    path: Path

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @property
    def figures(self) -> Path:
        """The folder of pictures."""
        return self.path / FIGURES

    @property
    def has_run(self) -> bool:
        """Whether a run was begun here."""
        return (self / "config.yaml").exists()

    @classmethod
    def existing(cls, path: Path) -> RunDirectory:
        """Return the run directory at `path`, or raise InputError if no run is there."""
        directory = cls(path)
        if not path.is_dir():
            what = "this is a file" if path.exists() else "no such directory"
            raise InputError(f"{what}; give the directory of a run, such as results/NAME", path=path)
        if not directory.has_run:
            raise InputError("no run is here (there is no config.yaml in it)", path=path)
        return directory

    def create(self, config: Config, *, overwrite: bool) -> None:
        """Make the directory for a new run; another run in it goes only if `overwrite` says so."""
        if self.path.exists() and not self.path.is_dir():
            raise InputError("the output is a file; choose a directory with --output", path=self.path)
        if self.has_run and not overwrite:
            raise InputError(
                "another run is here; continue it with --resume, replace it with --overwrite, "
                "or choose a new directory with --output",
                path=self.path,
            )
        if self.path.is_dir() and not self.has_run and any(self.path.iterdir()):
            raise InputError(
                "the directory holds files but no run; choose an empty or new one with --output",
                path=self.path,
            )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"the directory cannot be made ({error.strerror})", path=self.path) from error
        with self.locked():
            for name in FILES:
                (self / name).unlink(missing_ok=True)
            if self.figures.is_dir():
                for picture in self.figures.glob("*.png"):
                    picture.unlink()
            write_text(self / "config.yaml", dump_config(config))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory for this process alone; InputError if another one is at work in it."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InputError("another process is working on this run", path=self.path) from error
            yield
        finally:
            os.close(descriptor)

    def config(self) -> Config:
        """Return the run's configuration."""
        return load_config(self / "config.yaml")

    def manifest(self) -> dict[str, Any]:
        """Return the manifest; empty if the run was stopped before it had one."""
        path = self / "manifest.json"
        if not path.exists():
            return {}
        try:
            with path.open("rb") as file:
                found = json.loads(file.read(MANIFEST_LIMIT))
            if not isinstance(found, dict):
                raise ValueError("not a JSON object")
        except ValueError as error:
            raise InputError(f"the manifest cannot be read ({error})", path=path) from error
        return found

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        """Write the manifest whole."""
        write_text(self / "manifest.json", json.dumps(manifest, indent=2, allow_nan=True) + "\n")

    def network(self) -> Network:
        """Return the run's network: the final one, or as it was at the last checkpoint."""
        path = self / "network.npz"
        if not path.exists():
            raise InputError("the run has no network yet; train it first", path=self.path)
        return read_network(path)

    def write_network(self, network: Network) -> None:
        """Write the network whole."""
        write_npz(self / "network.npz", network_arrays(network))
