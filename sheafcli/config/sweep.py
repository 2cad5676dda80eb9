"""A sweep: a configuration, what varies over it, and the runs that makes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from sheafcli.config.document import Document, KeyPath, Origin, Problem, dotted, write
from sheafcli.config.load import validated
from sheafcli.config.problems import input_error, problem_at
from sheafcli.config.ranges import Span
from sheafcli.config.schema import Config
from sheafcli.config.search import Search, first_row

SEED: KeyPath = ("seed",)
FOLD: KeyPath = ("task", "fold")
REPEATS = frozenset({SEED, FOLD})
"""What varies to repeat a run, not to change it."""
# So many draws for each that is wanted find new combinations wherever there are enough.
DRAWS = 100
ROUNDING = 1e-9


@dataclass(frozen=True)
class SweepRun:
    """One run of a sweep: its number, the values that are its own by dotted key, its configuration."""

    number: str
    parameters: dict[str, Any]
    config: Config


@dataclass(frozen=True)
class Choice:
    """A value that a key takes, as it was given and with its paths resolved, and where it was given."""

    given: Any
    value: Any
    origin: Origin


@dataclass(frozen=True)
class Axis:
    """Keys that vary together: one tuple of choices, a choice a key, for each of its steps."""

    keys: tuple[KeyPath, ...]
    steps: tuple[tuple[Choice, ...], ...]

    def without(self, fixed: set[KeyPath]) -> Axis | None:
        """Drop the keys that do not vary after all; None if no other is left."""
        kept = [i for i, key in enumerate(self.keys) if key not in fixed]
        if not kept:
            return None
        steps = tuple(tuple(step[i] for i in kept) for step in self.steps)
        return Axis(tuple(self.keys[i] for i in kept), steps)

    def draw(self, rng: np.random.Generator) -> tuple[Choice, ...]:
        """Draw one of the steps."""
        return self.steps[rng.integers(len(self.steps))]

    def values(self) -> dict[str, Any]:
        """Return the values of each key, as plain data."""
        return {dotted(key): [step[i].value for step in self.steps] for i, key in enumerate(self.keys)}


@dataclass(frozen=True)
class Drawn:
    """A key whose values are drawn from all numbers between two ends."""

    keys: tuple[KeyPath]
    span: Span
    origin: Origin

    @property
    def steps(self) -> tuple[tuple[Choice, ...], ...]:
        """The two ends."""
        return tuple(self.at(end) for end in dict.fromkeys(self.span.ends))

    def without(self, fixed: set[KeyPath]) -> Drawn | None:
        """Return itself; None if its key does not vary after all."""
        return None if fixed.issuperset(self.keys) else self

    def draw(self, rng: np.random.Generator) -> tuple[Choice, ...]:
        """Draw a value."""
        return self.at(self.span.draw(rng))

    def at(self, value: int | float) -> tuple[Choice, ...]:
        """Choose a value."""
        return (Choice(value, value, replace(self.origin, given=repr(value))),)

    def values(self) -> dict[str, Any]:
        """Return the range, as plain data."""
        return {
            dotted(key): {"from": self.span.first, "to": self.span.last, "scale": self.span.scale}
            for key in self.keys
        }


def _repeats(axis: Axis | Drawn) -> TypeGuard[Axis]:
    return isinstance(axis, Axis) and REPEATS.issuperset(axis.keys)


Steps = tuple[tuple[Choice, ...], ...]
"""A step of each axis."""


@dataclass(frozen=True, eq=False)
class Sweep:
    """A sweep as its file gives it: all combinations of the steps of its axes, the last changing fastest.

    A search may draw some of them, and stop early those that lose; or have them proposed on the way.
    """

    name: str
    path: Path
    base: Document
    axes: tuple[Axis | Drawn, ...]
    search: Search | None = None

    @property
    def count(self) -> int:
        """How many runs there are."""
        if self.search is not None and self.search.runs is not None:
            return self.search.runs
        return math.prod(len(axis.steps) for axis in self.axes if isinstance(axis, Axis))

    @property
    def shares(self) -> tuple[float, ...]:
        """The share of a whole training at which each rung of the search ends; 1 alone without halving."""
        return (1.0,) if self.search is None else self.search.shares

    @property
    def keys(self) -> tuple[str, ...]:
        """The dotted keys that vary, in the order of the axes."""
        return tuple(dotted(key) for axis in self.axes for key in axis.keys)

    @property
    def text(self) -> str:
        """All that the runs derive from, as YAML: equal texts give the same runs."""
        all_of_it = {
            "name": self.name,
            "base": self.base.value,
            "axes": [axis.values() for axis in self.axes],
        }
        return write(all_of_it if self.search is None else all_of_it | {"search": self.search.as_given})

    @property
    def repeated(self) -> tuple[Axis, ...]:
        """The axes of what repeats a run, with all of which each combination is run."""
        return tuple(axis for axis in self.axes if _repeats(axis))

    @property
    def searched(self) -> tuple[Axis | Drawn, ...]:
        """The other axes, which a search draws from."""
        return tuple(axis for axis in self.axes if not _repeats(axis))

    @property
    def n_searched(self) -> int:
        """How many combinations a search draws."""
        return self.count // math.prod(len(axis.steps) for axis in self.repeated)

    @property
    def is_proposed(self) -> bool:
        """Whether the runs are not known beforehand, since what is next depends on what came out before."""
        return self.search is not None and self.search.method == "tpe"

    def entropy(self, *key: int) -> np.random.SeedSequence:
        """Return the seed of what a search draws; `key` tells one drawing from the next."""
        seed = self.base.value.get("seed", 0)
        known = isinstance(seed, int) and seed >= 0  # if not, validation says so
        # The first three children of a run's seed are the run's own.
        return np.random.SeedSequence(seed if known else 0, spawn_key=(3, *key))

    def runs(self) -> list[SweepRun]:
        """Validate the configuration of every run; InputError lists all that is wrong, each thing once.

        Runs are numbered from 1, and called by the sweep's name and their number. No two of them are the
        same but for that name: the second would count twice in every median.

        Of a search whose runs are proposed on the way there are none yet. Every value that an axis can
        take is validated all the same, and as many combinations as will be proposed.
        """
        if not self.is_proposed:
            return self._made(self._combinations())
        for place, axis in enumerate(self.axes):
            others = tuple(other.steps[0] for other in self.axes)
            self._made((*others[:place], step, *others[place + 1 :]) for step in axis.steps)
        self._made(self._combinations())
        return []

    def runs_of(self, combinations: Iterable[Steps], before: int = 0) -> list[SweepRun]:
        """Validate the runs of combinations, a step for each axis that is searched, with all repeats.

        They are numbered after so many runs before.
        """
        return self._made(self._repeated(combinations), before)

    def _made(self, combinations: Iterable[Steps], before: int = 0) -> list[SweepRun]:
        """Make the runs of combinations, a step an axis; InputError lists all that is wrong."""
        digits = max(3, len(str(self.count)))
        runs: list[SweepRun] = []
        problems: dict[Problem, None] = {}
        steps_of: dict[Config, Steps] = {}
        for place, steps in enumerate(combinations, start=before + 1):
            number = f"{place:0{digits}d}"
            document = Document(deepcopy(self.base.value), dict(self.base.origins))
            parameters: dict[str, Any] = {}
            for axis, step in zip(self.axes, steps, strict=True):
                for key, choice in zip(axis.keys, step, strict=True):
                    document.replace(key, deepcopy(choice.value), choice.origin)
                    parameters[dotted(key)] = choice.given
            name = f"{self.name}-{number}"
            document.replace(("name",), name, Origin(name))
            config = validated(document, self.path)
            if not isinstance(config, Config):
                problems |= dict.fromkeys(config)
                continue
            row = first_row(config.training)
            if len(self.shares) > 1 and row is not None and row > self.shares[0] * (1.0 + ROUNDING):
                problems[self._late_row(document, row)] = None
            runs.append(SweepRun(number, parameters, config))
            # Configurations compare as they are validated: 1e-3 is 0.001, and a default may be spelt out.
            first = steps_of.setdefault(config.model_copy(update={"name": self.name}), steps)
            if first is not steps:
                problems[self._repetition(first, steps)] = None
        if problems:
            raise input_error(problems, self.path)
        return runs

    def _combinations(self) -> Iterator[Steps]:
        """Yield the steps of each run, a step an axis: all there are, or those drawn, with all repeats."""
        if self.search is None or self.search.runs is None:
            yield from itertools.product(*(axis.steps for axis in self.axes if isinstance(axis, Axis)))
            return
        rng = np.random.default_rng(self.entropy())
        drawn: dict[str, Steps] = {}
        for _ in range(DRAWS * self.n_searched):
            steps = tuple(axis.draw(rng) for axis in self.searched)
            drawn.setdefault(repr([[choice.given for choice in step] for step in steps]), steps)
            if len(drawn) == self.n_searched:
                break
        else:
            message = (
                f"given {self.search.runs}; there are only {len(drawn):,} different combinations to draw"
            )
            raise input_error([Problem(f"search.runs: {message}")], self.path)
        yield from self._repeated(drawn.values())

    def _repeated(self, combinations: Iterable[Steps]) -> Iterator[Steps]:
        """Yield combinations of what is searched with all repeats, a step an axis."""
        again = list(itertools.product(*(axis.steps for axis in self.repeated)))
        for steps, repeats in itertools.product(combinations, again):
            searched, own = iter(steps), iter(repeats)
            yield tuple(next(own if _repeats(axis) else searched) for axis in self.axes)

    def _late_row(self, document: Document, row: float) -> Problem:
        """Say that the first rung ends before there is a row of history to judge a run by."""
        first = self.shares[0]
        key = ("training", "log_every")
        return problem_at(
            key,
            f"the first row of history is written after {row:.1%} of the training, and the first rung of the "
            f"search ends after {first:.1%}; choose a training.log_every of at most 1/{1.0 / first:.0f} of "
            "the steps, or fewer rungs",
            document.origin(key),
        )

    def _repetition(self, before: Steps, steps: Steps) -> Problem:
        """Say where the steps of two runs with one configuration differ first: one value is given twice."""
        key, first, again = next(
            (key, first, again)
            for axis, one, other in zip(self.axes, before, steps, strict=True)
            for key, first, again in zip(axis.keys, one, other, strict=True)
            if one is not other
        )
        same = "it" if first.origin.given == again.origin.given else f"the same value as {first.origin.given}"
        line = "" if first.origin.line is None else f" on line {first.origin.line}"
        again_is = f"{same} stands there before{line}" if same == "it" else f"{same}{line}"
        return problem_at(
            key,
            f"given {again.origin.given}; {again_is}: each run of a sweep is done once, keep one of the two",
            again.origin,
        )
