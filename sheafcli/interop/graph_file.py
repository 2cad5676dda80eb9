"""A network of a model file that is no chain of layers: a graph of operations, and how it was read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sheafcli.core.graph import Graph
from sheafcli.interop.chain import Interface


@dataclass(frozen=True, eq=False)
class GraphFile:
    """What a file holds: its graph, the output function that it ends in if it says so, what was assumed.

    `classes`, `scales_inputs`, `beside` and `interface` are as in `Chain`.
    """

    graph: Graph
    says: str | None
    notes: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    scales_inputs: bool = False
    beside: tuple[Path, ...] = ()
    interface: Interface | None = None
