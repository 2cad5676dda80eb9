"""The pulls of pins along a path, without iterations: a Kalman filter, and its smoother.

In a path every vertex reads the one before. With the input held, how far stalks move, d_v = A_v d_{v-1} +
e_v, is a Gauss-Markov chain if the e_v are independent, of covariance I, and none where an edge is exact: its
covariance is (I - N)^-1 (I - N)^-T, that of `newton.py`. Pins are observations there, of

    b_v = H_v d_v,       noise R_v,           H_v a mask, R_v = 1 / k for a spring, 0 for a hard pin,
    b = d_out,           noise B^-1,          B the Hessian of the pull on the output, which may be singular,

and the pulls u that meet them, (H (I - N)^-1 (I - N)^-T H^T + R) u = b, are the smoother's (Bryson and
Frazier, "Smoothing for linear and nonlinear dynamic systems", 1963). With P_v the covariance of d_v and m_v
its mean before what is observed at v and later,

    forwards    S_v = H P H^T + R,   m += P H^T S_v^-1 (b - H m),   P -= P H^T S_v^-1 H P,
                then m = A m and P = A P A^T + I at the next vertex;
    backwards   u_v = S_v^-1 (b - H m - H P w),   w += H^T u_v,   then w = A^T w at the vertex before.

At the output u = B (I + P B)^-1 (b - m). It takes as many products by A as two stalks have entries, and
inverses of their size where something is pinned: of order samples x sum_v n_v^3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.graph import Graph
from sheafcli.core.sweep import Linearization, Stalks
from sheafcli.core.types import Array

# Stalks of more entries are left to conjugate gradients.
WIDEST = 32


class Held(NamedTuple):
    """Where a stalk is pinned, the give R of each such entry, and what is wanted there: samples x stalk."""

    mask: NDArray[np.bool_]
    give: Array
    wanted: Array


class _Observation(NamedTuple):
    """What is kept of an observation: P, samples x n x n, b - m, and a gain with u = gain (b - m - P w)."""

    vertex: int
    P: Array
    missing: Array
    gain: Array


def squares(graph: Graph) -> int:
    """Return how many entries the covariances of a sample have; 0 where there is no filter."""
    rest = graph.vertices[1:]
    along = all(vertex.parents == (vertex.index - 1,) for vertex in rest)
    return sum(vertex.size**2 for vertex in rest) if along and _widest(graph) <= WIDEST else 0


def is_cheaper(graph: Graph, pinned: float) -> bool:
    """Return whether a filter is cheaper than iterations where so many entries of a sample are pinned.

    Conjugate gradients take about a product for each of these, the filter two for each entry of a stalk.
    """
    return squares(graph) > 0 and 2 * _widest(graph) < pinned


def _widest(graph: Graph) -> int:
    return max(vertex.size for vertex in graph.vertices[1:])


def filtered(at: Linearization, pins: Mapping[int, Held], bend: Array | None, wanted: Array) -> Stalks:
    """Return the pull of every pin by the index of its vertex, and that of the output.

    `wanted` is b there, `bend` its Hessian B, samples x outputs x outputs, None where nothing pulls.
    Raises LinAlgError where covariances are so large that rounding makes a matrix singular.
    """
    vertices, n = at.graph.vertices[1:], len(at.output)
    # The input is held: nothing moves the first vertex but its own edge.
    m = np.zeros((n, vertices[0].size))
    P: Array = np.zeros((n, m.shape[1], m.shape[1]))
    observed: list[_Observation] = []
    for vertex in vertices:
        if vertex is not vertices[0]:
            m, P = _moved(at, vertex.index, m[None])[0], _spread(at, vertex.index, P)
        if vertex.edge is not None:
            P = P + np.eye(vertex.size)
        if vertex.index in pins:
            pin = pins[vertex.index]
            mask, give, aim = pin.mask.reshape(n, -1), pin.give.reshape(n, -1), pin.wanted.reshape(n, -1)
            both = mask[:, :, None] & mask[:, None, :]
            inverse = np.linalg.inv(np.where(both, P, 0.0) + _diagonal(np.where(mask, give, 1.0)))
            gain = np.where(both, inverse, 0.0)
            observed.append(_Observation(vertex.index, P, aim - m, gain))
            weighed = P @ gain
            m, P = m + (weighed @ (aim - m)[:, :, None])[:, :, 0], P - weighed @ P
    if bend is not None:
        missing = wanted.reshape(n, -1) - m
        gain = bend @ np.linalg.inv(np.eye(m.shape[1]) + P @ bend)
        observed.append(_Observation(vertices[-1].index, P, missing, gain))
    return _smoothed(at, observed)


def _smoothed(at: Linearization, observed: list[_Observation]) -> dict[int, Array]:
    """Return the pulls from the last observation back."""
    pulls: dict[int, Array] = {}
    w = np.zeros_like(at.output).reshape(len(at.output), -1)
    for vertex in reversed(at.graph.vertices[1:]):
        while observed and observed[-1].vertex == vertex.index:
            _, P, missing, gain = observed.pop()
            u = (gain @ (missing[:, :, None] - P @ w[:, :, None]))[:, :, 0]
            pulls[vertex.index] = pulls.get(vertex.index, 0.0) + u.reshape(-1, *vertex.shape)
            w = w + u
        restriction = at.restrictions[vertex.index]
        if restriction is None or vertex.index == 1:
            break
        w = restriction.vjp(w.reshape(-1, *vertex.shape))[0].reshape(len(w), -1)
    return pulls


def _spread(at: Linearization, index: int, P: Array) -> Array:
    """Return A P A^T of covariances, samples x n x n."""
    half = _moved(at, index, np.swapaxes(P, 0, 1))
    return np.swapaxes(_moved(at, index, np.transpose(half, (2, 1, 0))), 0, 1)


def _moved(at: Linearization, index: int, directions: Array) -> Array:
    """Return A d of directions d x samples x n, a row a stalk."""
    restriction, parent = at.restrictions[index], at.graph.vertices[index - 1]
    assert restriction is not None
    moved = restriction.jvp(directions.reshape(*directions.shape[:2], *parent.shape))
    return moved.reshape(*directions.shape[:2], -1)


def _diagonal(entries: Array) -> Array:
    return entries[:, :, None] * np.eye(entries.shape[1])
