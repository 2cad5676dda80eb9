"""The heat equation of any graph: the gradient flow of half the sum of squared residuals, in time.

    dx/dt = -alpha (delta^T r + springs + J^T (phi(z) - y)),   r_v = g_v(x_pa(v)) - x_v,

delta read anew at every instant, hard pins overwritten; the last term is the output edge's. Integrators are
those of chains; they know nothing of kinks here, so that forward Euler chatters across them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
import scipy
from numpy.typing import NDArray

from sheafcli.core.edge import Edge
from sheafcli.core.following import Diffusion, follow
from sheafcli.core.held import Problem
from sheafcli.core.integrators import Euler, Integrator
from sheafcli.core.network import GraphNetwork, as_inputs, as_targets
from sheafcli.core.operation import Kinked
from sheafcli.core.pins import Pin
from sheafcli.core.sweep import Linearization, Step, block_norms, forward, linearize, pull_back
from sheafcli.core.theorems import forward_coordinates
from sheafcli.core.trace import Recorder
from sheafcli.core.types import Array, Seed

Start = Literal["random", "zeros", "forward"]


class State:
    """The stalks of all heads in one array, samples x coordinates, with views by name.

    `z_hidden` is empty: integrators hold nothing at kinks.
    """

    def __init__(self, network: GraphNetwork, coordinates: Array):
        self.data = np.array(coordinates, order="F")
        self.z_hidden = self.data[:, :0]
        self.n_samples = len(self.data)
        places = network.graph.places.values()
        self._places = dict(
            zip(network.stalks, zip(places, network.stalks.values(), strict=True), strict=True)
        )

    @classmethod
    def of(cls, network: GraphNetwork, stalks: Mapping[str, Array]) -> State:
        """Pack stalks given by name, each samples x stalk."""
        parts = [np.asarray(stalks[name]) for name in network.stalks]
        return cls(network, np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1))

    def stalks(self) -> dict[str, Array]:
        """Return the stalks by name, each samples x stalk."""
        return {
            name: self.data[:, place].reshape(-1, *shape) for name, (place, shape) in self._places.items()
        }


class GraphHeat:
    """The heat equation of a graph network for a batch of inputs, which integrators change in place.

    `evaluations` counts how often the forces have been computed.
    """

    def __init__(
        self,
        network: GraphNetwork,
        X: Array,
        state: State,
        *,
        target: Array | None = None,
        pins: Sequence[Pin] = (),
        alpha: float = 1.0,
    ):
        self.network, self.X, self.cochain, self.alpha = network, X, state, alpha
        self.evaluations = 0
        self._problem = problem = Problem.of(network, X, target, None, False, pins)
        graph = network.graph
        self._hard = graph.join({i: mask.astype(np.float64) for i, mask in problem.hard.items()}) > 0.0
        self._values, self._springs = graph.join(problem.values), graph.join(problem.springs)

    @property
    def neurons(self) -> list[tuple[int, slice]]:
        """The layers of the activations with kinks, and their columns in `pattern`."""
        kinked = [v for v in self.network.graph.heads if isinstance(v.operation, Kinked)]
        ends = np.cumsum([0, *(v.size for v in kinked)]).tolist()
        edges = [v.edge for v in kinked if v.edge is not None]
        return [(e.layer, slice(a, b)) for e, a, b in zip(edges, ends, ends[1:], strict=False)]

    def pattern(self) -> NDArray[np.bool_]:
        """Return which entries that activations with kinks read are at or above the first one."""
        parts = [np.zeros((len(self.X), 0), dtype=bool)]
        for vertex, parents, _ in self._steps():
            if isinstance(vertex.operation, Kinked):
                parts.append((vertex.operation.pattern(parents[0]) > 0).reshape(len(self.X), -1))
        return np.concatenate(parts, axis=1)

    def discord(self) -> dict[Edge, float]:
        """Return the mean over samples of every edge's squared residual.

        The output edge, phi(z) - y, is among them where it pulls on a target y.
        """
        graph, pull = self.network.graph, self._problem.pull
        held = graph.split(self.cochain.data)
        residuals = {}
        for vertex, _, value in self._steps():
            if vertex.edge is not None:
                residuals[vertex.edge] = value - held[vertex.index]
        if pull is not None:
            residuals[graph.output_edge] = pull.output.value(held.get(graph.output.index, value)) - pull.y
        return {edge: float(np.sum(r * r)) / len(self.X) for edge, r in residuals.items()}

    def output(self) -> Array:
        """Return the value of the output: its stalk, or what makes it where it is exact."""
        return self._output(self.linearized())

    def _steps(self) -> Iterator[Step]:
        graph = self.network.graph
        return forward(graph, self.X, graph.split(self.cochain.data))

    def linearized(self) -> Linearization:
        """Return the graph linearised at the stalks, with its residuals."""
        return linearize(self.network.graph, self.X, self.network.graph.split(self.cochain.data))

    def rate(self) -> Array:
        """Return dx/dt / alpha of every coordinate, 0 where a pin holds hard."""
        graph, problem, at = self.network.graph, self._problem, self.linearized()
        self.evaluations += 1
        out = graph.output.index
        pulled = {} if problem.pull is None else {out: problem.pull.slope(self._output(at))}
        pulls = pull_back(at, pulled, held=at.residuals)
        gradient = graph.join({v.index: w - at.residuals[v.index] for v, w in pulls if v.edge is not None})
        gradient += self._springs * (self.cochain.data - self._values)
        return np.asfortranarray(np.where(self._hard, 0.0, -gradient))

    def sliding_rate(self) -> Array:
        """Return the same: kinks are not looked at."""
        return self.rate()

    def pin(self) -> None:
        """Overwrite what is pinned hard."""
        np.copyto(self.cochain.data, self._values, where=self._hard)

    def jacobian(self) -> scipy.sparse.csr_array:
        """Nothing: implicit integrators are for chains."""
        raise ValueError("implicit integrators are for chains; choose euler or chebyshev")

    def _output(self, at: Linearization) -> Array:
        graph = self.network.graph
        return graph.split(self.cochain.data).get(graph.output.index, at.output)

    def largest_eigenvalue(self) -> float:
        """Return an upper bound of the largest eigenvalue at the stalks as they are, times alpha.

        Every block of delta in place of its norm gives a matrix whose largest singular value is no smaller;
        where operations are smooth, or multiply, the norms are those at the values at hand.
        """
        moved, read = block_norms(self.linearized())
        output = read[self.network.graph.output.index]
        bound = float(np.linalg.norm(moved + np.eye(len(moved)), 2) ** 2)
        bound += float(self._springs.max(initial=0.0))
        pull = self._problem.pull
        if pull is not None:
            bound += pull.stiffness * pull.output.curvature * float(output @ output)
        return self.alpha * bound


def diffuse_graph(
    network: GraphNetwork,
    X: Array,
    *,
    start: Start | Mapping[str, Array] = "random",
    seed: Seed = 0,
    target: Array | None = None,
    pins: Sequence[Pin] = (),
    alpha: float = 1.0,
    integrator: Integrator | None = None,
    steps: int = 100_000,
    tolerance: float = 1e-10,
    recorder: Recorder | None = None,
) -> Diffusion:
    """Follow the heat equation of a graph network until every coordinate rests, or for `steps` steps.

    As `sheafcli.core.chain.diffusion.diffuse`; the result's `cochain` is a `State`. The target holds an
    identity output, and pulls others by the output edge. The integrator, Euler unless given, is explicit:
    its steps follow an upper bound of the largest eigenvalue by the norms of the restrictions.
    """
    X = as_inputs(network, X).astype(np.float64)
    target = None if target is None else as_targets(network, target, len(X))
    state = start_state(network, X, start, seed)
    equation = GraphHeat(network, X, state, target=target, pins=pins, alpha=alpha)
    return follow(equation, integrator or Euler(), steps, tolerance, recorder)


def start_state(network: GraphNetwork, X: Array, start: Start | Mapping[str, Array], seed: Seed = 0) -> State:
    """Return fresh stalks for the inputs X, as a diffusion begins from: normal ones if they are random."""
    graph = network.graph
    if start == "random":
        return State(network, np.random.default_rng(seed).standard_normal((len(X), graph.dimension)))
    if start == "zeros":
        return State(network, np.zeros((len(X), graph.dimension)))
    if start == "forward":
        return State(network, forward_coordinates(graph, X))
    if isinstance(start, str):
        raise ValueError(f"a diffusion starts random, zeros, forward or from stalks, got {start!r}")
    return State.of(network, start)
