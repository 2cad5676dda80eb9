"""The spectrum of the free sheaf Laplacian of any network, sample by sample: how fast stalks settle.

Each sample has its own pattern, and so its own L_Omega. Its smallest eigenvalue, the gap, bounds the rate of
convergence from below; its largest bounds the step of an explicit integrator; their ratio is the condition
number. The eigenvector of the gap (the Fiedler vector) shows where the bottleneck sits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sheafcli.core.network import AnyNetwork
from sheafcli.core.sweep import Linearization
from sheafcli.core.types import Array


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Both ends of the spectrum of L_Omega for every sample.

    `gap` and `largest` have shape (samples,); `fiedler` and `top` hold the unit eigenvectors, samples x
    free coordinates in topological order, whose blocks, the stalks, `blocks` names and measures. `left` bounds
    the relative errors of both eigenvalues, samples x 2.
    """

    gap: Array
    largest: Array
    fiedler: Array
    top: Array
    blocks: tuple[tuple[str, int], ...]
    left: Array

    @property
    def condition(self) -> Array:
        """The condition number of L_Omega per sample."""
        return self.largest / self.gap

    def block_energy(self, vectors: Array) -> Array:
        """Return the share of the squared unit vectors in every block, samples x blocks."""
        ends = np.cumsum([size for _, size in self.blocks])[:-1]
        parts = np.split(vectors**2, ends, axis=1)
        return np.stack([part.sum(axis=1) for part in parts], axis=1)


def spectrum(network: AnyNetwork, X: Array) -> Spectrum:
    """Return both ends of the spectrum on the forward pattern of every sample, in float64.

    X is samples x features. Blocks are named as `network.stalks` names them.
    """
    raise NotImplementedError


def gaps(at: Linearization) -> Array:
    """Return the smallest eigenvalue of L_Omega for every sample of a linearisation."""
    raise NotImplementedError


def stability(vectors: Array) -> Array:
    """Return |cos| between the unit vectors of every two samples, samples x samples: 1 where they agree."""
    return np.abs(vectors @ vectors.T)
