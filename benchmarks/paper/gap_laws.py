"""The gap against depth: medians over He networks, the laws fitted to them, and the path of identity maps."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from power_law import Line, fit_line, fit_power

from sheafcli.core.chain.network import Network
from sheafcli.core.outputs import Identity
from sheafcli.core.spectrum import spectrum
from sheafcli.core.types import Array


def path_network(depth: int) -> Network:
    """Return the network of width 1 whose weights are all 1, without biases: every map is 1 where x > 0."""
    layers = depth + 1
    return Network((np.ones((1, 1)),) * layers, (np.zeros(1),) * layers, Identity())


def path_gap(vertices: Array) -> Array:
    """Return the smallest eigenvalue of the Laplacian of a path of so many free vertices, one end pinned."""
    return np.asarray(4.0 * np.sin(np.pi / (2.0 * (2.0 * vertices + 1.0))) ** 2)


def gaps_table(widths: Iterable[int], depths: Iterable[int], draws: int) -> pd.DataFrame:
    """Return a row a width and depth: median and quartiles of the gap over He draws, each with an input."""
    rows = []
    for width in widths:
        for depth in depths:
            gaps = []
            for draw in range(draws):
                rng = np.random.default_rng([width, depth, draw])
                network = Network.he([2, *[width] * depth, 1], seed=rng)
                gaps.append(spectrum(network, rng.standard_normal((1, 2))).gap[0])
            low, median, high = (float(q) for q in np.quantile(gaps, (0.25, 0.5, 0.75)))
            row = {"width": width, "hidden": depth, "vertices": 2 * depth + 1, "draws": draws}
            rows.append(row | {"quartile_1": low, "gap": median, "quartile_3": high})
    return pd.DataFrame(rows)


def depth_laws(gaps: pd.DataFrame) -> dict[int, tuple[Line, Line, Line]]:
    """Return, by width, the fits of the median gap: a power of k, an exponential of k, a power of m + 1/2."""
    return {
        int(width): (
            fit_power(part["hidden"], part["gap"]),
            fit_line(part["hidden"], np.log(part["gap"])),
            fit_power(part["vertices"] + 0.5, part["gap"]),
        )
        for width, part in gaps.groupby("width")
    }
