"""Sheaf training in implicit steps: stalks and weights relaxed together.

The joint flow of `sheafcli.core.training.heat` moves stalks and weights by small explicit steps. Its implicit
(backward Euler, proximal) step goes where both have settled,

    W+ = argmin over W of E(W) + |W - W_old|^2 / (2 eta),

E the energy with all stalks relaxed (`envelope.py`). On the slopes of the forward pass stalks and weights are
eliminated together, and what is left is the pull lambda_i on every sample's output. In a chain

    (kappa S_i + J_phi^-1) lambda_i + eta sum_j K_ij lambda_j = J_phi^-1 (y_i - phi(f_i)),
    K_ij = sum_l ([a_{l-1,i}, 1] . [a_{l-1,j}, 1]) M_{l,i} M_{l,j}^T,   M_l = dz_{k+1} / dz_l,

after which every edge moves by its own residual and its own input alone,

    dH_l = eta sum_i (M_{l,i}^T lambda_i) [a_{l-1,i}, 1]^T.

On any graph K_ij is the sum of D_{v,i} D_{v,j}^T over the operations with parameters, D_v the derivative of
the output in those of vertex v: the gradient of its residual against its own input.

For kappa = 0 that is the step of Levenberg and Marquardt with damping mu = 1 / eta, solved in samples or in
weights, whichever are fewer (`least_squares.py`). mu follows from how much of the promised gain came true
(Nielsen 1999); a step that would raise the energy is not taken.

Weight decay may be left to the evidence (MacKay 1992): as half of |J dw - rho|^2 + decay |w|^2 is minus a
logarithm of likelihood times prior, with a variance s^2 of the errors and one of the weights, these two are
most likely for

    decay = s^2 gamma / |w|^2,   s^2 = |y - f|^2 / (N - gamma) for the identity, 1 for classes,

gamma the number of weights that the N rows determine (`LeastSquares.determined`). So decay is made at the
end of each cycle, and of all ends the network is kept whose evidence (Laplace's approximation) is largest,

    -log p = (potential + decay |w|^2 / 2) / s^2 + log det((J^T J + decay) / decay) / 2 + N / 2 log s^2.

Of a regression nobody knows s^2 before. Its first three cycles all begin at the start, with s^2 the mean
square of its errors, a tenth and a hundredth of that; the most evident end goes on.

A network for classes follows a path of its own in the first cycle (`cycle.py`). Once all classes are told
right the loss falls as exp(-m), m the least margin, and a step adds 1 to m. So from the second cycle on a
step with hard kinks then goes on, twice as far each time, as long as that lowers the energy.

A kink stops every method that follows slopes. So training goes in cycles: activations are softened
(`sheafcli.core.averaged`) by a share of their input's root mean square that falls to nearly nothing, then
to nothing. The best network with its kinks as they are is kept. Before a cycle of a chain each hidden neuron
is scaled so that the weights into it and out of it have the same norm, which changes no output, and one that
no sample activates is moved to where half of them do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from sheafcli.core.brief import brief
from sheafcli.core.chain.network import Network
from sheafcli.core.chain.training.implicit import ChainModel
from sheafcli.core.edge import Edge
from sheafcli.core.network import AnyNetwork, as_inputs, as_targets
from sheafcli.core.training.cycle import CYCLE, Path, softness
from sheafcli.core.training.descent import TELL_SECONDS, Rule, StopWhen
from sheafcli.core.training.envelope import Envelope
from sheafcli.core.training.graph.implicit import GraphModel
from sheafcli.core.training.model import Model, Passed
from sheafcli.core.training.protocol import Progress
from sheafcli.core.types import Array, Seed

DEFAULT_STEPS = 20 * CYCLE
# The damping of a cycle's first step, as a share of the largest diagonal entry of J^T J; the range of all.
FIRST_DAMPING, LEAST_DAMPING, MOST_DAMPING = 0.01, 1e-250, 1e250
# With less energy than this every class is told right.
PARTED = float(np.log(2.0))
# A step is kept if at least this share of the promised gain came true; so many are tried, ever shorter.
LEAST_GAIN, TRIES = 1e-4, 5
FIRST_GROWTH, MOST_GROWTH = 2.0, 1e9
# What the errors' variance of a regression is taken for at first, as shares of the start's misfit, in a cycle
# each; and the decay of biases, as a share of that of weights, where the evidence is weighed.
FIRST_SPREADS, OF_BIASES = (1.0, 0.1, 0.01), 1e-6
# So many weights are always determined, and so large a share of the rows is left to tell the errors.
LEAST_DETERMINED, LEAST_LEFT = 0.01, 0.1
# Bytes: the largest work array that glibc's allocator can be made to keep for the next step.
MOST_KEPT = 31 << 20


Regularise = Literal["evidence"]


@dataclass(frozen=True, kw_only=True, repr=False)
class Implicit:
    """Sheaf training in implicit steps, which relax stalks and weights together: no learning rate.

    It trains best, in networks of up to a few thousand weights or samples.

    Parameters
    ----------
    steps
        How many steps to take, 60 a cycle.
    kappa
        How far inner edges give way: 0 makes them rigid, 1 is the energy of heat.
    weight_decay
        Half its product with the squared norm of all weights (not biases) is added to the loss.
    regularise
        "evidence" chooses the weight decay before each cycle, from the training data alone.
    stop_when
        Conditions to end early. A loss of exactly 0 ends the training, too.

    Examples
    --------
    >>> import numpy as np, sheafcli as sc
    >>> X = np.random.default_rng(0).uniform(-2, 2, size=(50, 2))
    >>> fit = sc.train(sc.Network.he([2, 8, 1]), X, (X**2).sum(axis=1), sc.Implicit(steps=60))
    >>> fit.history[-1].train_loss < 0.1
    True
    """

    __repr__ = brief

    steps: int = DEFAULT_STEPS
    kappa: float = 0.0
    weight_decay: float = 0.0
    regularise: Regularise | None = None
    stop_when: StopWhen = field(default_factory=StopWhen)

    def __post_init__(self) -> None:
        if not isinstance(self.steps, int) or isinstance(self.steps, bool) or self.steps < 1:
            raise ValueError(f"steps must be a whole number above 0, got {self.steps!r}")
        for name in ("kappa", "weight_decay"):
            value = getattr(self, name)
            if not 0.0 <= value < np.inf:
                raise ValueError(f"{name} must be at least 0 and finite, got {value!r}")
        if self.regularise not in (None, *get_args(Regularise)):
            raise ValueError(f"regularise must be evidence or None, got {self.regularise!r}")
        if self.regularise is not None and self.weight_decay > 0.0:
            raise ValueError("regularise: evidence chooses the weight decay; give one of the two")

    def start(self, network: AnyNetwork, X: Array, y: Array, seed: Seed = 0) -> ImplicitSession:
        """Begin a session, in which nothing is drawn."""
        return ImplicitSession(self, network, X, y)


class ImplicitSession:
    """Implicit steps under way; see `sheafcli.core.training.protocol.Session`.

    `network`, `energy` and `discord` speak of the best network so far.
    """

    def __init__(self, method: Implicit, network: AnyNetwork, X: Array, y: Array):
        self.method = method
        self.step = 0
        self._X = as_inputs(network, X).astype(np.float64, copy=False)
        self._y = as_targets(network, y, len(X))
        self._model: Model = (
            ChainModel(network, self._X) if isinstance(network, Network) else GraphModel(network, self._X)
        )
        self._output = network.output
        # The penalty in units of the summed potential, as the energy is.
        summed = len(X) / network.output.loss_scale(network.n_outputs)
        self._decay = method.weight_decay * summed * self._model.weighs
        self._start, self._best = self._model.flat.copy(), self._model.flat.copy()
        chosen = method.weight_decay > 0.0 or method.regularise is not None
        falls = self._output.classifies and not chosen
        with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
            self._path = Path.of(self._model, self._output, self._y) if falls else None
        # The decay that the evidence chooses at the best weights.
        self._best_decay, self._least = 0.0, np.inf
        if method.regularise is not None:
            self._begin_trial(0)
        # The forward pass with the kinks as they are, where it is at hand.
        self._hard: Passed | None = None
        self._damping, self._growth = 0.0, FIRST_GROWTH
        self._seconds, self._stopped = 0.0, False
        # Memory that is freed at the end of a step goes back to the system, from which the next has to fetch
        # it page by page, unless a larger piece was freed before (glibc: mallopt, M_MMAP_THRESHOLD).
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
                if self.method.regularise is not None and self.step % CYCLE == CYCLE - 1:
                    self._weigh_evidence()
            self.step += 1
            self._seconds = time.perf_counter() - started
            self._stopped |= limit is not None and self._seconds >= limit
            if progress is not None and (self.step % CYCLE == 0 or self._seconds - told > TELL_SECONDS):
                progress(self.step, self.share_done)
                told = self._seconds
        goal = self.method.stop_when.train_loss
        if goal is not None:
            network = self.network()
            self._stopped |= network.output.loss(network.logits(self._X), self._y) <= goal
        if progress is not None:
            progress(self.step, self.share_done)

    def network(self) -> AnyNetwork:
        """Return the best network so far."""
        with self._at_best() as model:
            return model.network()

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
            "parameters": self._model.flat.copy(),
            "best": self._best.copy(),
            "figures": np.array([self._damping, self._growth, self._least]),
            "decay": np.array([np.max(self._decay), self._best_decay]),
        }

    def restore(self, state: dict[str, Array]) -> None:
        """Take over a state of `state`; ValueError where it is that of other data or another network."""
        step, stopped, samples = state["clock"]
        shapes = {state[name].shape for name in ("parameters", "best")}
        if samples != len(self._y) or shapes != {self._best.shape}:
            raise ValueError(f"the state is not of {len(self._y)} samples and {self._best.size} weights")
        self._damping, self._growth, self._least = (float(value) for value in state["figures"])
        decay, self._best_decay = (float(value) for value in state["decay"])
        self._decay = decay * self._model.weighs
        self._model.flat[:], self._best[:], self._hard = state["parameters"], state["best"], None
        self.step, self._stopped, self._seconds = int(step), bool(stopped), float(state["seconds"])

    def _take_step(self) -> None:
        """Take a step, or none where all that were tried would raise the energy."""
        place, model = self.step % CYCLE, self._model
        if place == 0:
            if self.method.regularise is not None and self.step > 0:
                self._begin_trial(self.step // CYCLE)
            model.prepare()
            self._damping, self._growth, self._hard = 0.0, FIRST_GROWTH, None
        # Where numbers overflow, the energy is not finite, and the step is not taken.
        here, share = self._hard or model.forward(), softness(place)
        soft = [share * size for size in here.sizes]
        if share > 0.0 and soft:
            here = model.forward(soft)
        kappa = self.method.kappa
        envelope = Envelope(self._output, self._y, kappa * model.resistance(here) if kappa else None)
        decay: Array = self._decay
        centre: Array | float = 0.0
        if self._path is not None:
            decay, centre = self._path.decay(self.step), self._path.centre

        def energy_of(f: Array) -> float:
            return envelope.value(f) + self._penalty(decay, centre)

        problem = model.problem(here, *envelope.root(here.f), model.flat - centre, decay)
        if self._damping == 0.0:
            self._damping = self._within(FIRST_DAMPING * problem.largest())
        energy, before = energy_of(here.f), model.flat.copy()
        for _ in range(TRIES):
            dw = problem.solution(self._damping)
            gain = -np.inf
            if dw is not None:
                np.add(before, dw, out=model.flat)
                there = energy_of(model.forward(soft).f)
                promised = 0.5 * float(dw @ problem.slope + self._damping * (dw @ dw))
                gain = (energy - there) / promised if promised > 0.0 else gain
            if gain > LEAST_GAIN:
                shorter = 1.0 - (2.0 * min(gain, 1.0) - 1.0) ** 3
                self._damping = self._within(self._damping * max(1.0 / 3.0, shorter))
                self._growth = FIRST_GROWTH
                if self._path is not None and self.step >= CYCLE and share == 0.0 and energy < PARTED:
                    self._go_on(before, there, energy_of)
                return
            model.flat[:] = before
            self._damping = self._within(self._damping * self._growth)
            self._growth = min(2.0 * self._growth, MOST_GROWTH)

    def _go_on(self, start: Array, energy: float, energy_of: Callable[[Array], float]) -> None:
        """Go on along a step that was taken, twice as far each time, as long as the energy falls."""
        model = self._model
        dw = model.flat - start
        for _ in range(TRIES):
            before = model.flat.copy()
            model.flat += dw
            there = energy_of(model.forward().f)
            if not there < energy:
                model.flat[:] = before
                return
            dw, energy = 2.0 * dw, there

    @staticmethod
    def _within(damping: float) -> float:
        return min(max(damping, LEAST_DAMPING), MOST_DAMPING) if np.isfinite(damping) else MOST_DAMPING

    def _look(self) -> None:
        """Keep the weights if they are the best with the kinks as they are."""
        here = self._hard = self._model.forward()
        value = float(np.sum(self._output.potential(here.f, self._y))) + self._penalty(self._decay)
        # From the end of the first cycle on, the evidence decides where it is asked for.
        if value < self._least and (self.method.regularise is None or self.step < CYCLE):
            self._least = value
            self._best[:] = self._model.flat
            self._stopped |= value == 0.0

    def _begin_trial(self, trial: int) -> None:
        """Begin at the start again with another s^2, or go on, after the last, from the most evident end."""
        spreads = (1.0,) if self._output.classifies else FIRST_SPREADS
        if trial < len(spreads):
            self._model.flat[:] = self._start
            weights = float(np.sum(self._model.weighs))
            self._believe(spreads[trial] * self._spread(self._model.forward().f, weights), weights)
        elif trial == len(spreads):
            self._model.flat[:] = self._best
            self._decay = self._best_decay * self._model.weighs

    def _weigh_evidence(self) -> None:
        """Choose the weight decay anew, and keep the weights if with that their evidence is the largest."""
        model, here = self._model, self._hard or self._model.forward()
        envelope = Envelope(self._output, self._y)
        problem = model.problem(here, *envelope.root(here.f), model.flat, self._decay)
        determined = problem.determined(OF_BIASES * float(np.max(self._decay)))
        spread = self._spread(here.f, determined)
        self._believe(spread, determined)
        decay = float(np.max(self._decay))
        energy = float(np.sum(self._output.potential(here.f, self._y))) + self._penalty(self._decay)
        improbability = energy / spread + 0.5 * problem.log_determinant(decay)
        if not self._output.classifies:
            improbability += 0.5 * here.f.size * np.log(spread)
        # What overflows, to NaN even, is least evident.
        improbability = improbability if np.isfinite(improbability) else float(np.finfo(np.float64).max)
        if improbability < self._least or self.step < CYCLE:
            self._least, self._best_decay = improbability, decay
            self._best[:] = model.flat

    def _spread(self, f: Array, determined: float) -> float:
        """Return s^2 if so many weights are determined: at least what the targets' rounding is."""
        if self._output.classifies:
            return 1.0
        potential = float(np.sum(self._output.potential(f, self._y)))
        rounding = np.finfo(np.float64).eps ** 2 * float(np.mean(self._y**2))
        spread = 2.0 * potential / max(f.size - determined, LEAST_LEFT * f.size)
        return max(spread, rounding, LEAST_DAMPING)

    def _believe(self, spread: float, determined: float) -> None:
        """Take the decay that follows, unless it is none."""
        weights = self._model.weighs * self._model.flat
        decay = spread * max(determined, LEAST_DETERMINED) / max(float(weights @ weights), LEAST_DAMPING)
        if np.isfinite(decay) and decay > 0.0:
            self._decay = decay * self._model.weighs

    def _penalty(self, decay: Array, centre: Array | float = 0.0) -> float:
        return 0.5 * float(np.sum(decay * (self._model.flat - centre) ** 2))

    @contextmanager
    def _at_best(self) -> Iterator[Model]:
        """Have the best weights in the model for a while."""
        now = self._model.flat.copy()
        self._model.flat[:] = self._best
        try:
            yield self._model
        finally:
            self._model.flat[:] = now

    def _evaluated(self) -> Rule:
        """Return the rule with that equilibrium: stiffness 1 against 1 / kappa is as kappa against 1."""
        with self._at_best() as model:
            return model.evaluated(self._y, self.method.kappa)
