"""What the vertices of a graph that was read from an ONNX file are called: short, printable and unique.

PyTorch calls a node by the modules that it lies in, each by its whole name, and its operator:
`/layer1/layer1.0/conv1/Conv` is `layer1.0.conv1`. TensorFlow writes `model/block/conv/Conv2D`. Where a node
lies in a module with nodes of other kinds, its operator says which it is: `layer1.0.add`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from sheafcli.core.graph import INPUT
from sheafcli.interop.onnx_graph import Node

LONGEST = 60
"""The most letters of a name; of longer ones the end is kept."""

TAKEN = (INPUT, "output")
"""What the input and the output edge are called."""


def vertex_names(nodes: Sequence[Node]) -> list[str]:
    """Return a name for the vertex of each node, of which some may be the same."""
    paths = [_path(node) for node in nodes]
    shared = _shared(paths)
    modules = [path[shared:-1] for path in paths]
    inner = {path[:i] for path in modules for i in range(len(path))}
    kinds: dict[tuple[str, ...], set[str]] = {}
    for path, node in zip(modules, nodes, strict=True):
        kinds.setdefault(path, set()).add(node.op)
    plain = []
    for path, whole, node in zip(modules, paths, nodes, strict=True):
        alone = bool(path) and path not in inner and len(kinds[path]) == 1
        own = "" if alone else node.op.lower() if path else whole[-1].removeprefix("node_")
        plain.append(_joined(path, own) or node.op.lower())
    names, used = [], Counter[str](TAKEN)
    for name in plain:
        unique, again = name, used[name]
        while unique in used:
            unique, again = f"{name}_{again}", again + 1
        used[name] += 1
        if unique != name:
            used[unique] += 1
        names.append(unique)
    return names


def _path(node: Node) -> tuple[str, ...]:
    """Return the modules that a node lies in, and its own name last."""
    name = node.proto.name or node.outputs[0]
    name = name if isinstance(name, str) else node.op
    parts = tuple(part for part in name.split("/") if part)
    return parts or (node.op,)


def _shared(paths: Sequence[tuple[str, ...]]) -> int:
    """Return how many modules all nodes lie in together."""
    first, last = min(paths), max(paths)
    most = min(len(path) for path in paths) - 1
    return next((i for i in range(most) if first[i] != last[i]), most)


def _joined(modules: Sequence[str], own: str) -> str:
    """Return modules, of which one may repeat the name of that around it, and what stands in them."""
    words: list[str] = []
    for part in modules:
        if words and part.startswith(f"{words[-1]}."):
            words[-1] = part
        else:
            words.append(part)
    name = re.sub(r"[^A-Za-z0-9._:-]+", "_", ".".join([*words, *[own] * bool(own)]))
    return name.strip("_.")[-LONGEST:].lstrip("_.")
