"""How far a free input may be from its answer: the posterior covariance, by the Laplacian's Schur complement.

With A a root of the prior's covariance and B = (equations, pulls) J A the slopes of all that is wanted, rows
of pulls scaled to unit stiffness, the covariance is

    A (I - B^T (B B^T + kappa B_S + R)^+ B) A^T,

R = 1 for a pull and 0 for an equation, B_S their effective resistance: the inverse of P + J^T (kappa S +
H^-1)^-1 J without an inverse of P or of H, which may be singular. An answer often lies on a kink, to within
rounding: J and S are then those of its right, where a ReLU is active.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.inference.aim import Aim
from sheafcli.core.types import Array

NEGLIGIBLE = 1e-10
# What is that near to a kink lies on it.
ON_KINK = 1e-9


def covariance_root(aim: Aim, kappa: float, x: Array, root: Array, bound: NDArray[np.bool_]) -> Array:
    """Return a root of the posterior covariance at an input x; what lies at a `bound` stays there."""
    if bound.any():
        _, sizes, turn = np.linalg.svd(root[bound], full_matrices=True)
        root = root @ turn[int(np.sum(sizes > NEGLIGIBLE * max(1.0, sizes.max(initial=0.0)))) :].T
    J, S = aim.slopes_and_resistance(x[None], ON_KINK)
    wanted = aim.wanted(aim.look(x[None]))
    rows = np.concatenate([wanted.equations[0], wanted.pulls[0]])
    if not len(rows) or not root.shape[1]:
        return root
    B = rows @ J[0] @ root
    own = np.concatenate([np.zeros(wanted.equations.shape[1]), np.ones(wanted.pulls.shape[1])])
    # I - B^T M^+ B has the eigenvalues of a projection or less: its root is that of a symmetric matrix.
    M = B @ B.T + kappa * rows @ S[0] @ rows.T + np.diag(own)
    values, turn = np.linalg.eigh(np.eye(root.shape[1]) - B.T @ np.linalg.pinv(M, 1e-12, hermitian=True) @ B)
    return np.asarray(root @ turn * np.sqrt(np.clip(values, 0.0, None)))
