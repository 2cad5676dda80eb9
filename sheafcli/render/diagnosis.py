"""Pictures of a diagnosis: discord by neuron, and discord beside the effective resistance."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from sheafcli.core.types import Array
from sheafcli.render.figures import ROUNDING
from sheafcli.render.numbers import percent
from sheafcli.render.palette import OPERATION_COLOURS
from sheafcli.render.panels import add_shared_legend, fit_log_ticks, new_grid, operation_handles, square
from sheafcli.render.style import INK, new_figure

# In inches: a layer's panel, and all else above and below.
LAYER, MARGINS = 1.55, 0.9
MOST_LAYERS = 30
# Bars stand apart where there is room, and are no wider than if there were so many.
MOST_APART, FEWEST_BARS = 100, 12
SLEEPING = "#e4e4e4"
# In shares of the height: the distance between two labels; so many labels fit.
LABEL, MOST_LABELS = 0.052, 20


def neurons_figure(neurons: pd.DataFrame, title: str) -> Figure:
    """Draw the discord of every neuron, a panel a layer, the layer's two operations stacked.

    `neurons` is the table of a diagnosis. Neurons that are active on no sample stand on grey. Of very many
    layers those with the most discord are drawn.
    """
    shares = neurons.groupby("layer")["share"].sum()
    layers = sorted(shares.nlargest(MOST_LAYERS).index)
    size = (10.8, MARGINS + LAYER * len(layers))
    figure, rows = new_grid(title, heights=[1.0] * len(layers), columns=1, size=size)
    for layer, (axes,) in zip(layers, rows, strict=True):
        of_layer = neurons[neurons["layer"] == layer]
        n = of_layer["neuron"].max() + 1
        base = np.zeros(n)
        for operation, part in of_layer.groupby("operation", sort=False):
            by_neuron = part.groupby("neuron")["discord"].sum().reindex(range(n), fill_value=0.0)
            top = base + by_neuron.to_numpy(dtype=np.float64)
            _draw_bars(axes, base, top, OPERATION_COLOURS[str(operation)])
            base = top
        sleeping = of_layer.loc[of_layer["active"] == 0.0, "neuron"].unique()
        across = axes.get_xaxis_transform()
        axes.bar(sleeping, 1.0, 1.0, color=SLEEPING, transform=across, zorder=0.4)
        axes.set_xlim(-0.6, max(n, FEWEST_BARS) - 0.4)
        axes.set_ylim(0.0, 1.08 * base.max() or 1.0)
        axes.grid(False, axis="x")
        axes.set_ylabel("discord")
        whole = MaxNLocator(nbins=12, integer=True, steps=[1, 2, 5, 10], min_n_ticks=1)
        axes.set_xticks([tick for tick in whole.tick_values(0, n - 1) if 0 <= tick < n])
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 5, 10]))
        axes.set_title(
            f"layer {layer}: {percent(shares[layer])} of the discord", color=INK, fontsize=10, loc="left"
        )
    rows[-1][0].set_xlabel("neuron")
    handles = operation_handles(neurons["operation"])
    if (neurons["active"] == 0.0).any():
        handles.append(square(SLEEPING, "active on no sample"))
    add_shared_legend(figure, handles)
    return figure


def resistance_figure(edges: pd.DataFrame, layers: pd.DataFrame, title: str) -> Figure:
    """Draw the share of the discord over the share of the effective resistance, by edge and by layer.

    `edges` and `layers` are the tables of a diagnosis. On the diagonal the discord sits as the resistance
    has it; the labels give the excess, discord share / resistance share. Of very many points those
    whose two shares differ most are named.
    """
    figure, (by_edge, by_layer) = new_figure(title, n_panels=2, size=(11.6, 5.2))
    colours = edges["operation"].map(OPERATION_COLOURS)
    _draw_shares(by_edge, edges, edges["edge"], colours)
    names = "layer " + layers["layer"].astype(str)
    _draw_shares(by_layer, layers, names, pd.Series(INK, index=layers.index))
    by_edge.set_title("by edge", color=INK, fontsize=10)
    by_layer.set_title("by layer", color=INK, fontsize=10)
    diagonal = Line2D([], [], color=INK, linewidth=0.8, linestyle="--", label="as the resistance has it")
    add_shared_legend(figure, [*operation_handles(edges["operation"]), diagonal])
    return figure


def _draw_bars(axes: Axes, base: Array, top: Array, colour: str) -> None:
    """Draw a bar a neuron from base to top: one outline for all, with gaps, for there may be a thousand."""
    half = 0.4 if len(top) <= MOST_APART else 0.5
    at = np.arange(len(top))
    borders = np.stack([at - half, at + half], axis=1).ravel()
    gap = np.full(len(top), np.nan)
    heights, floors = (np.stack([values, gap], axis=1).ravel()[:-1] for values in (top, base))
    axes.stairs(heights, borders, baseline=floors, fill=True, color=colour, linewidth=0.0)


def _draw_shares(axes: Axes, table: pd.DataFrame, names: pd.Series, colours: pd.Series) -> None:
    x = table["resistance"].to_numpy(dtype=np.float64)
    y = table["share"].to_numpy(dtype=np.float64)
    both = np.concatenate([x, y])
    axes.axline((0.0, 0.0), (1.0, 1.0), color=INK, linewidth=0.8, linestyle="--")
    if (both > ROUNDING).all():
        low, high = both.min() / 1.5, min(1.5 * both.max(), 1.2)
        for axis, set_scale in ((axes.xaxis, axes.set_xscale), (axes.yaxis, axes.set_yscale)):
            set_scale("log")
            fit_log_ticks(axis, low, high, percent=True)
    else:
        low, high = -0.04 * both.max(), 1.08 * both.max()
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:.0%}"))
    axes.set(xlim=(low, high), ylim=(low, high), box_aspect=1.0)
    axes.scatter(x, y, c=list(colours), s=36, edgecolors="w", linewidths=0.6, zorder=3.0)
    axes.set_xlabel("share of the resistance")
    axes.set_ylabel("share of the discord")
    _draw_labels(axes, table, names, colours)


def _draw_labels(axes: Axes, table: pd.DataFrame, names: pd.Series, colours: pd.Series) -> None:
    """Name the points in a column beside the axes, each as near to its height as the others let it."""
    difference = (table["share"] - table["resistance"]).abs()
    named = table.loc[difference.nlargest(MOST_LABELS).index].sort_values(["share", "resistance"])
    to_axes = axes.transData + axes.transAxes.inverted()
    heights = to_axes.transform(named[["resistance", "share"]].to_numpy(dtype=np.float64))[:, 1]
    columns = (named["resistance"], named["share"], named["excess"], names[named.index], colours[named.index])
    for x, y, excess, name, colour, height in zip(*columns, _apart(heights), strict=True):
        ratio = "" if np.isnan(excess) else f" ×{excess:.2g}"
        axes.annotate(
            f"{name}{ratio}",
            (x, y),
            xytext=(1.04, height),
            textcoords="axes fraction",
            annotation_clip=False,
            va="center",
            fontsize=8,
            color=colour,
            zorder=2.0,
            arrowprops={"arrowstyle": "-", "color": SLEEPING, "linewidth": 0.8, "relpos": (0.0, 0.5)},
        )


def _apart(heights: Array) -> Array:
    """Return the heights nearest to some, in the same order, that are in [0, 1] and LABEL apart.

    Sorted heights h need p_i - p_{i-1} >= LABEL: least squares under that is an isotonic regression of
    h_i - i LABEL, and cutting its values to an interval keeps it the best one there.
    """
    steps = LABEL * np.arange(len(heights))
    free = scipy.optimize.isotonic_regression(heights - steps).x
    return np.asarray(np.clip(free, 0.0, 1.0 - steps[-1]) + steps)
