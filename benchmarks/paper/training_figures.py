"""Pictures of the eight trained networks: loss curves, learned surfaces, regions of the classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from sheafcli.render.axes import fit_scale
from sheafcli.render.learned import add_colour_bar, draw_regions, draw_surface, surface_norm
from sheafcli.render.palette import RUN_COLOURS
from sheafcli.render.panels import add_shared_legend, new_grid
from sheafcli.render.style import INK

if TYPE_CHECKING:
    from training import Trained

METHOD_COLOURS = {"sheaf": RUN_COLOURS[0], "SGD": RUN_COLOURS[1]}
LINE_STYLES = {"train": "-", "test": (0, (4, 1.5))}
COLUMNS = 4


def curves_figure(trained: Sequence[Trained]) -> Figure:
    """Draw the losses over the steps, a panel a network: ours as lines, published points as dots."""
    figure, rows = new_grid(
        "Losses by sheaf diffusion and by SGD; dots are published",
        heights=[1, 1],
        columns=COLUMNS,
        size=(13.0, 6.4),
    )
    for axes, row in zip((axes for panels in rows for axes in panels), trained, strict=True):
        for method, run, curve in (("sheaf", row.heat, "sheaf"), ("SGD", row.sgd, "sgd")):
            history = run.table("history.csv")
            for part, style in LINE_STYLES.items():
                axes.plot(
                    history["step"],
                    history[f"{part}_loss"],
                    color=METHOD_COLOURS[method],
                    linestyle=style,
                    lw=1.3,
                )
                axes.plot(
                    *row.published_curve(curve, part),
                    linestyle="",
                    marker="o",
                    markersize=3.5,
                    color=METHOD_COLOURS[method],
                    mec="w",
                    mew=0.4,
                )
        axes.set_title(row.name, color=INK, fontsize=10)
        axes.set_xlim(0, 1.02 * history["step"].max())
        fit_scale(axes)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step / 1000:g}k" if step else "0"))
    for axes in rows[-1]:
        axes.set_xlabel("step or epoch")
    for panels in rows:
        panels[0].set_ylabel("loss")
    lines = [
        Line2D([], [], color=colour, linestyle=style, label=f"{method}, {part}")
        for method, colour in METHOD_COLOURS.items()
        for part, style in LINE_STYLES.items()
    ]
    dot = Line2D([], [], linestyle="", marker="o", markersize=4, color=INK, label="published")
    add_shared_legend(figure, [*lines, dot])
    return figure


def surfaces_figure(trained: Sequence[Trained]) -> Figure:
    """Draw what regressions have learned, a task a row: sheaf beside SGD, each network in its turn."""
    figure, rows = learned_grid(trained, "Learned surfaces; triangles are test targets, in the same colours")
    for panels, of_task in zip(rows, by_task(trained), strict=True):
        runs = [run for row in of_task for run in (row.heat, row.sgd)]
        norm = surface_norm([run.network for run in runs], runs[0].data)
        for axes, run in zip(panels, runs, strict=True):
            surface = draw_surface(axes, run.network, run.data, norm, parts=["test"])
        add_colour_bar(figure, surface, panels, "y")
        keep_one_label(panels)
    return figure


def regions_figure(trained: Sequence[Trained]) -> Figure:
    """Draw the regions of the classes, a task a row: sheaf beside SGD, each network in its turn."""
    figure, rows = learned_grid(trained, "Learned regions, stronger where surer, and the test samples")
    for panels, of_task in zip(rows, by_task(trained), strict=True):
        for axes, run in zip(panels, (run for row in of_task for run in (row.heat, row.sgd)), strict=True):
            draw_regions(axes, run.network, run.data, parts=["test"])
        keep_one_label(panels)
    return figure


def learned_grid(trained: Sequence[Trained], title: str) -> tuple[Figure, list[list[Axes]]]:
    """Return panels for the networks of `trained`, a task a row, each panel with its heading."""
    tasks = by_task(trained)
    columns = 2 * len(tasks[0])
    figure, rows = new_grid(
        title, heights=[1] * len(tasks), columns=columns, size=(13.0, 3.2 * len(tasks) + 0.6)
    )
    for panels, of_task in zip(rows, tasks, strict=True):
        headings = [f"{row.name}, {method}" for row in of_task for method in METHOD_COLOURS]
        for axes, heading in zip(panels, headings, strict=True):
            axes.set_title(heading, color=INK, fontsize=10)
    return figure, rows


def keep_one_label(panels: Sequence[Axes]) -> None:
    """Let the first panel of a row say for all what is on their vertical axes."""
    for axes in panels[1:]:
        axes.set_ylabel("")


def by_task(trained: Sequence[Trained]) -> list[list[Trained]]:
    """Return the rows of each task together."""
    tasks = dict.fromkeys(row.heat.task for row in trained)
    return [[row for row in trained if row.heat.task == task] for task in tasks]
