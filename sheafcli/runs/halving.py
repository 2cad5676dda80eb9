"""Successive halving: of the combinations of a sweep those with the least losses go on, so much longer.

Jamieson & Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization", AISTATS 2016.
Every rung waits for all of its runs, and reads their losses from their histories: so what goes on depends
neither on who does the runs nor on how often they were interrupted.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from sheafcli.config import SweepRun
from sheafcli.config.document import dotted
from sheafcli.config.sweep import REPEATS, ROUNDING
from sheafcli.config.training import DescentSpec, HeatSpec, ImplicitSpec
from sheafcli.runs.directory import HISTORY, RunDirectory
from sheafcli.runs.under_way import share_at


def loss_at(run: RunDirectory, spec: HeatSpec | DescentSpec | ImplicitSpec, share: float) -> float | None:
    """Return the loss of a run at the first row of its history at which a share of the training is done.

    The loss is that on the validation part where there is one, else on the test part, else in training.
    None if the run has not come so far; a training that reached its end before counts with its last row.
    """
    last = None
    try:
        with (run / HISTORY["training"]).open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                last = float(row.get("validation_loss") or row["test_loss"] or row["train_loss"])
                done = share_at(spec, float(row["step"]), float(row["time"]))
                if done >= share * (1.0 - ROUNDING):
                    return last
    except (OSError, KeyError, TypeError, ValueError):
        return None
    return last if run.has_run and run.current_manifest().get("status") == "finished" else None


def survivors(runs: Sequence[SweepRun], losses: Mapping[str, float | None], factor: int) -> list[SweepRun]:
    """Return the runs of the best combinations, one in `factor`, rounded up, by the median loss.

    Medians are over seeds and folds. A run without a finite loss counts as infinite, and no combination with
    an infinite median goes on. The runs keep their order, and of combinations that are as good the first
    come first.
    """
    repeats = {dotted(key) for key in REPEATS}
    combinations: dict[str, list[SweepRun]] = {}
    for run in runs:
        own = {key: value for key, value in run.parameters.items() if key not in repeats}
        combinations.setdefault(repr(own), []).append(run)

    medians = {name: middle(losses[run.number] for run in own) for name, own in combinations.items()}
    ranked = sorted(medians, key=medians.__getitem__)
    best = [name for name in ranked[: -(-len(ranked) // factor)] if medians[name] < math.inf]
    kept = {run.number for name in best for run in combinations[name]}
    return [run for run in runs if run.number in kept]


def middle(losses: Iterable[float | None]) -> float:
    """Return the median of losses; one that is missing or not finite counts as infinite."""
    return median(math.inf if loss is None or not math.isfinite(loss) else loss for loss in losses)
