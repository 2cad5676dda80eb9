"""Another run of a network, to compare with: a run, a model file, or activations that were recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.chain.network import Network
from sheafcli.core.difference import values_of
from sheafcli.core.graph import INPUT
from sheafcli.core.network import AnyNetwork, as_inputs
from sheafcli.core.rounding import inferred_precision
from sheafcli.core.types import Array
from sheafcli.errors import InputError
from sheafcli.interop.contents import FORMATS, library
from sheafcli.interop.models import read_model
from sheafcli.interop.npz import read_npz
from sheafcli.interop.onnx_model import load_model
from sheafcli.interop.quantised import is_quantised
from sheafcli.interop.recorded import MOST_NAMED, not_recorded, read_arrays, recorded_of
from sheafcli.interop.recording import record_onnx
from sheafcli.interop.shared_ends import at_shared_ends
from sheafcli.runs.directory import RunDirectory
from sheafcli.runs.name_map import read_name_map
from sheafcli.runs.samples import PARTS, Samples

SAME = 1e-2
"""Inputs that differ by more than this share of the largest are of other samples: of fewer bits none do."""


@dataclass(frozen=True, eq=False)
class OtherRun:
    """The values of another run on samples X, samples x features; `network` where it is one, else None.

    `precision` is what its parameters lie in where it is a network; None leaves that to its values.
    """

    X: Array
    recorded: Mapping[str, NDArray[Any]]
    network: AnyNetwork | None
    precision: str | None
    notes: tuple[str, ...]

    @classmethod
    def read(
        cls,
        run: RunDirectory,
        network: AnyNetwork,
        path: Path,
        data: str | None,
        limit: int | None,
        name_map: Path | None = None,
    ) -> OtherRun:
        """Read the other run, and the samples: `data`, or those it recorded, or the run's test samples.

        `name_map` is the file that says which arrays are whose values. A quantised ONNX file is run by ONNX
        Runtime on the samples.
        """
        is_run_here = _is_quantised(path)
        other = None if is_run_here else _network(path)
        if other is not None and name_map is not None:
            raise InputError("a map is for recorded activations; vertices of networks go by place", path=path)
        if other is not None:
            if unlike := first_unlike(network, other):
                raise InputError(
                    f"the network is of another architecture: {unlike}; what both have under one name can be "
                    "compared: record the values of one (`sheaf record`) and give these",
                    path=path,
                )
            X = as_inputs(network, _samples(run, network, data or "test", limit))
            values = values_of(other.graph, X)
            names = [vertex.name for vertex in network.graph.vertices[1:] if vertex.operation is not None]
            by_place = dict(zip(names, values.values(), strict=True))
            held = {
                f"{name}.{field}": array
                for name, fields in other.graph.parameters.items()
                for field, array in fields.items()
            }
            return cls(X, by_place, other, inferred_precision(held).name, _few(X))
        if is_run_here:
            arrays = record_onnx(path, as_inputs(network, _samples(run, network, data or "test", limit)))
        else:
            arrays = read_arrays(path)
        tensors = _names(run, network)
        vertices = {vertex.name: vertex.name for vertex in network.graph.vertices}
        called = vertices | tensors | {name: name for name in tensors.values()}
        listed = {} if name_map is None else read_name_map(name_map, arrays, called)
        renamed = {array: called[name] for array, name in listed.items()}
        found = recorded_of(arrays, network.graph, tensors, path, renamed)
        n = len(next(iter(found.values.values())))
        if found.input is not None and (data is None or is_run_here):
            X = _inputs(network, found.input, path)
        else:
            X = as_inputs(network, _samples(run, network, data or "test", None))
            if found.input is not None:
                X = _agreed(X, _inputs(network, found.input, path), path)
        if len(X) != n:
            raise InputError(
                f"the activations are of {n} samples, and the data has {len(X)}: give the data that they "
                "were recorded on with --data",
                path=path,
            )
        X = X[:limit]
        whole = {name: array[:limit] for name, array in arrays.items() if array.ndim}
        mine = {name: array[:limit] for name, array in found.values.items()}
        matched, moved = at_shared_ends(network.graph, X, mine, whole)
        told = (*found.notes, *_fused(moved), *not_recorded(network.graph, matched), *_few(X))
        return cls(X, matched, None, None, told)


def first_unlike(network: AnyNetwork, other: AnyNetwork) -> str | None:
    """Say where two graphs first part, vertex by vertex; None where all but their numbers is the same."""
    if network.input_shape != other.input_shape:
        return f"the input has shape {network.input_shape} here and {other.input_shape} there"
    for own, its in zip(network.graph.vertices[1:], other.graph.vertices[1:], strict=False):
        kinds = type(own.operation).__name__, type(its.operation).__name__
        if kinds[0] != kinds[1]:
            return f"{own.name} is {kinds[0]} here, and {its.name} is {kinds[1]} there"
        if own.shape != its.shape:
            return f"{own.name} has shape {own.shape} here, and {its.name} {its.shape} there"
        if own.parents != its.parents:
            return f"{own.name} reads other vertices here than {its.name} there"
    here, there = len(network.graph.vertices), len(other.graph.vertices)
    return None if here == there else f"it has {here - 1} operations here and {there - 1} there"


def _names(run: RunDirectory, network: AnyNetwork) -> dict[str, str]:
    """Return the vertices by what else their values are called: in the file imported, or in one exported."""
    names = {"input": INPUT}
    if network.output.name == "identity":
        names["output"] = network.graph.output.name
    if isinstance(network, Network):
        names |= dict(
            zip(network.stalks, (vertex.name for vertex in network.graph.vertices[1:]), strict=True)
        )
    return names | run.tensors()


def _is_quantised(path: Path) -> bool:
    """Return whether a path is that of an ONNX file with quantised operators."""
    if path.suffix.lower() != ".onnx" or not path.is_file():
        return False
    try:
        return is_quantised(load_model(path, library("onnx", "onnx", "reading .onnx files")))
    except (ImportError, ValueError) as error:
        raise InputError(str(error), path=path) from error


def _network(path: Path) -> AnyNetwork | None:
    """Return the network of a run or a model file; None where the path is of recorded activations."""
    if not path.exists():
        raise InputError("no such file or directory; give a run, a model file or activations", path=path)
    if path.is_dir():
        directory = RunDirectory(path)
        return directory.network() if directory.has_run else None
    if path.suffix.lower() == ".npz":
        is_network = {"graph", "W1"} & set(read_npz(path))
        return read_model(path).network if is_network else None
    if path.suffix.lower() not in FORMATS:
        raise InputError(
            f"unknown suffix {path.suffix!r}: give a run directory, a model file ({', '.join(FORMATS)}), or "
            "activations as an .npz file or a folder of .npy files",
            path=path,
        )
    return read_model(path).network


def _samples(run: RunDirectory, network: AnyNetwork, data: str, limit: int | None) -> Array:
    if data in PARTS:
        return Samples.choose(run, network, data, limit).X
    arrays = read_npz(Path(data))
    name = next((name for name in ("X", "X_test") if name in arrays), None)
    if name is None:
        raise InputError(f"needs an array X; found {', '.join(arrays) or 'nothing'}", path=Path(data))
    return _inputs(network, arrays[name], Path(data))[:limit]


def _inputs(network: AnyNetwork, X: NDArray[Any], path: Path) -> Array:
    try:
        return as_inputs(network, X.astype(np.float64))
    except ValueError as error:
        raise InputError(str(error), path=path) from error


def _agreed(X: Array, recorded: Array, path: Path) -> Array:
    """Return the recorded input where it is that of the samples X but for rounding."""
    if len(X) == len(recorded):
        apart = np.max(np.abs(X - recorded).reshape(len(X), -1), axis=1)
        if np.all(apart <= SAME * np.max(np.abs(X))):
            return recorded
        first = int(np.argmax(apart > SAME * np.max(np.abs(X))))
        what = f"their input at sample {first} is another"
    else:
        what = f"they have {len(recorded)} samples, and the data has {len(X)}"
    raise InputError(
        f"the activations are of other samples: {what}; give their data with --data, or leave it "
        "out to take the input that they hold",
        path=path,
    )


def _fused(moved: Mapping[str, str]) -> tuple[str, ...]:
    """Say which values were taken for those of other vertices."""
    told = [f"{array} is taken for {vertex}" for vertex, array in moved.items()]
    if not told:
        return ()
    more = f" and {len(told) - MOST_NAMED:,} more" if len(told) > MOST_NAMED else ""
    return (f"one of the two runs has operations fused: {', '.join(told[:MOST_NAMED])}{more}",)


def _few(X: Array) -> tuple[str, ...]:
    if len(X) > 1:
        return ()
    return ("one sample: where an operation differs can be told, of what kind the difference is often not",)
