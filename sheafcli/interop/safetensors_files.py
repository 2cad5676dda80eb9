"""safetensors: a header of names, shapes and offsets, then the numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sheafcli.core.chain.network import Network
from sheafcli.core.types import Array
from sheafcli.errors import InputError
from sheafcli.interop.contents import library
from sheafcli.interop.modules import state_tensors
from sheafcli.interop.state import StateDict, Tensor

DTYPES = {
    "F64": ("float64", "<f8"),
    "F32": ("float32", "<f4"),
    "F16": ("float16", "<f2"),
    "BF16": ("bfloat16", "<u2"),  # the upper half of a float32
}
"""The floats that are read: NumPy's name of each, and how it reads their bytes."""

MAX_HEADER = 16 * 2**20
"""The most bytes of names, shapes and offsets."""

_INTEGER = re.compile(r"([IU])(\d+)")

_TENSOR = re.compile(r"(.*\.)?(weight|bias|running_mean|running_var)")


def read_safetensors(path: Path) -> StateDict:
    """Read the state_dict of a safetensors file; InputError says what is wrong with it.

    The file keeps no order. It holds a shared tensor once: `save_model` lists the other names of it in the
    metadata, {"2.weight": "0.weight"}, and they are given back here. The output is the one of the metadata
    `output`, which `safetensors_bytes` writes.
    """
    safetensors = library("safetensors", "safetensors", "reading .safetensors files")
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > MAX_HEADER:
                raise InputError(
                    f"not a whole safetensors file, or one with a header of {length:,} bytes, and at most "
                    f"{MAX_HEADER:,} are read; write it again with safetensors.torch.save_file",
                    path=path,
                )
            with safetensors.safe_open(path, framework="numpy"):
                header = json.loads(file.read(length))  # the library has found it in order
    except (safetensors.SafetensorError, OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"not a whole safetensors file ({error}); write it again with safetensors.torch.save_file",
            path=path,
        ) from error
    metadata = header.pop("__metadata__", None) or {}
    tensors = {name: _tensor(entry, path, 8 + length) for name, entry in header.items()}
    tied = _tied(metadata, tensors, path)
    return StateDict(
        tensors=tensors | {name: tensors[other] for name, other in tied.items()},
        ordered=False,
        output=metadata.get("output"),
        tied=tied,
    )


def safetensors_bytes(network: Network) -> bytes:
    """Return the file of the state_dict of an nn.Sequential, in float64, with the output as metadata."""
    numpy_files = library("safetensors.numpy", "safetensors", "writing .safetensors files")
    tensors = {name: np.ascontiguousarray(array) for name, array in state_tensors(network).items()}
    content: bytes = numpy_files.save(tensors, metadata={"output": network.output.name})
    return content


def _tied(metadata: Mapping[str, str], tensors: Mapping[str, Tensor], path: Path) -> dict[str, str]:
    """Return the names under which the metadata lists tensors of the file once more."""
    tied = {name: other for name, other in metadata.items() if other in tensors and name not in tensors}
    for name, other in metadata.items():
        if _TENSOR.fullmatch(name) and _TENSOR.fullmatch(other) and name not in {*tensors, *tied}:
            raise InputError(
                f"tensor {name!r} is said to be {other!r}, which is not in the file; "
                "write it again with safetensors.torch.save_model",
                path=path,
            )
    return tied


def _tensor(entry: Mapping[str, Any], path: Path, start: int) -> Tensor:
    code, shape, (first, last) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    integer = _INTEGER.fullmatch(code)
    name, layout = DTYPES.get(code, (code.lower(), ""))
    if integer:
        name = f"{'u' if integer[1] == 'U' else ''}int{integer[2]}"

    def read() -> Array:
        with path.open("rb") as file:
            file.seek(start + first)
            numbers = np.frombuffer(file.read(last - first), layout)
        if code == "BF16":
            numbers = (numbers.astype(np.uint32) << 16).view(np.float32)
        return numbers.reshape(shape).astype(np.float64)

    return Tensor(shape, name, read)
