"""Where another run of a network computes something else: the table, and a picture along the graph."""

from __future__ import annotations

from matplotlib.figure import Figure
from rich.table import Table
from rich.text import Text

from sheafcli.diagnostics.difference import Comparison
from sheafcli.diagnostics.mixed_precision import Advice
from sheafcli.render.house_table import house_table
from sheafcli.render.numbers import aligned, percent, times
from sheafcli.render.style import add_legend, new_figure

LOCAL, CUMULATIVE, BEYOND = "#b3372f", "#3b6ea5", "#b3372f"
MOST_NAMED = 30
ROUNDS_TO_NOTHING = 0.0005


def difference_table(comparison: Comparison, most: int) -> Table:
    """Return so many operations, those beyond rounding first, by their share of the output difference."""
    rows = comparison.leading.head(most)
    table = house_table("Operations", spare=("reversed", "largest"))
    table.add_column("operation", overflow="fold", max_width=24)
    columns = {
        "local rms": aligned((rows["mean_square"] ** 0.5).tolist(), 3),
        "largest": aligned(rows["largest"].tolist(), 3),
        "x rounding": [times(value) for value in rows["times_rounding"]],
        "share": [_share(share) for share in rows["share"]],
    }
    if "reversed_share" in rows:
        columns["reversed"] = [_share(share) for share in rows["reversed_share"]]
    for header in columns:
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    styles = ["bold red" if significant else "" for significant in rows["significant"]]
    for name, style, kind, *cells in zip(
        rows["operation"], styles, rows["kind"], *columns.values(), strict=True
    ):
        table.add_row(Text(str(name), style), *cells, Text(str(kind)))
    return table


def advice_table(advice: Advice) -> Table:
    """Return what to keep, in order, with what has gone when all down to it are kept."""
    table = house_table("Keep", spare=())
    table.add_column("operation", overflow="fold", max_width=24)
    table.add_column("share", justify="right", no_wrap=True)
    table.add_column("goes", justify="right", no_wrap=True)
    table.add_column("stands for", overflow="fold")
    for name, share, reached, segment in zip(
        *(advice.kept[column] for column in ("operation", "share", "reached", "segment")), strict=True
    ):
        others = " ".join(other for other in str(segment).split() if other != name)
        table.add_row(Text(str(name)), _share(share), _share(reached), Text(others and f"{others} {name}"))
    return table


def difference_figure(comparison: Comparison, title: str) -> Figure:
    """Draw the local difference of every operation beside the cumulative one, along the graph.

    Filled marks are beyond rounding. The local difference stands out where the other run computes something
    else; the cumulative one, of the values themselves, only tells that something before did.
    """
    rows = comparison.operations
    places = range(len(rows))
    figure, (axes,) = new_figure(title, n_panels=1, size=(10.8, 4.6))
    local = (rows["mean_square"] ** 0.5).where(rows["mean_square"] > 0.0)
    cumulative = rows["cumulative"].where(rows["cumulative"] > 0.0)
    axes.plot(
        places, cumulative, color=CUMULATIVE, marker=".", linewidth=1.2, label="cumulative: of the values"
    )
    axes.plot(
        places, local, color=LOCAL, marker="o", linestyle="", fillstyle="none", label="local: within rounding"
    )
    beyond = local.where(rows["significant"])
    axes.plot(places, beyond, color=BEYOND, marker="o", linestyle="", label="local: beyond rounding")
    if local.notna().any() or cumulative.notna().any():
        axes.set_yscale("log", nonpositive="mask")
    axes.set_ylabel("root mean square")
    if len(rows) <= MOST_NAMED:
        axes.set_xticks(
            list(places), [str(name)[-24:] for name in rows["operation"]], rotation=60, ha="right"
        )
        for label in axes.get_xticklabels():
            label.set_parse_math(False)
    else:
        axes.set_xlabel("operation, in order")
    add_legend(axes, axes.lines, "beside")
    return figure


def _share(share: float) -> str:
    """Return a share, which may be negative, in percent; no sign of what rounds to nothing."""
    return percent(share if abs(share) >= ROUNDS_TO_NOTHING else abs(share))
