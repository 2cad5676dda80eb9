"""What stands behind the last layer of a classifier and is no part of the network, such as labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from sheafcli.interop.chain import NotAChain
from sheafcli.interop.onnx_classes import shown
from sheafcli.interop.onnx_graph import Node, printable
from sheafcli.interop.onnx_sizes import SAMPLES, Shape
from sheafcli.interop.onnx_values import Values

Users = Sequence[tuple[Node, int]]

LABELLING = {
    *("ArgMax", "ArgMin", "Hardmax", "TopK", "Round", "ai.onnx.ml.Binarizer"),
    *("Greater", "GreaterOrEqual", "Less", "LessOrEqual"),
}
"""Operators that make labels of what a network gives."""

READOUTS = {*LABELLING, "ai.onnx.ml.ZipMap"}

BEHIND = {
    *("Cast", "CastLike", "Flatten", "Gather", "Identity", "Not", "Reshape", "Squeeze", "Unsqueeze", "Where"),
    *("ai.onnx.ml.ArrayFeatureExtractor", "ai.onnx.ml.LabelEncoder"),
}
"""Operators that may stand behind those: they turn labels into others, or into another shape."""


def is_readout(users: Users, ended: bool) -> bool:
    """Return whether a value goes into nothing but one node that makes labels of it, or names it.

    Behind the output function, taking the probability of one class is a readout too.
    """
    kinds = READOUTS | {"Slice"} if ended else READOUTS
    return len(users) == 1 and users[0][0].kind in kinds


def complement(users: Users, all_users: Mapping[str, Users], values: Values) -> bool:
    """Return whether a probability p goes into Concat(1 - p, p) alone: both classes' of a lone output."""
    by_kind = {node.kind: (node, slot) for node, slot in users}
    if len(users) != 2 or set(by_kind) != {"Sub", "Concat"}:
        return False
    (subtraction, slot), (concat, place) = by_kind["Sub"], by_kind["Concat"]
    one = values.constants.get(subtraction.inputs[0])
    made = subtraction.outputs[0]
    return (
        (slot, place) == (1, 1)
        and one is not None
        and bool(np.all(np.asarray(one, np.float64) == 1.0))
        and concat.inputs == (made, concat.inputs[1])
        and [node for node, _ in all_users.get(made, ())] == [concat]
    )


def left_out(behind: Sequence[Node], shape: Shape) -> Iterator[str]:
    """Yield what is to be said of the nodes behind a network's last value, which has the given shape.

    ValueError if they do more than make labels.
    """
    concat = [node for node in behind if node.kind == "Concat"][:1]
    known = READOUTS | BEHIND | ({"Sub", "Concat"} if concat else {"Slice"})
    for node in behind:
        if node.kind not in known:
            raise NotAChain(
                f"{behind[0].label} stands before {node.label}; it is read at the end of a network only"
            )
    for node in concat:
        yield f"{node.label} puts 1 - p before p: the network here gives p alone"
    for node in behind:
        if node.kind == "ai.onnx.ml.ZipMap":
            yield f"{node.label} is left out; it names the classes, in this order: {_names(node)}"
    for node in behind:
        if node.kind in LABELLING or node.kind == "Slice":
            _check_axis(node, shape)
            what = "makes labels of" if node.kind in LABELLING else "takes a part of"
            yield f"{node.label} {what} what the network gives; it is left out, with all behind it"


def _names(node: Node) -> str:
    key = "classlabels_strings" if node.has("classlabels_strings") else "classlabels_int64s"
    labels = node.attribute(key) if node.has(key) else []
    if not isinstance(labels, list):
        raise ValueError(f"{node.label} has an attribute {key} that is no list")
    return shown(
        [
            printable(label.decode(errors="replace") if isinstance(label, bytes) else str(label))
            for label in labels
        ]
    )


def _check_axis(node: Node, shape: Shape) -> None:
    """Raise ValueError if a node that looks for the largest number looks among the samples."""
    if node.kind in ("ArgMax", "ArgMin", "Hardmax", "TopK"):
        axis = node.integer("axis", 0 if node.kind.startswith("Arg") else -1)
        if not -len(shape) <= axis < len(shape) or shape[axis] == SAMPLES:
            raise ValueError(f"{node.label} goes over axis {axis}; it must go over the features of a sample")
