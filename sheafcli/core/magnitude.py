"""Which numbers can be worked with: what is computed from them must stay finite in double precision."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LARGEST = 1e70
"""The largest magnitude of a value of the data, a weight, a bias or a stalk.

The longest products of values that stand anywhere in core are of four: squares of what is itself a sum of
products of two (a gradient r a^T squared in Adam's memory, a Gram matrix times a Gram matrix, the square of
a residual's square). A sum of N of them stays below the largest double, 1.8e308, if

    LARGEST^4 N < 1.8e308,   LARGEST = 1e70  =>  N < 1.8e28,

more terms than any machine holds. Chains of weights multiply further: see `reach`.
"""

LARGEST_WHOLE = 2**53
"""Integers below this are doubles; of those beyond it the last digits may be lost."""


def beyond(array: Array) -> tuple[int, ...] | None:
    """Return where an array, not an empty one, first leaves -LARGEST to LARGEST; None if nowhere.

    Needs no memory of its size where all is well.
    """
    # A NaN makes both comparisons false.
    if array.min() >= -LARGEST and array.max() <= LARGEST:
        return None
    sound = (array >= -LARGEST) & (array <= LARGEST)
    return tuple(int(i) for i in np.argwhere(~sound)[0])
