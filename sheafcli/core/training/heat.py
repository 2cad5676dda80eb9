"""Sheaf training: stalks and weights flow at the same time, each from its own edges (the paper's method).

With the input pinned to x and the output edge pulling z_{k+1} towards y with the force
f_out = phi(z_{k+1}) - y, the stalks follow the heat equation and the weights, from the same old state,

    dW_l/dt = -beta r_l a_{l-1}^T,   db_l/dt = -beta r_l,   summed over the samples,

by forward Euler. No weight is touched by anything beyond its own edge.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.linalg.blas import daxpy, dgemm, dsymm

from sheafcli.core.chain.cochain import Cochain
from sheafcli.core.chain.discord import training_discord, training_energy
from sheafcli.core.chain.flow import Flow, InputEdge, homogeneous_maps, network_of, with_ones
from sheafcli.core.chain.network import Network, as_inputs, as_targets
from sheafcli.core.chain.stability import largest_eigenvalue_bound, spectral_norm
from sheafcli.core.edge import Edge, activation_edge, affine_edge
from sheafcli.core.training.protocol import Diverged, Progress
from sheafcli.core.types import Array, Seed

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


@dataclass(frozen=True)
class Heat:
    """Joint forward Euler of stalks and weights.

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
        pass), or arrays named z1, a1, ..., one row a sample.
    reset_every, reset_time
        Restart the stalks after every so many steps, or after every so much integration time; None
        never does.
    """

    steps: int | None = None
    time: float | None = None
    dt: float | Literal["auto"] = "auto"
    alpha: float = 1.0
    beta: float | Literal["auto"] = "auto"
    stalks: str | Mapping[str, Array] = "random"
    reset_every: int | None = None
    reset_time: float | None = None

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

    def start(self, network: Network, X: Array, y: Array, seed: Seed = 0) -> HeatSession:
        """Begin a session; `seed` draws random stalks."""
        X = as_inputs(network, X)
        return HeatSession(self, network, X, as_targets(network, y, len(X)), seed)


class _LearningInput(InputEdge):
    """The first affine edge with weights that learn, as a product with the data."""

    def __init__(self, X: Array, H1: Array):
        self._X, self._H1 = with_ones(X), H1

    def residual(self, r1: Array) -> None:
        dgemm(1.0, self._X, self._H1, -1.0, r1, 0, 1, 1)

    def learn(self, rate: float, r1: Array) -> None:
        """W_1 <- W_1 - rate r_1^T [x, 1]."""
        dgemm(-rate, r1, self._X, 1.0, self._H1, 1, 0, 1)

    def settle(self) -> None:
        """Bring H1 up to date: it always is."""

    def refresh(self) -> None:
        """Read H1 anew: nothing is derived from it."""


class _GramInput(InputEdge):
    """The same edge through h_1 = W_1 x + b_1 alone, for fewer samples than inputs.

    A step changes h_1 by -rate K r_1 with K = X X^T + 1 (samples x samples), which costs n n_1
    products a sample instead of 2 n_0 n_1. The sum P of the rate r_1 is kept, and W_1 - P^T [x, 1] is
    formed by `settle`, when someone looks.
    """

    def __init__(self, X: Array, H1: Array):
        self._X, self._H1 = with_ones(X), H1
        self._K = np.asfortranarray(self._X @ self._X.T)
        self._P = np.zeros((len(X), H1.shape[0]), order="F")
        self._p_flat = self._P.T.reshape(-1)
        self._h = np.zeros_like(self._P)
        self.refresh()

    def residual(self, r1: Array) -> None:
        np.subtract(self._h, r1, out=r1)

    def learn(self, rate: float, r1: Array) -> None:
        dsymm(-rate, self._K, r1, 1.0, self._h, 0, 0, 1)
        daxpy(r1.T.reshape(-1), self._p_flat, a=rate)

    def settle(self) -> None:
        """Bring H1 up to date and start the sum anew."""
        dgemm(-1.0, self._P, self._X, 1.0, self._H1, 1, 0, 1)
        self.refresh()

    def refresh(self) -> None:
        """Read H1 anew and forget the sum."""
        self._P[:] = 0.0
        dgemm(1.0, self._X, self._H1, 0.0, self._h, 0, 1, 1)


class HeatSession:
    """Joint training under way; see `sheafcli.core.training.protocol.Session`."""

    def __init__(self, method: Heat, network: Network, X: Array, y: Array, seed: Seed):
        self.method = method
        self.step, self.time = 0, 0.0
        self._X, self._y = X, np.asfortranarray(y)
        self._output = network.output
        self._beta = 1.0 / len(X) if method.beta == "auto" else float(method.beta)
        # Restarts draw from streams of their own, so that a resumed run need not replay the earlier.
        self._entropy = np.random.default_rng(seed).integers(0, 2**63, size=4).tolist()
        self._cochain = Cochain(network.widths, len(X))
        self._maps = homogeneous_maps(network)
        self._restart_stalks()
        self._restarted = 0.0
        self._input_norm = spectral_norm(with_ones(X))
        gram = X.shape[0] < X.shape[1]
        self._first = (_GramInput if gram else _LearningInput)(X, self._maps[0])
        self._flow = Flow(self._maps[1:], self._first, self._cochain)
        self._flow.residuals()
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
                blow_up = self.step, self._worst_edge()
                self.restore(before)
                raise Diverged(*blow_up, self._advice())
        self._first.settle()

    def network(self) -> Network:
        """Return the network as it is now."""
        return network_of(self._maps, self._output)

    def cochain(self) -> Cochain:
        """Return a copy of the training stalks."""
        return self._cochain.copy()

    def energy(self) -> float:
        """Return half the discord of the stalks plus the output's potential, a mean per sample."""
        return training_energy(self.network(), self._X, self._y, self._cochain)

    def discord(self) -> dict[Edge, float]:
        """Return the training discord."""
        return training_discord(self.network(), self._X, self._y, self._cochain)

    def state(self) -> dict[str, Array]:
        """Return weights, stalks, and the clock."""
        clock = np.array([self.step, self.time, self._restarted, self._limit])
        maps = {f"H{layer}": H.copy() for layer, H in enumerate(self._maps, start=1)}
        return {"clock": clock, "stalks": self._cochain.data.copy()} | maps

    def restore(self, state: dict[str, Array]) -> None:
        """Take over a state of `state`."""
        step, self.time, self._restarted, self._limit = (float(v) for v in state["clock"])
        self.step = int(step)
        # In place: the flow holds views of these arrays.
        np.copyto(self._cochain.data, state["stalks"])
        for layer, H in enumerate(self._maps, start=1):
            np.copyto(H, state[f"H{layer}"])
        self._first.refresh()

    def largest_eigenvalue(self) -> float:
        """Return a bound of the joint flow's largest eigenvalue as it is now, in units of alpha."""
        flow, scale = self._flow, np.sqrt(self._beta / self.method.alpha)
        flow.residuals()
        return largest_eigenvalue_bound(
            [spectral_norm(W[: r.shape[1]]) for _, W, _, r, _ in flow.links],
            output_stiffness=self._output.curvature,
            input_norms=[
                scale * norm
                for norm in (self._input_norm, *(spectral_norm(a) for _, _, a, _, _ in flow.links))
            ],
            residual_norms=[scale * float(np.linalg.norm(r)) for _, _, _, r, _ in flow.links],
        )

    def step_sizes(self) -> tuple[float, float]:
        """Return the step after a restart, and the mean one later on if the flow stays as stiff as it is."""
        if self.method.dt != "auto":
            return self.method.dt, self.method.dt
        bound = self.method.alpha * self.largest_eigenvalue()
        return FIRST_STEP / bound, float(CHEBYSHEV_PAIR.mean()) / bound

    def _restart_stalks(self) -> None:
        start, network, n = self.method.stalks, self.network(), self._cochain.n_samples
        if not isinstance(start, str):
            fresh = Cochain.from_stalks(network.widths, start)
            if fresh.n_samples != n:
                raise ValueError(f"start stalks hold {fresh.n_samples} samples, the data {n}")
        elif start == "random":
            fresh = Cochain.random(network.widths, n, np.random.SeedSequence([*self._entropy, self.step]))
        elif start == "forward":
            fresh = Cochain.forward(network, self._X)
        elif start == "zeros":
            fresh = Cochain(network.widths, n)
        else:
            raise ValueError(f"stalks start as random, zeros, forward or arrays, got {start!r}")
        np.copyto(self._cochain.data, fresh.data)

    def _run(self, end: int, progress: Progress | None, *, check_every_step: bool = False) -> bool:
        """Go on to step `end` or the method's end; False as soon as a check finds a blow-up."""
        while self.step < end and not self.finished:
            if self._is_restart():
                self._first.settle()
                self._restart_stalks()
                self._restarted = self.time
            ahead = self._steps_ahead(min(end, self._next_multiple()))
            told = time.monotonic()
            for dt in ahead:
                self._euler_step(dt)
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

    def _euler_step(self, dt: float) -> None:
        """Take one joint step: all forces from the old state, then weights and stalks move."""
        flow, rate = self._flow, dt * self._beta
        flow.residuals()
        flow.pull_back()
        self._first.learn(rate, flow.r[1])
        for H, _, a, r, _ in flow.links:
            dgemm(-rate, r, a, 1.0, H, 1, 0, 1)  # H <- H - rate r^T a, in place
        last = len(self._maps)
        r_last = flow.r[last]
        np.subtract(r_last, self._output.value(self._cochain.z[last]), out=r_last)
        np.add(r_last, self._y, out=r_last)
        flow.gather()
        flow.move(dt * self.method.alpha)

    def _worst_edge(self) -> Edge:
        """Return the edge with the largest residual now, one that is not finite before all others."""
        flow = self._flow
        flow.residuals()
        sizes: dict[Edge, float] = {}
        for layer, r in flow.r.items():
            sizes[affine_edge(layer)] = float(np.sum(r * r))
            if layer <= len(self._cochain.blocks):
                s = flow.s[:, self._cochain.blocks[layer - 1]]
                sizes[activation_edge(layer)] = float(np.sum(s * s))
        return max(sizes, key=lambda edge: np.nan_to_num(sizes[edge], nan=np.inf))

    def _advice(self) -> str:
        stable = 1.0 / (self.method.alpha * self.largest_eigenvalue())
        if self.method.dt == "auto":
            return f"try a fixed dt of {stable:.2g} or less"
        return f"dt {self.method.dt:g} is too large here: try dt: {stable:.2g}, or dt: auto"
