"""The graph of an ONNX file: its nodes in an order in which they can be computed, its inputs and outputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

MAX_NODES = 2**16
"""The most nodes of a graph that is read."""

MAX_LINKS = 2**20
"""The most inputs and outputs of all nodes; and outputs of a graph, times its nodes."""

OLDEST_OPSET = 7
"""The operator set from which on arrays broadcast as NumPy's do; older ones are refused."""


@dataclass(frozen=True, eq=False)
class Node:
    """One node; `label` is what messages call it, by its operator and its name or place in the file."""

    op: str
    domain: str
    label: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    proto: Any
    value_of: Any

    @property
    def kind(self) -> str:
        """The operator, with its domain before it unless it is ONNX's own."""
        return f"{self.domain}.{self.op}" if self.domain else self.op

    def has_input(self, slot: int) -> bool:
        """Return whether an optional input is given; an empty name means that it is not."""
        return len(self.inputs) > slot and self.inputs[slot] != ""

    @cached_property
    def _attributes(self) -> dict[str, Any]:
        return {attribute.name: attribute for attribute in self.proto.attribute}

    def has(self, name: str) -> bool:
        """Return whether the node has an attribute."""
        return name in self._attributes

    def attribute(self, name: str) -> Any:
        """Return an attribute as ONNX holds it; ValueError if it is damaged."""
        try:
            value = self.value_of(self._attributes[name])
        except (KeyError, ValueError):
            value = None
        if value is None:
            raise ValueError(f"{self.label} has no attribute {name} that can be read")
        return value

    def number(self, name: str, default: float) -> float:
        """Return a numeric attribute, or its default where the node does not have it."""
        value = self.attribute(name) if self.has(name) else default
        if not isinstance(value, int | float):
            raise ValueError(f"{self.label} has an attribute {name} that is no number")
        return value

    def integer(self, name: str, default: int) -> int:
        """Return an attribute that is a whole number."""
        value = self.number(name, default)
        if not isinstance(value, int):
            raise ValueError(f"{self.label} has an attribute {name} that is no whole number")
        return value

    def numbers(self, name: str) -> list[float]:
        """Return an attribute that is a list of numbers, empty where the node does not have it."""
        values = self.attribute(name) if self.has(name) else []
        if not isinstance(values, list) or not all(isinstance(value, int | float) for value in values):
            raise ValueError(f"{self.label} has an attribute {name} that is no list of numbers")
        return values


@dataclass(frozen=True)
class ElementTypes:
    """The types that the entries of arrays can have, by their numbers in ONNX."""

    floats: frozenset[int]
    half_floats: frozenset[int]
    integers: frozenset[int]
    wide_integers: frozenset[int]

    @classmethod
    def of(cls, types: Any) -> ElementTypes:
        """Return them as the library names them."""
        wide = {types.INT64, types.INT32}
        narrow = {types.INT16, types.INT8, types.UINT64, types.UINT32, types.UINT16, types.UINT8, types.BOOL}
        half = {types.FLOAT16, types.BFLOAT16}
        floats = half | {types.FLOAT, types.DOUBLE}
        return cls(frozenset(floats), frozenset(half), frozenset(wide | narrow), frozenset(wide))


