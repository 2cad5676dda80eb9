"""The harmonic extension of what is pinned in a chain, solved exactly: no time step.

`sheafcli.core.relaxation` finds it, as that of any graph; here it is a cochain with the states of neurons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.chain.cochain import Cochain
from sheafcli.core.chain.diffusion import OutputForce
from sheafcli.core.chain.network import Network
from sheafcli.core.chain.sheaf import pattern_of
from sheafcli.core.network import as_targets, plain_chain
from sheafcli.core.pins import Pin
from sheafcli.core.relaxation import relax
from sheafcli.core.types import Array

States = NDArray[np.int8]
INACTIVE, ACTIVE, KINK = 0, 1, 2


@dataclass(frozen=True, eq=False, repr=False)
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

    def __repr__(self) -> str:
        return (
            f"Extension({len(self.energy)} samples, {int(self.converged.sum())} converged, "
            f"mean energy {self.energy.mean():.4g})"
        )


def extend(
    network: Network,
    X: Array,
    *,
    target: Array | None = None,
    stiffness: float | None = None,
    output_force: OutputForce = "loss",
    pins: Sequence[Pin | str] = (),
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
        Hard and soft pins on coordinates of the z_l and a_l, as `Pin` or as texts such as "z1[3]=0.5"; the
        output vertex is pinned by `target`.
    start
        Where the search begins; the forward pass unless given. Where several equilibria exist, the one found
        is mostly, but not always, the one the flow would reach from there.
    tolerance
        A sample has converged when its certificate is at most this, times the largest force that balances
        there if that is above 1.
    max_iterations
        How many Newton steps to take at most; a sample that needs more has not converged.

    Returns
    -------
    Extension
        The stalks in `cochain`, and by sample their `energy`, whether they have `converged`, and the
        `certificate` for it.

    Examples
    --------
    >>> import numpy as np, sheafcli as sc
    >>> network, X = sc.Network.he([2, 8, 1]), np.ones((5, 2))
    >>> settled = sc.extend(network, X, target=np.zeros((5, 1)), pins=["z1[3]=0.5"])
    >>> bool(settled.converged.all()), settled.cochain.z[1].shape
    (True, (5, 8))
    """
    network = plain_chain(network, "extend")
    relaxed = relax(
        network,
        X,
        target=target,
        stiffness=stiffness,
        squared=output_force == "least_squares" and network.has_output_vertex,
        pins=pins,
        start=None if start is None else start.stalks(),
        tolerance=tolerance,
        max_iterations=max_iterations,
    )
    cochain = Cochain(network.widths, len(relaxed.energy), output_vertex=network.has_output_vertex)
    stalks = cochain.stalks()
    for name, stalk in relaxed.stalks.items():
        stalks[name][:] = stalk
    if cochain.y is not None:
        z = cochain.z[network.depth + 1]
        cochain.y[:] = network.output.value(z) if target is None else as_targets(network, target, len(z))
    states = tuple(
        np.where(relaxed.kinks[f"z{layer}"], KINK, pattern_of(cochain.z[layer])).astype(np.int8)
        for layer in cochain.a
    )
    return Extension(
        cochain, relaxed.energy, relaxed.certificate, relaxed.converged, relaxed.iterations, states
    )
