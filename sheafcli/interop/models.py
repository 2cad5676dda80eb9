"""Model files of any format that sheafcli knows: read as a Network, and written from one."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from sheafcli.core.chain.network import Network
from sheafcli.core.graph import INPUT
from sheafcli.core.magnitude import check_magnitude
from sheafcli.core.network import AnyNetwork, network_of, plain_chain
from sheafcli.core.outputs import OUTPUTS, output_named
from sheafcli.errors import InputError
from sheafcli.interop.chain import Chain, Interface, to_network
from sheafcli.interop.contents import FORMATS, SKLEARN_SNIPPET, STATE_DICT_SNIPPET, check_content, format_of
from sheafcli.interop.folding import folded
from sheafcli.interop.graph_file import GraphFile, chain_tensors
from sheafcli.interop.modules import state_chain
from sheafcli.interop.networks import check_range, network_arrays, network_from
from sheafcli.interop.npz import read_npz
from sheafcli.interop.onnx_export import graph_bytes
from sheafcli.interop.onnx_files import onnx_bytes, read_onnx
from sheafcli.interop.pytorch import pytorch_bytes, read_pytorch
from sheafcli.interop.safetensors_files import read_safetensors, safetensors_bytes
from sheafcli.interop.shards import INDEX, index_of, read_shards
from sheafcli.interop.sklearn_models import read_skops
from sheafcli.interop.state import StateDict

__all__ = ["FORMATS", "SKLEARN_SNIPPET", "STATE_DICT_SNIPPET", "Model", "model_bytes", "read_model"]


@dataclass(frozen=True, eq=False)
class Model:
    """A network from a model file, and how it was read.

    `format` is one of the values of FORMATS. `says_output` tells whether the file itself says which
    output function ends the network; where it does not, the output is the one asked for, or the
    identity. `notes` are what was assumed or done to make it a network of ours, a sentence each. The
    others are as in `Chain`: what the file calls inputs, classes and the values of vertices, whether it
    scales data itself, whether the order of its layers and what stands between them are assumed, the
    other files that it was read from, and how it is run elsewhere.
    """

    network: AnyNetwork
    format: str
    says_output: bool
    notes: tuple[str, ...]
    features: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    scales_inputs: bool = False
    scales_targets: bool = False
    assumed: bool = False
    beside: tuple[Path, ...] = ()
    interface: Interface | None = None
    tensors: Mapping[str, str] = field(default_factory=dict)


READERS: dict[str, Callable[[Path, str | None], Chain | GraphFile]] = {
    "onnx": read_onnx,
    "scikit-learn": lambda path, wanted: read_skops(path),
}
"""How the formats are read that record what follows what; NPZ holds a network as it is."""

STATES: dict[str, Callable[[Path], StateDict]] = {
    "pytorch": read_pytorch,
    "safetensors": read_safetensors,
}
"""How the formats are read that hold the weights of modules by name, and no order of them."""


def read_model(
    path: Path, output: str | None = None, order: Sequence[str] = (), *, fold: bool = False
) -> Model:
    """Read a model file by its suffix, and check that its content is what the suffix says.

    `output` sets the output function where the file does not say it, or names the output of an ONNX graph
    that has several; `order` are the modules of a state_dict as `forward` calls them. With `fold`, batch
    normalisations and scales of a graph are folded into the layers beside them; those of a chain always are.
    Nothing is unpickled, and sizes are checked before anything is unpacked.

    Raises
    ------
    InputError
        If the file is missing, damaged, too large, of another format or needs a library that is not
        installed; if it holds layers that a sheaf does not cover, or leaves their order open; if it ends
        otherwise than `output`.
    """
    wanted = output if output not in OUTPUTS else None
    index = index_of(path)
    format = format_of(path if index is None else index.with_name(index.name[: -len(INDEX)]))
    if wanted is not None:
        if format != "onnx":
            raise InputError(f"unknown output {output!r}; known: {', '.join(OUTPUTS)}")
        output = None
    if order and format not in STATES:
        raise InputError(f"--order names modules of a state_dict, and a {format} file is none", path=path)
    if format not in STATES or index is None:
        check_content(path, format)
    try:
        if format == "npz":
            arrays = read_npz(path)
            said = str(arrays["output"]) if "output" in arrays else None
            network = network_from(arrays, path, _agreed(said, output))
            return Model(network, format, said is not None, ())
        file = _state(path, format, index, order) if format in STATES else READERS[format](path, wanted)
        if isinstance(file, GraphFile):
            return _of_graph(file, format, _agreed(file.says, output), fold=fold)
        chain = file
        network, notes = to_network(chain.steps, _agreed(chain.says, output))
    except (ImportError, ValueError, MemoryError) as error:
        raise InputError(str(error) or "the file needs more memory than there is", path=path) from error
    check_range(network, path)
    return Model(
        network,
        format,
        chain.says is not None,
        chain.notes + notes,
        chain.features,
        chain.classes,
        chain.scales_inputs,
        chain.scales_targets,
        chain.assumed,
        chain.beside,
        chain.interface,
        chain.tensors,
    )


def _of_graph(file: GraphFile, format: str, output: str, *, fold: bool) -> Model:
    """Return the network of a graph of operations, with output one of OUTPUTS."""
    graph, notes = file.graph, file.notes
    before = [node.operation for node in graph.nodes]
    if fold:
        graph, names = folded(graph)
        if names:
            notes = (*notes, f"folded into the layers beside them: {', '.join(names)}")
    for vertex, fields in graph.parameters.items():
        for name, array in fields.items():
            check_magnitude(f"{vertex}.{name}", array)
    network = network_of(graph, output_named(output))
    # What something was folded into has another value than the file's.
    kept = {INPUT, *(node.name for node in graph.nodes if node.operation in before)}
    tensors = {tensor: name for tensor, name in file.tensors.items() if name in kept}
    if isinstance(network, Network):
        tensors = chain_tensors(file)
    return Model(
        network,
        format,
        file.says is not None,
        notes,
        classes=file.classes,
        scales_inputs=file.scales_inputs,
        beside=file.beside,
        interface=file.interface,
        tensors=tensors,
    )


def model_bytes(path: Path, network: AnyNetwork) -> bytes:
    """Return the content of a model file of the format that the suffix of `path` names.

    Of a plain chain the weights are written in float64, so that `read_model` gives back the same network,
    bit for bit. InputError where the format does not hold such a network.
    """
    format = format_of(path)
    if format not in WRITERS:
        suffixes = ", ".join(suffix for suffix, known in FORMATS.items() if known in WRITERS)
        raise InputError(f"{format} models are read and not written; write one of {suffixes}", path=path)
    try:
        return WRITERS[format](network)
    except (ImportError, ValueError) as error:
        raise InputError(str(error), path=path) from error


def _state(path: Path, format: str, index: Path | None, order: Sequence[str]) -> Chain:
    """Return the chain of a state_dict, in one file or in the shards of an index."""

    def read(file: Path) -> StateDict:
        check_content(file, format)
        return STATES[format](file)

    if index is None:
        return state_chain(read(path), order)
    files: list[Path] = []

    def read_shard(file: Path) -> StateDict:
        files.append(file)
        return read(file)

    chain = state_chain(read_shards(path, index, read_shard), order)
    return replace(chain, beside=tuple(file for file in (index, *files) if file != path))


def _agreed(said: str | None, asked: str | None) -> str:
    """Return the output that a file says, or else the one asked for; ValueError if they differ."""
    if said is not None and said not in OUTPUTS:
        raise ValueError(f"unknown output {said!r}; known: {', '.join(OUTPUTS)}")
    if None not in (said, asked) and said != asked:
        raise ValueError(f"the file says that its output is {said}, and {asked} was asked for; leave it out")
    return said or asked or "identity"


def _npz_bytes(network: AnyNetwork) -> bytes:
    file = io.BytesIO()
    arrays: dict[str, Any] = network_arrays(network)
    np.savez(file, **arrays)
    return file.getvalue()


def _onnx_bytes(network: AnyNetwork) -> bytes:
    return onnx_bytes(network) if isinstance(network, Network) else graph_bytes(network)


def _of_chain(write: Callable[[Network], bytes], format: str) -> Callable[[AnyNetwork], bytes]:
    """Return the writer of a format that plain chains alone can be written in."""

    def written(network: AnyNetwork) -> bytes:
        try:
            return write(plain_chain(network, f"the {format} format"))
        except ValueError as error:
            raise ValueError(f"{error}: write .onnx or .npz, which hold how values part and join") from None

    return written


WRITERS: dict[str, Callable[[AnyNetwork], bytes]] = {
    "npz": _npz_bytes,
    "pytorch": _of_chain(pytorch_bytes, "pytorch"),
    "safetensors": _of_chain(safetensors_bytes, "safetensors"),
    "onnx": _onnx_bytes,
}
"""How each format is written."""
