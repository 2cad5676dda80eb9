"""The pinned equilibrium in closed form, while no neuron leaves the pattern of the forward pass.

Fix the pattern R of the forward pass, and pin input and output. Eliminating z_l leaves a_l = R_l h_l + w_l
with independent w_l of variance D_l = 1 + R_l. With the forward output f and J_l = df / da_l, the
*effective resistance* between input and output is, one matrix a sample,

    S = I + sum_l J_l D_l J_l^T,    J_k = W_{k+1},  J_{l-1} = J_l R_l W_l,

the Schur complement of the sheaf Laplacian. The pull on the output stalk, lambda, is S^-1 (y - f) where
z_{k+1} is pinned to y; where an edge of stiffness gamma pulls, it is -gamma (phi(z) - y) at z = f + S lambda.
Then

    u_l = J_l^T lambda,   d_l = D_l u_l + R_l W_l d_{l-1},   d_0 = 0,
    a_l = forward + d_l,  z_l = h_l + R_l u_l,  h_l = forward + W_l d_{l-1}.

Costs about n_{k+1} + 3 forward passes: no iteration over the layers, no time step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.chain.network import Network
from sheafcli.core.chain.sheaf import pattern_of
from sheafcli.core.edge import Edge, activation_edge, affine_edge
from sheafcli.core.multipliers import multipliers
from sheafcli.core.outputs import Identity, Output
from sheafcli.core.types import Array


@dataclass(frozen=True, eq=False)
class Equilibrium:
    """A pinned equilibrium on the forward pattern.

    `z` holds z_1, ..., z_{k+1} and `a` holds a_1, ..., a_k, each samples x n_l; `resistance` is S, samples x
    n_{k+1} x n_{k+1}; `multipliers` is lambda, samples x n_{k+1}. `keeps_pattern` says for which samples the
    pattern of these stalks is the forward pass's, so that they are an equilibrium of the sheaf.
    """

    z: list[Array]
    a: list[Array]
    resistance: Array
    multipliers: Array
    keeps_pattern: NDArray[np.bool_]


def equilibrium(network: Network, X: Array, y: Array, stiffness: float | None = None) -> Equilibrium:
    """Return the equilibrium with the input pinned to X, samples x n_0, and the output to y.

    `stiffness` is gamma, that of the output edge; None pins z_{k+1} to y (identity outputs alone).
    """
    forward = network.pre_activations(X)
    hidden, f = forward[:-1], forward[-1]
    R = [pattern_of(h) for h in hidden]
    S = effective_resistance(network, R, len(X))
    pull = _multipliers(network.output, f, S, y, stiffness)
    # u_k, ..., u_1 backwards, each with what its layer passes on, R_l u_l.
    pulls: list[Array] = []
    passed: list[Array] = []
    on_h = pull
    for layer in range(network.depth, 0, -1):
        pulls.append(on_h @ network.weights[layer])
        on_h = pulls[-1] * R[layer - 1]
        passed.append(on_h)
    z: list[Array] = []
    a: list[Array] = []
    keeps = np.ones(len(X), dtype=bool)
    d: Array | None = None
    for layer, (h, active, u, v) in enumerate(zip(hidden, R, pulls[::-1], passed[::-1], strict=True)):
        dh = None if d is None else d @ network.weights[layer].T
        h_now = h if dh is None else h + dh
        z.append(h_now + v)
        keeps &= np.where(active, z[-1] > 0.0, h_now < 0.0).all(axis=1)
        d = u + v if dh is None else u + v + active * dh
        a.append(active * h + d)
    if stiffness is None and not network.has_output_vertex:
        z.append(y)
    else:
        z.append(f + pull if d is None else f + d @ network.weights[-1].T + pull)
    return Equilibrium(z, a, S, pull, keeps)


def effective_resistance(network: Network, R: list[NDArray[np.bool_]], n_samples: int) -> Array:
    """Return S for the patterns R_1, ..., R_k, each samples x n_l: samples x n_{k+1} x n_{k+1}."""
    outputs = network.widths[-1]
    S = np.zeros((n_samples, outputs, outputs))
    for _, part in resistances(network, R, n_samples):
        S += part
    return S


def resistances(network: Network, R: list[NDArray[np.bool_]], n_samples: int) -> Iterator[tuple[Edge, Array]]:
    """Yield each edge with its part of S, samples (or one for all) x n_{k+1} x n_{k+1}, the last edge first.

    J_l D_l J_l^T = J_l J_l^T + (J_l R_l)(J_l R_l)^T, since R_l is a projection: the first part is that of
    activation l, the second that of affine l. Affine k+1 has the identity.
    """
    outputs = network.widths[-1]
    yield affine_edge(network.depth + 1), np.eye(outputs)[None]
    J = network.weights[-1][None]
    for layer in range(network.depth, 0, -1):
        JR = J * R[layer - 1][:, None, :]
        yield activation_edge(layer), J @ np.swapaxes(J, 1, 2)
        yield affine_edge(layer), JR @ np.swapaxes(JR, 1, 2)
        if layer > 1:
            W = network.weights[layer - 1]
            J = (JR.reshape(-1, W.shape[0]) @ W).reshape(n_samples, outputs, W.shape[1])


def _multipliers(output: Output, f: Array, S: Array, y: Array, stiffness: float | None) -> Array:
    """Return lambda, samples x n_{k+1}: where the output is pinned to y, S lambda = y - f."""
    if isinstance(output, Identity):
        given = 0.0 if stiffness is None else 1.0 / stiffness
        if S.shape[1] == 1:
            return np.asarray((y - f) / (S[:, :, 0] + given))
        return np.asarray(np.linalg.solve(S + given * np.eye(S.shape[1]), (y - f)[:, :, None])[:, :, 0])
    gamma = 1.0 if stiffness is None else stiffness
    return multipliers(output, f, y, gamma, lambda v: (S @ v[:, :, None])[:, :, 0])[0]
