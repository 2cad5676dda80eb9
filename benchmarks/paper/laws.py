"""The scaling laws: convergence time against 1 / lambda_1, and lambda_1 against depth.

The paper: the smallest eigenvalue lambda_1 of L_Omega, the gap, sets the time that stalks take to settle;
it shrinks as the network gets deeper, so that convergence slows. Rules, for fits by ordinary least
squares to logs:

- the tail of the flow decays with the rate lambda_1 of the final pattern: its time constant against 1 /
  lambda_1 has a slope within 0.02 of 1, and their product is within 2% of 1 in the median;
- the time to shrink the distance by exp(-7) is proportional to 1 / lambda_1, but for a factor that
  depends on how much of the slow mode there is at the start: a slope within 0.1 of 1, R^2 at least 0.95;
- no tail is slower than the smallest gap of all patterns met allows: time constant at most 1.02 over it;
- with every hidden layer the median of that time grows, and the median gap falls;
- either a power or an exponential of the depth describes the median gap with R^2 of at least 0.98;
- where all maps are 1, the gap is 4 sin^2(pi / (2 (2 m + 1))), m = 2 k + 1, to 1e-10;
- He networks lose their gap faster than that path: their exponent, against m + 1/2, is above its own by
  more than two standard errors.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from convergence_time import REDUCTION, times_table
from exhibit import Exhibit, Row
from gap_laws import depth_laws, gaps_table, path_gap, path_network
from laws_figures import depth_figure, time_figure
from power_law import fit_power

from sheafcli.core.spectrum import spectrum

TIMED = {"depths": range(1, 7), "widths": (8, 16, 32), "draws": 4}
QUICK_TIMED = {"depths": range(1, 4), "widths": (8, 16), "draws": 3}
# The gap by depth: widths, depths, and He draws of each, every one with an input of its own.
WIDTHS, DEPTHS, DRAWS = (8, 16, 32), range(1, 9), 40
QUICK_WIDTHS, QUICK_DRAWS = (8, 16), 20
TAIL_SLOPE, TAIL_CONSTANT, SLOPE, EXPLAINED = 0.02, 0.02, 0.1, 0.95
FITS, PATH = 0.98, 1e-10
TEXT = f"""
**Convergence time.** Single samples of He networks of several depths and widths flow from random stalks
to the forward pass. T is the time until the distance is exp(-{REDUCTION:g}) of what it was; the time
constant is that of the tail. The tail knows lambda_1 of the final pattern alone. T also depends on how
much of the slow mode there is at the start and on the patterns met on the way; the smallest gap met
bounds the rate, but predicts T less well.

Two kinds of tail are faster than lambda_1 says. Where there is little of the slow mode left, the next one
is seen. And where a layer is dead at the input (hollow marks), all later neurons rest at z = 0 itself, for
want of biases: the pattern counts them active, and the flow may come from the other side. All are part of
the fits.

**Gap against depth.** Medians over He draws, of one width throughout. For the path on which every map is
1 the gap is known: L_Omega is the Laplacian of a path of m = 2 k + 1 free vertices pinned at one end, and
the gap is 4 sin^2(pi / (2 (2 m + 1))), about (pi / 2)^2 / (m + 1/2)^2. So the variable is m + 1/2 rather
than the number k of hidden layers: for few layers an exponent against k alone is too small. He networks
fall faster than the path: 1 / lambda_1 is the squared norm of the inverse of delta_Omega, which is made
of the products of the maps between any two stalks. On the path these are 1; products of He matrices keep a
vector's length on average, but stretch some vectors more with every layer.

