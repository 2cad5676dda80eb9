"""Following a heat equation until it rests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.integrators import Integrator
from sheafcli.core.trace import Recorder
from sheafcli.core.types import Array

# How often, in evaluations of the forces, a diffusion asks whether it has arrived.
LOOK_EVERY = 50


@dataclass(frozen=True, eq=False, repr=False)
class Diffusion:
    """Where a diffusion ended.

    `cochain` is the state it was in, `time` the integration time and `evaluations` the number of times the
    forces were computed. Per sample, `rate` is the largest |dv/dt| that is left, and `converged` whether it
    is within the tolerance.
    """

    cochain: Any
    steps: int
    time: float
    evaluations: int
    rate: Array
    converged: NDArray[np.bool_]

    def __repr__(self) -> str:
        return (
            f"Diffusion({len(self.converged)} samples, {int(self.converged.sum())} converged, {self.steps:,} "
            f"steps to time {self.time:.4g})"
        )


def follow(
    equation: Any, integrator: Integrator, steps: int, tolerance: float, recorder: Recorder | None
) -> Diffusion:
    """Follow an equation, which integrators and recorders know, until it rests, or for so many steps."""
    taken, time, look = 0, 0.0, LOOK_EVERY
    rate = np.full(len(equation.cochain.data), np.inf)
    if recorder is not None:
        recorder.observe(equation, 0, 0.0, sight=True)
    for dt in integrator.steps(equation):
        taken += 1
        time += dt
        last = taken >= steps
        if last or equation.evaluations >= look:
            look = equation.evaluations + LOOK_EVERY
            rate = equation.alpha * np.max(np.abs(equation.sliding_rate()), axis=1)
            last = last or bool((rate <= tolerance).all()) or not np.isfinite(rate).all()
        if recorder is not None:
            recorder.observe(equation, taken, time, sight=last)
        if last:
            break
    return Diffusion(equation.cochain, taken, time, equation.evaluations, rate, rate <= tolerance)
