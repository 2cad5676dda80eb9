"""The figure of another run: the local difference of every operation beside the cumulative one."""

from __future__ import annotations

import pandas as pd

from sheafcli.render.difference import BEYOND, CUMULATIVE, LOCAL
from sheafcli.render.graph_layout import shortened
from sheafcli.render.report.figure import JSON, Figure, axis, plain, rounded

MOST_NAMED = 60


def difference_figure(rows: pd.DataFrame) -> Figure:
    """Draw root mean squares along the graph, those beyond rounding filled."""
    local = rows["mean_square"] ** 0.5
    names = [plain(name) for name in rows["operation"]]
    parts = (
        ("local: within rounding", local.where(~rows["significant"]), LOCAL, "circle-open"),
        ("local: beyond rounding", local.where(rows["significant"]), BEYOND, "circle"),
    )
    data: list[JSON] = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": "cumulative: of the values",
            "y": rounded(rows["cumulative"].where(rows["cumulative"] > 0.0)),
            "line": {"color": CUMULATIVE, "width": 1.5},
            "marker": {"size": 4},
            "text": names,
            "hovertemplate": "%{text}<br>cumulative %{y:.3g}<extra></extra>",
        },
        *(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "y": rounded(values.where(values > 0.0)),
                "marker": {"color": colour, "size": 8, "symbol": symbol, "line": {"width": 1.5}},
                "text": names,
                "customdata": [
                    [float(f"{t:.3g}"), s] for t, s in zip(rows["times_rounding"], rows["share"], strict=True)
                ],
                "hovertemplate": "%{text}<br>local %{y:.3g}<br>%{customdata[0]} x rounding<br>"
                "share %{customdata[1]:.1%}<extra></extra>",
            }
            for name, values, colour, symbol in parts
        ),
    ]
    ticks: JSON = {"title": {"text": "operation, in order"}}
    if len(rows) <= MOST_NAMED:
        short = [plain(shortened(str(name))) for name in rows["operation"]]
        ticks = {"tickvals": list(range(len(rows))), "ticktext": short, "tickangle": -60}
    layout = {
        "xaxis": {**ticks, "showgrid": False},
        "yaxis": axis("root mean square", pd.concat([local, rows["cumulative"]])),
    }
    caption = (
        "The local difference stands out where the other run computes something else; the cumulative one "
        "only tells that something before did. What is zero is not drawn."
    )
    return Figure("difference", "Local beside cumulative difference", caption, data, layout, height=420)
