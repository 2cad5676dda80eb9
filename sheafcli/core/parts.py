"""The parts of a layer's map [W_l, b_l] that a fault may be in: all, a neuron's row, an input's column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from sheafcli.core.outputs import Array

Kind = Literal["layer", "neuron", "input"]

# The curvature of a whole layer has at most so many rows, and none so small beside the largest.
MOST_ROWS, NEGLIGIBLE = 1000, 1e-10


@dataclass(frozen=True, eq=False)
class Taken:
    """A layer taken out of its network.

    `inputs` is [a_{l-1}, 1], samples x (n_{l-1} + 1); `matrix` is [W_l, b_l]; `z` is z_l, samples x n_l.
    """

    inputs: Array
    matrix: Array
    z: Array


class Part(Protocol):
    """Some entries of [W_l, b_l] that may change while all others stay.

    With `entries` a vector that describes it, `stalk` is z_l, `slope` the gradient in them from that in z_l,
    `placed` the whole matrix, and `curvature` a matrix whose eigenvalues, but for zeros, are those of the sum
    over samples of J^T H J: J = dz_{k+1} / d entries, from G = dz_{k+1} / dz_l, samples x n_{k+1} x n_l, and
    H the Jacobian of the output, samples x n_{k+1} x n_{k+1}.
    """

    @property
    def kind(self) -> Kind:
        """What it is called."""

    @property
    def index(self) -> int | None:
        """Which neuron or input it is."""

    @property
    def entries(self) -> Array:
        """The entries as they are."""

    def stalk(self, entries: Array) -> Array:
        """Return z_l."""

    def slope(self, on_z: Array) -> Array:
        """Return the gradient in the entries."""

    def placed(self, entries: Array) -> Array:
        """Return [W_l, b_l]."""

    def curvature(self, G: Array, H: Array) -> Array:
        """Return the curvature, or its Gram matrix."""


@dataclass(frozen=True, eq=False)
class WholeLayer:
    """All of [W_l, b_l], as the change B V of it: V, r x (n_{l-1} + 1), spans the inputs of the samples.

    A change beyond their span moves no stalk, and V has orthonormal rows: nothing is lost, |B| is the norm of
    the change, and B, n_l x r, is all that has to be found. `inside` is [a, 1] V^T, samples x r.
    """

    layer: Taken
    span: Array
    inside: Array
    kind: Kind = "layer"
    index: None = None

    @classmethod
    def of(cls, layer: Taken) -> WholeLayer:
        """Return the layer with the span of its inputs, where they are fewer than its columns."""
        samples, columns = layer.inputs.shape
        span = np.eye(columns) if samples >= columns else np.linalg.qr(layer.inputs.T)[0].T
        return cls(layer, span, layer.inputs @ span.T)

    @property
    def entries(self) -> Array:
        """No change: zeros."""
        return np.zeros(self.layer.z.shape[1] * len(self.span))

    def stalk(self, entries: Array) -> Array:
        """Return z_l with the change."""
        return self.layer.z + self.inside @ entries.reshape(-1, len(self.span)).T

    def slope(self, on_z: Array) -> Array:
        """Return on_z^T [a, 1] V^T."""
        return (on_z.T @ self.inside).ravel()

    def placed(self, entries: Array) -> Array:
        """Return the matrix with the change."""
        return np.asarray(self.layer.matrix + entries.reshape(-1, len(self.span)) @ self.span)

    def curvature(self, G: Array, H: Array) -> Array:
        """Return the Gram matrix of the rows of all samples.

        With H = sum_i d_i q_i q_i^T each sample has a row sqrt(d_i) (q_i^T G) times [a, 1] for every output.
        Beyond MOST_ROWS the smallest are left out: where a prediction is sure they are all but 0.
        """
        d, q = np.linalg.eigh(H)
        rows = np.sqrt(np.maximum(d, 0.0))[:, :, None] * (np.swapaxes(q, 1, 2) @ G)
        sample = np.repeat(np.arange(len(rows)), rows.shape[1])
        rows = rows.reshape(-1, rows.shape[2])
        size = np.sum(rows * rows, axis=1) * np.sum(self.layer.inputs**2, axis=1)[sample]
        kept = np.argsort(-size, kind="stable")[:MOST_ROWS]
        kept = kept[size[kept] > NEGLIGIBLE * size.max()]
        rows, a = rows[kept], self.layer.inputs[sample[kept]]
        return np.asarray((rows @ rows.T) * (a @ a.T))


@dataclass(frozen=True, eq=False)
class Neuron:
    """The weights and the bias into one neuron: a row."""

    layer: Taken
    index: int
    kind: Kind = "neuron"

    @property
    def entries(self) -> Array:
        """The row."""
        return np.asarray(self.layer.matrix[self.index])

    def stalk(self, entries: Array) -> Array:
        """Return z_l with the neuron's coordinate anew."""
        z = self.layer.z.copy()
        z[:, self.index] = self.layer.inputs @ entries
        return z

    def slope(self, on_z: Array) -> Array:
        """Return the row of on_z^T [a, 1]."""
        return np.asarray(on_z[:, self.index] @ self.layer.inputs)

    def placed(self, entries: Array) -> Array:
        """Return the matrix with the row in it."""
        M = self.layer.matrix.copy()
        M[self.index] = entries
        return M

    def curvature(self, G: Array, H: Array) -> Array:
        """Return the sum over samples of g^T H g times [a, 1]^T [a, 1], g the neuron's column of G."""
        g = G[:, :, self.index]
        bend = np.einsum("io,iop,ip->i", g, H, g)
        return weighted_gram(self.layer.inputs, bend)


@dataclass(frozen=True, eq=False)
class Input:
    """The weights out of one coordinate of a_{l-1}: a column."""

    layer: Taken
    index: int
    kind: Kind = "input"

    @property
    def entries(self) -> Array:
        """The column."""
        return np.asarray(self.layer.matrix[:, self.index])

    def stalk(self, entries: Array) -> Array:
        """Return z_l with the input's part anew."""
        return self.layer.z + np.outer(self.layer.inputs[:, self.index], entries - self.entries)

    def slope(self, on_z: Array) -> Array:
        """Return the column of on_z^T [a, 1]."""
        return np.asarray(self.layer.inputs[:, self.index] @ on_z)

    def placed(self, entries: Array) -> Array:
        """Return the matrix with the column in it."""
        M = self.layer.matrix.copy()
        M[:, self.index] = entries
        return M

    def curvature(self, G: Array, H: Array) -> Array:
        """Return the sum over samples of a^2 G^T H G, a the input."""
        a = self.layer.inputs[:, self.index]
        return gram(G * (a * a)[:, None, None], H @ G)


def gram(G: Array, bent: Array) -> Array:
    """Return the sum over samples and outputs of G^T bent, n_l x n_l."""
    return np.asarray(G.reshape(-1, G.shape[2]).T @ bent.reshape(-1, bent.shape[2]))


def weighted_gram(a: Array, weight: Array) -> Array:
    """Return a^T diag(weight) a or, if it is smaller, the matrix over samples with the same eigenvalues."""
    if len(a) < a.shape[1]:
        rows = a * np.sqrt(np.maximum(weight, 0.0))[:, None]
        return np.asarray(rows @ rows.T)
    return np.asarray((a * weight[:, None]).T @ a)
