"""The parts of a layer's map [W_l, b_l] that a fault may be in: all, a neuron's row, an input's column.

A part is some entries that may change while all others stay. With `entries` a vector that describes it, its
own as they are, `stalk` is z_l, `slope` the gradient in them from that in z_l, `placed` the whole matrix, and
`curvature` the J^T J of J = R^T dz_{k+1} / d entries, where the tail has been swept. Rows of J smaller than
`negligible` need not be in its Gram matrix. `kind` says what it is called, `index` which neuron or input.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.chain.tail import Sweep, Tail
from sheafcli.core.curvature import Curvature, Repeated
from sheafcli.core.types import Array

Kind = Literal["layer", "neuron", "input", "rearranged"]

# The Gram matrix of a part has at most so many rows, where it has more entries.
MOST_ROWS = 700


@dataclass(frozen=True, eq=False)
class Taken:
    """A layer taken out of its network.

    `inputs` is [a_{l-1}, 1], samples x (n_{l-1} + 1); `matrix` is [W_l, b_l]; `z` is z_l, samples x n_l.
    """

    inputs: Array
    matrix: Array
    z: Array


@dataclass(frozen=True, eq=False)
class Columns:
    """All of [W_l, b_l], or a column of it, as the change B V: V, r x (n_{l-1} + 1), has orthonormal rows.

    For the whole layer V spans the inputs of the samples: a change beyond moves no stalk, so that nothing is
    lost. For the weights out of one coordinate of a_{l-1} it is a unit vector. |B| is the norm of the change,
    and B, n_l x r, is all that has to be found. `inside` is [a, 1] V^T, samples x r.
    """

    layer: Taken
    span: Array
    inside: Array
    kind: Kind = "layer"
    index: int | None = None

    @classmethod
    def whole(cls, layer: Taken) -> Columns:
        """Return the layer with the span of its inputs, where they are fewer than its columns."""
        samples, columns = layer.inputs.shape
        span = np.eye(columns) if samples >= columns else np.linalg.qr(layer.inputs.T)[0].T
        return cls(layer, span, layer.inputs @ span.T)

    @classmethod
    def of_input(cls, layer: Taken, index: int) -> Columns:
        """Return the weights out of one coordinate of a_{l-1}."""
        columns = layer.inputs.shape[1]
        return cls(layer, np.eye(1, columns, index), layer.inputs[:, index : index + 1], "input", index)

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

    def curvature(self, tail: Tail, sweep: Sweep, negligible: float) -> Curvature | Repeated:
        """Return J^T J from a row a sample and output, a row of the sensitivities times the inputs.

        In its products alone are the rows that do not matter: where a prediction is sure they are all but 0.
        """
        if tail.is_free:
            return Repeated(Curvature.of(self.inside), self.layer.z.shape[1])
        G, _ = tail.sensitivities(sweep)
        sample, output = _matter(G, np.sum(self.inside**2, axis=1), negligible, self.entries.size)
        largest = Curvature.of_products(G[sample, output], self.inside[sample])

        def product(v: Array) -> Array:
            moved = G @ (self.inside @ v.reshape(-1, self.inside.shape[1]).T)[:, :, None]
            return self.slope((np.swapaxes(G, 1, 2) @ moved)[:, :, 0])

        return largest if len(sample) == G.shape[0] * G.shape[1] else replace(largest, product=product)


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

    def curvature(self, tail: Tail, sweep: Sweep, negligible: float) -> Curvature | Repeated:
        """Return J^T J from a row a sample: all its outputs have the same inputs, times numbers."""
        size = np.linalg.norm(tail.sensitivity(sweep, self.index), axis=1)
        return Curvature.of(size[:, None] * self.layer.inputs)


Part = Columns | Neuron


def _matter(
    G: Array, squares: Array, negligible: float, entries: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return samples and outputs of the rows of J that are not negligible, and are not too many.

    `squares` are those of what every sample's rows of G, samples x outputs x n_l, are multiplied by. If
    more than MOST_ROWS are left, and there are more entries than that, the smallest are left out, too.
    """
    size = np.sum(G * G, axis=2) * squares[:, None]
    if min(int(np.sum(size > negligible)), entries) > MOST_ROWS:
        negligible = np.partition(size, -MOST_ROWS - 1, axis=None)[-MOST_ROWS - 1]
    sample, output = np.nonzero(size > negligible)
    return sample, output
