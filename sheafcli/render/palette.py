"""The colours of the house, the same on a terminal and in pictures.

They are of Paul Tol's "vibrant", "bright" and "muted" schemes, told apart under all common kinds of colour
blindness and legible on white and on black.
"""

from __future__ import annotations

from typing import Final

OPERATION_COLOURS: Final = {
    "affine": "#0077bb",
    "activation": "#ee7733",
    "pool": "#aa4499",
    "normalisation": "#999933",
    "multiply": "#cc6677",
    "output": "#009988",
}
"""What an edge does, from its operation to its colour, in the order in which they are told."""

DISCORD_SCALE: Final = (
    *("#fff3cf", "#fee391", "#fec44f", "#fb9a29"),
    *("#ec7014", "#cc4c02", "#993404", "#662506"),
)
"""The colours of a discord, from the least to the largest: Paul Tol's YlOrBr."""

PART_COLOURS: Final = {"train": "#44546a", "validation": "#33bbee", "test": "#ee3377"}
"""The parts of a task's samples."""

CLASS_COLOURS: Final = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb")
"""The classes of a task, in the order of their codes; taken again from the first where there are more."""

RUN_COLOURS: Final = (
    *("#332288", "#cc6677", "#117733", "#88ccee", "#aa4499"),
    *("#999933", "#44aa99", "#882255", "#ddcc77"),
)
RUN_MARKERS: Final = ("o", "s", "^", "D")
"""Runs side by side, in their order; taken again from the first, with the next marker, if there are more."""
