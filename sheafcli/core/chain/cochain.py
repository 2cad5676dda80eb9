"""All free stalks of a batch in one packed array.

The stalks of every hidden layer share one block for the ``z_l`` and one for the ``a_l``, so that an
operation that acts by coordinate (relu, differences, Euler steps) is one pass over memory whatever
the depth. Each hidden stalk carries one more column of ones, its homogeneous coordinate: with it an
affine map is one matrix product, the extended stalk of the paper with the ones shared.

    [ z_1 1 | z_2 1 | ... | z_k 1 | z_{k+1} | a_1 1 | ... | a_k 1 | (y^) ]

The array is samples x columns in Fortran order: a stalk is a contiguous block, and BLAS takes it as
it lies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sheafcli.core.chain.network import Network
from sheafcli.core.types import Array, Seed


class Cochain:
    """Values on every free vertex: z_1, a_1, ..., z_{k+1} and, if it exists, the output vertex y^.

    Parameters
    ----------
    widths
        The network's widths n_0, ..., n_{k+1}.
    n_samples
        How many samples the batch holds.
    output_vertex
        Whether there is a vertex y^ after z_{k+1} (it exists where phi is not the identity).

    `z[l]` and `a[l]` are views of shape samples x n_l: write into them to change the cochain.

    Examples
    --------
    >>> import numpy as np, sheafcli as sc
    >>> network, X = sc.Network.he([2, 5, 1]), np.ones((4, 2))
    >>> cochain = sc.Cochain.forward(network, X)  # the forward pass, on which all edges agree
    >>> cochain.z[1].shape, float(sc.discord(network, X, cochain)["discord"].sum())
    ((4, 5), 0.0)
    """

    def __init__(self, widths: Sequence[int], n_samples: int, *, output_vertex: bool = False):
        self.widths = tuple(widths)
        self.n_samples = n_samples
        self.output_vertex = output_vertex
        hidden, last = self.widths[1:-1], self.widths[-1]
        half = sum(hidden) + len(hidden)
        columns = 2 * half + last * (2 if output_vertex else 1)
        self.data = np.zeros((n_samples, columns), order="F")
        self.z_all = self.data[:, : half + last]
        self.z_hidden = self.data[:, :half]
        self.a_hidden = self.data[:, half + last : 2 * half + last]
        starts = np.concatenate(([0], np.cumsum(np.asarray(hidden, dtype=int) + 1)))
        self.blocks = [
            slice(int(start), int(start) + n + 1) for start, n in zip(starts, hidden, strict=False)
        ]
        self.z: dict[int, Array] = {}
        self.a: dict[int, Array] = {}
        for layer, (block, n) in enumerate(zip(self.blocks, hidden, strict=True), start=1):
            for half_block, stalks in ((self.z_hidden, self.z), (self.a_hidden, self.a)):
                extended = half_block[:, block]
                extended[:, n] = 1.0
                stalks[layer] = extended[:, :n]
        self.z[len(hidden) + 1] = self.z_all[:, half:]
        self.y: Array | None = self.data[:, 2 * half + last :] if output_vertex else None

    def __repr__(self) -> str:
        return f"Cochain({self.n_samples} samples: {', '.join(self.stalks())})"

    @classmethod
    def random(
        cls, widths: Sequence[int], n_samples: int, seed: Seed = 0, *, output_vertex: bool = False
    ) -> Cochain:
        """Draw every free coordinate from N(0, 1), stalk by stalk in path order."""
        cochain = cls(widths, n_samples, output_vertex=output_vertex)
        rng = np.random.default_rng(seed)
        for stalk in cochain.stalks().values():
            stalk[:] = rng.standard_normal(stalk.shape)
        return cochain

    @classmethod
    def forward(cls, network: Network, X: Array, *, output_vertex: bool = False) -> Cochain:
        """Take every stalk from the forward pass of `X`: the harmonic extension of the input."""
        cochain = cls(network.widths, len(X), output_vertex=output_vertex)
        for layer, z in enumerate(network.pre_activations(X), start=1):
            cochain.z[layer][:] = z
            if layer <= network.depth:
                np.maximum(z, 0.0, out=cochain.a[layer])
        if cochain.y is not None:
            cochain.y[:] = network.output.value(cochain.z[network.depth + 1])
        return cochain

    @classmethod
    def from_stalks(
        cls, widths: Sequence[int], stalks: Mapping[str, Array], *, output_vertex: bool = False
    ) -> Cochain:
        """Build from arrays named as `stalks` names them; ValueError says what is missing or misshapen."""
        first = stalks.get("z1")
        if first is None or np.ndim(first) != 2:
            raise ValueError(f"start stalks need z1, samples x {widths[1]}")
        cochain = cls(widths, len(first), output_vertex=output_vertex)
        views = cochain.stalks()
        if set(views) != set(stalks):
            raise ValueError(f"start stalks must be {', '.join(views)}; got {', '.join(stalks)}")
        for name, view in views.items():
            if np.shape(stalks[name]) != view.shape:
                raise ValueError(f"stalk {name} must have shape {view.shape}, got {np.shape(stalks[name])}")
            if not np.isfinite(stalks[name]).all():
                raise ValueError(f"stalk {name} must be finite")
            view[:] = stalks[name]
        return cochain

    def stalks(self) -> dict[str, Array]:
        """Return views of the free stalks by name, in path order: z1, a1, z2, ..., then y."""
        named: dict[str, Array] = {}
        for layer, z in self.z.items():
            named[f"z{layer}"] = z
            if layer in self.a:
                named[f"a{layer}"] = self.a[layer]
        if self.y is not None:
            named["y"] = self.y
        return named

    def copy(self) -> Cochain:
        """Return an independent copy."""
        other = Cochain(self.widths, self.n_samples, output_vertex=self.output_vertex)
        np.copyto(other.data, self.data)
        return other
