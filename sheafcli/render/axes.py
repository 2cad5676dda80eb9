"""How the axes of all pictures fit what is drawn on them."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, ScalarFormatter

from sheafcli.core.types import Array

# Values that span less than this factor are drawn on a linear axis: a logarithm has nothing to show.
LOG_FROM = 3.0
# Below this factor the decades alone are too few ticks.
POWERS_FROM = 300.0
# Steps are drawn on a logarithmic axis where most happens in such a share of them, and rows are enough.
EARLY, FEWEST_ROWS = 0.05, 8


def happens_early(steps: Array, losses: Array) -> bool:
    """Say whether half of what a loss loses, in its logarithm, is lost within the first 5% of the steps."""
    kept = np.isfinite(losses) & (losses > 0)
    steps, losses = steps[kept], losses[kept]
    if len(steps) < FEWEST_ROWS or losses[0] < LOG_FROM * losses.min():
        return False
    half = np.argmax(losses <= np.sqrt(losses[0]) * np.sqrt(losses.min()))
    return bool(steps[half] <= EARLY * steps[-1])


def drawn_values(axes: Axes) -> Array:
    """Return the finite heights of all lines."""
    lines = [np.asarray(line.get_ydata(), dtype=np.float64) for line in axes.lines]
    values = np.concatenate([np.zeros(0), *lines])
    return np.asarray(values[np.isfinite(values)])


def fit_scale(axes: Axes) -> None:
    """Make the vertical axis logarithmic if the values span enough, else linear.

    A linear one shows at least 1% around the middle, so that rounding errors do not look like a course.
    """
    values = drawn_values(axes)
    positive = values[values > 0]
    span = positive.max() / positive.min() if len(positive) > 0 else 1.0
    if span >= LOG_FROM:
        axes.set_yscale("log", nonpositive="mask")
        if span < POWERS_FROM:
            axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        return
    axes.yaxis.set_major_formatter(ScalarFormatter(useOffset=False))
    if len(values) > 0:
        middle, half = (values.max() + values.min()) / 2, (values.max() - values.min()) / 2
        half = max(1.1 * half, 0.01 * abs(middle)) or 1.0
        axes.set_ylim(middle - half, middle + half)
