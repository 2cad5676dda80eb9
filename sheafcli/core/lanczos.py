"""Both ends of the spectrum of the free sheaf Laplacian, by sweeps, many samples at once.

L_Omega = delta^T delta with delta = -(I - N) unitriangular, so that L_Omega^-1 = delta^-1 delta^-T: a sweep
backwards, then one forwards. Lanczos on L_Omega finds its largest eigenvalue, Lanczos on L_Omega^-1 the
smallest, the gap, with as many digits however small it is; nothing is assembled and nothing is factored.

The method is Lanczos' with thick restarts (Wu & Simon 2000) and full orthogonalisation. It ends where the
residual |A v - theta v| is at most a share `tolerance` of theta, for every sample: the error of theta is then
of the size of that share's square, and never more than the share.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from sheafcli.core.blocks import ENTRIES
from sheafcli.core.sweep import Linearization, coboundary, coboundary_transposed, moved, pulled
from sheafcli.core.types import Array

# Up to so many coordinates the operator is written out, by its products with the unit vectors.
DENSE = 48
# A basis has so many vectors, at least and at most; half of them are kept at a restart.
FEWEST_VECTORS, MOST_VECTORS, MOST_RESTARTS = 10, 48, 1000
# The largest eigenvalues of a convolutional network lie close together, as those of any operator that is
# alike at all places of an image: beyond so many coordinates a looser tolerance takes a tenth of the time.
TIGHT, LOOSE, MANY = 1e-10, 1e-3, 5_000
# Looked at after every so many products.
LOOK_EVERY = 4


class Ends(NamedTuple):
    """The smallest and largest eigenvalue of L_Omega for every sample, and their unit eigenvectors.

    `gap` and `largest` are of length samples; `fiedler` and `top` are samples x free coordinates, laid out as
    `Graph.places` says. `left` is samples x 2: |L^-1 v - v / gap| gap and |L v - largest v| / largest, which
    bound the relative errors.
    """

    gap: Array
    largest: Array
    fiedler: Array
    top: Array
    left: Array


def default_tolerance(dimension: int) -> float:
    """Return what `Ends.left` may be at most, for so many free coordinates."""
    return TIGHT if dimension <= MANY else LOOSE


def work_entries(dimension: int) -> int:
    """Return how many entries the work arrays have a sample."""
    return dimension * (dimension if dimension <= DENSE else _basis_size(dimension) + 1)


def spectrum_ends(at: Linearization, tolerance: float | None = None) -> Ends:
    """Return both ends of the spectrum for every sample of a linearisation in float64."""
    inverse, fiedler, rest = largest_inverse(at, tolerance)
    largest, top, left = _largest(partial(laplacian_product, at), *_size(at), tolerance)
    return Ends(1.0 / inverse, largest, fiedler, top, np.stack([rest, left], axis=1))


def largest_inverse(at: Linearization, tolerance: float | None = None) -> tuple[Array, Array, Array]:
    """Return the largest eigenvalue of L_Omega^-1, its unit eigenvector and what is left, by sample."""
    return _largest(partial(inverse_product, at), *_size(at), tolerance)


def laplacian_product(at: Linearization, x: Array) -> Array:
    """Return L_Omega x for free coordinates x, (...) x samples x dimension."""
    residuals = coboundary(at, at.graph.split(x))
    return at.graph.join(coboundary_transposed(at, residuals))


def inverse_product(at: Linearization, b: Array) -> Array:
    """Return L_Omega^-1 b likewise; each sweep solves with -delta, so that the signs cancel."""
    return at.graph.join(moved(at, pulled(at, at.graph.split(b))))


def _size(at: Linearization) -> tuple[int, int]:
    return len(at.output), at.graph.dimension


def _basis_size(n: int) -> int:
    return min(MOST_VECTORS, max(FEWEST_VECTORS, ENTRIES // n))


def _largest(
    product: Callable[[Array], Array], samples: int, n: int, tolerance: float | None
) -> tuple[Array, Array, Array]:
    """Return a positive definite operator's largest eigenvalue, its vector, and what is left, by sample."""
    if n <= DENSE:
        units = np.broadcast_to(np.eye(n)[:, None], (n, samples, n))
        values, vectors = np.linalg.eigh(np.moveaxis(product(units), 0, 2))
        value, vector = values[:, -1].copy(), vectors[:, :, -1].copy()
    else:
        value, vector = _lanczos(product, samples, n, tolerance or default_tolerance(n))
    left = np.linalg.norm(product(vector) - value[:, None] * vector, axis=1) / value
    return value, vector, left


def _lanczos(
    product: Callable[[Array], Array], samples: int, n: int, tolerance: float
) -> tuple[Array, Array]:
    most = _basis_size(n)
    V, T = np.zeros((samples, most + 1, n)), np.zeros((samples, most, most))
    start = np.random.default_rng(n).normal(size=n)
    V[:, 0] = start / np.linalg.norm(start)
    size = 0
    for _ in range(MOST_RESTARTS):
        while size < most:
            w, basis = product(V[:, size]), V[:, : size + 1]
            T[:, size, : size + 1] = 0.0
            for _ in range(2):  # once leaves what rounding of the first projection has left
                shares = np.matmul(basis, w[:, :, None])
                w = w - np.matmul(np.swapaxes(basis, 1, 2), shares)[:, :, 0]
                T[:, size, : size + 1] += shares[:, :, 0]
            T[:, : size + 1, size] = T[:, size, : size + 1]
            length = np.linalg.norm(w, axis=1)
            size += 1
            V[:, size] = w / np.maximum(length, np.finfo(np.float64).tiny)[:, None]
            if size % LOOK_EVERY and size < most:
                continue
            values, S = np.linalg.eigh(T[:, :size, :size])
            left = length * np.abs(S[:, -1, -1])
            # Where nothing is left but rounding the basis holds all that the start vector can reach.
            rounding = 1e-14 * values[:, -1]
            if (left <= np.maximum(tolerance * values[:, -1], rounding)).all():
                vector = np.matmul(S[:, None, :, -1], V[:, :size])[:, 0]
                return values[:, -1], vector / np.linalg.norm(vector, axis=1)[:, None]
        kept = most // 2
        V[:, :kept] = np.matmul(np.swapaxes(S[:, :, -kept:], 1, 2), V[:, :most])
        V[:, kept] = V[:, most]
        T[:] = 0.0
        T[:, range(kept), range(kept)] = values[:, -kept:]
        size = kept
    raise ArithmeticError(f"Lanczos' method did not converge to {tolerance:g} in {MOST_RESTARTS} restarts")
