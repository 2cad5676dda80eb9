"""Models of which a part is assumed: taken where somebody says so, refused otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sheafcli.core.chain.network import Network
from sheafcli.errors import InputError
from sheafcli.interop.contents import ONNX_SNIPPET
from sheafcli.interop.models import Model


def certain(model: Model, path: Path, order: Sequence[str]) -> Model:
    """Return a model; InputError where nobody says what stands between the layers of its state_dict.

    A file that states its output was written from a chain of dense layers and ReLUs, who gives an order says
    that it is one, and between the layers of a network with one layer stands nothing.
    """
    is_single = isinstance(model.network, Network) and model.network.depth == 0
    if not model.assumed or order or model.says_output or is_single:
        return model
    raise InputError(
        "a state_dict does not say what stands between its layers: ReLU, GELU and LeakyReLU leave the same "
        "file, and so does a shortcut. Export the model as ONNX, which records it:\n\n"
        f"{ONNX_SNIPPET}\n\n"
        "If it is a chain of dense layers with ReLU between them, say so by naming the layers as forward() "
        f"calls them, --order NAMES, and this is what is read: {'; '.join(model.notes)}",
        path=path,
    )
