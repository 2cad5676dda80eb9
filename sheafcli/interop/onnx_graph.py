"""The graph of an ONNX file: its constants, and the one way from its input to its output."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sheafcli.interop.chain import Array


@dataclass(frozen=True, eq=False)
class Node:
    """One node; `label` is what messages call it, by its operator and its name or place in the file."""

    op: str
    domain: str
    label: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]

    def has_input(self, slot: int) -> bool:
        """Return whether an optional input is given; an empty name means that it is not."""
        return len(self.inputs) > slot and self.inputs[slot] != ""

    def attribute(self, name: str, default: float) -> float:
        """Return a numeric attribute, or its default where the node does not have it."""
        value = self.attributes.get(name, default)
        if not isinstance(value, int | float):
            raise ValueError(f"{self.label} has an attribute {name} that is no number")
        return value


class Graph:
    """The graph of an ONNX model, read with the library `onnx`; ValueError where it is not what we read."""

    def __init__(self, model: Any, onnx: Any):
        types = onnx.TensorProto
        self._onnx = onnx
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        self._nodes = [self._node(i, proto) for i, proto in enumerate(model.graph.node)]
        self._makers = {name: node for node in self._nodes for name in node.outputs if name}
        self._input = self._only("input", [i for i in model.graph.input if i.name not in self._tensors])
        self._output = self._only("output", list(model.graph.output)).name
        self.float_types = (types.FLOAT, types.DOUBLE, types.FLOAT16, types.BFLOAT16)
        self._other_types = (types.INT64, types.INT32, types.BOOL)

    @property
    def input_shape(self) -> tuple[int | None, ...] | None:
        """The sizes of the input's axes, None for a free one; None if the file does not tell their number."""
        kind = self._input.type.tensor_type
        if not kind.HasField("shape"):
            return None
        return tuple(axis.dim_value if axis.dim_value > 0 else None for axis in kind.shape.dim)

    def path(self) -> Iterator[tuple[Node, int]]:
        """Yield the nodes from the input to the output, each with the input slot through which one comes."""
        users: dict[str, list[tuple[Node, int]]] = {}
        for node in self._nodes:
            for slot, name in enumerate(node.inputs):
                users.setdefault(name, []).append((node, slot))
        at, seen = self._input.name, set[str]()
        while at != self._output or at in users:
            found = users.get(at, [])
            if len(found) != 1 or at == self._output:
                where = ", ".join(node.label for node, _ in found) or "nothing"
                where += ", and is the output" if at == self._output else ""
                raise ValueError(
                    f"the graph is no chain: {at!r} goes to {where}; "
                    "sheafcli reads networks whose layers stand one behind the other"
                )
            node, slot = found[0]
            if at in seen or not node.outputs:
                raise ValueError(f"the graph is no chain: it does not come out of {node.label}")
            seen.add(at)
            if any(name in users or name == self._output for name in node.outputs[1:]):
                raise ValueError(f"the graph is no chain: more than one output of {node.label} is used")
            yield node, slot
            at = node.outputs[0]

    def constant(self, node: Node, slot: int) -> NDArray[Any]:
        """Return what stands in an input of a node; ValueError if the file does not hold it as a constant."""
        if not node.has_input(slot):
            raise ValueError(f"{node.label} lacks its input {slot}")
        return self._value(node.inputs[slot], node, depth=0)

    def whole_numbers(self, node: Node, slot: int) -> tuple[int, ...]:
        """Return a constant of an integer type, a shape, as a tuple."""
        array = self.constant(node, slot)
        if array.dtype.kind not in "iu":
            raise ValueError(f"{node.label} needs whole numbers, not {array.dtype}")
        return tuple(int(n) for n in array.ravel())

    def numbers(self, node: Node, slot: int) -> Array:
        """Return a constant of a float type as float64."""
        array = self.constant(node, slot)
        if array.dtype.kind in "biu":
            raise ValueError(
                f"{node.label} has weights of type {array.dtype}; save the model in a float type"
            )
        return array.astype(np.float64)

    def _value(self, name: str, user: Node, depth: int) -> NDArray[Any]:
        if name in self._tensors:
            return self._array(self._tensors[name])
        maker = self._makers.get(name)
        if maker is None or depth > 8:
            raise ValueError(f"{user.label} needs {name!r}, which is not a constant of the file")
        if maker.op == "Constant":
            return self._constant(maker)
        if maker.op not in ("Identity", "Transpose") or not maker.has_input(0):
            raise ValueError(
                f"{user.label} needs {name!r}, which is computed by {maker.label}; fold constants first"
            )
        array = self._value(maker.inputs[0], user, depth + 1)
        if maker.op == "Identity":
            return array
        if maker.attributes.get("perm", [1, 0]) != [1, 0]:
            raise ValueError(f"{maker.label} does more than turn a matrix; fold constants first")
        return array.T

    def _constant(self, node: Node) -> NDArray[Any]:
        for name, dtype in (
            ("value_float", np.float32),
            ("value_floats", np.float32),
            ("value_int", np.int64),
            ("value_ints", np.int64),
        ):
            if name in node.attributes:
                return np.array(node.attributes[name], dtype)
        if not isinstance(node.attributes.get("value"), self._onnx.TensorProto):
            raise ValueError(f"{node.label} holds no array of numbers")
        return self._array(node.attributes["value"])

    def _array(self, tensor: Any) -> NDArray[Any]:
        if tensor.data_location == self._onnx.TensorProto.EXTERNAL:
            raise ValueError(
                f"the weights {tensor.name!r} are in another file (external data); write all into one with "
                "onnx.save(onnx.load(path), path, save_as_external_data=False)"
            )
        if tensor.data_type not in self.float_types + self._other_types:
            raise ValueError(
                f"the weights {tensor.name!r} are of a type that is no float; save them as floats"
            )
        try:
            array: NDArray[Any] = self._onnx.numpy_helper.to_array(tensor)
        except Exception as error:  # what NumPy says of content that is not as its shape and type announce
            raise ValueError(f"the weights {tensor.name!r} are not what they announce ({error})") from error
        return array

    def _node(self, place: int, proto: Any) -> Node:
        value_of = self._onnx.helper.get_attribute_value
        op = proto.op_type or "?"
        return Node(
            op=op,
            domain="" if proto.domain == "ai.onnx" else proto.domain,
            label=f"{op} {proto.name!r}" if proto.name else f"{op} (node {place})",
            inputs=tuple(proto.input),
            outputs=tuple(proto.output),
            attributes={attribute.name: value_of(attribute) for attribute in proto.attribute},
        )

    @staticmethod
    def _only(what: str, found: list[Any]) -> Any:
        if len(found) != 1:
            names = ", ".join(value.name for value in found) or "none"
            raise ValueError(f"a network has one {what}, the graph has {len(found)} ({names})")
        return found[0]
