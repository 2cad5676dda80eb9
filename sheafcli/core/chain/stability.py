"""How large a forward Euler step of the flow may be: a bound on its largest eigenvalue.

The flow is the gradient flow of an energy whose Hessian is J^T J plus a bilinear part, J being the
Jacobian of the residuals. J is made of blocks, one row an edge, one column a vertex or a weight: W_l,
R_l, identities, and for moving weights the extended activations. Replacing every block by its spectral
norm gives a small non-negative matrix B, and sigma_max(J) <= sigma_max(B), because
||J v||_e <= sum_c ||J_ec|| ||v_c|| for every edge e. The bound holds for every activation pattern
(||R_l|| <= 1), so it need not follow the crossings.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy

from sheafcli.core.types import Array


def spectral_norm(A: Array) -> float:
    """Return the largest singular value of A, by its smaller Gram matrix; infinity where that overflows."""
    with np.errstate(over="ignore", invalid="ignore"):
        gram = A @ A.T if A.shape[0] <= A.shape[1] else A.T @ A
    if not np.isfinite(gram).all():
        return float("inf")
    top = len(gram) - 1
    return float(np.sqrt(max(scipy.linalg.eigvalsh(gram, subset_by_index=(top, top))[0], 0.0)))


def largest_eigenvalue_bound(
    weight_norms: Sequence[float],
    *,
    output_stiffness: float = 0.0,
    input_norms: Sequence[float] = (),
    residual_norms: Sequence[float] = (),
) -> float:
    """Return an upper bound of the largest eigenvalue of the flow, in units of alpha.

    Parameters
    ----------
    weight_norms
        ||W_l||_2 of layers 2, ..., k+1 (the input does not move, so W_1 does not matter).
    output_stiffness
        A bound on the second derivative of the output edge's potential in z_{k+1}; 0 without one.
    input_norms
        For moving weights, sqrt(beta / alpha) ||[a_{l-1}, 1]||_2 of layers 1, ..., k+1.
    residual_norms
        For moving weights, sqrt(beta / alpha) ||r_l||_F of layers 2, ..., k+1: the bilinear part of
        the Hessian couples W_l and a_{l-1} through r_l, with at most this norm.
    """
    layers = len(weight_norms) + 1
    # Columns: z_1, a_1, z_2, ..., z_{k+1}, then W_1, ..., W_{k+1} if they move.
    vertices = 2 * layers - 1
    B = np.zeros((vertices, vertices + len(input_norms)))
    B[np.arange(vertices), np.arange(vertices)] = 1.0
    for i, norm in enumerate(weight_norms):
        B[2 * i + 1, 2 * i] = 1.0
        B[2 * i + 2, 2 * i + 1] = norm
    for i, norm in enumerate(input_norms):
        B[2 * i, vertices + i] = norm
    hessian = B.T @ B
    hessian[vertices - 1, vertices - 1] += output_stiffness
    for i, norm in enumerate(residual_norms):
        a, W = 2 * i + 1, vertices + i + 1
        hessian[[a, W], [W, a]] += norm
    if not np.isfinite(hessian).all():
        return float("inf")
    return float(np.linalg.eigvalsh(hessian)[-1])