The third law, the best beta for a number of samples, has a section of its own.
"""


def time_rows(times: pd.DataFrame) -> list[Row]:
    """Judge the first law."""
    slow = 1.0 / times["gap"]
    tail, whole, met = (
        fit_power(slow, times["constant"]),
        fit_power(slow, times["time"]),
        fit_power(1.0 / times["smallest"], times["time"]),
    )
    product = float(np.median(times["constant"] * times["gap"]))
    worst = float(np.max(times["constant"] * times["smallest"]))
    medians = times.groupby("hidden")["time"].median()
    prefactor = times["time"] * times["gap"]
    by = f"Chebyshev, {len(times)} networks"
    return [
        Row(
            "time constant of the tail against 1 / lambda_1",
            "proportional: slope 1",
            f"slope {tail}",
            by,
            abs(tail.slope - 1.0) <= TAIL_SLOPE,
        ),
        Row(
            "time constant of the tail, times lambda_1",
            "1 (here: within 2% in the median)",
            f"{product:.4f}",
            by,
            abs(product - 1.0) <= TAIL_CONSTANT,
        ),
        Row(
            f"time T to shrink the distance by exp(-{REDUCTION:g}) against 1 / lambda_1",
            "proportional: slope 1",
            f"slope {whole}; T lambda_1 from {prefactor.min():.2g} to {prefactor.max():.2g}",
            by,
            abs(whole.slope - 1.0) <= SLOPE and whole.r_squared >= EXPLAINED,
        ),
        Row(
            "no tail is slower than the smallest gap met allows",
            "time constant at most 1 / gap",
            f"at most {worst:.3f} / gap; T against 1 / gap: slope {met}",
            by,
            worst <= 1.0 + TAIL_CONSTANT,
        ),
        Row(
            "the deeper, the slower",
            "T grows with every layer",
            "median T " + ", ".join(f"{time:,.0f}" for time in medians),
            f"{by}, 1 to {len(medians)} hidden layers",
            bool((np.diff(medians) > 0.0).all()),
        ),
    ]


def depth_rows(gaps: pd.DataFrame) -> list[Row]:
    """Judge the second law."""
    laws = depth_laws(gaps)
    depths = np.unique(gaps["hidden"])
    rows = []
    vertices = 2.0 * depths + 1.0
    path = np.array([spectrum(path_network(int(depth)), np.ones((1, 1))).gap[0] for depth in depths])
    off = float(np.max(np.abs(path / path_gap(vertices) - 1.0)))
    exponent = -fit_power(vertices + 0.5, path).slope
    for width, (power, exponential, refined) in laws.items():
        part = gaps[gaps["width"] == width]
        by = f"median of {part['draws'].iloc[0]} He draws, {depths[0]} to {depths[-1]} hidden layers"
        better = "a power" if power.r_squared >= exponential.r_squared else "an exponential"
        rows += [
            Row(
                f"width {width}: the gap falls with every layer",
                "falls",
                f"{part['gap'].iloc[0]:.3g} to {part['gap'].iloc[-1]:.3g}",
                by,
                bool((np.diff(part["gap"]) < 0.0).all()),
            ),
            Row(
                f"width {width}: gap ~ k^-p or exp(-c k)",
                "not said",
                f"p = {-power.slope:.2f} +- {power.slope_error:.2f} (R^2 {power.r_squared:.3f}), "
                f"c = {-exponential.slope:.2f} +- {exponential.slope_error:.2f} "
                f"(R^2 {exponential.r_squared:.3f}): {better} fits better",
                by,
                max(power.r_squared, exponential.r_squared) >= FITS,
            ),
            Row(
                f"width {width}: falls faster than on the path of identity maps",
                f"path: (m + 1/2)^-{exponent:.2f}",
                f"(m + 1/2)^-p, p = {-refined.slope:.2f} +- {refined.slope_error:.2f} "
                f"(R^2 {refined.r_squared:.3f})",
                by,
                -refined.slope - 2.0 * refined.slope_error > exponent,
            ),
        ]
    return [
        Row(
            "path of identity maps: gap in closed form",
            "4 sin^2(pi / (2 (2 m + 1))), m = 2 k + 1",
            f"{off:.0e} off at most",
            f"dense eigenvalues, {depths[0]} to {depths[-1]} hidden layers",
            off <= PATH,
        ),
        *rows,
    ]


def exhibit(runs: Path, *, quick: bool) -> Exhibit:
    """Measure both laws anew; no run is needed."""
    times = times_table(**(QUICK_TIMED if quick else TIMED))
    gaps = gaps_table(QUICK_WIDTHS if quick else WIDTHS, DEPTHS, QUICK_DRAWS if quick else DRAWS)
    return Exhibit(
        key="laws",
        title="The scaling laws",
        text=TEXT.strip(),
        rows=[*time_rows(times), *depth_rows(gaps)],
        figures={"law_convergence_time": time_figure(times), "law_gap_by_depth": depth_figure(gaps)},
        tables={"law_convergence_time": times, "law_gap_by_depth": gaps},
    )
