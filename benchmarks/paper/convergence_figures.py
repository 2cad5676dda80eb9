"""The pictures of convergence: discord edge by edge with its kinks, and distances from many random starts."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from relaxation import Case, distances

from sheafcli.core.trace import Recorder
from sheafcli.diagnostics.diffusion import crossings_table, trace_table
from sheafcli.render.palette import CLASS_COLOURS, OPERATION_COLOURS
from sheafcli.render.style import INK, add_legend, new_figure


def starts_figure(found: list[tuple[Case, Recorder, float]]) -> Figure:
    """Draw the first input's distance to the forward pass from all starts, and the bound's slope."""
    figure, panels = new_figure(
        "From every random start to the forward pass", n_panels=len(found), size=(10.8, 4.6)
    )
    for axes, (case, recorder, bound), colour in zip(panels, found, CLASS_COLOURS, strict=False):
        times, apart = distances(recorder)
        first = apart[:, :: len(case.X)]
        axes.plot(
            times, np.where(first > 1e-13 * first[0], first, np.nan), color=colour, linewidth=0.8, alpha=0.7
        )
        axes.plot(times, first[0].max() * np.exp(-bound * times), color=INK, linestyle="--", linewidth=1.2)
        axes.set_yscale("log")
        axes.set_ylim(1e-10, 3 * first[0].max())
        reached = np.flatnonzero((first > 1e-10).any(axis=1))[-1]
        axes.set_xlim(0.0, times[reached])
        axes.set_title(case.label, color=INK, fontsize=10)
        axes.set_xlabel("integration time")
        handles = [
            Line2D([], [], color=colour, linewidth=1.2, label=f"{first.shape[1]} starts"),
            Line2D([], [], color=INK, linestyle="--", label="slope of the bound"),
        ]
        add_legend(axes, handles, "below")
    panels[0].set_ylabel("distance to the forward pass, first input")
    return figure


def discord_figure(found: list[tuple[Case, Recorder]]) -> Figure:
    """Draw the first input's discord edge by edge, and a line where a neuron crosses."""
    figure, panels = new_figure(
        "Discord edge by edge: a kink where a neuron crosses", n_panels=len(found), size=(10.8, 5.0)
    )
    for axes, (case, recorder) in zip(panels, found, strict=True):
        trace, crossings = trace_table(recorder), crossings_table(recorder)
        once = crossings.drop_duplicates(["layer", "neuron"])
        for at in once["time"]:
            axes.axvline(at, color=INK, linewidth=0.8, linestyle=":")
        styles = ("-", "--", "-.", ":")
        names = [name for name in trace.columns if name.startswith("discord_")]
        handles = []
        for name in names:
            edge = name.removeprefix("discord_")
            operation, _, layer = edge.partition("_")
            handles += axes.plot(
                trace["time"],
                trace[name],
                color=OPERATION_COLOURS[operation],
                linestyle=styles[int(layer or 1) - 1],
                linewidth=1.4,
                label=edge.replace("_", " "),
            )
        axes.set_yscale("log")
        axes.set_ylim(1e-6, 3 * max(trace[name].iloc[0] for name in names))
        axes.set_xscale("log")
        axes.set_xlim(case.dt, min(trace["time"].iloc[-1], 100.0))
        axes.set_title(case.label, color=INK, fontsize=10)
        axes.set_xlabel("integration time")
        crossing = Line2D([], [], color=INK, linestyle=":", linewidth=0.8, label="first crossing of a neuron")
        axes.legend(
            handles=[*handles, crossing],
            frameon=False,
            fontsize=9,
            labelcolor=INK,
            ncols=3,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.12),
        )
    panels[0].set_ylabel("discord, first input")
    return figure
