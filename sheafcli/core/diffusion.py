"""The heat equation of any network: the gradient flow of half the sum of squared residuals, in time.

    dx/dt = -alpha (delta^T r + springs + J^T (phi(z) - y)),   r_v = g_v(x_pa(v)) - x_v,

delta read anew at every instant, hard pins overwritten; the last term is the output edge's. Integrators are
those of chains; they know nothing of kinks here, so that forward Euler chatters across them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy
from numpy.typing import NDArray

from sheafcli.core.chain.cochain import Cochain
from sheafcli.core.chain.diffusion import HeatEquation, OutputForce
from sheafcli.core.chain.network import Network
from sheafcli.core.discord import discord, residuals
from sheafcli.core.edge import Edge
from sheafcli.core.held import Problem
from sheafcli.core.integrators import Integrator, as_integrator
from sheafcli.core.network import AnyNetwork, GraphNetwork, as_inputs, as_targets
from sheafcli.core.operation import Kinked
from sheafcli.core.pins import Pin, as_pins
from sheafcli.core.sweep import Linearization, block_norms, coboundary_transposed, forward, linearize
from sheafcli.core.theorems import forward_coordinates
from sheafcli.core.trace import Recorder
from sheafcli.core.types import Array, Seed

Start = Literal["random", "zeros", "forward"]
# How often, in evaluations of the forces, a diffusion asks whether it has arrived.
LOOK_EVERY = 50
UNKNOWN_START = "a diffusion starts random, zeros, forward or from stalks, got {!r}"


class State:
    """The stalks of all heads in one array, samples x coordinates, with views by name.

    `z_hidden` is empty: integrators hold nothing at kinks.
    """

    def __init__(self, network: GraphNetwork, coordinates: Array):
        self.data = np.array(coordinates, order="F")
        self.z_hidden = self.data[:, :0]
        self.n_samples = len(self.data)
        self._network = network

    @classmethod
    def of(cls, network: GraphNetwork, stalks: Mapping[str, Array]) -> State:
        """Pack stalks given by name, each samples x stalk."""
        named = zip(network.graph.heads, network.stalks, strict=True)
        return cls(network, network.graph.join({v.index: np.asarray(stalks[name]) for v, name in named}))

    def stalks(self) -> dict[str, Array]:
        """Return the stalks by name, each samples x stalk."""
        return dict(zip(self._network.stalks, self._network.graph.split(self.data).values(), strict=True))


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
        output_force: OutputForce = "loss",
        alpha: float = 1.0,
    ):
        self.network, self.X, self.cochain, self.alpha = network, X, state, alpha
        self.evaluations = 0
        self._problem = problem = Problem.of(network, X, target, None, output_force == "least_squares", pins)
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
        graph = self.network.graph
        for vertex, parents, _ in forward(graph, self.X, graph.split(self.cochain.data)):
            if isinstance(vertex.operation, Kinked):
                parts.append((vertex.operation.pattern(parents[0]) > 0).reshape(len(self.X), -1))
        return np.concatenate(parts, axis=1)

    def discord(self) -> dict[Edge, float]:
        """Return the mean over samples of every edge's squared residual.

        The output edge, phi(z) - y, is among them where it pulls on a target y.
        """
        found, pull = residuals(self.network, self.X, self.cochain), self._problem.pull
        if pull is not None:
            found[self.network.graph.output_edge] = pull.output.value(self.output()) - pull.y
        return discord(found)

    def output(self) -> Array:
        """Return the value of the output: its stalk, or what makes it where it is exact."""
        return self._output(self._linearized())

    def _linearized(self) -> Linearization:
        """Return the graph linearised at the stalks, with its residuals."""
        return linearize(self.network.graph, self.X, self.network.graph.split(self.cochain.data))

    def rate(self) -> Array:
        """Return dx/dt / alpha of every coordinate, 0 where a pin holds hard."""
        graph, pull, at = self.network.graph, self._problem.pull, self._linearized()
        self.evaluations += 1
        slope = {} if pull is None else {graph.output.index: pull.slope(self._output(at))}
        gradient = graph.join(coboundary_transposed(at, at.residuals, slope))
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
        moved, read = block_norms(self._linearized())
        output = read[self.network.graph.output.index]
        bound = float(np.linalg.norm(moved + np.eye(len(moved)), 2) ** 2)
        bound += float(self._springs.max(initial=0.0))
        pull = self._problem.pull
        if pull is not None:
            bound += pull.stiffness * pull.output.curvature * float(output @ output)
        return self.alpha * bound


@dataclass(frozen=True, eq=False, repr=False)
class Diffusion:
    """Where a diffusion ended.

    `cochain` is the state it was in, `time` the integration time and `evaluations` the number of times the
    forces were computed. Per sample, `rate` is the largest |dv/dt| that is left, and `converged` whether it
    is within the tolerance.
    """

    cochain: Any
    steps: int
    time: float
    evaluations: int
    rate: Array
    converged: NDArray[np.bool_]

    def __repr__(self) -> str:
        samples = f"{len(self.converged)} sample{'s' if len(self.converged) > 1 else ''}"
        converged = int(self.converged.sum())
        return f"Diffusion({samples}, {converged} converged, {self.steps:,} steps to time {self.time:.4g})"


def diffuse(
    network: AnyNetwork,
    X: Array,
    *,
    start: Start | Cochain | State | Mapping[str, Array] = "random",
    seed: Seed = 0,
    target: Array | None = None,
    pins: Sequence[Pin | str] = (),
    output_force: OutputForce = "loss",
    alpha: float = 1.0,
    integrator: Integrator | str = "euler",
    steps: int = 100_000,
    tolerance: float = 1e-10,
    recorder: Recorder | None = None,
) -> Diffusion:
    """Follow the heat equation until every coordinate rests, or for `steps` steps.

    Parameters
    ----------
    network, X
        The weights, and the inputs, samples x n_0, which are pinned.
    start, seed
        Where the stalks begin: "random" (drawn from the seed), "zeros", "forward", or stalks, which are not
        changed.
    target
        Pins the output, samples x outputs. Of a network that is no chain it pulls outputs other than the
        identity by the output edge.
    pins
        Coordinates that are held, as `Pin` or as texts such as "z1[3]=0.5".
    output_force
        Which force an output edge exerts: `loss` phi(z) - y, or `least_squares` J_phi^T (phi(z) - y).
    alpha
        The rate of the flow.
    integrator
        An object that holds its options, or its name: "euler", just below its largest stable step,
        "chebyshev", or "implicit", for one sample. Where a neuron ends at its kink z = 0, pushed back from
        either side, forward Euler chatters across it and never converges; the others hold it there, in a
        chain.
    steps, tolerance
        How many steps to take at most. A sample has converged when the largest |dv/dt| of its coordinates
        is at most the tolerance.
    recorder
        Is shown the equation on the way.

    Returns
    -------
    Diffusion
        The stalks in `cochain`, of a network that is no chain a `State`, and by sample whether they have
        `converged`.

    Examples
    --------
    >>> import numpy as np, sheafcli as sc
    >>> network, X = sc.Network.he([2, 8, 1]), np.ones((3, 2))
    >>> flow = sc.diffuse(network, X, integrator="chebyshev")
    >>> bool(flow.converged.all()), np.allclose(flow.cochain.z[2], network.predict(X))
    (True, True)
    """
    X = as_inputs(network, X).astype(np.float64, copy=False)
    target = None if target is None else as_targets(network, target, len(X))
    start = start.stalks() if isinstance(start, Cochain | State) else start
    options: dict[str, Any] = {
        "target": target,
        "pins": as_pins(pins),
        "output_force": output_force,
        "alpha": alpha,
    }
    equation = (
        HeatEquation(network, X, start_cochain(network, X, start, seed), **options)
        if isinstance(network, Network)
        else GraphHeat(network, X, start_state(network, X, start, seed), **options)
    )
    return follow(equation, as_integrator(integrator), steps, tolerance, recorder)


def follow(
    equation: Any, integrator: Integrator, steps: int, tolerance: float, recorder: Recorder | None
) -> Diffusion:
    """Follow an equation, which integrators and recorders know, until it rests, or for so many steps."""
    taken, time, look = 0, 0.0, LOOK_EVERY
    rate = np.full(len(equation.cochain.data), np.inf)
    if recorder is not None:
        recorder.observe(equation, 0, 0.0, sight=True)
    for dt in integrator.steps(equation):
        taken += 1
        time += dt
        last = taken >= steps
        if last or equation.evaluations >= look:
            look = equation.evaluations + LOOK_EVERY
            rate = equation.alpha * np.max(np.abs(equation.sliding_rate()), axis=1)
            last = last or bool((rate <= tolerance).all()) or not np.isfinite(rate).all()
        if recorder is not None:
            recorder.observe(equation, taken, time, sight=last)
        if last:
            break
    return Diffusion(equation.cochain, taken, time, equation.evaluations, rate, rate <= tolerance)


def start_cochain(network: Network, X: Array, start: Start | Mapping[str, Array], seed: Seed = 0) -> Cochain:
    """Return a fresh cochain for the inputs X, as a diffusion of a chain begins from."""
    widths, vertex = network.widths, network.has_output_vertex
    if not isinstance(start, str):
        begun = Cochain.from_stalks(widths, start, output_vertex=vertex)
        if begun.n_samples != len(X):
            raise ValueError(f"the start has {begun.n_samples} samples, the input {len(X)}")
        return begun
    if start == "random":
        return Cochain.random(widths, len(X), seed, output_vertex=vertex)
    if start == "forward":
        return Cochain.forward(network, X, output_vertex=vertex)
    if start == "zeros":
        return Cochain(widths, len(X), output_vertex=vertex)
    raise ValueError(UNKNOWN_START.format(start))


def start_state(network: GraphNetwork, X: Array, start: Start | Mapping[str, Array], seed: Seed = 0) -> State:
    """Return fresh stalks for the inputs X, as a diffusion of any other network begins from."""
    shape = len(X), network.graph.dimension
    if not isinstance(start, str):
        return State.of(network, start)
    if start == "random":
        return State(network, np.random.default_rng(seed).standard_normal(shape))
    if start == "zeros":
        return State(network, np.zeros(shape))
    if start == "forward":
        return State(network, forward_coordinates(network.graph, X))
    raise ValueError(UNKNOWN_START.format(start))
