"""The cellular sheaf of a network: stalks, restriction maps, coboundary and Laplacian as sparse matrices.

The base is a path with a vertex per intermediate quantity and an edge per computational step,

    [x, 1] --affine 1-- z_1 --activation 1-- [a_1, 1] --affine 2-- z_2 -- ... -- z_{k+1}

The affine edge l has the restriction maps [W_l | diag(b_l)] on the extended stalk before it, whose
second summand R^{n_l} holds ones, and the identity on z_l. The activation edge l has the maps
R_l = diag(1[z_l >= 0]) on z_l and the identity on a_l. The input and all the ones are the boundary U,
the rest are the free coordinates Omega. The output edge is never part of the Laplacian.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy
from numpy.typing import NDArray

from sheafcli.core.chain.network import Network
from sheafcli.core.types import Array

Pattern = Sequence[NDArray[np.bool_]]
Block = Literal["free", "boundary", "full"]


def pattern_of(z: Array) -> NDArray[np.bool_]:
    """Return which neurons are active: z >= 0, zero counts as active."""
    return z >= 0.0


@dataclass(frozen=True)
class NeuralSheaf:
    """The sheaf of one sample of a network, for any activation pattern.

    A pattern is one boolean vector of length n_l a hidden layer. Matrices are scipy.sparse CSR arrays
    with coordinates in path order: free z_1, a_1, z_2, ..., z_{k+1}; boundary [x, 1], 1, ..., 1; full
    [x, 1], z_1, [a_1, 1], ..., z_{k+1}; edges affine 1, activation 1, ..., affine k+1.

    Examples
    --------
    >>> import numpy as np, sheafcli as sc
    >>> sheaf = sc.NeuralSheaf(sc.Network.he([2, 5, 1]))
    >>> L = sheaf.laplacian(sheaf.pattern(np.array([1.0, 2.0])), block="free")
    >>> L.shape  # z_1, a_1, z_2
    (11, 11)
    """

    network: Network

    def pattern(self, x: Array) -> list[NDArray[np.bool_]]:
        """Return the activation pattern of the forward pass of one input x of shape (n_0,)."""
        stalks = self.network.pre_activations(np.atleast_2d(x))
        return [pattern_of(z[0]) for z in stalks[:-1]]

    def boundary_values(self, x: Array) -> Array:
        """Return the pinned values of the boundary coordinates for one input x: [x, 1], 1, ..., 1."""
        return np.concatenate([np.ravel(x), np.ones(sum(self.network.widths[1:]))])

    def free_values(self, x: Array) -> Array:
        """Return the forward pass of one input x as a 0-cochain on the free coordinates."""
        stalks = self.network.pre_activations(np.atleast_2d(x))
        parts = [part for z in stalks[:-1] for part in (z[0], np.maximum(z[0], 0.0))]
        return np.concatenate([*parts, stalks[-1][0]])

    def coboundary(self, pattern: Pattern, block: Block = "full") -> scipy.sparse.csr_array:
        """Return delta, edges x coordinates; its rows on a 0-cochain are the residuals r_l and s_l.

        `block` picks the columns: those of the free coordinates, of the boundary, or all.
        """
        full = self._full_coboundary(pattern)
        free = self._free_mask()
        columns = {"free": free, "boundary": ~free, "full": np.ones_like(free)}[block]
        return scipy.sparse.csr_array(full[:, np.flatnonzero(columns)])

    def laplacian(self, pattern: Pattern, block: Block = "free") -> scipy.sparse.csr_array:
        """Return L = delta^T delta: its free block L_Omega, its block L[Omega, U], or all of it."""
        left = self.coboundary(pattern, "full" if block == "full" else "free")
        right = left if block != "boundary" else self.coboundary(pattern, "boundary")
        return scipy.sparse.csr_array(left.T @ right)

    def free_solver(self, pattern: Pattern) -> Callable[[Array], Array]:
        """Return the map b -> L_Omega^-1 b.

        It factors delta_Omega and solves with it and its transpose, which loses half as many digits as
        a factor of L_Omega would: the condition number of the one is the root of the other's.
        """
        factors = scipy.sparse.linalg.splu(scipy.sparse.csc_array(self.coboundary(pattern, "free")))
        return lambda b: np.asarray(factors.solve(factors.solve(b, trans="T")))

    def _full_coboundary(self, pattern: Pattern) -> scipy.sparse.csr_array:
        network = self.network
        hidden = network.widths[1:-1]
        if [len(active) for active in pattern] != list(hidden):
            raise ValueError(
                f"a pattern needs one boolean vector a hidden layer of lengths {list(hidden)}, "
                f"got {[len(active) for active in pattern]}"
            )

        def row(vertex: int, *blocks: scipy.sparse.sparray) -> list[scipy.sparse.sparray | None]:
            """Return the blocks of an edge between a vertex and the next, in a column of blocks a vertex."""
            return [*[None] * vertex, *blocks, *[None] * (2 * network.depth - vertex)]

        grid = []
        for layer, (W, b) in enumerate(zip(network.weights, network.biases, strict=True), start=1):
            one = scipy.sparse.eye_array(len(b))
            extended = scipy.sparse.hstack([scipy.sparse.csr_array(W), scipy.sparse.diags_array(b)])
            grid.append(row(2 * layer - 2, extended, -one))
            if layer <= network.depth:
                active = np.asarray(pattern[layer - 1], dtype=np.float64)
                ones = scipy.sparse.csr_array((len(b), network.widths[layer + 1]))
                extended = scipy.sparse.hstack([-one, ones])
                grid.append(row(2 * layer - 1, scipy.sparse.diags_array(active), extended))
        return scipy.sparse.csr_array(scipy.sparse.block_array(grid))

    def _free_mask(self) -> NDArray[np.bool_]:
        widths = self.network.widths
        parts = [np.zeros(widths[0] + widths[1], dtype=bool)]
        for n, after in zip(widths[1:-1], widths[2:], strict=True):
            parts += [np.ones(2 * n, dtype=bool), np.zeros(after, dtype=bool)]
        return np.concatenate([*parts, np.ones(widths[-1], dtype=bool)])
