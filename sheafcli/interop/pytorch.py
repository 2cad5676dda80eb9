"""PyTorch: the state_dict that torch.save writes, read with weights_only."""

from __future__ import annotations

import io
import pickle
import re
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

from sheafcli.core.chain.network import Network
from sheafcli.core.types import Array
from sheafcli.errors import InputError
from sheafcli.interop.checkpoints import open_checkpoint
from sheafcli.interop.contents import STATE_DICT_SNIPPET, library
from sheafcli.interop.modules import state_tensors
from sheafcli.interop.state import StateDict, Tensor
from sheafcli.interop.strangers import QUANTISED

MAX_TENSORS = 10_000
"""The most files in the archive, one a tensor: an optimizer's are among them."""

MAX_TABLE = 16 * 2**20
"""The most bytes of the table of tensors and of all that is no tensor."""


class Inert:
    """Stands in for an object beside the weights: made of anything, it does nothing and holds nothing."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


class Options:
    """Stands in for a namespace of options: it keeps its attributes, to see what they say."""


_NUMPY = ("numpy._core.multiarray", "numpy.core.multiarray")
INERT = (
    *((Inert, f"{module}.{name}") for module in _NUMPY for name in ("scalar", "_reconstruct")),
    *((Inert, f"numpy.{name}") for name in ("dtype", "ndarray")),
    *(
        (Inert, f"pathlib.{name}")
        for name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")
    ),
    *((Inert, f"pathlib._local.{name}") for name in ("PosixPath", "WindowsPath")),
    (Options, "argparse.Namespace"),
)
"""What stands in for the harmless objects that checkpoints hold: nothing of NumPy's own is called."""

_REMEDIES = {
    "Uninitialized": (
        "an uninitialised parameter, as a LazyLinear has before its first batch: run the model once "
        f"on a batch, then write it again with: {STATE_DICT_SNIPPET}"
    ),
    "per_tensor_": QUANTISED,
    "per_channel_": QUANTISED,
    "torch.distributed": (
        "tensors that are spread over processes; gather them where the model lives, with "
        "torch.distributed.checkpoint.state_dict.get_model_state_dict and full_state_dict=True"
    ),
}
"""What to do about some classes that torch.load refuses, by a word of their names."""


def read_pytorch(path: Path) -> StateDict:
    """Read the state_dict of a file; InputError says what is wrong with it, nothing is unpickled.

    `torch.load(..., weights_only=True)` reads tensors and plain containers and refuses all else, but for
    numbers of NumPy, paths and namespaces of options: for these stand objects that do nothing.
    """
    torch = library("torch", "torch", "reading .pt files")
    _check_table(path)
    content = _loaded(path, torch)
    try:
        checkpoint = open_checkpoint(content, torch.is_tensor)
    except ValueError as error:
        raise InputError(str(error), path=path) from error
    about = checkpoint.modules.get("")
    output = about.get("output") if isinstance(about, dict) else None
    return StateDict(
        tensors={name: _tensor(name, tensor, torch, path) for name, tensor in checkpoint.tensors.items()},
        ordered=True,
        modules=tuple(checkpoint.modules),
        output=output if isinstance(output, str) else None,
        beside=checkpoint.beside,
    )


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


def _check_table(path: Path) -> None:
    """Raise InputError if reading a file would take long: too many tensors, or too long a table of them."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    if len(members) > MAX_TENSORS:
        raise InputError(
            f"the file holds {len(members):,} tensors, and at most {MAX_TENSORS:,} are read; "
            f"write the weights alone with: {STATE_DICT_SNIPPET}",
            path=path,
        )
    tables = [member.file_size for member in members if member.filename.rpartition("/")[2] == "data.pkl"]
    if sum(tables) > MAX_TABLE:
        raise InputError(
            f"what the file holds beside tensors takes {sum(tables) / 2**20:,.0f} MB, and at most "
            f"{MAX_TABLE / 2**20:,.0f} MB are read; write the weights alone with: {STATE_DICT_SNIPPET}",
            path=path,
        )


def _loaded(path: Path, torch: Any) -> Any:
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(list(INERT)):
            warnings.simplefilter("ignore")  # about storages and types that PyTorch means to drop
            return torch.load(path, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        what = named[1] if named else str(error)
        for word, remedy in _REMEDIES.items():
            if word in what:
                raise InputError(f"it holds {remedy}", path=path) from error
        holds = f" ({named[1]})" if named else ""
        raise InputError(
            f"the file is damaged, or holds more than weights{holds}, as torch.save(model, ...) writes: "
            "code, which is not run. Where the model lives, write the weights alone:\n\n"
            f"{STATE_DICT_SNIPPET}",
            path=path,
        ) from error
    except Exception as error:  # damage shows as anything: RuntimeError, KeyError, AttributeError, ...
        raise InputError(
            f"not a whole PyTorch file ({_first_line(error)}); write it again with: {STATE_DICT_SNIPPET}",
            path=path,
        ) from error


def _tensor(name: str, tensor: Any, torch: Any, path: Path) -> Tensor:
    def read() -> Array:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return _array(name, tensor, torch, path)
            except RuntimeError as error:  # a tensor that has a shape and no numbers
                raise InputError(
                    f"tensor {name!r} cannot be read ({_first_line(error)})", path=path
                ) from error

    if tensor.is_nested:
        raise InputError(
            f"tensor {name!r} is nested, of rows of different lengths; no Linear has one", path=path
        )
    return Tensor(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), read)


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


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200] or type(error).__name__
