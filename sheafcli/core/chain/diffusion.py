"""The heat equation on fixed weights: from any stalks to the harmonic extension of what is pinned.

The pattern R_l is re-read from z_l at every instant:

    dz_l/dt = alpha (r_l - R_l s_l)            l <= k
    da_l/dt = alpha (s_l - W_{l+1}^T r_{l+1})  1 <= l <= k
    dz_{k+1}/dt = alpha (r_{k+1} - f_out)
    dy^/dt = alpha (phi(z_{k+1}) - y^)         where the output vertex exists (phi not the identity)

f_out is 0 for the identity; otherwise, by choice, `least_squares`, J_phi(z)^T (phi(z) - y^), or `loss`,
phi(z) - y^, which does not saturate. Soft pins add -alpha gamma (v - value); hard pins are overwritten.
How it is integrated (`integrators.py`) and what is written down on the way
(`trace.py`) are matters of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import scipy
from numpy.typing import NDArray

from sheafcli.core.chain.cochain import Cochain
from sheafcli.core.chain.flow import FixedInput, Flow, homogeneous_maps
from sheafcli.core.chain.network import Network
from sheafcli.core.chain.sheaf import NeuralSheaf, pattern_of
from sheafcli.core.chain.stability import largest_eigenvalue_bound, spectral_norm
from sheafcli.core.discord import discord, residuals
from sheafcli.core.edge import Edge
from sheafcli.core.pins import Pin, check_pins
from sheafcli.core.types import Array

OutputForce = Literal["loss", "least_squares"]


class HeatEquation:
    """The heat equation of a network for a batch of inputs, with the input pinned to X.

    Parameters
    ----------
    network, X
        The weights, and the inputs, samples x n_0.
    cochain
        The state; integrators change it in place.
    target
        Hard-pins the output, samples x n_{k+1}: z_{k+1} for the identity, else the vertex y^.
    pins
        Further pins on free stalks.
    output_force
        Which f_out acts where there is an output vertex.
    alpha
        The rate of the flow.

    `evaluations` counts how often the forces have been computed.
    """

    def __init__(
        self,
        network: Network,
        X: Array,
        cochain: Cochain,
        *,
        target: Array | None = None,
        pins: Sequence[Pin] = (),
        output_force: OutputForce = "loss",
        alpha: float = 1.0,
    ):
        self.network, self.X, self.cochain = network, X, cochain
        self.output_force: OutputForce = output_force
        self.alpha = alpha
        self.evaluations = 0
        maps = homogeneous_maps(network)
        self._flow = Flow(maps[1:], FixedInput(X, maps[0]), cochain)
        self._y_rate = self._flow.rate[:, -network.widths[-1] :] if cochain.output_vertex else None
        stalks, rates = cochain.stalks(), self._rates()
        output = "y" if cochain.output_vertex else f"z{len(maps)}"
        check_pins(pins, stalks, held=None if target is None else output)
        self._springs = [
            (pin.column(stalks), pin.value, pin.stiffness, pin.column(rates), pin)
            for pin in pins
            if pin.stiffness is not None
        ]
        hard = [pin for pin in pins if pin.hard]
        self._held = [(pin.column(stalks), pin.value, pin.column(rates)) for pin in hard]
        self._resting = [(pin.stalk, pin.coordinate) for pin in hard]
        if target is not None:
            self._held.append((stalks[output], target, rates[output]))
            self._resting += [(output, i) for i in range(network.widths[-1])]

    @property
    def neurons(self) -> list[tuple[int, slice]]:
        """The layers, and the columns of their neurons in `pattern`."""
        blocks = enumerate(self.cochain.blocks, start=1)
        return [(layer, slice(block.start, block.stop - 1)) for layer, block in blocks]

    def pattern(self) -> NDArray[np.bool_]:
        """Return which neurons are active, samples x columns as z_hidden is packed, its ones included."""
        return pattern_of(self.cochain.z_hidden)

    def discord(self) -> dict[Edge, float]:
        """Return the mean over samples of every edge's squared residual."""
        return discord(residuals(self.network, self.X, self.cochain))

    def output(self) -> Array:
        """Return z_{k+1}."""
        return self.cochain.z[self.network.depth + 1]

    def _rates(self) -> dict[str, Array]:
        """Return views of the packed rate, named as the stalks they act on."""
        flow = self._flow
        rates = {f"z{layer}": r for layer, r in flow.r.items()}
        for layer, block in enumerate(self.cochain.blocks, start=1):
            rates[f"z{layer}"] = flow.r[layer][:, :-1]
            rates[f"a{layer}"] = flow.s[:, block][:, :-1]
        return rates if self._y_rate is None else rates | {"y": self._y_rate}

    def rate(self) -> Array:
        """Return dv/dt / alpha of every coordinate, packed as the cochain's data: a view, overwritten anew.

        It is zero where a pin holds hard.
        """
        flow, cochain, output = self._flow, self.cochain, self.network.output
        self.evaluations += 1
        flow.residuals()
        flow.pull_back()
        flow.gather()
        if cochain.y is not None and self._y_rate is not None:
            last = len(cochain.widths) - 1
            z, r = cochain.z[last], flow.r[last]
            predicted = output.value(z)
            np.subtract(predicted, cochain.y, out=self._y_rate)
            squared = self.output_force == "least_squares"
            r -= output.spread(predicted, self._y_rate) if squared else self._y_rate
        for stalk, value, stiffness, rate, _ in self._springs:
            np.subtract(rate, stiffness * (stalk - value), out=rate)
        for _, _, rate in self._held:
            rate[:] = 0.0
        return flow.rate

    def sliding_rate(self) -> Array:
        """Return the rate in Filippov's sense: it differs from `rate` where z = 0 exactly.

        There the force is h + a on the active side and h on the inactive one (and the springs' on both).
        Where both push back to z = 0, h + a < 0 < h, the neuron slides along z = 0: its dz/dt is zero.
        A view, overwritten anew, as the other.
        """
        rate, z = self.rate(), self.cochain.z_hidden
        kinks = np.nonzero(z == 0.0)
        if kinks[0].size:
            active = rate[kinks]  # z_hidden comes first in the packed array
            inactive = active - self.cochain.a_hidden[kinks]
            rate[kinks] = np.where(active >= 0.0, active, np.minimum(inactive, 0.0))
        return rate

    def pin(self) -> None:
        """Overwrite what is pinned hard."""
        for stalk, value, _ in self._held:
            stalk[:] = value

    def jacobian(self) -> scipy.sparse.csr_array:
        """Return d(dv/dt)/dv of a single sample on the stalks in path order: -alpha L_Omega and its pins.

        A neuron that slides along z = 0 rests. With `least_squares` the output edge's part is
        Gauss-Newton's.
        """
        network, cochain = self.network, self.cochain
        n, stalks = network.widths[-1], cochain.stalks()
        active = [pattern_of(cochain.z[layer][0]) for layer in cochain.a]
        J = -NeuralSheaf(network).laplacian(active).tolil()
        if cochain.y is not None:
            slope = network.output.jacobian(cochain.z[network.depth + 1])[0]
            back = np.eye(n) if self.output_force == "loss" else slope
            J = scipy.sparse.block_array([[J, None], [None, -scipy.sparse.eye_array(n)]]).tolil()
            J[-n:, -2 * n : -n] = slope
            J[-2 * n : -n, -n:] = back
            J[-2 * n : -n, -2 * n : -n] -= back @ slope
        first = dict(
            zip(stalks, np.cumsum([0, *(stalk.shape[1] for stalk in stalks.values())]), strict=False)
        )
        for _, _, stiffness, _, pin in self._springs:
            row = first[pin.stalk] + pin.coordinate
            J[row, row] -= stiffness
        rests = np.ones(J.shape[0])
        rests[[first[stalk] + coordinate for stalk, coordinate in self._resting]] = 0.0
        self.sliding_rate()
        for layer in cochain.a:
            slides = (cochain.z[layer][0] == 0.0) & (self._flow.r[layer][0, :-1] == 0.0)
            rests[first[f"z{layer}"] + np.flatnonzero(slides)] = 0.0
        return scipy.sparse.csr_array(self.alpha * (scipy.sparse.diags_array(rests) @ J.tocsr()))

    def largest_eigenvalue(self) -> float:
        """Return an upper bound of the largest eigenvalue met, whatever the pattern, times alpha."""
        norms = [spectral_norm(W) for W in self.network.weights[1:]]
        stiffness = max((stiffness for _, _, stiffness, _, _ in self._springs), default=0.0)
        # The Jacobian of the output edge is [J_phi, -I] with ||J_phi|| <= 1.
        stiffness += 2.0 if self.cochain.output_vertex else 0.0
        return self.alpha * (largest_eigenvalue_bound(norms) + stiffness)
