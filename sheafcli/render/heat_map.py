"""The heat map of a training: the discord of every edge at every step."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, ListedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from sheafcli.core.types import Array
from sheafcli.render.axes import LOG_FROM
from sheafcli.render.figures import ROUNDING
from sheafcli.render.palette import DISCORD_SCALE, OPERATION_COLOURS
from sheafcli.render.panels import add_shared_legend, fit_log_ticks, square, thinned
from sheafcli.render.style import FAINT, INK, new_figure

# More logged steps than that would be narrower than a dot of the picture.
MOST_STEPS = 600
# In inches: a row, and all else above and below the rows. More rows than that are narrower.
ROW, MARGINS = 0.3, 1.7
# The width of the colour bar, in inches.
BAR = 0.16
MOST_ROWS = 36
ZERO, NOT_FINITE = FAINT, "#4477aa"
DISCORD = LinearSegmentedColormap.from_list("discord", DISCORD_SCALE)


def heat_map_figure(discord: pd.DataFrame, title: str) -> Figure:
    """Draw the discord of every edge (rows) at every logged step (columns) in logarithmic colours.

    `discord` is the table discord.csv. The rows are grouped by operation, and by layer within it, from
    the top down; the steps are true to scale. Zeros and rounding errors of zeros have a colour of their
    own, and so has what is not finite. Of very many steps some are drawn, evenly spaced.
    """
    steps, names, values = _by_edge_and_step(discord)
    height = ROW * min(len(names), MOST_ROWS)
    figure, (axes,) = new_figure(title, n_panels=1, size=(9.6, MARGINS + height))
    finite = np.isfinite(values)
    largest = values[finite].max(initial=0.0)
    positive = finite & (values > ROUNDING * largest)
    borders = _borders(steps), np.arange(len(names) + 1) - 0.5
    axes.set_facecolor(ZERO)
    if positive.any():
        low, high = _at_least(float(values[positive].min()), float(largest))
        shown = np.ma.masked_where(~positive, values)
        mesh = axes.pcolormesh(*borders, shown, norm=LogNorm(low, high), cmap=DISCORD)
        bar = figure.colorbar(mesh, ax=axes, pad=0.02, aspect=height / BAR)
        fit_log_ticks(bar.ax.yaxis, low, high)
        bar.set_label("discord", color=INK)
        bar.outline.set_visible(False)
        bar.ax.tick_params(which="both", colors=INK, labelsize=9)
    if not finite.all():
        unknown = np.ma.masked_where(finite, np.ones_like(values))
        axes.pcolormesh(*borders, unknown, cmap=ListedColormap([NOT_FINITE]))
    handles = []
    if (finite & ~positive).any():
        handles.append(square(ZERO, "zero"))
    if not finite.all():
        handles.append(square(NOT_FINITE, "not finite"))
    if handles:
        add_shared_legend(figure, handles)
    axes.set_xlim(borders[0][0], borders[0][-1])
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))
    _name_rows(axes, names)
    return figure


def _by_edge_and_step(discord: pd.DataFrame) -> tuple[Array, list[tuple[str, str]], Array]:
    """Return the steps, the (operation, edge) of every row, and the discord, edges x steps."""
    order = {operation: place for place, operation in enumerate(OPERATION_COLOURS)}
    edges = discord[["operation", "layer", "edge"]].drop_duplicates()
    edges = edges.assign(place=edges["operation"].map(order)).sort_values(["place", "layer"])
    values = discord.pivot(index="edge", columns="step", values="discord").loc[edges["edge"]]
    kept = values.iloc[:, thinned(values.shape[1], MOST_STEPS)]
    names = list(zip(edges["operation"], edges["edge"], strict=True))
    return kept.columns.to_numpy(dtype=np.float64), names, kept.to_numpy(dtype=np.float64)


def _borders(steps: Array) -> Array:
    """Return where the columns begin and end: half-way between the steps, at the first and at the last."""
    if len(steps) == 1:
        return np.array([steps[0] - 0.5, steps[0] + 0.5])
    return np.concatenate([steps[:1], (steps[1:] + steps[:-1]) / 2, steps[-1:]])


def _at_least(low: float, high: float) -> tuple[float, float]:
    """Return an interval that a logarithm has something to show on."""
    if high / low >= LOG_FROM:
        return low, high
    middle = np.sqrt(low) * np.sqrt(high)
    return float(middle / np.sqrt(LOG_FROM)), float(middle * np.sqrt(LOG_FROM))


def _name_rows(axes: Axes, names: list[tuple[str, str]]) -> None:
    """Name the rows in the colours of their operations, with a gap between operations.

    Where rows are narrow only some are named, the first of each operation always.
    """
    axes.grid(False)
    axes.set_ylim(len(names) - 0.5, -0.5)
    every = -(-len(names) // MOST_ROWS)
    row_points = 72.0 * ROW * min(1.0, MOST_ROWS / len(names))
    first, named = 0, []
    for operation, group in groupby(names, key=lambda name: name[0]):
        end = first + len(list(group))
        named += [(first, operation), *((i, operation) for i in range(first + every, end - every + 1, every))]
        if end < len(names):
            axes.axhline(end - 0.5, color="w", linewidth=0.25 * row_points)
        first = end
    axes.set_yticks([row for row, _ in named], [names[row][1] for row, _ in named])
    axes.tick_params(axis="y", length=0)
    for (_, operation), label in zip(named, axes.get_yticklabels(), strict=True):
        label.set_color(OPERATION_COLOURS[operation])
    axes.spines[:].set_visible(False)
