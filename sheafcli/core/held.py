"""What is held and pulled in a graph: pins, and a target of the output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.graph import Graph, Vertex
from sheafcli.core.network import AnyNetwork
from sheafcli.core.operation import Kinked
from sheafcli.core.outputs import Identity, Output
from sheafcli.core.pins import Pin, check_pins
from sheafcli.core.softened import Lines
from sheafcli.core.sweep import Stalks
from sheafcli.core.types import Array


@dataclass(frozen=True, eq=False)
class Pull:
    """An output edge of stiffness gamma: the potential gamma potential(z, y) on the output z.

    With `squared` it is gamma |phi(z) - y|^2 / 2.
    """

    output: Output
    y: Array
    stiffness: float
    squared: bool

    def energy(self, z: Array) -> Array:
        """Return the potential, a number a sample."""
        if self.squared:
            return np.asarray(0.5 * self.stiffness * np.sum((self.output.value(z) - self.y) ** 2, axis=1))
        return self.stiffness * self.output.potential(z, self.y)

    def slope(self, z: Array) -> Array:
        """Return its gradient in z."""
        p = self.output.value(z)
        error = p - self.y
        return self.stiffness * (self.output.spread(p, error) if self.squared else error)

    def bend(self, z: Array) -> Callable[[Array], Array]:
        """Return v -> its Hessian times v; for squares Gauss and Newton's."""
        p, spread = self.output.value(z), self.output.spread
        if self.squared:
            return lambda v: self.stiffness * spread(p, spread(p, v))
        return lambda v: self.stiffness * spread(p, v)

    def hessian(self, z: Array) -> Array:
        """Return that Hessian itself, samples x outputs x outputs."""
        bend = self.bend(z)
        return np.stack([bend(np.broadcast_to(unit, z.shape)) for unit in np.eye(z.shape[1])], axis=2)


class Partner(NamedTuple):
    """The activation that alone reads a stalk: its vertex, and what it is made of."""

    vertex: Vertex
    operation: Kinked
    lines: Lines

    @classmethod
    def of(cls, vertex: Vertex) -> Partner:
        """Return what an activation with kinks is made of."""
        assert isinstance(vertex.operation, Kinked)
        return cls(vertex, vertex.operation, Lines.of(vertex.operation, vertex.shape))


@dataclass(frozen=True, eq=False)
class Problem:
    """What is held and pulled, by the index of the head: hard pins, springs and the pull on the output.

    `hard` are masks, `values` what is held or aimed at, `springs` stiffnesses, 0 where there is none; each
    samples x stalk. `partners` maps a stalk z that one activation alone reads to that activation, `names`
    are those of the stalks.
    """

    graph: Graph
    X: Array
    hard: dict[int, NDArray[np.bool_]]
    springs: Stalks
    values: Stalks
    pull: Pull | None
    partners: dict[int, Partner]
    names: dict[str, int]

    @classmethod
    def of(
        cls,
        network: AnyNetwork,
        X: Array,
        target: Array | None,
        stiffness: float | None,
        squared: bool,
        pins: Sequence[Pin],
    ) -> Problem:
        """Translate pins and a target; ValueError where they do not fit."""
        graph, n = network.graph, len(X)
        if stiffness is not None and (target is None or not 0.0 < stiffness < np.inf):
            raise ValueError(f"stiffness needs a target, and to be above 0 and finite, got {stiffness}")
        zeros = {v.index: np.zeros((n, *v.shape)) for v in graph.heads}
        hard = {i: np.zeros(z.shape, dtype=bool) for i, z in zeros.items()}
        springs, values = zeros, {i: z.copy() for i, z in zeros.items()}
        pull = None
        rigid = target is not None and stiffness is None and isinstance(network.output, Identity)
        if target is not None:
            if rigid and graph.output.edge is None:
                raise ValueError(
                    f"{graph.output.name}, the output, is exact: it has no stalk to hold; give a stiffness, "
                    "or pin what it reads"
                )
            if not rigid:
                pull = Pull(network.output, target, 1.0 if stiffness is None else stiffness, squared)
        names = {name: v.index for name, v in zip(network.stalks, graph.heads, strict=True)}
        held = [name for name, i in names.items() if rigid and i == graph.output.index]
        check_pins(pins, {name: zeros[i] for name, i in names.items()}, *held)
        for pin in pins:
            index, place = names[pin.stalk], pin.index
            values[index][place] = pin.value
            if pin.stiffness is None:
                hard[index][place] = True
            else:
                springs[index][place] = pin.stiffness
        if rigid and target is not None:
            hard[graph.output.index][:] = True
            values[graph.output.index][:] = target
        partners = {}
        for head in graph.heads:
            readers = [graph.vertices[i] for i in graph.readers.get(head.index, ())]
            alone = len(readers) == 1 and isinstance(readers[0].operation, Kinked)
            if alone and head is not graph.output:
                partners[head.index] = Partner.of(readers[0])
        return cls(graph, X, hard, springs, values, pull, partners, names)

    def some(self, rows: NDArray[Any]) -> Problem:
        """Return the problem of some samples."""
        hard, springs, values = (
            {i: part[rows] for i, part in parts.items()} for parts in (self.hard, self.springs, self.values)
        )
        pull = None if self.pull is None else replace(self.pull, y=self.pull.y[rows])
        return replace(self, X=self.X[rows], hard=hard, springs=springs, values=values, pull=pull)

    def hold(self, x: Stalks) -> dict[int, Array]:
        """Return stalks with what is held put in place."""
        return {i: np.where(self.hard[i], self.values[i], stalk) for i, stalk in x.items()}
