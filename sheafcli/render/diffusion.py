"""A diffusion as people look at it: live on a terminal, in one table, and in pictures."""

from __future__ import annotations

import re
import time
from types import TracebackType
from typing import Protocol

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sheafcli.core.diffusion import Diffusion
from sheafcli.core.trace import Recorder
from sheafcli.core.types import Array
from sheafcli.diagnostics.diffusion import patterns_for_bound
from sheafcli.render.console import live_view, stderr
from sheafcli.render.house_table import house_table
from sheafcli.render.numbers import MISSING
from sheafcli.render.palette import CLASS_COLOURS, PART_COLOURS
from sheafcli.render.style import INK, add_legend, new_figure

# Integrators follow a decay to some percent: a rate is too low only below this share of its bound.
INTEGRATED = 0.95
# A diffusion that is over before anybody waits is not shown under way.
APPEARS_AFTER_SECONDS = 0.5
# More crossings than that are drawn by their density, in so many bins.
MOST_TICKS, BINS = 200, 200
# The share of the height that crossings take, at the bottom, and that is kept free for them.
STRIP, ROOM = 0.04, 0.08
MOST_NAMED_OUTPUTS = 10
# What is drawn over time, and the share of its largest value below which it is rounding error.
ROUNDING = 100 * np.finfo(np.float64).eps
CURVES = {"energy": ("energy", ROUNDING**2), "distance": ("distance from equilibrium", ROUNDING)}
WATCHED = re.compile(r"([za]\d+)\[(\d+)\]")


class LiveTrace:
    """Shows a diffusion on a terminal as it goes: a context manager around what a recorder sees.

    Entering it gives the recorder, to be handed to `diffuse`. What is shown is the recorder's last
    sighting, looked up a few times a second, so that a step costs nothing more. Where standard error
    is not a terminal, or with `quiet`, nothing is ever written, and nothing stays when it is over.
    """

    def __init__(self, recorder: Recorder, *, quiet: bool = False):
        self._recorder = recorder
        self._began = time.monotonic()
        console = stderr()
        self._live: Live | None = None
        if console.file.isatty() and not quiet:
            self._live = live_view(self.view, console)

    def __enter__(self) -> Recorder:
        if self._live is not None:
            self._live.start()
        return self._recorder

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def view(self) -> RenderableType:
        """Draw the diffusion as it stands, or nothing while nobody has waited for it."""
        if time.monotonic() - self._began < APPEARS_AFTER_SECONDS or not self._recorder.sightings:
            return Group()
        seen = self._recorder.sightings[-1]
        edge, discord = max(seen.discord.items(), key=lambda item: item[1])
        cells = {
            "\nstep": f"{seen.step:,}",
            "integration\ntime": f"{seen.time:.5g}",
            "force\nevaluations": f"{seen.evaluations:,}",
            "\nenergy": f"{seen.energy:.2e}",
            "\ndistance": MISSING if seen.distance is None else f"{seen.distance.max():.2e}",
            "largest\ndiscord": f"{edge.name} {discord:.2e}",
        }
        table = house_table()
        for header in cells:
            table.add_column(header, justify="right", no_wrap=True)
        table.add_row(*cells.values())
        return table


class Stalks(Protocol):
    """Where a diffusion should end: stalks by name, samples x stalk."""

    def stalks(self) -> dict[str, Array]:
        """Return them in topological order."""


