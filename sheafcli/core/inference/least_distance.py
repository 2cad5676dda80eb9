"""The point nearest to the origin that meets linear equations and inequalities, exactly.

    minimise |v|^2 / 2  subject to  C v = c,  G v >= h.

Equations leave v = v_0 + Z q, v_0 = C^+ c orthogonal to the null space Z, so that |v|^2 = |v_0|^2 + |q|^2.
What is left, G Z q >= h - G v_0, is least distance programming, a problem of nonnegative least squares in
the multipliers (Lawson and Hanson, "Solving Least Squares Problems", 1974, chapter 23).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import nnls

from sheafcli.core.types import Array

# What is violated by less, beside rows of norm 1, is met.
MET = 1e-10


class Nearest(NamedTuple):
    """The nearest point v = C^T equal + G^T push, with its multipliers; `push` is at least 0."""

    v: Array
    equal: Array
    push: Array


def least_distance(C: Array, c: Array, G: Array, h: Array) -> Nearest | None:
    """Return the nearest point, None where no point meets all inequalities beside the equations.

    Equations that contradict one another are met in the sense of least squares.
    """
    U, sizes, turn = np.linalg.svd(C, full_matrices=True)
    rank = int(np.sum(sizes > 1e-12 * max(1.0, sizes.max(initial=0.0))))
    pseudo = turn[:rank].T / sizes[:rank] @ U[:, :rank].T
    v, Z = pseudo @ c, turn[rank:].T
    push = np.zeros(len(h))
    norms = np.linalg.norm(G, axis=1)
    scale = np.where(norms > 0.0, norms, 1.0)
    missing = (h - G @ v) / scale
    if (missing > MET).any():
        rows = (G @ Z) / scale[:, None]
        free = np.linalg.norm(rows, axis=1) > 1e-12
        if (missing[~free] > 1e-8).any():
            return None
        found = _cone(rows[free], missing[free])
        if found is None:
            return None
        push[free] = found / scale[free]
        v = v + Z @ (Z.T @ (G.T @ push))
    return Nearest(v, pseudo.T @ (v - G.T @ push), push)


def _cone(G: Array, h: Array) -> Array | None:
    """Return u >= 0 such that q = G^T u is the smallest q with G q >= h; None if there is none."""
    E = np.vstack([G.T, h])
    goal = np.zeros(len(E))
    goal[-1] = 1.0
    try:
        u, left = nnls(E, goal)
    except RuntimeError:  # it cycles, on rows that all but repeat one another
        return None
    short = 1.0 - float(h @ u)
    if left <= 1e-9 or short <= 0.0:
        return None
    u = u / short
    # Once more as equations: the quotient has lost digits where q is large.
    active = u > 0.0
    again, *_ = np.linalg.lstsq(G[active] @ G[active].T, h[active])
    if (again >= 0.0).all() and (G @ (G[active].T @ again) >= h - 1e-8).all():
        u[active] = again
    return np.asarray(u)
