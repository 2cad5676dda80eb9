"""Quantised ONNX graphs: which values are integers, and what real numbers they stand for.

ONNX Runtime's quantisation (onnxruntime.quantization) writes a graph in one of three ways. In QDQ a value is
rounded to its steps by QuantizeLinear and read through DequantizeLinear. With quantised operators
(QLinearConv, QGemm, ...) integers go from one to the next. Dynamic quantisation rounds what a layer reads
inside that layer. Integers q stand for (q - zero point) scale; which scale a value has, its maker says.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"

# Which inputs of an operator are the scale and the zero point of its integers.
SCALES = {
    QUANTIZE: (1, 2),
    "QLinearConcat": (0, 1),
    "QLinearLeakyRelu": (3, 4),
    "QLinearSigmoid": (3, 4),
    "QLinearSoftmax": (3, 4),
    "QLinearAveragePool": (3, 4),
    "QLinearGlobalAveragePool": (3, 4),
    "QLinearConv": (6, 7),
    "QLinearMatMul": (6, 7),
    "QLinearAdd": (6, 7),
    "QLinearMul": (6, 7),
    "QLinearWhere": (7, 8),
    "QGemm": (7, 8),
}
DYNAMIC = ("DynamicQuantizeLinear", "MatMulInteger", "ConvInteger")
# What gives integers on as they are, by the scale that they came with.
PASSED = (
    *("MaxPool", "Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze"),
    *("Slice", "Gather", "Identity", "Split", "Pad", "Resize"),
)

_ENDING = re.compile(r"(_quantized)?_DequantizeLinear_Output(_\d+)?$")


def is_quantised(model: Any) -> bool:
    """Return whether an ONNX model computes in integers anywhere."""
    kinds = {node.op_type for node in model.graph.node}
    return bool(kinds & {*SCALES, *DYNAMIC})


def rounded_value(name: str) -> str | None:
    """Return the value that one read through DequantizeLinear was before; None where it is no such."""
    found = _ENDING.search(name)
    return name[: found.start()] if found else None


def read_through_steps(model: Any, onnx: Any) -> set[str]:
    """Add to a model the real values of its integers, and return which values stand for no vertex.

    An added one is called Q_DequantizeLinear_Output, as in QDQ. A value that is read both as it is and
    rounded stays as it is: then the rounding is counted to the operations that read it so.
    """
    nodes = list(model.graph.node)
    readers: defaultdict[str, list[Any]] = defaultdict(list)
    for node in nodes:
        for name in node.input:
            readers[name].append(node)
    values = {name for node in nodes for name in node.output}
    scales: dict[str, tuple[str, ...]] = {}
    mixed: set[str] = set()
    for node in nodes:
        scale = _scale(node, scales)
        if scale is not None:
            scales |= dict.fromkeys(node.output, scale)
        if node.op_type == QUANTIZE and any(other.op_type != QUANTIZE for other in readers[node.input[0]]):
            mixed |= set(node.output)
    left_out = {
        name
        for node in nodes
        if node.op_type == DEQUANTIZE and node.input[0] in mixed
        for name in node.output
    }
    for name, scale in scales.items():
        real = f"{name}_DequantizeLinear_Output"
        is_read = any(node.op_type == DEQUANTIZE for node in readers[name])
        if name not in mixed and not is_read and real not in values:
            model.graph.node.append(onnx.helper.make_node(DEQUANTIZE, [name, *scale], [real]))
    return left_out


def _scale(node: Any, scales: Mapping[str, tuple[str, ...]]) -> tuple[str, ...] | None:
    """Return the names of the scale and the zero point of what a node makes; None where it has none."""
    if node.op_type in SCALES:
        slots = [node.input[slot] for slot in SCALES[node.op_type] if slot < len(node.input)]
        given = tuple(name for name in slots if name)
        return given or None
    if node.op_type in PASSED:
        return scales.get(node.input[0])
    return None
