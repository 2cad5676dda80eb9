"""Figures of the spectrum: how far apart the eigenvalues are, and where the extreme eigenvectors sit."""

from __future__ import annotations

import re
from typing import Final

import pandas as pd

from sheafcli.render.graph_layout import shortened
from sheafcli.render.palette import OPERATION_COLOURS
from sheafcli.render.panels import thinned
from sheafcli.render.report.figure import INK, JSON, TRAIN, Figure, axis, plain, rounded, thinning_note

QUANTITIES: Final = {
    "gap": "gap (smallest eigenvalue)",
    "largest": "largest eigenvalue",
    "condition": "condition number",
}
MOST_SAMPLES = 1_000


def eigenvalue_figure(spectrum: pd.DataFrame) -> Figure:
    """Draw the gap, the largest eigenvalue and the condition number of all samples."""
    rows = spectrum.iloc[thinned(len(spectrum), MOST_SAMPLES)]
    data: list[JSON] = [
        {
            "type": "box",
            "orientation": "h",
            "name": name.split(" (")[0],
            "x": rounded(rows[quantity]),
            "customdata": rows["sample"].tolist(),
            "boxpoints": "all",
            "jitter": 0.5,
            "pointpos": 0,
            "line": {"color": INK, "width": 1.2},
            "fillcolor": "rgba(0,0,0,0)",
            "marker": {"color": TRAIN, "size": 4, "opacity": 0.45},
            "hovertemplate": f"sample %{{customdata}}<br>{name} %{{x:.4g}}<extra></extra>",
            "hoveron": "points",
        }
        for quantity, name in QUANTITIES.items()
    ]
    layout = {
        "xaxis": axis("value", pd.concat([rows[quantity] for quantity in QUANTITIES])),
        "yaxis": {"autorange": "reversed", "showgrid": False},
        "showlegend": False,
    }
    medians = ", ".join(f"{quantity} {spectrum[quantity].median():.3g}" for quantity in QUANTITIES)
    note = thinning_note(len(rows), len(spectrum), "samples")
    caption = f"A dot a sample, with median and quartiles. Medians: {medians}.{note}"
    return Figure("spectrum", "Eigenvalues of the sheaf Laplacian", caption, data, layout)


def eigenvector_figure(spectrum: pd.DataFrame) -> Figure | None:
    """Draw where the Fiedler vector and the top eigenvector sit: the mean of their energy by stalk."""
    stalks = [
        column.removeprefix("fiedler_") for column in map(str, spectrum) if column.startswith("fiedler_")
    ]
    stalks = [stalk for stalk in stalks if f"top_{stalk}" in spectrum]
    if not stalks:
        return None
    colours = {"fiedler": OPERATION_COLOURS["affine"], "top": OPERATION_COLOURS["activation"]}
    names = {"fiedler": "Fiedler vector (slowest)", "top": "top eigenvector (fastest)"}
    data: list[JSON] = [
        {
            "type": "bar",
            "name": names[kind],
            "x": [_written(stalk) for stalk in stalks],
            "y": rounded(spectrum[f"{kind}_{stalk}"].mean() for stalk in stalks),
            "marker": {"color": colour},
            "hovertemplate": f"%{{x}}<br>{names[kind]} %{{y:.1%}}<extra></extra>",
        }
        for kind, colour in colours.items()
    ]
    layout = {
        "barmode": "group",
        "xaxis": {"type": "category", "showgrid": False, "tickfont": {"size": 13}},
        "yaxis": axis("share of its energy", tickformat=".0%"),
    }
    slowest = max(stalks, key=lambda stalk: spectrum[f"fiedler_{stalk}"].mean())
    caption = f"By stalk, a mean over the samples. What settles last sits mostly in {slowest}."
    return Figure("eigenvectors", "Where the extreme eigenvectors sit", caption, data, layout)


def _written(stalk: str) -> str:
    """Write z1 and a1 as the formulas have them, other names as they are."""
    return f"{stalk[0]}<sub>{stalk[1:]}</sub>" if re.fullmatch(r"[za]\d+", stalk) else plain(shortened(stalk))