class Graph:
    """The graph of an ONNX model, read with the library `onnx`; ValueError where it is none that can run.

    Attributes
    ----------
    nodes : in an order in which each comes after those that make its inputs.
    inputs : what the graph is given, by name, each with its type.
    outputs : the names of what it gives.
    makers : the node that makes each value, but for those of `inputs` and `tensors`.
    tensors : the constants that it holds, by name; `sparse` are the names of those that are not full arrays.
    opset : the version of ONNX's own operators.
    """

    def __init__(self, model: Any, onnx: Any):
        graph = model.graph
        if len(graph.node) > MAX_NODES:
            raise ValueError(f"the graph has {len(graph.node):,} nodes, and at most {MAX_NODES:,} are read")
        if sum(len(node.input) + len(node.output) for node in graph.node) > MAX_LINKS:
            raise ValueError(
                f"the nodes of the graph have more than {MAX_LINKS:,} inputs and outputs together"
            )
        if len(graph.output) * (1 + len(graph.node)) > MAX_LINKS:
            raise ValueError(
                f"the graph has {len(graph.output):,} outputs, too many to be one network; "
                "export a model that gives what its last layer does"
            )
        self.opset = self._opset(model, onnx)
        self.tensors = {tensor.name: tensor for tensor in graph.initializer}
        if len(self.tensors) < len(graph.initializer):
            raise ValueError("the graph is damaged: it has two initializers of one name")
        self.sparse = {tensor.values.name for tensor in graph.sparse_initializer}
        self.inputs = {value.name: value.type for value in graph.input if value.name not in self.tensors}
        self.outputs = tuple(value.name for value in graph.output)
        value_of = onnx.helper.get_attribute_value
        self.types = ElementTypes.of(onnx.TensorProto)
        self.makers: dict[str, Node] = {}
        self.nodes = self._ordered([_node(i, proto, value_of) for i, proto in enumerate(graph.node)])

    def choose(self, output: str) -> None:
        """Leave out all outputs but one; ValueError if there is none of that name."""
        if output not in self.outputs:
            names = ", ".join(printable(name) for name in self.outputs[:9]) or "none"
            raise ValueError(f"the graph has no output {printable(output)!r}; its outputs are {names}")
        self.outputs = (output,)

    def ancestors(self, value: str) -> list[Node]:
        """Return the nodes that a value is computed by, in order."""
        wanted, kept = {value}, []
        for node in reversed(self.nodes):
            if not wanted.isdisjoint(node.outputs):
                kept.append(node)
                wanted.update(name for name in node.inputs if name)
        return kept[::-1]

    def _ordered(self, nodes: list[Node]) -> list[Node]:
        """Return the nodes in topological order, by Kahn's algorithm; ValueError if there is none."""
        makers = self.makers
        for node in nodes:
            for name in filter(None, node.outputs):
                if name in makers or name in self.inputs or name in self.tensors:
                    raise ValueError(
                        f"the graph is damaged: {name!r} is made by {node.label} and somewhere else too"
                    )
                makers[name] = node
        missing = {node: sum(name in makers for name in node.inputs) for node in nodes}
        users: dict[str, list[Node]] = {}
        for node in nodes:
            for name in node.inputs:
                users.setdefault(name, []).append(node)
        ordered = [node for node in nodes if not missing[node]]
        for node in ordered:  # which grows on the way
            for user in _each(users, node.outputs):
                missing[user] -= 1
                if not missing[user]:
                    ordered.append(user)
        if len(ordered) < len(nodes):
            stuck = next(node for node in nodes if missing[node])
            raise ValueError(f"the graph is damaged: what goes into {stuck.label} comes out of it, a circle")
        return ordered

    @staticmethod
    def _opset(model: Any, onnx: Any) -> int:
        versions = {entry.domain: entry.version for entry in model.opset_import}
        opset: int = versions.get("", versions.get("ai.onnx", 1))
        newest = onnx.defs.onnx_opset_version()
        if opset < OLDEST_OPSET:
            raise ValueError(
                f"the model is of operator set {opset}, and those from {OLDEST_OPSET} on are read; "
                f"onnx.version_converter.convert_version(model, 13) makes it a newer one"
            )
        if opset > newest:
            raise ValueError(
                f"the model is of operator set {opset}, and the onnx that is installed knows those "
                f"up to {newest}; install a newer onnx, or export the model with opset_version={newest}"
            )
        return opset


def printable(text: str | bytes) -> str:
    """Return a word of the file as it can be shown: short, and without what steers a terminal.

    Bytes are what the library gives for a word that is no text, in a damaged file.
    """
    plain = isinstance(text, str) and text.isprintable() and len(text) < 100
    return str(text) if plain else repr(text[:100])


def _each(users: dict[str, list[Node]], names: Iterable[str]) -> Iterator[Node]:
    for name in names:
        if name:
            yield from users.get(name, ())


def _node(place: int, proto: Any, value_of: Any) -> Node:
    op, domain = printable(proto.op_type or "?"), printable(proto.domain)
    return Node(
        op=op,
        domain="" if domain == "ai.onnx" else domain,
        label=f"{op} {proto.name!r}" if proto.name else f"{op} (node {place})",
        inputs=tuple(proto.input),
        outputs=tuple(proto.output),
        proto=proto,
        value_of=value_of,
    )
