"""The equilibrium of any graph with pins at any vertices, by the true, nonlinear energy.

With x the stalks of all heads, r_v = g_v(x_pa(v)) - x_v the residuals, and pins on coordinates or a pull on the
output, it minimises

    E(x) = 1/2 sum |r_v|^2 + 1/2 sum_soft gamma_i (x_i - t_i)^2 + gamma potential(z, y)

over what is not held. A step is Gauss and Newton's: delta on the pattern at hand is unitriangular, so that the
step without pins is d = -delta^-1 r, a sweep, and the pulls of the pins are multipliers mu of their own number,

    d = -delta^-1 r + L_Omega^-1 B mu,   (B^T L_Omega^-1 B + G) mu = right,

solved by conjugate gradients, two sweeps a product; a line search on E makes it safe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.network import GraphNetwork
from sheafcli.core.pins import Pin
from sheafcli.core.types import Array


@dataclass(frozen=True, eq=False)
class Relaxed:
    """A pinned equilibrium of a graph, with its certificate.

    `stalks` are those of all heads by name, samples x stalk. Per sample: `energy` is E; `certificate` the
    largest entry of the force that is left (at a kink, of the element of Clarke's subdifferential nearest to
    zero); `converged` says whether it is within the tolerance; `iterations` counts steps.
    """

    stalks: Mapping[str, Array]
    energy: Array
    certificate: Array
    converged: NDArray[np.bool_]
    iterations: NDArray[np.int64]


def relax(
    network: GraphNetwork,
    X: Array,
    *,
    target: Array | None = None,
    stiffness: float | None = None,
    pins: Sequence[Pin] = (),
    start: Mapping[str, Array] | None = None,
    tolerance: float = 1e-10,
    max_iterations: int = 200,
) -> Relaxed:
    """Return the equilibrium with the input held at X, and whatever else is pinned.

    `target`, samples x outputs, pins the output if phi is the identity, else pulls it by an output edge, as
    `stiffness` does for any output. Pins name a head and a place in its stalk. `start` are stalks to begin
    from, the forward pass unless given. A sample has converged when its certificate is at most the
    tolerance, times the largest residual if that is above 1.
    """
    raise NotImplementedError
