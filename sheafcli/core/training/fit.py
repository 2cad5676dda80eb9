"""Running a session to its end with a record at every so many steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sheafcli.core.edge import Edge
from sheafcli.core.network import AnyNetwork, as_inputs, as_targets
from sheafcli.core.training.descent import StopWhen
from sheafcli.core.training.protocol import Method, Progress, Session
from sheafcli.core.types import Array, Seed


@dataclass(frozen=True)
class Data:
    """Training, test and validation data, the latter two if any: X is samples x n_0, y samples x n_{k+1}."""

    X: Array
    y: Array
    X_test: Array | None = None
    y_test: Array | None = None
    X_validation: Array | None = None
    y_validation: Array | None = None


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
    validation_loss: float | None = None


class EarlyStopping:
    """Keeps the network of the least validation loss among records, and waits for a lower one in vain.

    `best` is its record, None before the first; `waited` counts the records since.
    """

    def __init__(self, patience: int, best: Record | None = None, waited: int = 0):
        self.patience, self.best, self.waited = patience, best, waited
        self.network: AnyNetwork | None = None

    @property
    def over(self) -> bool:
        """Whether so many records in a row brought no lower loss."""
        return self.waited >= self.patience

    def look(self, record: Record, session: Session) -> None:
        """Take a record, with validation data, of a session as it stands."""
        assert record.validation_loss is not None
        least = None if self.best is None else self.best.validation_loss
        if least is None or record.validation_loss < least:
            self.best, self.waited, self.network = record, 0, session.network()
        else:
            self.waited += 1


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
    validation_loss = None
    if data.X_validation is not None and data.y_validation is not None:
        validation_loss = network.output.loss(network.logits(data.X_validation), data.y_validation)
    energy = session.energy()
    return Record(
        session.step, session.time, loss, test_loss, energy, accuracy, test_accuracy, validation_loss
    )


def records(
    session: Session,
    data: Data,
    log_every: int,
    progress: Progress | None = None,
    stopping: EarlyStopping | None = None,
) -> Iterator[Record]:
    """Advance a session to its end, yielding a record at the start of a fresh one and every log_every."""

    def look() -> Record:
        made = record(session, data)
        if stopping is not None:
            stopping.look(made, session)
        return made

    if session.step == 0:
        yield look()
    while not session.finished and not (stopping is not None and stopping.over):
        session.advance(log_every - session.step % log_every, progress)
        yield look()


def patience_of(method: Method) -> int | None:
    """Return after how many records without a lower validation loss a method ends, None if it does not."""
    stop_when = getattr(method, "stop_when", None)
    return stop_when.patience if isinstance(stop_when, StopWhen) else None


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
    X_validation: Array | None = None,
    y_validation: Array | None = None,
    seed: Seed = 0,
    log_every: int = 1000,
) -> Fit:
    """Train a network by a method, such as Heat(steps=100_000), and return what came of it.

    With stop_when.patience, the network is the one of the least validation loss among the records.
    """
    if log_every < 1:
        raise ValueError(f"log_every must be at least 1, got {log_every}")
    X = as_inputs(network, X)
    y = as_targets(network, y, len(X))
    if X_test is not None and y_test is not None:
        X_test = as_inputs(network, X_test)
        y_test = as_targets(network, y_test, len(X_test))
    if X_validation is not None and y_validation is not None:
        X_validation = as_inputs(network, X_validation)
        y_validation = as_targets(network, y_validation, len(X_validation))
    patience = patience_of(method)
    if patience is not None and X_validation is None:
        raise ValueError("stop_when.patience looks at validation data: give X_validation and y_validation")
    stopping = None if patience is None else EarlyStopping(patience)
    session = method.start(network, X, y, seed)
    data = Data(X, y, X_test, y_test, X_validation, y_validation)
    history = tuple(records(session, data, log_every, stopping=stopping))
    best = None if stopping is None else stopping.network
    return Fit(best or session.network(), history, session.discord())
