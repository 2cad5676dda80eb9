"""The heat equation on fixed weights: from any stalks to the harmonic extension of what is pinned.

The pattern R_l is re-read from z_l at every instant. Forward Euler computes all forces from the old
state, then overwrites what is hard-pinned:

    dz_l/dt = alpha (r_l - R_l s_l)            l <= k
    da_l/dt = alpha (s_l - W_{l+1}^T r_{l+1})  1 <= l <= k
    dz_{k+1}/dt = alpha (r_{k+1} - f_out)
    dy^/dt = alpha (phi(z_{k+1}) - y^)         where the output vertex exists (phi not the identity)

f_out is 0 for the identity; otherwise, by choice, `least_squares`, J_phi(z)^T (phi(z) - y^), or `loss`,
phi(z) - y^, which does not saturate. Soft pins add -alpha gamma (v - value).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sheafcli.core.cochain import Cochain
from sheafcli.core.flow import FixedInput, Flow, homogeneous_maps
from sheafcli.core.network import Network
from sheafcli.core.outputs import Array, Identity
from sheafcli.core.pins import Pin, check_pins
from sheafcli.core.stability import largest_eigenvalue_bound, spectral_norm

OutputForce = Literal["loss", "least_squares"]
# How often a diffusion asks whether it has arrived.
LOOK_EVERY = 50


def has_output_vertex(network: Network) -> bool:
    """Return whether the sheaf has a vertex y^ after z_{k+1}: it does unless phi is the identity."""
    return not isinstance(network.output, Identity)


class HeatEquation:
    """The heat equation of a network for a batch of inputs, with the input pinned to X.

    Parameters
    ----------
    network, X
        The weights, and the inputs, samples x n_0.
    cochain
        The state; `euler_step` changes it in place.
    target
        Hard-pins the output, samples x n_{k+1}: z_{k+1} for the identity, else the vertex y^.
    pins
        Further pins on free stalks.
    output_force
        Which f_out acts where there is an output vertex.
    alpha
        The rate of the flow.
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
        self.cochain = cochain
        self.alpha = alpha
        self._network = network
        self._output_force = output_force
        maps = homogeneous_maps(network)
        self._flow = Flow(maps[1:], FixedInput(X, maps[0]), cochain)
        self._y_force = None if cochain.y is None else np.zeros_like(cochain.y)
        stalks, forces = cochain.stalks(), self._forces()
        check_pins(pins, stalks)
        self._hard: list[tuple[Array, float | Array]] = []
        self._soft: list[tuple[Array, float | Array, float, Array]] = []
        if target is not None:
            self._hard.append((stalks["y" if cochain.output_vertex else f"z{len(maps)}"], target))
        for pin in pins:
            if pin.stiffness is None:
                self._hard.append((pin.column(stalks), pin.value))
            else:
                row = (pin.column(stalks), pin.value, pin.stiffness, pin.column(forces))
                self._soft.append(row)

    def _forces(self) -> dict[str, Array]:
        """Return views of the flow's force arrays, named as the stalks they act on."""
        forces = {f"z{layer}": self._flow.r[layer] for layer in self._flow.r}
        for layer, block in enumerate(self.cochain.blocks, start=1):
            forces[f"z{layer}"] = forces[f"z{layer}"][:, :-1]
            forces[f"a{layer}"] = self._flow.s[:, block][:, :-1]
        return forces if self._y_force is None else forces | {"y": self._y_force}

    def euler_step(self, dt: float) -> None:
        """Take one step of forward Euler."""
        flow, cochain, output = self._flow, self.cochain, self._network.output
        flow.residuals()
        flow.pull_back()
        if cochain.y is not None and self._y_force is not None:
            last = len(cochain.widths) - 1
            z, r = cochain.z[last], flow.r[last]
            np.subtract(output.value(z), cochain.y, out=self._y_force)
            r -= output.pull(z, cochain.y) if self._output_force == "least_squares" else self._y_force
        for stalk, value, stiffness, force in self._soft:
            np.subtract(force, stiffness * (stalk - value), out=force)
        flow.move(self.alpha * dt)
        if cochain.y is not None and self._y_force is not None:
            cochain.y += self.alpha * dt * self._y_force
        for stalk, value in self._hard:
            stalk[:] = value

    def largest_eigenvalue(self) -> float:
        """Return an upper bound of the largest eigenvalue met, whatever the pattern, times alpha."""
        norms = [spectral_norm(W) for W in self._network.weights[1:]]
        stiffness = max((stiffness for _, _, stiffness, _ in self._soft), default=0.0)
        # The Jacobian of the output edge is [J_phi, -I] with ||J_phi|| <= 1.
        stiffness += 2.0 if self.cochain.output_vertex else 0.0
        return self.alpha * (largest_eigenvalue_bound(norms) + stiffness)


@dataclass(frozen=True, eq=False)
class Diffusion:
    """Where a diffusion ended: the cochain, the steps taken and, per sample, the largest rate of change."""

    cochain: Cochain
    steps: int
    rate: Array
    converged: np.ndarray


def diffuse(
    network: Network,
    X: Array,
    *,
    start: Cochain | None = None,
    target: Array | None = None,
    pins: Sequence[Pin] = (),
    output_force: OutputForce = "loss",
    alpha: float = 1.0,
    dt: float | Literal["auto"] = "auto",
    steps: int = 100_000,
    tolerance: float = 1e-10,
) -> Diffusion:
    """Follow the heat equation by forward Euler until every coordinate rests, or for `steps` steps.

    A sample has converged when the largest |dv/dt| of its coordinates is at most `tolerance`. `start`
    is the forward pass unless given, and is not changed. `dt` "auto" is 1.8 over the largest eigenvalue.
    At a kink, where a neuron is held at z = 0, a fixed step chatters and never converges.
    """
    X = np.asarray(X, dtype=np.float64)
    cochain = (
        Cochain.forward(network, X, output_vertex=has_output_vertex(network))
        if start is None
        else start.copy()
    )
    equation = HeatEquation(
        network, X, cochain, target=target, pins=pins, output_force=output_force, alpha=alpha
    )
    step = 1.8 / equation.largest_eigenvalue() if dt == "auto" else float(dt)
    rate = np.full(len(X), np.inf)
    taken = 0
    while taken < steps and not (rate <= tolerance).all():
        for _ in range(min(LOOK_EVERY, steps - taken) - 1):
            equation.euler_step(step)
            taken += 1
        before = cochain.data.copy()
        equation.euler_step(step)
        taken += 1
        rate = np.max(np.abs(cochain.data - before), axis=1) / step
    return Diffusion(cochain, taken, rate, rate <= tolerance)
