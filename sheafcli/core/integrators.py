"""Ways to follow a stiff linear-by-pieces flow in time: forward Euler, Runge-Kutta-Chebyshev, implicit.

An integrator is a frozen object that holds its options. It is asked for the steps it takes on an equation,
changes the equation's cochain in place and yields each step's size; it knows neither what the equation
describes nor what is recorded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Literal, Protocol

import numpy as np
import scipy.integrate
import scipy.sparse as sp

from sheafcli.core.cochain import Cochain
from sheafcli.core.outputs import Array

# Explicit integrators keep this share of the largest step that is stable.
SAFETY = 0.95


class Equation(Protocol):
    """What an integrator needs of an equation dv/dt = alpha rate(v) on a cochain."""

    cochain: Cochain
    alpha: float
    residual_norm: float

    def rate(self) -> Array:
        """Return dv/dt / alpha, packed as the cochain's data; the next call overwrites it.

        It also sets `residual_norm`, the 2-norm of all residuals.
        """

    def pin(self) -> None:
        """Overwrite what is pinned hard."""

    def largest_eigenvalue(self) -> float:
        """Return an upper bound of the largest eigenvalue of -d(dv/dt)/dv."""

    def jacobian(self) -> sp.csr_array:
        """Return d(dv/dt)/dv on the stalks in path order, for a single sample."""


class Integrator(Protocol):
    """A way to integrate an equation in time."""

    name: ClassVar[str]

    def steps(self, equation: Equation) -> Iterator[float]:
        """Take steps for ever, yielding each one's size after it is taken."""


@dataclass(frozen=True)
class Euler:
    """Forward Euler: all forces from the old state, then hard pins are overwritten (the paper's).

    It is stable for dt below 2 / lambda_max; "auto" stays just below.
    """

    dt: float | Literal["auto"] = "auto"
    name: ClassVar[str] = "euler"

    def steps(self, equation: Equation) -> Iterator[float]:
        """Take steps of equal size."""
        dt = SAFETY * 2.0 / equation.largest_eigenvalue() if self.dt == "auto" else self.dt
        while True:
            equation.cochain.data += (equation.alpha * dt) * equation.rate()
            equation.pin()
            yield dt


@dataclass(frozen=True)
class Chebyshev:
    """The stabilised explicit method RKC of Sommeijer, Shampine & Verwer (1998), second order, damped.

    With s stages it is stable for dt up to about 0.65 (s^2 - 1) / lambda_max, at s evaluations of the
    forces: s / 3 times as far per evaluation as forward Euler. Each step's size follows its estimated
    error, 4/5 (v_n - v_{n+1}) + 2/5 dt (f_n + f_{n+1}), whose 2-norm may be `tolerance` times that of all
    residuals: coarse while the stalks are far from agreeing and neurons cross, ever finer as they settle.
    The step's size then gives the stages, at most `max_stages`.
    """

    tolerance: float = 1.0
    max_stages: int = 200
    name: ClassVar[str] = "chebyshev"

    def __post_init__(self) -> None:
        if not self.tolerance > 0.0:
            raise ValueError(f"the tolerance must be above 0, got {self.tolerance}")
        if self.max_stages < 2:
            raise ValueError(f"the Chebyshev method needs at least 2 stages, got {self.max_stages}")

    def steps(self, equation: Equation) -> Iterator[float]:
        """Take steps of controlled error; one that is rejected is taken back and not yielded."""
        y, bound, alpha = equation.cochain.data, equation.largest_eigenvalue(), equation.alpha
        longest = 0.65 * (self.max_stages**2 - 1) / bound
        dt = 0.5 / bound
        equation.pin()
        force = equation.rate().copy(order="F")
        while True:
            start, allowed = y.copy(order="F"), self.tolerance * equation.residual_norm
            stages = max(2, int(np.sqrt(1.0 + 1.54 * dt * bound)) + 1)
            _chebyshev_step(equation, alpha * dt, start, force, stages)
            after = equation.rate()
            error = 0.8 * (start - y) + (0.4 * alpha * dt) * (force + after)
            size = float(np.linalg.norm(error))
            change = 0.8 * (allowed / size) ** (1.0 / 3.0) if size > 0.0 else 5.0
            if size <= allowed:
                np.copyto(force, after)
                yield dt
                dt = min(longest, dt * min(5.0, max(0.3, change)))
            else:
                np.copyto(y, start)
                dt *= max(0.1, change) if np.isfinite(change) else 0.1
                equation.rate()  # the residuals that the tolerance refers to


