"""What the maps of a sheaf predict against what the stalks hold, edge by edge, at an equilibrium."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, ScalarFormatter
from numpy.typing import NDArray

from sheafcli.core.chain.extension import Extension
from sheafcli.core.chain.network import Network
from sheafcli.core.discord import residuals
from sheafcli.core.edge import Edge
from sheafcli.core.types import Array
from sheafcli.render.palette import CLASS_COLOURS, OPERATION_COLOURS, PART_COLOURS
from sheafcli.render.panels import add_shared_legend, new_grid, thinned
from sheafcli.render.style import INK

# The states of a hidden neuron by their code in `Extension.states`; those of the last layer have none.
STATES = ("inactive", "active", "held at the kink")
OUTPUT = "output neuron"
STATE_COLOURS = dict(
    zip(
        (*STATES, OUTPUT),
        (CLASS_COLOURS[3], CLASS_COLOURS[0], CLASS_COLOURS[1], PART_COLOURS["train"]),
        strict=True,
    )
)
# Of each state so many points are drawn at most, and so many edges.
MOST_POINTS = 4000
MOST_EDGES = 30
MOST_BESIDE = 5
# In inches: a panel's width, the height of an edge's two panels, and all else above and below.
PANEL, PAIR, MARGINS = 2.5, 3.6, 1.0
# The height of the lower panel, as a share of that of the upper one, which is a square.
LOWER = 0.6
# Residuals below this share of the values are rounding errors: they are not blown up to a cloud.
ROUNDING = 1e-12


def edges_figure(network: Network, X: Array, extension: Extension, title: str) -> Figure:
    """Draw, edge by edge, every value that the map predicts against the actual one, and the residual below.

    The map of an edge takes the stalk before it to a prediction (W a + b, R z, phi(z)) of the stalk after
    it; the residual is the prediction minus the actual value. A point is a neuron of a sample. Of very many
    points of a state those at evenly spaced ranks of the residual are drawn, the extreme ones
    always; of very many edges those with the most discord.
    """
    residual = residuals(network, X, extension.cochain)
    edges = list(residual)
    if len(edges) > MOST_EDGES:
        total = [float(np.sum(r * r)) for r in residual.values()]
        edges = [edges[place] for place in sorted(np.argsort(total)[-MOST_EDGES:])]
        title = f"{title}\nthe {MOST_EDGES} of {len(residual)} edges with the most discord"
    blocks = -(-len(edges) // MOST_BESIDE)
    columns = -(-len(edges) // blocks)
    size = (0.4 + PANEL * max(columns, 2), MARGINS + PAIR * blocks)
    figure, rows = new_grid(title, heights=[1.0, LOWER] * blocks, columns=columns, size=size)
    panels = [
        pair for block in range(blocks) for pair in zip(rows[2 * block], rows[2 * block + 1], strict=True)
    ]
    seen = set()
    for edge, (above, below) in zip(edges, panels, strict=False):
        actual = _stalk_after(extension, edge)
        predicted = actual + residual[edge]
        for state, chosen in _states(extension, edge):
            x, y = _thinned(predicted[chosen], actual[chosen])
            style: dict[str, Any] = {
                "linestyle": "",
                "marker": ".",
                "markersize": 3.0,
                "markeredgewidth": 0.0,
            }
            above.plot(x, y, color=STATE_COLOURS[state], label=state, **style)
            below.plot(x, x - y, color=STATE_COLOURS[state], label=state, **style)
            seen.add(state)
        _fit(above, below, predicted, actual)
        _name(above, below, edge, depth=network.depth)
    for pair in panels[len(edges) :]:
        for axes in pair:
            axes.remove()
    dots = [
        Line2D([], [], linestyle="", marker="o", markersize=5, color=colour, label=state)
        for state, colour in STATE_COLOURS.items()
        if state in seen
    ]
    agreement = Line2D([], [], color=INK, linewidth=0.8, linestyle="--", label="no discord")
    add_shared_legend(figure, [*dots, agreement])
    return figure


def _stalk_after(extension: Extension, edge: Edge) -> Array:
    """Return what the later vertex of an edge holds, samples x edge stalk."""
    cochain = extension.cochain
    if edge.operation == "output":
        assert cochain.y is not None
        return cochain.y
    return (cochain.z if edge.operation == "affine" else cochain.a)[edge.layer]


def _states(extension: Extension, edge: Edge) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield the states that occur on an edge, each with where it does, the most frequent first."""
    if edge.layer > len(extension.states):
        yield OUTPUT, np.ones(_stalk_after(extension, edge).shape, dtype=bool)
        return
    states = extension.states[edge.layer - 1]
    counts = np.bincount(states.ravel(), minlength=len(STATES))
    for code in np.argsort(-counts, kind="stable"):
        if counts[code] > 0:
            yield STATES[code], states == code


def _thinned(predicted: Array, actual: Array) -> tuple[Array, Array]:
    """Return the points to draw; equal residuals are ranked by the prediction, not by their neuron."""
    if len(predicted) <= MOST_POINTS:
        return predicted, actual
    ranked = np.lexsort((predicted, predicted - actual))
    kept = ranked[thinned(len(ranked), MOST_POINTS)]
    return predicted[kept], actual[kept]


def _fit(above: Axes, below: Axes, predicted: Array, actual: Array) -> None:
    """Give the upper panel one interval on both axes, so that agreement is its diagonal."""
    low, high = min(predicted.min(), actual.min()), max(predicted.max(), actual.max())
    margin = 0.05 * (high - low) or 0.5 * abs(high) or 0.5
    largest = np.abs(predicted - actual).max()
    room = max(1.1 * largest, ROUNDING * max(abs(low), abs(high), 1.0))
    above.set(xlim=(low - margin, high + margin), ylim=(low - margin, high + margin), box_aspect=1.0)
    below.set(xlim=(low - margin, high + margin), ylim=(-room, room), box_aspect=LOWER)
    above.axline((0.0, 0.0), slope=1.0, color=INK, linewidth=0.8, linestyle="--", zorder=1.0)
    below.axhline(0.0, color=INK, linewidth=0.8, linestyle="--", zorder=1.0)
    for axes in (above, below):
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 5, 10]))
            formatter = ScalarFormatter(useOffset=False)
            formatter.set_powerlimits((-3, 4))
            axis.set_major_formatter(formatter)
            axis.get_offset_text().set(size=8, color=INK)
    above.tick_params(axis="x", labelbottom=False)


def _name(above: Axes, below: Axes, edge: Edge, *, depth: int) -> None:
    """Name the edge in the colour of its operation, and the two values by their formulas."""
    layer = edge.layer
    before = "x" if layer == 1 else f"a{layer - 1}"
    map_, after = {
        "affine": (f"W{layer} {before} + b{layer}", f"z{layer}"),
        "activation": (f"R{layer} z{layer}", f"a{layer}"),
        "output": (f"phi(z{depth + 1})", "y"),
    }[edge.operation]
    above.set_title(edge.name, color=OPERATION_COLOURS[edge.operation], fontsize=10, fontweight="bold")
    above.set_ylabel(f"actual {after}")
    below.set_ylabel("residual")
    below.set_xlabel(f"predicted {map_}")
