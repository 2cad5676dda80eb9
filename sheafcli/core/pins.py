"""Pins: coordinates of a stalk that are held, rigidly or by a spring."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sheafcli.core.types import Array


@dataclass(frozen=True, eq=False)
class Pin:
    """Hold one coordinate of a free stalk at a value.

    `stalk` is a name such as "z1" or "a2", `coordinate` counts from 0, and `value` is one number for
    all samples or one a sample. With `stiffness` None the pin is hard: the coordinate is overwritten.
    Otherwise it is soft, an edge of that stiffness gamma > 0 to a fixed vertex: it adds the force
    -gamma (v - value).
    """

    stalk: str
    coordinate: int
    value: float | Array
    stiffness: float | None = None

    def __post_init__(self) -> None:
        if not np.isfinite(self.value).all():
            raise ValueError(f"the pin on {self} must have a finite value, got {self.value}")
        if self.stiffness is not None and not 0.0 < self.stiffness < np.inf:
            raise ValueError(f"the soft pin on {self} needs a finite stiffness above 0, got {self.stiffness}")

    def __str__(self) -> str:
        return f"{self.stalk}[{self.coordinate}]"

    @property
    def hard(self) -> bool:
        """Whether the coordinate is overwritten."""
        return self.stiffness is None

    def column(self, stalks: Mapping[str, Array]) -> Array:
        """Return this pin's coordinate, a view of shape (samples,), of a cochain's free stalks."""
        if self.stalk not in stalks:
            hint = " (the input a0 is always pinned)" if re.fullmatch("a0|x", self.stalk) else ""
            raise ValueError(f"no free stalk {self.stalk!r}{hint}; there are {', '.join(stalks)}")
        stalk = stalks[self.stalk]
        if not 0 <= self.coordinate < stalk.shape[1]:
            raise ValueError(
                f"stalk {self.stalk} has coordinates 0 to {stalk.shape[1] - 1}, got {self.coordinate}"
            )
        if np.ndim(self.value) > 0 and np.shape(self.value) != (stalk.shape[0],):
            raise ValueError(
                f"the pin on {self} needs one value or {stalk.shape[0]}, one a sample, "
                f"got shape {np.shape(self.value)}"
            )
        return stalk[:, self.coordinate]


def check_pins(pins: Sequence[Pin], stalks: Mapping[str, Array], held: str | None = None) -> None:
    """Raise ValueError unless every pin is on a coordinate that is there, and none on the same twice.

    `held` names the stalk, if any, that a target already holds as a whole; a spring on it moves nothing.
    """
    seen: dict[str, Pin] = {}
    for pin in pins:
        pin.column(stalks)
        if pin.stalk == held and pin.hard:
            raise ValueError(f"{pin} is pinned twice: the target holds all of {held}")
        if str(pin) in seen:
            values = f"{seen[str(pin)].value} and {pin.value}"
            raise ValueError(f"{pin} is pinned twice, to {values}; pin a coordinate once")
        seen[str(pin)] = pin
