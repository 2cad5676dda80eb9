"""The theory's theorems on a network that is not a plain chain, each with a figure.

Nothing is assembled: columns of delta_Omega are sweeps from unit vectors, its inverse is two sweeps, and the
spectrum comes by Lanczos. Of a large graph some of the columns and patterns are looked at, and the table says
how many.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sheafcli.core.graph import Graph
from sheafcli.core.lanczos import laplacian_product, largest_inverse, spectrum_ends
from sheafcli.core.network import GraphNetwork, as_inputs
from sheafcli.core.sweep import Linearization, linearize, moved, pulled
from sheafcli.core.theorems import (
    energy,
    forward_coordinates,
    harmonic_extension,
    sampled_triangularity,
)
from sheafcli.core.types import Array
from sheafcli.diagnostics.check import Check, one_stationary_point

# So many columns of delta_Omega are looked at, a sample.
COLUMNS = 64
# Samples and patterns together have so many coordinates, and there are so many at most.
COORDINATES, MOST_SAMPLES, MOST_PATTERNS = 2e5, 20, 64
# Stalks begin so near the forward pass, as a share of its size, that activations are affine there.
NEAR = 1e-6
# The flow is followed for so many times 1 / lambda_1, or so many steps.
DECAY_TIMES, DECAY_STEPS = 5.0, 500
# What smooth activations bend over that distance.
BENT = 1e-4


def verify_graph(network: GraphNetwork, X: Array, seed: int) -> list[Check]:
    """Check every theorem on a graph and some inputs, samples x features."""
    graph = network.graph
    count = int(np.clip(COORDINATES / graph.dimension, 1, MOST_SAMPLES))
    X = as_inputs(network, np.asarray(X[:count], dtype=np.float64))
    at = linearize(graph, X)
    return [
        *_unitriangular(at, seed),
        _positive_definite(graph, at, X, seed),
        _forward_pass(graph, X),
        one_stationary_point(graph, X, seed),
        _decay(graph, at, X, seed),
        _backward_information(graph, at),
    ]


def _unitriangular(at: Linearization, seed: int) -> Iterator[Check]:
    found = sampled_triangularity(at, COLUMNS, seed)
    which = "" if found.dimension <= COLUMNS else f": {COLUMNS} of {found.dimension:,} columns a sample"
    worst = max(found.above, found.diagonal)
    theorem = f"free coboundary is unitriangular up to sign{which}"
    yield Check(theorem, "largest deviation", worst, "= 0", worst == 0.0)
    log = abs(float(np.log1p(found.diagonal))) * found.dimension if found.above == 0.0 else np.inf
    theorem = f"|det delta_Omega| = 1{which}"
    yield Check(theorem, "|log| of the product of its diagonal, at most", log, "<= 1e-9", log <= 1e-9)


def _positive_definite(graph: Graph, at: Linearization, X: Array, seed: int) -> Check:
    """Ask for the smallest eigenvalue on the forward patterns, and on those of random stalks."""
    count = int(np.clip(COORDINATES / graph.dimension, 1, MOST_PATTERNS))
    rng = np.random.default_rng(seed)
    drawn = np.resize(np.arange(len(X)), count)
    scale = np.sqrt(np.mean(forward_coordinates(graph, X) ** 2))
    held = graph.split(scale * rng.normal(size=(count, graph.dimension)))
    inverse = [largest_inverse(some)[0] for some in (at, linearize(graph, X[drawn], held))]
    smallest = 1.0 / float(np.max(np.concatenate(inverse)))
    return Check(
        f"L_Omega positive definite: {len(X)} forward patterns and {count} drawn",
        "smallest eigenvalue",
        smallest,
        "> 0",
        smallest > 0.0,
    )


def _forward_pass(graph: Graph, X: Array) -> Check:
    forward = forward_coordinates(graph, X)
    away = np.max(np.abs(harmonic_extension(graph, X) - forward), axis=1)
    worst = float(np.max(away / (1.0 + np.max(np.abs(forward), axis=1))))
    return Check(
        f"harmonic extension = forward pass: {len(X)} inputs",
        "largest difference",
        worst,
        "<= 1e-8",
        worst <= 1e-8,
    )


def _decay(graph: Graph, at: Linearization, X: Array, seed: int) -> Check:
    """From near the forward pass: |v(t) - v*| <= exp(-lambda_1 t) |v(0) - v*|, by Euler's steps.

    A sample with an entry so near the kink of its activation that the start lies beyond it is left out.
    """
    theorem = "the flow decays at least as fast as lambda_1"
    rest = forward_coordinates(graph, X)
    push = np.random.default_rng(seed).normal(size=rest.shape)
    push *= NEAR * (1.0 + np.linalg.norm(rest, axis=1) / np.linalg.norm(push, axis=1))[:, None]
    force, affine = energy(graph, X, rest + push)[1], laplacian_product(at, push)
    kept = np.linalg.norm(force - affine, axis=1) <= BENT * np.linalg.norm(affine, axis=1)
    if not kept.any():
        return Check(theorem, "every input has an entry at a kink or a tie", 0.0, "-", True)
    ends = spectrum_ends(at)
    # Up to dt = 1 / lambda_max a step shrinks every mode at least as much as the flow does: 1 - x <= exp(-x).
    dt = 1.0 / float(ends.largest.max())
    steps = int(np.clip(DECAY_TIMES / (dt * ends.gap.max()), 1, DECAY_STEPS))
    x = rest + push
    for _ in range(steps):
        x = x - dt * energy(graph, X, x)[1]
    before, after = np.linalg.norm(push, axis=1), np.linalg.norm(x - rest, axis=1)
    rates = np.log(before / np.maximum(after, np.finfo(np.float64).tiny)) / (dt * steps)
    worst = float(np.min((rates / ends.gap)[kept]))
    return Check(theorem, "smallest rate / lambda_1", worst, ">= 1", worst >= 1.0 - BENT)


def _backward_information(graph: Graph, at: Linearization) -> Check:
    """Pin the output one above its forward value: what comes before must move, unless nothing leads back.

    The stalks move by L_Omega^-1 B mu, B the pinned coordinate, on the forward pattern.
    """
    theorem = "a pin informs the layers before it"
    first = graph.heads[0]
    if first.index == graph.output.index:
        return Check(theorem, "there is no layer before the output", 0.0, "-", True)
    unit = np.zeros_like(at.output)
    unit[:, 0] = 1.0
    pulls = pulled(at, {graph.output.index: unit})
    moves = moved(at, pulls)
    mu = 1.0 / moves[graph.output.index][:, 0]
    move = np.abs(moves[first.index].reshape(len(mu), -1) * mu[:, None])
    figure = float(move.max())
    if not any(np.any(w) for i, w in pulls.items() if i == first.index):
        return Check(theorem, f"the output does not depend on {first.name} here", figure, "-", True)
    measured = f"largest move of {first.name}, {graph.output.name} pinned"
    return Check(theorem, measured, figure, "> 0", figure > 0.0)
