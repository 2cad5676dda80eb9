"""ONNX operators that work entry by entry, and softmax: each as the operation that it is."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import scipy

from sheafcli.core.operation import Operation
from sheafcli.core.operations import (
    ELU,
    GELU,
    Abs,
    Clip,
    HardSigmoid,
    HardSwish,
    LeakyReLU,
    Multiply,
    PReLU,
    ReLU,
    Scale,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
    TanhGELU,
)
from sheafcli.core.types import Array
from sheafcli.interop.onnx_draft import Made, Site
from sheafcli.interop.onnx_graph import Node
from sheafcli.interop.onnx_parts import Unary
from sheafcli.interop.onnx_recognise import LOGARITHM
from sheafcli.interop.onnx_refusals import not_covered
from sheafcli.interop.onnx_shapes import in_range

SIMPLE: dict[str, Callable[[Node], Operation]] = {
    "Abs": lambda node: Abs(),
    "Elu": lambda node: ELU(node.number("alpha", 1.0)),
    "HardSigmoid": lambda node: HardSigmoid(node.number("alpha", 0.2), node.number("beta", 0.5)),
    "HardSwish": lambda node: HardSwish(),
    "LeakyRelu": lambda node: LeakyReLU(node.number("alpha", 0.01)) if node.number("alpha", 0.01) else ReLU(),
    "Relu": lambda node: ReLU(),
    "Sigmoid": lambda node: Sigmoid(),
    "Softplus": lambda node: Softplus(),
    "Tanh": lambda node: Tanh(),
}
"""Operators that are one operation each."""

FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "Erf": lambda x: np.asarray(scipy.special.erf(x)),
    "Exp": np.exp,
    LOGARITHM: np.log,
    "Reciprocal": lambda x: 1.0 / x,
    "Sqrt": np.sqrt,
}
"""Operators that are part of an activation or a normalisation that the exporter has taken apart."""


def simple(at: Site) -> Made:
    """Return the one operation that a node is."""
    return at.make(SIMPLE[at.node.op](at.node), at.piece())


def function(at: Site) -> Made:
    """Return a part of an operation, which has to be put together with others."""
    return at.make(Unary(at.node.op, FUNCTIONS[at.node.op]), at.piece())


def power(at: Site) -> Made:
    """Return a constant power of the values; the square is a product."""
    exponent = at.scalar(1, "exponent", None)
    if exponent is None:
        raise ValueError(f"{at.node.label} lacks its input 1")
    x = at.piece()
    if exponent == 2.0:
        return at.make(Multiply(), x, x)
    if exponent == 1.0:
        return x
    return at.make(Unary(f"x^{exponent:g}", lambda x: np.power(x, exponent)), x)


def gelu(at: Site) -> Made:
    """Return GELU, or its approximation by a tangent."""
    node = at.node
    kind = node.attribute("approximate") if node.has("approximate") else b"none"
    return at.make(TanhGELU() if kind == b"tanh" else GELU(), at.piece())


def swish(at: Site) -> Made:
    """Return x times the sigmoid of alpha x, with alpha = 1."""
    if at.node.number("alpha", 1.0) != 1.0:
        raise ValueError(f"{at.node.label} has alpha {at.node.number('alpha', 1.0):g}; 1 is read")
    return at.make(SiLU(), at.piece())


def celu(at: Site) -> Made:
    """Return max(x, 0) + min(alpha (exp(x / alpha) - 1), 0), which is ELU for alpha = 1."""
    if at.node.number("alpha", 1.0) != 1.0:
        raise ValueError(not_covered(at.node, at.draft.operators))
    return at.make(ELU(), at.piece())


def selu(at: Site) -> Made:
    """Return gamma times ELU."""
    alpha, gamma = at.node.number("alpha", 1.6732632), at.node.number("gamma", 1.0507010)
    return at.make(Scale(np.full((), gamma)), at.make(ELU(alpha), at.piece()))


def p_relu(at: Site) -> Made:
    """Return ReLU with slopes below zero, which are constants."""
    if not at.is_constant(1):
        raise ValueError(f"{at.node.label} takes the values of the network as a parameter")
    slopes, x = at.beside(1, len(at.full()), at.samples_axis(at.full())), at.piece()
    return at.make(PReLU(slopes) if np.any(slopes) else ReLU(), x)


def clip(at: Site) -> Made:
    """Return the values between two bounds, of which there may be one, or none."""
    low, high = at.scalar(1, "min", None), at.scalar(2, "max", None)
    return _between(at, 0, low, high)


def bounded(at: Site) -> Made:
    """Return the larger or the smaller of the values and a constant."""
    slots = [slot for slot in (0, 1) if at.is_constant(slot)]
    if len(slots) != 1 or len(at.node.inputs) != 2:
        raise ValueError(f"{at.node.label} compares values of the network with each other; no operation does")
    bound = at.scalar(slots[0], "bound", None)
    low, high = (bound, None) if at.node.op == "Max" else (None, bound)
    return _between(at, 1 - slots[0], low, high)


def _between(at: Site, slot: int, low: float | None, high: float | None) -> Made:
    """Return the values bounded; a bound at the end of the type's range is none."""
    x = at.piece(slot)
    ends = (-3.3e38, 3.3e38)
    below = -math.inf if low is None or low <= ends[0] else low
    above = math.inf if high is None or high >= ends[1] else high
    if (below, above) == (-math.inf, math.inf):
        return x
    return at.make(ReLU() if (below, above) == (0.0, math.inf) else Clip(below, above), x)


def softmax(at: Site) -> Made:
    """Return softmax along an axis; before opset 13 over all axes from there on, 1 unless it is said."""
    node, full, x = at.node, at.full(), at.piece()
    first = in_range(node, node.integer("axis", -1 if at.opset >= 13 else 1), len(full))
    if at.opset >= 13:
        return at.make(Softmax(at.axis(first)), x)
    axes = [at.axis(axis) for axis in range(first, len(full))]
    if len(axes) == 1:
        return at.make(Softmax(axes[0]), x)
    flat = at.shaped(x, (*x.shape[: axes[0]], math.prod(x.shape[axes[0] :])))
    return at.shaped(at.make(Softmax(), flat), x.shape)


def log_softmax(at: Site) -> Made:
    """Return the logarithm of softmax, which a network has at its end only."""
    piece = softmax(at)
    assert not isinstance(piece, tuple | list)
    return at.make(Unary(LOGARITHM, np.log), piece)
