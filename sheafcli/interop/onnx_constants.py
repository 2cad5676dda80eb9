"""Nodes whose inputs are all known, evaluated: within bounds, by the reference implementation of ONNX.

`onnx.reference` computes with NumPy and runs nothing of the file's own. What it is asked to do is limited
to operators that are listed here, which hold no graphs of their own, and to results whose size is checked
before they are made.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sheafcli.interop.onnx_graph import Node
from sheafcli.interop.onnx_tensors import Tensors

Constant = NDArray[Any]

MOVING = ("Identity", "Gather", "Slice", "Concat", "Squeeze", "Unsqueeze", "Reshape", "Transpose", "Split")
"""Operators whose results hold nothing but entries of their inputs, each as it is."""

ENTRYWISE = (
    *("Abs", "Add", "And", "Cast", "CastLike", "Ceil", "Clip", "DequantizeLinear", "Div", "Equal", "Exp"),
    *(
        "Floor",
        "Greater",
        "Less",
        "Log",
        "Max",
        "Min",
        "Mod",
        "Mul",
        "Neg",
        "Not",
        "Or",
        "Pow",
        "QuantizeLinear",
    ),
    *("Reciprocal", "Round", "Sign", "Sqrt", "Sub", "Where"),
)
"""Operators that work entry by entry, on arrays that are broadcast against each other."""

REDUCING = tuple(f"Reduce{kind}" for kind in ("L1", "L2", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare"))

EVALUATED = {
    *MOVING,
    *ENTRYWISE,
    *REDUCING,
    *("Constant", "ConstantOfShape", "Expand", "Flatten", "Gemm", "MatMul", "Range", "Shape", "Size", "Tile"),
}
"""The operators that are evaluated."""

FREE_ENTRIES = 2**24
"""So many entries may be computed, and kept, whatever the file holds."""

WORK = 64
"""How often all entries that may be kept may be passed over, in all."""

SINCE = {"DequantizeLinear": 19, "CastLike": 15, "QuantizeLinear": 10}
"""The oldest version of an operator that `onnx.reference` has, where newer ones do all that older ones do."""


class TooMuch(ValueError):
    """Constants that would take far more room or time than the file does."""


@dataclass
class Budget:
    """What has been computed: `kept` entries that are still there, `passed` ones gone over to make them."""

    kept: int = 0
    passed: int = 0

    def take(self, node: Node, entries: int, work: int, held: int) -> None:
        """Count what a node needs; ValueError if that is too much for a file that holds so many entries."""
        self.kept += entries
        self.passed += work
        room = 2 * max(FREE_ENTRIES, held)
        if self.kept > room or self.passed > WORK * room:
            raise TooMuch(
                f"{node.label} would compute {entries:,} numbers from constants, far more than "
                "the file holds; write them into it"
            )


@dataclass
class Evaluator:
    """Evaluates single nodes of a graph of one operator set."""

    opset: int
    tensors: Tensors
    onnx: Any
    budget: Budget = field(default_factory=Budget)

    def results(self, node: Node, inputs: list[Constant | None]) -> list[Constant]:
        """Return the outputs of a node whose inputs are known, None where one is not given.

        ValueError if it cannot be computed, or is too large.
        """
        if node.op == "Constant":
            return [self._constant(node)]
        if any(attribute.t.data_location for attribute in node.proto.attribute):
            raise ValueError(f"{node.label} has an attribute in another file")
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                entries, work = needs(node, [array for array in inputs if array is not None])
                self.budget.take(node, entries, work, self.tensors.held)
                made = self._reference(node, inputs)
        except TooMuch:
            raise
        except Exception as error:  # whatever NumPy says of arrays that do not fit together
            raise ValueError(f"{node.label} cannot be computed from its constants: {error}") from error
        if not all(isinstance(array, np.ndarray | np.generic) for array in made):
            raise ValueError(f"{node.label} makes no arrays of numbers")
        return [np.asarray(array) for array in made]

    def _reference(self, node: Node, inputs: list[Constant | None]) -> list[Any]:
        names = [f"x{slot}" if array is not None else "" for slot, array in enumerate(inputs)]
        proto = self.onnx.NodeProto()
        proto.CopyFrom(node.proto)
        del proto.input[:], proto.output[:]
        proto.input.extend(names)
        proto.output.extend(outputs := [f"y{slot}" for slot in range(len(node.outputs))])
        proto.domain = ""
        opset = self.onnx.helper.make_opsetid("", max(self.opset, SINCE.get(node.op, 0)))
        function = self.onnx.helper.make_function(
            "sheafcli", "one", list(filter(None, names)), outputs, [proto], [opset]
        )
        feeds = {name: array for name, array in zip(names, inputs, strict=True) if name}
        from onnx.reference import ReferenceEvaluator  # noqa: PLC0415

        return list(ReferenceEvaluator(function).run(None, feeds, attributes={}))

    def _constant(self, node: Node) -> Constant:
        for name, dtype in (
            ("value_float", np.float32),
            ("value_floats", np.float32),
            ("value_int", np.int64),
            ("value_ints", np.int64),
        ):
            if node.has(name):
                return np.array(node.attribute(name), dtype)
        value = node.attribute("value") if node.has("value") else None
        if not isinstance(value, self.onnx.TensorProto):
            raise ValueError(f"{node.label} holds no array of numbers")
        return self.tensors.array(value)


def needs(node: Node, inputs: list[Constant]) -> tuple[int, int]:
    """Return how many entries a node's outputs have at most, and how many it passes over to make them."""
    given = sum(array.size for array in inputs)
    match node.op:
        case "ConstantOfShape":
            entries = math.prod(int(n) for n in inputs[0].ravel())
        case "Expand":
            entries = _broadcast(inputs[0].shape, tuple(int(n) for n in inputs[1].ravel()))
        case "Tile":
            entries = inputs[0].size * math.prod(int(n) for n in inputs[1].ravel())
        case "Range":
            start, limit, step = (float(array) for array in inputs)
            entries = max(0, math.ceil((limit - start) / step))
        case "Gather":
            axis = inputs[0].shape[node.integer("axis", 0)]
            entries = inputs[0].size // max(axis, 1) * inputs[1].size
        case "MatMul" | "Gemm":
            one, other = (array.size for array in inputs[:2])
            shared = inputs[0].shape[0 if node.integer("transA", 0) else -1]
            entries = one * other // max(shared, 1) ** 2
            return entries, given + entries * max(shared, 1) // 64  # a product is done 64 times as fast
        case op if op in ENTRYWISE and op not in ("DequantizeLinear", "QuantizeLinear"):
            entries = _broadcast(*(array.shape for array in inputs))
        case _:
            entries = given
    return entries, given + entries


def _broadcast(*shapes: tuple[int, ...]) -> int:
    """Return how many entries arrays of these shapes have together, an upper bound of it."""
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    return math.prod(max(sizes) for sizes in zip(*padded, strict=True))
