"""Pins: coordinates of a stalk that are held, rigidly or by a spring."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sheafcli.core.brief import brief
from sheafcli.core.magnitude import LARGEST, SMALLEST, beyond
from sheafcli.core.types import Array, Shape


@dataclass(frozen=True, eq=False, repr=False)
class Pin:
    """Hold one coordinate of a free stalk at a value.

    Where pins are asked for a text will do, too: "z1[3]=0.5", or "a1[0]=0@2" with a stiffness of 2.

    Parameters
    ----------
    stalk
        A name such as "z1" or "a2": `network.stalks` lists them with their shapes.
    coordinate
        Counts from 0; in a stalk of several axes, such as an image, one number an axis.
    value
        One number for all samples, or one a sample.
    stiffness
        None makes the pin hard: the coordinate is overwritten. Otherwise it is soft, an edge of that
        stiffness gamma > 0 to a fixed vertex: it adds the force -gamma (v - value).

    Examples
    --------
    >>> import numpy as np, sheafcli as sc
    >>> network, X = sc.Network.he([2, 5, 1]), np.ones((3, 2))
    >>> settled = sc.extend(network, X, pins=[sc.Pin("z1", 3, 0.5), "a1[0]=0@2"])
    >>> settled.cochain.z[1][:, 3].tolist()
    [0.5, 0.5, 0.5]
    """

    stalk: str
    coordinate: int | tuple[int, ...]
    value: float | Array
    stiffness: float | None = None

    def __post_init__(self) -> None:
        if not np.isfinite(self.value).all():
            raise ValueError(f"the pin on {self} must have a finite value, got {self.value}")
        if beyond(np.atleast_1d(np.asarray(self.value, dtype=np.float64))) is not None:
            raise ValueError(
                f"the pin on {self} must have a value of at most {LARGEST:g}, got {self.value}: squares and "
                "products of such numbers overflow"
            )
        if self.stiffness is not None and not SMALLEST <= self.stiffness <= LARGEST:
            raise ValueError(
                f"the soft pin on {self} needs a stiffness from {SMALLEST:g} to {LARGEST:g}, got "
                f"{self.stiffness}"
            )

    __repr__ = brief

    def __str__(self) -> str:
        return f"{self.stalk}[{', '.join(map(str, self.place))}]"

    @property
    def place(self) -> tuple[int, ...]:
        """The coordinate as one number an axis."""
        return self.coordinate if isinstance(self.coordinate, tuple) else (self.coordinate,)

    @property
    def hard(self) -> bool:
        """Whether the coordinate is overwritten."""
        return self.stiffness is None

    @property
    def index(self) -> tuple[Any, ...]:
        """What picks the coordinate out of a stalk, samples x stalk."""
        return (slice(None), *self.place)

    def column(self, stalks: Mapping[str, Array]) -> Array:
        """Return this pin's coordinate, a view of shape (samples,), of a cochain's free stalks."""
        if self.stalk not in stalks:
            hint = " (the input a0 is always pinned)" if re.fullmatch("a0|x", self.stalk) else ""
            raise ValueError(f"no free stalk {self.stalk!r}{hint}; there are {', '.join(stalks)}")
        stalk = stalks[self.stalk]
        self.check(stalk.shape[1:])
        if np.ndim(self.value) > 0 and np.shape(self.value) != (stalk.shape[0],):
            raise ValueError(
                f"the pin on {self} needs one value or {stalk.shape[0]}, one a sample, "
                f"got shape {np.shape(self.value)}"
            )
        return np.asarray(stalk[self.index])

    def check(self, shape: Shape) -> None:
        """Raise ValueError unless the coordinate is one of a stalk of this shape."""
        if len(self.place) != len(shape):
            lengths = " x ".join(map(str, shape))
            raise ValueError(f"stalk {self.stalk} is {lengths}: give one number an axis, got {self}")
        for place, length in zip(self.place, shape, strict=True):
            if not 0 <= place < length:
                raise ValueError(f"stalk {self.stalk} has coordinates 0 to {length - 1}, got {place}")


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


def as_pins(pins: Sequence[Pin | str]) -> list[Pin]:
    """Return pins as they are, or those that texts such as z1[3]=0.5 or a1[0]=0@2 write."""
    if isinstance(pins, Pin | str):
        raise TypeError(f"pins must be a list, got one alone: give [{pins!r}]")
    return [parse_pin(pin, soft="@" in pin) if isinstance(pin, str) else pin for pin in pins]


def parse_pin(text: str, *, soft: bool = False) -> Pin:
    """Return the pin that a text such as z1[3]=0.5 or conv1[3,4,4]=0.5 writes; raise ValueError otherwise.

    A soft one ends with its stiffness: a1[0]=0@2.0. Whether there is such a stalk is for `check_pins` to say.
    """
    match = re.fullmatch(r"(.+)\[([\d,\s]+)\]=([^=@]+)(?:@([^=@]+))?", text)
    if match is None or soft != (match[4] is not None):
        wanted = "STALK[COORDINATE]=VALUE" + ("@STIFFNESS" if soft else "")
        raise ValueError(f"write it as {wanted}, such as z1[3]=0.5{'@2.0' if soft else ''}; got {text!r}")
    place = tuple(int(number) for number in match[2].split(","))
    stiffness = None if match[4] is None else float(match[4])
    return Pin(match[1], place if len(place) > 1 else place[0], float(match[3]), stiffness)
