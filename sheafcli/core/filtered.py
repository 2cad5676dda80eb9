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

At the output u = B (I + P B)^-1 (b - m). The A_v, as matrices, take one walk with a unit for each entry of
the widest stalk; the rest is products and inverses of these sizes, of order samples x sum_v n_v^3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.graph import Graph
from sheafcli.core.sweep import Linearization, Stalks, push_forward
from sheafcli.core.types import Array

# Stalks of more entries are left to conjugate gradients.
WIDEST = 32


class Held(NamedTuple):
    """Where a stalk is pinned, the give R of each such entry, and what is wanted there: samples x stalk."""

    mask: NDArray[np.bool_]
    give: Array
    wanted: Array


class _Link(NamedTuple):
    """A, samples x entries x those of the stalk before, whether its edge gives, and what is pinned."""

    matrix: Array
    gives: bool
    pin: Held | None


class _Observation(NamedTuple):
    """What is kept of an observation: P, samples x n x n, b - m, and a gain with u = gain (b - m - P w)."""

    place: int
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

    Conjugate gradients take about a product for each of these, two walks; the filter two for each entry of a
    stalk.
    """
    return squares(graph) > 0 and 2 * _widest(graph) < pinned


def _widest(graph: Graph) -> int:
    return max(vertex.size for vertex in graph.vertices[1:])


def filtered(at: Linearization, pins: Mapping[int, Held], bend: Array | None, wanted: Array) -> Stalks:
    """Return the pull of every pin by the index of its vertex, and that of the output.

    `wanted` is b there, `bend` its Hessian B, samples x outputs x outputs, None where nothing pulls.
    Raises LinAlgError where covariances are so large that rounding makes a matrix singular.
    """
    links = _links(at, pins)
    pulls = _smoothed(links, _observed(links, bend, wanted))
    return {place + 1: u.reshape(-1, *at.graph.vertices[place + 1].shape) for place, u in pulls.items()}


def _links(at: Linearization, pins: Mapping[int, Held]) -> list[_Link]:
    """Return what each vertex makes of the one before, as matrices: one walk with a unit for each entry.

    The input is held, whatever its size: the first matrix is empty.
    """
    rest, n, most = at.graph.vertices[1:], len(at.output), _widest(at.graph)
    units = {
        v.index: np.broadcast_to(np.eye(most, v.size).reshape(most, 1, *v.shape), (most, n, *v.shape))
        for v in rest
    }
    links: list[_Link] = []
    size = 0
    for vertex, _, made in push_forward(at, {}, held=units):
        matrix = np.moveaxis(made.reshape(most, n, -1)[:size], 0, 2)
        links.append(_Link(matrix, vertex.edge is not None, pins.get(vertex.index)))
        size = vertex.size
    return links


def _observed(links: list[_Link], bend: Array | None, wanted: Array) -> list[_Observation]:
    """Return the observations from the first to the last."""
    n = len(wanted)
    m: Array = np.zeros((n, 0))
    P: Array = np.zeros((n, 0, 0))
    observed: list[_Observation] = []
    for place, (A, gives, pin) in enumerate(links):
        m, P = _times(A, m), A @ P @ np.swapaxes(A, 1, 2)
        if gives:
            P = P + np.eye(P.shape[1])
        if pin is not None:
            mask, give, aim = pin.mask.reshape(n, -1), pin.give.reshape(n, -1), pin.wanted.reshape(n, -1)
            both = mask[:, :, None] & mask[:, None, :]
            gain = np.where(both, np.linalg.inv(np.where(both, P, 0.0) + _diagonal(mask, give)), 0.0)
            observed.append(_Observation(place, P, aim - m, gain))
            weighed = P @ gain
            m, P = m + _times(weighed, aim - m), P - weighed @ P
    if bend is not None:
        gain = bend @ np.linalg.inv(np.eye(m.shape[1]) + P @ bend)
        observed.append(_Observation(len(links) - 1, P, wanted.reshape(n, -1) - m, gain))
    return observed


def _smoothed(links: list[_Link], observed: list[_Observation]) -> dict[int, Array]:
    """Return the pulls by place, from the last observation back."""
    pulls: dict[int, Array] = {}
    w: Array = np.zeros(links[-1].matrix.shape[:2])
    for place in range(len(links) - 1, -1, -1):
        while observed and observed[-1].place == place:
            _, P, missing, gain = observed.pop()
            u = _times(gain, missing - _times(P, w))
            pulls[place] = pulls.get(place, 0.0) + u
            w = w + u
        w = _times(np.swapaxes(links[place].matrix, 1, 2), w)
    return pulls


def _times(A: Array, v: Array) -> Array:
    """Return A v a sample."""
    return np.asarray((A @ v[:, :, None])[:, :, 0])


def _diagonal(mask: NDArray[np.bool_], give: Array) -> Array:
    """Return R where a mask is, and 1 elsewhere, as diagonal matrices."""
    return np.where(mask, give, 1.0)[:, :, None] * np.eye(mask.shape[1])
