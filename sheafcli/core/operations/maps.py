"""Restrictions made of functions, for operations whose maps are a line each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.types import Array


class Maps(NamedTuple):
    """A restriction: dx -> sum_p A_p dx_p, v -> every A_p^T v, and the bounds of the norms of A_p."""

    jvp: Callable[..., Array]
    vjp: Callable[[Array], tuple[Array, ...]]
    norm: Callable[[], tuple[float, ...]]


def diagonal(slopes: NDArray[Any]) -> Maps:
    """Return A = diag(slopes): they are samples x stalk, real in the precision of the values, or booleans."""
    return Maps(
        lambda dx: np.asarray(dx * slopes),
        lambda v: (v * slopes,),
        lambda: (float(np.max(np.abs(slopes))),),
    )
