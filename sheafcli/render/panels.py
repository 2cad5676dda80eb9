"""What pictures of several panels share: a grid, one legend for all, ticks, thinning."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from sheafcli.render.axes import POWERS_FROM
from sheafcli.render.palette import OPERATION_COLOURS
from sheafcli.render.style import INK, new_figure


def new_grid(
    title: str, *, heights: Sequence[float], columns: int, size: tuple[float, float]
) -> tuple[Figure, list[list[Axes]]]:
    """Return a figure of a size in inches with empty panels: a list of rows, each from left to right.

    `heights` are the heights of the rows relative to each other.
    """
    rows = len(heights)
    figure, panels = new_figure(title, n_panels=rows * columns, size=size)
    grid = figure.add_gridspec(rows, columns, height_ratios=heights)
    for place, axes in enumerate(panels):
        axes.set_subplotspec(grid[divmod(place, columns)])
    return figure, [panels[first : first + columns] for first in range(0, rows * columns, columns)]


def add_shared_legend(figure: Figure, handles: Sequence[Artist]) -> None:
    """Add one legend of labelled artists below all panels."""
    figure.legend(
        handles=handles,
        loc="outside lower right",
        ncols=len(handles),
        frameon=False,
        fontsize=9,
        labelcolor=INK,
    )


def operation_handles(operations: Iterable[str]) -> list[Line2D]:
    """Return a square in its colour for each of the operations, in path order, to be named in a legend."""
    present = set(operations)
    return [
        square(colour, operation) for operation, colour in OPERATION_COLOURS.items() if operation in present
    ]


def square(colour: str, label: str) -> Line2D:
    """Return a square to be named in a legend; a pale one keeps its outline."""
    return Line2D(
        [], [], linestyle="", marker="s", markersize=8, color=colour, markeredgecolor=colour, label=label
    )


def fit_log_ticks(axis: Axis, low: float, high: float, *, percent: bool = False) -> None:
    """Label a logarithmic axis at the decades from low to high or, where they are few, at 1, 2, 5 of each."""
    if high / low < POWERS_FROM or percent:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high / low < POWERS_FROM else (1.0,)))
        axis.set_major_formatter(
            FuncFormatter(lambda value, _: f"{100 * value:g}%" if percent else f"{value:g}")
        )
    axis.set_minor_formatter(NullFormatter())


def thinned(n: int, most: int) -> NDArray[np.intp]:
    """Return which of n things to draw: all, or `most` of them, evenly spaced, the first and the last too."""
    return np.linspace(0, n - 1, min(n, most)).round().astype(np.intp)
