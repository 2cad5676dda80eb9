"""Whether an ONNX graph scales its inputs itself, before its first layer."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from sheafcli.interop.onnx_graph import Node
from sheafcli.interop.onnx_values import Values

SHIFTS, FACTORS = ("Add", "Sub"), ("Mul", "Div")
LAYERS = ("Gemm", "MatMul")
RELUS = ("Relu", "LeakyRelu", "PRelu")


def scales_inputs(way: Iterable[tuple[Node, int]], values: Values) -> bool:
    """Tell whether the graph shifts or scales its raw input by constants before its first layer.

    `way` are the nodes from the input on, each with the slot that the values come through. Evidence of a
    scaler is, before any Gemm or MatMul, a Scaler, Add, Sub, Mul or Div with a shift that is not 0 or a
    factor that is not 0, 1 or -1: those leave inputs out, or turn them, and scale none. BatchNormalization
    is no evidence: it is trained as a layer, on data however scaled. Nor is what goes straight into a ReLU:
    that is a layer too, with a diagonal matrix.
    """
    evidence = False
    for node, slot in way:
        if node.kind in LAYERS:
            return evidence
        if node.kind in RELUS:
            return False
        evidence = evidence or _moves(node, slot, values)
    return False


def _moves(node: Node, slot: int, values: Values) -> bool:
    """Tell whether a node shifts or scales what it is given."""
    if node.kind == "ai.onnx.ml.Scaler":
        return bool(np.any(node.numbers("offset")) or _scales(node.numbers("scale")))
    if node.kind in SHIFTS:
        return bool(np.any(values.constants[node.inputs[1 - slot]]))
    return node.kind in FACTORS and _scales(values.constants[node.inputs[1 - slot]])


def _scales(factors: object) -> bool:
    return not np.all(np.isin(np.abs(np.asarray(factors, np.float64)), (0.0, 1.0)))
