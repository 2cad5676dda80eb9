"""Training discord edge by edge at three stages of sheaf training: the start, a tenth of the steps, the end.

Training discord is the mean squared residual of each edge of the training stalks; the output edge counts the
squared error, or the cross-entropy. Read from the runs of training.py. Rules:

- regressions, which start from random stalks: every edge ends with less discord than it starts with;
- classifications, which start and restart from the forward pass, where every edge but the output agrees:
  there discord can only spread inwards, and the sum over all edges ends lower than it starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from exhibit import Exhibit, Row
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from training_runs import Run, sweep

from sheafcli.render.figures import ROUNDING
from sheafcli.render.panels import add_shared_legend, fit_log_ticks, new_grid
from sheafcli.render.style import INK

QUICK: dict[str, list[str]] = {}  # the runs are those of the exhibit on training

# Shares of the steps, with the names, colours (from light to dark) and markers of the stages.
STAGES = {0.0: "start", 0.1: "10%", 1.0: "end"}
STAGE_COLOURS = ("#88ccee", "#44aa99", "#332288")
STAGE_MARKERS = ("o", "s", "D")
COLUMNS = 4


def exhibit(runs: Path, *, quick: bool) -> Exhibit:
    """Return the discord by edge and stage of the eight runs."""
    stages = [(run, stage_table(run)) for run in sweep(runs, "training")]
    return Exhibit(
        "discord_stages",
        "Where discord sits while training",
        text(stages, quick=quick),
        [falling_row(run, table) for run, table in stages],
        figures={"discord_stages": stages_figure(stages)},
        tables={"discord_stages": whole_table(stages)},
    )


def stage_table(run: Run) -> pd.DataFrame:
    """Return the discord of a run by edge (rows, in path order) and stage (columns)."""
    discord = run.table("discord.csv")
    end = discord["step"].max()
    steps = {name: round(share * end) for share, name in STAGES.items()}
    missing = [step for step in steps.values() if step not in set(discord["step"])]
    if missing:
        raise ValueError(f"{run.name}: no discord was measured at step {missing[0]}; see diagnostics.every")
    edges = discord["edge"].unique()
    by_step = discord.pivot(index="edge", columns="step", values="discord").loc[edges]
    return by_step[[*steps.values()]].set_axis([*steps], axis="columns")


def falling_row(run: Run, table: pd.DataFrame) -> Row:
    """Say whether every edge's discord falls or, from the forward pass, its sum over the edges."""
    if run.config.training.stalks == "forward":
        first, last = table["start"].sum(), table["end"].sum()
        return Row(
            f"{run.name}: discord of all edges, from the forward pass to the end",
            "falls",
            f"{first:.3g} to {last:.3g}",
            "paper's dt",
            holds=bool(last < first),
        )
    ratios = table["end"] / table["start"]
    return Row(
        f"{run.name}: discord of every edge, from random stalks to the end",
        "falls",
        f"{(ratios < 1).sum()} of {len(ratios)} fall, to {ratios.min():.1e} ... {ratios.max():.1e} of it",
        "paper's dt",
        holds=bool((ratios < 1).all()),
    )


def whole_table(stages: Sequence[tuple[Run, pd.DataFrame]]) -> pd.DataFrame:
    """Return a line a run and edge: the discord at each stage, and its share at the end."""
    parts = []
    for run, table in stages:
        shares = table["end"] / table["end"].sum()
        parts.append(
            table.assign(**{"share at the end": shares}).reset_index(names="edge").assign(run=run.name)
        )
    whole = pd.concat(parts, ignore_index=True)
    return whole[["run", *whole.columns.drop("run")]]


def stages_figure(stages: Sequence[tuple[Run, pd.DataFrame]]) -> Figure:
    """Draw the discord of every edge in path order, a line a stage, a panel a run."""
    rows = -(-len(stages) // COLUMNS)
    figure, grid = new_grid(
        "Training discord by edge at three stages",
        heights=[1] * rows,
        columns=COLUMNS,
        size=(13.0, 3.3 * rows + 0.6),
    )
    for axes, (run, table) in zip((axes for panels in grid for axes in panels), stages, strict=True):
        positive = table.where(table > ROUNDING * table.max().max())
        for name, colour, marker in zip(table.columns, STAGE_COLOURS, STAGE_MARKERS, strict=True):
            axes.plot(
                range(len(table)), positive[name], color=colour, marker=marker, markersize=5, linewidth=1.4
            )
        axes.set_yscale("log", nonpositive="mask")
        fit_log_ticks(axes.yaxis, positive.min().min(), positive.max().max())
        axes.set_xticks(
            range(len(table)), [edge.replace("activation", "activ.") for edge in table.index], rotation=35
        )
        axes.set_title(run.name, color=INK, fontsize=10)
    for panels in grid:
        panels[0].set_ylabel("discord")
    handles = [
        Line2D([], [], color=colour, marker=marker, markersize=5, label=name)
        for name, colour, marker in zip(STAGES.values(), STAGE_COLOURS, STAGE_MARKERS, strict=True)
    ]
    add_shared_legend(figure, handles)
    return figure


def text(stages: Sequence[tuple[Run, pd.DataFrame]], *, quick: bool) -> str:
    """Return the paragraphs above the table."""
    inner = [(run.name, table["end"].drop("output")) for run, table in stages]
    worst = "; ".join(
        f"{name}: {values.idxmax()} ({values.max() / values.sum():.0%})" for name, values in inner
    )
    shortened = " These runs are shortened ones." if quick else ""
    return (
        "The discord of each edge of the training stalks, a mean over the training samples, at the start, "
        f"after a tenth of the steps, and at the end of the runs of the table of training.{shortened} From "
        "random stalks, every edge must end with less discord than it starts with. Classification starts "
        "from the forward pass, where all edges but the output agree exactly (and have no place on a "
        "logarithmic axis), and restarts from it every 1,000 steps: there the sum over all edges must "
        "fall.\n\n"
        f"Where it sits at the end, the output edge left aside, with its share of the rest: {worst}."
    )
