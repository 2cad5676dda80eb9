"""The operators of ONNX that a chain may have, each as the steps that it is."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from sheafcli.core.types import Array
from sheafcli.interop.chain import Affine, Ending, NotAChain, Relu, Scale, Step, batch_norm
from sheafcli.interop.onnx_constants import FREE_ENTRIES, Constant
from sheafcli.interop.onnx_draft import SHORT
from sheafcli.interop.onnx_graph import Graph, Node
from sheafcli.interop.onnx_refusals import not_covered
from sheafcli.interop.onnx_shapes import in_range, permutation
from sheafcli.interop.onnx_sizes import SAMPLES, Shape, count, features, is_open, sample_axis
from sheafcli.interop.onnx_values import Values

NO_BOUND, NO_HALF_BOUND = 3.3e38, 6.5e4
"""Bounds of Clip that are larger, or larger in 16 bits, bound nothing: they are the ends of the type."""


class Steps:
    """The steps of the nodes that are added one by one, each behind the one before.

    `before` and `after` are the shapes of what enters and leaves the node at hand. The numbers of one
    sample stand in C order, whatever their axes; axes of size 1 make no difference. `whole_numbers` says
    whether the values are integers, until a Cast makes them floats.
    """

    def __init__(self, graph: Graph, values: Values, entries: int, *, whole_numbers: bool):
        self.graph, self.values = graph, values
        self.room = 4 * max(FREE_ENTRIES, entries)
        self.steps: list[Step] = []
        self.notes: list[str] = []
        self.floats: dict[str, Array] = {}
        self.whole_numbers = whole_numbers
        self.before: Shape = ()
        self.after: Shape = ()

    @property
    def ended(self) -> bool:
        """Whether the output function has been met."""
        return bool(self.steps) and isinstance(self.steps[-1], Ending)

    def add_node(self, node: Node, slot: int) -> bool:
        """Add the steps of one node; return whether there are any."""
        operator = OPERATORS.get(node.kind)
        if operator is None or (node.kind == "Log" and not self.ended):
            raise NotAChain(not_covered(node, OPERATORS))
        for other, name in enumerate(node.inputs):
            if name and other != slot and name not in self.values.constants:
                raise self._no_constant(node, other)
        if slot != 0 and node.kind not in EITHER_SIDE:
            raise NotAChain(f"{node.label} takes the values of the network as a parameter")
        name = node.outputs[0]
        if name in self.values.refusals:
            raise NotAChain(self.values.refusals[name])
        if name not in self.values.shapes:
            raise NotAChain(f"the shape of what {node.label} gives cannot be told; export the model again")
        self.before, self.after = self.values.shapes[node.inputs[slot]], self.values.shapes[name]
        if SAMPLES in self.before and SAMPLES not in self.after and self.values.sizes.batch is None:
            self.notes.append(f"{node.label} is made for one sample at a time: the graph is read for one")
        known = len(self.steps), self.steps[-1:]
        operator(self, node, slot)
        return known != (len(self.steps), self.steps[-1:])

    def note_precision(self, kind: int) -> None:
        """Say once that the graph computes with fewer bits than the network here, if `kind` has so few."""
        if kind in self.graph.types.half_floats and SHORT not in self.notes:
            self.notes.append(SHORT)

    def _no_constant(self, node: Node, slot: int) -> ValueError:
        """Return why an input of a node is no constant."""
        name = node.inputs[slot]
        kind = NotAChain if name in self.values.varying else ValueError
        return kind(self._open(node, name))

    def _open(self, node: Node, name: str) -> str:
        if name in self.values.refusals:
            return self.values.refusals[name]
        maker = self.graph.makers.get(name)
        if maker is not None and name in self.values.varying:
            return (
                f"{node.label} needs {name!r}, which {maker.label} computes of the sizes of its input; "
                "export the model with torch.flatten(x, 1), Flatten or the like, which needs no sizes"
            )
        if maker is not None:
            return (
                f"{node.label} needs {name!r}, which is computed by {maker.label}; "
                "write what it computes into the file as an initializer"
            )
        if name in self.graph.sparse:
            return f"the weights {name!r} are sparse; write them into the file as a full matrix"
        return f"{node.label} needs {name!r}, which is not a constant of the file"

    # Constants ------------------------------------------------------------------------------

    def constant(self, node: Node, slot: int) -> Constant:
        """Return what stands in an input of a node."""
        if not node.has_input(slot):
            raise ValueError(f"{node.label} lacks its input {slot}")
        return self.values.constants[node.inputs[slot]]

    def numbers(self, node: Node, slot: int) -> Array:
        """Return a constant of a float type as float64."""
        array = self.constant(node, slot)
        name = node.inputs[slot]
        if array.dtype.kind in "biu":
            raise ValueError(
                f"{node.label} has weights of type {array.dtype}; save the model in a float type"
            )
        if name not in self.floats:
            self.floats[name] = array.astype(np.float64, copy=False)
        return self.floats[name]

    def _each_feature(self, node: Node, c: Array) -> Array:
        """Return a constant that meets every sample as one number a feature."""
        rank, axis = len(self.after), sample_axis(self.after)
        if c.ndim > rank:
            raise ValueError(f"{node.label} has an array of shape {c.shape}, and the values have {rank} axes")
        c = c.reshape((1,) * (rank - c.ndim) + c.shape)
        if axis is not None:
            if c.shape[axis] != 1:
                raise ValueError(f"{node.label} has other numbers for each sample; a network has the same")
            c = c.reshape(c.shape[:axis] + c.shape[axis + 1 :])
        sizes = features(self.after)
        if any(is_open(size) and n == 1 for size, n in zip(sizes, c.shape, strict=True)):
            raise ValueError(
                f"{node.label} works on values whose number the file leaves open; "
                "export the model with a fixed number of features"
            )
        sizes = tuple(n if is_open(size) else size for size, n in zip(sizes, c.shape, strict=True))
        if any(n not in (1, size) for size, n in zip(sizes, c.shape, strict=True)):
            raise NotAChain(f"{node.label} has {c.size} numbers for the {math.prod(sizes)} of a sample")
        self._spend(node, math.prod(sizes))
        return np.broadcast_to(c, sizes).reshape(-1)

    def _spend(self, node: Node, entries: int) -> None:
        """Take room for the arrays of a step; ValueError if the network is far larger than its file."""
        self.room -= entries
        if self.room < 0:
            raise ValueError(f"the network is far larger than the file: {node.label} has no room any more")

    # Layers ---------------------------------------------------------------------------------

    def gemm(self, node: Node, slot: int) -> None:
        """Add the layer alpha A B + beta C, with A or B the values and each transposed or not."""
        if slot == 2:
            raise ValueError(f"{node.label} takes the values of the network as a parameter")
        turned = [bool(node.integer(name, 0)) for name in ("transA", "transB")]
        factor = self.numbers(node, 1 - slot)
        W = factor if turned[1 - slot] != (slot == 1) else factor.T
        alpha = node.number("alpha", 1.0)
        W = W if alpha == 1.0 else alpha * W
        c = node.number("beta", 1.0) * self.numbers(node, 2) if node.has_input(2) else np.zeros(1)
        self._affine(node, W, c, axis=int(turned[slot] != (slot == 0)))

    def matmul(self, node: Node, slot: int) -> None:
        """Add the layer x B, or A x."""
        factor = self.numbers(node, 1 - slot)
        if any(size != 1 for size in factor.shape[:-2]):
            raise NotAChain(f"{node.label} has several matrices, {factor.shape}; a layer has one")
        if factor.ndim == 1:
            factor = factor[:, None] if slot == 0 else factor[None, :]
        factor = factor.reshape(factor.shape[-2:])
        if slot == 0:
            self._affine(node, factor.T, np.zeros(1), axis=len(self.before) - 1)
        else:
            self._affine(node, factor, np.zeros(1), axis=max(len(self.before) - 2, 0))

    def _affine(self, node: Node, W: Array, c: Array, axis: int) -> None:
        """Add a layer that works along one axis, which has to hold all features."""
        self._on_floats(node)
        others = self.before[:axis] + self.before[axis + 1 :]
        if any(size not in (1, SAMPLES) for size in others):
            raise NotAChain(
                f"{node.label} works on one of {len(features(self.before))} axes of a sample; "
                "a layer takes all its numbers in a row: put Flatten before it"
            )
        self._spend(node, W.size)
        b = self._each_feature(node, c)
        self.steps.append(Affine(node.label, W, b))

    def add(self, node: Node, slot: int) -> None:
        """Add c to x: the bias of the layer before it, or a shift of its own."""
        self._scale(node, np.ones(1), self.numbers(node, 1 - slot))

    def subtract(self, node: Node, slot: int) -> None:
        """Take c from x, or x from c."""
        c = self.numbers(node, 1 - slot)
        if slot == 0:
            self._scale(node, np.ones(1), -c)
        else:
            self._scale(node, -np.ones(1), c)

    def multiply(self, node: Node, slot: int) -> None:
        """Multiply x by c."""
        self._scale(node, self.numbers(node, 1 - slot), np.zeros(1))

    def divide(self, node: Node, slot: int) -> None:
        """Divide x by c."""
        if slot != 0:
            raise NotAChain(f"{node.label} divides by the values of the network; no layer does")
        self._scale(node, 1.0 / self.numbers(node, 1), np.zeros(1))

    def negative(self, node: Node, slot: int) -> None:
        """Change the sign."""
        self._scale(node, -np.ones(1), np.zeros(1))

    def scaler(self, node: Node, slot: int) -> None:
        """Standardise: (x - offset) scale, as scikit-learn's scalers are written, of any numbers."""
        self.whole_numbers = False
        offset, scale = (np.array(node.numbers(name) or [default]) for name, default in SCALER)
        self._scale(node, scale, -offset * scale)

    def batch_normalization(self, node: Node, slot: int) -> None:
        """Scale and shift by the running statistics, along axis 1."""
        if node.integer("training_mode", 0) or any(node.outputs[1:]):
            raise ValueError(f"{node.label} is in training mode; export the model after model.eval()")
        gamma, beta, mean, variance = (self.numbers(node, i) for i in range(1, 5))
        step = batch_norm(node.label, gamma, beta, mean, variance, node.number("epsilon", 1e-5))
        if len(self.after) < 2:
            raise ValueError(f"{node.label} works along axis 1, which its input does not have")
        shape = (-1,) + (1,) * (len(self.after) - 2)
        self._scale(node, step.scale.reshape(shape), step.shift.reshape(shape))

    def _scale(self, node: Node, scale: Array, shift: Array) -> None:
        self._on_floats(node)
        sizes = [count(shape) for shape in (self.before, self.after)]
        if None not in sizes and sizes[0] != sizes[1]:
            raise NotAChain(f"{node.label} makes {sizes[1]} numbers of {sizes[0]}; only a layer may do that")
        one, other = (self._each_feature(node, array) for array in np.broadcast_arrays(scale, shift))
        last = self.steps[-1] if self.steps else None
        if isinstance(last, Affine) and np.all(one == 1.0) and other.shape == last.b.shape:
            self.steps[-1] = Affine(last.name, last.W, last.b + other)
        else:
            self.steps.append(Scale(node.label, one, other))

    # Activations ----------------------------------------------------------------------------

    def relu(self, node: Node, slot: int) -> None:
        """Add a ReLU."""
        self._on_floats(node)
        self._close(node)
        self.steps.append(Relu())

    def _close(self, node: Node) -> None:
        """Take room for the diagonal layer that has to stand before a ReLU where there is no other."""
        since = next((step for step in reversed(self.steps) if not isinstance(step, Scale)), None)
        n = count(self.before)
        if n is None or isinstance(since, Affine) or (self.steps and isinstance(self.steps[-1], Relu)):
            return
        if n * n > self.room:
            raise ValueError(
                f"{node.label} would be a layer of {n:,} x {n:,} numbers, far more than the file holds; "
                "do this to the data, and export the network without it"
            )
        self._spend(node, n * n)

    def leaky_relu(self, node: Node, slot: int) -> None:
        """Add a ReLU if the slope below zero is zero: all others are no ReLU."""
        slopes = self.numbers(node, 1) if node.op == "PRelu" else np.array(node.number("alpha", 0.01))
        if np.any(slopes != 0.0):
            raise NotAChain(not_covered(node, OPERATORS))
        self.relu(node, slot)

    def bounded(self, node: Node, slot: int) -> None:
        """Bound by constants: max(x, c) = c + relu(x - c), and min(x, c) = c - relu(c - x)."""
        for other in range(len(node.inputs)):
            if other != slot:
                self._bound(node, self.numbers(node, other), 1.0 if node.op == "Max" else -1.0)

    def clip(self, node: Node, slot: int) -> None:
        """Bound from below, then from above, as far as there are bounds."""
        for slot_of_bound, name, sign in ((1, "min", 1.0), (2, "max", -1.0)):
            if node.has(name):
                bound, limit = np.array(node.number(name, 0.0)), NO_BOUND
            elif node.has_input(slot_of_bound):
                bound = self.numbers(node, slot_of_bound)
                limit = NO_HALF_BOUND if self.constant(node, slot_of_bound).itemsize == 2 else NO_BOUND
            else:
                continue
            if not np.all(sign * bound <= -limit):
                self._bound(node, bound, sign)

    def _bound(self, node: Node, c: Array, sign: float) -> None:
        """Add sign * max(sign * x, sign * c)."""
        if np.all(c == 0.0) and sign == 1.0:
            self.relu(node, 0)
            return
        self._scale(node, np.full(1, sign), -sign * c)
        self._close(node)
        self.steps.append(Relu())
        self._scale(node, np.full(1, sign), c)
        self.notes.append(f"{node.label} bounds its input, which is a layer with ReLU of its own here")

    # Endings --------------------------------------------------------------------------------

    def sigmoid(self, node: Node, slot: int) -> None:
        """End the network in a sigmoid."""
        self._on_floats(node)
        self.steps.append(Ending(node.label, "sigmoid"))

    def softmax(self, node: Node, slot: int) -> None:
        """End the network in a softmax over the features.

        Before opset 13 the axis is 1 unless it is said, and it goes over all axes from there on.
        """
        self._on_floats(node)
        rank = len(self.before)
        first = in_range(node, node.integer("axis", -1 if self.graph.opset >= 13 else 1), rank)
        over = range(first, rank) if self.graph.opset < 13 else (first,)
        if any((size == SAMPLES) == (axis in over) for axis, size in enumerate(self.before) if size != 1):
            raise NotAChain(f"{node.label} goes over axis {first}; it must go over all features of a sample")
        self.steps.append(Ending(node.label, "softmax"))

    def log_softmax(self, node: Node, slot: int) -> None:
        """End the network in a softmax, whose logarithm the graph gives."""
        self.softmax(node, slot)
        self.logarithm(node, slot)

    def logarithm(self, node: Node, slot: int) -> None:
        """Leave out the logarithm of probabilities."""
        self.notes.append(f"{node.label} gives logarithms of probabilities; the network gives probabilities")

    # What changes no number -------------------------------------------------------------------

    def cast(self, node: Node, slot: int) -> None:
        """Pass by another float type: here all is float64."""
        kind = node.integer("to", 0)
        if kind in self.graph.types.floats:
            self.whole_numbers = False
            self.note_precision(kind)
        elif not (self.whole_numbers and kind in self.graph.types.wide_integers):
            raise ValueError(f"{node.label} makes numbers that are no floats; a network is made of floats")

    def dropout(self, node: Node, slot: int) -> None:
        """Pass by, as inference does."""
        if node.has_input(2) and np.any(self.constant(node, 2)):
            raise ValueError(f"{node.label} is in training mode; export the model after model.eval()")

    def transpose(self, node: Node, slot: int) -> None:
        """Put the features in another order, if it is another once axes of size 1 are left away."""
        moved = [
            axis for axis in permutation(node, len(self.before)) if self.before[axis] not in (1, SAMPLES)
        ]
        if moved == sorted(moved):
            return
        sizes, n = features(self.before), count(self.before)
        if n is None or n * n > self.room:
            raise NotAChain(f"{node.label} changes the order of too many features; flatten them before it")
        self._spend(node, n * n)
        axes = [axis for axis in range(len(self.before)) if self.before[axis] != SAMPLES]
        order = [axes.index(a) for a in permutation(node, len(self.before)) if self.before[a] != SAMPLES]
        places = np.arange(n).reshape(sizes).transpose(order).reshape(-1)
        self.steps.append(Affine(node.label, np.eye(n)[places], np.zeros(n)))

    def nothing(self, node: Node, slot: int) -> None:
        """Pass by: the numbers of a sample, and their order, stay as they are."""

    def _on_floats(self, node: Node) -> None:
        if self.whole_numbers:
            raise ValueError(
                f"{node.label} computes with whole numbers; a Cast to float must stand before it"
            )


