"""What the theory claims of every feed-forward network, as figures that anyone can check, sample by sample.

1. The coboundary on the free coordinates is minus a unitriangular matrix. So |det delta_Omega| = 1, L_Omega
   is positive definite, and the harmonic extension of the input is unique, for every pattern and all weights.
2. That extension is the forward pass.
3. The energy E = 1/2 sum |r_v|^2, r the nonlinear residuals, has the gradient delta_Omega^T r in the free
   stalks. delta_Omega is invertible at every cochain, so that r = 0 where the gradient is: the forward pass
   is the one stationary point, and descent from anywhere ends there.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy

from sheafcli.core.graph import Graph
from sheafcli.core.sweep import (
    Linearization,
    as_samples,
    coboundary,
    coboundary_transposed,
    forward,
    linearize,
    moved,
    pulled,
    push_forward,
)
from sheafcli.core.types import Array


class Triangularity(NamedTuple):
    """How far delta_Omega is from minus a unitriangular matrix: both figures are 0 if it is one."""

    dimension: int
    above: float
    diagonal: float


class Descent(NamedTuple):
    """Where descent of the energy ended: at which energy, with which force, how far from the forward pass.

    The force is the largest entry of the gradient, the distance the largest difference of a coordinate.
    """

    energy: float
    force: float
    distance: float
    steps: int


def sampled_triangularity(at: Linearization, columns: int = 64, seed: int = 0) -> Triangularity:
    """Return how far so many columns of delta_Omega, drawn anew for every sample, are from such a matrix.

    A column is a sweep forwards from a unit vector, so that a graph of any size can be looked at: entries of
    it above its diagonal are at the heads before. All columns are looked at where there are no more.
    """
    graph, n, size = at.graph, len(at.output), at.graph.dimension
    rng = np.random.default_rng(seed)
    drawn = [rng.permutation(size)[:columns] for _ in range(n)]
    above, diagonal = 0.0, 0.0
    for chosen in np.array(drawn).T:
        units = (np.arange(size) == chosen[:, None]).astype(at.output.dtype)
        column = graph.join(coboundary(at, graph.split(units)))
        diagonal = max(diagonal, float(np.max(np.abs(column[range(n), chosen] + 1.0))))
        before = np.arange(size) < chosen[:, None]
        above = max(above, float(np.max(np.abs(column), where=before, initial=0.0)))
    return Triangularity(size, above, diagonal)


def relaxes(graph: Graph, X: Array, starts: int = 1, seed: int = 0) -> list[Descent]:
    """Return where descent ends from random stalks, so many starts for every sample of X.

    The stalks lie around the forward pass as far as every stalk's own root mean square there, or 1 where that
    is 0. That all end at the forward pass says that it is the only stationary point.
    """
    X = as_samples(graph, X).astype(np.float64)
    passed = forward_coordinates(graph, X)
    sizes = {i: np.sqrt(np.mean(stalk**2)) or 1.0 for i, stalk in graph.split(passed).items()}
    spread = np.concatenate([np.full(v.size, sizes[v.index]) for v in graph.heads])
    rng = np.random.default_rng(seed)
    begun = [
        (x, rest + spread * rng.normal(size=len(spread)))
        for x, rest in zip(X, passed, strict=True)
        for _ in range(starts)
    ]
    return [descend(graph, x, start) for x, start in begun]


def harmonic_extension(graph: Graph, X: Array) -> Array:
    """Return the harmonic extension of the input on its forward pattern, samples x free coordinates.

    With residuals delta_Omega x + c it is x = -L_Omega^-1 delta_Omega^T c, by a product with the transpose
    and the two sweeps of the inverse; c is what the network makes of the boundary if all free stalks are 0.
    """
    X = as_samples(graph, X)
    at = linearize(graph, X)
    # What every operation, affine at its values, adds by itself; and the boundary.
    given: dict[int, Array] = {0: X}
    for vertex in graph.vertices:
        if vertex.constant is not None:
            given[vertex.index] = np.broadcast_to(vertex.constant.astype(X.dtype), (len(X), *vertex.shape))
    for step in forward(graph, X):
        restriction = at.restrictions[step.vertex.index]
        assert restriction is not None
        given[step.vertex.index] = step.value - restriction.jvp(*step.parents)
    nothing = graph.split(np.zeros((len(X), graph.dimension), dtype=X.dtype))
    steps = push_forward(at, given, held=nothing)
    c = {step.vertex.index: step.value for step in steps if step.vertex.edge is not None}
    force = {i: -v for i, v in coboundary_transposed(at, c).items()}
    return graph.join(moved(at, pulled(at, force)))


def forward_coordinates(graph: Graph, X: Array) -> Array:
    """Return the forward pass as free coordinates, samples x dimension."""
    return graph.join({step.vertex.index: step.value for step in forward(graph, X)})


def energy(graph: Graph, X: Array, coordinates: Array) -> tuple[Array, Array]:
    """Return E and its gradient at free coordinates, samples x dimension: one number and one row a sample."""
    at = linearize(graph, X, held=graph.split(coordinates))
    gradient = coboundary_transposed(at, at.residuals)
    return 0.5 * np.sum(graph.join(at.residuals) ** 2, axis=1), graph.join(gradient)


def descend(graph: Graph, x: Array, start: Array, steps: int = 2000, tolerance: float = 1e-9) -> Descent:
    """Descend the energy of one sample x from free coordinates `start`, by the quasi-Newton method L-BFGS.

    It knows the energy and its gradient alone, and nothing of the sheaf. It ends where no entry of the
    gradient exceeds the tolerance, or after so many steps.
    """
    X = np.asarray(x, dtype=np.float64)[None]

    def at(coordinates: Array) -> tuple[float, Array]:
        value, gradient = energy(graph, X, coordinates[None])
        return float(value[0]), gradient[0]

    options = {"maxiter": steps, "maxfun": 10 * steps, "ftol": 0.0, "gtol": tolerance, "maxcor": 30}
    ended = scipy.optimize.minimize(at, start, jac=True, method="L-BFGS-B", options=options)
    value, gradient = at(ended.x)
    distance = np.max(np.abs(ended.x - forward_coordinates(graph, X)[0]))
    return Descent(value, float(np.max(np.abs(gradient))), float(distance), int(ended.nit))
