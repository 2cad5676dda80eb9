"""A network of a model file that is no chain of layers: a graph of operations, and how it was read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sheafcli.core.edge import activation_edge, affine_edge
from sheafcli.core.graph import INPUT, Graph
from sheafcli.core.operations import ReLU
from sheafcli.interop.chain import Interface


@dataclass(frozen=True, eq=False)
class GraphFile:
    """What a file holds: its graph, the output function that it ends in if it says so, what was assumed.

    `classes`, `scales_inputs`, `beside` and `interface` are as in `Chain`. `tensors` are the vertices by what
    the file calls their values, of values that have their samples first.
    """

    graph: Graph
    says: str | None
    notes: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    scales_inputs: bool = False
    beside: tuple[Path, ...] = ()
    interface: Interface | None = None
    tensors: Mapping[str, str] = field(default_factory=dict)


def chain_tensors(file: GraphFile) -> dict[str, str]:
    """Return `tensors` with the names that the vertices have in a plain chain of dense layers and ReLUs.

    There all that stands between two ReLUs is one layer, and the last value of it is the layer's. Nothing
    where the graph is no path.
    """
    vertices = file.graph.vertices
    if any(vertex.parents != (vertex.index - 1,) for vertex in vertices[1:]):
        return {}
    names, layer = {INPUT: INPUT}, 1
    for vertex, following in zip(vertices[1:], [*vertices[2:], None], strict=True):
        if isinstance(vertex.operation, ReLU):
            names[vertex.name] = activation_edge(layer).name
            layer += 1
        elif following is None or isinstance(following.operation, ReLU):
            names[vertex.name] = affine_edge(layer).name
    return {tensor: names[name] for tensor, name in file.tensors.items() if name in names}
