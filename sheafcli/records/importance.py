"""How much of a sweep's losses each parameter explains."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import kruskal

from sheafcli.records.sweep import SweepRecord
from sheafcli.runs.sweep import FIRST_LOSS

# Numbers of more values than this are put into as many groups of equal size.
MOST_GROUPS = 5


def importance(sweep: SweepRecord) -> pd.DataFrame:
    """Return the share of the variance of the ranks of the losses that each parameter explains by itself.

    For a parameter whose k values part n runs into groups it is

        eta^2_H = (H - k + 1) / (n - k),   at least 0,

    H the statistic of Kruskal and Wallis (1952): the share of the variance between groups, less what
    groups drawn at random would show (Tomczak & Tomczak, "The need to report effect size estimates
    revisited", Trends in Sport Sciences 2014). Ranks make it independent of the scale of the loss, and let
    a diverged run be the worst. What parameters do only together is in none of the shares. The seed is
    among them: its share is chance alone.

    Losses are the final ones of `SweepRecord.loss`, or in a search by halving, where most runs have none,
    those at the end of the first rung. A number of more than five values is put into five groups of
    equal size.

    Returns
    -------
    Columns parameter, share (NaN where groups are too few or too small), values (how many there are) and runs
    (how many were compared), the largest share first.
    """
    losses = _losses(sweep)
    rows = []
    for key in sweep.keys:
        values = sweep.index[key][losses.index]
        rows.append(
            {
                "parameter": key,
                "share": _share(losses, values),
                "values": values.nunique(dropna=False),
                "runs": len(losses),
            }
        )
    table = pd.DataFrame(rows, columns=["parameter", "share", "values", "runs"])
    return table.sort_values("share", ascending=False, kind="stable").reset_index(drop=True)


def _losses(sweep: SweepRecord) -> pd.Series[float]:
    """Return the losses of the runs that can be compared; infinity where one diverged."""
    index = sweep.index
    losses = (
        index[FIRST_LOSS] if FIRST_LOSS in index else index[sweep.loss].where(index["status"] == "finished")
    )
    losses = losses.astype(float).where(index["status"] != "diverged", np.inf)
    return losses.dropna()


def _share(losses: pd.Series[float], values: pd.Series) -> float:
    if pd.api.types.is_numeric_dtype(values) and values.nunique() > MOST_GROUPS:
        values = pd.qcut(values, MOST_GROUPS, labels=False, duplicates="drop")
    groups = [group.to_numpy() for _, group in losses.groupby(values, dropna=False)]
    n, k = len(losses), len(groups)
    if k < 2 or n <= k or losses.nunique() < 2:
        return float("nan")
    return max(0.0, float((kruskal(*groups).statistic - k + 1) / (n - k)))
