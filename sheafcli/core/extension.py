"""The harmonic extension of what is pinned: the cochain of least energy that agrees with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.cochain import Cochain
from sheafcli.core.diffusion import diffuse
from sheafcli.core.discord import residuals
from sheafcli.core.network import Network
from sheafcli.core.outputs import Array
from sheafcli.core.pins import Pin


@dataclass(frozen=True, eq=False)
class Extension:
    """An equilibrium of the heat equation, and how far each sample is from it.

    `energy` is half the sum of the squared residuals, per sample; `rate` is, per sample, the largest
    |dv/dt| left, and `converged` whether it is within the tolerance that was asked for.
    """

    cochain: Cochain
    energy: Array
    converged: NDArray[np.bool_]
    rate: Array
    iterations: int


def extend(
    network: Network,
    X: Array,
    *,
    target: Array | None = None,
    pins: Sequence[Pin] = (),
    tolerance: float = 1e-10,
    max_iterations: int = 20_000,
) -> Extension:
    """Extend the input X, and the output `target` if given, to the equilibrium on the forward branch.

    The input is pinned to X and the output to `target` (z_{k+1} for the identity, else the output
    vertex with the force `loss`); the search starts from the forward pass. It runs the heat equation:
    samples with a neuron held at a kink do not converge, and `converged` says which.
    """
    flow = diffuse(network, X, target=target, pins=pins, steps=max_iterations, tolerance=tolerance)
    found = residuals(network, X, flow.cochain).values()
    energy = 0.5 * np.sum([np.sum(r * r, axis=1) for r in found], axis=0)
    return Extension(flow.cochain, energy, flow.converged, flow.rate, flow.steps)
