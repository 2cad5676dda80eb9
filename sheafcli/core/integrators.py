"""Ways to follow a stiff linear-by-pieces flow in time: forward Euler, Runge-Kutta-Chebyshev, implicit.

An integrator is a frozen object that holds its options. It is asked for the steps it takes on an equation,
changes the equation's cochain in place and yields each step's size; it knows neither what the equation
describes nor what is recorded.

The flow is discontinuous where a neuron's z is 0, and a neuron that is pushed back from either side slides
along z = 0 (Filippov 1988). Forward Euler re-reads the pattern at every step and chatters across. The other
two integrate a continuous flow during a step, one that shows a neuron beyond z = 0 the forces at z = 0;
then they put a neuron that slides at 0 exactly, where its rate is zero until one side lets it go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Literal, Protocol

import numpy as np
import scipy

from sheafcli.core.chain.cochain import Cochain
from sheafcli.core.types import Array

# Explicit integrators keep this share of the largest step that is stable.
SAFETY = 0.95
# RKC with s stages is stable for steps up to this times (s^2 - 1) / lambda_max.
STABLE = 0.65
# A crossing within an implicit step is located to the step's size over 2 to this power.
BISECTIONS = 40
# No implicit step is longer, over alpha: I / dt - J stays regular where coordinates rest.
LONGEST = 1e12
# z = 0 counts as active: the inactive side ends just below.
TINY = np.finfo(np.float64).tiny


class Equation(Protocol):
    """What an integrator needs of an equation dv/dt = alpha rate(v) on a cochain."""

    cochain: Cochain
    alpha: float

    def rate(self) -> Array:
        """Return dv/dt / alpha, packed as the cochain's data; the next call overwrites it."""

    def sliding_rate(self) -> Array:
        """Return the same in Filippov's sense: it differs only where z = 0 exactly."""

    def pin(self) -> None:
        """Overwrite what is pinned hard."""

    def largest_eigenvalue(self) -> float:
        """Return an upper bound of the largest eigenvalue of -d(dv/dt)/dv."""

    def jacobian(self) -> scipy.sparse.csr_array:
        """Return d(sliding rate)/dv, times alpha, on the stalks in path order, for a single sample."""


class Integrator(Protocol):
    """A way to integrate an equation in time."""

    name: ClassVar[str]

    def steps(self, equation: Equation) -> Iterator[float]:
        """Take steps for ever, yielding each one's size after it is taken."""


