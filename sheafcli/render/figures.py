"""Pictures of a run: losses and discord over the steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from sheafcli.render.axes import drawn_values, fit_scale, happens_early
from sheafcli.render.palette import OPERATION_COLOURS, PART_COLOURS
from sheafcli.render.style import add_legend, new_figure, save_figure

__all__ = ["discord_figure", "loss_figure", "save_figure"]

# A discord is a squared residual; so far below the largest it is the rounding error of a zero.
ROUNDING = (100 * np.finfo(np.float64).eps) ** 2
# Where there are more edges, only the first and the last layer of each operation are named.
MOST_NAMED_EDGES = 12


def loss_figure(history: pd.DataFrame, baseline: pd.DataFrame | None, title: str) -> Figure:
    """Draw the losses of all parts over the steps, and a second panel of accuracies where there are any.

    `history` and `baseline` are the tables history.csv and baseline.csv; the baseline is dashed.
    """
    runs = [("", "-", history)] + ([] if baseline is None else [("baseline ", "--", baseline)])
    quantities = ["loss"]
    if any(_has(run, "train_accuracy") for _, _, run in runs):
        quantities.append("accuracy")
    n_panels = len(quantities)
    figure, panels = new_figure(title, n_panels=n_panels, size=(7.2 if n_panels == 1 else 10.8, 4.2))
    for axes, quantity in zip(panels, quantities, strict=True):
        for prefix, line_style, run in runs:
            for part, colour in PART_COLOURS.items():
                if _has(run, name := f"{part}_{quantity}"):
                    label = prefix + part
                    _draw(axes, run["step"], run[name], color=colour, linestyle=line_style, label=label)
        axes.set_ylabel(quantity)
        _fit_step_axis(axes)
    if happens_early(history["step"].to_numpy(), history["train_loss"].to_numpy(dtype=np.float64)):
        for axes in panels:
            _spread_the_beginning(axes)
    fit_scale(panels[0])
    for axes in panels[1:]:
        axes.set_ylim(max(drawn_values(axes).min() - 0.05, -0.02), 1.02)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:.0%}"))
    add_legend(panels[0], panels[0].lines, "inside")
    return figure


def discord_figure(discord: pd.DataFrame, title: str) -> Figure:
    """Draw the discord of every edge over the steps: operations by colour, layers from dark to light.

    `discord` is the table discord.csv. Zeros, which have no place on a logarithmic axis, are left out,
    rounding errors of zeros as well; an edge that is never above zero is named so.
    """
    figure, (axes,) = new_figure(title, n_panels=1, size=(8.4, 4.6))
    edges = discord[["edge", "layer", "operation"]].drop_duplicates()
    layers = edges.groupby("operation")["layer"]
    edges = edges.assign(first=layers.transform("min"), last=layers.transform("max"))
    few = len(edges) <= MOST_NAMED_EDGES
    negligible = ROUNDING * discord["discord"].max()
    named = []
    for edge, layer, operation, first, last in edges.itertuples(index=False):
        rows = discord[discord["edge"] == edge]
        values = rows["discord"].where(rows["discord"] > negligible)
        label = edge if values.notna().any() else f"{edge} (zero)"
        colour = _shade(
            OPERATION_COLOURS[operation], (layer - first) / (last - first) if last > first else 0.5
        )
        # At rest the output edge and the affine edge before it disagree alike: dashes let both be seen.
        style = "--" if operation == "output" else "-"
        line = _draw(axes, rows["step"], values, color=colour, linestyle=style, label=label)
        if few or layer in (first, last):
            named.append(line)
    axes.set_ylabel("discord")
    _fit_step_axis(axes)
    fit_scale(axes)
    add_legend(axes, named, "beside")
    return figure


def _has(run: pd.DataFrame, name: str) -> bool:
    return name in run and bool(run[name].notna().any())


def _draw(axes: Axes, steps: pd.Series, values: pd.Series, **style: Any) -> Line2D:
    """Draw a line, or a dot where there is a single point; what is not finite is left out."""
    heights = values.to_numpy(dtype=np.float64)
    finite = np.isfinite(heights)
    marker = "o" if finite.sum() == 1 else ""
    heights = np.where(finite, heights, np.nan)
    (line,) = axes.plot(steps.to_numpy(), heights, linewidth=1.6, marker=marker, **style)
    return line


def _fit_step_axis(axes: Axes) -> None:
    axes.set_xlabel("step")
    steps = {step for line in axes.lines for step in np.asarray(line.get_xdata()).tolist()}
    if len(steps) == 1:
        (step,) = steps
        axes.set_xlim(step - 1, step + 1)
    whole = MaxNLocator(nbins=6, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)
    axes.xaxis.set_major_locator(whole)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))


def _spread_the_beginning(axes: Axes) -> None:
    """Draw steps on a logarithmic axis; 0 stands at its left end, before the first of the others."""
    steps = np.concatenate([np.asarray(line.get_xdata(), dtype=np.float64) for line in axes.lines])
    first, last = steps[steps > 0].min(), steps.max()
    axes.set_xscale("symlog", linthresh=first, linscale=0.3)
    powers = 10.0 ** np.arange(np.ceil(np.log10(first)), np.floor(np.log10(last)) + 1)
    axes.set_xticks([0.0, *powers], ["0", *(f"{power:,.0f}" for power in powers)])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(0.0, last * 1.1)
    axes.set_xlabel("step, logarithmic")


def _shade(colour: str, place: float) -> str:
    """Return a colour in a shade from dark (place 0) over its own (0.5) to light (1)."""
    own = np.array(to_rgb(colour))
    red, green, blue = own * (0.6 + 0.8 * place) if place <= 0.5 else own + (place - 0.5) * (1.0 - own)
    return to_hex((red, green, blue))
