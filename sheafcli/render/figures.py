"""Pictures of a run: losses, discord over the steps, and what a network of two inputs has learned."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from sheafcli.core.network import Network
from sheafcli.render.axes import drawn_values, fit_scale
from sheafcli.render.palette import CLASS_COLOURS, OPERATION_COLOURS, PART_COLOURS
from sheafcli.render.style import INK, add_legend, new_figure, save_figure
from sheafcli.tasks.data import TaskData

__all__ = ["discord_figure", "learned_figure", "loss_figure", "save_figure"]

Array = NDArray[np.float64]

# A discord is a squared residual; so far below the largest it is the rounding error of a zero.
ROUNDING = (100 * np.finfo(np.float64).eps) ** 2
# Where there are more edges, only the first and the last layer of each operation are named.
MOST_NAMED_EDGES = 12
MOST_NAMED_CLASSES = 10
# What is learned is evaluated on a grid of so many points a side.
GRID = 161
PART_MARKERS = {"train": "o", "test": "^"}


def loss_figure(history: pd.DataFrame, baseline: pd.DataFrame | None, title: str) -> Figure:
    """Draw train and test loss over the steps, and a second panel of accuracies where there are any.

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


def learned_figure(network: Network, task: TaskData, title: str) -> Figure | None:
    """Draw what a network has learned over its two inputs; None where inputs or outputs do not suit.

    A regression with one output: the surface with the targets in the same colours, beside the
    residuals. Classes: the regions, stronger where the network is surer, their borders, and the samples.
    """
    n_inputs, n_outputs = network.widths[0], network.widths[-1]
    if n_inputs != 2:
        return None
    match network.output.name, n_outputs:
        case "identity", 1:
            return _surface_figure(network, task, title)
        case ("sigmoid", 1) | ("softmax", _):
            return _regions_figure(network, task, title)
    return None


def _surface_figure(network: Network, task: TaskData, title: str) -> Figure:
    figure, (surface, errors) = new_figure(title, n_panels=2, size=(10.8, 5.0))
    x1, x2, points = _grid(task)
    learned = network.predict(points).reshape(x1.shape)
    targets = np.concatenate([task.y_train, task.y_test])
    low, high = _widened(min(learned.min(), targets.min()), max(learned.max(), targets.max()))
    colours: dict[str, Any] = {"norm": Normalize(low, high), "cmap": "viridis"}
    filled = surface.contourf(x1, x2, learned, levels=np.linspace(low, high, 25), **colours)
    residuals = {part: network.predict(X) - y for part, X, y in _parts(task)}
    low, high = _widened(0.0, max(float(np.abs(residual).max()) for residual in residuals.values()))
    signs: dict[str, Any] = {"norm": Normalize(-high, high), "cmap": "PuOr"}
    for part, X, y in _parts(task):
        marker = PART_MARKERS[part]
        surface.scatter(
            X[:, 0], X[:, 1], c=y[:, 0], s=18, marker=marker, edgecolors="w", linewidths=0.5, **colours
        )
        dots = errors.scatter(
            X[:, 0],
            X[:, 1],
            c=residuals[part][:, 0],
            s=24,
            marker=marker,
            edgecolors=INK,
            linewidths=0.4,
            **signs,
        )
    for axes, drawn, heading, unit in (
        (surface, filled, "learned surface, targets as dots", task.targets[0]),
        (errors, dots, "residual: prediction minus target", "residual"),
    ):
        axes.set_title(heading, color=INK, fontsize=10)
        _fit_input_axes(axes, task, x1, x2)
        bar = figure.colorbar(drawn, ax=axes, ticks=MaxNLocator(6))
        bar.set_label(unit, color=INK, parse_math=False)
        bar.outline.set_visible(False)
        bar.ax.tick_params(colors=INK, labelsize=9)
    add_legend(errors, _part_handles(), "below")
    return figure


