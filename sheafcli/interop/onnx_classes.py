"""What an ONNX graph calls its classes, told by what stands behind the last layer.

Two ways are usual. ZipMap names the numbers that a network gives, one by one; and the place of the largest
one (ArgMax), or whether a lone probability is large (Greater), is the index of a label in a constant.
References: onnx.ai, "Operators of ai.onnx.ml" (ArrayFeatureExtractor, LabelEncoder, ZipMap).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

from sheafcli.interop.chain import class_name
from sheafcli.interop.onnx_graph import Graph, Node
from sheafcli.interop.onnx_values import Values

MAX_NAMES = 20
"""So many names of classes are written into a note."""

PASSING = ("Cast", "CastLike", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze")
"""Operators behind a network that change the type or the axes of what they are given, not its order."""

NAMING = ("ai.onnx.ml.ArrayFeatureExtractor", "ai.onnx.ml.LabelEncoder", "ai.onnx.ml.ZipMap", "Where")
"""Operators that stand behind a network to name classes; Gather does if it picks from a constant."""

ABOVE = {
    "Greater": 0,
    "GreaterOrEqual": 0,
    "Less": 1,
    "LessOrEqual": 1,
    "Round": 0,
    "ai.onnx.ml.Binarizer": 0,
}
"""Operators that give 1 for a large probability if it comes through this input, and 0 for a small one."""


@dataclass(frozen=True)
class Labels:
    """A value that tells the class of a sample: what it is for each, and whether that is a name of it."""

    of_class: tuple[Any, ...]
    named: bool = False


Meaning: TypeAlias = Literal["each", "second", "first"] | Labels
"""What a value holds: a number for each class, the probability of one of two classes, or labels."""


@dataclass(frozen=True)
class Naming:
    """The names of the classes, in the order of the outputs, by each way; and nodes that leave them open."""

    names: tuple[tuple[str, ...], ...]
    unclear: tuple[str, ...]


def agreed(namings: Iterable[Naming]) -> tuple[tuple[str, ...], list[str]]:
    """Return the names of the classes, empty if there are none or no sure ones, and what to say of that.

    Numbers 0, 1, ... count beside words for no names: they are places.
    """
    namings = list(namings)
    names = list(dict.fromkeys(names for naming in namings for names in naming.names))
    words = [each for each in names if list(each) != [str(place) for place in range(len(each))]]
    sure = words or names
    if len(sure) > 1:
        ways = "; ".join(map(shown, sure))
        return (), [f"the graph names its classes in several ways ({ways}): they are taken by position"]
    unclear = dict.fromkeys(label for naming in namings for label in naming.unclear)
    if not sure and unclear:
        return (), [f"how {', '.join(unclear)} names the classes is not read: they are taken by position"]
    return (sure[0] if sure else ()), []


def shown(names: Sequence[str]) -> str:
    """Return names of classes for a note, the first of many."""
    return ", ".join([*names[:MAX_NAMES], *["..."] * (len(names) > MAX_NAMES)])


def naming(behind: Sequence[Node], last: str, n_outputs: int, graph: Graph, values: Values) -> Naming:
    """Return what the nodes behind a network's last value, so many numbers a sample, call its classes."""
    reader = _Reader(graph, values, max(n_outputs, 2), {last: "second" if n_outputs == 1 else "each"})
    for node in behind:
        reader.visit(node)
    final = [labels for labels in reader.final.values() if labels.named]
    names = (tuple(map(class_name, labels.of_class)) for labels in final)
    return Naming(tuple(dict.fromkeys(names)), tuple(reader.unclear))


