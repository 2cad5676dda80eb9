"""Coordinates that take some values only: the levels of a category, and whole numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sheafcli.core.types import Array


class Choice(Protocol):
    """Coordinates that are chosen together, and what they may be."""

    @property
    def columns(self) -> tuple[int, ...]:
        """The coordinates."""

    @property
    def step(self) -> float:
        """How far apart options are in its first coordinate."""

    def options(self, x: Array, low: Array, high: Array) -> Array:
        """Return what may be chosen near x within bounds, options x columns, the nearest first."""


@dataclass(frozen=True, eq=False)
class Levels:
    """A category: its columns hold one row of `rows`, levels x columns, such as one-hot rows."""

    columns: tuple[int, ...]
    rows: Array

    @property
    def step(self) -> float:
        """Infinite: all levels are tried."""
        return np.inf

    def options(self, x: Array, low: Array, high: Array) -> Array:
        """Return all levels within bounds."""
        held = list(self.columns)
        inside = ((self.rows >= low[held]) & (self.rows <= high[held])).all(axis=1)
        rows = self.rows[inside] if inside.any() else self.rows
        return rows[np.argsort(np.sum((rows - x[held]) ** 2, axis=1), kind="stable")]


@dataclass(frozen=True, eq=False)
class Whole:
    """A coordinate that is `origin` plus a whole multiple of `step`: a whole number, standardised."""

    columns: tuple[int]
    origin: float
    step: float
    around: int = 2

    def options(self, x: Array, low: Array, high: Array) -> Array:
        """Return the nearest multiples, up to `around` on either side."""
        (column,) = self.columns
        slack = 1e-9
        first = np.ceil((low[column] - self.origin) / self.step - slack)
        last = np.floor((high[column] - self.origin) / self.step + slack)
        at = (x[column] - self.origin) / self.step
        near = np.round(at) + np.arange(-self.around, self.around + 1)
        near = np.unique(np.clip(near, first, last)) if first <= last else np.round([at])
        near = near[np.argsort(np.abs(near - at), kind="stable")]
        return np.asarray((self.origin + self.step * near)[:, None])
