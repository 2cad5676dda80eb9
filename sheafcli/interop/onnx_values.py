"""What is known of the values of an ONNX graph before any sample comes: constants, and the others' shapes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sheafcli.interop.onnx_constants import EVALUATED, MOVING, Constant, Evaluator
from sheafcli.interop.onnx_graph import Graph, Node
from sheafcli.interop.onnx_shapes import Application, shapes_after
from sheafcli.interop.onnx_sizes import SAMPLES, Shape, Sizes
from sheafcli.interop.onnx_tensors import Tensors


@dataclass
class Values:
    """What is known of each value of a graph, by its name.

    Attributes
    ----------
    constants : the values that do not depend on the samples, as far as they can be evaluated. Nodes that
        make sizes (Shape, then Gather, Concat, ...) make constants too; sizes that are open stand in them
        as `onnx_sizes` has it.
    shapes : the shapes of the others, as far as they can be told.
    varying : the values that depend on what the graph is given.
    refusals : why a value that is neither a constant nor has a shape does not.
    """

    sizes: Sizes
    constants: dict[str, Constant] = field(default_factory=dict)
    with_open_sizes: set[str] = field(default_factory=set)
    shapes: dict[str, Shape] = field(default_factory=dict)
    varying: set[str] = field(default_factory=set)
    refusals: dict[str, str] = field(default_factory=dict)

    def shape(self, name: str) -> Shape | None:
        """Return the shape of any value, None if it is not known."""
        if name in self.constants:
            return self.constants[name].shape
        return self.shapes.get(name)


def known_values(
    graph: Graph,
    tensors: Tensors,
    onnx: Any,
    inputs: dict[str, Shape],
    sizes: Sizes,
    shapes: Callable[[Application], list[Shape | None]] = shapes_after,
) -> Values:
    """Return what is known of all values of a graph, its inputs having the given shapes.

    Each node is evaluated if it can be; a constant that is only an ingredient of others is let go as soon as
    they are made. Of the others `shapes` says which shapes their outputs have.
    """
    values = Values(sizes, shapes=dict(inputs), varying=set(graph.inputs))
    pass_ = _Pass(graph, tensors, values, Evaluator(graph.opset, tensors, onnx), shapes)
    for node in graph.nodes:
        pass_.visit(node)
    return values


@dataclass
class _Pass:
    """One walk over the nodes in order."""

    graph: Graph
    tensors: Tensors
    values: Values
    evaluator: Evaluator
    shapes: Callable[[Application], list[Shape | None]]
    uses: Counter[str] = field(init=False)
    computed: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.uses = Counter(name for node in self.graph.nodes for name in node.inputs)
        self.uses.update(self.graph.outputs)

    def visit(self, node: Node) -> None:
        """Find out what is known of the outputs of a node."""
        values = self.values
        for name in node.inputs:
            self._load(name)
        try:
            self._check(node)
            made = self._shape_of(node)
            made = self._evaluated(node) if made is None else made
            if made is not None:
                self._keep(node, made)
                return
            shapes = self.shapes(self._application(node))
        except ValueError as error:
            values.refusals |= dict.fromkeys(node.outputs, str(error))
            shapes = []
        if any(name in values.varying or name in values.with_open_sizes for name in node.inputs):
            values.varying.update(filter(None, node.outputs))
        pairs = zip(node.outputs, shapes, strict=False)
        values.shapes |= {name: shape for name, shape in pairs if shape is not None}

    def _check(self, node: Node) -> None:
        """Raise ValueError with the reason if an input has been refused."""
        for name in node.inputs:
            if name in self.values.refusals:
                raise ValueError(self.values.refusals[name])

    def _load(self, name: str) -> None:
        """Decode a tensor of the file once a node needs it."""
        values = self.values
        if name in self.graph.tensors and name not in values.constants and name not in values.refusals:
            try:
                values.constants[name] = self.tensors.array(self.graph.tensors[name])
            except ValueError as error:
                values.refusals[name] = str(error)

    def _shape_of(self, node: Node) -> list[Constant] | None:
        """Return the output of Shape, if the shape of its input is known; None of any other node."""
        shape = self.values.shapes.get(node.inputs[0]) if node.inputs else None
        if node.kind != "Shape" or shape is None:
            return None
        end = node.integer("end", len(shape))
        try:
            return [np.array(shape[node.integer("start", 0) : end], np.int64)]
        except OverflowError as error:
            raise ValueError(f"{node.label} gives sizes beyond all measure") from error

    def _evaluated(self, node: Node) -> list[Constant] | None:
        """Return the outputs of a node whose inputs are all constants; None of one that is not evaluated."""
        constants, open_sizes = self.values.constants, self.values.with_open_sizes
        names = [name for name in node.inputs if name]
        if node.kind not in EVALUATED or not all(name in constants for name in names):
            return None
        if any(name in open_sizes for name in names) and not self._moves(node):
            return self._multiplied(node) if node.kind == "Mul" else None
        return self.evaluator.results(node, [constants.get(name) for name in node.inputs])

    def _moves(self, node: Node) -> bool:
        """Return whether a node only moves sizes about, so that open ones can be among them."""
        types = self.evaluator.onnx.TensorProto
        if node.op == "Cast":
            return node.integer("to", 0) in (types.INT64, types.INT32)
        if node.op == "Shape":
            return True
        if node.op == "Equal":  # with what is no size: none is below 1
            numbers = [
                self.values.constants[name] for name in node.inputs if name not in self.values.with_open_sizes
            ]
            return len(numbers) == 1 and bool(np.all(numbers[0] < 1))
        if node.op == "Where":
            return node.inputs[0] not in self.values.with_open_sizes
        beside = node.inputs if node.op != "Concat" else ()
        return node.op in MOVING and self.values.with_open_sizes.isdisjoint(beside[1:])

    def _multiplied(self, node: Node) -> list[Constant] | None:
        """Return a product of two sizes, of which one is open; None where no size can stand for it."""
        one, other = (self.values.constants[name] for name in node.inputs)
        sizes = self.values.sizes
        if one.size != 1 or other.size != 1 or other.dtype.kind != "i" or one.dtype.kind != "i":
            return None
        size = sizes.single(sizes.product([int(one.reshape(())), int(other.reshape(()))]))
        return None if size is None else [np.full(np.broadcast_shapes(one.shape, other.shape), size)]

    def _keep(self, node: Node, made: list[Constant]) -> None:
        """Keep what a node makes, and let go of what only it needed."""
        values = self.values
        opened = node.kind == "Shape" or not values.with_open_sizes.isdisjoint(node.inputs)
        for name, array in zip(node.outputs, made, strict=False):
            values.constants[name] = array
            if opened and np.any(array <= SAMPLES):
                values.with_open_sizes.add(name)
        self.computed.update(node.outputs)
        self.uses.subtract(node.inputs)
        for name in node.inputs:
            if self.uses[name] == 0 and name in values.constants:
                array = values.constants.pop(name)
                self.evaluator.budget.kept -= array.size if name in self.computed else 0

    def _application(self, node: Node) -> Application:
        values = self.values
        return Application(
            node=node,
            shapes=tuple(values.shape(name) if name else None for name in node.inputs),
            constants=tuple(values.constants.get(name) for name in node.inputs),
            sizes=values.sizes,
            opset=self.graph.opset,
        )
