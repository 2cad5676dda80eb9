"""What changes in the course of a cycle of implicit steps: how soft kinks are and, in the first, a decay.

Classes that can be told apart have no least loss: weights grow forever, and of the many ways to part them
each path finds another. So in the first cycle of a network for classes a decay towards half of the start w_0,
biases included,

    decay / 2 |w - w_0 / 2|^2,

falls by equal factors to nothing, from the largest entry on the diagonal of J^T J, with which hardly anything
moves. The path is then that of the least change at every loss, and who stops early on it has chosen a decay.
Of the points that weights might decay to, nothing does well where classes overlap, and the start itself where
they are apart; half the start does nearly as well as the better of the two on either.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sheafcli.core.outputs import Output
from sheafcli.core.training.envelope import Envelope
from sheafcli.core.training.model import Model
from sheafcli.core.types import Array

# Steps of a cycle, and how soft kinks are in its first step, in the last that is soft, and how many are soft.
CYCLE, SOFTEST, HARDEST, SOFT_STEPS = 60, 0.5, 0.01, 54
# The share of the start to which weights decay, and the last decay as a share of the first.
KEPT, LAST_DECAY = 0.5, 1e-7


def softness(place: int) -> float:
    """Return how soft kinks are at a place of a cycle, as a share of the root mean square of their input."""
    if place >= SOFT_STEPS:
        return 0.0
    return float(SOFTEST * (HARDEST / SOFTEST) ** (place / (SOFT_STEPS - 1)))


@dataclass(frozen=True, eq=False)
class Path:
    """The decay that falls in the first cycle, at first `first`, and `centre`, to which weights decay."""

    first: float
    centre: Array

    @classmethod
    def of(cls, model: Model, output: Output, y: Array) -> Path:
        """Return the path of a network as it is now, which stays so."""
        start = model.flat.copy()
        model.prepare()
        here, none = model.forward(), np.zeros_like(start)
        problem = model.problem(here, *Envelope(output, y).root(here.f), model.flat, none)
        first, centre = problem.largest(), KEPT * model.flat
        model.flat[:] = start
        return cls(first if np.isfinite(first) else 0.0, centre)

    def decay(self, step: int) -> Array:
        """Return the decay of a step."""
        left = LAST_DECAY ** (step / (SOFT_STEPS - 1)) if step < SOFT_STEPS else 0.0
        return np.full_like(self.centre, self.first * left)
