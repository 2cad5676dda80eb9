"""`sheaf validate`: check a configuration, its data and its start weights without training."""

from __future__ import annotations

import typer

from sheafcli.cli.options import ConfigArgument, SetOption
from sheafcli.runs import Experiment


def validate(config: ConfigArgument, set_: SetOption = None) -> None:
    """Check a configuration and the files it names, without training."""
    experiment = Experiment.load(config, set_ or ())
    task, network = experiment.task, experiment.network
    widths = ", ".join(str(n) for n in network.widths)
    typer.echo(
        f"{config}: valid. Task {experiment.config.task.kind}: {task.n_train} training and "
        f"{len(task.X_test)} test samples; network [{widths}], output {network.output.name}."
    )
