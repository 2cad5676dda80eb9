"""Some rows of many, spread evenly: enough for what hardly differs from sample to sample."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.types import Array


def spread_evenly(array: Array, most: int) -> Array:
    """Return so many rows of an array, spread evenly over all, or all if there are no more."""
    return array if len(array) <= most else array[spread_rows(len(array), most)]


def spread_rows(count: int, most: int) -> NDArray[np.intp]:
    """Return the numbers of so many of `count` rows, spread evenly, or of all if there are no more."""
    return np.arange(min(count, most)) * count // min(count, most)
