"""A sweep: a configuration, what varies over it, and the runs that makes."""

from __future__ import annotations

import itertools
import math
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sheafcli.config.document import Document, KeyPath, Origin, Problem, dotted, write
from sheafcli.config.load import validated
from sheafcli.config.problems import input_error, problem_at
from sheafcli.config.schema import Config


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


@dataclass(frozen=True, eq=False)
class Sweep:
    """A sweep as its file gives it: all combinations of the steps of its axes, the last changing fastest."""

    name: str
    path: Path
    base: Document
    axes: tuple[Axis, ...]

    @property
    def count(self) -> int:
        """How many runs there are."""
        return math.prod(len(axis.steps) for axis in self.axes)

    @property
    def keys(self) -> tuple[str, ...]:
        """The dotted keys that vary, in the order of the axes."""
        return tuple(dotted(key) for axis in self.axes for key in axis.keys)

    @property
    def text(self) -> str:
        """All that the runs derive from, as YAML: equal texts give the same runs."""
        axes = [
            {dotted(key): [step[i].value for step in axis.steps] for i, key in enumerate(axis.keys)}
            for axis in self.axes
        ]
        return write({"name": self.name, "base": self.base.value, "axes": axes})

    def runs(self) -> list[SweepRun]:
        """Validate the configuration of every run; InputError lists all that is wrong, each thing once.

        Runs are numbered from 1, and called by the sweep's name and their number. No two of them are the
        same but for that name: the second would count twice in every median.
        """
        digits = max(3, len(str(self.count)))
        runs: list[SweepRun] = []
        problems: dict[Problem, None] = {}
        steps_of: dict[Config, tuple[tuple[Choice, ...], ...]] = {}
        for place, steps in enumerate(itertools.product(*(axis.steps for axis in self.axes)), start=1):
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
            runs.append(SweepRun(number, parameters, config))
            # Configurations compare as they are validated: 1e-3 is 0.001, and a default may be spelt out.
            before = steps_of.setdefault(config.model_copy(update={"name": self.name}), steps)
            if before is not steps:
                problems[self._repetition(before, steps)] = None
        if problems:
            raise input_error(problems, self.path)
        return runs

    def _repetition(
        self, before: tuple[tuple[Choice, ...], ...], steps: tuple[tuple[Choice, ...], ...]
    ) -> Problem:
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
