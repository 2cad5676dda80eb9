"""The columns of a table as inputs of an ONNX graph: what is done to them becomes operators.

Every column is an input of its own, samples x 1, called as in the table: quantities are doubles, of which
NaN is a missing value, and everything else is text, of which "" is one. What a text stands for is looked up
in a table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.types import Array
from sheafcli.interop.contents import library

OUTPUT, NETWORK, PREFIX = "output", "input", "network."
LEARNT = "ai.onnx.ml"
LEARNT_OPSET = 2


@dataclass(frozen=True)
class Quantity:
    """A column of numbers x: (x - mean) / scale, 0 where the scale is 0.

    A missing one is `fill` before that, unless it is None; with `marks` one more input is 1 where it is
    missing.
    """

    name: str
    mean: float
    scale: float
    fill: float | None
    marks: bool


@dataclass(frozen=True)
class Lookup:
    """A column of texts: the inputs that each known one stands for, and what all others stand for."""

    name: str
    rows: Mapping[str, Sequence[float]]
    otherwise: Sequence[float]


def with_table(
    content: bytes, columns: Sequence[Quantity | Lookup], means: Sequence[float], scales: Sequence[float]
) -> bytes:
    """Return the file of a network that takes the columns of a table in place of its own input.

    Outputs are multiplied by `scales` and shifted by `means`, if there are any. ValueError if two names
    clash.
    """
    onnx = library("onnx", "onnx", "writing .onnx files")
    model = onnx.load_from_string(content)
    names = [column.name for column in columns]
    if OUTPUT in names or len(set(names)) < len(names):
        raise ValueError(
            f"a column called {OUTPUT!r}, or two of one name, cannot be inputs beside the output of that "
            "name; "
            "rename it and train again, or write the network alone with --network-only"
        )
    model = onnx.compose.add_prefix(model, PREFIX)
    network = PREFIX + NETWORK
    graph = model.graph
    kind = graph.input[0].type.tensor_type.elem_type
    writer = _Writer(onnx)
    blocks = [writer.column(f"table.{at}", column) for at, column in enumerate(columns)]
    joined = writer.add("Concat", blocks, "table", axis=1)
    shape = [d.dim_value for d in graph.input[0].type.tensor_type.shape.dim][1:]
    flat = writer.add("Cast", [joined], "table.cast" if len(shape) > 1 else network, to=kind)
    if len(shape) > 1:
        writer.add("Reshape", [flat, writer.tensor("table.shape", np.array([-1, *shape]))], network)
    tail = _Writer(onnx)
    last = PREFIX + OUTPUT
    if len(scales):
        as_kind = onnx.helper.tensor_dtype_to_np_dtype(kind)
        scaled = tail.add(
            "Mul", [last, tail.tensor("target.scales", np.array(scales, as_kind))], "target.scaled"
        )
        tail.add("Add", [scaled, tail.tensor("target.means", np.array(means, as_kind))], OUTPUT)
    else:
        tail.add("Identity", [last], OUTPUT)
    result = graph.output[0]
    result.name = OUTPUT
    made = onnx.helper.make_graph(
        [*writer.nodes, *graph.node, *tail.nodes],
        "sheafcli",
        writer.inputs,
        [result],
        [*writer.tensors, *graph.initializer, *tail.tensors],
    )
    opsets = [*model.opset_import, onnx.helper.make_opsetid(LEARNT, LEARNT_OPSET)]
    whole = onnx.helper.make_model(
        made, producer_name="sheafcli", opset_imports=opsets, ir_version=model.ir_version
    )
    file: bytes = whole.SerializeToString()
    return file


@dataclass
class _Writer:
    """Collects nodes, tensors and inputs."""

    onnx: Any
    nodes: list[Any] = field(default_factory=list)
    tensors: list[Any] = field(default_factory=list)
    inputs: list[Any] = field(default_factory=list)

    def add(self, operator: str, inputs: Sequence[str], output: str, **options: Any) -> str:
        """Add a node and return the name of its value."""
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, [output], name=output, **options))
        return output

    def tensor(self, name: str, array: NDArray[Any]) -> str:
        """Add a tensor and return its name."""
        self.tensors.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def column(self, name: str, column: Quantity | Lookup) -> str:
        """Add a column's input and what is done to it; return the name of its inputs of the network."""
        kind = self.onnx.TensorProto.DOUBLE if isinstance(column, Quantity) else self.onnx.TensorProto.STRING
        self.inputs.append(self.onnx.helper.make_tensor_value_info(column.name, kind, ["samples", 1]))
        return self._quantity(name, column) if isinstance(column, Quantity) else self._lookup(name, column)

    def _quantity(self, name: str, column: Quantity) -> str:
        at = column.name
        if column.marks or column.fill is not None:
            missing = self.add("IsNaN", [at], f"{name}.missing")
        if column.fill is not None:
            at = self.add("Where", [missing, self._number(f"{name}.fill", column.fill), at], f"{name}.filled")
        if column.scale:
            shifted = self.add("Sub", [at, self._number(f"{name}.mean", column.mean)], f"{name}.shifted")
            at = self.add("Div", [shifted, self._number(f"{name}.scale", column.scale)], f"{name}.scaled")
        else:
            at = self.add("Mul", [at, self._number(f"{name}.zero", 0.0)], f"{name}.scaled")
        if not column.marks:
            return at
        mark = self.add("Cast", [missing], f"{name}.mark", to=self.onnx.TensorProto.DOUBLE)
        return self.add("Concat", [at, mark], f"{name}.marked", axis=1)

    def _number(self, name: str, value: float) -> str:
        return self.tensor(name, np.array([[value]], dtype=np.float64))

    def _lookup(self, name: str, column: Lookup) -> str:
        rows: Array = np.array([*column.rows.values(), column.otherwise], dtype=np.float64)
        self.nodes.append(
            self.onnx.helper.make_node(
                "LabelEncoder",
                [column.name],
                [f"{name}.place"],
                name=f"{name}.place",
                domain=LEARNT,
                keys_strings=list(column.rows),
                values_int64s=list(range(len(column.rows))),
                default_int64=len(column.rows),
            )
        )
        block = self.add(
            "Gather", [self.tensor(f"{name}.rows", rows), f"{name}.place"], f"{name}.found", axis=0
        )
        shape = self.tensor(f"{name}.shape", np.array([-1, rows.shape[1]]))
        return self.add("Reshape", [block, shape], f"{name}.inputs")
