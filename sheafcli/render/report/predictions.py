"""How good the predictions are, for the report: the confusion matrix as a figure."""

from __future__ import annotations

import pandas as pd

from sheafcli.render.report.figure import JSON, MUTED, PAPER, Figure, plain, rounded

# A matrix of more classes is a table's business.
MOST_CLASSES = 30
ROW_PIXELS = 26


def confusion_figure(confusion: pd.DataFrame) -> Figure | None:
    """Draw how many samples of each true class are predicted as each; None where they are too many."""
    table = confusion.pivot_table(index="true", columns="predicted", values="samples", sort=False)
    if len(table) > MOST_CLASSES:
        return None
    shares = table.div(table.sum(axis=1).clip(lower=1.0), axis=0)
    data: list[JSON] = [
        {
            "type": "heatmap",
            "x": [plain(name) for name in table.columns],
            "y": [plain(name) for name in table.index],
            "z": [rounded(row) for row in shares.to_numpy()],
            "text": [[f"{count:,.0f}" if count else "" for count in row] for row in table.to_numpy()],
            "texttemplate": "%{text}",
            "colorscale": [[0.0, PAPER], [1.0, "#0077bb"]],
            "zmin": 0.0,
            "zmax": 1.0,
            "xgap": 2,
            "ygap": 2,
            "colorbar": {
                "title": {
                    "text": "share of the true class",
                    "side": "right",
                    "font": {"color": MUTED, "size": 12},
                },
                "tickformat": ".0%",
                "tickfont": {"color": MUTED, "size": 11},
                "thickness": 10,
                "outlinewidth": 0,
            },
            "hovertemplate": "true %{y}<br>predicted %{x}<br>%{text} samples, %{z:.1%}<extra></extra>",
        }
    ]
    layout = {
        "xaxis": {"type": "category", "title": {"text": "predicted"}, "showgrid": False},
        "yaxis": {"type": "category", "title": {"text": "true"}, "autorange": "reversed", "showgrid": False},
    }
    caption = "Samples of each true class by the class that is predicted; what is right lies on the diagonal."
    return Figure(
        "confusion",
        "Confusion matrix",
        caption,
        data,
        layout,
        height=150 + ROW_PIXELS * len(table),
        half=True,
    )
