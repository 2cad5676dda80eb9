"""Ranges of numbers in the file of a sweep: {from: 1.0e-4, to: 0.1, count: 7, scale: log}."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sheafcli.config.problems import did_you_mean

LONGEST = 100_000
FARTHEST = 1e300  # so that the distance of two ends is finite, too
SCALES = ("linear", "log")
KEYS = ("from", "to", "count", "scale")
DIGITS = 4


@dataclass(frozen=True)
class Span:
    """All numbers between two ends, to draw from: evenly, or evenly in their logarithm."""

    first: int | float
    last: int | float
    scale: str

    @classmethod
    def of(cls, given: dict[str, Any]) -> Span:
        """Return the span of a range; ValueError says what is wrong with it."""
        for key in given:
            if key not in KEYS:
                raise ValueError(f"unknown key {key}{did_you_mean(key, KEYS)}")
        first, last = _end("from", given), _end("to", given)
        scale = given.get("scale", "linear")
        if scale not in SCALES:
            raise ValueError(f"scale must be {' or '.join(SCALES)}{did_you_mean(str(scale), SCALES)}")
        if scale == "log" and min(first, last) <= 0:
            raise ValueError("from and to must be above 0 on a log scale")
        return cls(first, last, scale)

    @property
    def ends(self) -> tuple[int | float, int | float]:
        """The lower end and the upper one."""
        return min(self.first, self.last), max(self.first, self.last)

    @property
    def whole(self) -> bool:
        """Whether integers alone are drawn: if both ends are."""
        return isinstance(self.first, int) and isinstance(self.last, int)

    def draw(self, rng: np.random.Generator) -> int | float:
        """Draw a number: an integer if both ends are, else one of four digits."""
        low, high = self.ends
        share, reach = rng.random(), high + 1 if self.whole else high
        value = low * (reach / low) ** share if self.scale == "log" else low + share * (reach - low)
        return min(high, max(low, int(value))) if self.whole else self.rounded(value)

    def rounded(self, value: float) -> float:
        """Round a number to the digits that are drawn, between the ends."""
        low, high = self.ends
        return float(min(high, max(low, float(f"{value:.{DIGITS}g}"))))


def range_values(given: dict[str, Any]) -> list[int] | list[float]:
    """Return the `count` values of a range, both ends among them; ValueError says what is wrong with it.

    On the linear scale, the default, they lie at equal distances, and are integers if the ends and the
    distance are; on the log scale they are floats of equal ratios.
    """
    span = Span.of(given)
    first, last, count = span.first, span.last, given.get("count")
    if not isinstance(count, int) or isinstance(count, bool) or not 2 <= count <= LONGEST:
        raise ValueError(f"count must be an integer from 2 to {LONGEST}")
    if span.scale == "log":
        return [float(value) for value in np.geomspace(first, last, count)]
    if isinstance(first, int) and isinstance(last, int) and (last - first) % (count - 1) == 0:
        return [first + i * ((last - first) // (count - 1)) for i in range(count)]
    return [float(value) for value in np.linspace(first, last, count)]


def _end(key: str, given: dict[str, Any]) -> int | float:
    value = given.get(key)
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= FARTHEST:
        return value
    raise ValueError(f"{key} must be a number from {-FARTHEST:g} to {FARTHEST:g}")
