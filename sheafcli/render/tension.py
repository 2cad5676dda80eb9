"""The tension of a diagnosis: which samples a network disagrees with itself about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from sheafcli.render.axes import LOG_FROM, fit_scale
from sheafcli.render.figures import ROUNDING
from sheafcli.render.numbers import percent
from sheafcli.render.palette import CLASS_COLOURS, OPERATION_COLOURS
from sheafcli.render.panels import add_shared_legend, fit_log_ticks, operation_handles, thinned
from sheafcli.render.style import INK, new_figure

WORST, FEWEST_ROWS = 15, 8
# Of more samples, some are drawn in the sorted panel, evenly spaced; of more classes, the worst.
MOST_SAMPLES, MOST_CLASSES = 5000, 20
# Names of classes are cut after so many characters.
LONGEST_NAME = 18
GOLDEN = (5.0**0.5 - 1.0) / 2.0
RIGHT, WRONG = CLASS_COLOURS[:2]


def tension_figure(samples: pd.DataFrame, edges: pd.DataFrame, title: str) -> Figure:
    """Draw the discord of every sample, sorted; of the worst few by operation; and of classes, if any.

    `samples` and `edges` are the tables of a diagnosis. A sample has the colour of the edge that carries most
    of it. Among the classes, worst on top, samples that are classified wrongly have a colour and a marker
    of their own.
    """
    classes = _classes(samples)
    n_panels = 3 if len(classes) > 0 else 2
    figure, (sorted_, worst, *by_class) = new_figure(title, n_panels=n_panels, size=(5.2 * n_panels, 4.8))
    ranked = samples.sort_values("discord", ascending=False, kind="stable")
    operations = dict(zip(edges["edge"], edges["operation"], strict=True))
    _draw_ranks(sorted_, ranked, operations)
    _draw_worst(worst, ranked.iloc[:WORST], operations)
    handles = operation_handles(operations.values())
    for axes in by_class:
        handles += _draw_classes(axes, samples, classes)
    add_shared_legend(figure, handles)
    return figure


def _classes(samples: pd.DataFrame) -> list[str]:
    """Return the classes, that with the most discord a sample first; none for a regression."""
    if "target" not in samples or pd.api.types.is_numeric_dtype(samples["target"]):
        return []
    means = samples.groupby("target")["discord"].mean()
    return means.sort_values(ascending=False, kind="stable").index.tolist()


def _above_rounding(discord: pd.Series) -> pd.Series:
    """Return discord with NaN for zeros and their rounding errors, which no logarithmic axis should show."""
    return discord.where(discord > ROUNDING * discord.max())


def _draw_ranks(axes: Axes, ranked: pd.DataFrame, operation_of: Mapping[str, str]) -> None:
    drawn = thinned(len(ranked), MOST_SAMPLES)
    operations = ranked["worst_edge"].map(operation_of).to_numpy()[drawn]
    heights = _above_rounding(ranked["discord"]).to_numpy(dtype=np.float64)[drawn]
    for operation, colour in OPERATION_COLOURS.items():
        here = operations == operation
        if here.any():
            axes.plot(
                drawn[here] + 1,
                heights[here],
                linestyle="",
                marker="o",
                markersize=3.5,
                color=colour,
                label=operation,
            )
    fit_scale(axes)
    tenth = -(-len(ranked) // 10)
    share = float(ranked["share"].iloc[:tenth].sum())
    heading = f"the worst {tenth:,} of {len(ranked):,} samples: {percent(share)} of the discord"
    axes.set_title(heading, color=INK, fontsize=10)
    axes.set_xlabel("samples, sorted")
    axes.set_ylabel("discord")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda rank, _: f"{rank:,.0f}"))
    axes.set_xlim(0.5 - 0.02 * len(ranked), 0.5 + 1.02 * len(ranked))


def _draw_worst(axes: Axes, worst: pd.DataFrame, operation_of: Mapping[str, str]) -> None:
    """Draw a bar a sample, stacked from the operations, with its outcome at the end."""
    at = np.arange(len(worst))
    left = np.zeros(len(worst))
    for operation, colour in OPERATION_COLOURS.items():
        columns = [f"discord_{edge}" for edge, its in operation_of.items() if its == operation]
        width = worst[columns].sum(axis=1).to_numpy(dtype=np.float64)
        axes.barh(at, width, 0.7, left=left, color=colour)
        left = left + width
    what, texts = _outcomes(worst)
    for place, text in enumerate(texts):
        axes.annotate(
            text,
            (left[place], place),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=INK,
            parse_math=False,
        )
    axes.set_yticks(at, [f"sample {sample}" for sample in worst["sample"]])
    axes.set_ylim(max(len(worst), FEWEST_ROWS) - 0.4, -0.6)
    axes.set_xlim(0.0, 1.45 * (left.max() or 1.0))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("discord")
    axes.set_title(f"the worst {len(worst)}: {what}", color=INK, fontsize=10)


def _outcomes(samples: pd.DataFrame) -> tuple[str, list[str]]:
    """Return what is said of every sample, and the text: target and prediction, or else the worst edge."""
    if "target" not in samples:
        return "worst edge", samples["worst_edge"].tolist()
    texts = (
        [
            f"{value:.3g}" if isinstance(value, float) else f"{value:.{LONGEST_NAME}}"
            for value in samples[name]
        ]
        for name in ("target", "predicted")
    )
    return "target → prediction", [
        f"{target} → {predicted}" for target, predicted in zip(*texts, strict=True)
    ]


def _draw_classes(axes: Axes, samples: pd.DataFrame, classes: list[str]) -> list[Line2D]:
    """Draw a row a class with its samples at their discord; return what tells right from wrong ones."""
    shown = classes[:MOST_CLASSES]
    rows = samples["target"].map({class_: row for row, class_ in enumerate(shown)}).to_numpy(dtype=np.float64)
    # The golden ratio scatters the samples of a row evenly, and alike each time.
    rows = rows + 0.6 * (np.arange(len(rows)) * GOLDEN % 1.0 - 0.5)
    discord = _above_rounding(samples["discord"]).to_numpy(dtype=np.float64)
    right = (samples["target"] == samples["predicted"]).to_numpy()
    handles = []
    for label, marker, colour, here in (("right", ".", RIGHT, right), ("wrong", "x", WRONG, ~right)):
        style: dict[str, Any] = {"linestyle": "", "marker": marker, "color": colour, "label": label}
        axes.plot(discord[here], rows[here], markersize=4.0, **style)
        if here.any():
            handles.append(Line2D([], [], markersize=7.0, **style))
    positive = discord[np.isfinite(discord)]
    if len(positive) > 0 and positive.max() >= LOG_FROM * positive.min():
        axes.set_xscale("log")
        fit_log_ticks(axes.xaxis, positive.min(), positive.max())
    means = _above_rounding(samples.groupby("target")["discord"].mean()).loc[shown]
    axes.plot(
        means, np.arange(len(shown)), linestyle="", marker="|", markersize=14.0, color=INK, label="mean"
    )
    handles.append(Line2D([], [], linestyle="", marker="|", markersize=10.0, color=INK, label="mean"))
    axes.set_yticks(np.arange(len(shown)), [f"{class_:.{LONGEST_NAME}}" for class_ in shown])
    for name in axes.get_yticklabels():
        name.set_parse_math(False)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("discord")
    fewer = "" if len(shown) == len(classes) else f" (the worst {len(shown)} of {len(classes)})"
    axes.set_title(f"by class{fewer}", color=INK, fontsize=10)
    return handles
