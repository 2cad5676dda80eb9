"""The effective resistance between input and output of a graph, and each edge's part of it.

With the input held and a pull lambda on the output, edge v gives way by J_v^T lambda, J_v the derivative of
the output in its head, so that the output moves by S lambda,

    S = sum over edges of J_v J_v^T,

the Schur complement of the sheaf Laplacian. An edge's discord at an equilibrium is lambda^T J_v J_v^T lambda:
its share of tr S says where discord sits if lambda has no preferred direction. For few outputs S is formed by
as many pull-backs at once; for more, what one pull-back of random signs finds has the traces as its mean.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sheafcli.core.blocks import blocks
from sheafcli.core.graph import Graph
from sheafcli.core.sweep import Linearization, linearize, pull_back
from sheafcli.core.types import Array

# Up to so many outputs S itself is formed.
FEW = 30


@dataclass(frozen=True, eq=False)
class Resistance:
    """`traces`, of J_v J_v^T, are samples x edges; `matrix` is S, samples x outputs x outputs.

    For more than FEW outputs there is no matrix, and the traces are estimates without bias. Both are float64.
    """

    traces: Array
    matrix: Array | None


def effective_resistance(at: Linearization, seed: int = 0) -> Resistance:
    """Return the effective resistance of every sample at given values; the output must be a vector."""
    n, outputs = at.output.shape
    few = outputs <= FEW
    S = np.zeros((n, outputs, outputs)) if few else None
    if few:
        unit = np.eye(outputs, dtype=at.output.dtype)
        pull = np.broadcast_to(unit[:, None], (outputs, n, outputs))
    else:
        signs = np.random.default_rng(seed).integers(0, 2, size=(1, n, outputs))
        pull = (2 * signs - 1).astype(at.output.dtype)
    traces = []
    for vertex, J in pull_back(at, {at.graph.output.index: pull}):
        if vertex.edge is None:
            continue
        rows = np.swapaxes(J.reshape(len(J), n, -1), 0, 1)
        part = np.matmul(rows, np.swapaxes(rows, 1, 2)).astype(np.float64)
        traces.append(np.trace(part, axis1=1, axis2=2))
        if S is not None:
            S += part
    return Resistance(np.stack(traces[::-1], axis=1), S)


def resistance_traces(graph: Graph, X: Array) -> Array:
    """Return the traces of the edges' parts of S on the forward pattern, samples x edges, block by block."""
    adjoints = graph.output.size if graph.output.size <= FEW else 1
    entries = (adjoints + 1) * graph.dimension
    parts = (
        effective_resistance(linearize(graph, X[block]), block.start) for block in blocks(len(X), entries)
    )
    return np.concatenate([part.traces for part in parts])


def conjugate_gradients(
    product: Callable[[Array, Array], Array],
    b: Array,
    tolerance: float,
    metric: Callable[[Array], Array] = lambda v: v,
) -> Array:
    """Return x with A x = b, samples x n, from products with A, a positive definite matrix a sample.

    A may be self-adjoint in the inner product u^T M v instead: `metric` is v -> M v, and `product` is given v
    and M v, for A v. What is left of b is at most `tolerance` |b| in that norm, sample by sample, or what 2 n
    products can do.
    """
    x, left, bent = np.zeros_like(b), b, metric(b)
    direction, bent_direction, size = left, bent, dots(left, bent)
    goal = tolerance * tolerance * size
    for _ in range(2 * b.shape[1]):
        if not (size > goal).any():
            break
        met = product(direction, bent_direction)
        length = quotient(size, dots(bent_direction, met))
        x += length * direction
        left = left - length * met
        bent = metric(left)
        before, size = size, dots(left, bent)
        share = quotient(size, before)
        direction, bent_direction = left + share * direction, bent + share * bent_direction
    return x


def dots(u: Array, v: Array) -> Array:
    """Return u^T v a sample, samples x 1."""
    return np.asarray(np.einsum("ij,ij->i", u, v)[:, None])


def quotient(above: Array, below: Array) -> Array:
    """Return above / below, 0 where nothing is left to divide."""
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0.0)
