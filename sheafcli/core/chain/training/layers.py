"""What gradient training works on: all parameters packed in one array, and the arrays of one batch.

A layer is kept homogeneous, H_l = [W_l, b_l], and a batch has one column a sample, each a_l with a row of
ones below it: W_l a_{l-1} + b_l is one product, and so is the gradient of weights and bias together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

from sheafcli.core.chain.network import Network
from sheafcli.core.training.graph.parameters import split
from sheafcli.core.types import Array


class Parameters:
    """Weights and biases of all layers in one array, `flat`; and `gradient`, packed likewise.

    `H[l]` is [W_{l+1}, b_{l+1}] and `W[l]` is W_{l+1}, `G[l]` is the gradient in H[l], counted from l = 0:
    views, which follow what is done to the packed arrays.
    """

    def __init__(self, network: Network, dtype: DTypeLike):
        self.widths, self.output = network.widths, network.output
        shapes = [(n, m + 1) for m, n in zip(self.widths[:-1], self.widths[1:], strict=True)]
        self.flat: Array = np.empty(sum(rows * columns for rows, columns in shapes), dtype)
        self.gradient: Array = np.zeros_like(self.flat)
        self.H, self.G = split(self.flat, shapes), split(self.gradient, shapes)
        self.W = [H[:, :-1] for H in self.H]
        for H, W, b in zip(self.H, network.weights, network.biases, strict=True):
            H[:, :-1], H[:, -1] = W, b

    def batch(self, size: int) -> Batch:
        """Return room for so many samples."""
        return Batch(self.widths, size, self.flat.dtype)

    def network(self) -> Network:
        """Return the network as it is now."""
        return Network(tuple(self.W), tuple(H[:, -1] for H in self.H), self.output)


class Batch:
    """The forward pass of one batch: `a[l]` is a_l extended by ones, `R[l]` the pattern of layer l + 1.

    `one` is a matrix of a single one.

    Patterns are zeros and ones of the working precision: a product with them costs half of one with
    booleans, and gives a_l from z_l as well.
    """

    def __init__(self, widths: Sequence[int], size: int, dtype: DTypeLike):
        self.size = size
        self.one: Array = np.ones((1, 1), dtype)
        # One row a sample, as data come; products take it transposed at no cost.
        self._inputs: Array = np.ones((size, widths[0] + 1), dtype)
        self.y: Array = np.empty((widths[-1], size), dtype)
        self.a = [self._inputs.T] + [np.ones((n + 1, size), dtype) for n in widths[1:-1]]
        self.R: list[Array] = [np.empty((n, size), dtype) for n in widths[1:-1]]
        self._z: list[Array] = [np.empty((n, size), dtype) for n in widths[1:-1]]
        self._active = [np.empty((n, size), bool) for n in widths[1:-1]]

    def load(self, X: Array, y: Array) -> None:
        """Take samples x features and samples x outputs."""
        self._inputs[:, :-1] = X
        self.y[:] = y.T

    def forward(self, H: Sequence[Array]) -> Array:
        """Return z_{k+1}, outputs x samples; afterwards `a` and `R` are those of the forward pass."""
        for layer, (z, R, active) in enumerate(zip(self._z, self.R, self._active, strict=True)):
            np.matmul(H[layer], self.a[layer], out=z)
            np.greater_equal(z, 0.0, out=active)
            np.copyto(R, active)
            np.multiply(z, R, out=self.a[layer + 1][:-1])
        return np.asarray(H[-1] @ self.a[-1])


def pull_back(W: Array, v: Array) -> Array:
    """Return W^T v for one column a sample; an outer product, where W has one row, is no work for BLAS."""
    return W.T @ v if len(W) > 1 else W.T * v
