"""The harmonic extension of what is pinned, solved exactly: no time step, no relaxation.

Where only input and output are pinned and no neuron leaves its forward pattern, it is the closed form of
`equilibrium.py`. Everywhere else a semismooth Newton method finds it (`newton.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.chain.cochain import Cochain
from sheafcli.core.chain.diffusion import OutputForce
from sheafcli.core.chain.equilibrium import balance, equilibrium
from sheafcli.core.chain.network import Network
from sheafcli.core.chain.newton import Problem, Solution, solve, start_point
from sheafcli.core.chain.reduction import States
from sheafcli.core.chain.sheaf import pattern_of
from sheafcli.core.network import as_inputs, as_targets
from sheafcli.core.pins import Pin, check_pins
from sheafcli.core.types import Array

# Samples are solved in blocks so that no work array has many more entries.
BLOCK_ENTRIES = 1 << 22


@dataclass(frozen=True, eq=False)
class Extension:
    """An equilibrium of the heat equation, with its certificate.

    Per sample: `energy` is half the sum of the squared residuals, with the output edge's potential in
    place of its square where there is an output edge; `certificate` is the largest entry of the element
    of the energy's Clarke subdifferential that is nearest to zero; `converged` says whether it is within
    the tolerance; `iterations` counts Newton steps. `states[l-1]`, samples x n_l, holds 0 for inactive,
    1 for active, 2 for held at the kink z = 0.
    """

    cochain: Cochain
    energy: Array
    certificate: Array
    converged: NDArray[np.bool_]
    iterations: NDArray[np.int64]
    states: tuple[States, ...]


def extend(
    network: Network,
    X: Array,
    *,
    target: Array | None = None,
    stiffness: float | None = None,
    output_force: OutputForce = "loss",
    pins: Sequence[Pin] = (),
    start: Cochain | None = None,
    tolerance: float = 1e-10,
    max_iterations: int = 200,
) -> Extension:
    """Return the equilibrium with the input pinned to X and whatever else is pinned.

    Parameters
    ----------
    network, X
        The weights, and the inputs, samples x n_0.
    target
        Pins the output, samples x n_{k+1}: z_{k+1} for the identity, else the output vertex.
    stiffness
        Makes the pin of the output a spring: an output edge of this stiffness gamma, whose potential is
        gamma times the output's (half the squared error, or the cross-entropy).
    output_force
        Which force an output edge to a pinned output vertex exerts: `loss` phi(z) - y, or
        `least_squares` J_phi^T (phi(z) - y).
    pins
        Hard and soft pins on coordinates of the z_l and a_l; the output vertex is pinned by `target`.
    start
        Where the search begins; the forward pass unless given. Where several equilibria exist, the one found
        is mostly, but not always, the one the flow would reach from there.
    tolerance
        A sample has converged when its certificate is at most this, times the largest force that balances
        there if that is above 1.
    max_iterations
        How many Newton steps to take at most; a sample that needs more has not converged.
    """
    X = as_inputs(network, X)
    target = None if target is None else as_targets(network, target, len(X))
    found = _nothing_yet(network, len(X))
    if pins:
        rigid = target is not None and stiffness is None and not network.has_output_vertex
        held = f"z{network.depth + 1}" if rigid else None
        free = {name: stalk for name, stalk in found.cochain.stalks().items() if name != "y"}
        check_pins(pins, free, held)
    if stiffness is not None and (target is None or not 0.0 < stiffness < np.inf):
        raise ValueError(f"stiffness needs a target, and to be above 0 and finite, got {stiffness}")
    squared = output_force == "least_squares" and network.has_output_vertex
    problem = begin = None
    block = max(1, BLOCK_ENTRIES // (max(network.widths[1:]) * (network.widths[-1] + 8)))
    for first in range(0, len(X), block):
        rows = np.arange(first, min(first + block, len(X)))
        if target is not None and start is None and not pins and not squared:
            some = slice(first, first + len(rows))
            settled = _settle_in_closed_form(found, network, X, target, stiffness, some, tolerance)
            rows = rows[~settled]
        if len(rows) > 0:
            problem = problem or Problem.of(network, X, target, stiffness, squared, pins)
            begin = begin or start or Cochain.forward(network, X)
            part = problem[rows]
            solution = solve(part, start_point(part, begin, rows), tolerance, max_iterations)
            _settle_by_newton(found, part, solution, rows)
    if found.cochain.y is not None:
        z = found.cochain.z[network.depth + 1]
        found.cochain.y[:] = network.output.value(z) if target is None else target
    return found


def _nothing_yet(network: Network, n_samples: int) -> Extension:
    return Extension(
        Cochain(network.widths, n_samples, output_vertex=network.has_output_vertex),
        energy=np.full(n_samples, np.nan),
        certificate=np.full(n_samples, np.inf),
        converged=np.zeros(n_samples, dtype=bool),
        iterations=np.zeros(n_samples, dtype=np.int64),
        states=tuple(np.zeros((n_samples, n), dtype=np.int8) for n in network.widths[1:-1]),
    )


def _settle_in_closed_form(
    found: Extension,
    network: Network,
    X: Array,
    target: Array,
    stiffness: float | None,
    rows: slice,
    tolerance: float,
) -> NDArray[np.bool_]:
    """Fill in the rows, and return which of them hold: where the neurons keep the forward pattern."""
    X, y = X[rows], target[rows]
    closed = equilibrium(network, X, y, stiffness)
    energy, left, largest = balance(network, X, y, stiffness, closed)
    settled = closed.keeps_pattern & (left <= tolerance * np.maximum(1.0, largest))
    for layer, (z, a) in enumerate(zip(closed.z, closed.a, strict=False), start=1):
        found.cochain.z[layer][rows] = z
        found.cochain.a[layer][rows] = a
        found.states[layer - 1][rows] = pattern_of(z)
    found.cochain.z[network.depth + 1][rows] = closed.z[-1]
    found.energy[rows], found.certificate[rows], found.converged[rows] = energy, left, settled
    return np.asarray(settled)


def _settle_by_newton(found: Extension, problem: Problem, solution: Solution, rows: NDArray[np.intp]) -> None:
    """Fill in some rows from the last point of the Newton method, with the z_l that were eliminated."""
    at = solution.point
    for i, layer in enumerate(problem.layers):
        found.cochain.z[i + 1][rows] = layer.z(at.h[i], at.a[i], at.states[i])
        found.cochain.a[i + 1][rows] = at.a[i]
        found.states[i][rows] = at.states[i]
    found.cochain.z[problem.depth + 1][rows] = at.z
    found.energy[rows], found.certificate[rows] = at.energy, solution.certificate
    found.converged[rows], found.iterations[rows] = solution.converged, solution.iterations