def _regions_figure(network: Network, task: TaskData, title: str) -> Figure:
    figure, (axes,) = new_figure(title, n_panels=1, size=(7.2, 5.2))
    x1, x2, points = _grid(task)
    chances = _class_chances(network.predict(points))
    n_classes = chances.shape[1]
    colours = [CLASS_COLOURS[code % len(CLASS_COLOURS)] for code in range(n_classes)]
    # From white, where all classes are equally likely, to a tint of the likeliest one's colour.
    certainty = (n_classes * chances.max(axis=1, keepdims=True) - 1.0) / (n_classes - 1.0)
    tints = np.array([to_rgb(colour) for colour in colours])[chances.argmax(axis=1)]
    picture = (1.0 - 0.5 * certainty * (1.0 - tints)).clip(0.0, 1.0)
    extent = (x1.min(), x1.max(), x2.min(), x2.max())
    axes.imshow(picture.reshape(*x1.shape, 3), origin="lower", extent=extent, interpolation="bilinear")
    for code in range(1, n_classes):
        lead = chances[:, code] - np.delete(chances, code, axis=1).max(axis=1)
        if lead.min() < 0.0 < lead.max():
            axes.contour(x1, x2, lead.reshape(x1.shape), levels=[0.0], colors=INK, linewidths=1.2)
    for part, X, y in _parts(task):
        codes = _class_chances(y).argmax(axis=1)
        shown = [colours[code] for code in codes]
        axes.scatter(
            X[:, 0], X[:, 1], c=shown, s=20, marker=PART_MARKERS[part], edgecolors="w", linewidths=0.5
        )
    _fit_input_axes(axes, task, x1, x2)
    named = list(zip(task.classes, colours, strict=True))[:MOST_NAMED_CLASSES]
    classes = [_dot("o", colour, f"{task.targets[0]} = {name}") for name, colour in named]
    add_legend(axes, [*classes, *_part_handles()], "beside")
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


def _shade(colour: str, place: float) -> str:
    """Return a colour in a shade from dark (place 0) over its own (0.5) to light (1)."""
    own = np.array(to_rgb(colour))
    red, green, blue = own * (0.6 + 0.8 * place) if place <= 0.5 else own + (place - 0.5) * (1.0 - own)
    return to_hex((red, green, blue))


def _parts(task: TaskData) -> Iterator[tuple[str, Array, Array]]:
    yield "train", task.X_train, task.y_train
    yield "test", task.X_test, task.y_test


def _part_handles() -> list[Line2D]:
    return [_dot(marker, "w", part) for part, marker in PART_MARKERS.items()]


def _dot(marker: str, colour: str, label: str) -> Line2D:
    edge = INK if colour == "w" else "w"
    return Line2D([], [], linestyle="", marker=marker, color=colour, markeredgecolor=edge, label=label)


def _class_chances(prediction: Array) -> Array:
    """Return one column a class, also for a sigmoid's single column."""
    return np.hstack([1.0 - prediction, prediction]) if prediction.shape[1] == 1 else prediction


def _widened(low: float, high: float) -> tuple[float, float]:
    """Return a proper interval, also where all values are the same."""
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _grid(task: TaskData) -> tuple[Array, Array, Array]:
    """Return a grid a little larger than the data: both coordinates, and its points as samples."""
    X = np.concatenate([task.X_train, task.X_test])
    sides = []
    for column in X.T:
        low, high = _widened(float(column.min()), float(column.max()))
        margin = 0.05 * (high - low)
        sides.append(np.linspace(low - margin, high + margin, GRID))
    x1, x2 = np.meshgrid(*sides)
    return x1, x2, np.column_stack([x1.ravel(), x2.ravel()])


def _fit_input_axes(axes: Axes, task: TaskData, x1: Array, x2: Array) -> None:
    """Name the axes and fit them to the grid, with equal units where the two ranges are alike."""
    axes.set_xlabel(task.features[0])
    axes.set_ylabel(task.features[1])
    axes.grid(False)
    axes.set_xlim(x1.min(), x1.max())
    axes.set_ylim(x2.min(), x2.max())
    alike = 0.5 <= np.ptp(x1) / np.ptp(x2) <= 2.0
    axes.set_aspect("equal" if alike else "auto")
