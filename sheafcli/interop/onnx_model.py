"""An ONNX file as a model without functions of its own: what calls one stands written out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sheafcli.errors import InputError
from sheafcli.interop.npz import open_bounded
from sheafcli.interop.onnx_graph import MAX_NODES

MAX_PROTOBUF = 2**31 - 1
"""The most bytes of an ONNX file: a limit of its format. More weights stand in files beside it."""

Key = tuple[str, str]


def load_model(path: Path, onnx: Any) -> Any:
    """Read the model of a file; InputError if it is damaged, ValueError if its functions go without end."""
    with open_bounded(path, MAX_PROTOBUF) as file:
        content = file.read()
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's DecodeError, whose module is protobuf's own affair
        raise InputError(
            f"not a whole ONNX file ({error}); export it again or check where it comes from", path=path
        ) from error
    return _written_out(model, onnx)


def _written_out(model: Any, onnx: Any) -> Any:
    """Return a model in whose graph no function of its own is called any more."""
    if not model.functions:
        return model
    _check_size(model)
    from onnx.inliner import inline_local_functions  # noqa: PLC0415

    try:
        return inline_local_functions(model)
    except Exception as error:  # whatever the library says of functions that are not as ONNX has them
        raise ValueError(f"the functions of the model cannot be written out ({error})") from error


def _check_size(model: Any) -> None:
    """Raise ValueError if functions call themselves, or each other so often that there is no end to it."""
    bodies = {_key(function): list(function.node) for function in model.functions}
    sizes: dict[Key, int] = {}
    pending: list[tuple[Key, bool]] = [(key, False) for key in bodies]
    open_calls: set[Key] = set()
    while pending:
        key, called = pending.pop()
        if called:
            sizes[key] = sum(sizes.get((node.domain, node.op_type), 1) for node in _nodes(bodies[key]))
            open_calls.discard(key)
            continue
        if key in sizes:
            continue
        open_calls.add(key)
        pending.append((key, True))
        for callee in {(node.domain, node.op_type) for node in _nodes(bodies[key])} & bodies.keys():
            if callee in open_calls:
                raise ValueError(f"the function {key[1]!r} of the model calls itself, a circle")
            pending.append((callee, False))
    total = sum(sizes.get((node.domain, node.op_type), 1) for node in _nodes(model.graph.node))
    if total > MAX_NODES:
        raise ValueError(
            f"the graph has {total:,} nodes with those of its functions, and at most {MAX_NODES:,} are read"
        )


def _key(function: Any) -> Key:
    return function.domain, function.name


def _nodes(nodes: Any) -> Iterator[Any]:
    """Yield nodes and those of the graphs that they hold."""
    pending = list(nodes)
    while pending:
        node = pending.pop()
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                pending.extend(graph.node)
