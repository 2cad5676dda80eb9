"""What is written down while a diffusion runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.cochain import Cochain
from sheafcli.core.discord import Edge, discord, residuals
from sheafcli.core.network import Network
from sheafcli.core.outputs import Array
from sheafcli.core.sheaf import pattern_of


class Watched(Protocol):
    """What a recorder reads of an equation."""

    network: Network
    X: Array
    cochain: Cochain
    evaluations: int


@dataclass(frozen=True)
class Crossing:
    """A neuron that changed its state: when, where, and whether it is active now."""

    step: int
    time: float
    sample: int
    layer: int
    neuron: int
    active: bool


@dataclass(frozen=True, eq=False)
class Sighting:
    """A diffusion at one moment.

    `energy` is half the sum of the squared residuals, a mean per sample; `distance`, per sample, the
    2-norm of the difference from the reference cochain, if there is one; `output` is z_{k+1}.
    """

    step: int
    time: float
    evaluations: int
    energy: float
    discord: dict[Edge, float]
    distance: Array | None
    output: Array
    watched: Array


@dataclass(eq=False)
class Recorder:
    """Records a sighting every `every` steps, and every crossing.

    Parameters
    ----------
    every
        How many steps lie between two sightings.
    reference
        The cochain that the diffusion should reach, such as the forward pass.
    watch
        Coordinates, each a stalk's name and an index, whose values (of the first sample) are kept.
    """

    every: int = 1
    reference: Cochain | None = None
    watch: tuple[tuple[str, int], ...] = ()
    sightings: list[Sighting] = field(default_factory=list)
    crossings: list[Crossing] = field(default_factory=list)
    patterns: set[bytes] = field(default_factory=set)
    _active: NDArray[np.bool_] | None = None

    def observe(self, equation: Watched, step: int, time: float, *, sight: bool = False) -> None:
        """Look at the state after a step; `sight` records it whatever the step."""
        cochain = equation.cochain
        active = (
            np.concatenate([pattern_of(cochain.z[layer]) for layer in cochain.a], axis=1)
            if cochain.a
            else None
        )
        if active is not None:
            self._note_crossings(active, cochain, step, time)
        if sight or step % self.every == 0:
            self.sightings.append(self._sighting(equation, step, time))

    def met_patterns(self) -> NDArray[np.bool_]:
        """Return every pattern that was met, one a row, all hidden neurons in path order."""
        rows = [np.frombuffer(pattern, dtype=bool) for pattern in sorted(self.patterns)]
        return np.array(rows, dtype=bool)

    def decay_rate(self) -> float | None:
        """Return the measured rate of the distance's decay, the slowest sample's, over the last half.

        None where there is no reference or too little to measure: fewer than three sightings above
        rounding error.
        """
        if self.reference is None:
            return None
        times = np.array([sighting.time for sighting in self.sightings])
        distances = np.array([sighting.distance for sighting in self.sightings])
        floor = 1e-12 * (1.0 + np.max(np.abs(self.reference.data)))
        slowest = np.inf
        for column in distances.T:
            usable = np.flatnonzero(column > floor)
            usable = usable[len(usable) // 2 :]
            if len(usable) >= 3:
                slope = np.polyfit(times[usable], np.log(column[usable]), 1)[0]
                slowest = min(slowest, -float(slope))
        return None if np.isinf(slowest) else slowest

    def _note_crossings(self, active: NDArray[np.bool_], cochain: Cochain, step: int, time: float) -> None:
        if self._active is None:
            changed = np.ones(len(active), dtype=bool)
        else:
            flipped = active != self._active
            changed = flipped.any(axis=1)
            starts = np.cumsum([0, *cochain.widths[1:-1]])
            for sample, column in zip(*np.nonzero(flipped), strict=True):
                layer = int(np.searchsorted(starts, column, side="right"))
                neuron = int(column - starts[layer - 1])
                self.crossings.append(
                    Crossing(step, time, int(sample), layer, neuron, bool(active[sample, column]))
                )
        self.patterns.update(row.tobytes() for row in active[changed])
        self._active = active

    def _sighting(self, equation: Watched, step: int, time: float) -> Sighting:
        cochain = equation.cochain
        found = discord(residuals(equation.network, equation.X, cochain))
        stalks = cochain.stalks()
        distance = None
        if self.reference is not None:
            distance = np.linalg.norm(cochain.data - self.reference.data, axis=1)
        return Sighting(
            step=step,
            time=time,
            evaluations=equation.evaluations,
            energy=0.5 * sum(found.values()),
            discord=found,
            distance=distance,
            output=cochain.z[len(cochain.widths) - 1].copy(),
            watched=np.array([stalks[name][0, index] for name, index in self.watch]),
        )
