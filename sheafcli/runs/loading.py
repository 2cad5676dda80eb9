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

    Parameters
    ----------
    path
        A file, whose suffix says the format, or the directory of a run.
    output
        The output function where the file does not say it: "identity", "sigmoid" or "softmax".
    order
        The layers of a state_dict as its forward calls them, where names do not tell.

    What had to be assumed is said in a warning. InputError says what is wrong.

    Examples
    --------
    >>> import sheafcli as sc
    >>> network = sc.load("results/paraboloid")  # doctest: +SKIP
    >>> network = sc.load("model.pt", output="softmax")  # doctest: +SKIP
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

    Parameters
    ----------
    model
        The module, which is left as it was.
    example
        An input, or a tuple of one, with the samples first.
    output
        The output function that is to end the network where its forward ends in values without one, as
        classifiers do that are trained by the cross-entropy of their logits: "softmax" or "sigmoid".

    Examples
    --------
    >>> import torch, sheafcli as sc
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3))
    >>> sc.from_torch(model, torch.zeros(1, 2), output="softmax")
    Network(2-5-3, softmax output, 33 parameters)
    """
    with exported(model, example) as path:
        return read_model(path, output).network
