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
from sheafcli.config.problems import input_error
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

        Runs are numbered from 1, and called by the sweep's name and their number.
        """
        digits = max(3, len(str(self.count)))
        runs: list[SweepRun] = []
        problems: dict[Problem, None] = {}
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
            if isinstance(config, Config):
                runs.append(SweepRun(number, parameters, config))
            else:
                problems |= dict.fromkeys(config)
        if problems:
            raise input_error(problems, self.path)
        return runs
