"""Figures of how a run trained: losses, accuracies, and the discord of every edge over the steps."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from sheafcli.render.axes import happens_early
from sheafcli.render.figures import MOST_NAMED_EDGES, ROUNDING
from sheafcli.render.palette import OPERATION_COLOURS, PART_COLOURS
from sheafcli.render.panels import thinned
from sheafcli.render.report.figure import (
    JSON,
    TRAIN,
    Decades,
    Figure,
    axis,
    plain,
    points_of_a_line,
    rounded,
    thinning_note,
)

COLOURS = PART_COLOURS | {"train": TRAIN}
# A heat map has at most so many columns.
MOST_COLUMNS = 240
ROW_PIXELS = 26


def loss_figure(history: pd.DataFrame, baseline: pd.DataFrame | None) -> Figure:
    """Draw the losses of all parts over the steps, the baseline's dashed."""
    return _course("loss", history, baseline)


def accuracy_figure(history: pd.DataFrame, baseline: pd.DataFrame | None) -> Figure | None:
    """Draw train and test accuracy over the steps; None where there are no classes."""
    if "train_accuracy" not in history or history["train_accuracy"].isna().all():
        return None
    return _course("accuracy", history, baseline)


def _course(quantity: str, history: pd.DataFrame, baseline: pd.DataFrame | None) -> Figure:
    runs = [("", "solid", history)] + ([] if baseline is None else [("baseline ", "dash", baseline)])
    data, drawn = [], []
    for prefix, dash, run in runs:
        rows = run.iloc[thinned(len(run), points_of_a_line(4))]
        for part, colour in COLOURS.items():
            column = f"{part}_{quantity}"
            if column not in rows or rows[column].isna().all():
                continue
            drawn += rows[column].tolist()
            data.append(
                {
                    **_line(rows["step"], rows[column], f"{prefix}{part}"),
                    "line": {"color": colour, "width": 2, "dash": dash},
                }
            )
    note = thinning_note(len(thinned(len(history), points_of_a_line(4))), len(history), "logged steps")
    validated = f"validation_{quantity}" in history
    parts = "training, validation and test" if validated else "training and test"
    caption = f"Of the {parts} samples" + ("" if baseline is None else "; baseline dashed")
    heights = axis(quantity, drawn if quantity == "loss" else ())
    if quantity == "accuracy":
        heights["tickformat"] = ".0%"
    layout: JSON = {"xaxis": axis("step", tickformat=","), "yaxis": heights, "hovermode": "x unified"}
    if happens_early(history["step"].to_numpy(), history["train_loss"].to_numpy(dtype=float)):
        caption += "; steps on a logarithmic axis, the start at its left end"
        layout |= {"xaxis": _spread_the_beginning(data), "hovermode": "closest"}
    return Figure(quantity, quantity.capitalize(), f"{caption}.{note}", data, layout)


def _spread_the_beginning(lines: list[JSON]) -> JSON:
    """Move lines to a logarithmic axis of steps, and return it: 0 has its place to the left of the first."""
    steps = [step for line in lines for step in line["x"]]
    first, last = min(step for step in steps if step > 0), max(steps)
    left = first / 3
    for line in lines:
        line["customdata"] = line["x"]
        line["hovertemplate"] = "step %{customdata:,}<br>%{y:.4g}"
        line["x"] = [max(step, left) for step in line["x"]]
    powers = [10**power for power in range(math.ceil(math.log10(first)), math.floor(math.log10(last)) + 1)]
    ticks = {"tickvals": [left, *powers], "ticktext": ["0", *(f"{power:,}" for power in powers)]}
    ends = [math.log10(left), math.log10(last) + 0.03]
    return axis("step, logarithmic", type="log", range=ends, **ticks)


