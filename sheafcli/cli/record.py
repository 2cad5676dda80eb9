"""`sheaf record`: all that ONNX Runtime computes of a model file, for `sheaf diff`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sheafcli.errors import InputError
from sheafcli.interop.npz import read_npz
from sheafcli.interop.recording import PROVIDER, record_onnx
from sheafcli.render.console import say
from sheafcli.runs.files import write_npz


def record(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="The ONNX file to run.")],
    data: Annotated[
        Path, typer.Option("--data", metavar="FILE", help="An .npz file with an array X, samples first.")
    ],
    output: Annotated[Path, typer.Option("--output", metavar="FILE", help="The .npz file to write.")] = Path(
        "activations.npz"
    ),
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="Record only the first N samples.")
    ] = None,
    provider: Annotated[
        str, typer.Option("--provider", metavar="NAME", help="The execution provider of ONNX Runtime.")
    ] = PROVIDER,
) -> None:
    """Record every value that ONNX Runtime computes in a model.

    The values keep the names that they have in the file, and the input is among them. `sheaf diff RUN FILE`
    compares them with the network of a run.
    """
    if output.suffix.lower() != ".npz":
        raise InputError("activations are written as .npz; give --output FILE.npz", path=output)
    arrays = read_npz(data)
    name = next((name for name in ("X", "X_test") if name in arrays), None)
    if (
        name is None
        or arrays[name].ndim < 2
        or arrays[name].dtype.kind not in "biuf"
        or not len(arrays[name])
    ):
        found = ", ".join(arrays) or "nothing"
        raise InputError(f"needs an array X of numbers, samples x features; found {found}", path=data)
    values = record_onnx(model, arrays[name][:limit], provider)
    write_npz(output, values)
    n = len(next(iter(values.values())))
    say(f"Written: {output} ({len(values)} values of {n} samples)")
