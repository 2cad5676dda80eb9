"""Training as anybody writes it in PyTorch, eager, on one thread and in float64: what ours stands beside."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch

from sheafcli.core.chain.network import Network

torch.set_num_threads(1)

LOSSES = {
    "identity": torch.nn.MSELoss,
    "sigmoid": torch.nn.BCEWithLogitsLoss,
    "softmax": torch.nn.CrossEntropyLoss,
}
OPTIMIZERS = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}


class TorchTraining:
    """Training from the same start as a session of ours, and driven like one.

    `steps` is the length of a cosine schedule, or None for a constant rate and no end; `batch_size` None
    reads all samples at each step. `compiled` has the loss of the model compiled, its gradient with it.
    """

    def __init__(
        self,
        start: Network,
        X: np.ndarray,
        y: np.ndarray,
        optimizer: str,
        rate: float,
        steps: int | None,
        batch_size: int | None = None,
        seed: int = 0,
        *,
        compiled: bool = False,
    ):
        layers: list[torch.nn.Module] = []
        for W, b in zip(start.weights, start.biases, strict=True):
            layer = torch.nn.Linear(W.shape[1], W.shape[0], dtype=torch.float64)
            layer.weight.data, layer.bias.data = torch.tensor(W), torch.tensor(b)
            layers += [layer, torch.nn.ReLU()]
        self.step = 0
        self._rate, self._steps, self._batch_size, self._output = rate, steps, batch_size, start.output
        self._model, self._loss = torch.nn.Sequential(*layers[:-1]), LOSSES[start.output.name]()
        self._X, self._y = torch.tensor(X), torch.tensor(y)
        model, loss = self._model, self._loss

        def loss_of(X: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return loss(model(X), y)

        self._loss_of = torch.compile(loss_of) if compiled else loss_of
        # foreach is the fastest of the implementations on one thread.
        self._rule = OPTIMIZERS[optimizer](self._model.parameters(), lr=rate, foreach=True)
        self._order = torch.Generator().manual_seed(seed)
        self._batches = self._endless_batches()

    @property
    def finished(self) -> bool:
        """Whether the schedule has come to its end."""
        return self._steps is not None and self.step >= self._steps

    def advance(self, steps: int) -> None:
        """Take so many steps, fewer if the schedule ends."""
        end = self.step + steps if self._steps is None else min(self.step + steps, self._steps)
        while self.step < end:
            if self._steps is not None:
                rate = self._rate * (0.5 + 0.5 * math.cos(math.pi * self.step / self._steps))
                self._rule.param_groups[0]["lr"] = rate
            X, y = next(self._batches)
            self._rule.zero_grad()
            self._loss_of(X, y).backward()
            self._rule.step()
            self.step += 1

    def network(self) -> Network:
        """Return the network as it is now."""
        linear = [layer for layer in self._model if isinstance(layer, torch.nn.Linear)]
        return Network(
            tuple(layer.weight.detach().numpy() for layer in linear),
            tuple(layer.bias.detach().numpy() for layer in linear),
            self._output,
        )

    def _endless_batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        while self._batch_size is None:
            yield self._X, self._y
        while True:
            for rows in torch.randperm(len(self._X), generator=self._order).split(self._batch_size):
                yield self._X[rows], self._y[rows]