SCALER = (("offset", 0.0), ("scale", 1.0))

EITHER_SIDE = ("Add", "Sub", "Mul", "Div", "MatMul", "Gemm", "Max", "Min")
"""Operators whose values may come through any input."""

OPERATORS: dict[str, Callable[[Steps, Node, int], None]] = {
    "Gemm": Steps.gemm,
    "MatMul": Steps.matmul,
    "Add": Steps.add,
    "Sub": Steps.subtract,
    "Mul": Steps.multiply,
    "Div": Steps.divide,
    "Neg": Steps.negative,
    "ai.onnx.ml.Scaler": Steps.scaler,
    "BatchNormalization": Steps.batch_normalization,
    "Relu": Steps.relu,
    "LeakyRelu": Steps.leaky_relu,
    "PRelu": Steps.leaky_relu,
    "Max": Steps.bounded,
    "Min": Steps.bounded,
    "Clip": Steps.clip,
    "Sigmoid": Steps.sigmoid,
    "Softmax": Steps.softmax,
    "LogSoftmax": Steps.log_softmax,
    "Log": Steps.logarithm,
    "Cast": Steps.cast,
    "Dropout": Steps.dropout,
    "Transpose": Steps.transpose,
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze", "Unsqueeze", "Identity"), Steps.nothing),
}
"""The operators that a chain may have."""
