"""How good a run's predictions are, as tables: in the target's units, or by class."""

from __future__ import annotations

from dataclasses import asdict

import pandas as pd

from sheafcli.core.network import AnyNetwork
from sheafcli.core.types import Array
from sheafcli.errors import InputError
from sheafcli.runs import RunDirectory
from sheafcli.runs.files import write_text
from sheafcli.tasks.metrics import Metrics, metrics_of

MEAN = "(mean)"
"""What the last row of a table of classes is called."""


def run_metrics(run: RunDirectory, network: AnyNetwork, X: Array, y: Array) -> Metrics | None:
    """Return how good a run's network predicts samples; None where the run knows no table."""
    try:
        target = run.preprocessing().target
    except InputError:
        return None
    return metrics_of(target, network.predict(X), y)


def write_metrics(run: RunDirectory, metrics: Metrics) -> None:
    """Write metrics.csv, and confusion.csv where there is a confusion matrix."""
    write_text(run / "metrics.csv", metrics_table(metrics).to_csv(index=False))
    confusion = confusion_table(metrics)
    if confusion is None:
        (run / "confusion.csv").unlink(missing_ok=True)
    else:
        write_text(run / "confusion.csv", confusion.to_csv(index=False))


def metrics_table(metrics: Metrics) -> pd.DataFrame:
    """Return a row a target, r2, rmse and mae in its units; or a row a class, the mean over all last."""
    if metrics.quantities:
        return pd.DataFrame([asdict(quantity) for quantity in metrics.quantities]).rename(
            columns={"name": "target"}
        )
    table = pd.DataFrame([asdict(score) for score in metrics.classes]).rename(columns={"name": "class"})
    means = {name: [table[name].mean()] for name in ("precision", "recall", "f1", "auc")}
    last = pd.DataFrame({"class": [MEAN], "samples": [metrics.samples]} | means)
    return pd.concat([table, last], ignore_index=True)


def confusion_table(metrics: Metrics) -> pd.DataFrame | None:
    """Return how many samples of each true class are predicted as each; None where there is no matrix."""
    if metrics.confusion is None:
        return None
    names = [score.name for score in metrics.classes]
    pairs = [(true, predicted) for true in names for predicted in names]
    table = pd.DataFrame(pairs, columns=["true", "predicted"])
    return table.assign(samples=metrics.confusion.ravel())
