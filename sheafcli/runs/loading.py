"""Networks for a notebook: from a file, from a run, or from a live PyTorch module."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sheafcli.core.network import AnyNetwork
from sheafcli.interop.live import exported
from sheafcli.interop.models import read_model
from sheafcli.runs.assumptions import certain
from sheafcli.runs.directory import RunDirectory


def load(path: Path | str, output: str | None = None, order: Sequence[str] = ()) -> AnyNetwork:
    """Return the network of a model file of any format that `sheaf import` reads, or of a run directory.

    `output` is the output function where the file does not say it, `order` the layers of a state_dict as its
    forward calls them. What had to be assumed is said in a warning. InputError says what is wrong.
    """
    path = Path(path)
    if path.is_dir():
        return RunDirectory.existing(path).network()
    model = certain(read_model(path, output, order), path, order)
    if model.assumed:
        warnings.warn(f"{path}: {'; '.join(model.notes)}", stacklevel=2)
    return model.network


def from_torch(model: Any, example: Any, output: str | None = None) -> AnyNetwork:
    """Return a live torch.nn.Module as a network, as it is at evaluation, by the ONNX graph of its forward.

    `example` is an input, or a tuple of one, with the samples first. The module is left as it was. `output`
    is the output function that is to end the network where its forward ends in values without one.
    """
    with exported(model, example) as path:
        return read_model(path, output).network
