"""The shapes that operators make, for arrays of which some sizes are open: a rule an operator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from sheafcli.interop.onnx_graph import Node
from sheafcli.interop.onnx_sizes import SAMPLES, Shape, Sizes, is_open, one_sample

MAX_RANK = 64
"""The most axes of an array, as NumPy has it."""


@dataclass(frozen=True)
class Application:
    """A node with what is known of its inputs: their shapes, and the values of those that are constant."""

    node: Node
    shapes: tuple[Shape | None, ...]
    constants: tuple[NDArray[Any] | None, ...]
    sizes: Sizes
    opset: int

    def shape(self, slot: int) -> Shape:
        """Return the shape of an input; Unknown if it is not known."""
        if not self.node.has_input(slot):
            raise ValueError(f"{self.node.label} lacks its input {slot}")
        shape = self.shapes[slot] if slot < len(self.shapes) else None
        if shape is None:
            raise Unknown
        return shape

    def axes(self, name: str, slot: int, since: int) -> list[int] | None:
        """Return a list of axes: an input since an operator set, an attribute before; None if not given."""
        if self.opset < since:
            return [int(n) for n in self.node.numbers(name)] if self.node.has(name) else None
        if not self.node.has_input(slot):
            return None
        return list(whole_numbers(self.node, self.constants[slot]))


class Unknown(Exception):
    """A shape cannot be told, as that of an input is not known."""


def shape_after(application: Application) -> Shape | None:
    """Return the shape of a node's first output, None if it is not known.

    Raises ValueError if the node cannot take what it is given, or does not keep samples apart.
    """
    node = application.node
    rule = RULES.get(node.kind)
    try:
        return None if rule is None else rule(application)
    except Unknown:
        return None


def shapes_after(application: Application) -> list[Shape | None]:
    """Return the shape of the first output, all that the rules here tell."""
    return [shape_after(application)]


def whole_numbers(node: Node, array: NDArray[Any] | None) -> Shape:
    """Return a constant of an integer type, a shape, as a tuple."""
    if array is None:
        raise Unknown
    if array.dtype.kind not in "iu":
        raise ValueError(f"{node.label} needs whole numbers, not {array.dtype}")
    if array.size > MAX_RANK:
        raise ValueError(f"{node.label} has more than {MAX_RANK} axes")
    return tuple(int(n) for n in array.ravel())


def in_range(node: Node, axis: int, rank: int) -> int:
    """Return an axis counted from the front."""
    if not -rank <= axis < rank:
        raise ValueError(f"{node.label} goes over axis {axis}, and its input has {rank}")
    return axis % rank


def _same(at: Application) -> Shape:
    return at.shape(0)


def _broadcast(at: Application) -> Shape:
    made: Shape = ()
    for slot in range(len(at.node.inputs)):
        if at.node.has_input(slot):
            made = _broadcast_two(at, made, at.shape(slot))
    return made


def _broadcast_two(at: Application, one: Shape, other: Shape) -> Shape:
    """Return the shape of two arrays that work together entry by entry, sizes of 1 being repeated."""
    rank = max(len(one), len(other))
    made = []
    for a, b in zip((1,) * (rank - len(one)) + one, (1,) * (rank - len(other)) + other, strict=True):
        if a == 1 or b == 1:
            made.append(b if a == 1 else a)
        elif at.sizes.equal(a, b):
            made.append(max(a, b))
        else:
            raise ValueError(
                f"{at.node.label} combines {_words(other)} with {_words(one)}, "
                + ("other numbers for each sample" if SAMPLES in (a, b) else "which do not fit together")
            )
    return tuple(made)


def _words(shape: Shape) -> str:
    """Return a shape as messages write it."""
    if not shape:
        return "one number"
    sizes = ("samples" if size == SAMPLES else "?" if is_open(size) else str(size) for size in shape)
    return " x ".join(sizes) if len(shape) > 1 else f"{next(sizes)} numbers"


def _gemm(at: Application) -> Shape:
    node = at.node
    one, other = at.shape(0), at.shape(1)
    for slot, shape in enumerate((one, other)):
        if len(shape) != 2:
            what = "weights" if at.constants[slot] is not None else "values"
            raise ValueError(
                f"{node.label} has {what} of {_words(shape)}; they must be a matrix"
                + ("" if what == "weights" else ", with Flatten before it")
            )
    one = one[::-1] if node.integer("transA", 0) else one
    other = other[::-1] if node.integer("transB", 0) else other
    return _multiplied(at, one, other)


def _matmul(at: Application) -> Shape:
    one, other = at.shape(0), at.shape(1)
    if not one or not other:
        raise ValueError(f"{at.node.label} multiplies a lone number; it works on vectors and matrices")
    made = _multiplied(at, one if len(one) > 1 else (1, *one), other if len(other) > 1 else (*other, 1))
    if len(one) == 1:
        made = made[:-2] + made[-1:]
    return made[:-1] if len(other) == 1 else made


def _multiplied(at: Application, one: Shape, other: Shape) -> Shape:
    if SAMPLES in (one[-1], other[-2]):
        raise ValueError(
            f"{at.node.label} adds up over the samples, which a network keeps apart; they are taken to lie "
            "along the first axis of the input, or along the only one whose size is left open"
        )
    if not at.sizes.equal(one[-1], other[-2]):
        raise ValueError(f"{at.node.label} takes {other[-2]} inputs, and is given {one[-1]}")
    return (*_broadcast_two(at, one[:-2], other[:-2]), one[-2], other[-1])


def _flatten(at: Application) -> Shape:
    shape, axis = at.shape(0), at.node.integer("axis", 1)
    if not -len(shape) <= axis <= len(shape):
        raise ValueError(f"{at.node.label} flattens from axis {axis}, and its input has {len(shape)}")
    cut = axis % len(shape) if axis < 0 else axis
    for source in (shape, one_sample(shape)) if at.sizes.batch in (1, None) else (shape,):
        rows, columns = (at.sizes.single(at.sizes.product(part)) for part in (source[:cut], source[cut:]))
        if rows is not None and columns is not None:
            return rows, columns
    raise ValueError(f"{at.node.label} flattens from axis {axis}; that does not keep samples apart")


def _reshape(at: Application) -> Shape:
    shape, target = at.shape(0), whole_numbers(at.node, at.constants[1])
    if not at.node.integer("allowzero", 0):
        if any(size == 0 and axis >= len(shape) for axis, size in enumerate(target)):
            raise ValueError(f"{at.node.label} keeps an axis that its input does not have")
        target = tuple(shape[axis] if size == 0 else size for axis, size in enumerate(target))
    made = at.sizes.reshaped(shape, target)
    if made is None:
        raise ValueError(
            f"{at.node.label} makes {_words(shape)} to {_words(target)}: it does more than flatten "
            "the features, or may do; export the model with torch.flatten(x, 1), Flatten or the like"
        )
    return made


def _squeeze(at: Application) -> Shape:
    shape = at.shape(0)
    given = at.axes("axes", 1, 13)
    if given is None:
        return tuple(size for size in shape if size != 1)
    axes = {in_range(at.node, axis, len(shape)) for axis in given}
    for axis in axes:
        lone = shape[axis] == 1 or (shape[axis] == SAMPLES and at.sizes.batch in (1, None))
        if not lone:
            raise ValueError(
                f"{at.node.label} takes away axis {axis} of {_words(shape)}; it must have size 1"
            )
    return tuple(size for axis, size in enumerate(shape) if axis not in axes)


def _unsqueeze(at: Application) -> Shape:
    shape = at.shape(0)
    given = at.axes("axes", 1, 13) or []
    rank = len(shape) + len(given)
    if rank > MAX_RANK:
        raise ValueError(f"{at.node.label} has more than {MAX_RANK} axes")
    axes = {in_range(at.node, axis, rank) for axis in given}
    rest = iter(shape)
    if len(axes) < len(given):
        raise ValueError(f"{at.node.label} puts in an axis twice")
    return tuple(1 if axis in axes else next(rest) for axis in range(rank))


def permutation(node: Node, rank: int) -> tuple[int, ...]:
    """Return the axes of a Transpose, in the order that it makes."""
    perm = tuple(int(n) for n in node.numbers("perm")) if node.has("perm") else tuple(range(rank))[::-1]
    if sorted(perm) != list(range(rank)):
        raise ValueError(f"{node.label} has perm {list(perm)[:9]}, which is no order of {rank} axes")
    return perm


def _transpose(at: Application) -> Shape:
    shape = at.shape(0)
    return tuple(shape[axis] for axis in permutation(at.node, len(shape)))


UNCHANGED = (
    *("Relu", "LeakyRelu", "Sigmoid", "Softmax", "LogSoftmax", "Log", "Neg", "Tanh", "Clip"),
    *("Cast", "CastLike", "Identity", "Dropout", "BatchNormalization", "ai.onnx.ml.Scaler"),
)

RULES: dict[str, Callable[[Application], Shape]] = {
    **dict.fromkeys(UNCHANGED, _same),
    **dict.fromkeys(("Add", "Sub", "Sum", "Mul", "Div", "Max", "Min", "PRelu"), _broadcast),
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Transpose": _transpose,
}
"""The rule of every operator whose shape can be told."""
