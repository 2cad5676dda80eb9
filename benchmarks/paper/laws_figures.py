"""The pictures of the scaling laws: times against 1 / lambda_1, and lambda_1 against depth."""

from __future__ import annotations

import numpy as np
import pandas as pd
from convergence_time import REDUCTION
from gap_laws import depth_laws, path_gap
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from power_law import fit_power

from sheafcli.core.types import Array
from sheafcli.render.palette import CLASS_COLOURS, RUN_COLOURS, RUN_MARKERS
from sheafcli.render.style import INK, add_legend, new_figure


def time_figure(times: pd.DataFrame) -> Figure:
    """Draw both times against 1 / lambda_1, a colour a depth, with the fitted laws."""
    figure, panels = new_figure("Convergence time against 1 / lambda_1", n_panels=2, size=(10.8, 5.0))
    for axes, column, label in zip(
        panels,
        ("constant", "time"),
        ("time constant of the tail", f"time T to shrink by exp(-{REDUCTION:g})"),
        strict=True,
    ):
        law = fit_power(1.0 / times["gap"], times[column])
        handles = []
        for i, (depth, part) in enumerate(times.groupby("hidden")):
            style = {"linestyle": "", "marker": RUN_MARKERS[i % len(RUN_MARKERS)], "markersize": 5}
            style["color"] = RUN_COLOURS[i % len(RUN_COLOURS)]
            at_kinks = part["at_kinks"] > 0
            for some, fill in ((part[~at_kinks], "full"), (part[at_kinks], "none")):
                axes.plot(1.0 / some["gap"], some[column], fillstyle=fill, **style)
            handles.append(Line2D([], [], label=f"{depth}", **style))
        ends = 1.0 / np.array([times["gap"].max(), times["gap"].min()])
        axes.plot(ends, law.power(ends), color=INK, linewidth=1.2, linestyle="--")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_title(f"{label}: slope {law.slope:.3f} +- {law.slope_error:.3f}", color=INK, fontsize=10)
        axes.set_xlabel("1 / lambda_1, final pattern")
        axes.set_ylabel("integration time")
    fitted = Line2D([], [], color=INK, linestyle="--", label="fit")
    add_legend(panels[0], [fitted], "inside")
    legend = panels[1].legend(
        handles=handles, title="hidden layers", frameon=False, fontsize=9, ncols=2, labelcolor=INK
    )
    legend.get_title().set(color=INK, fontsize=9)
    return figure


def depth_figure(gaps: pd.DataFrame) -> Figure:
    """Draw the gap against m + 1/2, where a power is straight, and against k, where an exponential is."""
    figure, panels = new_figure(
        "The gap against depth: a power, or an exponential?", n_panels=2, size=(10.8, 5.0)
    )
    laws = depth_laws(gaps)
    power, exponential = panels
    handles = []
    for (width, part), colour, marker in zip(gaps.groupby("width"), CLASS_COLOURS, RUN_MARKERS, strict=False):
        _, exponent, refined = laws[int(width)]
        spread = np.abs(np.stack([part["gap"] - part["quartile_1"], part["quartile_3"] - part["gap"]]))
        middle = part["vertices"] + 0.5
        for axes, x, fitted in (
            (power, middle, refined.power(middle)),
            (exponential, part["hidden"], np.exp(exponent(part["hidden"]))),
        ):
            bars = axes.errorbar(
                x,
                part["gap"],
                yerr=spread,
                linestyle="",
                marker=marker,
                markersize=5,
                capsize=2,
                color=colour,
            )
            axes.plot(x, fitted, color=colour, linewidth=1.1, linestyle="--")
        bars.set_label(f"width {width}")
        handles.append(bars)
    depths = np.unique(gaps["hidden"])
    vertices = 2.0 * depths + 1.0
    for axes, x in ((power, vertices + 0.5), (exponential, depths)):
        axes.plot(x, path_gap(vertices), color=INK, linewidth=1.2)
        axes.set_yscale("log")
    power.set_xscale("log")
    _label_plainly(power, vertices[::2] + 0.5)
    power.set_title("a power of m + 1/2 is straight", color=INK, fontsize=10)
    power.set_xlabel("m + 1/2, m = 2 k + 1 free vertices")
    power.set_ylabel("gap lambda_1: median, quartiles")
    exponential.set_title("an exponential of k is straight", color=INK, fontsize=10)
    exponential.set_xlabel("hidden layers k")
    path = Line2D([], [], color=INK, label="path of identity maps")
    fit = Line2D([], [], color=INK, linestyle="--", linewidth=1.1, label="fit")
    add_legend(exponential, [*handles, path, fit], "inside")
    return figure


def _label_plainly(axes: Axes, ticks: Array) -> None:
    """Label a short logarithmic axis at a few places, in plain numbers."""
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)
