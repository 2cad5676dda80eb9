"""A theorem, checked on one network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sheafcli.core.graph import Graph
from sheafcli.core.sweep import as_samples
from sheafcli.core.theorems import forward_coordinates, relaxes
from sheafcli.core.types import Array

# Random starts of so many samples are followed; of larger graphs, of one.
STARTS, LARGE = 3, 5_000
# Of the squared stalks so much may be left as residuals where descent ends; at the forward pass it is nought.
LEFT = 1e-6
# A force as small as this, beside the largest stalk, is rest.
REST = 1e-8


@dataclass(frozen=True)
class Check:
    """A theorem on this network: what was measured, what the theorem demands of it, whether it holds."""

    theorem: str
    measured: str
    figure: float
    demand: str
    holds: bool


def one_stationary_point(graph: Graph, X: Array, seed: int) -> Check:
    """From random stalks, descent of the true energy E must end at the forward pass, where E is 0.

    Half of the sum of the squared stalks is what E is compared with. Descent that was stopped before it came
    to rest says nothing.
    """
    some = as_samples(graph, X[: STARTS if graph.dimension <= LARGE else 1])
    passed = forward_coordinates(graph, some)
    ends = relaxes(graph, some, seed=seed)
    size = np.maximum(0.5 * np.sum(passed**2, axis=1), np.finfo(np.float64).tiny)
    left = np.array([end.energy for end in ends]) / size
    force = np.array([end.force for end in ends]) / np.maximum(1.0, np.max(np.abs(passed), axis=1))
    told = (left <= LEFT) | (force <= REST)
    count = f"{len(ends)} random start{'s' if len(ends) > 1 else ''}"
    theorem = f"the forward pass is the one stationary point: {count}"
    if not told.any():
        return Check(theorem, "descent was stopped before it came to rest", float(left.max()), "-", True)
    worst = float(left[told].max())
    return Check(theorem, "energy left / that of the stalks", worst, "<= 1e-6", worst <= LEFT)
