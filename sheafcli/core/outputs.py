"""Output functions phi of a network, each with its loss: identity, sigmoid, softmax."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import scipy
from numpy.typing import NDArray

from sheafcli.core.types import Array

# Probabilities count as at least e^-FARTHEST where something is divided by their roots.
FARTHEST = 400.0


class Output(Protocol):
    """What a network's last pre-activation ``z`` (samples x n_{k+1}) means, and what an error costs.

    ``name`` is the word used in configurations and files; ``classifies`` says whether targets are
    classes. ``curvature`` bounds the largest eigenvalue of the Jacobian of `value` from above.
    """

    name: ClassVar[str]
    classifies: ClassVar[bool]
    curvature: ClassVar[float]

    def value(self, z: Array) -> Array:
        """Return the prediction phi(z)."""

    def potential(self, z: Array, y: Array) -> Array:
        """Return, per sample, the potential whose gradient in z is ``phi(z) - y``.

        z is (...) x samples x n_{k+1}, y samples x n_{k+1}.
        """

    def loss(self, z: Array, y: Array) -> float:
        """Return the loss that is reported, a mean over samples: that of the potential, unless said."""
        return float(np.mean(self.potential(z, y)))

    def loss_scale(self, n_outputs: int) -> float:
        """Return the loss in units of the mean potential, for so many outputs."""
        return 1.0

    def accuracy(self, z: Array, y: Array) -> float | None:
        """Return the share of samples whose class, or every label, is right; None for a regression."""

    def discord(self, z: Array, y: Array) -> float:
        """Return what the output edge counts in a training discord, a mean over samples."""
        return self.loss(z, y)

    def spread(self, p: Array, v: Array) -> Array:
        """Return J_phi v, samples x n_{k+1}, at the prediction p = phi(z); J_phi is symmetric."""

    def jacobian(self, z: Array) -> Array:
        """Return J_phi(z), symmetric and positive semidefinite, samples x n_{k+1} x n_{k+1}."""
        p = self.value(z)
        columns = (self.spread(p, np.broadcast_to(unit, p.shape)) for unit in np.eye(p.shape[1]))
        return np.stack([*columns], axis=2)

    def root(self, z: Array, G: Array | None = None) -> Array:
        """Return R^T G with R R^T = J_phi(z), for G samples x n_{k+1} x anything; R^T itself without G.

        R has as many columns as J_phi has ranks: for the softmax one less than n_{k+1}.
        """

    def pull(self, z: Array, y: Array) -> Array:
        """Return rho with R rho = y - phi(z), samples x columns of R."""


@dataclass(frozen=True)
class Identity(Output):
    """phi(z) = z with half the squared error; the reported loss is the mean squared error."""

    name: ClassVar[str] = "identity"
    classifies: ClassVar[bool] = False
    curvature: ClassVar[float] = 1.0

    def value(self, z: Array) -> Array:
        """Return z."""
        return z

    def potential(self, z: Array, y: Array) -> Array:
        """Return ||z - y||^2 / 2 per sample."""
        return np.asarray(0.5 * np.sum((z - y) ** 2, axis=-1))

    def loss(self, z: Array, y: Array) -> float:
        """Return the mean squared error over samples and outputs."""
        return float(np.mean((z - y) ** 2))

    def loss_scale(self, n_outputs: int) -> float:
        """Return 2 / n_{k+1}: the potential has a half, and sums over outputs."""
        return 2.0 / n_outputs

    def accuracy(self, z: Array, y: Array) -> None:
        """Return None: a regression has no classes."""

    def discord(self, z: Array, y: Array) -> float:
        """Return the mean of ||z - y||^2."""
        return 2.0 * float(np.mean(self.potential(z, y)))

    def spread(self, p: Array, v: Array) -> Array:
        """Return v."""
        return v

    def root(self, z: Array, G: Array | None = None) -> Array:
        """Return G."""
        return self.jacobian(z) if G is None else G

    def pull(self, z: Array, y: Array) -> Array:
        """Return y - z."""
        return y - z


@dataclass(frozen=True)
class Sigmoid(Output):
    """phi(z) = 1 / (1 + exp(-z)) by output, with the binary cross-entropy, summed over outputs.

    One output tells two classes apart; several are as many labels, of which a sample may have any.
    """

    name: ClassVar[str] = "sigmoid"
    classifies: ClassVar[bool] = True
    curvature: ClassVar[float] = 0.25

    def value(self, z: Array) -> Array:
        """Return the probabilities."""
        return np.asarray(scipy.special.expit(z))

    def potential(self, z: Array, y: Array) -> Array:
        """Return log(1 + e^z) - y z, summed over outputs, per sample.

        As log(1 + e^-|z|) + max(z, 0) - y z, of which no digit is lost where it is next to nothing.
        """
        return np.asarray(np.sum(np.log1p(np.exp(-np.abs(z))) + (np.maximum(z, 0.0) - y * z), axis=-1))

    def accuracy(self, z: Array, y: Array) -> float:
        """Return the share of samples all of whose outputs are on the right side of 1/2."""
        return float(np.mean(np.all((z >= 0) == (y >= 0.5), axis=1)))

    def spread(self, p: Array, v: Array) -> Array:
        """Return p (1 - p) v."""
        return p * (1.0 - p) * v

    def root(self, z: Array, G: Array | None = None) -> Array:
        """Return diag(p (1 - p))^(1/2) G with p = phi(z)."""
        return self._spread_root(z)[:, :, None] * (np.eye(z.shape[1]) if G is None else G)

    def pull(self, z: Array, y: Array) -> Array:
        """Return (y - p) / (p (1 - p))^(1/2); y - p as y (1 - p) - (1 - y) p, exact for p near y, too."""
        return np.asarray(
            (y * scipy.special.expit(-z) - (1.0 - y) * scipy.special.expit(z)) / self._spread_root(z)
        )

    def _spread_root(self, z: Array) -> Array:
        """Return (p (1 - p))^(1/2) = 1 / (2 cosh(z / 2)), never quite zero."""
        return np.asarray(0.5 / np.cosh(0.5 * np.clip(z, -FARTHEST, FARTHEST)))


@dataclass(frozen=True)
class Softmax(Output):
    """phi(z)_j = exp(z_j) / sum_i exp(z_i) with the cross-entropy; targets are rows that sum to one."""

    name: ClassVar[str] = "softmax"
    classifies: ClassVar[bool] = True
    curvature: ClassVar[float] = 0.5

    def value(self, z: Array) -> Array:
        """Return the class probabilities."""
        # A third of the time of scipy's general one, on which every step of a training waits.
        powers = np.exp(z - z.max(axis=1, keepdims=True))
        powers /= powers.sum(axis=1, keepdims=True)
        return np.asarray(powers)

    def potential(self, z: Array, y: Array) -> Array:
        """Return -sum_j y_j log phi(z)_j per sample: log sum_j exp(z_j - max z) + max z - y z.

        Of the sum the largest term, 1, is left to log1p, so that no digit is lost where it is nearly all.
        """
        largest = np.argmax(z, axis=-1)[..., None]
        below = z - np.take_along_axis(z, largest, axis=-1)
        powers = np.exp(below)
        np.put_along_axis(powers, largest, 0.0, axis=-1)
        return np.asarray(np.log1p(powers.sum(axis=-1)) - np.sum(y * below, axis=-1))

    def accuracy(self, z: Array, y: Array) -> float:
        """Return the share of samples whose largest entry is the target's."""
        return float(np.mean(np.argmax(z, axis=1) == np.argmax(y, axis=1)))

    def spread(self, p: Array, v: Array) -> Array:
        """Return (diag(p) - p p^T) v."""
        return np.asarray(p * (v - np.sum(p * v, axis=1, keepdims=True)))

    def root(self, z: Array, G: Array | None = None) -> Array:
        """Return all rows but the m-th of T diag(q) G, q = p^(1/2), p = phi(z), m the likeliest class.

        T = I - v v^T / (1 + q_m), v = q + e_m, is Householder's reflection that turns q, in whose direction
        J_phi = diag(q) (I - q q^T) diag(q) is null, onto axis m. So the row of class j is at most q_j: it
        is next to nothing where the sample has no doubt about j. The last row takes the place of the m-th.
        """
        q, each, most, others = self._reflection(z)
        along = q * q
        along[each, most] += q[each, most]
        kept = q[each, others]
        root = (-kept / (1.0 + q[each, most]))[:, :, None] * along[:, None, :]
        root[each, np.arange(others.shape[1]), others] += kept
        return root if G is None else np.asarray(root @ G)

    def pull(self, z: Array, y: Array) -> Array:
        """Return those entries of T ((y - p) / q), as `root` has T and q.

        y - p as y (1 - p) - (1 - y) p with 1 - p the sum of the others, exact however near p is to y.
        """
        (q, each, most, others), p = self._reflection(z), self.value(z)
        scaled = (y * (p @ (1.0 - np.eye(p.shape[1]))) - (1.0 - y) * p) / q
        along = np.sum(q * scaled, axis=1, keepdims=True) + scaled[each, most]
        along /= 1.0 + q[each, most]
        return np.asarray(scaled[each, others] - q[each, others] * along)

    def _reflection(self, z: Array) -> tuple[Array, NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
        """Return q, never quite zero, and as columns the samples, m, and all classes but m."""
        q = np.maximum(np.sqrt(self.value(z)), np.exp(-0.5 * FARTHEST))
        most, last = np.argmax(q, axis=1)[:, None], z.shape[1] - 1
        classes = np.arange(last)
        return q, np.arange(len(z))[:, None], most, np.where(classes == most, last, classes)


OUTPUTS: dict[str, Output] = {output.name: output for output in (Identity(), Sigmoid(), Softmax())}


def output_named(name: str) -> Output:
    """Return the output function called `name`, or raise ValueError naming those that exist."""
    if name not in OUTPUTS:
        raise ValueError(f"unknown output {name!r}; known: {', '.join(OUTPUTS)}")
    return OUTPUTS[name]


def as_output(output: Output | str) -> Output:
    """Return an output function as it is, or the one that a name says."""
    return output_named(output) if isinstance(output, str) else output
