"""Runs side by side: three tables for the terminal, and one picture."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress, islice
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from matplotlib.transforms import (
    Affine2D,
    BboxTransformTo,
    ScaledTranslation,
    Transform,
    blended_transform_factory,
)
from rich.table import Table
from rich.text import Text

from sheafcli.core.types import Array
from sheafcli.printable import printable
from sheafcli.records.comparison import ACCURACIES, Comparison
from sheafcli.records.listing import METRICS
from sheafcli.render.axes import fit_scale
from sheafcli.render.house_table import house_table
from sheafcli.render.numbers import MISSING, aligned
from sheafcli.render.palette import OPERATION_COLOURS, RUN_COLOURS, RUN_MARKERS
from sheafcli.render.share_bar import ShareBar
from sheafcli.render.style import INK, add_legend, new_figure

FORMATS = (".png", ".svg", ".pdf")
"""The endings of the files that a picture can be saved as."""

STATUS_STYLES = {
    "finished": "green",
    "running": "cyan",
    "stopped": "cyan",
    "interrupted": "yellow",
    "diverged": "bold red",
    "failed": "bold red",
}
# What marks the best of a column besides bold type, so that it is seen in a pipe, too.
BEST = "*"
TEST_LINE: dict[str, Any] = {"linewidth": 1.8}
TRAIN_LINE: dict[str, Any] = {"linewidth": 0.9, "alpha": 0.6}
END: dict[str, Any] = {"markersize": 5, "markevery": [-1]}
# Runs whose lengths differ by this factor are drawn over a logarithm of time.
LOG_TIME_FROM = 10.0
# In inches: what a row of the discord takes, and all else that is above and below the rows.
ROW, MARGINS = 0.32, 1.6
# Fewer rows than that leave room rather than grow.
FEWEST_ROWS = 7
# The line before a row of the discord, in points; names longer than so many characters are cut.
HANDLE = 28.0
LONGEST_NAME = 36
HEADERS = {"r2": "R2", "rmse": "RMSE", "mae": "MAE", "f1": "F1", "auc": "AUC"}


def comparison_tables(comparison: Comparison) -> list[Table]:
    """Return tables: what the trainings are, what they came to, how they predict, their discord."""
    told = [name for name in map("test_{}".format, METRICS) if name in comparison.table]
    predictions = [_predictions_table(comparison, told)] if told else []
    return [_runs_table(comparison), _results_table(comparison), *predictions, _discord_table(comparison)]


def comparison_figure(comparison: Comparison) -> Figure:
    """Draw losses over wall time, and beside them the discord by operation.

    The rows of the discord name the lines, too. A run has one colour: its test loss is a line that ends
    in a dot, its train loss a thin one; both are dashed for its baseline, which has no discord.
    """
    rows = comparison.table
    height = max(4.6, MARGINS + ROW * len(rows))
    title = f"Runs on {', '.join(rows['task'].unique())}"
    figure, (losses, discord) = new_figure(title, n_panels=2, size=(11.6, height))
    styles = _line_styles(rows)
    for history, style in zip(comparison.histories, styles, strict=True):
        _draw_losses(losses, history, style)
    losses.set_ylabel("loss")
    fit_scale(losses)
    _fit_seconds(losses, comparison.histories)
    handles = [
        Line2D([], [], color=INK, label="test", **TEST_LINE),
        Line2D([], [], color=INK, label="train", **TRAIN_LINE),
    ]
    if rows["run"].duplicated().any():
        handles.append(Line2D([], [], color=INK, label="baseline", linestyle="--", **TEST_LINE))
    add_legend(losses, handles, "below")
    _draw_discord(figure, discord, rows, comparison.operations, styles)
    return figure


def _runs_table(comparison: Comparison) -> Table:
    """Return task, method, status and steps; a baseline stands beneath its run."""
    rows = comparison.table
    table = house_table("Runs")
    for header in ("run", "task"):
        table.add_column(header, overflow="fold")
    for header in ("method", "status"):
        table.add_column(header, no_wrap=True)
    table.add_column("steps", justify="right", no_wrap=True)
    for is_baseline, row in zip(rows["run"].duplicated(), rows.to_dict("records"), strict=True):
        table.add_row(
            *(("", "") if is_baseline else (Text(row["run"]), Text(row["task"]))),
            Text(row["method"]),
            Text(row["status"], STATUS_STYLES.get(row["status"], "")),
            f"{row['steps']:,}",
        )
    return table


def _results_table(comparison: Comparison) -> Table:
    """Return losses, accuracies if any, and seconds; the best of those finished in bold and starred."""
    rows = comparison.table
    losses = comparison.losses
    columns = dict(zip(losses, _alike(rows[losses], 6), strict=True))
    columns |= {name: _percents(rows[name]) for name in ACCURACIES if rows[name].notna().any()}
    best = {name: comparison.best(name) for name in columns}
    starred = any(any(column) for column in best.values())
    table = house_table(f"Results ({BEST} best of the finished)" if starred else "Results")
    table.add_column("\nrun", overflow="fold")
    cells = []
    for name, texts in columns.items():
        column = _add_numbers(table, Text(name.replace("_", "\n")), _starred(texts, best[name]))
        for cell in compress(column, best[name]):
            cell.stylize("bold")
        cells.append(column)
    table.add_column("\nseconds", justify="right", no_wrap=True)
    for name, seconds, *row in zip(_row_names(rows), rows["seconds"], *cells, strict=True):
        table.add_row(Text(name), *row, f"{seconds:,.2f}")
    return table


def _predictions_table(comparison: Comparison, names: Sequence[str]) -> Table:
    """Return how good predictions for the test part are: errors in units, or scores of classes."""
    rows = comparison.table
    table = house_table("Predictions, test part")
    table.add_column("run", overflow="fold")
    columns = []
    for name in names:
        header = name.removeprefix("test_").replace("_", " ")
        table.add_column(HEADERS.get(header, header), justify="right", no_wrap=True)
        shares = header in ("f1", "calibration error")
        columns.append(_percents(rows[name]) if shares else aligned(rows[name].tolist(), 4))
    for cells in zip(_row_names(rows), *columns, strict=True):
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _discord_table(comparison: Comparison) -> Table:
    """Return the discord of every run's training stalks by operation, its total as a bar stacked from them.

    What has diverged has no bar: it would dwarf all others.
    """
    rows = comparison.table[comparison.table["discord_total"].notna()]
    operations = comparison.operations
    bars = _bars(rows, operations)
    longest = float(bars.sum(axis=1).max())
    colours = [OPERATION_COLOURS[name] for name in operations]
    table = house_table("Discord of the training stalks by operation", spare=("",))
    table.add_column("run", overflow="fold")
    heads = [*map(Text, operations, colours), Text("total")]
    columns = _alike(rows[[f"discord_{name}" for name in (*operations, "total")]], 4)
    cells = [_add_numbers(table, head, texts) for head, texts in zip(heads, columns, strict=True)]
    table.add_column("")
    for run, bar, *row in zip(rows["run"], bars.tolist(), *cells, strict=True):
        table.add_row(Text(run), *row, ShareBar(tuple(zip(bar, colours, strict=True)), longest))
    return table


def _add_numbers(table: Table, header: Text, texts: Sequence[str]) -> list[Text]:
    """Add a column of texts whose points are in line, and return its cells."""
    # Not justified to the right, by which blanks at the end would be lost, and points come out of line.
    header.justify = "right"
    table.add_column(header, no_wrap=True)
    width = max(map(len, (*texts, *header.plain.split("\n"))))
    return [Text(text.rjust(width)) for text in texts]


def _row_names(rows: pd.DataFrame) -> list[str]:
    """Return what each row is called where its method does not stand beside it."""
    names = zip(rows["run"], rows["method"], rows["run"].duplicated(), strict=True)
    return [f"  {method}" if is_baseline else run for run, method, is_baseline in names]


def _alike(columns: pd.DataFrame, digits: int) -> list[list[str]]:
    """Return the texts of each column, written alike in all of them."""
    texts = iter(aligned(columns.to_numpy(dtype=np.float64).ravel(order="F").tolist(), digits))
    return [list(islice(texts, len(columns))) for _ in columns]


def _percents(shares: pd.Series) -> list[str]:
    return [MISSING if np.isnan(share) else f"{share:.2%}" for share in shares]


def _starred(texts: Sequence[str], best: Sequence[bool]) -> list[str]:
    """Return texts with a star at each of the best, if any, for which all others leave room."""
    if not any(best):
        return list(texts)
    digits = [text.rstrip() for text in texts]
    return [
        shown + (BEST if is_best else " ") + text[len(shown) :]
        for text, shown, is_best in zip(texts, digits, best, strict=True)
    ]


def _bars(rows: pd.DataFrame, operations: Sequence[str]) -> Array:
    """Return rows x operations, as they are drawn: 0 where nothing is logged or the run diverged."""
    values = rows[[f"discord_{name}" for name in operations]].to_numpy(dtype=np.float64)
    drawn = np.isfinite(values) & (rows[["status"]] != "diverged").to_numpy()
    return np.where(drawn, values, 0.0)


def _line_styles(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the colour, dashes and end marker of each row's lines."""
    numbers = pd.factorize(rows["run"])[0].tolist()
    return [
        {
            "color": RUN_COLOURS[number % len(RUN_COLOURS)],
            "marker": RUN_MARKERS[number // len(RUN_COLOURS) % len(RUN_MARKERS)],
            "linestyle": "--" if is_baseline else "-",
        }
        for number, is_baseline in zip(numbers, rows["run"].duplicated(), strict=True)
    ]


def _draw_losses(axes: Axes, history: pd.DataFrame, style: dict[str, Any]) -> None:
    for name, line in (("train_loss", TRAIN_LINE | {"marker": ""}), ("test_loss", TEST_LINE)):
        losses = history[name].where(np.isfinite(history[name])).to_numpy(dtype=np.float64)
        axes.plot(history["seconds"], losses, **END, **style | line)


def _fit_seconds(axes: Axes, histories: Sequence[pd.DataFrame]) -> None:
    """Name the axis of time; make it logarithmic, from the first record after the start, if runs differ."""
    axes.set_xlabel("seconds")
    courses = [history["seconds"] for history in histories if len(history) > 1]
    ends = [float(seconds.iloc[-1]) for seconds in courses]
    first = min((float(seconds.iloc[1]) for seconds in courses), default=0.0)
    if first > 0.0 and max(ends) >= LOG_TIME_FROM * min(ends):
        axes.set_xscale("log")
        axes.set_xlim(left=0.8 * first)
        axes.xaxis.set_major_locator(LogLocator())
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_xlim(left=0.0)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: f"{seconds:g}"))


