"""Which numbers can be worked with: what is computed from them must stay finite in double precision."""

from __future__ import annotations

import numpy as np

from sheafcli.core.types import Array

LARGEST = 1e70
"""The largest magnitude of a value of the data or a stalk, and of what passes through a network.

The longest products of values that stand anywhere in core are of four: squares of what is itself a sum of
products of two (a gradient r a^T squared in Adam's memory, the norm of a Gram matrix, the square of a
squared residual in a variance). A sum of N of them stays below the largest double, 1.8e308, if

    LARGEST^4 N < 1.8e308,   LARGEST = 1e70  =>  N < 1.8e28,

more terms than any machine holds. Weights multiply along a chain: see `sheafcli.core.chain.reach`.
"""

SMALLEST = 1e-70
"""Where no value of the inputs, the targets or a layer's weights is as large, and not all are zero, the same
products of four vanish below 2.2e-308, the smallest normal double, and all would seem to agree."""

MEND = (
    "such weights mostly come of a training that diverged: train again with a smaller learning rate or dt; "
    "otherwise scale the weights or the inputs down"
)
"""What to do where values grow out of range on their way through a network."""


def beyond(array: Array) -> tuple[int, ...] | None:
    """Return where an array, not an empty one, first leaves -LARGEST to LARGEST, as a NaN does, or None.

    Needs no memory of its size where all is well.
    """
    # A NaN makes both comparisons false. In single precision the bounds themselves would overflow.
    if float(array.min()) >= -LARGEST and float(array.max()) <= LARGEST:
        return None
    array = array.astype(np.float64)
    sound = (array >= -LARGEST) & (array <= LARGEST)
    return tuple(int(i) for i in np.argwhere(~sound)[0])


def check_magnitude(name: str, array: Array) -> None:
    """Raise ValueError, which says where and what to do, unless an array can be worked with."""
    place = beyond(array)
    if place is None:
        return
    value = array[place]
    where = f"{name}[{', '.join(map(str, place))}] is {value:g}"
    if not np.isfinite(value):
        raise ValueError(f"{where}; every value must be finite")
    raise ValueError(
        f"{where}, beyond {LARGEST:g}: squares and products of such numbers overflow; give the column in "
        "another unit, or standardise it"
    )
