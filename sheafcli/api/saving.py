"""Writing a network from a notebook."""

from __future__ import annotations

from pathlib import Path

from sheafcli.core.network import AnyNetwork
from sheafcli.core.training.fit import Fit
from sheafcli.errors import InputError
from sheafcli.interop.models import model_bytes
from sheafcli.runs.files import write_whole


def save(network: AnyNetwork | Fit, path: Path | str) -> None:
    """Write a network as a model file, which `load` reads back; a file that is there is replaced.

    Parameters
    ----------
    network
        A network, or a fit, for its network.
    path
        Where to; the suffix says the format: .npz, .pt or .pth (a state_dict), .safetensors, .onnx. Networks
        other than plain chains are written as .npz or .onnx.

    Examples
    --------
    >>> import sheafcli as sc
    >>> sc.save(fit, "model.onnx")  # doctest: +SKIP
    >>> network = sc.load("model.onnx")  # doctest: +SKIP
    """
    path = Path(path)
    content = model_bytes(path, network.network if isinstance(network, Fit) else network)
    try:
        write_whole(path, lambda stream: stream.write(content))
    except OSError as error:
        raise InputError(f"the file cannot be written ({error.strerror})", path=path) from error