def discord_figure(discord: pd.DataFrame) -> Figure:
    """Draw the discord of every edge over the steps: operations by colour, later layers paler.

    Zeros, and rounding errors of zeros, have no place on a logarithmic axis and are left out.
    """
    edges = discord[["edge", "layer", "operation"]].drop_duplicates()
    steps = discord["step"].unique()
    kept = thinned(len(steps), points_of_a_line(len(edges)))
    negligible = ROUNDING * discord["discord"].max()
    n_layers = edges["layer"].max()
    data, drawn = [], []
    for edge, layer, operation in edges.itertuples(index=False):
        rows = discord[(discord["edge"] == edge) & discord["step"].isin(steps[kept])]
        values = rows["discord"].where(rows["discord"] > negligible)
        drawn += values.tolist()
        data.append(
            {
                **_line(rows["step"], values, edge),
                "line": {
                    "color": OPERATION_COLOURS[operation],
                    "width": 2,
                    # At rest the output edge and the affine edge before it disagree alike.
                    "dash": "dash" if operation == "output" else "solid",
                },
                "opacity": 1.0
                if operation == "output"
                else round(1.0 - 0.45 * (layer - 1) / max(n_layers - 1, 1), 3),
                "showlegend": len(edges) <= MOST_NAMED_EDGES or layer in (1, n_layers),
            }
        )
    note = thinning_note(len(kept), len(steps), "logged steps")
    layout = {"xaxis": axis("step", tickformat=","), "yaxis": axis("discord", drawn)}
    caption = f"Of every edge on the training stalks; operations by colour, later layers paler.{note}"
    return Figure("discord", "Discord over time", caption, data, layout, height=400)


def heat_map(discord: pd.DataFrame) -> Figure:
    """Draw the logarithm of the discord, edges by steps, the edges of an operation together."""
    edges = discord[["edge", "layer", "operation"]].drop_duplicates()
    order = list(OPERATION_COLOURS)
    edges = edges.assign(rank=edges["operation"].map(order.index)).sort_values(["rank", "layer"])
    table = discord.pivot_table(index="edge", columns="step", values="discord", sort=False)
    table = table.loc[edges["edge"]].sort_index(axis=1)
    columns = thinned(table.shape[1], MOST_COLUMNS)
    shown = table.iloc[:, columns]
    scale = Decades.of(discord["discord"].tolist())
    negligible = ROUNDING * discord["discord"].max()
    names = [
        f'<span style="color:{OPERATION_COLOURS[operation]}">■</span> {plain(edge)}'
        for edge, _, operation, _ in edges.itertuples(index=False)
    ]
    rows = shown.to_numpy()
    data: list[JSON] = [
        {
            "type": "heatmap",
            "x": shown.columns.tolist(),
            "y": names,
            "z": [rounded(math.log10(v) if v > negligible else math.nan for v in row) for row in rows],
            "customdata": [rounded(row) for row in rows],
            "coloraxis": "coloraxis",
            "ygap": 2,
            "hoverongaps": False,
            "hovertemplate": "%{y}<br>step %{x:,}<br>discord %{customdata:.4g}<extra></extra>",
        }
    ]
    layout = {
        "xaxis": axis("step", tickformat=",", showgrid=False),
        "yaxis": {"type": "category", "autorange": "reversed", "showgrid": False},
        "coloraxis": scale.colour_axis("discord"),
    }
    note = thinning_note(len(columns), table.shape[1], "logged steps")
    caption = f"Every edge over the steps, the edges of an operation together; empty where it is zero.{note}"
    height = 110 + ROW_PIXELS * len(edges)
    return Figure("heat_map", "Heat map of discord", caption, data, layout, height=height)


def _line(steps: pd.Series[Any], values: pd.Series[Any], name: str) -> JSON:
    return {
        "type": "scatter",
        "mode": "lines" if values.notna().sum() > 1 else "markers",
        "name": plain(name),
        "x": steps.tolist(),
        "y": rounded(values),
        "hovertemplate": "step %{x:,}<br>%{y:.4g}",
    }
