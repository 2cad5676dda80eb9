"""The run directory: what a run leaves behind, and the rules for making, locking and reading it."""

from __future__ import annotations

import json
import os
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sheafcli.config import Config, dump_config, load_config
from sheafcli.core.network import AnyNetwork
from sheafcli.errors import InputError
from sheafcli.interop.networks import network_arrays, read_network
from sheafcli.runs.files import temporary_of, write_npz, write_text
from sheafcli.runs.lock import is_locked, locked
from sheafcli.tasks.preprocessing import Preprocessing

# Everything that sheafcli itself writes into a run directory; nothing else is ever removed. A directory
# with the first two holds a run: a config.yaml alone may be one that the user wrote.
MARKS = ("manifest.json", "config.yaml")
# Methods of networks that were trained by other programs: there is no training to go on with.
FROM_ELSEWHERE = ("imported", "monitored")
HISTORY = {"training": "history.csv", "baseline": "baseline.csv"}
RESULTS = (
    *HISTORY.values(),
    "discord.csv",
    "network.npz",
    "imported.npz",
    "tensors.json",
    "preprocessing.json",
    "checkpoint.npz",
    "diagnosis.csv",
    "layers.csv",
    "operations.csv",
    "neurons.csv",
    "samples.csv",
    "classes.csv",
    "metrics.csv",
    "confusion.csv",
    "findings.csv",
    "findings_history.csv",
    "spectrum.csv",
    "spectrum_history.csv",
    "diffusion.csv",
    "crossings.csv",
    "diff.csv",
    "diff.json",
    "report.html",
    *(
        f"figures/{name}.png"
        for name in (
            *(
                "loss",
                "discord",
                "learned",
                "heat_map",
                "confusion",
                "neurons",
                "edges",
                "resistance",
                "tension",
            ),
            *("spectrum", "diffusion_energy", "diffusion_output", "diffusion_phase", "diff"),
        )
    ),
)
MANIFEST_LIMIT = 1 << 20
TENSORS_LIMIT = 1 << 24
PREPROCESSING_LIMIT = 1 << 28


