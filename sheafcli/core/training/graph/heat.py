"""The joint flow of stalks and weights on any graph, by walks.

With all stalks held, one walk forwards gives the true residuals r_v = g_v(x_pa(v)) - x_v, and one backwards
delta^T r, to which the output edge adds phi(z) - y at the output. So

    dx/dt = -alpha (delta^T r + (phi(z) - y)),   dtheta_v/dt = -beta (d g_v / d theta_v)^T r_v,

the latter summed over the samples. It is the gradient flow of half the squared residuals plus the output's
potential. Everything is in double precision.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from sheafcli.core.blocks import blocks
from sheafcli.core.edge import Edge
from sheafcli.core.graph import Vertex
from sheafcli.core.network import GraphNetwork
from sheafcli.core.operation import Designed
from sheafcli.core.sweep import Linearization, block_norms, forward, linearize, pull_back
from sheafcli.core.training.graph.parameters import ENTRIES, GraphParameters, split
from sheafcli.core.types import Array


class GraphFlow:
    """The state of the flow; see `sheafcli.core.training.heat.JointFlow`."""

    def __init__(self, network: GraphNetwork, X: Array, y: Array, alpha: float, beta: float):
        self._X, self._y, self._alpha, self._beta = X, y, alpha, beta
        self._parameters = GraphParameters(network, np.float64)
        graph = self._parameters.graph
        # One stalk after the other, each samples x stalk.
        self._flat: Array = np.zeros(len(X) * graph.dimension)
        views = split(self._flat, [(len(X), *vertex.shape) for vertex in graph.heads])
        self._stalks = {vertex.index: view for vertex, view in zip(graph.heads, views, strict=True)}
        self._squares = 0.0

    def restart(self, stalks: str | Mapping[str, Array], seed: np.random.SeedSequence) -> None:
        """Begin the stalks anew."""
        if not isinstance(stalks, str):
            self._take(stalks)
        elif stalks == "random":
            self._flat[:] = np.random.default_rng(seed).standard_normal(self._flat.size)
        elif stalks == "forward":
            for block in self._blocks():
                for step in forward(self._parameters.graph, self._X[block]):
                    if step.vertex.index in self._stalks:
                        self._stalks[step.vertex.index][block] = step.value
        else:
            self._flat[:] = 0.0

    def step(self, dt: float) -> None:
        """Take one joint Euler step: all forces from the old state, then weights and stalks move."""
        parameters, output = self._parameters, self._parameters.output
        parameters.gradient[:] = 0.0
        self._squares = 0.0
        # A sample's stalks move on the old weights alone, whatever the others do.
        for block, at, z in self._linearized():
            r = at.residuals
            error = output.value(z) - self._y[block]
            pulls = pull_back(at, {parameters.graph.output.index: error}, held=r)
            forces = {v.index: r[v.index] - w for v, w in pulls if v.edge is not None}
            for vertex in parameters.graph.heads:
                if self._learns(vertex):
                    parameters.learn(vertex.index, at.inputs[vertex.index], r[vertex.index])
            for index, force in forces.items():
                self._squares += _square(force)
                self._stalks[index][block] += dt * self._alpha * force
        parameters.gradient *= dt * self._beta
        parameters.flat -= parameters.gradient

    def settle(self) -> None:
        """Do nothing: no step leaves anything for later."""

    def squares(self) -> float:
        """Return the sum of the squared forces of the last step, or of the residuals seen after it."""
        return self._squares

    def largest_eigenvalue(self) -> float:
        """Return a bound of the joint flow's largest eigenvalue, in units of alpha.

        As in `sheafcli.core.chain.stability`, every block of the Jacobian of the residuals, in the stalks and
        in the parameters, is replaced by a bound of its norm, and so is what couples an edge's parameters to
        its input through its residual. The curvature of smooth operations is left out.
        """
        graph, learning = self._parameters.graph, [v for v in self._parameters.graph.heads if self._learns(v)]
        n, m, scale = len(graph.heads), len(learning), float(np.sqrt(self._beta / self._alpha))
        J, ends, mixed = np.eye(n, n + m), np.zeros(n), np.zeros((m, n))
        squares, seen = dict.fromkeys(graph.heads, 0.0), [_Seen(vertex.operation) for vertex in learning]
        for _, at, _ in self._linearized():
            made, read = block_norms(at)
            J[:, :n] = np.maximum(J[:, :n], made)
            ends = np.maximum(ends, read[-1])
            for vertex in graph.heads:
                squares[vertex] += _square(at.residuals[vertex.index])
            for i, vertex in enumerate(learning):
                coupling = seen[i].add(at.inputs[vertex.index])
                mixed[i] = np.maximum(mixed[i], coupling * read[vertex.parents[0]])
        self._squares = sum(squares.values())
        for i, vertex in enumerate(learning):
            J[graph.heads.index(vertex), n + i] = scale * seen[i].norm()
            mixed[i] *= scale * np.sqrt(squares[vertex])
        hessian = J.T @ J
        hessian[:n, :n] += self._parameters.output.curvature * np.outer(ends, ends)
        hessian[n:, :n] += mixed
        hessian[:n, n:] += mixed.T
        return float(np.linalg.eigvalsh(hessian)[-1]) if np.isfinite(hessian).all() else float("inf")

    def worst_edge(self) -> Edge:
        """Return the edge with the largest residual, one that is not finite before all others."""
        sizes = self._discord()
        return max(sizes, key=lambda edge: np.nan_to_num(sizes[edge], nan=np.inf))

    def network(self) -> GraphNetwork:
        """Return the network as it is now."""
        return self._parameters.network()

    def stalks(self) -> dict[str, Array]:
        """Return copies of the stalks by the name of their vertex, samples x stalk."""
        return {vertex.name: self._stalks[vertex.index].copy() for vertex in self._parameters.graph.heads}

    def energy(self) -> float:
        """Return half the discord of the stalks plus the output's potential, a mean per sample."""
        potential = self._parameters.output.potential(self._output(), self._y)
        return 0.5 * sum(self._discord().values()) + float(np.mean(potential))

    def discord(self) -> dict[Edge, float]:
        """Return the training discord."""
        pulled = self._parameters.output.discord(self._output(), self._y)
        return self._discord() | {self._parameters.graph.output_edge: pulled}

    def state(self) -> dict[str, Array]:
        """Return parameters and stalks."""
        return {"parameters": self._parameters.flat.copy(), "stalks": self._flat.copy()}

    def restore(self, state: Mapping[str, Array]) -> None:
        """Take over a state of `state`, in place: operations hold views of these arrays."""
        for name, array in (("parameters", self._parameters.flat), ("stalks", self._flat)):
            if state[name].shape != array.shape:
                raise ValueError(f"the state has {state[name].size} numbers of {name}, not {array.size}")
            np.copyto(array, state[name])

    def _take(self, stalks: Mapping[str, Array]) -> None:
        heads = self._parameters.graph.heads
        if set(stalks) != {vertex.name for vertex in heads}:
            raise ValueError(
                f"start stalks must be {', '.join(v.name for v in heads)}; got {', '.join(stalks)}"
            )
        for vertex in heads:
            given, own = np.asarray(stalks[vertex.name]), self._stalks[vertex.index]
            if given.size != own.size or len(given) != len(own):
                raise ValueError(f"stalk {vertex.name} must have shape {own.shape}, got {given.shape}")
            own[...] = given.reshape(own.shape)

    def _blocks(self) -> Iterator[slice]:
        entries = sum(vertex.size for vertex in self._parameters.graph.vertices)
        return blocks(len(self._X), entries, ENTRIES)

    def _learns(self, vertex: Vertex) -> bool:
        return vertex.index in self._parameters.slopes

    def _linearized(self) -> Iterator[tuple[slice, Linearization, Array]]:
        """Yield blocks of samples, the graph at their stalks, and what stands at the output."""
        graph = self._parameters.graph
        for block in self._blocks():
            held = {index: stalk[block] for index, stalk in self._stalks.items()}
            at = linearize(graph, self._X[block], held, keep=self._parameters.slopes)
            yield block, at, held.get(graph.output.index, at.output)

    def _output(self) -> Array:
        return np.concatenate([z for _, _, z in self._linearized()])

    def _discord(self) -> dict[Edge, float]:
        """Return the discord of all edges but the output's."""
        discord = dict.fromkeys(self._parameters.graph.edges, 0.0)
        for _, at, _ in self._linearized():
            for vertex in self._parameters.graph.heads:
                assert vertex.edge is not None
                discord[vertex.edge] += _square(at.residuals[vertex.index]) / len(self._X)
        return discord


