"""`sheaf diagnose`: where a network carries its prediction error, edge by edge and neuron by neuron."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from sheafcli.cli.options import FormatOption, RunArgument
from sheafcli.core.network import Network
from sheafcli.core.outputs import Array
from sheafcli.diagnostics.pinned import diagnose as diagnose_network
from sheafcli.errors import InputError
from sheafcli.interop.npz import read_npz
from sheafcli.render.console import stdout
from sheafcli.render.tables import discord_tables, neurons_table, show_frame
from sheafcli.runs import Experiment, RunDirectory, RunFailed
from sheafcli.runs.files import write_text


def diagnose(
    run: RunArgument,
    data: Annotated[
        str,
        typer.Option(
            "--data",
            metavar="test|train|FILE",
            help="Which samples: the run's own, or an .npz file of X and y.",
        ),
    ] = "test",
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="Use the first N samples only.")
    ] = None,
    format_: FormatOption = "table",
) -> None:
    """Show where a network carries its prediction error.

    Input and true output are pinned, and the stalks between them solved for. Writes diagnosis.csv (by
    edge) and neurons.csv into the run directory.
    """
    directory = RunDirectory.existing(run)
    network = directory.network()
    X, y = _samples(directory, network, data)
    diagnosis = diagnose_network(network, X[:limit], y[:limit])
    if diagnosis.unsettled:
        raise RunFailed(
            f"{len(diagnosis.unsettled)} of {len(X[:limit])} samples did not reach the tolerance: "
            f"{', '.join(map(str, diagnosis.unsettled[:20]))}; nothing is written"
        )
    write_text(directory / "diagnosis.csv", diagnosis.edges.to_csv(index=False))
    write_text(directory / "neurons.csv", diagnosis.neurons.to_csv(index=False))
    if format_ != "table":
        show_frame(diagnosis.edges, format_)
        return
    console = stdout()
    typer.echo(f"Pinned discord of {len(X[:limit])} samples ({data}): input and true output pinned")
    for table in discord_tables(diagnosis.edges):
        console.print()
        console.print(table)
    console.print()
    console.print(neurons_table(diagnosis.neurons, limit=10))
    written = f"{directory / 'diagnosis.csv'} and {directory / 'neurons.csv'}"
    typer.echo(f"\nWritten: {written}")


def _samples(run: RunDirectory, network: Network, data: str) -> tuple[Array, Array]:
    if data in ("test", "train"):
        task = Experiment.load(run / "config.yaml").task
        if (network.widths[0], network.widths[-1]) != (task.n_features, task.n_outputs):
            raise InputError(
                f"the network has {network.widths[0]} inputs and {network.widths[-1]} outputs, "
                f"the run's task {task.n_features} and {task.n_outputs}",
                path=run / "network.npz",
            )
        return (task.X_test, task.y_test) if data == "test" else (task.X_train, task.y_train)
    path = Path(data)
    arrays = read_npz(path)
    if not {"X", "y"} <= set(arrays):
        found = ", ".join(arrays) or "nothing"
        raise InputError(f"needs the arrays X and y; found {found}", path=path)
    X, y = arrays["X"], arrays["y"]
    y = y[:, None] if y.ndim == 1 else y
    for name, array, width in (("X", X, network.widths[0]), ("y", y, network.widths[-1])):
        if array.dtype.kind not in "iuf" or not np.isfinite(array).all():
            raise InputError(f"{name} must hold finite numbers", path=path)
        if array.ndim != 2 or array.shape[1] != width or len(array) != len(X) or len(array) == 0:
            raise InputError(f"{name} must be samples x {width}, got shape {array.shape}", path=path)
    return X.astype(np.float64), y.astype(np.float64)