def _draw_discord(
    figure: Figure,
    axes: Axes,
    rows: pd.DataFrame,
    operations: Sequence[str],
    styles: Sequence[dict[str, Any]],
) -> None:
    """Draw a bar a run, stacked from the operations, with its total; beside each row its line and name."""
    at = np.arange(len(rows))
    bars = _bars(rows, operations)
    ends = bars.cumsum(axis=1)
    for i, name in enumerate(operations):
        axes.barh(at, bars[:, i], 0.62, left=ends[:, i] - bars[:, i], color=OPERATION_COLOURS[name])
    for place, end, total in zip(at, ends[:, -1], rows["discord_total"], strict=True):
        if not np.isnan(total):
            axes.annotate(
                f"{total:.3g}",
                (end, place),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                color=INK,
                fontsize=8,
            )
    beside = blended_transform_factory(_points_from_left(figure, axes), axes.transData)
    for place, style in zip(at, styles, strict=True):
        options = style | TEST_LINE | END | {"transform": beside, "clip_on": False}
        axes.add_artist(Line2D([-HANDLE, -HANDLE / 5], [place, place], **options))
    names = [
        name if status == "finished" else f"{name} ({status})"
        for name, status in zip(_row_names(rows), rows["status"], strict=True)
    ]
    axes.set_yticks(at, [_shortened(printable(name.strip())) for name in names])
    for label in axes.get_yticklabels():
        label.set_parse_math(False)
    axes.tick_params(axis="y", length=0, pad=1.2 * HANDLE)
    axes.set_ylim(max(len(rows), FEWEST_ROWS) - 0.4, -0.6)
    axes.set_xlim(0.0, 1.18 * (ends.max() or 1.0))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
    axes.ticklabel_format(axis="x", scilimits=(-3, 5))
    axes.xaxis.get_offset_text().set(color=INK, fontsize=9)
    axes.grid(False, axis="y")
    axes.set_xlabel("discord of the training stalks")
    add_legend(axes, [Patch(color=OPERATION_COLOURS[name], label=name) for name in operations], "below")


def _points_from_left(figure: Figure, axes: Axes) -> Transform:
    """Return the transform from points, of which an inch has 72, right of the left end of the axes."""
    points = Affine2D().scale(1.0 / 72.0) + figure.dpi_scale_trans
    return points + ScaledTranslation(0.0, 0.0, BboxTransformTo(axes.bbox))


def _shortened(name: str) -> str:
    """Return a name that leaves room for the picture: head and tail of one that is too long."""
    half = LONGEST_NAME // 2
    return name if len(name) <= LONGEST_NAME else f"{name[: half - 1]}…{name[-half:]}"
