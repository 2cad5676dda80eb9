"""PyTorch: the state_dict that torch.save writes, read with weights_only."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

from sheafcli.core.network import Network
from sheafcli.errors import InputError
from sheafcli.interop.chain import Array, Chain
from sheafcli.interop.contents import STATE_DICT_SNIPPET, library
from sheafcli.interop.modules import state_chain, state_tensors

NESTED = ("state_dict", "model_state_dict")
"""The keys under which a checkpoint may hold the state_dict."""

WRAPPERS = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before every name."""


def read_pytorch(path: Path) -> Chain:
    """Read the chain of a state_dict; InputError says what is wrong with the file, nothing is unpickled.

    `torch.load(..., weights_only=True)` reads tensors and plain containers and refuses all else.
    """
    torch = library("torch", "torch", "reading .pt files")
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError as error:
        raise InputError(
            "the file is damaged, or holds more than weights, as torch.save(model, ...) writes: "
            "code, which is not run. Where the model lives, write the weights alone:\n\n"
            f"{STATE_DICT_SNIPPET}",
            path=path,
        ) from error
    except Exception as error:  # damage shows as anything: RuntimeError, KeyError, AttributeError, ...
        raise InputError(
            f"not a whole PyTorch file ({_first_line(error)}); write it again with: {STATE_DICT_SNIPPET}",
            path=path,
        ) from error
    state, metadata = _state_dict(content, torch, path)
    tensors = {name: _array(name, tensor, torch, path) for name, tensor in state.items()}
    for wrapper in WRAPPERS:
        if all(name.startswith(wrapper) for name in tensors):
            tensors = {name.removeprefix(wrapper): array for name, array in tensors.items()}
    output = metadata.get("output")
    return state_chain(tensors, output if isinstance(output, str) else None)


def pytorch_bytes(network: Network) -> bytes:
    """Return the state_dict file of an nn.Sequential of Linear and ReLU, in float64.

    The output's name stands in the metadata of the state_dict, beside the version that PyTorch keeps there.
    """
    torch = library("torch", "torch", "writing .pt files")
    state = OrderedDict((name, torch.tensor(array)) for name, array in state_tensors(network).items())
    metadata = OrderedDict({"": {"version": 1, "output": network.output.name}})
    setattr(state, "_metadata", metadata)  # noqa: B010 (an attribute that OrderedDict does not declare)
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


def _state_dict(content: Any, torch: Any, path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the state_dict that a file holds, at its top or one level down, and its metadata."""
    if isinstance(content, dict):
        for key in NESTED:
            if isinstance(content.get(key), dict):
                content = content[key]
                break
        named = all(isinstance(name, str) and torch.is_tensor(value) for name, value in content.items())
        if content and named:
            return dict(content), _metadata(content)
    found = ", ".join(map(str, list(content)[:5])) if isinstance(content, dict) else type(content).__name__
    raise InputError(
        f"there is no state_dict in it, at the top or under {' or '.join(NESTED)}; "
        f"found {found or 'nothing'}; write it with: {STATE_DICT_SNIPPET}",
        path=path,
    )


def _array(name: str, tensor: Any, torch: Any, path: Path) -> Array:
    """Return a tensor as float64, unless it is of a kind that no Linear has."""
    if (
        tensor.layout != torch.strided
        or tensor.device.type != "cpu"
        or tensor.is_quantized
        or tensor.is_complex()
    ):
        raise InputError(
            f"tensor {name!r} is sparse, quantized, complex or without values; "
            "save it as a plain float tensor",
            path=path,
        )
    # A tensor may repeat its few numbers without end (stride 0): its copy would not.
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise InputError(
            f"tensor {name!r} has {tensor.numel()} entries and the file holds fewer; save its .contiguous()",
            path=path,
        )
    array: Array = tensor.detach().to(torch.float64).numpy()
    return array


def _metadata(state: dict[str, Any]) -> dict[str, Any]:
    """Return what a state_dict says of its outermost module; PyTorch keeps the version there."""
    everything = getattr(state, "_metadata", None)
    own = everything.get("") if isinstance(everything, dict) else None
    return own if isinstance(own, dict) else {}


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200] or type(error).__name__
