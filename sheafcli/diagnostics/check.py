"""A theorem, checked on one network."""

from __future__ import annotations

from dataclasses import dataclass

from sheafcli.core.graph import Graph
from sheafcli.core.sweep import as_samples
from sheafcli.core.theorems import relaxes
from sheafcli.core.types import Array

# Random starts of so many samples are followed; of larger graphs, of one.
STARTS, LARGE = 3, 5_000
# Of the energy at its start so much may be left where descent is stopped; at a stationary point it is nought.
LEFT = 1e-4


@dataclass(frozen=True)
class Check:
    """A theorem on this network: what was measured, what the theorem demands of it, whether it holds."""

    theorem: str
    measured: str
    figure: float
    demand: str
    holds: bool


def one_stationary_point(graph: Graph, X: Array, seed: int) -> Check:
    """From random stalks, descent of the true energy must end at the forward pass, where it is 0.

    It is followed until it ends or has taken its steps: what it may not do is come to rest elsewhere.
    """
    some = as_samples(graph, X[: STARTS if graph.dimension <= LARGE else 1])
    ends = relaxes(graph, some, seed=seed)
    worst = max(end.energy_share for end in ends)
    count = f"{len(ends)} random start{'s' if len(ends) > 1 else ''}"
    return Check(
        f"the forward pass is the one stationary point: {count}",
        "largest share of the energy left by descent",
        worst,
        f"<= {LEFT:g}",
        worst <= LEFT,
    )
