"""The pinned equilibrium of any feed-forward network, on the pattern of the forward pass.

The input is held at X; the output is pinned to y, or pulled towards it by an edge of stiffness gamma. With f
the output of the forward pass and S the effective resistance (`resistance.py`), the pull on the output is

    lambda = S^-1 (y - f)                                   pinned,
    lambda = -gamma (phi(z) - y) at z = f + S lambda        pulled (`multipliers.py`),

and then, J_v the derivative of the output in the head of edge v, two sweeps say everything:

    u_v = J_v^T lambda                backwards: the residual of edge v is r_v = -u_v
    d_v = u_v + sum_p A_vp d_p        forwards: how far the stalk moves from the forward pass

with d_out = S lambda. This is exact while no stalk leaves the piece of its operation that the forward pass is
on, and to first order in d elsewhere. How many leave it is counted; the moved stalks themselves, whose true
energy is larger, are not kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sheafcli.core.blocks import blocks
from sheafcli.core.edge import Edge
from sheafcli.core.graph import Graph
from sheafcli.core.multipliers import multipliers
from sheafcli.core.operation import Patterned
from sheafcli.core.outputs import Identity, Output
from sheafcli.core.resistance import FEW, conjugate_gradients, effective_resistance
from sheafcli.core.sweep import (
    Linearization,
    as_samples,
    forward,
    linearize,
    pulled,
    push_forward,
    resist,
)
from sheafcli.core.types import Array
from sheafcli.core.types import Array as Outputs

# Entries of the work arrays together: 64 MB in single precision.
ENTRIES = 1 << 24
# What the balance at the output may lack, as a share, by the precision of products with S.
TOLERANCE = {np.dtype(np.float64): 1e-13, np.dtype(np.float32): 1e-5}


@dataclass(frozen=True, eq=False, repr=False)
class Pinned:
    """A pinned equilibrium on the forward pattern. Arrays are float64.

    Attributes
    ----------
    edges : those of the graph; the output edge is the last where one pulls.
    squares : |r_v|^2, samples x edges.
    resistance : the traces of the edges' parts of S, samples x edges; an output edge has I / gamma^2.
    multipliers : lambda, samples x outputs.
    left : what the balance at the output lacks, as a share of lambda or of y - f, a number a sample.
    leaving : of the entries of operations that have pieces, the share that would leave theirs, by sample.
    units : the mean over samples of r_v^2, entry by entry, for every edge of the graph: a stalk each.
    """

    edges: tuple[Edge, ...]
    squares: Array
    resistance: Array
    multipliers: Array
    left: Array
    leaving: Array
    units: Mapping[Edge, Array]

    def __repr__(self) -> str:
        samples, edges = self.squares.shape
        return f"Pinned({samples} samples, {edges} edges, mean discord {self.squares.sum(axis=1).mean():.4g})"

    @property
    def discord(self) -> dict[Edge, float]:
        """The mean over samples of the squared residual of every edge."""
        return dict(zip(self.edges, np.mean(self.squares, axis=0).tolist(), strict=True))

    @property
    def resistance_shares(self) -> dict[Edge, float]:
        """Every edge's share of the traces, summed over samples: where discord settles by itself."""
        traces = self.resistance.sum(axis=0)
        return dict(zip(self.edges, (traces / traces.sum()).tolist(), strict=True))


def pinned(graph: Graph, output: Output, X: Array, y: Array, stiffness: float | None = None) -> Pinned:
    """Return the equilibrium with the input held at X, samples x input shape, and the output at y.

    y is samples x outputs. `stiffness` is gamma, that of the output edge; None pins an identity output to y,
    and is 1 for others. Sweeps are in the precision of X.
    """
    X = as_samples(graph, X)
    targets: Outputs = np.asarray(y, dtype=np.float64)
    if len(graph.output.shape) != 1:
        raise ValueError(f"the output must be a vector a sample, got shape {graph.output.shape}")
    wanted = (len(X), graph.output.size)
    if targets.shape != wanted or not np.isfinite(targets).all():
        raise ValueError(f"y must be finite and of shape {wanted}, got shape {targets.shape}")
    is_pulled = stiffness is not None or not isinstance(output, Identity)
    gamma = 1.0 if stiffness is None else stiffness
    units = {vertex.edge: np.zeros(vertex.shape) for vertex in graph.heads if vertex.edge is not None}
    parts = []
    for block in blocks(len(X), _entries(graph), ENTRIES):
        at = linearize(graph, X[block])
        resistance = effective_resistance(at, seed=block.start)
        spring = gamma if is_pulled else None
        pull = _multipliers(at, output, targets[block], spring, resistance.matrix)
        u = pulled(at, {graph.output.index: pull.astype(X.dtype)})
        squares = _squares(graph, u, units)
        leaving, move = _leaving(at, X[block], u)
        left = _lacking(at, output, targets[block], spring, pull, move)
        parts.append((squares, resistance.traces, pull, left, leaving))
    squares, traces, pull, left, leaving = (np.concatenate(part) for part in zip(*parts, strict=True))
    edges = graph.edges
    if is_pulled:
        edges = (*edges, graph.output_edge)
        squares = np.column_stack([squares, np.sum(pull * pull, axis=1) / gamma**2])
        traces = np.column_stack([traces, np.full(len(X), graph.output.size / gamma**2)])
    means = {edge: total / len(X) for edge, total in units.items()}
    return Pinned(edges, squares, traces, pull, left, leaving, means)


