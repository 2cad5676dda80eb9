"""Networks and stalks as arrays by name: a plain chain is W1, b1, W2, ..., output; stalks are z1, a1, z2, ...

Any other network is the arrays of its graph (`graph_arrays.py`) and output.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.chain.network import Network
from sheafcli.core.magnitude import LARGEST, check_magnitude
from sheafcli.core.network import AnyNetwork, network_of
from sheafcli.core.outputs import OUTPUTS, output_named
from sheafcli.core.types import Array
from sheafcli.errors import InputError
from sheafcli.interop.graph_arrays import GRAPH, graph_arrays, graph_from
from sheafcli.interop.npz import read_npz

Arrays = Mapping[str, NDArray[Any]]


def network_arrays(network: AnyNetwork) -> dict[str, NDArray[Any]]:
    """Return a network as arrays by name, with the name of its output."""
    named = {"output": np.array(network.output.name)}
    if not isinstance(network, Network):
        return graph_arrays(network.graph) | named
    arrays: dict[str, NDArray[Any]] = {}
    for layer, (W, b) in enumerate(zip(network.weights, network.biases, strict=True), start=1):
        arrays |= {f"W{layer}": W, f"b{layer}": b}
    return arrays | named


def read_network(path: Path, output: str | None = None) -> AnyNetwork:
    """Read a network from an .npz file of W1, b1, ..., or of a graph, and `output` unless that is given.

    Missing biases of a chain are zero. InputError says what is wrong with the file.
    """
    return network_from(read_npz(path), path, output)


def network_from(arrays: Arrays, path: Path, output: str | None = None) -> AnyNetwork:
    """Return the network of arrays by name that were read from `path`; see `read_network`."""
    name = output or str(arrays.get("output", "identity"))
    if name not in OUTPUTS:
        raise InputError(f"unknown output {name!r}; known: {', '.join(OUTPUTS)}", path=path)
    if GRAPH not in arrays:
        return chain_from(arrays, path, name)
    graph = graph_from(arrays, path)
    try:
        return network_of(graph, output_named(name))
    except ValueError as error:
        raise InputError(str(error), path=path) from error


def chain_from(arrays: Arrays, path: Path, output: str) -> Network:
    """Return the plain chain of arrays W1, b1, ... that were read from `path`."""
    weights = numbered(arrays, "W", path)
    known = {"output", *(f"{letter}{i}" for letter in "Wb" for i in range(1, len(weights) + 1))}
    # Other arrays may stand beside a network, but a misspelt bias must not pass for none.
    if misspelt := sorted(name for name in set(arrays) - known if re.match("[bw]", name, re.IGNORECASE)):
        raise InputError(f"unknown array {misspelt[0]!r}; a network holds W1, b1, ..., output", path=path)
    biases = [arrays.get(f"b{i}", np.zeros(np.shape(W)[:1])) for i, W in enumerate(weights, start=1)]
    for letter, parameters in (("W", weights), ("b", biases)):
        for i, array in enumerate(parameters, start=1):
            if array.dtype.kind in "biu":
                raise InputError(
                    f"{letter}{i} has numbers of type {array.dtype}; save the model in a float type",
                    path=path,
                )
            if array.dtype.kind != "f":
                raise InputError(f"{letter}{i} must hold real numbers, not {array.dtype}", path=path)
    try:
        network = Network(tuple(weights), tuple(biases), output_named(output))
    except ValueError as error:
        raise InputError(str(error), path=path) from error
    check_range(network, path)
    return network


def check_range(network: Network, path: Path) -> None:
    """Raise InputError if weights or biases are so large that what they give overflows."""
    for layer, parameters in enumerate(zip(network.weights, network.biases, strict=True), start=1):
        for letter, array in zip("Wb", parameters, strict=True):
            largest = float(np.max(np.abs(array), initial=0.0))
            if largest > LARGEST:
                raise InputError(
                    f"{letter}{layer} holds {largest:.1e}, and at most {LARGEST:g} is workable; "
                    "the file may be damaged, or the training may have diverged",
                    path=path,
                )


def read_stalks(path: Path) -> dict[str, Array]:
    """Read start stalks z1, a1, z2, ... from an .npz file; they must be finite numbers."""
    stalks: dict[str, Array] = {}
    for name, array in read_npz(path).items():
        if not re.fullmatch(r"[za][1-9]\d*", name):
            raise InputError(f"unknown stalk {name!r}; stalks are named z1, a1, z2, ...", path=path)
        if array.dtype.kind not in "iuf" or array.size == 0:
            raise InputError(f"stalk {name} must hold finite numbers", path=path)
        with np.errstate(over="ignore"):  # a wider float may become infinite: refused just below
            stalks[name] = array.astype(np.float64)
        try:
            check_magnitude(f"stalk {name}", stalks[name])
        except ValueError as error:
            raise InputError(str(error), path=path) from error
    return stalks


def numbered(arrays: Arrays, letter: str, path: Path) -> list[NDArray[Any]]:
    """Return the arrays W1, W2, ... in order; InputError if W1 or one in between is missing."""
    numbers = sorted(int(key[1:]) for key in arrays if re.fullmatch(rf"{letter}[1-9]\d*", key))
    if not numbers or numbers != list(range(1, len(numbers) + 1)):
        found = ", ".join(sorted(arrays)) or "nothing"
        raise InputError(f"needs {letter}1, {letter}2, ... without a gap; found {found}", path=path)
    return [arrays[f"{letter}{i}"] for i in numbers]
