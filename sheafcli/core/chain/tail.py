"""What follows a layer: from z_l to the misfit of the output, and back, with kinks that can be softened.

`sheafcli.core.averaged` says what softening by eps is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sheafcli.core.averaged import rectified, slope_of
from sheafcli.core.chain.network import Network
from sheafcli.core.fault.misfit import Misfit
from sheafcli.core.types import Array


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
    def misfit(self) -> Misfit:
        """The cost of the outputs."""
        return Misfit(self.network.output, self.y)

    def softened(self, share: float, z: Array) -> Tail:
        """Return it with eps a share of the root mean square of each stalk, as they follow from z_l."""
        sizes = [float(np.sqrt(np.mean(stalk * stalk))) for stalk in self.stalks(z)[:-1]]
        return replace(self, softness=tuple(share * size for size in sizes))

    def stalks(self, z: Array) -> list[Array]:
        """Return z_l, ..., z_{k+1} from z_l."""
        stalks = [z]
        for W, b, eps in zip(self.weights, self.network.biases[self.layer :], self.softness, strict=True):
            stalks.append(rectified(stalks[-1], eps) @ W.T + b)
        return stalks

    def pulls(self, stalks: list[Array]) -> tuple[Array, Array]:
        """Return the gradients in z_l and in a_l of the potential, summed over the samples."""
        on_z = on_a = self.network.output.value(stalks[-1]) - self.y
        for W, z, eps in zip(self.weights[::-1], stalks[-2::-1], self.softness[::-1], strict=True):
            on_a = on_z @ W
            on_z = on_a * slope_of(z, eps)
        return on_z, on_a

    def sensitivities(self, stalks: list[Array]) -> tuple[Array, Array]:
        """Return R^T dz_{k+1} / dz_l and R^T dz_{k+1} / da_l, samples x n_{k+1} x n_l, with R R^T = J_phi."""
        last = self.weights[-1] if self.weights else np.eye(stalks[-1].shape[1])
        on_z = on_a = self.network.output.root(stalks[-1], np.broadcast_to(last, (len(self.y), *last.shape)))
        for place in range(len(self.weights) - 1, -1, -1):
            if place < len(self.weights) - 1:
                on_a = _times(on_z, self.weights[place])
            on_z = on_a * slope_of(stalks[place], self.softness[place])[:, None, :]
        return on_z, on_a


def _times(G: Array, W: Array) -> Array:
    """Return G W for samples x n x m as one product of two matrices."""
    return np.asarray((G.reshape(-1, G.shape[2]) @ W).reshape(*G.shape[:2], -1))
