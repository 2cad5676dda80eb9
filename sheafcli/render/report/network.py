"""The network drawn as what it is to the sheaf: a path of stalks, joined by edges that agree or do not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from sheafcli.render.numbers import percent
from sheafcli.render.palette import OPERATION_COLOURS
from sheafcli.render.report.figure import INK, JSON, MUTED, PAPER, Decades, Figure, plain

MARKERS: Final = {
    "affine": "square",
    "activation": "diamond",
    "pool": "triangle-down",
    "normalisation": "hexagon",
    "multiply": "x",
    "output": "circle",
}
"""The sign of each operation."""

# A path longer than that goes on in the next row, which begins with the stalk that ended the last.
EDGES_A_ROW = 8
ROW, ROW_PIXELS, STALK_PIXELS = 1.9, 210, 74
HALF_WIDTH, LOWEST, HIGHEST = 0.045, 0.16, 0.56
# A band is so much of the height of the stalks that it joins.
BAND = 0.86


@dataclass(frozen=True)
class Stalk:
    """A stalk of the path: its name, its dimension (None if not known), and whether it is pinned."""

    name: str
    width: int | None
    pinned: bool


def stalks_of(edges: pd.DataFrame, widths: Sequence[int] | None, *, pinned: bool) -> list[Stalk]:
    """Return the stalks of a path, one more than it has edges.

    x, then z_l after affine l, a_l after activation l, and the target y after the output edge. `pinned`
    says that the true output holds the end of the path, which without an output edge is z_{k+1}.
    """
    last = int(edges["layer"].max())

    def width(layer: int) -> int | None:
        return widths[layer] if widths is not None and layer < len(widths) else None

    stalks = [Stalk("x", width(0), pinned=True)]
    for layer, operation in zip(edges["layer"], edges["operation"], strict=True):
        if operation == "output":
            stalks.append(Stalk("y", width(last), pinned=True))
        else:
            letter = "z" if operation == "affine" else "a"
            stalks.append(Stalk(f"{letter}<sub>{layer}</sub>", width(layer), pinned=False))
    if pinned and edges["operation"].iloc[-1] != "output":
        stalks[-1] = Stalk(f"{stalks[-1].name} = y", width(last), pinned=True)
    return stalks


def path_figure(edges: pd.DataFrame, widths: Sequence[int] | None, *, pinned: bool) -> Figure:
    """Draw the path: stalks as bars as high as the logarithm of their dimension, edges as bands of discord.

    `edges` is diagnosis.csv, or the last step of discord.csv, which has neither resistance nor excess.
    """
    stalks = stalks_of(edges, widths, pinned=pinned)
    scale = Decades.of(edges["discord"].tolist())
    heights = _heights(stalks)
    rows = math.ceil(len(edges) / EDGES_A_ROW)
    columns = min(len(edges), EDGES_A_ROW)
    bands, bars, labels = [], [], []
    for place in range(len(edges)):
        left, right = _position(place), _position(place, end=True)
        value = float(edges["discord"].iloc[place])
        bands.append(_band(left, right, heights[place], heights[place + 1], scale.place(value)))
        top = left[1] + BAND * (heights[place] + heights[place + 1]) / 2
        labels.append(_share(left[0] + 0.5, top, edges["share"].iloc[place]))
    for row in range(rows):
        first, last = row * EDGES_A_ROW, min((row + 1) * EDGES_A_ROW, len(edges))
        for place in range(first, last + 1):
            x, y = place - first, -row * ROW
            stalk, height = stalks[place], heights[place]
            again = row > 0 and place == first
            bars.append(_bar(x, y, height, pinned=stalk.pinned, again=again))
            labels += _labels(x, y, height, stalk)
    layout = {
        "xaxis": {"visible": False, "range": [-0.4, columns + 0.4], "fixedrange": True},
        "yaxis": {"visible": False, "range": [-(rows - 1) * ROW - 1.05, 0.95], "fixedrange": True},
        "coloraxis": scale.colour_axis("discord"),
        "shapes": bars,
        "annotations": labels,
        "hoverdistance": 60,
    }
    return Figure(
        "path",
        "The network as a path",
        "Each bar is a stalk, with its dimension below (filled: pinned); each band is an edge, coloured by "
        "its discord, with its share of the whole above. Point at an edge's sign for its figures.",
        [*bands, *_signs(edges, scale)],
        layout,
        height=70 + ROW_PIXELS * rows,
        min_width=STALK_PIXELS * (columns + 1),
    )


def _position(place: int, *, end: bool = False) -> tuple[float, float]:
    row, column = divmod(place, EDGES_A_ROW)
    return column + (1 if end else 0), -row * ROW


def _heights(stalks: Sequence[Stalk]) -> list[float]:
    """Return half the height of every stalk: as the logarithm of its dimension."""
    widest = max((stalk.width or 1 for stalk in stalks), default=1)
    full = math.log(widest + 1)
    return [LOWEST + (HIGHEST - LOWEST) * math.log((stalk.width or widest) + 1) / full for stalk in stalks]


def _band(
    left: tuple[float, float], right: tuple[float, float], start: float, end: float, place: float
) -> JSON:
    (x0, y), (x1, _) = left, right
    x0, x1, start, end = x0 + HALF_WIDTH, x1 - HALF_WIDTH, BAND * start, BAND * end
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [x0, x1, x1, x0, x0],
        "y": [round(value, 4) for value in (y + start, y + end, y - end, y - start, y + start)],
        "fill": "toself",
        "fillcolor": f"@scale:{place:.3f}",
        "line": {"color": "@rule", "width": 1},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _bar(x: float, y: float, height: float, *, pinned: bool, again: bool) -> JSON:
    return {
        "type": "rect",
        "x0": x - HALF_WIDTH,
        "x1": x + HALF_WIDTH,
        "y0": y - height,
        "y1": y + height,
        "line": {"color": MUTED if again else INK, "width": 1.5, "dash": "dot" if again else "solid"},
        "fillcolor": INK if pinned else PAPER,
    }


def _labels(x: float, y: float, height: float, stalk: Stalk) -> list[JSON]:
    common: JSON = {"x": x, "showarrow": False}
    name = {"text": f"<i>{stalk.name}</i>", "y": y + height, "yanchor": "bottom", "font": {"size": 15}}
    if stalk.width is None:
        return [common | name]
    width = {"text": f"{stalk.width:,}", "y": y - height, "yanchor": "top", "font": {"color": MUTED}}
    return [common | name, common | width]


def _share(x: float, y: float, share: float) -> JSON:
    return {"text": f"<b>{percent(share)}</b>", "x": x, "y": y, "yanchor": "bottom", "showarrow": False}


def _signs(edges: pd.DataFrame, scale: Decades) -> list[JSON]:
    """Return the operation's sign in the middle of every edge, a trace an operation, with its figures."""
    traces = []
    known = [column for column in ("resistance", "excess") if column in edges]
    for operation, colour in OPERATION_COLOURS.items():
        places = [place for place, found in enumerate(edges["operation"]) if found == operation]
        if not places:
            continue
        middles = [_position(place) for place in places]
        rows = edges.iloc[places]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": operation,
                "x": [x + 0.5 for x, _ in middles],
                "y": [y for _, y in middles],
                "marker": {
                    "symbol": MARKERS[operation],
                    "size": 17,
                    "color": colour,
                    "line": {"color": PAPER, "width": 2},
                },
                "customdata": [figures_of(row, known) for row in rows.to_dict("records")],
                "hovertemplate": "%{customdata}<extra></extra>",
            }
        )
    return [*traces, scale.bar()]


def figures_of(row: dict[Any, Any], known: Sequence[str]) -> str:
    """Return what is said of an edge when one points at it."""
    lines = [
        f"<b>{plain(row['edge'])}</b>",
        f"discord {row['discord']:.4g}",
        f"share of discord {percent(row['share'])}",
    ]
    if "resistance" in known:
        lines.append(f"share of resistance {percent(row['resistance'])}")
    if "excess" in known:
        lines.append(f"excess {row['excess']:.3g}")
    return "<br>".join(lines)
