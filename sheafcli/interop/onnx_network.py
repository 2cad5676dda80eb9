"""An ONNX graph of whatever operations are covered, read as a graph from its input to an output."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sheafcli.core.graph import INPUT, Graph, Node
from sheafcli.core.operation import Designed
from sheafcli.core.operations import Flatten, Reshape, Scale, Sigmoid, Softmax
from sheafcli.interop.chain import Interface
from sheafcli.interop.graph_file import GraphFile
from sheafcli.interop.onnx_classes import Naming, agreed, naming, shown
from sheafcli.interop.onnx_draft import MAX_ENTRIES, Draft, OpenSize, Piece, stalk
from sheafcli.interop.onnx_graph import Graph as OnnxGraph
from sheafcli.interop.onnx_names import vertex_names
from sheafcli.interop.onnx_parts import Quotient, Unary
from sheafcli.interop.onnx_readouts import READOUTS, left_out
from sheafcli.interop.onnx_recognise import LOGARITHM, reachable, recognise
from sheafcli.interop.onnx_sizes import SAMPLES
from sheafcli.interop.onnx_values import Values
from sheafcli.interop.onnx_walk import Walk


@dataclass(frozen=True, eq=False)
class End:
    """An output of the graph: the vertex that it is, or that labels behind it are made of."""

    output: str
    last: Piece
    notes: tuple[str, ...]
    naming: Naming
    is_whole: bool

    @property
    def cone(self) -> set[Piece]:
        """All that it depends on."""
        return set(reachable(self.last))


def graph_of(graph: OnnxGraph, values: Values, draft: Draft) -> GraphFile:
    """Return the graph of operations to that of the outputs to which all others lead.

    ValueError if an operator on the way is not covered, or if there are several networks.
    """
    ends = [_end(graph, values, draft, output) for output in graph.outputs]
    if not ends:
        raise ValueError("the graph has no output")
    best = max(ends, key=lambda end: len(end.cone))
    for end in ends:
        if not end.cone <= best.cone:
            raise ValueError(
                f"a network has one output, and neither of {best.output!r} and {end.output!r} stands on the "
                f"way to the other; choose one with --ending {best.output}"
            )
    notes = [*draft.notes, *best.notes]
    if len(ends) > 1:
        others = " and ".join(repr(end.output) for end in ends if end is not best)
        notes.insert(0, f"the graph's output {best.output!r} is read; it has all that is in {others}")
    recognise(reachable(best.last))
    last, says, is_logarithm = _without_ending(best.last, notes)
    if len(last.shape) != 1:
        last = draft.piece(Flatten(), (last,), (math.prod(last.shape),), last.node)
        notes.append("the axes of an output stand flat, in C order")
    pieces = reachable(last)
    _check(pieces)
    if len(pieces[0].shape) > 1:
        notes.append(f"a sample is {_times(pieces[0].shape)}: a row of the data, in C order")
    classes, unclear = agreed([best.naming])
    if classes and says == "sigmoid" and last.shape != (1,):
        unclear = [f"each output is a label of its own; their names ({shown(classes)}) are not matched"]
        classes = ()
    interface = None
    if best.is_whole:
        name = Walk(graph, values, best.output).input()
        interface = Interface(name, best.output, values.shapes[name], says, is_logarithm)
    names = _names(pieces)
    return GraphFile(
        _built(pieces, names),
        says,
        (*notes, *unclear),
        tuple(classes),
        scales_inputs=_scales_inputs(pieces),
        interface=interface,
        tensors={
            value: names[piece]
            for value, piece in draft.of_value.items()
            if piece in names and values.shapes[value][:1] == (SAMPLES,)
        },
    )


def _end(graph: OnnxGraph, values: Values, draft: Draft, output: str) -> End:
    """Return an output's vertex; ValueError with what stands in the way."""
    walk = Walk(graph, values, output)
    walk.input()
    readout = next((node for node in walk.nodes if node.kind in READOUTS), None)
    value = output
    if readout is not None:
        value = next(name for name in readout.inputs if name in values.varying)
    if value in values.refusals:
        raise ValueError(values.refusals[value])
    if value not in draft.of_value:
        _say_open(values, walk)
        maker = graph.makers[value]
        if maker.outputs[0] == value:
            raise ValueError(f"the shape of what {maker.label} gives cannot be told; export the model again")
        raise ValueError(f"{value!r} is not the first output of {maker.label}, and that alone is read")
    if any(size != SAMPLES and values.sizes.holds_samples(size) for size in values.shapes[value]):
        raise ValueError(
            f"{value!r} has samples and features along one axis; export the model with an axis each"
        )
    last, behind = draft.of_value[value], walk.behind(value)
    notes = left_out(behind, values.shapes[value]) if readout is not None else ()
    named = naming(behind, value, math.prod(last.shape), graph, values)
    return End(output, last, tuple(notes), named, readout is None)


