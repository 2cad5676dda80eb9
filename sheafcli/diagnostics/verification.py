"""The theory's theorems, each checked on one network with a figure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import scipy

from sheafcli.core.chain.cochain import Cochain
from sheafcli.core.chain.extension import extend
from sheafcli.core.chain.network import Network
from sheafcli.core.chain.sheaf import NeuralSheaf, Pattern, pattern_of
from sheafcli.core.diffusion import diffuse
from sheafcli.core.integrators import Euler
from sheafcli.core.network import AnyNetwork
from sheafcli.core.outputs import Identity
from sheafcli.core.pins import Pin
from sheafcli.core.spectrum import pattern_gaps, spectrum
from sheafcli.core.types import Array
from sheafcli.diagnostics.check import Check, one_stationary_point
from sheafcli.diagnostics.graph_verification import verify_graph

# All patterns are tried while there are so many at most, or else a sample, smaller for large matrices.
MOST_PATTERNS = 1 << 14
PATTERN_WORK = 1e9
MOST_SAMPLES = 20
DECAY_STEPS, DECAY_TIMES = 2000, 5.0
NO_ROOM = 1e-4

Forward = Callable[[Array], list[Array]]


def verify(network: AnyNetwork, X: Array, *, seed: int = 0, forward: Forward | None = None) -> list[Check]:
    """Check every theorem on a network and some inputs, samples x features.

    `forward` is the forward pass under test, of a plain chain: it returns z_1, ..., z_{k+1}; the network's
    own by default.
    """
    if not isinstance(network, Network):
        return verify_graph(network, X, seed)
    X = X[:MOST_SAMPLES]
    stalks = (forward or network.pre_activations)(X)
    sheaf = NeuralSheaf(network)
    patterns = [sheaf.pattern(x) for x in X]
    return [
        _unitriangular(sheaf, patterns),
        _determinant(sheaf, patterns),
        _positive_definite(network, seed),
        _forward_pass(sheaf, patterns, X, stalks),
        one_stationary_point(network.graph, X, seed),
        _decay(network, X, seed),
        _backward_information(network, X),
    ]


def verification_table(checks: list[Check]) -> pd.DataFrame:
    """Return the checks as a table: theorem, measured, figure, demand, holds."""
    return pd.DataFrame([check.__dict__ for check in checks])


def _unitriangular(sheaf: NeuralSheaf, patterns: Sequence[Pattern]) -> Check:
    worst = 0.0
    for pattern in patterns:
        delta = sheaf.coboundary(pattern, "free")
        above = scipy.sparse.triu(delta, 1)
        worst = max(
            worst,
            float(np.max(np.abs(above.data), initial=0.0)),
            float(np.max(np.abs(np.abs(delta.diagonal()) - 1.0))),
        )
    return Check(
        "free coboundary is unitriangular up to sign",
        "largest deviation",
        worst,
        "= 0",
        worst == 0.0,
    )


def _determinant(sheaf: NeuralSheaf, patterns: Sequence[Pattern]) -> Check:
    worst = 0.0
    for pattern in patterns:
        factors = scipy.sparse.linalg.splu(
            scipy.sparse.csc_array(sheaf.coboundary(pattern, "free")), permc_spec="NATURAL"
        )
        log = np.sum(np.log(np.abs(factors.U.diagonal()))) + np.sum(np.log(np.abs(factors.L.diagonal())))
        worst = max(worst, abs(float(log)))
    return Check("|det delta_Omega| = 1", "largest |log |det||", worst, "<= 1e-9", worst <= 1e-9)


def _positive_definite(network: Network, seed: int) -> Check:
    neurons = sum(network.widths[1:-1])
    dimension = 2 * neurons + network.widths[-1]
    if 1 << min(neurons, 60) <= MOST_PATTERNS and 2.0**neurons * dimension**3 <= 10 * PATTERN_WORK:
        patterns = (np.arange(1 << neurons)[:, None] >> np.arange(neurons)) % 2 == 1
        which = f"all {len(patterns):,} patterns"
    else:
        count = int(np.clip(PATTERN_WORK / dimension**3, 8, 1024))
        patterns = np.random.default_rng(seed).integers(0, 2, size=(count, neurons)).astype(bool)
        which = f"{count:,} patterns drawn"
    smallest = float(pattern_gaps(network, patterns).min())
    return Check(
        f"L_Omega positive definite: {which}", "smallest eigenvalue", smallest, "> 0", smallest > 0.0
    )


def _forward_pass(sheaf: NeuralSheaf, patterns: Sequence[Pattern], X: Array, stalks: list[Array]) -> Check:
    worst = 0.0
    for i, (x, pattern) in enumerate(zip(X, patterns, strict=True)):
        right = -(sheaf.laplacian(pattern, "boundary") @ sheaf.boundary_values(x))
        extension = sheaf.free_solver(pattern)(right)
        passed = [part for z in stalks[:-1] for part in (z[i], np.maximum(z[i], 0.0))]
        forward = np.concatenate([*passed, stalks[-1][i]])
        worst = max(worst, float(np.max(np.abs(extension - forward)) / (1.0 + np.max(np.abs(forward)))))
    return Check(
        f"harmonic extension = forward pass: {len(X)} inputs",
        "largest difference",
        worst,
        "<= 1e-8",
        worst <= 1e-8,
    )


def _decay(network: Network, X: Array, seed: int) -> Check:
    """From so near the forward pass that no neuron can cross: |v(t) - v*| <= exp(-lambda_1 t) |v(0) - v*|."""
    theorem = "the flow decays at least as fast as lambda_1"
    sheaf_alone = Network(network.weights, network.biases, Identity())
    room, scale = np.full(len(X), 1.0), 1.0
    for z in sheaf_alone.pre_activations(X)[:-1]:
        room = np.minimum(room, np.min(np.abs(z), axis=1))
        scale = max(scale, float(np.max(np.abs(z))))
    X, room = X[room > NO_ROOM * scale], room[room > NO_ROOM * scale]
    if len(X) == 0:
        return Check(theorem, "every input has a neuron at its kink", 0.0, "-", True)
    rest = Cochain.forward(sheaf_alone, X)
    start = rest.copy()
    push = np.random.default_rng(seed).standard_normal(
        (len(X), sum(s.shape[1] for s in start.stalks().values()))
    )
    push *= 0.5 * (room / np.linalg.norm(push, axis=1))[:, None]
    ends = np.cumsum([stalk.shape[1] for stalk in start.stalks().values()])[:-1]
    for stalk, part in zip(start.stalks().values(), np.split(push, ends, axis=1), strict=True):
        np.add(stalk, part, out=stalk)
    found = spectrum(sheaf_alone, X)
    # Up to dt = 1 / lambda_max a step shrinks every mode at least as much as the flow does: 1 - x <= exp(-x).
    # Rounding error stays far below what is left after so many times 1 / lambda_1.
    dt = 1.0 / float(found.largest.max())
    steps = int(np.clip(DECAY_TIMES / (dt * found.gap.max()), 1, DECAY_STEPS))
    flow = diffuse(sheaf_alone, X, start=start, integrator=Euler(dt), steps=steps, tolerance=0.0)
    before, after = (np.linalg.norm(c.data - rest.data, axis=1) for c in (start, flow.cochain))
    rates = np.log(before / np.maximum(after, np.finfo(np.float64).tiny)) / flow.time
    worst = float(np.min(rates / found.gap))
    return Check(theorem, "smallest rate / lambda_1", worst, ">= 1", worst >= 1.0 - 1e-6)


def _backward_information(network: Network, X: Array) -> Check:
    """Pin the output one above its forward value: the layers before must move, unless nothing leads back."""
    theorem = "a pin informs the layers before it"
    if network.depth == 0:
        return Check(theorem, "there is no layer before the output", 0.0, "-", True)
    z = network.logits(X)
    output = f"z{network.depth + 1}"
    rest = Cochain.forward(network, X)
    settled = extend(network, X, pins=[Pin(output, 0, z[:, 0] + 1.0)])
    moved = float(np.max(np.abs(settled.cochain.a[1] - rest.a[1])))
    J = np.broadcast_to(network.weights[-1][:1], (len(X), network.widths[-2]))
    for layer in range(network.depth, 1, -1):
        J = (J * pattern_of(rest.z[layer])) @ network.weights[layer - 1]
    sensitivity = float(np.max(np.abs(J)))
    if sensitivity == 0.0:
        return Check(
            theorem, "the output does not depend on a1 here", moved, "-", bool(settled.converged.all())
        )
    holds = moved > 0.0 and bool(settled.converged.all())
    return Check(theorem, f"largest move of a1, {output} pinned", moved, "> 0", holds)
