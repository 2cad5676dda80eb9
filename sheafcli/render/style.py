"""The house style of pictures: matplotlib's objects on the Agg canvas, no window, no global state."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from sheafcli.runs.files import write_whole

DOTS_PER_INCH = 144
INK = "#333333"
FAINT = "#dedede"


def new_figure(title: str, *, n_panels: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    """Return a figure of a size in inches, with empty panels from left to right.

    Titles and labels of the user's are plain text here and in `add_legend`: a $ begins no formula.
    """
    layout = ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.06)
    figure = Figure(figsize=size, layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    figure.suptitle(title, color=INK, fontsize=12, fontweight="bold", parse_math=False)
    panels = [figure.add_subplot(1, n_panels, place) for place in range(1, n_panels + 1)]
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(INK)
        axes.tick_params(which="both", colors=INK, labelsize=9)
        for label in (axes.xaxis.label, axes.yaxis.label):
            label.set(color=INK, fontsize=10, parse_math=False)
        axes.grid(True, color=FAINT, linewidth=0.6)
        axes.set_axisbelow(True)
    return figure, panels


def add_legend(axes: Axes, handles: Sequence[Artist], place: Literal["inside", "beside", "below"]) -> None:
    """Add a legend of labelled artists where the axes have room inside, to their right, or below them."""
    if not handles:
        return
    places: dict[str, dict[str, Any]] = {
        "inside": {"loc": "best"},
        "beside": {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0)},
        "below": {"loc": "upper right", "bbox_to_anchor": (1.0, -0.11), "ncols": len(handles)},
    }
    legend = axes.legend(handles=handles, frameon=False, fontsize=9, labelcolor=INK, **places[place])
    for text in legend.get_texts():
        text.set_parse_math(False)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as what its name ends in, whole or not at all; the folder must exist."""
    form = path.suffix.removeprefix(".").lower()
    write_whole(path, lambda file: figure.savefig(file, format=form, dpi=DOTS_PER_INCH))
