"""The law behind the best beta: for the same network, it falls as one over the number of training samples.

For each number, and each draw of data and start, the best beta is the least point of the parabola through the
lowest of the test losses and its two neighbours, logarithm against logarithm. Rules:

- the median of best beta x n_train over the draws is between 0.5 and 3 at every n_train;
- the slope of log best beta over log n_train is -1 within its 95% confidence interval (Student's t).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.stats
from exhibit import Row
from matplotlib.axes import Axes
from numpy.typing import NDArray
from power_law import Line, fit_power
from training_runs import Run, sweep

from sheafcli.render.panels import fit_log_ticks
from sheafcli.render.style import INK, add_legend

Array = NDArray[np.float64]

NEAR_ONE = (0.5, 3.0)
CONFIDENCE = 0.95


@dataclass(frozen=True, eq=False)
class BestProduct:
    """The best beta at several numbers of samples.

    Attributes
    ----------
    n_train, beta : the number of samples and the best beta, one a number and draw.
    line : log beta = intercept + slope log n_train, by ordinary least squares.
    """

    n_train: Array
    beta: Array
    line: Line

    @property
    def products(self) -> dict[int, Array]:
        """The best beta x n_train by n_train, one a draw."""
        return {int(n): (self.beta * n)[self.n_train == n] for n in np.unique(self.n_train)}

    @property
    def slope_interval(self) -> tuple[float, float]:
        """The 95% confidence interval of the slope."""
        half = scipy.stats.t.ppf((1.0 + CONFIDENCE) / 2.0, self.line.n - 2) * self.line.slope_error
        return self.line.slope - half, self.line.slope + half


def best_product(runs: Path) -> BestProduct:
    """Return the best beta of each number of samples and draw of the sweep beta_n_train."""
    losses = loss_table(sweep(runs, "beta_n_train"))
    curves = losses.groupby(["n_train", "seed"])
    best = curves[["beta", "test_loss"]].apply(lambda curve: least_point(curve["beta"], curve["test_loss"]))
    n_train = best.index.get_level_values("n_train").to_numpy(dtype=np.float64)
    beta = best.to_numpy(dtype=np.float64)
    return BestProduct(n_train, beta, fit_power(n_train, beta))


def least_point(x: Sequence[float], y: Sequence[float]) -> float:
    """Return where the parabola through the lowest of y and its neighbours is least, log against log."""
    log_x, log_y = np.log(np.asarray(x)), np.log(np.asarray(y))
    lowest = int(np.argmin(log_y))
    if lowest in (0, len(log_y) - 1):
        raise ValueError(
            f"the lowest of {len(log_y)} points is at x = {np.exp(log_x[lowest]):.3g}, an end: widen x"
        )
    near = slice(lowest - 1, lowest + 2)
    curvature, slope, _ = np.polyfit(log_x[near] - log_x[lowest], log_y[near], 2)
    return float(np.exp(log_x[lowest] - slope / (2.0 * curvature)))


def loss_table(runs: Sequence[Run]) -> pd.DataFrame:
    """Return a line a run: n_train, beta, seed, test loss (infinite where it diverged)."""
    return pd.DataFrame([
        {
            "n_train": run.data.n_train,
            "beta": run.config.training.beta,
            "seed": run.config.seed,
            "test_loss": run.final("test_loss"),
        }
        for run in runs
    ])  # fmt: skip


def law_rows(law: BestProduct) -> list[Row]:
    """Say whether the best beta x n_train is near 1 at every n_train, and whether the slope is -1."""
    medians = {n: float(np.median(products)) for n, products in law.products.items()}
    low, high = law.slope_interval
    return [
        Row(
            "median best beta x n_train at every n_train: between 0.5 and 3",
            "near 1",
            ", ".join(f"{product:.2f} (n = {n:,})" for n, product in medians.items()),
            "dt: auto",
            holds=all(NEAR_ONE[0] <= product <= NEAR_ONE[1] for product in medians.values()),
        ),
        Row(
            "slope of log best beta over log n_train",
            "-1",
            f"{law.line}; 95% interval {low:.3f} to {high:.3f}",
            "dt: auto",
            holds=bool(low <= -1.0 <= high),
        ),
    ]


def law_table(law: BestProduct) -> pd.DataFrame:
    """Return a line an n_train: best beta x n_train, median, least and largest over the draws."""
    return pd.DataFrame([
        {
            "n_train": n,
            "draws": len(products),
            "best beta x n_train, median": float(np.median(products)),
            "least": float(products.min()),
            "largest": float(products.max()),
        }
        for n, products in law.products.items()
    ])  # fmt: skip


def draw_best(axes: Axes, law: BestProduct) -> None:
    """Draw the fitted law beside beta = 1 / n_train."""
    n = np.array([law.n_train.min(), law.n_train.max()])
    fitted = axes.plot(n, law.line.power(n), color=INK, label=f"fit: slope {law.line.slope:.2f}")
    theory = axes.plot(n, 1.0 / n, color=INK, linestyle=":", label="1 / n_train")
    axes.set(xscale="log", yscale="log", xlabel="n_train", ylabel="best beta")
    axes.set_title("best beta of each draw", color=INK, fontsize=10)
    axes.set_xticks(np.unique(law.n_train), [f"{n:g}" for n in np.unique(law.n_train)])
    axes.minorticks_off()
    fit_log_ticks(axes.yaxis, law.beta.min(), law.beta.max())
    add_legend(axes, [*fitted, *theory], "inside")
