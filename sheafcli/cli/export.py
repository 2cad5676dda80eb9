"""`sheaf export`: a run's network as a model file that other tools read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sheafcli.cli.options import RunArgument
from sheafcli.core.network import GraphNetwork
from sheafcli.errors import InputError
from sheafcli.interop.models import FORMATS, model_bytes
from sheafcli.interop.onnx_export import precision
from sheafcli.interop.onnx_table import with_table
from sheafcli.render.console import say
from sheafcli.runs import RunDirectory
from sheafcli.runs.files import write_whole
from sheafcli.runs.manifest import form
from sheafcli.tasks.preprocessing import Preprocessing

LOADING = {
    "npz": 'numpy.load("{name}")',
    "pytorch": 'model.double().load_state_dict(torch.load("{name}"))',
    "safetensors": 'safetensors.torch.load_model(model.double(), "{name}")',
    "onnx": 'onnxruntime.InferenceSession("{name}").run(None, {{"input": X}})',
}
"""How each format is loaded elsewhere: `model` is a torch.nn.Sequential of Linear and ReLU, X in float64.

Of other networks than plain chains, X is samples x input shape, in the precision of the file.
"""


def export(
    run: RunArgument,
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="The file to write: .npz, .pt, .pth, .safetensors or .onnx."),
    ],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file that is there.")] = False,
    network_only: Annotated[
        bool,
        typer.Option("--network-only", help="For .onnx: leave out the preprocessing of the table."),
    ] = False,
) -> None:
    """Write a run's network as a model file.

    A plain chain is written in double precision: `sheaf import` gives back the same network, bit for bit.
    Any other network is written as .npz or .onnx. An .onnx file takes the columns of the run's table as
    they are, and gives predictions in the target's own units, unless it is told to hold the network only.
    """
    directory = RunDirectory.existing(run)
    network = directory.network()
    if file.exists() and not overwrite:
        raise InputError("the file exists; replace it with --overwrite, or choose another name", path=file)
    content = model_bytes(file, network)
    format = FORMATS[file.suffix.lower()]
    table = None
    if format == "onnx" and not network_only and (directory / "preprocessing.json").exists():
        table = directory.preprocessing()
    if table is not None and not table.is_plain:
        content = _of_table(content, table, file)
    else:
        table = None
    try:
        write_whole(file, lambda stream: stream.write(content))
    except OSError as error:
        raise InputError(f"the file cannot be written ({error.strerror})", path=file) from error
    say(f"Written: {file} ({format}, {form(network)}, output {network.output.name})")
    if table is not None:
        _say_inputs(table, file)
        return
    say(f"Load it with: {LOADING[format].format(name=file.name)}")
    if format == "onnx" and isinstance(network, GraphNetwork):
        shape = " x ".join(map(str, network.input_shape))
        say(f"X is samples x {shape}, of type {precision(network)}.")


def _of_table(content: bytes, table: Preprocessing, file: Path) -> bytes:
    columns = [column.operators for column in table.columns]
    target = table.target
    scales = () if target.is_plain else target.scales
    try:
        return with_table(content, columns, target.means, scales)
    except ValueError as error:
        raise InputError(str(error), path=file) from error


def _say_inputs(table: Preprocessing, file: Path) -> None:
    say("It takes the columns of the table as they are, and gives predictions in the target's own units.")
    say(f'Load it with: onnxruntime.InferenceSession("{file.name}").run(None, columns)')
    say(
        "columns maps each name to its cells, samples x 1: text as it is, numbers as float64, NaN where "
        "missing."
    )
    dates = [column.name for column in table.columns if column.kind == "date"]
    if dates:
        say(f"Dates are days since 1970-01-01, as float64: {', '.join(dates)}.")
