"""The confusion matrix as a picture."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from sheafcli.render.style import INK, new_figure
from sheafcli.tasks.metrics import Metrics

MOST_DRAWN, LONGEST = 30, 16


def confusion_figure(metrics: Metrics, title: str) -> Figure | None:
    """Draw the confusion matrix in shares of the true classes; None where there is none, or too large."""
    if metrics.confusion is None or len(metrics.classes) > MOST_DRAWN:
        return None
    counts = metrics.confusion
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [_short(score.name) for score in metrics.classes]
    side = max(3.4, 0.45 * len(names) + 1.8)
    figure, (axes,) = new_figure(title, n_panels=1, size=(side + 1.0, side))
    image = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    axes.set_xticks(range(len(names)), names, parse_math=False)
    if max(map(len, names)) > 4:
        axes.tick_params(axis="x", rotation=35)
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.grid(visible=False)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            colour = "white" if shares[row, column] > 0.55 else INK
            axes.text(column, row, f"{count:,}", ha="center", va="center", fontsize=8, color=colour)
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    return figure


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"
