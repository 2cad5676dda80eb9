"""ONNX operators with weights, sums and products: each as the operations that it is.

Reference: onnx.ai, "ONNX Operators".
"""

from __future__ import annotations

import numpy as np

from sheafcli.core.operations import (
    Add,
    BatchNormalization,
    Convolution,
    Dense,
    LayerNormalization,
    MatrixProduct,
    Multiply,
    Scale,
    Subtract,
    Transpose,
)
from sheafcli.core.types import Array
from sheafcli.interop.onnx_draft import Made, Piece, Site
from sheafcli.interop.onnx_parts import Quotient, Unary
from sheafcli.interop.onnx_windows import window_padding


def gemm(at: Site) -> Made:
    """Return alpha A B + beta C, A or B the values."""
    node = at.node
    if at.node.has_input(2) and not at.is_constant(2):
        raise ValueError(f"{node.label} takes the values of the network as a parameter")
    slot = 1 if at.is_constant(0) else 0
    turned = [bool(node.integer(name, 0)) for name in ("transA", "transB")]
    factor = at.numbers(1 - slot)
    W = factor if turned[1 - slot] != (slot == 1) else factor.T
    along = int(turned[slot] != (slot == 0))  # the axis of the values that is summed over
    x = at.piece(slot)
    if len(x.shape) == 2 and along == 0:
        x = at.make(Transpose((-1, -2)), x)
    elif len(x.shape) == 1:
        at.axis(along, slot)
    alpha, beta = node.number("alpha", 1.0), node.number("beta", 1.0)
    W = W if alpha == 1.0 else np.asarray(alpha * W, dtype=W.dtype)
    bias = None
    if node.has_input(2):
        c = at.beside(2, len(at.made), at.samples_axis(at.made))
        bias = c if beta == 1.0 else np.asarray(beta * c, dtype=c.dtype)
    y = _dense(at, x, W, bias)
    return y if len(x.shape) == 1 or slot == 0 else at.make(Transpose((-1, -2)), y)


def matmul(at: Site) -> Made:
    """Return the product of matrices along the last two axes: a dense layer where one is constant."""
    ranks = [len(at.full(slot)) for slot in (0, 1)]
    if at.is_constant(1):
        W = at.numbers(1)
        if W.size == np.prod(W.shape[-2:], dtype=int):
            at.axis(-1)
            W = W.reshape(W.shape[-2:]) if W.ndim > 1 else W[:, None]
            return _reshaped(at, _dense(at, at.piece(), W.T, None))
    elif at.is_constant(0):
        W = at.numbers(0)
        if W.size == np.prod(W.shape[-2:], dtype=int):
            W = W.reshape(W.shape[-2:]) if W.ndim > 1 else W[None, :]
            x = at.piece(1)
            at.axis(-2 if ranks[1] > 1 else -1, 1)
            if len(x.shape) < 2 or at.draft.sizes.holds_samples(at.full(1)[-1]):
                return _reshaped(at, _dense(at, x, W, None))
            order = (*range(-len(x.shape), -2), -1, -2)
            y = _dense(at, at.make(Transpose(order), x), W, None)
            return _reshaped(at, at.make(Transpose(order), y))
    if min(ranks) < 2:
        raise ValueError(f"{at.node.label} multiplies values of the network as vectors; matrices are read")
    samples = at.samples_axis(at.made)
    if samples is not None and samples >= len(at.made) - 2:
        raise ValueError(f"{at.node.label} brings the samples together")
    return at.make(MatrixProduct(), *(at.aligned(slot, len(at.made), samples) for slot in (0, 1)))


def convolution(at: Site) -> Made:
    """Return the correlation of images with a kernel."""
    node, weight = at.node, at.numbers(1)
    x = at.images(weight.ndim - 2)
    kernel = weight.shape[2:]
    stride, dilation, padding = window_padding(node, kernel, x.shape[1:])
    bias = at.numbers(2) if node.has_input(2) else None
    groups = node.integer("group", 1)
    return at.make(Convolution(weight, bias, stride, padding, dilation, groups), x)


def batch_normalization(at: Site) -> Made:
    """Return the normalisation by the statistics that the file holds, along axis 1."""
    node = at.node
    if node.integer("training_mode", 0) or any(node.outputs[1:]):
        raise ValueError(f"{node.label} is in training mode; export the model after model.eval()")
    if not node.integer("spatial", 1):
        raise ValueError(
            f"{node.label} has statistics for every place of an image; those of channels are read"
        )
    x = at.piece()
    if len(at.full()) < 2 or at.axis(1) != -len(x.shape):
        raise ValueError(f"{node.label} works along axis 1, which must be the first of a sample")
    factor, offset, mean, variance = (at.numbers(slot) for slot in range(1, 5))
    epsilon = node.number("epsilon", 1e-5)
    return at.make(BatchNormalization(factor, offset, mean, variance, epsilon), x)


