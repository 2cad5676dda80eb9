"""Sheaf training: stalks and weights flow at the same time, each from its own edges (the paper's method).

With the input pinned and the output edge pulling the output z towards y with the force phi(z) - y, the stalks
follow the heat equation, dx/dt = -alpha delta^T r with the true residuals r_v = g_v(x_pa(v)) - x_v, and the
weights, from the same old state, descend half the square of their own edge's residual at its own input,

    dtheta_v/dt = -beta (d g_v / d theta_v)^T r_v,   summed over the samples,

by forward Euler. No weight is touched by anything beyond its own edge.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, get_args

import numpy as np

from sheafcli.core.brief import brief
from sheafcli.core.chain.network import Network
from sheafcli.core.chain.training.heat import ChainFlow
from sheafcli.core.edge import Edge
from sheafcli.core.network import AnyNetwork, as_inputs, as_targets
from sheafcli.core.training.descent import StopWhen
from sheafcli.core.training.graph.heat import GraphFlow
from sheafcli.core.training.protocol import Diverged, Progress
from sheafcli.core.types import Array, Seed

Start = Literal["random", "zeros", "forward"]
# Every so many steps the flow is looked at: is it sound, how far is the whole, what step is stable.
LOOK_EVERY = 100
# Between two looks a watcher is told how far the whole is as soon as so much time has passed.
TELL_SECONDS = 0.2
# A gradient flow never gains energy; a residual so much larger than at the start has diverged.
BLOW_UP = 1e6
# dt = "auto" takes Euler steps in pairs, at the inverse zeros of the Chebyshev polynomial of degree 2 on
# [0.1, 1] times the largest eigenvalue: their product damps every mode, though the first step alone
# would not be stable, and their mean is 2.7 over that eigenvalue where equal steps must stay below 2.
_CENTRE, _RADIUS = 0.55, 0.45 * np.sqrt(0.5)
CHEBYSHEV_PAIR = np.array([1.0 / (_CENTRE - _RADIUS), 1.0 / (_CENTRE + _RADIUS)])
# Stalks relax from where they start over ever longer times, as diffusions do, so the steps may grow in
# proportion to the time since then; the first ones are a fraction of the inverse largest eigenvalue.
RAMP, FIRST_STEP = 0.01, 0.2


@dataclass(frozen=True, repr=False)
class Heat:
    """The paper's sheaf training: the joint heat flow of stalks and weights, by forward Euler.

    Parameters
    ----------
    steps, time
        When to end: after so many Euler steps, or at this integration time (the sum of the steps'
        dt). Exactly one of the two.
    dt
        The step, or "auto": pairs of steps as large as a bound of the joint flow's largest eigenvalue
        allows, refreshed as the weights move, small at first and after each restart of the stalks.
    alpha, beta
        The rates of stalks and weights; beta "auto" is 1 / number of samples.
    stalks
        Where the free stalks start: "random" (standard normal), "zeros", "forward" (the forward
        pass), or arrays, one row a sample: named z1, a1, ... for a plain chain, else as the vertices are.
    reset_every, reset_time
        Restart the stalks after every so many steps, or after every so much integration time; None
        never does.
    stop_when
        Its `patience` ends early; it has no other conditions here.

    Examples
    --------
    >>> import numpy as np, sheafcli as sc
    >>> X = np.random.default_rng(0).uniform(-2, 2, size=(50, 2))
    >>> fit = sc.train(sc.Network.he([2, 8, 1]), X, (X**2).sum(axis=1), sc.Heat(time=10))
    >>> fit.history[-1].train_loss < fit.history[0].train_loss
    True
    """

    __repr__ = brief

    steps: int | None = None
    time: float | None = None
    dt: float | Literal["auto"] = "auto"
    alpha: float = 1.0
    beta: float | Literal["auto"] = "auto"
    stalks: str | Mapping[str, Array] = "random"
    reset_every: int | None = None
    reset_time: float | None = None
    stop_when: StopWhen = field(default_factory=StopWhen)

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.time is None):
            raise ValueError("heat training ends after `steps` or at `time`: give exactly one")
        if self.reset_every is not None and self.reset_time is not None:
            raise ValueError("stalks restart by `reset_every` or `reset_time`: give at most one")
        for name in ("steps", "reset_every"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise ValueError(f"{name} must be a whole number above 0, got {value!r}")
        for name in ("time", "dt", "alpha", "beta", "reset_time"):
            value = getattr(self, name)
            if value is None or (value == "auto" and name in ("dt", "beta")):
                continue
            if not isinstance(value, int | float) or not 0 < value < np.inf:
                raise ValueError(f"{name} must be a number above 0 and finite, got {value!r}")
        if self.stop_when != StopWhen(patience=self.stop_when.patience):
            raise ValueError("heat training ends early by stop_when.patience alone: give steps or time")
        if isinstance(self.stalks, str) and self.stalks not in get_args(Start):
            raise ValueError(f"stalks start as {', '.join(get_args(Start))} or arrays, got {self.stalks!r}")

    def start(self, network: AnyNetwork, X: Array, y: Array, seed: Seed = 0) -> HeatSession:
        """Begin a session; `seed` draws random stalks."""
        X = as_inputs(network, X)
        return HeatSession(self, network, X, as_targets(network, y, len(X)), seed)


class JointFlow(Protocol):
    """Stalks and weights that move together, at the rates alpha and beta; all of its state is in `state`."""

    def restart(self, stalks: str | Mapping[str, Array], seed: np.random.SeedSequence) -> None:
        """Begin the stalks anew: random, zeros, forward, or at given arrays."""

    def step(self, dt: float) -> None:
        """Take one joint Euler step."""

    def settle(self) -> None:
        """Bring up to date what steps leave for later."""

    def squares(self) -> float:
        """Return the sum of the squares of what moves the stalks, as found last."""

    def largest_eigenvalue(self) -> float:
        """Return a bound of the flow's largest eigenvalue, in units of alpha; infinite where it overflows."""

    def worst_edge(self) -> Edge:
        """Return the edge with the largest residual, one that is not finite before all others."""

    def network(self) -> AnyNetwork:
        """Return the network as it is now."""

    def stalks(self) -> dict[str, Array]:
        """Return copies of the stalks by name, samples x stalk."""

    def energy(self) -> float:
        """Return half the discord of the stalks plus the output's potential, a mean per sample."""

    def discord(self) -> dict[Edge, float]:
        """Return the training discord."""

    def state(self) -> dict[str, Array]:
        """Return weights and stalks."""

    def restore(self, state: Mapping[str, Array]) -> None:
        """Take over a state of `state`."""


