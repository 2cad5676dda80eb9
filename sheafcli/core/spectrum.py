"""The spectrum of the free sheaf Laplacian of any network, sample by sample: how fast stalks settle.

Each sample has its own pattern, and so its own L_Omega. Its smallest eigenvalue, the gap, bounds the rate of
convergence from below; its largest bounds the step of an explicit integrator; their ratio is the condition
number. The eigenvector of the gap (the Fiedler vector) shows where the bottleneck sits.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.blocks import blocks
from sheafcli.core.chain.network import Network
from sheafcli.core.lanczos import largest_inverse, spectrum_ends, work_entries
from sheafcli.core.network import AnyNetwork
from sheafcli.core.sweep import linearize
from sheafcli.core.types import Array


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Both ends of the spectrum of L_Omega for every sample.

    `gap` and `largest` have shape (samples,); `fiedler` and `top` hold the unit eigenvectors, samples x
    free coordinates in topological order, whose blocks, the stalks, `blocks` names and measures. `left`
    bounds the relative errors of both eigenvalues, samples x 2.
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

    X is samples x features. Blocks are named as `network.stalks` names them. Eigenvalues are right to 1e-10
    of themselves, or 1e-3 beyond 5,000 coordinates (`lanczos.py`); `left` says how right they are.
    """
    graph = network.graph
    X = np.asarray(X, dtype=np.float64).reshape(-1, *graph.input_shape)
    entries = work_entries(graph.dimension)
    parts = [spectrum_ends(linearize(graph, X[block])) for block in blocks(len(X), entries)]
    gap, largest, fiedler, top, left = (np.concatenate(part) for part in zip(*parts, strict=True))
    sizes = tuple((name, prod(shape)) for name, shape in network.stalks.items())
    return Spectrum(gap, largest, fiedler, top, sizes, left)


def pattern_gaps(network: Network, patterns: NDArray[np.bool_]) -> Array:
    """Return the smallest eigenvalue of L_Omega for patterns of a chain, rows of all hidden neurons."""
    graph, hidden = network.graph, network.widths[1:-1]
    parts = []
    for block in blocks(len(patterns), work_entries(graph.dimension)):
        # A neuron is active where its z is not negative.
        z = np.split(np.where(patterns[block], 1.0, -1.0), np.cumsum(hidden)[:-1], axis=1)
        held = {v.index: stalk for v, stalk in zip(graph.heads[::2], z, strict=False)} if hidden else {}
        X = np.zeros((len(patterns[block]), network.widths[0]))
        parts.append(1.0 / largest_inverse(linearize(graph, X, held))[0])
    return np.concatenate(parts)


def stability(vectors: Array) -> Array:
    """Return |cos| between the unit vectors of every two samples, samples x samples: 1 where they agree."""
    return np.abs(vectors @ vectors.T)
