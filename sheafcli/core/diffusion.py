"""The heat equation of any graph: the gradient flow of half the sum of squared residuals, in time.

    dx/dt = -alpha (delta^T r + springs + J of the output edge),   r_v = g_v(x_pa(v)) - x_v,

the restrictions re-read at every instant, hard pins overwritten. Integrators and recorders are those of chains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from sheafcli.core.chain.diffusion import Diffusion
from sheafcli.core.chain.integrators import Integrator
from sheafcli.core.chain.trace import Recorder
from sheafcli.core.network import GraphNetwork
from sheafcli.core.pins import Pin
from sheafcli.core.types import Array, Seed


def diffuse_graph(
    network: GraphNetwork,
    X: Array,
    *,
    start: Literal["random", "zeros", "forward"] | Mapping[str, Array] = "random",
    seed: Seed = 0,
    target: Array | None = None,
    pins: Sequence[Pin] = (),
    alpha: float = 1.0,
    integrator: Integrator | None = None,
    steps: int = 100_000,
    tolerance: float = 1e-10,
    recorder: Recorder | None = None,
) -> Diffusion:
    """Follow the heat equation of a graph network until every coordinate rests, or for `steps` steps.

    As `sheafcli.core.chain.diffusion.diffuse`: the same result, whose `cochain` has the stalks by name
    (`stalks()`), the same recorder. The target holds an identity output, and pulls others by the output edge.
    Euler's step, and Chebyshev's stages, follow an upper bound of the largest eigenvalue by the norms of the
    restrictions.
    """
    raise NotImplementedError
