"""The graph of an ONNX file under way to a graph of operations: values become vertices, one by one.

An ONNX value has an axis of samples, anywhere; a stalk has none. So a value is known by its vertex and by
its full shape, in which the size SAMPLES (or a multiple of it, where samples and heads were merged into one
axis) marks where the samples lie. An operator becomes operations by the function that stands for it in a
table (`onnx_operators.py`), which sees it as a `Site`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sheafcli.core.graph import Constant as Fixed
from sheafcli.core.operation import Operation
from sheafcli.core.operations import Reshape
from sheafcli.core.types import Array
from sheafcli.interop.onnx_constants import Constant
from sheafcli.interop.onnx_graph import ElementTypes, Node
from sheafcli.interop.onnx_parts import Part
from sheafcli.interop.onnx_refusals import not_covered
from sheafcli.interop.onnx_shapes import Application, Unknown, in_range, shape_after
from sheafcli.interop.onnx_sizes import SAMPLES, Shape, Sizes, is_open

MAX_ENTRIES = 2**28
"""The most entries (2 GB) of a value of one sample, and of all together."""

SHORT = "the graph computes in 16 bits, at least in part; the network computes in 64"


@dataclass(eq=False)
class Piece:
    """A vertex under way: its operation, None for the input; what it reads; the node that it comes of."""

    operation: Operation | Part | Fixed | None
    parents: tuple[Piece, ...]
    shape: Shape
    node: Node | None
    place: int


Made = Piece | tuple[Piece, Shape] | list[tuple[Piece, Shape]]
"""What an operator makes: one value whose full shape is as its rule says or as that of what goes in; one
with its full shape; or several."""


class OpenSize(ValueError):
    """A size of a sample that the file leaves open."""


@dataclass
class Draft:
    """The vertices of the values of a graph, by the names of these, in the order in which they are made."""

    sizes: Sizes
    types: ElementTypes
    opset: int
    operators: Mapping[str, Callable[[Site], Made]]
    of_value: dict[str, Piece] = field(default_factory=dict)
    whole_numbers: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    count: int = 0

    def begin(self, name: str, shape: Shape, kind: int) -> None:
        """Take an input of the graph, of entries of this kind, as the input; leave out one without sizes."""
        if kind in self.types.integers:
            self.whole_numbers.add(name)
        self.note_precision(kind)
        try:
            self.of_value[name] = self.piece(None, (), stalk(shape, self.sizes), None)
        except OpenSize:
            return

    def piece(
        self,
        operation: Operation | Part | Fixed | None,
        parents: Sequence[Piece],
        shape: Shape,
        node: Node | None,
    ) -> Piece:
        """Return a new vertex."""
        entries = math.prod(shape)
        if entries > MAX_ENTRIES:
            what = "the input" if node is None else node.label
            raise ValueError(
                f"{what} makes {entries:,} numbers of one sample, and at most {MAX_ENTRIES:,} are read; "
                "export the model for smaller inputs"
            )
        self.count += 1
        return Piece(operation, tuple(parents), shape, node, self.count)

    def add(self, application: Application) -> list[Shape | None]:
        """Make the vertices of a node; return the full shapes of its outputs, as far as they can be told.

        ValueError if the node is not covered, cannot take what it is given, or does not keep samples apart.
        """
        node = application.node
        operator = self.operators.get(node.kind)
        if operator is None:
            raise ValueError(not_covered(node, self.operators))
        if node.op != "Expand" and all(array is not None for array in application.constants):
            raise ValueError(
                f"{node.label} computes with the sizes of its input; "
                "export the model with torch.flatten(x, 1), Flatten or the like, which needs no sizes"
            )
        after = shape_after(application)
        if any(name in self.whole_numbers for name in node.inputs):
            self._whole(node)
        site = Site(application, self, after)
        try:
            made = operator(site)
        except (OpenSize, Unknown):
            return [after]
        except (ArithmeticError, AttributeError, IndexError, TypeError) as error:
            raise ValueError(f"{node.label} is damaged: {error}") from error
        except ValueError as error:
            text = str(error)
            raise ValueError(text if node.label in text else f"{node.label}: {text}") from error
        if isinstance(made, Piece):
            made = (made, site.around(made) if after is None else after)
        several = [made] if isinstance(made, tuple) else made
        for name, (piece, _) in zip(node.outputs, several, strict=False):
            self.of_value[name] = piece
        return [shape for _, shape in several]

    def note_precision(self, kind: int) -> None:
        """Say once that the graph computes with fewer bits than the network, if `kind` has so few."""
        if kind in self.types.half_floats and SHORT not in self.notes:
            self.notes.append(SHORT)

    def _whole(self, node: Node) -> None:
        """Check that nothing is computed with whole numbers but their way to a Cast."""
        if node.op == "Cast" and node.integer("to", 0) in self.types.floats:
            return
        if node.op not in ("Cast", "Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"):
            raise ValueError(
                f"{node.label} computes with whole numbers; a Cast to float must stand before it"
            )
        self.whole_numbers.update(node.outputs)


@dataclass(frozen=True, eq=False)
class Site:
    """A node with its inputs, as a function that makes operations of it sees them.

    `after` is the full shape of its first output where a rule of `onnx_shapes` gives it.
    """

    application: Application
    draft: Draft
    after: Shape | None

    @property
    def node(self) -> Node:
        """The node."""
        return self.application.node

    @property
    def opset(self) -> int:
        """The version of ONNX's operators."""
        return self.application.opset

    @property
    def made(self) -> Shape:
        """The full shape of the first output; Unknown where no rule gives it."""
        if self.after is None:
            raise Unknown
        return self.after

    # What goes in -----------------------------------------------------------------------------

    def full(self, slot: int = 0) -> Shape:
        """Return the full shape of an input."""
        return self.application.shape(slot)

    def stalk(self, slot: int = 0) -> Shape:
        """Return the shape of an input for one sample; OpenSize if the file leaves it open."""
        return stalk(self.full(slot), self.draft.sizes)

    def is_constant(self, slot: int) -> bool:
        """Return whether an input is a constant."""
        return self.node.has_input(slot) and self.application.constants[slot] is not None

    def constant(self, slot: int) -> Constant:
        """Return an input that must be a constant."""
        if not self.node.has_input(slot):
            raise ValueError(f"{self.node.label} lacks its input {slot}")
        array = self.application.constants[slot]
        if array is None:
            raise ValueError(
                f"{self.node.label} needs {self.node.inputs[slot]!r} as a constant, and it is "
                "computed on the way; write it into the file as an initializer"
            )
        return array

    def numbers(self, slot: int) -> Array:
        """Return a constant of a float type, those of 16 bits in 32; ValueError if it is not finite."""
        array = self.constant(slot)
        if array.dtype.kind in "biu":
            raise ValueError(
                f"{self.node.label} has weights of type {array.dtype}; save the model in a float type"
            )
        array = array if array.dtype in (np.float32, np.float64) else array.astype(np.float32)
        if not np.isfinite(array).all():
            raise ValueError(f"{self.node.label} holds NaN or infinite numbers; a network needs finite ones")
        return array

    def scalar(self, slot: int, name: str, default: float | None) -> float | None:
        """Return a number that is an input or, in older operator sets, an attribute; NaN is refused."""
        if self.node.has(name):
            value = self.node.number(name, 0.0)
        elif self.node.has_input(slot):
            array = np.asarray(self.constant(slot), dtype=np.float64)
            if array.size != 1:
                raise ValueError(f"{self.node.label} has {array.size} numbers as {name}; one is read")
            value = float(array.reshape(()))
        else:
            return default
        if np.isnan(value):
            raise ValueError(f"{self.node.label} holds NaN or infinite numbers; a network needs finite ones")
        return value

    def piece(self, slot: int = 0) -> Piece:
        """Return the vertex of an input that is computed of the samples."""
        name = self.node.inputs[slot] if self.node.has_input(slot) else ""
        if name in self.draft.of_value:
            return self.draft.of_value[name]
        self.stalk(slot)  # says if a size is open
        if self.is_constant(slot):
            raise ValueError(f"{self.node.label} works on the constant {name!r}; fold it into the file")
        raise ValueError(f"{self.node.label} needs {name!r}, which is not a constant of the file")

    def aligned(self, slot: int, rank: int, samples: int | None) -> Piece:
        """Return an input as a stalk of an array of so many axes, the samples' at `samples`.

        A constant has a vertex of its own. Axes of length 1 are put before those that there are.
        """
        if self.is_constant(slot):
            array = self.beside(slot, rank, samples)
            return self.draft.piece(Fixed(array), (), array.shape, self.node)
        piece, full = self.piece(slot), self.full(slot)
        full = (1,) * (rank - len(full)) + full
        own = self.samples_axis(full)
        if own is None and samples is not None:
            if full[samples] != 1:
                raise ValueError(f"{self.node.label} has other numbers for each sample")
            full = full[:samples] + full[samples + 1 :]
        elif own != samples:
            raise ValueError(f"{self.node.label} brings together values whose samples lie along other axes")
        return self.shaped(piece, stalk(full, self.draft.sizes))

    def beside(self, slot: int, rank: int, samples: int | None) -> Array:
        """Return a constant that meets an array of so many axes, without the axis of the samples."""
        array = self.numbers(slot)
        if array.ndim > rank:
            raise ValueError(
                f"{self.node.label} has an array of shape {array.shape}, and the values have {rank} axes"
            )
        array = array.reshape((1,) * (rank - array.ndim) + array.shape)
        if samples is None:
            return array
        if array.shape[samples] != 1:
            raise ValueError(f"{self.node.label} has other numbers for each sample; a network has the same")
        return array.reshape(array.shape[:samples] + array.shape[samples + 1 :])

    # Axes -------------------------------------------------------------------------------------

    def samples_axis(self, full: Shape) -> int | None:
        """Return which axis holds nothing but the samples."""
        return full.index(SAMPLES) if SAMPLES in full else None

    def axis(self, axis: int, slot: int = 0) -> int:
        """Return an axis of an input as one of its stalk, counted from the end."""
        full = self.full(slot)
        place = in_range(self.node, axis, len(full))
        if self.draft.sizes.holds_samples(full[place]):
            raise ValueError(f"{self.node.label} goes over axis {axis}; it must go over features of a sample")
        samples = self.samples_axis(full)
        stalks = len(full) - (samples is not None)
        return place - (samples is not None and place > samples) - stalks

    def images(self, axes: int | None = None) -> Piece:
        """Return the first input, which must be samples x channels x so many spatial axes."""
        full = self.full()
        if len(full) < 3 or full[0] != SAMPLES or (axes is not None and len(full) != axes + 2):
            raise ValueError(
                f"{self.node.label} works on samples x channels x {axes or 'spatial'} axes, and its input "
                f"has {len(full)} axes; export the model with an input that has the samples as its first axis"
            )
        return self.piece()

    def around(self, piece: Piece, slot: int = 0) -> Shape:
        """Return a full shape for a vertex whose samples lie where those of an input do."""
        full = self.full(slot)
        samples = self.samples_axis(full)
        if samples is not None:
            return (*piece.shape[:samples], SAMPLES, *piece.shape[samples:])
        mixed = [i for i, size in enumerate(full) if self.draft.sizes.holds_samples(size)]
        if not mixed:
            return piece.shape
        return (*piece.shape[: mixed[0]], full[mixed[0]], *piece.shape[mixed[0] + 1 :])

    # What comes out ---------------------------------------------------------------------------

    def make(self, operation: Operation | Part, *parents: Piece) -> Piece:
        """Return the vertex of an operation; ValueError where shapes do not fit."""
        shapes = tuple(parent.shape for parent in parents)
        return self.draft.piece(operation, parents, operation.shape(*shapes), self.node)

    def shaped(self, piece: Piece, shape: Shape) -> Piece:
        """Return a vertex in another shape, itself if it has that."""
        return piece if piece.shape == shape else self.make(Reshape(shape), piece)

    def fixed(self, array: Array) -> Piece:
        """Return the vertex of a constant."""
        return self.draft.piece(Fixed(array), (), array.shape, self.node)


def stalk(full: Shape, sizes: Sizes) -> Shape:
    """Return a full shape without its samples; OpenSize where the file leaves another size open."""
    made = []
    for size in full:
        if size == SAMPLES:
            continue
        number = sizes.product([size]).number if sizes.holds_samples(size) else size
        if is_open(number):
            raise OpenSize
        made.append(number)
    return tuple(made)
