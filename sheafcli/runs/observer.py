"""What a run tells whoever watches it."""

from __future__ import annotations

from typing import Protocol

from sheafcli.core.training.fit import Record


class Observer(Protocol):
    """Receives the course of a run: phases in turn ("training", then perhaps "baseline")."""

    def phase_started(self, phase: str, step: int, total: int | None) -> None:
        """Note that a phase begins, or goes on, at a step; `total` steps if their number is known."""

    def progressed(self, step: int, share_done: float) -> None:
        """Note how far the phase is: its step, and the share of the whole from 0 to 1."""

    def recorded(self, record: Record) -> None:
        """Note an evaluation of the phase."""

    def phase_ended(self) -> None:
        """Note that the phase is over, whether it finished, diverged or was interrupted."""


class Silent:
    """An observer that looks away."""

    def phase_started(self, phase: str, step: int, total: int | None) -> None:
        """Ignore."""

    def progressed(self, step: int, share_done: float) -> None:
        """Ignore."""

    def recorded(self, record: Record) -> None:
        """Ignore."""

    def phase_ended(self) -> None:
        """Ignore."""