def diffusion_table(flow: Diffusion, recorder: Recorder, bound: float) -> Table:
    """Return what came of a diffusion.

    `bound` is the rate at which it should decay at least; the rate that was measured stands beside it,
    in red if it is lower.
    """
    first, last = recorder.sightings[0], recorder.sightings[-1]
    at_rest, samples = int(flow.converged.sum()), len(flow.converged)
    patterns = recorder.met_patterns()
    crossings = f"{recorder.crossed:,}"
    if recorder.crossed > len(recorder.crossings):
        crossings += f" (the first {len(recorder.crossings):,} kept)"
    met = f"{len(patterns):,}"
    seen = len(patterns_for_bound(recorder))
    of_how_many = f", of {seen} patterns" if len(patterns) > seen else ""
    measured = recorder.decay_rate()
    slow = measured is not None and measured < INTEGRATED * bound
    ratio = MISSING if measured is None else f"{measured / bound:.4g}"
    rows: list[tuple[str, Text | str]] = [
        ("steps", f"{flow.steps:,}"),
        ("force evaluations", f"{flow.evaluations:,}"),
        ("integration time", f"{flow.time:.6g}"),
        ("samples at rest", Text(f"{at_rest} of {samples}", "" if at_rest == samples else "bold red")),
        ("largest rate left", f"{flow.rate.max():.3g}"),
        ("energy at start", f"{first.energy:.6g}"),
        ("energy at end", f"{last.energy:.6g}"),
        ("distance from equilibrium at start", _largest(first.distance)),
        ("distance from equilibrium at end", _largest(last.distance)),
        ("crossings", crossings),
        ("patterns met", met),
        ("decay rate, measured", MISSING if measured is None else f"{measured:.6g}"),
        (f"decay rate, bound (smallest eigenvalue met{of_how_many})", f"{bound:.6g}"),
        ("measured / bound", Text(ratio, "bold red" if slow else "")),
    ]
    table = house_table(f"Diffusion of {samples} sample{'s' if samples > 1 else ''}")
    table.show_header = False
    table.add_column()
    table.add_column(justify="right", no_wrap=True)
    for name, value in rows:
        table.add_row(name, value)
    return table


def diffusion_figures(
    trace: pd.DataFrame, crossings: pd.DataFrame, goal: Stalks, title: str
) -> dict[str, Figure]:
    """Return the pictures of a diffusion by name: energy, output and, where two neurons were watched, phase.

    `trace` and `crossings` are the tables diffusion.csv and crossings.csv, `goal` the equilibrium.
    """
    figures = {
        "energy": _energy_figure(trace, crossings, title),
        "output": _output_figure(trace, goal, title),
    }
    watched = [name for name in trace.columns if WATCHED.fullmatch(str(name))]
    if len(watched) == 2:
        figures["phase"] = _phase_figure(trace, watched, goal, title)
    return figures


def _energy_figure(trace: pd.DataFrame, crossings: pd.DataFrame, title: str) -> Figure:
    """Draw energy and distance over log time, for crossings come early, and over time, for the rate."""
    figure, (early, late) = new_figure(title, n_panels=2, size=(10.8, 4.6))
    times = trace["time"].to_numpy(dtype=np.float64)
    curves = {name: _above_rounding(trace[name], floor) for name, (_, floor) in CURVES.items()}
    drawn = np.any([np.isfinite(values) for values in curves.values()], axis=0)
    colours = PART_COLOURS["train"], PART_COLOURS["test"]
    for axes, heading in ((early, "on the way"), (late, "decay: a straight line is exponential")):
        for (name, values), colour in zip(curves.items(), colours, strict=True):
            if np.isfinite(values).any():
                axes.plot(times, values, color=colour, linewidth=1.6, label=CURVES[name][0])
        axes.set_title(heading, color=INK, fontsize=10)
        axes.set_xlabel("integration time")
        if axes.lines:
            axes.set_yscale("log")
            axes.yaxis.set_minor_formatter(NullFormatter())
            low, high = np.log10(axes.get_ylim())
            axes.set_ylim(10.0 ** (low - ROOM * (high - low)), 10.0**high)
    _fit_log_time(early, times)
    late.set_xlim(0.0, times[drawn][-1] if drawn[1:].any() else times[-1])
    handles = list(early.lines)
    if len(crossings) > 0:
        _draw_crossings(early, crossings["time"].to_numpy(dtype=np.float64))
        label = "crossings" if len(crossings) > 1 else "a crossing"
        handles.append(Line2D([], [], linestyle="", marker="|", markersize=9, color=INK, label=label))
    add_legend(early, handles, "below")
    return figure


def _output_figure(trace: pd.DataFrame, goal: Stalks, title: str) -> Figure:
    figure, (axes,) = new_figure(title, n_panels=1, size=(8.4, 4.6))
    # A vertex of the target stands behind the last stalk.
    last, values = [(name, stalk[0]) for name, stalk in goal.stalks().items() if name != "y"][-1]
    handles = []
    for i, value in enumerate(values):
        colour, label = CLASS_COLOURS[i % len(CLASS_COLOURS)], f"{last}[{i}]"
        handles += axes.plot(trace["time"], trace[f"output_{i}"], color=colour, linewidth=1.6, label=label)
        axes.axhline(value, color=colour, linewidth=1.2, linestyle="--")
    _fit_log_time(axes, trace["time"].to_numpy(dtype=np.float64))
    axes.set_xlabel("integration time")
    axes.set_ylabel("output of the first sample")
    rest = Line2D([], [], color=INK, linewidth=1.2, linestyle="--", label="equilibrium")
    add_legend(axes, [*handles[:MOST_NAMED_OUTPUTS], rest], "beside")
    return figure


