"""Pictures of what a network of two inputs has learned: a surface, or the regions of classes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, to_rgb
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from sheafcli.core.network import AnyNetwork
from sheafcli.core.types import Array
from sheafcli.render.palette import CLASS_COLOURS
from sheafcli.render.style import INK, add_legend, new_figure
from sheafcli.tasks.data import TaskData

MOST_NAMED_CLASSES = 10
# What is learned is evaluated on a grid of so many points a side.
GRID = 161
PART_MARKERS = {"train": "o", "test": "^"}
BOTH_PARTS = tuple(PART_MARKERS)


def learned_figure(network: AnyNetwork, task: TaskData, title: str) -> Figure | None:
    """Draw what a network has learned over its two inputs; None where inputs or outputs do not suit.

    A regression with one output: the surface with the targets in the same colours, beside the
    residuals. Classes: the regions, stronger where the network is surer, their borders, and the samples.
    """
    n_inputs, n_outputs = math.prod(network.input_shape), network.n_outputs
    if n_inputs != 2:
        return None
    match network.output.name, n_outputs:
        case "identity", 1:
            return _surface_figure(network, task, title)
        case ("sigmoid", 1) | ("softmax", _):
            return _regions_figure(network, task, title)
    return None


def surface_norm(networks: Sequence[AnyNetwork], task: TaskData) -> Normalize:
    """Return one range of colours for the predictions of several networks and the targets of all samples."""
    _, _, points = _grid(task)
    values = np.concatenate([network.predict(points)[:, 0] for network in networks])
    values = np.concatenate([values, task.y_train[:, 0], task.y_test[:, 0]])
    return Normalize(*_widened(float(values.min()), float(values.max())))


def draw_surface(
    axes: Axes, network: AnyNetwork, task: TaskData, norm: Normalize, parts: Sequence[str] = BOTH_PARTS
) -> QuadContourSet:
    """Draw a prediction over two inputs, and the targets of the samples in the same colours."""
    x1, x2, points = _grid(task)
    learned = network.predict(points).reshape(x1.shape)
    colours: dict[str, Any] = {"norm": norm, "cmap": "viridis"}
    levels = np.asarray(norm.inverse(np.linspace(0.0, 1.0, 25)))
    filled = axes.contourf(x1, x2, learned, levels=levels, **colours)
    for part, X, y in _parts(task, parts):
        dots: dict[str, Any] = {"s": 18, "marker": PART_MARKERS[part], "edgecolors": "w", "linewidths": 0.5}
        axes.scatter(X[:, 0], X[:, 1], c=y[:, 0], **dots, **colours)
    _fit_input_axes(axes, task, x1, x2)
    return filled


def draw_regions(
    axes: Axes, network: AnyNetwork, task: TaskData, parts: Sequence[str] = BOTH_PARTS
) -> list[str]:
    """Draw the likeliest class over two inputs, and the samples; return the colours of the classes.

    From white, where all classes are equally likely, to a tint of the likeliest one's colour, with the
    borders between each class and the others.
    """
    x1, x2, points = _grid(task)
    chances = _class_chances(network.predict(points))
    n_classes = chances.shape[1]
    colours = [CLASS_COLOURS[code % len(CLASS_COLOURS)] for code in range(n_classes)]
    certainty = (n_classes * chances.max(axis=1, keepdims=True) - 1.0) / (n_classes - 1.0)
    tints = np.array([to_rgb(colour) for colour in colours])[chances.argmax(axis=1)]
    picture = (1.0 - 0.5 * certainty * (1.0 - tints)).clip(0.0, 1.0)
    extent = (x1.min(), x1.max(), x2.min(), x2.max())
    axes.imshow(picture.reshape(*x1.shape, 3), origin="lower", extent=extent, interpolation="bilinear")
    for code in range(1, n_classes):
        lead = chances[:, code] - np.delete(chances, code, axis=1).max(axis=1)
        if lead.min() < 0.0 < lead.max():
            axes.contour(x1, x2, lead.reshape(x1.shape), levels=[0.0], colors=INK, linewidths=1.2)
    for part, X, y in _parts(task, parts):
        shown = [colours[code] for code in _class_chances(y).argmax(axis=1)]
        marker = PART_MARKERS[part]
        axes.scatter(X[:, 0], X[:, 1], c=shown, s=20, marker=marker, edgecolors="w", linewidths=0.5)
    _fit_input_axes(axes, task, x1, x2)
    return colours


def add_colour_bar(figure: Figure, drawn: Any, axes: Axes | Sequence[Axes], unit: str) -> None:
    """Add what the colours of a surface, or of dots, stand for beside the axes."""
    bar = figure.colorbar(drawn, ax=axes, ticks=MaxNLocator(6))
    bar.set_label(unit, color=INK, parse_math=False)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=INK, labelsize=9)


def _surface_figure(network: AnyNetwork, task: TaskData, title: str) -> Figure:
    figure, (surface, errors) = new_figure(title, n_panels=2, size=(10.8, 5.0))
    surface.set_title("learned surface, targets as dots", color=INK, fontsize=10)
    errors.set_title("residual: prediction minus target", color=INK, fontsize=10)
    drawn = draw_surface(surface, network, task, surface_norm([network], task))
    add_colour_bar(figure, drawn, surface, task.targets[0])
    residuals = {part: network.predict(X) - y for part, X, y in _parts(task)}
    _, high = _widened(0.0, max(float(np.abs(residual).max()) for residual in residuals.values()))
    signs: dict[str, Any] = {"norm": Normalize(-high, high), "cmap": "PuOr"}
    for part, X, _ in _parts(task):
        ring: dict[str, Any] = {"s": 24, "marker": PART_MARKERS[part], "edgecolors": INK, "linewidths": 0.4}
        dots = errors.scatter(X[:, 0], X[:, 1], c=residuals[part][:, 0], **ring, **signs)
    x1, x2, _ = _grid(task)
    _fit_input_axes(errors, task, x1, x2)
    add_colour_bar(figure, dots, errors, "residual")
    add_legend(errors, _part_handles(), "below")
    return figure


def _regions_figure(network: AnyNetwork, task: TaskData, title: str) -> Figure:
    figure, (axes,) = new_figure(title, n_panels=1, size=(7.2, 5.2))
    colours = draw_regions(axes, network, task)
    named = list(zip(task.classes, colours, strict=True))[:MOST_NAMED_CLASSES]
    classes = [_dot("o", colour, f"{task.targets[0]} = {name}") for name, colour in named]
    add_legend(axes, [*classes, *_part_handles()], "beside")
    return figure


def _parts(task: TaskData, parts: Sequence[str] = BOTH_PARTS) -> Iterator[tuple[str, Array, Array]]:
    samples = {"train": (task.X_train, task.y_train), "test": (task.X_test, task.y_test)}
    for part in parts:
        yield part, *samples[part]


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