def _chebyshev_step(equation: Equation, h: float, start: Array, force: Array, stages: int) -> None:
    """Take one step of RKC in place; `force` is the rate at `start`."""
    first, later = _chebyshev_coefficients(stages)
    y = equation.cochain.data
    older = start
    y += (first * h) * force
    for mu, nu, mu_t, gamma_t in later:
        newer = (1.0 - mu - nu) * start + mu * y + nu * older
        newer += (mu_t * h) * equation.rate() + (gamma_t * h) * force
        older = y.copy(order="F")
        np.copyto(y, newer)
    equation.pin()


@lru_cache(maxsize=512)
def _chebyshev_coefficients(s: int) -> tuple[float, list[tuple[float, float, float, float]]]:
    """Return mu~_1 and (mu_j, nu_j, mu~_j, gamma~_j), j = 2..s, of RKC with s stages and damping 2/13."""
    w0 = 1.0 + 2.0 / 13.0 / s**2
    # Chebyshev polynomials T_j and their first two derivatives at w0, by their recurrences.
    T, dT, d2T = [1.0, w0], [0.0, 1.0], [0.0, 0.0]
    for j in range(2, s + 1):
        T.append(2 * w0 * T[j - 1] - T[j - 2])
        dT.append(2 * T[j - 1] + 2 * w0 * dT[j - 1] - dT[j - 2])
        d2T.append(4 * dT[j - 1] + 2 * w0 * d2T[j - 1] - d2T[j - 2])
    w1 = dT[s] / d2T[s]
    b = [0.0, 0.0] + [d2T[j] / dT[j] ** 2 for j in range(2, s + 1)]
    b[0] = b[1] = b[2]
    later = []
    for j in range(2, s + 1):
        mu, nu, mu_t = 2 * b[j] * w0 / b[j - 1], -b[j] / b[j - 2], 2 * b[j] * w1 / b[j - 1]
        later.append((mu, nu, mu_t, -(1.0 - b[j - 1] * T[j - 1]) * mu_t))
    return b[1] * w1, later


@dataclass(frozen=True)
class Implicit:
    """SciPy's implicit methods, BDF or Radau, with the sparse Jacobian; for a single sample.

    They choose their own steps, to the tolerances `rtol` and `atol`.
    """

    method: Literal["BDF", "Radau"] = "BDF"
    rtol: float = 1e-6
    atol: float = 1e-9
    name: ClassVar[str] = "implicit"

    def steps(self, equation: Equation) -> Iterator[float]:
        """Take the steps that SciPy's error control chooses."""
        cochain = equation.cochain
        if cochain.n_samples != 1:
            raise ValueError(f"{self.method} integrates a single sample, got {cochain.n_samples}")
        rates = Cochain(cochain.widths, 1, output_vertex=cochain.output_vertex)

        def write(v: Array) -> None:
            ends = np.cumsum([stalk.size for stalk in cochain.stalks().values()])
            for stalk, part in zip(cochain.stalks().values(), np.split(v, ends[:-1]), strict=True):
                stalk[0] = part

        def rate(t: float, v: Array) -> Array:
            write(v)
            np.copyto(rates.data, equation.rate())
            return equation.alpha * _row(rates)

        def jacobian(t: float, v: Array) -> sp.csc_array:
            write(v)
            return sp.csc_array(equation.jacobian())

        equation.pin()
        solver = {"BDF": scipy.integrate.BDF, "Radau": scipy.integrate.Radau}[self.method](
            rate, 0.0, _row(cochain), np.inf, rtol=self.rtol, atol=self.atol, jac=jacobian
        )
        while True:
            message = solver.step()
            if solver.status == "failed":
                raise ArithmeticError(f"{self.method} failed at time {solver.t:g}: {message}")
            write(solver.y)
            yield solver.t - solver.t_old


def _row(cochain: Cochain) -> Array:
    return np.concatenate([stalk[0] for stalk in cochain.stalks().values()])
