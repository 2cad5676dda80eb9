"""From a list of layers to a network: its graph, with the shapes that follow and the weights it starts from.

The last layer is not listed: a dense layer to as many outputs as the task needs is added, as after `hidden`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from sheafcli.config.document import Document, KeyPath, Problem
from sheafcli.config.layers import LAYERS, Concat, Layer, Repeat, Residual, shown
from sheafcli.config.problems import did_you_mean, problem_at
from sheafcli.config.section import Section
from sheafcli.config.words import allowed, fields_of
from sheafcli.core.graph import INPUT, Graph, Node
from sheafcli.core.network import AnyNetwork, network_of
from sheafcli.core.operation import Operation
from sheafcli.core.operations import Add, Concatenate, Convolution, Dense, Flatten, Mean
from sheafcli.core.outputs import output_named
from sheafcli.core.types import Array, Seed, Shape

WHERE: KeyPath = ("network", "layers")

MOST_LAYERS = 2000
"""The most layers of a network, repetitions counted."""

MOST_WEIGHTS = 2**27
"""The most weights of a network: 1 GB in double precision."""


@dataclass(frozen=True)
class Placed:
    """A layer with where it stands in the configuration; `inside` are the lists of layers that it holds."""

    path: KeyPath
    name: str
    options: Section
    inside: tuple[tuple[Placed, ...], ...] = ()


class Complaint(NamedTuple):
    """What is wrong at a place of the configuration: what is allowed, or of a key, that it is missing."""

    path: KeyPath
    words: str
    of_key: bool = False


class Unbuildable(ValueError):
    """A layer that does not fit what comes before it, at `path`."""

    def __init__(self, path: KeyPath, message: str):
        self.path = path
        super().__init__(message)


def layer_problems(document: Document) -> list[Problem]:
    """Return all that is wrong with the layers of a configuration, but for their shapes."""
    network = document.value.get("network")
    layers = network.get("layers") if isinstance(network, dict) else None
    if not isinstance(layers, list):
        return []
    complaints: list[Complaint] = []
    _placed(layers, WHERE, complaints)
    problems = []
    # A union complains once for each of its alternatives, in the same words.
    for path, words, of_key in dict.fromkeys(complaints):
        origin = document.origin(path)
        given = "" if of_key else f"given {origin.given}; "
        problems.append(problem_at(path, f"{given}{words}", origin.of_key() if of_key else origin))
    return problems


def build(layers: Sequence[Any], shape: Shape, n_outputs: int, output: str, seed: Seed) -> AnyNetwork:
    """Return the network of these layers on samples of this shape, with weights drawn from `seed`.

    Raises Unbuildable where a layer does not fit. A plain chain has the weights of `Network.he`.
    """
    complaints: list[Complaint] = []
    placed = _placed(layers, WHERE, complaints)
    if complaints:
        raise Unbuildable(complaints[0].path, complaints[0].words)
    if placed and placed[0].name == "flatten":
        # Samples are kept flattened: nothing is to be done.
        placed, shape = placed[1:], (math.prod(shape),)
    making = _Making(np.random.default_rng(seed))
    last = making.chain(placed, _Value(INPUT, shape))
    if len(last.shape) != 1:
        path = placed[-1].path if placed else WHERE
        raise Unbuildable(
            path,
            f"the value after the last layer is {shown(last.shape)}, and the dense layer to the {n_outputs} "
            "outputs reads a vector; end with flatten or global_average_pool",
        )
    making.path = WHERE
    making.add("dense", Dense(making.draw((n_outputs, *last.shape)), np.zeros(n_outputs)), last)
    return network_of(Graph(shape, tuple(making.nodes)), output_named(output))


def has_dropout(layers: Sequence[Any]) -> bool:
    """Tell whether a list of layers has dropout anywhere."""

    def among(placed: tuple[Placed, ...]) -> bool:
        return any(layer.name == "dropout" or any(map(among, layer.inside)) for layer in placed)

    return among(_placed(layers, WHERE, []))


def _placed(layers: Sequence[Any], at: KeyPath, complaints: list[Complaint]) -> tuple[Placed, ...]:
    """Return a list of layers, and add what is wrong with it to the complaints."""
    placed = (_layer(item, (*at, index), complaints) for index, item in enumerate(layers))
    return tuple(layer for layer in placed if layer is not None)


def _layer(item: Any, path: KeyPath, complaints: list[Complaint]) -> Placed | None:
    """Return a layer as it is configured, or None, with what is wrong with it among the complaints."""
    name, options = item, None
    if isinstance(item, dict):
        if len(item) != 1:
            words = "must be one layer: its name, a colon and its options; begin the next one with a dash"
            complaints.append(Complaint(path, words))
            return None
        ((name, options),) = item.items()
        path = (*path, name)
    if not isinstance(name, str) or name not in LAYERS:
        near = did_you_mean(name, LAYERS) if isinstance(name, str) else ""
        words = f"unknown layer{near or f'; the layers are {_listed(LAYERS)}'}"
        complaints.append(Complaint(path, words, isinstance(item, dict)))
        return None
    return _with_options(name, options, path, complaints)


def _with_options(name: str, options: Any, path: KeyPath, complaints: list[Complaint]) -> Placed | None:
    model = LAYERS[name]
    main = getattr(model, "main", None)
    if options is None:
        options = {}
    is_whole = isinstance(options, dict)
    if not is_whole:
        if main is None:
            words = (
                f"must be {'its options, ' + ', '.join(fields_of(model)) if fields_of(model) else 'left out'}"
            )
            complaints.append(Complaint(path, words))
            return None
        options = {main: options}
    try:
        found = model.model_validate(options)
    except ValidationError as error:
        complaints += [_complaint(e, model, path, is_whole) for e in error.errors(include_url=False)]
        return None
    inside = {"residual": "layers", "repeat": "layers", "concat": "branches"}.get(name)
    if inside is None:
        return Placed(path, name, found)
    lists, where = getattr(found, inside), (*path, inside) if is_whole else path
    if name == "concat":
        branches = (_placed(branch, (*where, i), complaints) for i, branch in enumerate(lists))
        return Placed(path, name, found, tuple(branches))
    return Placed(path, name, found, (_placed(lists, where, complaints),))


def _complaint(error: ErrorDetails, model: type[Section], path: KeyPath, is_whole: bool) -> Complaint:
    key = str(error["loc"][0])
    fields = fields_of(model)
    here = (*path, key) if is_whole else path
    if error["type"] == "extra_forbidden":
        near = did_you_mean(key, fields)
        return Complaint(here, f"unknown key{near or f'; known here: {_listed(fields)}'}", True)
    must = f"must be {allowed(fields[key])}"
    if error["type"] == "missing":
        return Complaint(here, f"missing; {must}", True)
    return Complaint(here, must)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


class _Value(NamedTuple):
    """A vertex that the next layer reads."""

    name: str
    shape: Shape


class _Making:
    """The nodes made so far. `path` is where the layer stands that is being made."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.nodes: list[Node] = []
        self.path: KeyPath = WHERE
        self._rng = rng
        self._counts: Counter[str] = Counter()
        self._layers = self._weights = 0

    def draw(self, shape: Shape) -> Array:
        """Return He-normal weights, outputs x what each reads."""
        self._weights += math.prod(shape)
        if self._weights > MOST_WEIGHTS:
            raise Unbuildable(
                self.path,
                f"with this layer the network has {self._weights:,} weights, more than {MOST_WEIGHTS:,}",
            )
        return self._rng.normal(0.0, np.sqrt(2.0 / math.prod(shape[1:])), size=shape)

    def add(self, kind: str, operation: Operation, *values: _Value) -> _Value:
        """Add a vertex, named after its kind and numbered."""
        self._counts[kind] += 1
        name = f"{kind}_{self._counts[kind]}"
        try:
            shape = operation.shape(*(value.shape for value in values))
        except ValueError as error:
            raise Unbuildable(self.path, str(error)) from None
        self.nodes.append(Node(name, operation, tuple(value.name for value in values)))
        return _Value(name, shape)

    def chain(self, layers: Sequence[Placed], value: _Value) -> _Value:
        """Add layers in order."""
        for layer in layers:
            value = self.layer(layer, value)
        return value

    def layer(self, layer: Placed, value: _Value) -> _Value:
        """Add a layer and return its value."""
        self._layers += 1
        self.path = layer.path
        if self._layers > MOST_LAYERS:
            raise Unbuildable(self.path, f"more than {MOST_LAYERS:,} layers, repetitions counted")
        options = layer.options
        if isinstance(options, Layer):
            try:
                operation = options.operation(value.shape, self.draw)
            except Unbuildable:
                raise
            except ValueError as error:
                raise Unbuildable(self.path, str(error)) from None
            return self.add(layer.name, operation, value)
        if isinstance(options, Residual):
            return self._residual(layer, options, value)
        if isinstance(options, Concat):
            ends = [self.chain(branch, value) for branch in layer.inside]
            self.path = layer.path
            return self.add("concat", Concatenate(-len(value.shape)), *ends)
        if isinstance(options, Repeat):
            for _ in range(options.times):
                value = self.chain(layer.inside[0], value)
        elif layer.name == "global_average_pool":
            if len(value.shape) < 2:
                raise Unbuildable(
                    self.path, f"reads an image, and the value before it is {shown(value.shape)}"
                )
            value = self.add(layer.name, Mean(tuple(range(1 - len(value.shape), 0))), value)
            value = self.add("flatten", Flatten(), value)
        elif layer.name == "flatten" and len(value.shape) > 1:
            value = self.add("flatten", Flatten(), value)
        return value

    def _residual(self, layer: Placed, options: Residual, value: _Value) -> _Value:
        """Add the branch, the shortcut where one is needed, and the sum."""
        end = self.chain(layer.inside[0], value)
        self.path = layer.path
        if end is value:
            raise Unbuildable(self.path, "a residual needs layers inside that change something")
        differ = end.shape != value.shape
        if differ and options.project is False:
            raise Unbuildable(
                self.path,
                f"what goes in is {shown(value.shape)} and what comes out {shown(end.shape)}, which do not "
                "add; leave project out for a shortcut, or let the layers inside keep the shape",
            )
        if differ or options.project is True:
            value = self.add("shortcut", self._shortcut(value.shape, end.shape), value)
        return self.add("add", Add(), end, value)

    def _shortcut(self, shape: Shape, wanted: Shape) -> Operation:
        """Return a convolution of length 1, or a dense layer, from one shape to another."""
        if len(shape) == len(wanted) == 1:
            return Dense(self.draw((*wanted, *shape)))
        strides = tuple(math.ceil(n / m) for n, m in zip(shape[1:], wanted[1:], strict=False))
        if len(shape) != len(wanted) or any(
            math.ceil(n / s) != m for n, s, m in zip(shape[1:], strides, wanted[1:], strict=True)
        ):
            raise Unbuildable(
                self.path,
                f"no shortcut leads from what goes in, {shown(shape)}, to what comes out, {shown(wanted)}: "
                "the lengths must be the same, or those of a stride; padding: same keeps them",
            )
        return Convolution(self.draw((wanted[0], shape[0], *(1,) * len(strides))), None, strides)
