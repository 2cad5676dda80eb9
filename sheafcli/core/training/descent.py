"""Descent along gradients: what back-propagation and equilibrium training have in common.

A `Rule` turns a batch into a gradient; options and session here do the rest: batches, the optimizer and its
schedule, when to stop, and the state from which a run goes on bit for bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import DTypeLike, NDArray

from sheafcli.core.brief import brief
from sheafcli.core.chain.network import Network
from sheafcli.core.chain.training import layers as chain
from sheafcli.core.edge import Edge, output_edge
from sheafcli.core.network import AnyNetwork, as_inputs, as_targets
from sheafcli.core.training.graph.parameters import GraphParameters
from sheafcli.core.training.optimizers import Adam, Optimizer, as_optimizer
from sheafcli.core.training.protocol import Diverged, Progress
from sheafcli.core.types import Array, Seed

# Every so many steps, or as soon as so much time has passed, a watcher is told how far the whole is.
LOOK_EVERY = 100
TELL_SECONDS = 0.2
DEFAULT_EPOCHS = 10_000
# A loss beyond this, on one batch, is as good as infinite: on the next it may well be.
LARGEST_LOSS = 1e100

Schedule = Literal["constant", "linear", "cosine"]
Precision = Literal["auto", "double", "single"]

# What is left of the learning rate when a share t of all steps is done.
SCHEDULES: dict[Schedule, Callable[[float], float]] = {
    "constant": lambda t: 1.0,
    "linear": lambda t: 1.0 - t,
    "cosine": lambda t: 0.5 + 0.5 * float(np.cos(np.pi * t)),
}
PRECISIONS: dict[Precision, type[np.floating[Any]]] = {"double": np.float64, "single": np.float32}


@dataclass(frozen=True, kw_only=True, repr=False)
class StopWhen:
    """End early: at a record whose loss on all training data is `train_loss` or less, or after `seconds`.

    Seconds are those spent in steps; records and files are not counted. With `patience`, whoever records
    (`sheafcli.core.training.fit`) ends after so many records without a lower loss on validation data.

    Examples
    --------
    >>> import sheafcli as sc
    >>> sc.Equilibrium(epochs=1000, stop_when=sc.StopWhen(seconds=10))
    Equilibrium(epochs=1000, stop_when=StopWhen(seconds=10))
    """

    __repr__ = brief

    train_loss: float | None = None
    seconds: float | None = None
    patience: int | None = None

    def __post_init__(self) -> None:
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"stop_when.patience must be at least 1, got {self.patience!r}")
        for name in ("train_loss", "seconds"):
            value = getattr(self, name)
            if value is not None and not 0.0 < value < np.inf:
                raise ValueError(f"stop_when.{name} must be above 0 and finite, got {value!r}")


@dataclass(frozen=True, kw_only=True, repr=False)
class Descent:
    """Options of every method that descends a gradient.

    Parameters
    ----------
    optimizer
        The update rule, an object that holds its learning rate, such as Adam(0.01), or its name.
    epochs, steps
        When to end: after so many passes over the data or so many updates; at most one of the two, and
        10,000 epochs where neither is given. Without batches an epoch is one step.
    schedule
        What becomes of the learning rate on the way to the end: "constant", "linear" to zero, or "cosine".
    batch_size
        Samples an update reads, drawn without replacement epoch by epoch; None reads all.
    weight_decay
        Weights (not biases) shrink by this factor of the learning rate at each step, apart from the
        gradient (Loshchilov & Hutter 2019).
    stop_when
        Conditions to end early.
    precision
        "double", or "single" to work in 32 bits: half the memory and about half the time in wide networks
        and in convolutional ones. "auto" is double for plain chains, single for all other networks.
    """

    __repr__ = brief

    optimizer: Optimizer = field(default_factory=Adam)
    epochs: int | None = None
    steps: int | None = None
    schedule: Schedule = "constant"
    batch_size: int | None = None
    weight_decay: float = 0.0
    stop_when: StopWhen = StopWhen()
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        object.__setattr__(self, "optimizer", as_optimizer(self.optimizer))
        if self.epochs is not None and self.steps is not None:
            raise ValueError("training ends after `epochs` or after `steps`: give at most one")
        for name in ("epochs", "steps", "batch_size"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise ValueError(f"{name} must be a whole number above 0, got {value!r}")
        for name, known in (("schedule", Schedule), ("precision", Precision)):
            if getattr(self, name) not in get_args(known):
                raise ValueError(
                    f"{name} must be one of {', '.join(get_args(known))}, got {getattr(self, name)!r}"
                )
        if not 0.0 <= self.weight_decay < np.inf:
            raise ValueError(f"weight_decay must be at least 0 and finite, got {self.weight_decay!r}")
        if self.weight_decay * self.optimizer.learning_rate >= 1.0:
            raise ValueError(
                f"weight_decay must be below 1 / learning_rate = {1.0 / self.optimizer.learning_rate:g}, "
                f"got {self.weight_decay!r}: a step would turn the weights' signs"
            )

    def dtype(self, network: AnyNetwork) -> type[np.floating[Any]]:
        """Return the precision in which it works on a network."""
        if self.precision == "auto":
            return np.float64 if isinstance(network, Network) else np.float32
        return PRECISIONS[self.precision]

    def steps_per_epoch(self, n_samples: int) -> int:
        """Return how many updates go through so many samples once; the last batch may be a short one."""
        size = n_samples if self.batch_size is None else self.batch_size
        if size > n_samples:
            raise ValueError(f"batch_size must be at most the {n_samples} training samples, got {size}")
        return -(-n_samples // size)

    def total_steps(self, n_samples: int) -> int:
        """Return how many updates the whole training takes."""
        return self.steps or (self.epochs or DEFAULT_EPOCHS) * self.steps_per_epoch(n_samples)


class Batch(Protocol):
    """Room for the samples that an update reads; `size` says for how many."""

    size: int

    def load(self, X: Array, y: Array) -> None:
        """Take samples x input shape and samples x outputs."""


class Parameters(Protocol):
    """All parameters of a network in one array, `flat`, and the `gradient` in them, packed likewise.

    `W` are views of the weights, which may decay; `G` are the parts of the gradient in topological order.
    """

    flat: Array
    gradient: Array
    W: list[Array]
    G: list[Array]

    def batch(self, size: int) -> Batch:
        """Return room for so many samples."""

    def network(self) -> AnyNetwork:
        """Return the network as it is now."""


class Rule(Protocol):
    """How a batch becomes a gradient. `loss`, `energy` and `discord` speak of the batch evaluated last.

    Parameters and batch are those of the networks that it is for. `sound` says whether its gradient may be
    trusted.
    """

    sound: bool

    def evaluate(self, parameters: Any, batch: Any, guess: Array | None) -> Array | None:
        """Write the gradient of the reported loss, or what stands for it, into `parameters`.

        Returns what helps the next evaluation of the same batch as its `guess`, or None.
        """

    def loss(self) -> float:
        """Return the reported loss of the forward pass."""

    def energy(self) -> float:
        """Return the energy that is descended, a mean per sample."""

    def discord(self) -> dict[Edge, float]:
        """Return the training discord of every edge."""


class DescentSession:
    """A descent under way; see `sheafcli.core.training.protocol.Session`.

    `time` counts epochs. `energy` and `discord` are those of the coming step's batch, whose gradient is
    then at hand for that step: they cost nothing.
    """

    def __init__(self, method: Descent, rule: Rule, network: AnyNetwork, X: Array, y: Array, seed: Seed):
        self.method = method
        self.step = 0
        self._X = as_inputs(network, X)
        self._y = as_targets(network, y, len(self._X))
        n = len(self._X)
        self._steps_per_epoch, self._total = method.steps_per_epoch(n), method.total_steps(n)
        self._rule = rule
        self._parameters = _packed(network, method.dtype(network))
        self._output_edge = output_edge(max(edge.layer for edge in network.edges))
        self._memory = [np.zeros_like(self._parameters.flat) for _ in range(method.optimizer.slots)]
        self._size = n if method.batch_size is None else method.batch_size
        # The last batch of an epoch may be a short one.
        sizes = {self._size, n - (self._steps_per_epoch - 1) * self._size}
        self._batches = {size: self._parameters.batch(size) for size in sizes}
        self._entropy = np.random.default_rng(seed).integers(0, 2**63, size=4).tolist()
        self._order: tuple[int, NDArray[np.int64]] | None = None
        if method.batch_size is None:
            with np.errstate(over="ignore"):  # single precision may not hold them: see `overflows`
                self._batches[n].load(self._X, self._y)
        self._seconds, self._stopped = 0.0, False
        self._guess: Array | None = None
        self._next_guess: Array | None = None
        self._evaluated = False
        self._look_at_goal()

    @property
    def time(self) -> float:
        """Epochs done."""
        return self.step / self._steps_per_epoch

    @property
    def finished(self) -> bool:
        """Whether all steps are done, or a condition to stop has come true."""
        return self._stopped or self.step >= self._total

    @property
    def ending(self) -> None:
        """Nothing that a user would wonder at."""

    @property
    def share_done(self) -> float:
        """Steps done as a share of all, or seconds of those allowed."""
        if self.finished:
            return 1.0
        limit = self.method.stop_when.seconds
        return max(self.step / self._total, self._seconds / limit if limit else 0.0)

    def advance(self, steps: int, progress: Progress | None = None) -> None:
        """Take up to `steps` steps; raise Diverged where loss or gradient are no longer finite."""
        before = self.state()
        end, limit = min(self.step + steps, self._total), self.method.stop_when.seconds
        started = time.perf_counter() - self._seconds
        told = self._seconds
        with np.errstate(over="ignore", invalid="ignore"):
            while self.step < end and not self._stopped:
                self._evaluate()
                if not self._is_sound():
                    self._give_up(before)
                self._update()
                self._seconds = time.perf_counter() - started
                self._stopped = limit is not None and self._seconds >= limit
                due = self.step % LOOK_EVERY == 0 or self._seconds - told > TELL_SECONDS
                if progress is not None and due:
                    progress(self.step, self.share_done)
                    told = self._seconds
            self._evaluate()
            # A NaN is not sound either.
            if not (self._is_sound() and self._rule.loss() <= LARGEST_LOSS):
                self._give_up(before)
        self._look_at_goal()
        if progress is not None and (self._stopped or self.step % LOOK_EVERY > 0):
            progress(self.step, self.share_done)

    def network(self) -> AnyNetwork:
        """Return the network as it is now."""
        return self._parameters.network()

    def energy(self) -> float:
        """Return the energy that the method descends, on the coming step's batch."""
        return self._evaluated_rule().energy()

    def discord(self) -> dict[Edge, float]:
        """Return the training discord, on the coming step's batch."""
        return self._evaluated_rule().discord()

    def overflows(self) -> bool:
        """Say whether energy, discord or a square of the coming step's gradient leaves the precision."""
        with np.errstate(over="ignore", invalid="ignore"):
            figures = [self.energy(), *self.discord().values(), float(np.max(self._parameters.gradient**2))]
        return not np.isfinite(figures).all()

    def state(self) -> dict[str, Array]:
        """Return parameters, optimizer memory, the clock, and the guess the coming step starts from."""
        arrays = {
            "clock": np.array([self.step, self._stopped, len(self._X)]),
            "seconds": np.array(self._seconds),
            "parameters": self._parameters.flat.copy(),
        }
        arrays |= {f"memory{j}": memory.copy() for j, memory in enumerate(self._memory)}
        return arrays if self._guess is None else arrays | {"guess": self._guess.copy()}

    def restore(self, state: dict[str, Array]) -> None:
        """Take over a state of `state`; ValueError where it is that of other data or another network."""
        step, stopped, samples = state["clock"]
        arrays = {"parameters": self._parameters.flat}
        arrays |= {f"memory{j}": memory for j, memory in enumerate(self._memory)}
        if samples != len(self._X) or any(state[name].shape != arrays[name].shape for name in arrays):
            raise ValueError(
                f"the state is not of {len(self._X)} samples and {self._parameters.flat.size} weights"
            )
        self.step, self._stopped, self._seconds = int(step), bool(stopped), float(state["seconds"])
        for name, array in arrays.items():
            np.copyto(array, state[name])
        self._guess = state.get("guess")
        self._evaluated = False

    def _evaluate(self) -> None:
        """Have the gradient of the coming step's batch at hand."""
        if self._evaluated:
            return
        batch = self._coming_batch()
        guess = self._rule.evaluate(self._parameters, batch, self._guess)
        # Only a full batch comes again at the next step.
        self._next_guess = guess if self.method.batch_size is None else None
        self._evaluated = True

    def _evaluated_rule(self) -> Rule:
        """Return the rule with the gradient of the coming step's batch at hand."""
        with np.errstate(over="ignore", invalid="ignore"):  # `overflows` looks at it
            self._evaluate()
        return self._rule

    def _update(self) -> None:
        """Take the step whose gradient is at hand."""
        method, parameters = self.method, self._parameters
        rate = method.optimizer.learning_rate * SCHEDULES[method.schedule](self.step / self._total)
        if method.weight_decay > 0.0:
            for W in parameters.W:
                np.multiply(W, 1.0 - rate * method.weight_decay, out=W)
        self.step += 1
        method.optimizer.update(parameters.flat, parameters.gradient, self._memory, self.step, rate)
        self._guess = self._next_guess
        self._evaluated = False

    def _coming_batch(self) -> Batch:
        if self.method.batch_size is None:
            return self._batches[self._size]
        epoch, index = divmod(self.step, self._steps_per_epoch)
        # Each epoch's order has a seed of its own, so that a resumed run need not replay the earlier.
        if self._order is None or self._order[0] != epoch:
            rng = np.random.default_rng(np.random.SeedSequence([*self._entropy, epoch]))
            self._order = epoch, rng.permutation(len(self._X))
        rows = self._order[1][index * self._size : (index + 1) * self._size]
        batch = self._batches[len(rows)]
        batch.load(self._X[rows], self._y[rows])
        return batch

    def _look_at_goal(self) -> None:
        """Stop where the loss on all training data is low enough."""
        goal = self.method.stop_when.train_loss
        if goal is not None:
            network = self.network()
            self._stopped |= network.output.loss(network.logits(self._X), self._y) <= goal

    def _is_sound(self) -> bool:
        return self._rule.sound and bool(np.isfinite(self._parameters.G[-1]).all())

    def _give_up(self, before: dict[str, Array]) -> None:
        step = self.step
        self.restore(before)
        raise Diverged(step, self._output_edge, "choose a smaller learning_rate")


def _packed(network: AnyNetwork, dtype: DTypeLike) -> Parameters:
    if isinstance(network, Network):
        return chain.Parameters(network, dtype)
    return GraphParameters(network, dtype)
