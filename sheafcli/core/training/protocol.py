"""What a training method is: frozen options that start a session, and a session that advances."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from sheafcli.core.edge import Edge
from sheafcli.core.network import AnyNetwork
from sheafcli.core.types import Array, Seed

Progress = Callable[[int, float], None]

MOST_STEPS = 10**12
"""More steps than this are not begun: at a microsecond each, less than the smallest network takes, that is
eleven days."""


class Diverged(ArithmeticError):
    """A training left the region where its step size is stable.

    `step` is the step whose result was no longer sound, `edge` the edge with the largest discord
    there, `advice` what to change.
    """

    def __init__(self, step: int, edge: Edge, advice: str):
        self.step, self.edge, self.advice = step, edge, advice
        super().__init__(f"diverged at step {step}, worst at edge {edge.name}; {advice}")


class Session(Protocol):
    """A training under way.

    `advance` is called with chunks of steps; between two calls the session is wholly described by
    `state`, and a session restored from that state goes on bit for bit as this one would. That is
    what makes a killed run resumable, and why whatever a method caches must be made anew from its
    state at the start of `advance`.
    """

    @property
    def step(self) -> int:
        """How many steps are done."""

    @property
    def time(self) -> float:
        """The integration time of a flow, the number of epochs of a descent."""

    @property
    def finished(self) -> bool:
        """Whether the method's own end is reached."""

    @property
    def ending(self) -> str | None:
        """What ended it before its last step where a user would wonder, or None."""

    @property
    def share_done(self) -> float:
        """How much of the whole is done, from 0 to 1."""

    def advance(self, steps: int, progress: Progress | None = None) -> None:
        """Take up to `steps` more steps, fewer if the end comes first; raise Diverged.

        `progress` is called every so often with the step and the share of the whole that is done.
        """

    def network(self) -> AnyNetwork:
        """Return the network as it is now."""

    def energy(self) -> float:
        """Return the energy that the method descends, a mean per training sample."""

    def discord(self) -> dict[Edge, float]:
        """Return the training discord of every edge."""

    def state(self) -> dict[str, Array]:
        """Return all that `restore` needs, as arrays by name."""

    def restore(self, state: dict[str, Array]) -> None:
        """Take over a state that a session of the same method, network and data has returned."""


class Method(Protocol):
    """A training method: a frozen dataclass that holds its own options."""

    def start(self, network: AnyNetwork, X: Array, y: Array, seed: Seed = 0) -> Session:
        """Begin a session on the training data; `seed` draws whatever the method draws."""
