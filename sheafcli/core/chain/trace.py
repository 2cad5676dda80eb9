"""What is written down while a diffusion runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.chain.cochain import Cochain
from sheafcli.core.chain.discord import discord, residuals
from sheafcli.core.chain.network import Network
from sheafcli.core.chain.sheaf import pattern_of
from sheafcli.core.edge import Edge
from sheafcli.core.types import Array

# A sighting is due whenever the number of steps has grown by this share: some 2,000 in a million steps.
SPACING = 1.0 / 200.0
# Crossings beyond so many are counted, but neither they nor the patterns they lead to are kept.
MOST_CROSSINGS = 200_000


class Watched(Protocol):
    """What a recorder reads of an equation."""

    network: Network
    X: Array
    cochain: Cochain
    evaluations: int


@dataclass(frozen=True, slots=True)
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
    """Records sightings, ever rarer as steps go on, and crossings.

    At first every step is recorded, later one whenever their number has grown by half a percent, so that
    a trace stays small however long the diffusion. A neuron that chatters at its kink crosses at every
    step: `crossed` counts all crossings, `crossings` holds the first MOST_CROSSINGS.

    Parameters
    ----------
    reference
        The cochain that the diffusion should reach, such as the forward pass.
    watch
        Coordinates, each a stalk's name and an index, whose values (of the first sample) are kept.
    """

    reference: Cochain | None = None
    watch: tuple[tuple[str, int], ...] = ()
    sightings: list[Sighting] = field(default_factory=list)
    crossings: list[Crossing] = field(default_factory=list)
    crossed: int = 0
    _next: int = 0
    _neurons: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    _active: NDArray[np.bool_] | None = None
    _patterns: dict[bytes, None] = field(default_factory=dict)

    def observe(self, equation: Watched, step: int, time: float, *, sight: bool = False) -> None:
        """Look at the state after a step; `sight` records it whatever the step."""
        active = pattern_of(equation.cochain.z_hidden)
        if self._active is None:
            self._begin(active, equation.cochain)
        elif not np.array_equal(active, self._active):
            self._note_crossings(active, self._active, equation.cochain, step, time)
        self._active = active
        if sight or step >= self._next:
            self.sightings.append(self._sighting(equation, step, time))
            self._next = step + max(1, int(SPACING * step))

    def met_patterns(self) -> NDArray[np.bool_]:
        """Return the patterns that were met, one a row, all hidden neurons in path order.

        Those of the last state come first, then the others as they were met.
        """
        last = np.zeros((0, 0), dtype=bool) if self._active is None else self._active[:, self._neurons]
        rows = {row.tobytes(): None for row in last} | self._patterns
        return np.array([np.frombuffer(row, dtype=bool) for row in rows])

    def decay_rate(self) -> float | None:
        """Return the measured rate of the distance's decay, the slowest sample's.

        It is measured over the second half of the time until a sample's distance has come within a decade
        of where it ends, or of rounding error. None where there is no reference or too little to measure.
        """
        if self.reference is None:
            return None
        times = np.array([sighting.time for sighting in self.sightings])
        distances = np.array([sighting.distance for sighting in self.sightings])
        rounding = 1e-13 * (1.0 + np.max(np.abs(self.reference.data)))
        rates = []
        for distance in distances.T:
            settled = np.flatnonzero(~(distance > 10.0 * max(rounding, distance[-1])))
            end = int(settled[0]) - 1
            middle = int(np.searchsorted(times, 0.5 * times[end])) if end > 1 else end
            if middle < end:
                rates.append(np.log(distance[middle] / distance[end]) / (times[end] - times[middle]))
        return float(min(rates)) if rates else None

    def _begin(self, active: NDArray[np.bool_], cochain: Cochain) -> None:
        # Columns of the packed stalks, without the homogeneous one that ends every block.
        self._neurons = np.array(
            [column for block in cochain.blocks for column in range(block.start, block.stop - 1)], dtype=int
        )
        self._patterns.update((row.tobytes(), None) for row in active[:, self._neurons])

    def _note_crossings(
        self,
        active: NDArray[np.bool_],
        before: NDArray[np.bool_],
        cochain: Cochain,
        step: int,
        time: float,
    ) -> None:
        samples, columns = np.nonzero(active != before)
        self.crossed += len(samples)
        room = MOST_CROSSINGS - len(self.crossings)
        if room <= 0:
            return
        starts = [block.start for block in cochain.blocks]
        layers = np.searchsorted(starts, columns, side="right")
        for sample, layer, column in zip(samples[:room], layers[:room], columns[:room], strict=True):
            self.crossings.append(
                Crossing(
                    step,
                    time,
                    int(sample),
                    int(layer),
                    int(column - starts[layer - 1]),
                    bool(active[sample, column]),
                )
            )
        changed = active[np.unique(samples)][:, self._neurons]
        self._patterns.update((row.tobytes(), None) for row in changed)

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