class HeatSession:
    """Joint training under way; see `sheafcli.core.training.protocol.Session`."""

    def __init__(self, method: Heat, network: AnyNetwork, X: Array, y: Array, seed: Seed):
        self.method = method
        self.step, self.time = 0, 0.0
        beta = 1.0 / len(X) if method.beta == "auto" else float(method.beta)
        # Restarts draw from streams of their own, so that a resumed run need not replay the earlier.
        self._entropy = np.random.default_rng(seed).integers(0, 2**63, size=4).tolist()
        self._flow: JointFlow = (
            ChainFlow(network, X, y, method.alpha, beta)
            if isinstance(network, Network)
            else GraphFlow(network, X, y, method.alpha, beta)
        )
        self._restart_stalks()
        self._restarted = 0.0
        with np.errstate(over="ignore", invalid="ignore"):
            stiffness = self.largest_eigenvalue()
        if not np.isfinite(stiffness):
            raise ValueError(
                "the flow is too stiff for floating point; scale the inputs and the weights down"
            )
        self._limit = BLOW_UP * (len(X) + self._flow.squares())

    @property
    def finished(self) -> bool:
        """Whether `steps` or `time` is reached."""
        return self.share_done >= 1.0

    @property
    def ending(self) -> None:
        """Nothing that a user would wonder at."""

    @property
    def share_done(self) -> float:
        """Steps or integration time done, as a share of all."""
        if self.method.steps is not None:
            return self.step / self.method.steps
        assert self.method.time is not None
        # Sums of dt round; a remainder far below one step is no step.
        return min((self.time / self.method.time) * (1.0 + 1e-12), 1.0)

    def advance(self, steps: int, progress: Progress | None = None) -> None:
        """Take up to `steps` Euler steps; raise Diverged at once where the residuals blow up.

        The session then stands where this call found it.
        """
        before = self.state()
        end = self.step + steps
        with np.errstate(over="ignore", invalid="ignore"):
            if not self._run(end, progress):
                self.restore(before)
                self._run(end, None, check_every_step=True)
                blow_up = self.step, self._flow.worst_edge()
                self.restore(before)
                raise Diverged(*blow_up, self._advice())
        self._flow.settle()

    def network(self) -> AnyNetwork:
        """Return the network as it is now."""
        return self._flow.network()

    def stalks(self) -> dict[str, Array]:
        """Return copies of the training stalks, samples x stalk: z1, a1, ... of a chain, else by vertex."""
        return self._flow.stalks()

    def energy(self) -> float:
        """Return half the discord of the stalks plus the output's potential, a mean per sample."""
        return self._flow.energy()

    def discord(self) -> dict[Edge, float]:
        """Return the training discord."""
        return self._flow.discord()

    def state(self) -> dict[str, Array]:
        """Return weights, stalks, and the clock."""
        clock = np.array([self.step, self.time, self._restarted, self._limit])
        return {"clock": clock} | self._flow.state()

    def restore(self, state: dict[str, Array]) -> None:
        """Take over a state of `state`."""
        step, self.time, self._restarted, self._limit = (float(v) for v in state["clock"])
        self.step = int(step)
        self._flow.restore(state)

    def largest_eigenvalue(self) -> float:
        """Return a bound of the joint flow's largest eigenvalue as it is now, in units of alpha."""
        return self._flow.largest_eigenvalue()

    def step_sizes(self) -> tuple[float, float]:
        """Return the step after a restart, and the mean one later on if the flow stays as stiff as it is."""
        if self.method.dt != "auto":
            return self.method.dt, self.method.dt
        bound = self.method.alpha * self.largest_eigenvalue()
        return FIRST_STEP / bound, float(CHEBYSHEV_PAIR.mean()) / bound

    def _restart_stalks(self) -> None:
        self._flow.restart(self.method.stalks, np.random.SeedSequence([*self._entropy, self.step]))

    def _run(self, end: int, progress: Progress | None, *, check_every_step: bool = False) -> bool:
        """Go on to step `end` or the method's end; False as soon as a check finds a blow-up."""
        while self.step < end and not self.finished:
            if self._is_restart():
                self._restart_stalks()
                self._restarted = self.time
            ahead = self._steps_ahead(min(end, self._next_multiple()))
            told = time.monotonic()
            for dt in ahead:
                self._flow.step(dt)
                self.step += 1
                self.time += dt
                if check_every_step and not self._is_sound():
                    return False
                if progress is not None and time.monotonic() - told > TELL_SECONDS:
                    progress(self.step, self.share_done)
                    told = time.monotonic()
            if not (ahead and self._is_sound()):
                return False
            if progress is not None:
                progress(self.step, self.share_done)
        return True

    def _is_restart(self) -> bool:
        method = self.method
        if method.reset_every is not None:
            return self.step > 0 and self.step % method.reset_every == 0
        return self._time_to_restart() <= 0.0

    def _time_to_restart(self) -> float:
        if self.method.reset_time is None:
            return np.inf
        left = self._restarted + self.method.reset_time - self.time
        return left if left > 1e-9 * self.method.reset_time else 0.0

    def _is_sound(self) -> bool:
        return self._flow.squares() <= self._limit

    def _next_multiple(self) -> int:
        """Return the next step at which something is looked at or the stalks restart."""
        periods = (LOOK_EVERY, self.method.reset_every or LOOK_EVERY)
        return min(self.step - self.step % period + period for period in periods)

    def _steps_ahead(self, stop: int) -> list[float]:
        """Return the step sizes up to step `stop`, or to the next time at which something is due.

        There are none where the bound of the largest eigenvalue has overflowed.
        """
        count, left = stop - self.step, self._time_to_restart()
        if self.method.steps is not None:
            count = min(count, self.method.steps - self.step)
        if self.method.time is not None:
            left = min(left, self.method.time - self.time)
        if self.method.dt != "auto":
            whole = int(min(left / self.method.dt * (1.0 + 1e-9), count))
            return [self.method.dt] * whole if whole > 0 else [left]
        bound = self.method.alpha * self.largest_eigenvalue()
        if not np.isfinite(bound):
            return []
        ramp = max(RAMP * (self.time - self._restarted), FIRST_STEP / bound)
        pair = CHEBYSHEV_PAIR / bound
        pair *= min(1.0, ramp / pair.mean())
        pairs = count // 2
        if pairs * pair.sum() > left:
            pairs = int(np.ceil(left / pair.sum()))
            pair *= left / (pairs * pair.sum())
        return pair.tolist() * pairs if pairs > 0 else [min(pair[1], left)]

    def _advice(self) -> str:
        stable = 1.0 / (self.method.alpha * self.largest_eigenvalue())
        if self.method.dt == "auto":
            return f"try a fixed dt of {stable:.2g} or less"
        return f"dt {self.method.dt:g} is too large here: try dt: {stable:.2g}, or dt: auto"
