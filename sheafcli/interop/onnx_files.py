"""ONNX: a graph that is a chain of known operators, read; and such a graph, written in double."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sheafcli.core.network import Network
from sheafcli.errors import InputError
from sheafcli.interop.chain import Affine, Array, Chain, Ending, Relu, Scale, Step, batch_norm
from sheafcli.interop.contents import library
from sheafcli.interop.onnx_graph import Graph, Node

OPSET, IR_VERSION = 17, 8
"""The operator set and file version that are written: onnxruntime reads them from 1.12 (2022) on."""


def read_onnx(path: Path) -> Chain:
    """Read the chain of a graph from its input to its output; InputError says what is wrong with the file."""
    onnx = library("onnx", "onnx", "reading .onnx files")
    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except Exception as error:  # protobuf's DecodeError, whose module is protobuf's own affair
        raise InputError(
            f"not a whole ONNX file ({error}); export it again or check where it comes from", path=path
        ) from error
    return Walk(Graph(model, onnx)).chain()


def onnx_bytes(network: Network) -> bytes:
    """Return the ONNX file of a network: Gemm and Relu in turn, then its output, all in double."""
    onnx = library("onnx", "onnx", "writing .onnx files")
    helper, double = onnx.helper, onnx.TensorProto.DOUBLE
    nodes, tensors, at = [], [], "input"
    for layer, (W, b) in enumerate(zip(network.weights, network.biases, strict=True), start=1):
        if layer > 1:
            nodes.append(helper.make_node("Relu", [at], [f"a{layer - 1}"], name=f"relu{layer - 1}"))
            at = f"a{layer - 1}"
        names = [f"W{layer}", f"b{layer}"]
        tensors += [
            onnx.numpy_helper.from_array(array, name) for array, name in zip((W, b), names, strict=True)
        ]
        nodes.append(helper.make_node("Gemm", [at, *names], [f"z{layer}"], name=f"layer{layer}", transB=1))
        at = f"z{layer}"
    operator = {"identity": "Identity", "sigmoid": "Sigmoid", "softmax": "Softmax"}[network.output.name]
    nodes.append(helper.make_node(operator, [at], ["output"], name="output_function"))
    graph = helper.make_graph(
        nodes,
        "sheafcli",
        [helper.make_tensor_value_info("input", double, ["samples", network.widths[0]])],
        [helper.make_tensor_value_info("output", double, ["samples", network.widths[-1]])],
        tensors,
    )
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, producer_name="sheafcli", opset_imports=opset, ir_version=IR_VERSION)
    content: bytes = model.SerializeToString()
    return content


class Walk:
    """The steps met on the way through a graph, and what is known of the values that pass there.

    `width` is their number of features and `rank` their number of axes, samples being the first, where
    the shapes in the file or the steps so far tell.
    """

    def __init__(self, graph: Graph):
        self.graph = graph
        self.steps: list[Step] = []
        self.notes: list[str] = []
        shape = graph.input_shape
        self.rank = None if shape is None else len(shape)
        self.samples = shape[0] if shape else None
        features = shape[1:] if shape else ()
        known = [n for n in features if n is not None]
        self.width = int(np.prod(known)) if shape and len(known) == len(features) else None

    def chain(self) -> Chain:
        """Return the chain of the whole graph."""
        for node, slot in self.graph.path():
            if node.op not in OPERATORS or node.domain:
                origin = f" of {node.domain}" if node.domain else ""
                raise ValueError(
                    f"{node.label}{origin} is an operator that a sheaf does not cover; "
                    f"known: {', '.join(OPERATORS)}"
                )
            if slot != 0 and node.op not in ("Add", "MatMul"):
                raise ValueError(f"{node.label} takes the values of the network as a parameter")
            OPERATORS[node.op](self, node, slot)
        return Chain(tuple(self.steps), None, tuple(self.notes))

    def gemm(self, node: Node, slot: int) -> None:
        """Add the layer alpha x B + beta C, with B transposed or not."""
        if node.attribute("transA", 0):
            raise ValueError(
                f"{node.label} has transA: its samples stand in columns, and a network's in rows"
            )
        B = self._matrix(node, 1)
        W = node.attribute("alpha", 1.0) * (B if node.attribute("transB", 0) else B.T)
        C = self.graph.numbers(node, 2) if node.has_input(2) else np.zeros(1)
        self._affine(node, W, node.attribute("beta", 1.0) * C)

    def matmul(self, node: Node, slot: int) -> None:
        """Add the layer x B."""
        if slot == 1:
            raise ValueError(
                f"{node.label} has its constant on the left, so samples stand in columns; "
                "export a model that has them in rows"
            )
        self._affine(node, self._matrix(node, 1).T, np.zeros(1))

    def add(self, node: Node, slot: int) -> None:
        """Add c to x: the bias of the layer before it, or a shift of its own."""
        self._features_only(node)
        c = self._row(node, self.graph.numbers(node, 1 - slot))
        if self.steps and isinstance(self.steps[-1], Affine):
            last = self.steps[-1]
            self.steps[-1] = Affine(last.name, last.W, last.b + c)
        else:
            self.steps.append(Scale(node.label, np.ones_like(c), c))
            self.width = c.size

    def batch_normalization(self, node: Node, slot: int) -> None:
        """Scale and shift by the running statistics."""
        self._features_only(node)
        if node.attribute("training_mode", 0):
            raise ValueError(f"{node.label} is in training mode; export the model after model.eval()")
        gamma, beta, mean, variance = (self.graph.numbers(node, i) for i in range(1, 5))
        self.steps.append(
            batch_norm(node.label, gamma, beta, mean, variance, node.attribute("epsilon", 1e-5))
        )
        self.width = mean.size

    def relu(self, node: Node, slot: int) -> None:
        """Add a ReLU."""
        self.steps.append(Relu())

    def sigmoid(self, node: Node, slot: int) -> None:
        """End the network in a sigmoid."""
        self.steps.append(Ending(node.label, "sigmoid"))

    def softmax(self, node: Node, slot: int) -> None:
        """End the network in a softmax over the features.

        Before opset 13 the axis is 1 unless it is said, which is the last one too.
        """
        self._features_only(node)
        if node.attribute("axis", -1) not in (1, -1):
            raise ValueError(f"{node.label} goes over axis {node.attribute('axis', -1)}; it must be the last")
        self.steps.append(Ending(node.label, "softmax"))

    def cast(self, node: Node, slot: int) -> None:
        """Pass by another float type: here all is float64."""
        if node.attribute("to", 0) not in self.graph.float_types:
            raise ValueError(f"{node.label} makes numbers that are no floats; a network is made of floats")

    def dropout(self, node: Node, slot: int) -> None:
        """Pass by, as inference does."""
        if node.has_input(2) and np.any(self.graph.constant(node, 2)):
            raise ValueError(f"{node.label} is in training mode; export the model after model.eval()")

    def flatten(self, node: Node, slot: int) -> None:
        """Put features of several axes in a row, as the inputs of a network stand anyway."""
        axis = node.attribute("axis", 1)
        if axis != 1 and not (axis == -1 and self.rank == 2):
            raise ValueError(f"{node.label} flattens from axis {axis}; samples stay apart with axis 1 only")
        self._flattened()

    def reshape(self, node: Node, slot: int) -> None:
        """Flatten, which is all that a Reshape may do: samples stay apart, features stand in a row."""
        shape = self.graph.whole_numbers(node, 1)
        samples = {self.samples} if node.attribute("allowzero", 0) else {self.samples, 0}
        kept = len(shape) == 2 and (
            (shape[0] in samples and shape[1] in (-1, self.width)) or shape == (-1, self.width)
        )
        if not kept:
            raise ValueError(
                f"{node.label} to {shape} does more than flatten the features, or may do; use Flatten"
            )
        self._flattened()

    def identity(self, node: Node, slot: int) -> None:
        """Pass by."""

    def _affine(self, node: Node, W: Array, b: Array) -> None:
        self._features_only(node)
        self.width = len(W)
        self.steps.append(Affine(node.label, W, self._row(node, b)))

    def _matrix(self, node: Node, slot: int) -> Array:
        W = self.graph.numbers(node, slot)
        if W.ndim != 2:
            raise ValueError(f"{node.label} has weights of shape {W.shape}; they must be a matrix")
        return W

    def _row(self, node: Node, c: Array) -> Array:
        """Return a constant that is added to every sample as one number a feature."""
        if any(n != 1 for n in c.shape[:-1]) or c.ndim > 2:
            raise ValueError(
                f"{node.label} adds an array of shape {c.shape}; it must be one number a feature"
            )
        row = c.reshape(-1)
        if self.width is not None and row.size not in (1, self.width):
            raise ValueError(f"{node.label} adds {row.size} numbers to {self.width} features")
        return np.broadcast_to(row, self.width) if self.width is not None else row

    def _flattened(self) -> None:
        if self.rank is not None and self.rank > 2:
            self.notes.append("the axes of a sample stand flat, in C order: an input is one row of numbers")
        self.rank = 2

    def _features_only(self, node: Node) -> None:
        if self.rank is not None and self.rank != 2:
            raise ValueError(
                f"{node.label} works on {self.rank} axes; "
                "a network takes samples x features: put Flatten before it"
            )


OPERATORS = {
    "Gemm": Walk.gemm,
    "MatMul": Walk.matmul,
    "Add": Walk.add,
    "BatchNormalization": Walk.batch_normalization,
    "Relu": Walk.relu,
    "Sigmoid": Walk.sigmoid,
    "Softmax": Walk.softmax,
    "Cast": Walk.cast,
    "Dropout": Walk.dropout,
    "Flatten": Walk.flatten,
    "Reshape": Walk.reshape,
    "Identity": Walk.identity,
}
"""The operators that a chain may have."""
