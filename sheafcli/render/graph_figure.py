"""The picture of a network's graph for papers and folders; the report's is beside its other figures."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sheafcli.core.network import GraphNetwork
from sheafcli.render.graph_layout import CONSTANT, EXACT, INPUT, TARGET, draw_graph
from sheafcli.render.panels import add_shared_legend, fit_log_ticks
from sheafcli.render.report.figure import THEMES, Decades
from sheafcli.render.style import FAINT, INK, new_figure

MARKERS: Final = {
    "affine": "s",
    "activation": "D",
    "pool": "v",
    "normalisation": "h",
    "multiply": "X",
    INPUT: "o",
    TARGET: "o",
    EXACT: ".",
    CONSTANT: ".",
}
SIZES: Final = {"affine": 8.0, "activation": 7.0, EXACT: 5.0, CONSTANT: 5.0}
USUAL_SIZE = 8.5
# Pixels of the drawing an inch.
SCALE = 100.0
# In inches: what stands above and below, the colour bar with its labels, and the room of the legend.
MARGIN, BAR, NARROWEST = 1.1, 1.2, 6.0


def graph_figure(network: GraphNetwork, edges: pd.DataFrame, title: str) -> Figure:
    """Draw a network as its graph, every vertex in the colour of its edge's discord.

    `edges` is the table of a diagnosis. An exact operation has no edge and is a dot; input and target, which
    are pinned, are filled.
    """
    shares = dict(zip(edges["edge"], edges["share"], strict=True))
    drawing = draw_graph(network.graph, shares, target=network.has_output_vertex)
    scale = Decades.of(edges["discord"].tolist())
    colours = LinearSegmentedColormap.from_list("discord", THEMES["light"]["scale"])
    place = {name: scale.place(value) for name, value in zip(edges["edge"], edges["discord"], strict=True)}
    size = (max(drawing.width / SCALE, NARROWEST) + BAR, drawing.height / SCALE + MARGIN)
    figure, (axes,) = new_figure(title, n_panels=1, size=size)
    _frame(axes, max(drawing.width, SCALE * NARROWEST), drawing.height)
    for line in drawing.lines:
        x, y = zip(*line.points, strict=True)
        axes.plot(
            x,
            y,
            color=FAINT if line.edge is None else colours(0.15 + 0.85 * place.get(line.edge, 0.0)),
            linewidth=1.6,
            zorder=1.0,
            solid_capstyle="round",
        )
    for mark in drawing.marks:
        pinned = mark.kind in (INPUT, TARGET)
        fill = (
            INK if pinned else "w" if mark.edge is None or mark.again else colours(place.get(mark.edge, 0.0))
        )
        axes.plot(
            mark.x,
            mark.y,
            marker=MARKERS[mark.kind],
            markersize=SIZES.get(mark.kind, USUAL_SIZE),
            color=fill,
            markeredgecolor=INK,
            markeredgewidth=0.5 if mark.again else 0.8,
            zorder=3.0,
        )
        axes.annotate(
            mark.label,
            (mark.x, mark.y),
            xytext=(7.0, 0.0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color="#888888" if mark.again else INK,
            parse_math=False,
            zorder=2.0,
            bbox={"boxstyle": "square,pad=0.1", "facecolor": "w", "edgecolor": "none"},
        )
    kinds = {mark.kind for mark in drawing.marks}
    low, high = 10.0**scale.low, 10.0**scale.high
    bar = figure.colorbar(
        ScalarMappable(LogNorm(low, high), colours), ax=axes, aspect=drawing.height / SCALE / 0.16, pad=0.02
    )
    fit_log_ticks(bar.ax.yaxis, low, high)
    bar.set_label("discord", color=INK)
    bar.outline.set_visible(False)
    bar.ax.tick_params(which="both", colors=INK, labelsize=9)
    add_shared_legend(figure, [_named(kind) for kind in MARKERS if kind in kinds])
    return figure


def _frame(axes: Axes, width: float, height: float) -> None:
    """Make the panel a sheet of so many pixels, without axes."""
    axes.set(xlim=(0.0, width), ylim=(height, 0.0))
    axes.grid(False)
    axes.set_axis_off()


def _named(kind: str) -> Line2D:
    fill = INK if kind in (INPUT, TARGET) else "w"
    style: dict[str, Any] = {"marker": MARKERS[kind], "markersize": SIZES.get(kind, USUAL_SIZE)}
    return Line2D([], [], linestyle="", color=fill, markeredgecolor=INK, label=kind, **style)
