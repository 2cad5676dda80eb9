"""How good predictions are, for the terminal: errors in units, classes, confusion."""

from __future__ import annotations

import numpy as np
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from sheafcli.diagnostics.metrics import metrics_table
from sheafcli.render.house_table import house_table
from sheafcli.render.numbers import MISSING, aligned, percent
from sheafcli.tasks.metrics import Metrics

MOST_CLASSES = 10
LONGEST = 8


def metrics_tables(metrics: Metrics, part: str) -> list[Table]:
    """Return tables of a part: errors of quantities; or classes, and their confusion if they are few."""
    frame = metrics_table(metrics)
    if metrics.quantities:
        table = house_table(f"Predictions, {part}, in the target's units")
        table.add_column("target", overflow="fold")
        errors = (aligned(frame[name].tolist()) for name in ("rmse", "mae"))
        columns = [[_figure(value) for value in frame["r2"]], *errors]
        for header in ("R2", "RMSE", "MAE"):
            table.add_column(header, justify="right", no_wrap=True)
        for row in zip(frame["target"], *columns, strict=True):
            table.add_row(*map(Text, row))
        return [table]
    tables = [_classes(metrics, part)]
    if metrics.confusion is not None and len(metrics.classes) <= MOST_CLASSES:
        tables.append(_confusion(metrics))
    return tables


def _classes(metrics: Metrics, part: str) -> Table:
    frame = metrics_table(metrics)
    if len(frame) > MOST_CLASSES + 1:
        worst = frame[:-1].nsmallest(MOST_CLASSES, "f1").index
        frame = frame.loc[[*sorted(worst), len(frame) - 1]]
    few = "" if len(frame) > len(metrics.classes) else f"; the {MOST_CLASSES} classes of the lowest F1"
    calibrated = f"calibration error {percent(metrics.calibration_error)}"
    table = house_table(f"Predictions, {part}: {calibrated}{few}", spare=("samples",))
    table.add_column("class", overflow="fold")
    for header in ("samples", "precision", "recall", "F1", "AUC"):
        table.add_column(header, justify="right", no_wrap=True)
    shares = [[percent(value) for value in frame[name]] for name in ("precision", "recall", "f1")]
    areas = [_figure(value) for value in frame["auc"]]
    counts = [f"{count:,}" for count in frame["samples"]]
    for row in zip(frame["class"], counts, *shares, areas, strict=True):
        table.add_row(*(Text(str(cell)) for cell in row))
    return table


def _confusion(metrics: Metrics) -> Table:
    assert metrics.confusion is not None
    names = [score.name for score in metrics.classes]
    # Long names stand before the rows alone, with the numbers that are above the columns.
    if max(map(cell_len, names)) > LONGEST:
        heads = [str(number) for number in range(1, len(names) + 1)]
        names = [f"{number} {name}" for number, name in zip(heads, names, strict=True)]
    else:
        heads = names
    table = house_table("Confusion: true classes below one another, predicted ones beside one another")
    table.add_column("true", overflow="fold")
    for head in heads:
        table.add_column(Text(head), justify="right", no_wrap=True)
    for code, (name, counts) in enumerate(zip(names, metrics.confusion, strict=True)):
        cells = [
            Text(f"{count:,}" if count else ".", "bold" if column == code else "")
            for column, count in enumerate(counts.tolist())
        ]
        table.add_row(Text(name), *cells)
    return table


def _figure(value: float) -> str:
    return MISSING if np.isnan(value) else f"{value:.4f}"