@dataclass
class _Reader:
    """Follows what values mean, node by node; `final` are the labels that no other ones are made of."""

    graph: Graph
    values: Values
    n_classes: int
    meanings: dict[str, Meaning]
    final: dict[str, Labels] = field(default_factory=dict)
    unclear: list[str] = field(default_factory=list)

    def visit(self, node: Node) -> None:
        made = self._made(node)
        if made is None:
            if node.kind in NAMING or (node.kind == "Gather" and self._row(node.inputs[0])):
                self.unclear.append(node.label)
            return
        self.meanings[node.outputs[0]] = made
        if isinstance(made, Labels):
            for name in node.inputs:
                self.final.pop(name, None)
            self.final[node.outputs[0]] = made

    def _made(self, node: Node) -> Meaning | None:
        """Return what the first output of a node means; None if that cannot be told."""
        given = [self.meanings.get(name) for name in node.inputs]
        made: Meaning | None = None
        match node.kind:
            case kind if kind in PASSING:
                made = given[0]
            case "Sub" if given == [None, "second"]:  # from 1, as has been checked
                made = "first"
            case "Concat" if given == ["first", "second"]:
                made = "each"
            case "ArgMax" if given == ["each"]:
                made = Labels(tuple(range(self.n_classes)))
            case kind if kind in ABOVE and given[ABOVE[kind] :][:1] == ["second"]:
                made = Labels((0, 1))
            case "Not" if given == [Labels((0, 1))]:
                made = Labels((1, 0))
            case "ai.onnx.ml.ZipMap" if given == ["each"]:
                names = _listed(node, "classlabels_strings") or _listed(node, "classlabels_int64s")
                made = Labels(tuple(names or ()), named=True)
            case "ai.onnx.ml.ArrayFeatureExtractor":
                made = self._picked(node)
            case "Gather" if node.integer("axis", 0) == 0:
                made = self._picked(node)
            case "ai.onnx.ml.LabelEncoder" if (labels := self._labels(node, 0)) is not None:
                made = _looked_up(_encoding(node, labels), labels)
        one_each = not isinstance(made, Labels) or len(set(made.of_class)) == self.n_classes
        return made if one_each else None

    def _labels(self, node: Node, slot: int) -> Labels | None:
        meaning = self.meanings.get(node.inputs[slot]) if node.has_input(slot) else None
        return meaning if isinstance(meaning, Labels) else None

    def _picked(self, node: Node) -> Labels | None:
        """Return the entries of a constant row that labels pick."""
        labels = self._labels(node, 1)
        row = self._row(node.inputs[0])
        return None if labels is None or row is None else _looked_up(dict(enumerate(row)), labels)

    def _row(self, name: str) -> list[Any] | None:
        """Return the entries of a constant that has one axis, but for axes of size 1 before it."""
        maker, tensor = self.graph.makers.get(name), self.graph.tensors.get(name)
        if maker is not None and maker.kind == "Constant":
            if maker.has("value_strings"):
                return _texts(maker.attribute("value_strings"))
            tensor = maker.attribute("value") if maker.has("value") else None
        if tensor is not None and tensor.data_type == tensor.STRING:
            one_row = bool(tensor.dims) and tensor.dims[-1] == len(tensor.string_data)
            return _texts(tensor.string_data) if one_row else None
        array = self.values.constants.get(name, np.zeros(()))
        return array.reshape(-1).tolist() if array.ndim and array.shape[-1] == array.size else None


def _looked_up(table: dict[Any, Any], labels: Labels) -> Labels | None:
    """Return labels with each replaced by its entry; None if one has none."""
    if not all(label in table for label in labels.of_class):
        return None
    return Labels(tuple(table[label] for label in labels.of_class), named=True)


def _encoding(node: Node, labels: Labels) -> dict[Any, Any]:
    """Return what a LabelEncoder puts for each label: by keys and values, or by words and their places."""
    if words := _listed(node, "classes_strings"):
        numbers = not any(isinstance(label, str) for label in labels.of_class)
        return dict(enumerate(words)) if numbers else {word: place for place, word in enumerate(words)}
    keys, entries = (
        next(
            (found for kind in ("strings", "int64s", "floats") if (found := _listed(node, f"{what}_{kind}"))),
            [],
        )
        for what in ("keys", "values")
    )
    return dict(zip(keys, entries, strict=True)) if len(keys) == len(entries) else {}


def _listed(node: Node, attribute: str) -> list[Any] | None:
    """Return a list of numbers or words that a node has as an attribute; None if it has no such list."""
    listed = node.attribute(attribute) if node.has(attribute) else None
    return _texts(listed) if isinstance(listed, list) else None


def _texts(entries: Iterable[Any]) -> list[Any] | None:
    """Return words as text, and numbers as they are; None if a word is no text."""
    try:
        return [entry.decode() if isinstance(entry, bytes) else entry for entry in entries]
    except UnicodeDecodeError:
        return None