@dataclass(frozen=True)
class Euler:
    """Forward Euler: all forces from the old state, then hard pins are overwritten (the paper's).

    It is stable for dt below 2 / lambda_max; "auto" stays just below.

    Examples
    --------
    >>> import sheafcli as sc
    >>> flow = sc.diffuse(sc.Network.he([2, 5, 1]), [[1.0, 2.0]], integrator=sc.Euler(dt=0.01), steps=100)
    >>> round(flow.time, 9)
    1.0
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
    error e = 4/5 (v_n - v_{n+1}) + 2/5 dt (f_n + f_{n+1}): the energy that it can hold, lambda_max |e|^2 / 2
    over alpha, may be `tolerance` times what the flow gives off in the step, dt |f_n|^2 over alpha. Steps are
    coarse while the stalks are far from rest and neurons cross, ever finer as they settle. The step's size
    then gives the stages, at most `max_stages`.

    Examples
    --------
    >>> import sheafcli as sc
    >>> flow = sc.diffuse(sc.Network.he([2, 5, 1]), [[1.0, 2.0]], integrator=sc.Chebyshev(tolerance=0.1))
    >>> bool(flow.converged.all())
    True
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
        y, alpha = equation.cochain.data, equation.alpha
        bound = equation.largest_eigenvalue() / alpha
        longest = STABLE * (self.max_stages**2 - 1) / bound
        next_h = 0.5 / bound  # in units of 1 / alpha
        equation.pin()
        force = equation.sliding_rate().copy(order="F")
        while True:
            start, speed = y.copy(order="F"), float(np.linalg.norm(force))
            sides = _sides(equation.cochain, force)
            size, allowed = 1.0, 0.0
            while size > allowed:
                h = next_h
                stages = min(self.max_stages, int(np.ceil(np.sqrt(1.0 + h * bound / STABLE))))
                _chebyshev_step(equation, h, start, force, sides, stages)
                _hold_at_kinks(equation, start)
                after = equation.sliding_rate()
                size = float(np.linalg.norm(0.8 * (start - y) + (0.4 * h) * (force + after)))
                allowed = np.sqrt(2.0 * self.tolerance * h / bound) * speed
                change = 0.8 * (allowed / size) ** (1.0 / 3.0) if size > 0.0 else np.inf
                next_h = min(longest, h * min(5.0, max(0.1, change)))
            np.copyto(force, after)
            yield h / alpha


def _chebyshev_step(
    equation: Equation, h: float, start: Array, force: Array, sides: tuple[Array, Array], stages: int
) -> None:
    """Take one step of RKC from `start`, where the rate is `force`, in place.

    The stages are kept as differences from the start: a coordinate whose rate is zero stays as it is, to
    the last bit.
    """
    first, later = _chebyshev_coefficients(stages)
    y, z = equation.cochain.data, equation.cochain.z_hidden
    older, moved = np.zeros_like(start), (first * h) * force
    np.add(start, moved, out=y)
    for mu, nu, mu_t, gamma_t in later:
        np.clip(z, *sides, out=z)
        older *= nu
        older += mu * moved
        older += (mu_t * h) * equation.sliding_rate()
        older += (gamma_t * h) * force
        older, moved = moved, older
        np.add(start, moved, out=y)
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
class Stiff:
    """SciPy's implicit methods, BDF or Radau, with the sparse Jacobian; for a single sample.

    They choose their own steps, to the tolerances `rtol` and `atol`. Where a neuron has left its side of
    z = 0, or ceased to slide, by more than `atol`, the step ends and the method begins anew.

    Examples
    --------
    >>> import sheafcli as sc
    >>> flow = sc.diffuse(sc.Network.he([2, 5, 1]), [[1.0, 2.0]], integrator=sc.Stiff("Radau"))
    >>> bool(flow.converged.all())
    True
    """

    method: Literal["BDF", "Radau"] = "BDF"
    rtol: float = 1e-6
    atol: float = 1e-9
    name: ClassVar[str] = "implicit"

    def steps(self, equation: Equation) -> Iterator[float]:
        """Take the steps that SciPy's error control chooses, each cut where a neuron leaves its side."""
        cochain, z = equation.cochain, equation.cochain.z_hidden
        if cochain.n_samples != 1:
            raise ValueError(f"{self.method} integrates a single sample, got {cochain.n_samples}")
        method = {"BDF": scipy.integrate.BDF, "Radau": scipy.integrate.Radau}[self.method]
        rates = Cochain(cochain.widths, 1, output_vertex=cochain.output_vertex)
        ends = np.cumsum([stalk.size for stalk in cochain.stalks().values()])

        def write(v: Array) -> bool:
            """Write v to the cochain, on its sides of z = 0; return whether v has left them."""
            for stalk, part in zip(cochain.stalks().values(), np.split(v, ends[:-1]), strict=True):
                stalk[0] = part
            beyond = z.copy()
            np.clip(z, *sides, out=z)
            return bool(np.max(np.abs(beyond - z), initial=0.0) > self.atol)

        def rate(t: float, v: Array) -> Array:
            write(v)
            np.copyto(rates.data, equation.sliding_rate())
            return equation.alpha * _row(rates)

        def jacobian(t: float, v: Array) -> scipy.sparse.csc_array:
            write(v)
            return scipy.sparse.csc_array(equation.jacobian())

        equation.pin()
        while True:
            sides = _sides(cochain, equation.sliding_rate())
            solver = method(
                rate,
                0.0,
                _row(cochain),
                np.inf,
                max_step=LONGEST / equation.alpha,
                rtol=self.rtol,
                atol=self.atol,
                jac=jacobian,
            )
            left = False
            while not left:
                message = solver.step()
                if solver.status == "failed":
                    raise ArithmeticError(f"{self.method} cannot go on: {message}")
                end, left = solver.t, write(solver.y)
                if left:
                    end = _first(write, solver)
                    z[np.abs(z) <= TINY] = 0.0  # where the sliding rate says which side comes next
                yield end - solver.t_old


def _first(happens: Callable[[Array], bool], solver: scipy.integrate.OdeSolver) -> float:
    """Return when, within a solver's last step, something first happens, by bisection; it is asked last."""
    path, before, after = solver.dense_output(), solver.t_old, solver.t
    for _ in range(BISECTIONS):
        middle = 0.5 * (before + after)
        before, after = (before, middle) if happens(path(middle)) else (middle, after)
    happens(path(after))
    return float(after)


def _row(cochain: Cochain) -> Array:
    return np.concatenate([stalk[0] for stalk in cochain.stalks().values()])


def _sides(cochain: Cochain, rate: Array) -> tuple[Array, Array]:
    """Return the bounds of z_hidden while every neuron stays on its side of z = 0, or slides along it.

    `rate` is the sliding rate: at z = 0 it says which side a neuron leaves to, if it does.
    """
    z = cochain.z_hidden
    side = np.where(z == 0.0, np.sign(rate[:, : z.shape[1]]), np.sign(z))
    upper = np.where(side > 0.0, np.inf, np.where(side < 0.0, -TINY, 0.0))
    return np.where(side < 0.0, -np.inf, 0.0), upper


def _hold_at_kinks(equation: Equation, before: Array) -> None:
    """Put at z = 0 every neuron that has crossed it since the data `before` and slides along it."""
    z = equation.cochain.z_hidden
    crossed = np.nonzero(np.sign(z) != np.sign(before[:, : z.shape[1]]))
    if crossed[0].size:
        beyond = z[crossed]
        z[crossed] = 0.0
        z[crossed] = np.where(equation.sliding_rate()[crossed] == 0.0, 0.0, beyond)


INTEGRATORS = {kind.name: kind for kind in (Euler, Chebyshev, Stiff)}


def as_integrator(integrator: Integrator | str) -> Integrator:
    """Return an integrator as it is, or the one that a name says, with its defaults."""
    if isinstance(integrator, str) and integrator not in INTEGRATORS:
        raise ValueError(f"no integrator is called {integrator!r}; there are {', '.join(INTEGRATORS)}")
    return INTEGRATORS[integrator]() if isinstance(integrator, str) else integrator