class _Seen:
    """How far the values of an operation move with its parameters: a bound over all samples.

    Where it is linear in its weights, that is the norm of what they multiply. Else every entry of its value
    has to do with one entry of each parameter at most.
    """

    def __init__(self, operation: Any):
        self._operation, self._is_designed = operation, isinstance(operation, Designed)
        self._sums: dict[str, Array | float] = dict.fromkeys(operation.parameters, 0.0)
        self._nothing = {name: np.zeros_like(array) for name, array in operation.parameters.items()}

    def add(self, x: Array) -> float:
        """Count in some inputs. Return by how much the slope in x moves, at most, with the parameters."""
        if self._is_designed:
            design = self._operation.design(x)
            if "bias" in self._nothing:
                design = np.concatenate([design, np.ones_like(design[:, :, :1])], axis=2)
            gram = (design @ np.swapaxes(design, -1, -2)).sum(axis=0)
            self._sums["weight"] = self._sums["weight"] + gram
            unit = np.zeros_like(self._nothing["weight"])
            unit.flat[0] = 1.0
            return float(replace(self._operation, weight=unit).at(x).norm()[0])
        ones = {name: np.ones_like(array) for name, array in self._nothing.items()}
        without = replace(self._operation, **self._nothing).forward(x)
        for name, one in ones.items():
            moved = replace(self._operation, **(self._nothing | {name: one})).forward(x) - without
            self._sums[name] = self._sums[name] + self._operation.gradient(x, moved)[name]
        return float(replace(self._operation, **ones).at(x).norm()[0])

    def norm(self) -> float:
        """Return the bound."""
        if self._is_designed:
            return float(np.sqrt(np.max(np.linalg.eigvalsh(self._sums["weight"]))))
        return float(np.sqrt(sum(np.max(total) for total in self._sums.values())))


def _square(r: Array) -> float:
    return float(np.vdot(r, r))