@dataclass(frozen=True)
class RunDirectory:
    """A directory that holds one run."""

    path: Path

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @property
    def figures(self) -> Path:
        """The folder of pictures."""
        return self.path / "figures"

    def make_figures(self) -> None:
        """Make the folder of pictures where there is none."""
        try:
            self.figures.mkdir(exist_ok=True)
        except FileExistsError as error:
            raise InputError(
                "a file is in the place of the folder of pictures; move it away", path=self.figures
            ) from error

    @property
    def has_run(self) -> bool:
        """Whether a run was begun here."""
        return all(os.path.exists(self / name) for name in MARKS)

    @classmethod
    def existing(cls, path: Path) -> RunDirectory:
        """Return the run directory at `path`, or raise InputError if no run is there."""
        directory = cls(path)
        if not os.path.isdir(path):
            what = "this is a file" if os.path.exists(path) else "no such directory"
            raise InputError(f"{what}; give the directory of a run, such as results/NAME", path=path)
        if not directory.has_run:
            raise InputError(f"no run is here (it lacks {' or '.join(MARKS)})", path=path)
        return directory

    def create(self, config: Config, *, overwrite: bool) -> None:
        """Make the directory for a new run; another run in it goes only if `overwrite` says so.

        The weights that the new run starts from stay, wherever they are: so an imported network can be
        trained in its own directory.
        """
        self.begin(config.name, dump_config(config), overwrite=overwrite, keep=Path(config.network.start))

    def begin(self, name: str, configuration: str, *, overwrite: bool, keep: Path | None = None) -> None:
        """Make the directory for a run of this name, with the text of its config.yaml; see `create`.

        Of an earlier run's files the one at `keep` stays.
        """
        try:
            if self.path.exists() and not self.path.is_dir():
                raise InputError("the output is a file; choose a directory with --output", path=self.path)
            self.path.mkdir(parents=True, exist_ok=True)
            with self.locked():
                self._check_room(overwrite=overwrite)
                # In this order the directory is a run, or free for one, whenever the process is killed.
                try:
                    self.write_manifest({"name": name, "status": "running"})
                    for result in RESULTS:
                        if (self / result).resolve() != keep:
                            (self / result).unlink(missing_ok=True)
                    write_text(self / "config.yaml", configuration)
                except BaseException:
                    if not self.has_run:
                        (self / "manifest.json").unlink(missing_ok=True)
                    raise
        except OSError as error:
            raise InputError(
                f"a run cannot be written here ({error.strerror}); choose another directory with --output",
                path=self.path,
            ) from error

    def clear(self) -> None:
        """Remove the run: every file that sheafcli has written, and nothing else."""
        for name in (*RESULTS, *MARKS):
            (self / name).unlink(missing_ok=True)

    def _check_room(self, *, overwrite: bool) -> None:
        """Raise InputError if a run is here that is to stay, or files that are nobody's but the user's."""
        if self.has_run:
            if overwrite:
                return
            elsewhere = False
            with suppress(InputError):  # of a damaged run it is not known
                elsewhere = self.manifest().get("method") in FROM_ELSEWHERE
            resume = "" if elsewhere else "continue it with `sheaf train --resume`, "
            raise InputError(
                f"another run is here; {resume}replace it with --overwrite, or choose a new directory with "
                "--output",
                path=self.path,
            )
        begun = {self / MARKS[0], *(temporary_of(self / name) for name in MARKS)}
        if not begun.issuperset(self.path.iterdir()):
            raise InputError(
                "the directory holds files but no run; choose an empty or new one with --output",
                path=self.path,
            )

    def locked(self) -> AbstractContextManager[None]:
        """Hold the directory for this process alone; Busy if another one is at work in it."""
        return locked(self.path, "run")

    def config(self) -> Config:
        """Return the run's configuration."""
        return load_config(self / "config.yaml")

    def status_of(self, config: Config) -> str | None:
        """Return the status of the run; InputError if it has another configuration, or was imported."""
        status: str | None = self.manifest().get("status")
        if status == "imported":
            raise InputError(
                "the run here is an imported network, of which no training was begun: train it further in "
                "another directory with --output, or in this one with --overwrite",
                path=self.path,
            )
        if dump_config(self.config()) != dump_config(config):
            raise InputError(
                "the run here was begun with another configuration (its config.yaml): "
                "resume with that one, replace the run with --overwrite, or choose another directory "
                "with --output",
                path=self.path,
            )
        return status

    def manifest(self) -> dict[str, Any]:
        """Return the manifest."""
        path = self / "manifest.json"
        try:
            with path.open("rb") as file:
                found = json.loads(file.read(MANIFEST_LIMIT))
            if not isinstance(found, dict):
                raise ValueError("not a JSON object")
        except (OSError, RecursionError, ValueError) as error:
            raise InputError(f"the manifest cannot be read ({error})", path=path) from error
        return found

    def current_manifest(self) -> dict[str, Any]:
        """Return the manifest; a run that says it is running, but that no process holds, is interrupted."""
        manifest = self.manifest()
        if manifest.get("status") == "running" and not is_locked(self.path):
            # Whoever held the run ended it before letting go: what the manifest says now is the last word.
            manifest = self.manifest()
            if manifest.get("status") == "running":
                manifest["status"] = "interrupted"
        return manifest

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        """Write the manifest whole."""
        write_text(self / "manifest.json", json.dumps(manifest, indent=2, allow_nan=True) + "\n")

    def tensors(self) -> dict[str, str]:
        """Return the vertices by what the file that the network was imported from calls their values."""
        try:
            with (self / "tensors.json").open("rb") as file:
                told = json.loads(file.read(TENSORS_LIMIT))
        except (OSError, RecursionError, ValueError):
            return {}
        pairs = told.items() if isinstance(told, dict) else ()
        return {tensor: name for tensor, name in pairs if isinstance(name, str)}

    def preprocessing(self) -> Preprocessing:
        """Return what was done to the columns of the run's table; InputError where that is not known."""
        path = self / "preprocessing.json"
        try:
            with path.open("rb") as file:
                return Preprocessing.from_json(file.read(PREPROCESSING_LIMIT))
        except FileNotFoundError as error:
            raise InputError(
                "the run does not say what was done to the columns of its table: it has no data, or is of an "
                "older version; train or import it anew, with data",
                path=path,
            ) from error
        except (OSError, RecursionError, ValueError) as error:
            raise InputError(
                f"what was done to the columns of the table cannot be read ({_first_line(error)}); train or "
                "import the run anew",
                path=path,
            ) from error

    def write_preprocessing(self, preprocessing: Preprocessing) -> None:
        """Write what was done to the columns of the run's table, whole."""
        write_text(self / "preprocessing.json", preprocessing.to_json())

    def network(self) -> AnyNetwork:
        """Return the run's network: the final one, or as it was at the last checkpoint."""
        path = self / "network.npz"
        if not path.exists():
            raise InputError("the run has no network yet; train it first", path=self.path)
        return read_network(path)

    def write_network(self, network: AnyNetwork) -> None:
        """Write the network whole."""
        write_npz(self / "network.npz", network_arrays(network))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
