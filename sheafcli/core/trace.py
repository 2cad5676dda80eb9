"""What is written down while a diffusion runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.edge import Edge
from sheafcli.core.types import Array

# A sighting is due whenever the number of steps has grown by this share: some 2,000 in a million steps.
SPACING = 1.0 / 200.0
# Crossings beyond so many are counted, but neither they nor the patterns they lead to are kept.
MOST_CROSSINGS = 200_000


class Stalks(Protocol):
    """A cochain: all stalks of a batch in one array, samples x columns, and by name, samples x stalk."""

    @property
    def data(self) -> Array:
        """The array."""

    def stalks(self) -> dict[str, Array]:
        """Return the stalks by name."""


class Watched(Protocol):
    """What a recorder reads of an equation."""

    evaluations: int

    @property
    def cochain(self) -> Stalks:
        """The state."""

    @property
    def neurons(self) -> list[tuple[int, slice]]:
        """The layer of every activation with kinks, and its columns of `pattern`."""

    def pattern(self) -> NDArray[np.bool_]:
        """Return which neurons are active, samples x columns: those at or above the first kink."""

    def discord(self) -> dict[Edge, float]:
        """Return the mean over samples of every edge's squared residual."""

    def output(self) -> Array:
        """Return the output before phi, samples x outputs."""


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
        Coordinates, each a stalk's name and an index in C order, whose values (of the first sample) are kept.
    """

    reference: Stalks | None = None
    watch: tuple[tuple[str, int], ...] = ()
    sightings: list[Sighting] = field(default_factory=list)
    crossings: list[Crossing] = field(default_factory=list)
    crossed: int = 0
    _next: int = 0
    _neurons: NDArray[np.intp] = field(default_factory=lambda: np.zeros(0, dtype=np.intp))
    _active: NDArray[np.bool_] | None = None
    _patterns: dict[bytes, None] = field(default_factory=dict)

    def observe(self, equation: Watched, step: int, time: float, *, sight: bool = False) -> None:
        """Look at the state after a step; `sight` records it whatever the step."""
        active = equation.pattern()
        if self._active is None:
            self._begin(active, equation.neurons)
        elif not np.array_equal(active, self._active):
            self._note_crossings(active, equation, step, time)
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

    def _begin(self, active: NDArray[np.bool_], neurons: list[tuple[int, slice]]) -> None:
        columns = [np.arange(block.start, block.stop) for _, block in neurons]
        self._neurons = np.concatenate([np.zeros(0, dtype=np.intp), *columns])
        self._patterns.update((row.tobytes(), None) for row in active[:, self._neurons])

    def _note_crossings(self, active: NDArray[np.bool_], equation: Watched, step: int, time: float) -> None:
        samples, columns = np.nonzero(active != self._active)
        self.crossed += len(samples)
        room = MOST_CROSSINGS - len(self.crossings)
        if room <= 0:
            return
        layers, blocks = zip(*equation.neurons, strict=True)
        starts = [block.start for block in blocks]
        places = np.searchsorted(starts, columns, side="right") - 1
        self.crossings += [
            Crossing(step, time, int(i), layers[place], int(column - starts[place]), bool(active[i, column]))
            for i, place, column in zip(samples[:room], places[:room], columns[:room], strict=True)
        ]
        changed = active[np.unique(samples)][:, self._neurons]
        self._patterns.update((row.tobytes(), None) for row in changed)

    def _sighting(self, equation: Watched, step: int, time: float) -> Sighting:
        cochain, discord, distance = equation.cochain, equation.discord(), None
        if self.reference is not None:
            distance = np.linalg.norm(cochain.data - self.reference.data, axis=1)
        stalks = cochain.stalks()
        return Sighting(
            step=step,
            time=time,
            evaluations=equation.evaluations,
            energy=0.5 * sum(discord.values()),
            discord=discord,
            distance=distance,
            output=equation.output().copy(),
            watched=np.array([stalks[name][0].flat[index] for name, index in self.watch]),
        )
