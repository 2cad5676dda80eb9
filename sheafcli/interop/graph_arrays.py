"""Graph networks as arrays by name: VERTEX.FIELD for what operations hold, and `graph`, a JSON text.

The text lists the rest, in topological order:

    {"format": 1, "input_shape": [1, 8, 8], "nodes": [
      {"name": "conv_1", "operation": "Convolution", "parents": ["x"], "options": {"stride": [1, 1], ...}},
      {"name": "relu_1", "operation": "ReLU", "parents": ["conv_1"], "options": {}}, ...]}

An operation is the name of a class of `core.operations`, or Constant. Which of its fields are arrays, and
what the others may hold, its type hints say: nothing here knows one operation from another.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, TypeAdapter, ValidationError

from sheafcli.core import operations
from sheafcli.core.graph import Constant, Graph, Node
from sheafcli.core.magnitude import LARGEST
from sheafcli.core.types import Array
from sheafcli.errors import InputError

FORMAT = 1
GRAPH = "graph"

MAX_TEXT = 2**24
"""The most characters that are read of the text."""

MAX_NODES = 20_000
"""The most operations of a network that is read."""

MAX_NUMBER = 2**24
"""The largest whole number that an option may hold, but for the ends of slices."""

MAX_STALKS = 2**30
"""The most entries that all values of one sample may have together."""

OPERATIONS: dict[str, type] = {name: getattr(operations, name) for name in operations.__all__}
"""The operations by the names that files give them."""
KINDS: dict[str, type] = OPERATIONS | {"Constant": Constant}


def graph_arrays(graph: Graph) -> dict[str, NDArray[Any]]:
    """Return a graph as arrays by name."""
    arrays: dict[str, NDArray[Any]] = {}
    nodes = []
    for node in graph.nodes:
        kind: type[Any] = type(node.operation)
        options = {}
        for name in _fields(kind):
            value = getattr(node.operation, name)
            if name not in _array_fields(kind):
                options[name] = _as_json(value)
            elif value is not None:
                arrays[f"{node.name}.{name}"] = np.asarray(value)
        operation = kind.__name__
        nodes.append(
            {"name": node.name, "operation": operation, "parents": list(node.parents), "options": options}
        )
    text = json.dumps({"format": FORMAT, "input_shape": list(graph.input_shape), "nodes": nodes})
    return arrays | {GRAPH: np.array(text)}


def graph_from(arrays: Mapping[str, NDArray[Any]], path: Path) -> Graph:
    """Return the graph of arrays that were read from `path`; InputError says what is wrong with them."""
    try:
        return _graph(arrays)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise InputError(str(error), path=path) from error


def _graph(arrays: Mapping[str, NDArray[Any]]) -> Graph:
    text = arrays[GRAPH]
    if text.dtype.kind != "U" or text.ndim != 0 or text.dtype.itemsize > 4 * MAX_TEXT:
        raise ValueError(f"{GRAPH} must be one text of at most {MAX_TEXT:,} characters")
    listing = _listing(str(text))
    nodes = listing["nodes"]
    if not isinstance(nodes, list) or not 0 < len(nodes) <= MAX_NODES:
        raise ValueError(f"{GRAPH} must list 1 to {MAX_NODES:,} nodes")
    rest = dict(arrays)
    del rest[GRAPH]
    rest.pop("output", None)
    graph = Graph(_shape(listing["input_shape"]), tuple(_node(node, rest) for node in nodes))
    if rest:
        raise ValueError(f"unknown array {min(rest)!r}; no operation of the graph has it")
    if sum(math.prod(vertex.shape) for vertex in graph.vertices) > MAX_STALKS:
        raise ValueError(f"the values of one sample have more than {MAX_STALKS:,} entries together")
    return graph


def _listing(text: str) -> dict[str, Any]:
    try:
        listing = json.loads(text)
    except RecursionError:
        raise ValueError(f"{GRAPH} is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"{GRAPH} is not a JSON text ({error})") from None
    if not isinstance(listing, dict) or "format" not in listing:
        raise ValueError(f"{GRAPH} must be a JSON object with the keys format, input_shape and nodes")
    if listing["format"] != FORMAT or isinstance(listing["format"], bool):
        raise ValueError(
            f"the graph has format {_shown(listing['format'])}, and this version of sheafcli reads {FORMAT}; "
            "a newer one may read it"
        )
    if set(listing) != {"format", "input_shape", "nodes"}:
        raise ValueError(f"{GRAPH} must have the keys format, input_shape and nodes, and no others")
    return listing


def _shape(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(type(n) is int and 0 < n <= MAX_NUMBER for n in value):
        raise ValueError(f"input_shape must be a list of lengths, got {_shown(value)}")
    return tuple(value)


def _node(node: Any, rest: dict[str, NDArray[Any]]) -> Node:
    """Return what a JSON object says, with its arrays, which are taken out of `rest`."""
    keys = {"name", "operation", "parents", "options"}
    if not isinstance(node, dict) or set(node) != keys:
        raise ValueError(f"a node must be an object with the keys {', '.join(sorted(keys))}")
    name, parents = node["name"], node["parents"]
    if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= 1000:
        raise ValueError(f"the name of a node must be printable text, got {_shown(name)}")
    if not isinstance(parents, list) or not all(isinstance(parent, str) for parent in parents):
        raise ValueError(f"{name}: parents must be a list of names, got {_shown(parents)}")
    if not isinstance(node["operation"], str) or node["operation"] not in KINDS:
        raise ValueError(
            f"{name} is of the operation {_shown(node['operation'])}, which this version of sheafcli does "
            f"not know; it knows {', '.join(KINDS)}"
        )
    kind = KINDS[node["operation"]]
    fields = _options(name, kind, node["options"])
    for field in _array_fields(kind):
        if (key := f"{name}.{field}") in rest:
            fields[field] = _array(key, rest.pop(key))
    required = {field.name for field in dataclasses.fields(kind) if _is_required(field)}
    if missing := sorted(required - set(fields)):
        raise ValueError(f"{name} ({kind.__name__}) lacks {missing[0]}")
    try:
        return Node(name, kind(**fields), tuple(parents))
    except (ValueError, TypeError, IndexError) as error:
        raise ValueError(f"{name} ({kind.__name__}): {error}") from None


def _options(name: str, kind: type, options: Any) -> dict[str, Any]:
    """Return the fields that are not arrays, each as its type hint says."""
    if not isinstance(options, dict):
        raise ValueError(f"{name}: options must be an object, got {_shown(options)}")
    if unknown := sorted(set(options) - (set(_fields(kind)) - set(_array_fields(kind)))):
        raise ValueError(f"{name} ({kind.__name__}) has no option {_shown(unknown[0])}")
    return {option: _checked(name, kind, option, value) for option, value in options.items()}


def _checked(name: str, kind: type, option: str, value: Any) -> Any:
    config = ConfigDict(strict=True, allow_inf_nan=True, arbitrary_types_allowed=True)
    hint = get_type_hints(kind)[option]
    try:
        found = TypeAdapter(hint, config=config).validate_python(_from_json(value))
    except (ValidationError, ValueError, OverflowError):
        raise ValueError(
            f"{name} ({kind.__name__}): {option} cannot be {_shown(value)}; it is of type "
            f"{dict(_field_types(kind))[option]}"
        ) from None
    return found


def _array(key: str, array: NDArray[Any]) -> Array:
    if array.dtype.kind != "f":
        raise ValueError(f"{key} must hold real numbers in a float type, not {array.dtype}")
    if array.dtype not in (np.float32, np.float64):
        with np.errstate(over="ignore"):  # a wider float may become infinite: refused just below
            array = array.astype(np.float64)
    largest = float(np.max(np.abs(array), initial=0.0))
    if not largest <= LARGEST:
        raise ValueError(
            f"{key} holds {largest:.1e}, and at most {LARGEST:g} is workable; the file may be damaged, or "
            "the training may have diverged"
        )
    return array


def _fields(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind) if field.init)


def _array_fields(kind: type) -> tuple[str, ...]:
    """Return the fields of an operation that are arrays, or None instead of one."""
    hints = get_type_hints(kind)
    return tuple(name for name in _fields(kind) if Array in (hints[name], *get_args(hints[name])))


def _field_types(kind: type) -> tuple[tuple[str, str], ...]:
    return tuple((field.name, str(field.type)) for field in dataclasses.fields(kind))


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.init and field.default is dataclasses.MISSING


def _as_json(value: Any) -> Any:
    """Return an option as JSON has it: sequences as lists, a slice as an object."""
    if isinstance(value, slice):
        return {"slice": [_as_json(value.start), _as_json(value.stop), _as_json(value.step)]}
    if isinstance(value, tuple | list):
        return [_as_json(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def _from_json(value: Any) -> Any:
    """Return what `_as_json` made of an option; lists become tuples. ValueError for what it never makes."""
    if isinstance(value, list):
        return tuple(_from_json(item) for item in value)
    if isinstance(value, dict):
        ends = value.get("slice")
        if len(value) != 1 or not isinstance(ends, list) or len(ends) != 3:
            raise ValueError("not a slice")
        if not all(end is None or (type(end) is int and abs(end) <= 2**63) for end in ends):
            raise ValueError("not a slice")
        return slice(*ends)
    if isinstance(value, float) and math.isnan(value):
        raise ValueError("not a number")
    if isinstance(value, int) and abs(value) > MAX_NUMBER:
        raise ValueError("too large")
    return value


def _shown(value: Any) -> str:
    """Return a value of the file for a message, not longer than a line."""
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
