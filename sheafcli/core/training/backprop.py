"""Full-batch back-propagation: the baseline that sheaf training is compared with.

The loss is the mean squared error over samples and outputs, or the mean cross-entropy. With
e = c (phi(z_{k+1}) - y), c = 2 / (n n_{k+1}) for the identity and 1 / n otherwise, the chain rule gives

    dW_l = e_l^T a_{l-1},  db_l = sum of e_l,  e_{k+1} = e,  e_l = (e_{l+1} W_{l+1}) 1[z_l >= 0].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sheafcli.core.cochain import Cochain
from sheafcli.core.discord import Edge, training_discord, training_energy
from sheafcli.core.network import Network, Seed, as_inputs, as_targets
from sheafcli.core.outputs import Array
from sheafcli.core.sheaf import pattern_of
from sheafcli.core.training.optimizers import Optimizer
from sheafcli.core.training.protocol import Diverged, Progress

LOOK_EVERY = 100


def gradient(network: Network, X: Array, y: Array) -> list[tuple[Array, Array]]:
    """Return (dLoss/dW_l, dLoss/db_l) for l = 1..k+1."""
    return _gradient(list(network.weights), list(network.biases), network, X, y)


def _gradient(
    weights: list[Array], biases: list[Array], network: Network, X: Array, y: Array
) -> list[tuple[Array, Array]]:
    inputs, stalks = [X], []
    for W, b in zip(weights, biases, strict=True):
        stalks.append(inputs[-1] @ W.T + b)
        inputs.append(np.maximum(stalks[-1], 0.0))
    scale = 1.0 / len(X) if network.output.classifies else 2.0 / y.size
    error = scale * (network.output.value(stalks[-1]) - y)
    found = []
    for layer in range(len(weights), 0, -1):
        found.append((error.T @ inputs[layer - 1], error.sum(axis=0)))
        if layer > 1:
            error = (error @ weights[layer - 1]) * pattern_of(stalks[layer - 2])
    return found[::-1]


@dataclass(frozen=True)
class Backprop:
    """Full-batch gradient descent on the loss for `epochs` epochs by an optimizer."""

    epochs: int
    optimizer: Optimizer

    def start(self, network: Network, X: Array, y: Array, seed: Seed = 0) -> BackpropSession:
        """Begin a session; nothing is drawn, so `seed` has no effect."""
        X = as_inputs(network, X)
        return BackpropSession(self, network, X, as_targets(network, y, len(X)))


class BackpropSession:
    """Back-propagation under way; see `sheafcli.core.training.protocol.Session`."""

    def __init__(self, method: Backprop, network: Network, X: Array, y: Array):
        self.method = method
        self.step, self.time = 0, 0.0
        self._template, self._X, self._y = network, X, y
        self._weights = [W.copy() for W in network.weights]
        self._biases = [b.copy() for b in network.biases]
        self._memory = [[np.zeros_like(w) for _ in range(method.optimizer.slots)] for w in self._parameters()]

    @property
    def finished(self) -> bool:
        """Whether all epochs are done."""
        return self.step >= self.method.epochs

    @property
    def share_done(self) -> float:
        """Epochs done, as a share of all."""
        return self.step / self.method.epochs

    def advance(self, steps: int, progress: Progress | None = None) -> None:
        """Take up to `steps` epochs; raise Diverged where the error is no longer finite."""
        end = min(self.step + steps, self.method.epochs)
        before = self.state()
        with np.errstate(over="ignore", invalid="ignore"):
            while self.step < end:
                if not self._epoch():
                    step = self.step
                    self.restore(before)
                    last = Edge(self._template.depth + 1, "output")
                    raise Diverged(step, last, "choose a smaller learning_rate")
                if progress is not None and (self.step % LOOK_EVERY == 0 or self.step == end):
                    progress(self.step, self.share_done)

    def network(self) -> Network:
        """Return the network as it is now."""
        return Network(tuple(self._weights), tuple(self._biases), self._template.output)

    def energy(self) -> float:
        """Return the output's mean potential: the forward pass has no other energy."""
        return training_energy(*self._forward())

    def discord(self) -> dict[Edge, float]:
        """Return the training discord of the forward pass: the output edge carries all of it."""
        return training_discord(*self._forward())

    def state(self) -> dict[str, Array]:
        """Return weights, optimizer memory, and the epoch."""
        arrays = {"clock": np.array([float(self.step)])}
        for i, (w, memory) in enumerate(zip(self._parameters(), self._memory, strict=True)):
            arrays[f"parameter{i}"] = w.copy()
            arrays |= {f"memory{i}_{j}": m.copy() for j, m in enumerate(memory)}
        return arrays

    def restore(self, state: dict[str, Array]) -> None:
        """Take over a state of `state`."""
        self.step = int(state["clock"][0])
        self.time = float(self.step)
        for i, (w, memory) in enumerate(zip(self._parameters(), self._memory, strict=True)):
            np.copyto(w, state[f"parameter{i}"])
            for j, m in enumerate(memory):
                np.copyto(m, state[f"memory{i}_{j}"])

    def _forward(self) -> tuple[Network, Array, Array, Cochain]:
        network = self.network()
        return network, self._X, self._y, Cochain.forward(network, self._X)

    def _parameters(self) -> list[Array]:
        return [*self._weights, *self._biases]

    def _epoch(self) -> bool:
        """Take one update; False if the error was no longer finite, and so no weight is from now on."""
        found = _gradient(self._weights, self._biases, self._template, self._X, self._y)
        gradients = [dW for dW, _ in found] + [db for _, db in found]
        self.step += 1
        self.time = float(self.step)
        for w, g, memory in zip(self._parameters(), gradients, self._memory, strict=True):
            self.method.optimizer.update(w, g, memory, self.step)
        return bool(np.isfinite(gradients[-1]).all())