def layer_normalization(at: Site) -> Made:
    """Return the normalisation by a sample's own mean and variance along the last axes."""
    node, x = at.node, at.piece()
    if any(node.outputs[1:]):
        raise ValueError(f"{node.label} gives its statistics as well; the normalised values alone are read")
    axes = -at.axis(node.integer("axis", -1))
    shape = x.shape[-axes:]
    offset = np.broadcast_to(at.numbers(2), shape) if node.has_input(2) else None
    factor = np.broadcast_to(at.numbers(1), shape)
    return at.make(LayerNormalization(factor, offset, node.number("epsilon", 1e-5)), x)


def instance_normalization(at: Site) -> Made:
    """Return the normalisation of every channel by its own mean and variance, then a scale by channel."""
    x = at.images()
    flat = at.shaped(x, (x.shape[0], int(np.prod(x.shape[1:]))))
    ones = np.ones(flat.shape[1:])
    normal = at.make(LayerNormalization(ones, None, at.node.number("epsilon", 1e-5)), flat)
    by_channel = (-1, *(1,) * (len(x.shape) - 1))
    factor, offset = (at.numbers(slot).reshape(by_channel) for slot in (1, 2))
    return at.make(Scale(factor, offset), at.shaped(normal, x.shape))


def add(at: Site) -> Made:
    """Return the sum of values; a constant is an offset."""
    slots = [slot for slot in range(len(at.node.inputs)) if at.node.has_input(slot)]
    constant = [slot for slot in slots if at.is_constant(slot)]
    if len(slots) == 2 and len(constant) == 1:
        return _scaled(at, 1 - constant[0], None, _beside(at, constant[0]))
    if len(slots) == 1:
        return at.piece()
    return at.make(Add(), *(_aligned(at, slot) for slot in slots))


def subtract(at: Site) -> Made:
    """Return the difference; a constant is an offset."""
    if at.is_constant(1):
        return _scaled(at, 0, None, -_beside(at, 1))
    if at.is_constant(0):
        return _scaled(at, 1, np.full((), -1.0), _beside(at, 0))
    return at.make(Subtract(), _aligned(at, 0), _aligned(at, 1))


def multiply(at: Site) -> Made:
    """Return the product entry by entry; a constant is a factor."""
    for slot in (0, 1):
        if at.is_constant(slot):
            return _scaled(at, 1 - slot, _beside(at, slot), None)
    return at.make(Multiply(), _aligned(at, 0), _aligned(at, 1))


def divide(at: Site) -> Made:
    """Return the quotient; a constant below is a factor."""
    if at.is_constant(1):
        with np.errstate(divide="ignore"):
            factor = 1.0 / _beside(at, 1)
        if not np.isfinite(factor).all():
            raise ValueError(f"{at.node.label} holds NaN or infinite numbers; a network needs finite ones")
        return _scaled(at, 0, factor, None)
    if at.is_constant(0):
        below = at.make(Unary("1 / x", lambda x: 1.0 / x), at.piece(1))
        return at.make(Scale(_beside(at, 0)), below)
    return at.make(Quotient(), _aligned(at, 0), _aligned(at, 1))


def negative(at: Site) -> Made:
    """Return -x."""
    return at.make(Scale(np.full((), -1.0)), at.piece())


def scaler(at: Site) -> Made:
    """Return (x - offset) scale, as scikit-learn's scalers are written."""
    offset, scale = (
        np.array(at.node.numbers(name) or [default]) for name, default in (("offset", 0.0), ("scale", 1.0))
    )
    return at.make(Scale(scale, -offset * scale), at.piece())


def _dense(at: Site, x: Piece, W: Array, bias: Array | None) -> Piece:
    if bias is None:
        return at.make(Dense(W), x)
    lengths = bias.shape[:-1]
    if bias.ndim and any(n != 1 for n in lengths):
        return at.make(Add(), at.make(Dense(W), x), at.fixed(bias))
    return at.make(Dense(W, np.broadcast_to(bias.reshape(-1), (len(W),))), x)


def _reshaped(at: Site, y: Piece) -> Piece:
    """Return what a product of matrices and vectors makes, without the axes that vectors lack."""
    rank = len(at.made) - (at.samples_axis(at.made) is not None)
    if len(y.shape) > rank:
        return at.shaped(y, tuple(n for n in y.shape if n != 1) or (1,))
    return y


def _beside(at: Site, slot: int) -> Array:
    """Return a constant that meets what comes out, without leading axes of length 1."""
    array = at.beside(slot, len(at.made), at.samples_axis(at.made))
    return array.reshape(()) if array.size == 1 else array


def _aligned(at: Site, slot: int) -> Piece:
    return at.aligned(slot, len(at.made), at.samples_axis(at.made))


def _scaled(at: Site, slot: int, factor: Array | None, offset: Array | None) -> Piece:
    """Return factor x + offset; where the constant has more entries than x, by a vertex of its own."""
    x = _aligned(at, slot)
    array = factor if offset is None else offset
    assert array is not None
    if not array.ndim or all(n in (1, m) for n, m in zip(array.shape, x.shape, strict=True)):
        return at.make(Scale(factor, offset), x)
    x = x if factor is None or offset is None else at.make(Scale(factor), x)
    constant = at.fixed(array)
    return at.make(Multiply() if offset is None else Add(), x, constant)
