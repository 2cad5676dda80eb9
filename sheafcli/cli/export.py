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
from sheafcli.render.console import say
from sheafcli.runs import RunDirectory
from sheafcli.runs.files import write_whole
from sheafcli.runs.manifest import form

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
) -> None:
    """Write a run's network as a model file.

    A plain chain is written in double precision: `sheaf import` gives back the same network, bit for
    bit. Any other network is written as .npz or .onnx.
    """
    network = RunDirectory.existing(run).network()
    if file.exists() and not overwrite:
        raise InputError("the file exists; replace it with --overwrite, or choose another name", path=file)
    content = model_bytes(file, network)
    try:
        write_whole(file, lambda stream: stream.write(content))
    except OSError as error:
        raise InputError(f"the file cannot be written ({error.strerror})", path=file) from error
    format = FORMATS[file.suffix.lower()]
    say(f"Written: {file} ({format}, {form(network)}, output {network.output.name})")
    say(f"Load it with: {LOADING[format].format(name=file.name)}")
    if format == "onnx" and isinstance(network, GraphNetwork):
        shape = " x ".join(map(str, network.input_shape))
        say(f"X is samples x {shape}, of type {precision(network)}.")
