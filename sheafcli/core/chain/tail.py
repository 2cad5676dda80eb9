"""What follows a layer: from z_l to the misfit of the output, and back, with kinks that can be softened.

`sheafcli.core.averaged` says what softening by eps is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from sheafcli.core.averaged import rectified, slope_of
from sheafcli.core.chain.network import Network
from sheafcli.core.fault.misfit import Misfit
from sheafcli.core.types import Array


class Sweep(NamedTuple):
    """The stalks z_l, ..., z_{k+1}, and the slopes rho'(z) of all but the last."""

    stalks: list[Array]
    slopes: list[Array]


# Of so many classes or labels sensitivities are exact.
MOST_CLASSES = 16


@dataclass(frozen=True, eq=False)
class Tail:
    """The layers after layer l with the targets y, samples x n_{k+1}, of what they compute.

    `weights` and `biases` are theirs, `softness` is eps for each activation from z_l on.
    """

    network: Network
    layer: int
    y: Array
    softness: tuple[float, ...]

    @classmethod
    def of(cls, network: Network, layer: int, y: Array) -> Tail:
        """Return what follows a layer, with its kinks as they are."""
        return cls(network, layer, y, (0.0,) * (network.depth + 1 - layer))

    @property
    def weights(self) -> tuple[Array, ...]:
        """W_{l+1}, ..., W_{k+1}."""
        return self.network.weights[self.layer :]

    @property
    def is_free(self) -> bool:
        """Whether it is nothing but the identity: every output has its own rows of the map before it."""
        return not self.weights and not self.network.output.classifies

    @property
    def misfit(self) -> Misfit:
        """The cost of the outputs."""
        return Misfit(self.network.output, self.y)

    def softened(self, share: float, z: Array) -> Tail:
        """Return it with eps a share of the root mean square of each stalk, as they follow from z_l."""
        sizes = [float(np.sqrt(np.mean(stalk * stalk))) for stalk in self.sweep(z).stalks[:-1]]
        return replace(self, softness=tuple(share * size for size in sizes))

    def sweep(self, z: Array) -> Sweep:
        """Return z_l, ..., z_{k+1} from z_l, with the slopes."""
        stalks, slopes = [z], []
        for W, b, eps in zip(self.weights, self.network.biases[self.layer :], self.softness, strict=True):
            slopes.append(slope_of(z, eps))
            z = rectified(z, eps, slopes[-1]) @ W.T
            z += b
            stalks.append(z)
        return Sweep(stalks, slopes)

    def pulls(self, sweep: Sweep) -> tuple[Array, Array]:
        """Return the gradients in z_l and in a_l of the potential, summed over the samples."""
        on_z = on_a = self.network.output.value(sweep.stalks[-1]) - self.y
        for W, slope in zip(self.weights[::-1], sweep.slopes[::-1], strict=True):
            on_a = on_z @ W
            on_z = on_a * slope
        return on_z, on_a

    def sensitivities(self, sweep: Sweep) -> tuple[Array, Array]:
        """Return R^T dz_{k+1} / dz_l and R^T dz_{k+1} / da_l, samples x rows x n_l, with R R^T = J_phi."""
        last = self.weights[-1] if self.weights else np.eye(sweep.stalks[-1].shape[1])
        on_z = on_a = self._root(sweep.stalks[-1], np.broadcast_to(last, (len(self.y), *last.shape)))
        for place in range(len(self.weights) - 1, -1, -1):
            if place < len(self.weights) - 1:
                on_a = _times(on_z, self.weights[place])
            on_z = on_a * sweep.slopes[place][:, None, :]
        return on_z, on_a

    def sensitivity(self, sweep: Sweep, j: int) -> Array:
        """Return R^T dz_{k+1} / dz_l for coordinate j of z_l alone, samples x rows: one sweep forward."""
        v = np.zeros_like(sweep.stalks[0])
        v[:, j] = 1.0
        for W, slope in zip(self.weights, sweep.slopes, strict=True):
            v = (v * slope) @ W.T
        return self._root(sweep.stalks[-1], v[:, :, None])[:, :, 0]

    def _root(self, z: Array, G: Array) -> Array:
        """Return R^T G; of more than MOST_CLASSES classes or labels as if there were only the least sure.

        Of a softmax R^T misses what the chance of all others together gives. Any R^T G with more rows than
        columns, alike for all samples, is turned into a triangle.
        """
        output, alike = self.network.output, G.strides[0] == 0
        if output.classifies and z.shape[1] > MOST_CLASSES:
            p = output.value(z)
            some = np.argpartition(-p * (1.0 - p), MOST_CLASSES - 1, axis=1)[:, :MOST_CLASSES]
            rows = G[0][some] if alike else np.take_along_axis(G, some[:, :, None], axis=1)
            return output.root(np.take_along_axis(z, some, axis=1), rows)
        if not alike:
            return output.root(z, G)
        if output.classifies:
            return _times(output.root(z, np.broadcast_to(np.eye(z.shape[1]), (*z.shape, z.shape[1]))), G[0])
        if G.shape[1] > G.shape[2]:
            return np.broadcast_to(np.linalg.qr(G[0], mode="r"), (len(G), G.shape[2], G.shape[2]))
        return G


def _times(G: Array, W: Array) -> Array:
    """Return G W for samples x n x m as one product of two matrices."""
    return np.asarray((G.reshape(-1, G.shape[2]) @ W).reshape(*G.shape[:2], -1))
