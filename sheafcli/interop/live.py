"""A live PyTorch module as an ONNX file, which records every step of its forward."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sheafcli.errors import InputError
from sheafcli.interop.contents import library
from sheafcli.interop.onnx_files import OPSET

INPUT = "input"


@contextmanager
def exported(model: Any, example: Any) -> Iterator[Path]:
    """Give the path of an ONNX file of a module, at evaluation, for as long as the context lasts.

    `example` is an input, or a tuple of one; its first axis is that of the samples, and stays open.
    InputError where PyTorch cannot export the module.
    """
    torch = library("torch", "torch", "reading a live module")
    library("onnx", "onnx", "reading a live module")
    if not isinstance(model, torch.nn.Module):
        raise InputError(f"from_torch takes a torch.nn.Module, got {type(model).__name__}")
    inputs = example if isinstance(example, tuple) else (example,)
    if len(inputs) != 1 or not isinstance(inputs[0], torch.Tensor) or inputs[0].ndim < 2:
        raise InputError(
            "from_torch takes an example of the one input: a tensor of samples x features, or of samples x "
            "channels x rows x columns"
        )
    with TemporaryDirectory() as folder:
        path = Path(folder) / "module.onnx"
        training = {module: module.training for module in model.modules()}
        try:
            model.eval()
            _export(torch, model, inputs, path)
        except Exception as error:  # whatever a forward and its tracing raise
            first = next(iter(str(error).splitlines()), type(error).__name__)
            raise InputError(f"PyTorch cannot export the module as ONNX ({first})") from error
        finally:
            for module, was in training.items():
                module.training = was
        yield path


def _export(torch: Any, model: Any, inputs: tuple[Any, ...], path: Path) -> None:
    """Export by the exporter that is there: the newer one needs onnxscript."""
    options: dict[str, Any] = {"input_names": [INPUT], "dynamo": find_spec("onnxscript") is not None}
    if options["dynamo"]:
        options |= {"dynamic_shapes": ({0: "samples"},), "verbose": False}
    else:
        options |= {"dynamic_axes": {INPUT: {0: "samples"}}, "opset_version": OPSET}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # on exporters that PyTorch means to drop, and on constants it folds
        torch.onnx.export(model, inputs, path, **options)