def _say_open(values: Values, walk: Walk) -> None:
    """Raise ValueError if the input has sizes that are not known."""
    name = walk.input()
    try:
        stalk(values.shapes[name], values.sizes)
    except OpenSize:
        raise ValueError(
            f"the file leaves open how large a sample of {name!r} is; export the model with fixed sizes, "
            "all but the number of samples"
        ) from None


def _without_ending(last: Piece, notes: list[str]) -> tuple[Piece, str | None, bool]:
    """Return the vertex before the output function that ends the graph, that, and whether a logarithm does.

    Where there is no such function, the last vertex and None.
    """
    piece = last
    while isinstance(piece.operation, Reshape):
        (piece,) = piece.parents
    is_logarithm = isinstance(piece.operation, Unary) and piece.operation.name == LOGARITHM
    logarithm = piece if is_logarithm else None
    if logarithm is not None:
        (piece,) = piece.parents
    if isinstance(piece.operation, Softmax) and piece.shape[piece.operation.axis] == math.prod(piece.shape):
        if logarithm is not None and logarithm.node is not None:
            label = logarithm.node.label
            notes.append(f"{label} gives logarithms of probabilities; the network gives probabilities")
        return piece.parents[0], "softmax", logarithm is not None
    if isinstance(piece.operation, Sigmoid) and logarithm is None:
        return piece.parents[0], "sigmoid", False
    return last, None, False


def _check(pieces: list[Piece]) -> None:
    """Raise ValueError where vertices are no network, or one beyond all measure."""
    for piece in pieces:
        if isinstance(piece.operation, Unary | Quotient) and piece.node is not None:
            raise ValueError(
                f"{piece.node.label} is read as part of an activation or a normalisation that is covered "
                "(GELU, SiLU, hard swish, softplus, layer normalisation, ...), and here it is none"
            )
    if not any(isinstance(piece.operation, Designed) for piece in pieces):
        raise ValueError("there is no linear layer in it; a network needs at least one")
    entries = sum(math.prod(piece.shape) for piece in pieces)
    if entries > MAX_ENTRIES:
        raise ValueError(
            f"one sample makes {entries:,} numbers on its way through the network, and at most "
            f"{MAX_ENTRIES:,} are read; export the model for smaller inputs"
        )


def _names(pieces: list[Piece]) -> dict[Piece, str]:
    """Return what the vertices are called, the input first."""
    nodes = [piece.node for piece in pieces[1:] if piece.node is not None]
    return {pieces[0]: INPUT} | dict(zip(pieces[1:], vertex_names(nodes), strict=True))


def _built(pieces: list[Piece], names: Mapping[Piece, str]) -> Graph:
    """Return the vertices, the input first, as a graph."""
    return Graph(
        pieces[0].shape,
        tuple(
            Node(names[piece], piece.operation, tuple(names[parent] for parent in piece.parents))
            for piece in pieces[1:]
            if not isinstance(piece.operation, Unary | Quotient | None)  # parts are refused by now
        ),
    )


def _scales_inputs(pieces: list[Piece]) -> bool:
    """Tell whether the graph shifts or scales its raw input by constants, as a scaler does."""
    for piece in pieces:
        if isinstance(piece.operation, Scale) and piece.parents[0] is pieces[0]:
            factor, offset = piece.operation.factor, piece.operation.offset
            scaled = factor is not None and not np.all(np.isin(np.abs(factor), (0.0, 1.0)))
            if scaled or (offset is not None and np.any(offset)):
                return True
    return False


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
