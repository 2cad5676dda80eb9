"""The picture of a sweep: the loss against what was varied most."""

from __future__ import annotations

from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from sheafcli.records.sweep import REPEATS
from sheafcli.render.palette import RUN_COLOURS
from sheafcli.render.style import add_legend, new_figure
from sheafcli.render.sweep import parameter_names, parameter_text

FEWEST_VALUES = 3
MOST_LINES = len(RUN_COLOURS)
# Values that lie further apart than this, by their ratio, are drawn on a log scale.
WIDE = 20.0


def sweep_figure(index: pd.DataFrame, keys: list[str], name: str) -> Figure | None:
    """Return the final loss against the numeric key of most values, a line for each of the other parameters.

    A dot is a run, a line goes through the medians over the seeds. The loss is the test loss where there is
    one. None if no numeric key has three values or more among the runs that have finished. Of more lines
    than there are colours, those that reach the least losses are drawn.
    """
    finished = index[index["status"] == "finished"]
    keys = [key for key in keys if key not in REPEATS]
    values = {key: finished[key].nunique() for key in keys if pd.api.types.is_numeric_dtype(finished[key])}
    if not values or max(values.values()) < FEWEST_VALUES:
        return None
    x = max(values, key=lambda key: values[key])
    y = "test_loss" if finished["test_loss"].notna().any() else "train_loss"
    others = [key for key in keys if key != x]
    names = dict(zip(keys, parameter_names(keys), strict=True))
    groups = _groups(finished, others, names)
    least = sorted(groups, key=lambda label: groups[label][y].min())
    chosen = set(least[:MOST_LINES])
    title = (
        name if len(groups) <= MOST_LINES else f"{name}: the best {MOST_LINES} of {len(groups)} combinations"
    )
    figure, (axes,) = new_figure(title, n_panels=1, size=(7.2, 4.2))
    handles = []
    colours = cycle(RUN_COLOURS)
    for label in (label for label in groups if label in chosen):
        runs, colour = groups[label], next(colours)
        axes.plot(runs[x], runs[y], linestyle="", marker="o", markersize=3.5, color=colour, alpha=0.5)
        medians = runs.groupby(x)[y].median()
        handles += axes.plot(medians.index, medians.to_numpy(), color=colour, linewidth=1.6, label=label)
    axes.set_xlabel(x)
    axes.set_ylabel(y.replace("_", " "))
    for scale, drawn in ((axes.set_xscale, finished[x]), (axes.set_yscale, finished[y])):
        if _is_wide(drawn):
            scale("log")
    add_legend(axes, handles if others else [], "beside")
    return figure


def _groups(runs: pd.DataFrame, others: list[str], names: dict[str, str]) -> dict[str, pd.DataFrame]:
    """Return the runs by their other parameters, named by those."""
    if not others:
        return {"": runs}
    labelled = [
        ", ".join(f"{names[key]} {parameter_text(row[key])}" for key in others) for _, row in runs.iterrows()
    ]
    return {str(label): part for label, part in runs.groupby(np.array(labelled), sort=False)}


def _is_wide(values: pd.Series) -> bool:
    return bool(values.min() > 0 and values.max() > WIDE * values.min())
