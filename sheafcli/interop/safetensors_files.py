"""safetensors: a header of names, shapes and offsets, then the numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sheafcli.core.network import Network
from sheafcli.errors import InputError
from sheafcli.interop.chain import Array, Chain
from sheafcli.interop.contents import library
from sheafcli.interop.modules import natural_order, state_chain, state_tensors

DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",  # the upper half of a float32
    "I64": "<i8",
    "I32": "<i4",
}
"""The numbers that a state_dict of Linear and BatchNorm holds, and how NumPy reads their bytes."""


def read_safetensors(path: Path) -> Chain:
    """Read the chain of the state_dict in a safetensors file; InputError says what is wrong with it.

    The file keeps no order: modules come in the order of their names, numbers inside them as numbers.
    The output is the one of the metadata `output`, which `safetensors_bytes` writes.
    """
    safetensors = library("safetensors", "safetensors", "reading .safetensors files")
    try:
        found = dict(safetensors.deserialize(path.read_bytes()))
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
    except (safetensors.SafetensorError, OSError) as error:
        raise InputError(
            f"not a whole safetensors file ({error}); write it again with safetensors.torch.save_file",
            path=path,
        ) from error
    tensors = {name: _array(name, found[name], path) for name in sorted(found, key=natural_order)}
    chain = state_chain(tensors, metadata.get("output"))
    modules = list(dict.fromkeys(name.rpartition(".")[0] for name in tensors))
    if all(name.rpartition(".")[2].isdecimal() for name in modules):
        return chain
    order = f"safetensors keeps no order: the layers stand in that of their names, {', '.join(modules)}"
    return Chain(chain.steps, chain.output, (*chain.notes, order))


def safetensors_bytes(network: Network) -> bytes:
    """Return the file of the state_dict of an nn.Sequential, in float64, with the output as metadata."""
    numpy_files = library("safetensors.numpy", "safetensors", "writing .safetensors files")
    tensors = {name: np.ascontiguousarray(array) for name, array in state_tensors(network).items()}
    content: bytes = numpy_files.save(tensors, metadata={"output": network.output.name})
    return content


def _array(name: str, tensor: dict[str, Any], path: Path) -> Array:
    dtype = tensor["dtype"]
    if dtype not in DTYPES:
        raise InputError(
            f"tensor {name!r} has dtype {dtype}; save it as one of {', '.join(DTYPES)}",
            path=path,
        )
    numbers = np.frombuffer(tensor["data"], DTYPES[dtype])
    if dtype == "BF16":
        numbers = (numbers.astype(np.uint32) << 16).view(np.float32)
    return numbers.reshape(tensor["shape"]).astype(np.float64)
