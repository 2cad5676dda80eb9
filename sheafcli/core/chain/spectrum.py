"""The spectrum of the free sheaf Laplacian, sample by sample: how fast stalks settle, and where they do not.

Each sample has its own pattern, and so its own L_Omega. Its smallest eigenvalue, the gap, bounds the rate of
convergence from below; its largest bounds the step of an explicit integrator; their ratio is the condition
number. The eigenvector of the gap (the Fiedler vector) shows where the bottleneck sits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, eigsh

from sheafcli.core.chain.network import Network
from sheafcli.core.chain.sheaf import NeuralSheaf, Pattern, pattern_of
from sheafcli.core.types import Array

# Up to this dimension all eigenvalues are found densely; above, the two ends by sparse Lanczos.
DENSE_LIMIT = 300
# Dense matrices are stacked up to this many entries.
BATCH_ENTRIES = 1 << 22
# Below this share of the largest eigenvalue, the gap of a dense solve has fewer than six digits.
HIDDEN = 1e-9


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Both ends of the spectrum of L_Omega for every sample.

    `gap` and `largest` have shape (samples,); `fiedler` and `top` hold the unit eigenvectors, samples x
    free coordinates in path order z_1, a_1, ..., z_{k+1}, whose blocks `blocks` names and measures.
    """

    gap: Array
    largest: Array
    fiedler: Array
    top: Array
    blocks: tuple[tuple[str, int], ...]

    @property
    def condition(self) -> Array:
        """The condition number of L_Omega per sample."""
        return self.largest / self.gap

    def block_energy(self, vectors: Array) -> Array:
        """Return the share of the squared unit vectors in every block, samples x blocks."""
        ends = np.cumsum([size for _, size in self.blocks])[:-1]
        parts = np.split(vectors**2, ends, axis=1)
        return np.stack([part.sum(axis=1) for part in parts], axis=1)


def stability(vectors: Array) -> Array:
    """Return |cos| between the unit vectors of every two samples, samples x samples: 1 where they agree."""
    return np.abs(vectors @ vectors.T)


def spectrum(network: Network, X: Array) -> Spectrum:
    """Return both ends of the spectrum for the forward pattern of every input, samples x n_0."""
    stalks = network.pre_activations(np.atleast_2d(X))
    nothing = np.zeros((len(stalks[0]), 0), dtype=bool)
    active = np.concatenate([nothing, *(pattern_of(z) for z in stalks[:-1])], axis=1)
    # Samples of one pattern share their Laplacian.
    patterns, sample = np.unique(active, axis=0, return_inverse=True)
    ends = pattern_spectra(network, patterns)
    blocks = []
    for layer, n in enumerate(network.widths[1:], start=1):
        blocks += [(f"z{layer}", n)] + ([(f"a{layer}", n)] if layer <= network.depth else [])
    gap, largest, fiedler, top = (part[sample.ravel()] for part in ends)
    return Spectrum(gap, largest, fiedler, top, tuple(blocks))


def pattern_spectra(network: Network, patterns: NDArray[np.bool_]) -> tuple[Array, Array, Array, Array]:
    """Return gap, largest eigenvalue and their eigenvectors for patterns, rows of all hidden neurons."""
    hidden = network.widths[1:-1]
    dimension = 2 * sum(hidden) + network.widths[-1]
    sheaf, cuts = NeuralSheaf(network), np.cumsum(hidden)[:-1]
    # The pattern adds 1 at (z, z) and -1 at (z, a) of every active neuron to the Laplacian of none.
    resting = sheaf.laplacian([np.zeros(n, dtype=bool) for n in hidden]).toarray()
    starts = np.repeat(2 * np.cumsum([0, *hidden])[: len(hidden)], hidden)
    z = starts + np.concatenate([np.zeros(0, dtype=int), *(np.arange(n) for n in hidden)])
    a = z + np.repeat(np.array(hidden, dtype=int), hidden)
    batch = max(1, BATCH_ENTRIES // dimension**2) if dimension <= DENSE_LIMIT else 1
    parts = []
    for first in range(0, len(patterns), batch):
        some = patterns[first : first + batch]
        if dimension <= DENSE_LIMIT:
            R = some.astype(np.float64)
            stack = np.repeat(resting[None], len(R), axis=0)
            stack[:, z, z] += R
            stack[:, z, a] -= R
            stack[:, a, z] -= R
            values, vectors = np.linalg.eigh(stack)
            gap, fiedler = values[:, 0], vectors[:, :, 0]
            # Rounding hides a gap so small beside the largest eigenvalue: the coboundary shows it.
            for i in np.flatnonzero(gap < HIDDEN * values[:, -1]):
                gap[i], fiedler[i] = _gap(sheaf, np.split(some[i], cuts) if hidden else [])
            parts.append((gap, values[:, -1], fiedler, vectors[:, :, -1]))
        else:
            pattern = np.split(some[0], cuts)
            largest, top = eigsh(sheaf.laplacian(pattern), k=1, which="LA", v0=np.ones(dimension))
            smallest, lowest = _gap(sheaf, pattern)
            parts.append((np.array([smallest]), largest, lowest[None], top.T))
    gap, largest, fiedler, top = (np.concatenate(part) for part in zip(*parts, strict=True))
    return gap, largest, fiedler, top


def _gap(sheaf: NeuralSheaf, pattern: Pattern) -> tuple[float, Array]:
    """Return the smallest eigenvalue and its vector by Lanczos on the inverse, factored by the coboundary."""
    solve = sheaf.free_solver(pattern)
    dimension = 2 * sum(sheaf.network.widths[1:-1]) + sheaf.network.widths[-1]
    inverse = LinearOperator((dimension, dimension), solve, dtype=np.float64)
    largest, vector = eigsh(inverse, k=1, which="LA", v0=np.ones(dimension))
    return 1.0 / float(largest[0]), vector[:, 0]
