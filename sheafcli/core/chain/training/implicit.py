"""Sheaf training in implicit steps: stalks and weights relaxed together.

The joint flow of `sheafcli.core.training.heat` moves stalks and weights by small explicit steps. Its implicit
(backward Euler, proximal) step goes where both have settled,

    W+ = argmin over W of E(W) + |W - W_old|^2 / (2 eta),

E the energy with all stalks relaxed (`chain/envelope.py`). On the slopes of the forward pass stalks and
weights are eliminated together, and what is left is the pull lambda_i on every sample's output,

    (kappa S_i + J_phi^-1) lambda_i + eta sum_j K_ij lambda_j = J_phi^-1 (y_i - phi(f_i)),
    K_ij = sum_l ([a_{l-1,i}, 1] . [a_{l-1,j}, 1]) M_{l,i} M_{l,j}^T,   M_l = dz_{k+1} / dz_l,

after which every edge moves by its own residual and its own input alone,

    dH_l = eta sum_i (M_{l,i}^T lambda_i) [a_{l-1,i}, 1]^T.

For kappa = 0 that is the step of Levenberg and Marquardt with damping mu = 1 / eta in its dual form. It is
solved in samples or in weights, whichever are fewer (`least_squares.py`). mu follows from
how much of the promised gain came true (Nielsen 1999); a step that would raise the energy is not taken.

A kink stops every method that follows slopes. So training goes in cycles: activations are softened
(`chain/tail.py`) by a share of their layer's root mean square that falls to nearly nothing, then
to nothing. The best network with its kinks as they are is kept. Before a cycle each hidden neuron is scaled
so that the weights into it and out of it have the same norm, which changes no output, and one that no sample
activates is moved to where half of them do.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np

from sheafcli.core.chain.envelope import Envelope
from sheafcli.core.chain.network import Network
from sheafcli.core.chain.training.backprop import BackpropRule
from sheafcli.core.chain.training.equilibrium import EquilibriumRule
from sheafcli.core.chain.training.layers import Batch, Parameters
from sheafcli.core.chain.training.least_squares import LeastSquares, Pass, forward, sensitivities
from sheafcli.core.edge import Edge
from sheafcli.core.network import AnyNetwork, as_inputs, as_targets, plain_chain
from sheafcli.core.training.descent import TELL_SECONDS, Rule, StopWhen
from sheafcli.core.training.protocol import Progress
from sheafcli.core.types import Array, Seed

# Steps of a cycle, and how soft kinks are in its first step, in the last that is soft, and how many are soft.
CYCLE, SOFTEST, HARDEST, SOFT_STEPS = 60, 0.5, 0.01, 54
DEFAULT_STEPS = 20 * CYCLE
# The damping of a cycle's first step, as a share of the largest diagonal entry of J^T J; the range of all.
FIRST_DAMPING, LEAST_DAMPING, MOST_DAMPING = 0.01, 1e-250, 1e250
# A step is kept if at least this share of the promised gain came true; so many are tried, ever shorter.
LEAST_GAIN, TRIES = 1e-4, 5
FIRST_GROWTH, MOST_GROWTH = 2.0, 1e9
# Bytes: the largest work array that a C library keeps for the next (glibc).
MOST_KEPT = 31 << 20


@dataclass(frozen=True, kw_only=True)
class Implicit:
    """Options of implicit steps.

    Parameters
    ----------
    steps
        How many steps to take, 60 a cycle.
    kappa
        How far inner edges give way: 0 makes them rigid, 1 is the energy of heat.
    weight_decay
        Half its product with the squared norm of all weights (not biases) is added to the loss.
    stop_when
        Conditions to end early. A loss of exactly 0 ends the training, too.
    """

    steps: int = DEFAULT_STEPS
    kappa: float = 0.0
    weight_decay: float = 0.0
    stop_when: StopWhen = field(default_factory=StopWhen)

    def __post_init__(self) -> None:
        if not isinstance(self.steps, int) or isinstance(self.steps, bool) or self.steps < 1:
            raise ValueError(f"steps must be a whole number above 0, got {self.steps!r}")
        for name in ("kappa", "weight_decay"):
            value = getattr(self, name)
            if not 0.0 <= value < np.inf:
                raise ValueError(f"{name} must be at least 0 and finite, got {value!r}")

    def start(self, network: AnyNetwork, X: Array, y: Array, seed: Seed = 0) -> ImplicitSession:
        """Begin a session, in which nothing is drawn; ValueError unless the network is a plain chain."""
        return ImplicitSession(self, plain_chain(network, "implicit training"), X, y)


@dataclass(frozen=True)
class Cost:
    """What a step costs: its unknowns and rows, floating point operations, and bytes held."""

    unknowns: int
    rows: int
    operations: float
    bytes: float

    @classmethod
    def of(cls, network: Network, n_samples: int) -> Cost:
        """Return the cost for a network and so many samples."""
        widths = network.widths
        unknowns = sum((m + 1) * n for m, n in zip(widths[:-1], widths[1:], strict=True))
        columns = network.n_outputs - (network.output.name == "softmax")
        rows, side = n_samples * columns, min(unknowns, n_samples * columns)
        products = (
            rows * unknowns**2 if side == unknowns else 2.0 * rows**2 * (sum(widths) + sum(widths[1:-1]))
        )
        # The matrix, a term of it or its factor; a_l, slopes and sensitivities of all samples.
        stalks = n_samples * sum(widths) * (4 + 2 * columns)
        return cls(unknowns, rows, products + side**3 / 3.0, 8.0 * (3.0 * side**2 + stalks))


class ImplicitSession:
    """Implicit steps under way; see `sheafcli.core.training.protocol.Session`.

    `network`, `energy` and `discord` speak of the best network so far.
    """

    def __init__(self, method: Implicit, network: Network, X: Array, y: Array):
        self.method = method
        self.step = 0
        X = as_inputs(network, X)
        self._y = as_targets(network, y, len(X))
        self._inputs = np.vstack([X.T, np.ones((1, len(X)))])
        self._output = network.output
        # The penalty in units of the summed potential, as the energy is.
        self._decay = method.weight_decay * len(X) / network.output.loss_scale(network.n_outputs)
        self._now, self._trial = Parameters(network, np.float64), Parameters(network, np.float64)
        self._best = self._now.flat.copy()
        self._least = np.inf
        # The forward pass with the kinks as they are, where it is at hand.
        self._hard: Pass | None = None
        self._damping, self._growth = 0.0, FIRST_GROWTH
        self._seconds, self._stopped = 0.0, False
        # Work arrays of a step are freed at its end. A C library that has seen a larger one freed keeps them
        # for the next step, where it would give them back to the system otherwise (glibc: mallopt(3)).
        np.empty(MOST_KEPT, np.uint8)
        self._look()

    @property
    def time(self) -> float:
        """Passes through the data: one a step."""
        return float(self.step)

    @property
    def finished(self) -> bool:
        """Whether all steps are done, a condition to stop has come true, or nothing is left to learn."""
        return self._stopped or self.step >= self.method.steps

    @property
    def ending(self) -> str | None:
        """That the loss is 0, if it is."""
        return "the training loss is exactly 0: nothing is left to learn" if self._least == 0.0 else None

    @property
    def share_done(self) -> float:
        """Steps done as a share of all, or seconds of those allowed."""
        if self.finished:
            return 1.0
        limit = self.method.stop_when.seconds
        return max(self.step / self.method.steps, self._seconds / limit if limit else 0.0)

    def advance(self, steps: int, progress: Progress | None = None) -> None:
        """Take up to `steps` steps; the best network never gets worse, so none diverges."""
        end, limit = min(self.step + steps, self.method.steps), self.method.stop_when.seconds
        started, told = time.perf_counter() - self._seconds, self._seconds
        while self.step < end and not self._stopped:
            with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
                self._take_step()
                self._look()
            self.step += 1
            self._seconds = time.perf_counter() - started
            self._stopped |= limit is not None and self._seconds >= limit
            if progress is not None and (self.step % CYCLE == 0 or self._seconds - told > TELL_SECONDS):
                progress(self.step, self.share_done)
                told = self._seconds
        goal = self.method.stop_when.train_loss
        if goal is not None:
            network = self.network()
            self._stopped |= network.output.loss(network.logits(self._inputs[:-1].T), self._y) <= goal
        if progress is not None:
            progress(self.step, self.share_done)

    def network(self) -> Network:
        """Return the best network so far."""
        return self._best_parameters().network()

    def energy(self) -> float:
        """Return the energy of the joint equilibrium at the best weights, a mean per sample."""
        return self._evaluated().energy() / (self.method.kappa or 1.0)

    def discord(self) -> dict[Edge, float]:
        """Return the discord of that equilibrium: rigid inner edges have none."""
        return self._evaluated().discord()

    def state(self) -> dict[str, Array]:
        """Return weights, the best so far, damping, and the clock."""
        return {
            "clock": np.array([self.step, self._stopped, len(self._y)]),
            "seconds": np.array(self._seconds),
            "parameters": self._now.flat.copy(),
            "best": self._best.copy(),
            "figures": np.array([self._damping, self._growth, self._least]),
        }

    def restore(self, state: dict[str, Array]) -> None:
        """Take over a state of `state`; ValueError where it is that of other data or another network."""
        step, stopped, samples = state["clock"]
        shapes = {state[name].shape for name in ("parameters", "best")}
        if samples != len(self._y) or shapes != {self._best.shape}:
            raise ValueError(f"the state is not of {len(self._y)} samples and {self._best.size} weights")
        self._damping, self._growth, self._least = (float(value) for value in state["figures"])
        self._now.flat[:], self._best[:], self._hard = state["parameters"], state["best"], None
        self.step, self._stopped, self._seconds = int(step), bool(stopped), float(state["seconds"])

    def _take_step(self) -> None:
        """Take a step, or none where all that were tried would raise the energy."""
        place, now = self.step % CYCLE, self._now
        if place == 0:
            revive(now, self._inputs)
            balance(now)
            self._damping, self._growth, self._hard = 0.0, FIRST_GROWTH, None
        # Where numbers overflow, the energy is not finite, and the step is not taken.
        here, share = self._hard or self._forward(), softness(place)
        soft = [share * size for size in here.sizes]
        if share > 0.0:
            here = forward(now.H, self._inputs, soft)
        envelope = Envelope(self._output, self._y, self._give(here))
        problem = self._problem(here, envelope)
        if self._damping == 0.0:
            self._damping = self._within(FIRST_DAMPING * problem.largest())
        energy = envelope.value(here.f.T) + self._penalty(now)
        for _ in range(TRIES):
            dw = problem.solution(self._damping)
            gain = -np.inf
            if dw is not None:
                np.add(now.flat, dw, out=self._trial.flat)
                there = envelope.value(forward(self._trial.H, self._inputs, soft).f.T)
                promised = 0.5 * float(dw @ problem.slope + self._damping * (dw @ dw))
                gain = (energy - there - self._penalty(self._trial)) / promised if promised > 0.0 else gain
            if gain > LEAST_GAIN:
                now.flat[:] = self._trial.flat
                self._damping = self._within(self._damping * max(1.0 / 3.0, 1.0 - (2.0 * gain - 1.0) ** 3))
                self._growth = FIRST_GROWTH
                return
            self._damping = self._within(self._damping * self._growth)
            self._growth = min(2.0 * self._growth, MOST_GROWTH)

    @staticmethod
    def _within(damping: float) -> float:
        return min(max(damping, LEAST_DAMPING), MOST_DAMPING) if np.isfinite(damping) else MOST_DAMPING

    def _problem(self, here: Pass, envelope: Envelope) -> LeastSquares:
        T, rho = envelope.root(here.f.T)
        R = np.ascontiguousarray(T.transpose(2, 1, 0))
        M = sensitivities(self._now.W, here.slopes, R)
        return LeastSquares(self._now, here.a, M, np.ascontiguousarray(rho.T), self._decay)

    def _give(self, here: Pass) -> Array | None:
        """Return kappa S, S = I + sum_l J_l (1 + rho'(z_l)^2) J_l^T, J_l = dz_{k+1} / da_l; None for zero."""
        if self.method.kappa == 0.0:
            return None
        outputs, n = here.f.shape
        unit = np.ascontiguousarray(np.broadcast_to(np.eye(outputs)[:, :, np.newaxis], (outputs, outputs, n)))
        M = sensitivities(self._now.W, here.slopes, unit)
        S = np.tile(np.eye(outputs), (n, 1, 1))
        for W, m, slope in zip(self._now.W[1:], M[1:], here.slopes, strict=True):
            J = np.einsum("oj,ocn->jcn", W, m)
            S += np.einsum("jcn,jn,jdn->ncd", J, 1.0 + slope * slope, J, optimize=True)
        return self.method.kappa * S

    def _forward(self) -> Pass:
        """Pass forward with the kinks as they are."""
        return forward(self._now.H, self._inputs, (0.0,) * (len(self._now.H) - 1))

    def _look(self) -> None:
        """Keep the weights if they are the best with the kinks as they are."""
        here = self._hard = self._forward()
        potential = float(np.sum(self._output.potential(here.f.T, self._y)))
        value = potential + self._penalty(self._now)
        if value < self._least:
            self._least = value
            self._best[:] = self._now.flat
            self._stopped |= value == 0.0

    def _penalty(self, parameters: Parameters) -> float:
        if self._decay == 0.0:
            return 0.0
        return 0.5 * self._decay * float(sum(np.sum(W * W) for W in parameters.W))

    def _best_parameters(self) -> Parameters:
        parameters = Parameters(self._now.network(), np.float64)
        parameters.flat[:] = self._best
        return parameters

    def _evaluated(self) -> Rule:
        """Return the rule with that equilibrium: stiffness 1 against 1 / kappa is as kappa against 1."""
        kappa, parameters = self.method.kappa, self._best_parameters()
        rule: Rule = EquilibriumRule(kappa) if kappa > 0.0 else BackpropRule()
        batch = Batch(parameters.widths, len(self._y), np.float64)
        batch.load(self._inputs[:-1].T, self._y)
        rule.evaluate(parameters, batch, None)
        return rule


def softness(place: int) -> float:
    """Return how soft kinks are at a place of a cycle, as a share of the root mean square of z."""
    if place >= SOFT_STEPS:
        return 0.0
    return float(SOFTEST * (HARDEST / SOFTEST) ** (place / (SOFT_STEPS - 1)))


def balance(parameters: Parameters) -> None:
    """Scale each hidden neuron so that [W_l, b_l] into it and W_{l+1} out of it have the same norm."""
    for layer, following in zip(parameters.H[:-1], parameters.W[1:], strict=True):
        into, out = np.linalg.norm(layer, axis=1), np.linalg.norm(following, axis=0)
        joined = (into > 0.0) & (out > 0.0)
        scale = np.ones_like(into)
        np.sqrt(np.divide(out, into, out=scale, where=joined), out=scale, where=joined)
        np.multiply(layer, scale[:, np.newaxis], out=layer)
        np.divide(following, scale, out=following)


def revive(parameters: Parameters, inputs: Array) -> None:
    """Move each hidden neuron that no sample activates to where half of them do.

    Of a layer that others of are alive, such neurons lose the weights out of them: no output changes.
    """
    a = inputs
    for layer, following in zip(parameters.H[:-1], parameters.W[1:], strict=True):
        z = layer @ a
        dead = np.asarray(~(z >= 0.0).any(axis=1))
        if dead.any():
            layer[dead, -1] -= np.median(z[dead], axis=1)
            if not dead.all():
                following[:, dead] = 0.0
            z = layer @ a
        a = np.vstack([np.maximum(z, 0.0), np.ones((1, z.shape[1]))])
