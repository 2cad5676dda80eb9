"""Running a session to its end with a record at every so many steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sheafcli.core.edge import Edge
from sheafcli.core.network import AnyNetwork, as_inputs, as_targets
from sheafcli.core.training.protocol import Method, Progress, Session
from sheafcli.core.types import Array, Seed


@dataclass(frozen=True)
class Data:
    """Training data and, if there are any, test data: X is samples x n_0, y samples x n_{k+1}."""

    X: Array
    y: Array
    X_test: Array | None = None
    y_test: Array | None = None


@dataclass(frozen=True)
class Record:
    """What is known of a training at one step; losses as `Output.loss`, accuracies for classes only.

    `time` is the integration time of a flow, the number of epochs of a descent.
    """

    step: int
    time: float
    train_loss: float
    test_loss: float | None
    energy: float
    train_accuracy: float | None
    test_accuracy: float | None


def record(session: Session, data: Data) -> Record:
    """Evaluate a session as it stands."""
    network = session.network()
    z = network.logits(data.X)
    loss, accuracy = network.output.loss(z, data.y), network.output.accuracy(z, data.y)
    test_loss = test_accuracy = None
    if data.X_test is not None and data.y_test is not None and len(data.X_test) > 0:
        z = network.logits(data.X_test)
        test_loss = network.output.loss(z, data.y_test)
        test_accuracy = network.output.accuracy(z, data.y_test)
    return Record(session.step, session.time, loss, test_loss, session.energy(), accuracy, test_accuracy)


def records(
    session: Session, data: Data, log_every: int, progress: Progress | None = None
) -> Iterator[Record]:
    """Advance a session to its end, yielding a record at the start of a fresh one and every log_every."""
    if session.step == 0:
        yield record(session, data)
    while not session.finished:
        session.advance(log_every - session.step % log_every, progress)
        yield record(session, data)


@dataclass(frozen=True, eq=False, repr=False)
class Fit:
    """A finished training.

    Attributes
    ----------
    network
        The trained network.
    history
        A record every so many steps, the first before training: step, time, losses, energy, accuracies.
    discord
        The training discord of every edge at the end.
    """

    network: AnyNetwork
    history: tuple[Record, ...]
    discord: dict[Edge, float]

    def __repr__(self) -> str:
        last = self.history[-1]
        test = "" if last.test_loss is None else f", test loss {last.test_loss:.4g}"
        return f"Fit(step {last.step:,}: train loss {last.train_loss:.4g}{test}; {self.network!r})"


def train(
    network: AnyNetwork,
    X: Array,
    y: Array,
    method: Method,
    *,
    X_test: Array | None = None,
    y_test: Array | None = None,
    seed: Seed = 0,
    log_every: int = 1000,
) -> Fit:
    """Train a network by a method, such as Heat(steps=100_000), and return what came of it."""
    if log_every < 1:
        raise ValueError(f"log_every must be at least 1, got {log_every}")
    X = as_inputs(network, X)
    y = as_targets(network, y, len(X))
    if X_test is not None and y_test is not None:
        X_test = as_inputs(network, X_test)
        y_test = as_targets(network, y_test, len(X_test))
    session = method.start(network, X, y, seed)
    history = tuple(records(session, Data(X, y, X_test, y_test), log_every))
    return Fit(session.network(), history, session.discord())
