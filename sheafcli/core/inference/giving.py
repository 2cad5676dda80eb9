"""A free input of a network whose inner edges give way: the equilibrium of a larger sheaf.

The prior is one more edge: a vertex w that costs |w|^2 / 2 stands before the network and moves its input,
x = mu + A w. So `relaxation.py` finds the equilibrium, kinks included. Inner edges of stiffness 1 / kappa are
the same as unit ones with all else, prior and pulls, kappa times as stiff.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import scipy.sparse as sp

from sheafcli.core.graph import INPUT, Graph, Node
from sheafcli.core.inference.aim import Aim
from sheafcli.core.network import GraphNetwork
from sheafcli.core.operation import Kind
from sheafcli.core.outputs import Identity
from sheafcli.core.pins import Pin
from sheafcli.core.relaxation import Relaxed, relax
from sheafcli.core.sweep import forward
from sheafcli.core.types import Array, Shape

PRIOR, MOVED = "the prior of x", "x as it is moved"


@dataclass(frozen=True, eq=False)
class Still:
    """The vertex w of the prior: 0, whatever the boundary is, so that its residual is -w."""

    rank: int
    kind: ClassVar[Kind] = "affine"

    def shape(self, parent: Shape) -> Shape:
        """Return the rank."""
        return (self.rank,)

    def forward(self, x: Array) -> Array:
        """Return 0."""
        return np.zeros((len(x), self.rank))

    def at(self, x: Array) -> Nothing:
        """Return 0."""
        return Nothing(self.rank, x.shape[1:])


@dataclass(frozen=True, eq=False)
class Nothing:
    """The map 0."""

    rank: int
    read: Shape

    def jvp(self, dx: Array) -> Array:
        """Return 0."""
        return np.zeros((*dx.shape[: dx.ndim - len(self.read)], self.rank))

    def vjp(self, v: Array) -> tuple[Array]:
        """Return 0."""
        return (np.zeros((*v.shape[:-1], *self.read)),)

    def matrix(self, sample: int) -> tuple[sp.csr_array]:
        """Return 0."""
        return (sp.csr_array((self.rank, int(np.prod(self.read)))),)

    def norm(self) -> tuple[float]:
        """Return 0."""
        return (0.0,)


@dataclass(frozen=True, eq=False)
class Moved:
    """mu + A w, with A coordinates x rank: exact, since the prior has its edge already. It is its own map."""

    root: Array
    read: Shape
    kind: ClassVar[Kind] = "exact"

    def shape(self, mean: Shape, w: Shape) -> Shape:
        """Return that of the input."""
        return mean

    def forward(self, mean: Array, w: Array) -> Array:
        """Return mu + A w."""
        return np.asarray(mean + (w @ self.root.T).reshape(*w.shape[:-1], *self.read))

    def at(self, mean: Array, w: Array) -> Moved:
        """Return the same."""
        return self

    def jvp(self, dmean: Array, dw: Array) -> Array:
        """Return dmu + A dw."""
        return self.forward(dmean, dw)

    def vjp(self, v: Array) -> tuple[Array, Array]:
        """Return v and A^T v."""
        return v, v.reshape(*v.shape[: v.ndim - len(self.read)], -1) @ self.root

    def matrix(self, sample: int) -> tuple[sp.csr_array, sp.csr_array]:
        """Return the identity and A."""
        return sp.csr_array(sp.eye_array(len(self.root))), sp.csr_array(self.root)

    def norm(self) -> tuple[float, float]:
        """Return 1 and the norm of A."""
        return 1.0, float(np.linalg.norm(self.root, 2))


@dataclass(frozen=True, eq=False)
class Given:
    """x, samples x coordinates, its w, the energy in units of the prior, and where it is an equilibrium."""

    x: Array
    w: Array
    energy: Array
    relaxed: Relaxed


def give_way(aim: Aim, kappa: float, mean: Array, root: Array, w: Array) -> Given:
    """Return the equilibrium nearest to w, samples x rank, of inner edges of stiffness 1 / kappa."""
    network, scale = aim.network, np.sqrt(kappa)
    # Where nothing is free any more, the network stands alone.
    larger = _with_prior(aim, root / scale) if root.shape[1] else network
    names = dict(zip((v.index for v in network.graph.heads), network.stalks, strict=True))
    at = (mean + w @ root.T).reshape(-1, *network.graph.input_shape)
    passed = forward(network.graph, at)
    begin = {names[step.vertex.index]: step.value for step in passed if step.vertex.index in names}
    pins = [pin if pin.hard else replace(pin, stiffness=kappa * _stiffness(pin)) for pin in aim.pins]
    target = stiffness = None
    if isinstance(network.output, Identity):
        pins += _output_pins(aim, kappa)
    elif aim.stiffness is None:
        raise ValueError(
            "a class that must be reached is a bound, which inner edges that give way cannot be held to: "
            "leave kappa at 0"
        )
    else:
        target, stiffness = aim.y, kappa * aim.stiffness
    if root.shape[1]:
        begin[PRIOR] = scale * w
    relaxed = relax(larger, mean, target=target, stiffness=stiffness, pins=pins, start=begin)
    w = relaxed.stalks[PRIOR] / scale if root.shape[1] else w
    return Given(mean + w @ root.T, w, relaxed.energy / kappa, relaxed)


def _stiffness(pin: Pin) -> float:
    assert pin.stiffness is not None
    return pin.stiffness


def _output_pins(aim: Aim, kappa: float) -> list[Pin]:
    """Return the target of an output that is values as pins on it."""
    network = aim.network
    last = list(network.stalks)[-1]
    if network.graph.output.edge is None:
        raise ValueError(f"{network.graph.output.name}, the output, is exact: it has no stalk to hold")
    pins = []
    for j in np.flatnonzero(aim.asked):
        stiffness = None if aim.stiffness is None else kappa * aim.stiffness / float(aim.scale[j]) ** 2
        pins.append(Pin(last, int(j), aim.y[:, j], stiffness))
    return pins


def _with_prior(aim: Aim, root: Array) -> GraphNetwork:
    """Return the network behind a vertex that moves its input; its stalks keep their names."""
    graph, shape = aim.network.graph, aim.network.graph.input_shape
    stalks = dict(zip((v.name for v in graph.heads), aim.network.stalks, strict=True))
    renamed = {INPUT: MOVED} | stalks
    nodes = [Node(PRIOR, Still(root.shape[1]), (INPUT,)), Node(MOVED, Moved(root, shape), (INPUT, PRIOR))]
    nodes += [
        Node(stalks.get(node.name, node.name), node.operation, tuple(renamed.get(p, p) for p in node.parents))
        for node in graph.nodes
    ]
    return GraphNetwork(Graph(shape, tuple(nodes)), aim.network.output)