def _squares(graph: Graph, u: dict[int, Array], units: Mapping[Edge, Array]) -> Array:
    """Return |u_v|^2, samples x edges, and add the squares, summed over samples, to the units."""
    squares = []
    for vertex in graph.heads:
        assert vertex.edge is not None
        square = np.square(u[vertex.index], dtype=np.float64)
        squares.append(square.reshape(len(square), -1).sum(axis=1))
        units[vertex.edge] += square.sum(axis=0)
    return np.stack(squares, axis=1)


def _leaving(at: Linearization, X: Array, u: dict[int, Array]) -> tuple[Array, Array]:
    """Return what share of entries would leave their piece, by sample, and how far the output moves.

    Each stalk moves by d_v = u_v + sum_p A_vp d_p, beside the forward pass.
    """
    crossed, entries = np.zeros(len(X)), 0
    for step, moved in zip(forward(at.graph, X), push_forward(at, u), strict=True):
        if isinstance(step.vertex.operation, Patterned):
            (x,), (d,) = step.parents, moved.parents
            leaves = step.vertex.operation.pattern(x + d) != step.vertex.operation.pattern(x)
            crossed += leaves.reshape(len(X), -1).sum(axis=1)
            entries += step.vertex.size
    return crossed / max(entries, 1), moved.value


def _lacking(
    at: Linearization, output: Output, y: Outputs, gamma: float | None, pull: Outputs, moved: Array
) -> Array:
    """Return what the balance at the output lacks, as a share, by sample."""
    f: Outputs = at.output.astype(np.float64)
    z: Outputs = f + moved.astype(np.float64)
    lacking = y - z if gamma is None else pull + gamma * (output.value(z) - y)
    size = y - f if gamma is None else pull
    least = np.finfo(np.float64).tiny
    return np.asarray(np.max(np.abs(lacking), axis=1) / np.maximum(np.max(np.abs(size), axis=1), least))


def _multipliers(
    at: Linearization, output: Output, y: Outputs, gamma: float | None, S: Array | None
) -> Outputs:
    """Return lambda, samples x outputs; gamma None pins the output."""
    dtype = at.output.dtype
    f: Outputs = at.output.astype(np.float64)

    def product(v: Array) -> Outputs:
        if S is not None:
            return np.asarray((S @ v[:, :, None])[:, :, 0])
        return resist(at, v.astype(dtype)).astype(np.float64)

    tolerance = TOLERANCE[dtype if S is None else np.dtype(np.float64)]
    if not isinstance(output, Identity):
        assert gamma is not None
        return multipliers(output, f, y, gamma, product, tolerance=tolerance)[0]
    give = 0.0 if gamma is None else 1.0 / gamma
    if S is None:
        return conjugate_gradients(lambda v, _: product(v) + give * v, y - f, tolerance).astype(np.float64)
    try:
        return np.asarray(np.linalg.solve(S + give * np.eye(len(S[0])), (y - f)[:, :, None])[:, :, 0])
    except np.linalg.LinAlgError:
        raise ValueError("an output that no edge can move cannot be pinned; give a stiffness") from None


def _entries(graph: Graph) -> int:
    """Return what work arrays hold a sample: all stalks once, and the largest for every output at once."""
    sizes = [vertex.size for vertex in graph.vertices]
    adjoints = graph.output.size if graph.output.size <= FEW else 1
    return sum(sizes) + 3 * adjoints * max(sizes)
