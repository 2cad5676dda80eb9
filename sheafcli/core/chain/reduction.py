"""What is left of a neuron once z is eliminated: a quadratic cost of its two edges, per state.

With h = W_l a_{l-1} + b_l, minimising (h - z)^2 / 2 + (R z - a)^2 / 2 over z leaves c(h, a):

    active    z = (h + a) / 2   (a - h)^2 / 4        while h + a > 0
    inactive  z = h             a^2 / 2              while h < 0
    kink      z = 0             (h^2 + a^2) / 2      while h >= 0 and h + a <= 0

At a kink the flow slides along z = 0 in Filippov's sense. Where both inactive and active are consistent
(h < 0 < h + a) a neuron keeps the state it has, as the flow does. For h >= 0, c is convex and continuously
differentiable. Pins change the coefficients of these quadratics and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.outputs import Output
from sheafcli.core.pins import Pin
from sheafcli.core.types import Array

INACTIVE, ACTIVE, KINK = 0, 1, 2
States = NDArray[np.int8]
Rows = NDArray[np.intp] | NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Held:
    """All pins on one stalk: where it is held hard, the springs of the soft ones, and the values.

    `hard` and `stiffness` have shape 1 x n; `value` is samples x n, or 1 x n if the same for all samples,
    and 0 where nothing is held. `stiffness` is 0 where there is no spring.
    """

    hard: NDArray[np.bool_]
    stiffness: Array
    value: Array

    @classmethod
    def by(cls, pins: Sequence[Pin], n: int) -> Held:
        """Gather pins on a stalk of width n."""
        rows = max((np.size(pin.value) for pin in pins), default=1)
        held = cls(np.zeros((1, n), dtype=bool), np.zeros((1, n)), np.zeros((rows, n)))
        for pin in pins:
            held.hard[0, pin.coordinate] = pin.stiffness is None
            held.stiffness[0, pin.coordinate] = pin.stiffness or 0.0
            held.value[:, pin.coordinate] = pin.value
        return held

    @classmethod
    def at(cls, value: Array) -> Held:
        """Hold a whole stalk hard at `value`, samples x n."""
        n = value.shape[1]
        return cls(np.ones((1, n), dtype=bool), np.zeros((1, n)), value)

    def __getitem__(self, rows: Rows) -> Held:
        return self if len(self.value) == 1 else Held(self.hard, self.stiffness, self.value[rows])

    def hold(self, stalk: Array) -> Array:
        """Return the stalk with what is held hard put in place."""
        return np.where(self.hard, self.value, stalk)


@dataclass(frozen=True, eq=False)
class Quadratic:
    """c(h, a) = (alpha h^2 + 2 beta h a + delta a^2) / 2 - p h - q a, up to a constant, for every neuron."""

    alpha: Array
    beta: Array
    delta: Array
    p: Array
    q: Array

    def slope_h(self, h: Array, a: Array) -> Array:
        """Return dc/dh."""
        return self.alpha * h + self.beta * a - self.p

    def slope_a(self, h: Array, a: Array) -> Array:
        """Return dc/da."""
        return self.delta * a + self.beta * h - self.q


@dataclass(frozen=True, eq=False)
class Transition:
    """The same cost as a step of a linear-Gaussian chain with an observation.

    a = rho h + m + noise of variance D, and h observed with precision tau, pulled by tau_t = tau times its
    target: c = (a - rho h - m)^2 / (2 D) + tau h^2 / 2 - tau_t h. A hard pin on a has D = 0.
    """

    rho: Array
    m: Array
    D: Array
    tau: Array
    tau_t: Array


@dataclass(frozen=True, eq=False)
class HiddenLayer:
    """The neurons of one hidden layer under pins on its z and a."""

    z_held: Held
    a_held: Held

    def __getitem__(self, rows: Rows) -> HiddenLayer:
        return HiddenLayer(self.z_held[rows], self.a_held[rows])

    def states(self, h: Array, a: Array, before: States) -> States:
        """Return the state of every neuron, keeping `before` where two are consistent."""
        spring = self.z_held.stiffness * self.z_held.value
        upper, lower = h + a + spring, h + spring
        found = np.where(lower < 0.0, INACTIVE, KINK)
        found = np.where((upper > 0.0) & ((lower >= 0.0) | (before == ACTIVE)), ACTIVE, found)
        fixed = np.where(self.z_held.value >= 0.0, ACTIVE, INACTIVE)
        return np.where(self.z_held.hard, fixed, found).astype(np.int8)

    def z(self, h: Array, a: Array, states: States) -> Array:
        """Return the z that was eliminated."""
        g = self.z_held.stiffness
        spring = g * self.z_held.value
        free = np.where(states == ACTIVE, (h + a + spring) / (2.0 + g), (h + spring) / (1.0 + g))
        return self.z_held.hold(np.where(states == KINK, 0.0, free))

    def energy(self, h: Array, a: Array, states: States) -> Array:
        """Return half the squares of both edges' residuals and of the springs, per sample.

        It is c summed over the neurons, from the residuals rather than from c's coefficients, whose terms
        cancel each other.
        """
        z = self.z(h, a, states)
        s = np.where(states == ACTIVE, z, 0.0) - a
        springs = self.z_held.stiffness * (z - self.z_held.value) ** 2
        springs = springs + self.a_held.stiffness * (a - self.a_held.value) ** 2
        return np.asarray(0.5 * np.sum((h - z) ** 2 + s * s + springs, axis=1))

    def quadratic(self, states: States) -> Quadratic:
        """Return c for these states."""
        active, inactive = states == ACTIVE, states == INACTIVE
        hard, g, v = self.z_held.hard, self.z_held.stiffness, self.z_held.value
        # What z hands on of h, a and its spring: 1 / (its stiffness in all), nothing where z is held at
        # zero by the kink or at v by a pin.
        passed = np.where(active, 1.0 / (2.0 + g), np.where(inactive, 1.0 / (1.0 + g), 0.0))
        passed = np.where(hard, 0.0, passed)
        through = np.where(active, passed, 0.0)
        pull = passed * g * v
        R_v = np.where(hard & (v >= 0.0), v, 0.0)
        k, w = self.a_held.stiffness, self.a_held.value
        return Quadratic(
            alpha=1.0 - passed,
            beta=-through,
            delta=1.0 - through + k,
            p=np.where(hard, v, pull),
            q=np.where(active & ~hard, pull, 0.0) + R_v + k * w,
        )

    def transition(self, c: Quadratic) -> Transition:
        """Return c as a step of the chain."""
        hard, w = self.a_held.hard, self.a_held.value
        rho = np.where(hard, 0.0, -c.beta / c.delta)
        m = np.where(hard, w, c.q / c.delta)
        return Transition(
            rho=rho,
            m=m,
            D=np.where(hard, 0.0, 1.0 / c.delta),
            tau=c.alpha + c.beta * rho,
            tau_t=c.p - c.beta * m,
        )


@dataclass(frozen=True, eq=False)
class OutputEdge:
    """What acts on z_{k+1}: a potential V, and which coordinates are held hard.

    V is `stiffness` times the output's potential (force phi(z) - y) or, if `squared`, times half the
    squared residual of the output edge (force J_phi^T (phi(z) - y)); soft pins add their springs. Without a
    target `y` only pins act.
    """

    output: Output
    held: Held
    y: Array | None
    stiffness: float
    squared: bool

    def __getitem__(self, rows: Rows) -> OutputEdge:
        y = None if self.y is None else self.y[rows]
        return OutputEdge(self.output, self.held[rows], y, self.stiffness, self.squared)

    def value(self, z: Array) -> Array:
        """Return V per sample."""
        spring = 0.5 * np.sum(self.held.stiffness * (z - self.held.value) ** 2, axis=1)
        if self.y is None:
            return np.asarray(spring)
        if self.squared:
            square = 0.5 * np.sum((self.output.value(z) - self.y) ** 2, axis=1)
            return np.asarray(spring + self.stiffness * square)
        return np.asarray(spring + self.stiffness * self.output.potential(z, self.y))

    def slope(self, z: Array) -> Array:
        """Return the gradient of V, samples x n_{k+1}."""
        spring = np.asarray(self.held.stiffness * (z - self.held.value))
        if self.y is None:
            return spring
        predicted = self.output.value(z)
        error = predicted - self.y
        pull = self.output.spread(predicted, error) if self.squared else error
        return spring + self.stiffness * pull

    def curvature(self, z: Array) -> Array:
        """Return the Hessian of V, samples x n_{k+1} x n_{k+1}; Gauss-Newton's for squared residuals."""
        H = np.zeros((*z.shape, z.shape[1]))
        if self.y is not None:
            J = self.output.jacobian(z)
            H += self.stiffness * (J @ J if self.squared else J)  # J_phi is symmetric
        index = np.arange(z.shape[1])
        H[:, index, index] += self.held.stiffness
        return H
