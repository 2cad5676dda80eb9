"""`sheaf validate`: check a configuration, its data and its start weights, or a sweep, without training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sheafcli.cli.options import SetOption
from sheafcli.config import load_sweep
from sheafcli.config.load import is_sweep, read_document
from sheafcli.core.chain.network import Network
from sheafcli.render.console import print_notes, say, stdout
from sheafcli.render.table_columns import columns_table, told_of_target
from sheafcli.runs import Experiment
from sheafcli.runs.experiment import load_data
from sheafcli.runs.manifest import form


def validate(
    config: Annotated[
        Path,
        typer.Argument(
            metavar="CONFIG|SWEEP",
            help="A configuration or a sweep, a YAML file (see docs/configuration.md, docs/sweeps.md).",
        ),
    ],
    set_: SetOption = None,
) -> None:
    """Check a configuration and the files it names, without training.

    For a sweep it checks every configuration, and the data of each task once.
    """
    told = _of_sweep(config, set_ or []) if is_sweep(read_document(config)) else _of_one(config, set_ or [])
    say(f"{config}: valid. {told}")


def _of_one(path: Path, overrides: list[str]) -> str:
    experiment = Experiment.load(path, overrides)
    task, network = experiment.task, experiment.network
    print_notes(task.notes)
    if not task.preprocessing.is_plain:
        stdout().print(columns_table(task.preprocessing))
        say(f"\n{told_of_target(task.preprocessing)}")
    made = list(network.widths) if isinstance(network, Network) else form(network)
    held = "" if task.X_validation is None else f", {len(task.X_validation)} validation"
    parts = f"{task.n_train} training{held} and {len(task.X_test)} test samples"
    return f"Task {experiment.config.task.kind}: {parts}; network {made}, output {network.output.name}."


def _of_sweep(path: Path, overrides: list[str]) -> str:
    sweep = load_sweep(path, overrides)
    runs = sweep.runs()
    tasks = {(run.config.task.model_dump_json(), run.config.network.output): run.config for run in runs[::-1]}
    notes = (note for config in reversed(tasks.values()) for note in load_data(config).notes)
    print_notes(dict.fromkeys(notes))
    return f"A sweep of {len(runs):,} runs over {', '.join(sweep.keys)}."
