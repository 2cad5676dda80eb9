"""Activations that another run of a network recorded: an .npz file of arrays, or a folder of .npy files.

An array has the name of a vertex, or what the model file calls its value, and is samples x stalk. Where a
quantised graph rounds a value to its steps, what the operations after it read is taken: see `quantised`.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.graph import INPUT, Graph
from sheafcli.errors import InputError
from sheafcli.interop.npz import MAX_LOADED, open_bounded, read_npz
from sheafcli.interop.quantised import rounded_value

MOST_FILES = 20_000
MOST_NAMED = 5
NOTHING: Mapping[str, str] = MappingProxyType({})


class Recorded(NamedTuple):
    """Values by the name of their vertex, the input's where it was recorded, and what there is to say.

    Where the other run rounds its input, `values` holds under the input's name what it reads.
    """

    values: dict[str, NDArray[Any]]
    input: NDArray[Any] | None
    notes: tuple[str, ...]


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read the arrays of an .npz file, or of the .npy files of a folder, by name; nothing is unpickled."""
    if not path.is_dir():
        return read_npz(path)
    files = sorted(file for file in path.iterdir() if file.suffix == ".npy")
    if not files or len(files) > MOST_FILES:
        raise InputError(f"the folder must hold 1 to {MOST_FILES:,} .npy files or a run", path=path)
    arrays, room = {}, MAX_LOADED
    for file in files:
        with open_bounded(file, room) as stream:
            try:
                array = np.lib.format.read_array(stream, allow_pickle=False)
            except (ValueError, EOFError, SyntaxError, OSError, TypeError) as error:
                raise InputError(f"not a whole .npy file of numbers ({error})", path=file) from error
        room -= 8 * array.size
        if room < 0:
            raise InputError(f"the arrays are more than {MAX_LOADED >> 20} MB together", path=path)
        arrays[file.stem] = array
    return arrays


def recorded_of(
    arrays: Mapping[str, NDArray[Any]],
    graph: Graph,
    tensors: Mapping[str, str],
    path: Path,
    renamed: Mapping[str, str] = NOTHING,
) -> Recorded:
    """Return which arrays are values of which vertices; InputError where none are.

    `tensors` are the vertices by what the model file calls their values, `renamed` those by the names of
    arrays that the file does not know.
    """
    vertices = {vertex.name: vertex for vertex in graph.vertices if vertex.constant is None}
    values: dict[str, NDArray[Any]] = {}
    rounded: dict[str, NDArray[Any]] = {}
    unknown = []
    for name, array in arrays.items():
        before = rounded_value(name)
        own = name if before is None else before
        known = next((names[n] for n in (name, own) for names in (renamed, tensors) if n in names), own)
        if known not in vertices:
            unknown.append(name)
        elif array.dtype.kind not in "biuf":
            raise InputError(f"{name} must hold real numbers, not {array.dtype}", path=path)
        elif before is not None:
            rounded[known] = array
        elif name == known or known not in arrays:
            values[known] = array
    given = values.pop(INPUT, rounded.get(INPUT))
    values |= rounded
    if not values.keys() - {INPUT}:
        raise InputError(
            f"no array is a value of this network: the file has {_listed(list(arrays)) or 'nothing'}, the "
            f"network {_listed(list(vertices))}; name arrays as `sheaf record` does, or say with --map FILE "
            "which is which",
            path=path,
        )
    lengths = {len(array) if array.ndim else 0: name for name, array in values.items()}
    if len(lengths) > 1:
        (n, first), (m, second) = list(lengths.items())[:2]
        raise InputError(f"{first} has {n} samples and {second} has {m}; they must agree", path=path)
    for vertex in graph.vertices:
        if vertex.name not in values:
            continue
        array = values[vertex.name]
        if array.shape[1:] != vertex.shape and array.size != len(array) * vertex.size:
            raise InputError(
                f"{vertex.name} has shape {array.shape} and must be samples x {vertex.shape}: the values are "
                "of another architecture",
                path=path,
            )
        values[vertex.name] = array.reshape(len(array), *vertex.shape)
    missing = [v.name for v in graph.vertices[1:] if v.operation is not None and v.name not in values]
    notes = _nearest(missing, unknown)
    if given is None:
        notes.append("the input was not recorded: whether the samples are the same cannot be checked")
    return Recorded(values, given, tuple(notes))


def not_recorded(graph: Graph, values: Mapping[str, NDArray[Any]]) -> tuple[str, ...]:
    """Say which operations have no value, and what comes of that."""
    missing = [v.name for v in graph.vertices[1:] if v.operation is not None and v.name not in values]
    notes = []
    if missing:
        notes.append(f"not recorded: {_listed(missing)}; what they do counts to the next that was recorded")
    if graph.output.name in missing:
        notes.append("the output was not recorded: what comes after the last recorded vertex is not compared")
    return tuple(notes)


def _nearest(missing: list[str], unknown: list[str]) -> list[str]:
    """Say of the first vertices without a value which array may be theirs by its name."""
    near = {name: get_close_matches(name, unknown, n=1, cutoff=0.8) for name in missing}
    told = [(name, arrays[0]) for name, arrays in near.items() if arrays][:MOST_NAMED]
    return [
        f"{array} is no vertex; did you mean {name}? If so, give --map FILE with the line `{array}: {name}`"
        for name, array in told
    ]


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
