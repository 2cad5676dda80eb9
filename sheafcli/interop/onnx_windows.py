"""ONNX operators over images: pooling, padding, repetition and the exchange of channels and places."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sheafcli.core.operations import AveragePooling, MaxPooling, Mean, Pad, Slice, Transpose, Upsample
from sheafcli.interop.onnx_draft import Made, Site
from sheafcli.interop.onnx_graph import Node
from sheafcli.interop.onnx_shapes import in_range
from sheafcli.interop.onnx_sizes import Shape

Pairs = tuple[tuple[int, int], ...]


def window_padding(node: Node, kernel: Sequence[int], spatial: Shape) -> tuple[Shape, Shape, Pairs]:
    """Return stride, dilation and padding of the windows of a node over images of the size `spatial`."""
    axes = len(kernel)
    if len(spatial) != axes:
        raise ValueError(f"its windows have {axes} axes, and its images {len(spatial)}")
    stride, dilation = (
        tuple(int(n) for n in node.numbers(name)) or (1,) * axes for name in ("strides", "dilations")
    )
    pads = [int(n) for n in node.numbers("pads")] or [0] * (2 * axes)
    if len(stride) != axes or len(dilation) != axes or len(pads) != 2 * axes or min(stride) < 1:
        raise ValueError(f"its strides, dilations and pads must be {axes}, {axes} and {2 * axes} numbers")
    automatic = node.attribute("auto_pad") if node.has("auto_pad") else b"NOTSET"
    if automatic in (b"SAME_UPPER", b"SAME_LOWER"):
        pairs = []
        for n, k, s, d in zip(spatial, kernel, stride, dilation, strict=True):
            total = max(0, (math.ceil(n / s) - 1) * s + d * (k - 1) + 1 - n)
            less, more = total // 2, total - total // 2
            pairs.append((less, more) if automatic == b"SAME_UPPER" else (more, less))
        return stride, dilation, tuple(pairs)
    if automatic == b"VALID":
        return stride, dilation, ((0, 0),) * axes
    if max(pads) > max(d * k + n for n, d, k in zip(spatial, dilation, kernel, strict=True)):
        raise ValueError(
            f"its padding, {pads}, is wider than its windows, {list(kernel)}, and its images, "
            f"{list(spatial)}, together"
        )
    return stride, dilation, tuple(zip(pads[:axes], pads[axes:], strict=True))


def _kernel(at: Site) -> Shape:
    return tuple(int(n) for n in at.node.numbers("kernel_shape"))


def max_pool(at: Site) -> Made:
    """Return the largest entry of every window."""
    if any(at.node.outputs[1:]):
        raise ValueError(f"{at.node.label} gives the places of the maxima as well; the maxima alone are read")
    kernel = _kernel(at)
    x = at.images(len(kernel))
    stride, dilation, padding = window_padding(at.node, kernel, x.shape[1:])
    ceil = bool(at.node.integer("ceil_mode", 0))
    return at.make(MaxPooling(kernel, stride, padding, dilation, ceil), x)


def average_pool(at: Site) -> Made:
    """Return the mean of every window."""
    kernel = _kernel(at)
    x = at.images(len(kernel))
    stride, dilation, padding = window_padding(at.node, kernel, x.shape[1:])
    ceil, counted = (bool(at.node.integer(name, 0)) for name in ("ceil_mode", "count_include_pad"))
    return at.make(AveragePooling(kernel, stride, padding, dilation, ceil, counted), x)


def global_average(at: Site) -> Made:
    """Return the mean over all places, channel by channel."""
    x = at.images()
    return at.make(Mean(tuple(range(1 - len(x.shape), 0))), x)


def global_maximum(at: Site) -> Made:
    """Return the largest entry of every channel."""
    x = at.images()
    return at.make(MaxPooling(x.shape[1:]), x)


def reduced(at: Site) -> Made:
    """Return the mean, or the maximum, along some axes."""
    node, full = at.node, at.full()
    given = at.application.axes("axes", 1, 18)
    keep = bool(node.integer("keepdims", 1))
    if not given:
        if node.integer("noop_with_empty_axes", 0):
            return at.piece()
        given = list(range(len(full)))
    places = sorted({in_range(node, axis, len(full)) for axis in given})
    axes = tuple(at.axis(place) for place in places)
    x = at.piece()
    if node.op == "ReduceMean":
        y = at.make(Mean(axes), x)
    elif len(x.shape) > len(axes) and sorted(axes) == list(range(-len(axes), 0)) and len(axes) <= 3:
        flat = at.shaped(x, (math.prod(x.shape[: -len(axes)]), *x.shape[-len(axes) :]))
        y = at.make(MaxPooling(flat.shape[1:]), flat)
        y = at.shaped(y, (*x.shape[: -len(axes)], *(1,) * len(axes)))
    else:
        raise ValueError(f"{node.label} takes maxima along axes {given}; they must be the last of a sample")
    after = tuple(1 if i in places else size for i, size in enumerate(full))
    if keep:
        return y, after
    left = tuple(n for axis, n in zip(range(-len(y.shape), 0), y.shape, strict=True) if axis not in axes)
    after = tuple(size for i, size in enumerate(full) if i not in places)
    return at.shaped(y, left), after


def pad(at: Site) -> Made:
    """Return zeros around the values, or less than the values where widths are negative."""
    node, full = at.node, at.full()
    mode = node.attribute("mode") if node.has("mode") else b"constant"
    if mode != b"constant":
        raise ValueError(f"{node.label} pads by {mode.decode(errors='replace')}; zeros are read")
    if at.opset < 11:
        widths, value = [int(n) for n in node.numbers("pads")], node.number("value", 0.0)
    else:
        widths = [int(n) for n in at.constant(1).ravel()]
        value = float(at.constant(2).reshape(())) if node.has_input(2) else 0.0
    if value != 0.0:
        raise ValueError(f"{node.label} pads with {value:g}; zeros are read")
    axes = list(range(len(full)))
    if at.opset >= 18 and node.has_input(3):
        axes = [in_range(node, int(n), len(full)) for n in at.constant(3).ravel()]
    if len(widths) != 2 * len(axes):
        raise ValueError(f"{node.label} has {len(widths)} widths for {len(axes)} axes")
    x = at.piece()
    pairs = {}
    for axis, low, high in zip(axes, widths, widths[len(axes) :], strict=False):
        if low or high:
            pairs[at.axis(axis)] = (low, high)
    around = tuple(pairs.get(axis, (0, 0)) for axis in range(-len(x.shape), 0))
    if any(min(pair) < 0 for pair in around):
        cut = zip(x.shape, around, strict=True)
        x = at.make(Slice(tuple(slice(max(0, -low), n - max(0, -high)) for n, (low, high) in cut)), x)
    added = tuple((max(0, low), max(0, high)) for low, high in around)
    return at.make(Pad(added), x) if any(map(any, added)) else x


def resize(at: Site) -> Made:
    """Return every entry repeated a whole number of times along each axis."""
    node, full, x = at.node, at.full(), at.piece()
    mode = node.attribute("mode") if node.has("mode") else b"nearest"
    if mode != b"nearest":
        raise ValueError(f"{node.label} interpolates ({mode.decode(errors='replace')}); mode nearest is read")
    if node.op == "Upsample" and at.opset < 9:
        scales = list(node.numbers("scales"))
    elif node.has_input(3):
        sizes = at.constant(3).ravel()
        scales = [1.0 if n == have else n / have for n, have in zip(sizes, full, strict=False)]
    else:
        scales = [float(n) for n in at.constant(1 if at.opset < 11 else 2).ravel()]
    if node.has("axes"):
        places = [in_range(node, int(n), len(full)) for n in node.numbers("axes")]
        given = dict(zip(places, scales, strict=True))
        scales = [given.get(axis, 1.0) for axis in range(len(full))]
    if len(scales) != len(full):
        raise ValueError(f"{node.label} has {len(scales)} scales for {len(full)} axes")
    _check_nearest(node)
    factors = [1] * len(x.shape)
    for axis, scale in enumerate(scales):
        if scale != 1.0:
            factor = round(scale)
            if factor < 1 or abs(scale - factor) > 1e-6:
                raise ValueError(f"{node.label} resizes by {scale:g}; whole numbers from 1 on are read")
            factors[at.axis(axis)] = factor
    return at.make(Upsample(tuple(factors)), x) if max(factors) > 1 else x


def _check_nearest(node: Node) -> None:
    """Raise ValueError unless the entry that a place takes is the one whose copies stand there.

    Place i of an axis enlarged k times is to take entry floor(i / k).
    """
    if node.op == "Upsample":
        return
    way = (
        node.attribute("coordinate_transformation_mode")
        if node.has("coordinate_transformation_mode")
        else b"half_pixel"
    )
    rounded = node.attribute("nearest_mode") if node.has("nearest_mode") else b"round_prefer_floor"
    halves = way in (b"half_pixel", b"pytorch_half_pixel", b"half_pixel_symmetric") and rounded.startswith(
        b"round"
    )
    if not halves and not (way in (b"asymmetric", b"tf_half_pixel_for_nn") and rounded == b"floor"):
        raise ValueError(
            f"{node.label} takes the nearest entries by {way.decode(errors='replace')} and "
            f"{rounded.decode(errors='replace')}; export it with asymmetric and floor, or with half_pixel"
        )


def depth_to_space(at: Site) -> Made:
    """Return blocks of channels as blocks of places."""
    node, x = at.node, at.images()
    b = node.integer("blocksize", 1)
    c, h, w = _image(node, x.shape)
    if b < 1 or c % (b * b):
        raise ValueError(f"{node.label} makes blocks of {b} x {b} of {c} channels")
    if node.has("mode") and node.attribute("mode") == b"CRD":
        split, order = (c // (b * b), b, b, h, w), (-5, -2, -4, -1, -3)
    else:
        split, order = (b, b, c // (b * b), h, w), (-3, -2, -5, -1, -4)
    y = at.make(Transpose(order), at.shaped(x, split))
    y = at.shaped(y, (c // (b * b), h * b, w * b))
    return y, at.around(y)


def space_to_depth(at: Site) -> Made:
    """Return blocks of places as blocks of channels."""
    node, x = at.node, at.images()
    b = node.integer("blocksize", 1)
    c, h, w = _image(node, x.shape)
    if b < 1 or h % b or w % b:
        raise ValueError(f"{node.label} takes blocks of {b} x {b} of images of {h} x {w}")
    y = at.make(Transpose((-3, -1, -5, -4, -2)), at.shaped(x, (c, h // b, b, w // b, b)))
    y = at.shaped(y, (c * b * b, h // b, w // b))
    return y, at.around(y)


def _image(node: Node, shape: Shape) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise ValueError(f"{node.label} works on images of two axes, got a sample of shape {shape}")
    return shape[0], shape[1], shape[2]
