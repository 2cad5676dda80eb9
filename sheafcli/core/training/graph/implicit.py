"""Any graph as a function of all its weights, for implicit steps (`sheafcli.core.training.implicit`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sheafcli.core.averaged import Averaged
from sheafcli.core.blocks import blocks
from sheafcli.core.graph import Graph
from sheafcli.core.network import GraphNetwork
from sheafcli.core.operation import Kinked, Learnable
from sheafcli.core.sweep import forward, linearize, resist
from sheafcli.core.training.descent import Rule
from sheafcli.core.training.graph.backprop import BackpropRule
from sheafcli.core.training.graph.equilibrium import EquilibriumRule
from sheafcli.core.training.graph.least_squares import GraphLeastSquares
from sheafcli.core.training.graph.parameters import GraphParameters
from sheafcli.core.training.least_squares import MOST_TOLD, telling
from sheafcli.core.types import Array


@dataclass(frozen=True, eq=False)
class GraphPass:
    """A forward pass with kinks softened by eps: the outputs, and the root mean squares of kinks' inputs."""

    f: Array
    sizes: list[float]
    softness: Sequence[float]


class GraphModel:
    """See `sheafcli.core.training.model.Model`. Softened are activations with kinks but no parameters."""

    def __init__(self, network: GraphNetwork, X: Array):
        self._X = X
        self._parameters = GraphParameters(network, np.float64)
        self.flat = self._parameters.flat
        self.weighs: Array = np.zeros_like(self.flat)
        before = self.flat.copy()
        self.flat[:] = 0.0
        for W in self._parameters.W:
            W[...] = 1.0
        self.weighs[:], self.flat[:] = self.flat, before
        graph = self._parameters.graph
        soft = {
            vertex.name: Averaged(vertex.operation, np.zeros(()))
            for vertex in graph.vertices
            if isinstance(vertex.operation, Kinked) and not isinstance(vertex.operation, Learnable)
        }
        nodes = (replace(n, operation=soft[n.name]) if n.name in soft else n for n in graph.nodes)
        # It reads the same parameters.
        self._graph = Graph(graph.input_shape, tuple(nodes))
        self._softness = [operation.eps for operation in soft.values()]
        self._kinked = {vertex.index for vertex in graph.vertices if vertex.name in soft}
        self._entries = sum(vertex.size for vertex in graph.vertices)

    def prepare(self) -> None:
        """Do nothing: neurons that are balanced in a chain may meet at a join here."""

    def forward(self, softness: Sequence[float] = ()) -> GraphPass:
        """Pass the samples on, through kinks as they are unless they are to be soft."""
        self._soften(softness)
        f = np.empty((len(self._X), self._graph.output.size))
        squares, counts = dict.fromkeys(self._kinked, 0.0), dict.fromkeys(self._kinked, 1)
        for block in blocks(len(self._X), self._entries):
            for step in forward(self._graph, self._X[block]):
                if step.vertex.index in self._kinked:
                    squares[step.vertex.index] += float(np.vdot(step.parents[0], step.parents[0]))
                    counts[step.vertex.index] = step.vertex.size * len(self._X)
            f[block] = step.value
        return GraphPass(f, [np.sqrt(squares[v] / counts[v]) for v in sorted(squares)], softness)

    def problem(self, here: GraphPass, T: Array, rho: Array, w: Array, decay: Array) -> GraphLeastSquares:
        """Return the least-squares problem of the rows T df."""
        self._soften(here.softness)
        samples, T, rho = telling(T, rho, MOST_TOLD * rho.size)
        return GraphLeastSquares(self._graph, self._X[samples], T, rho, w, decay)

    def resistance(self, here: GraphPass) -> Array:
        """Return S."""
        self._soften(here.softness)
        n, outputs = here.f.shape
        S = np.empty((n, outputs, outputs))
        for block in blocks(n, outputs * self._entries):
            at = linearize(self._graph, self._X[block])
            unit = np.broadcast_to(np.eye(outputs)[:, np.newaxis], (outputs, len(at.output), outputs))
            S[block] = np.moveaxis(resist(at, unit), 0, 1)
        return S

    def network(self) -> GraphNetwork:
        """Return the network as it is now."""
        return self._parameters.network()

    def evaluated(self, y: Array, kappa: float) -> Rule:
        """Return the rule whose energy and discord are those of the equilibrium at the weights."""
        rule: Rule = EquilibriumRule(kappa) if kappa > 0.0 else BackpropRule()
        batch = self._parameters.batch(len(y))
        batch.load(self._X, y)
        rule.evaluate(self._parameters, batch, None)
        return rule

    def _soften(self, softness: Sequence[float]) -> None:
        for eps, value in zip(self._softness, softness or [0.0] * len(self._softness), strict=True):
            eps[...] = value