def _phase_figure(trace: pd.DataFrame, watched: list[str], goal: Stalks, title: str) -> Figure:
    """Draw the path of two coordinates of the first sample, a dot a sighting, coloured by log time."""
    figure, (axes,) = new_figure(title, n_panels=1, size=(7.2, 5.2))
    times = trace["time"].to_numpy(dtype=np.float64)
    points = trace[watched].to_numpy(dtype=np.float64)
    shades = LogNorm(times[1], max(times[-1], 2.0 * times[1]))
    path = LineCollection(
        list(np.stack([points[:-1], points[1:]], axis=1)), linewidths=1.8, cmap="viridis", norm=shades
    )
    path.set_array(times[1:])
    axes.add_collection(path)
    dots = axes.scatter(points[1:, 0], points[1:, 1], c=times[1:], s=9, cmap="viridis", norm=shades)
    axes.plot(*points[0], marker="o", markersize=9, markerfacecolor="w", markeredgecolor=INK)
    rest = [_coordinate(goal, name) for name in watched]
    axes.plot(*rest, marker="x", markersize=9, markeredgewidth=2.0, color=INK)
    axes.margins(0.08)
    axes.autoscale_view()
    axes.autoscale(False)
    axes.axvline(0.0, color=INK, linewidth=1.0, linestyle=":")
    axes.axhline(0.0, color=INK, linewidth=1.0, linestyle=":")
    axes.set_xlabel(watched[0])
    axes.set_ylabel(watched[1])
    bar = figure.colorbar(dots, ax=axes)
    bar.set_label("integration time", color=INK)
    bar.outline.set_visible(False)
    bar.ax.tick_params(which="both", colors=INK, labelsize=9)
    handles = [
        Line2D([], [], linestyle="", marker="o", markerfacecolor="w", markeredgecolor=INK, label="start"),
        Line2D([], [], linestyle="", marker="x", markeredgewidth=2.0, color=INK, label="equilibrium"),
        Line2D([], [], linestyle=":", color=INK, linewidth=1.0, label="z = 0: the pattern changes"),
    ]
    add_legend(axes, handles, "below")
    return figure


def _largest(distance: Array | None) -> str:
    return MISSING if distance is None else f"{distance.max():.6g}"


def _above_rounding(values: pd.Series, floor: float) -> Array:
    """Return values with NaN for what a logarithmic axis should not show: zeros and their rounding errors."""
    known = values.where(np.isfinite(values) & (values > 0.0)).to_numpy(dtype=np.float64)
    if np.isnan(known).all():
        return known
    return np.where(known > floor * np.nanmax(known), known, np.nan)


def _coordinate(goal: Stalks, name: str) -> float:
    """Return a coordinate of the first sample by a name such as z1[3]."""
    found = WATCHED.fullmatch(name)
    assert found is not None
    return float(goal.stalks()[found[1]][0, int(found[2])])


def _fit_log_time(axes: Axes, times: Array) -> None:
    """Make time logarithmic, from the first step to the last."""
    axes.set_xscale("log")
    axes.set_xlim(times[1], max(times[-1], 2.0 * times[1]))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _draw_crossings(axes: Axes, times: Array) -> None:
    """Mark crossings at the bottom of a logarithmic axis: a tick each, or their density if they are many."""
    across = axes.get_xaxis_transform()
    if len(times) <= MOST_TICKS:
        axes.vlines(times, 0.0, STRIP, transform=across, color=INK, linewidth=0.7)
        return
    counts, edges = np.histogram(times, bins=np.geomspace(*axes.get_xlim(), BINS + 1))
    strip = np.ma.masked_equal(counts, 0)[None, :]
    shades = LogNorm(0.3, counts.max())  # a single crossing is visible, too
    axes.pcolormesh(edges, [0.0, STRIP], strip, transform=across, cmap="Greys", norm=shades)
