"""The network drawn as its graph, as one looks at it in a browser."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd

from sheafcli.core.network import GraphNetwork
from sheafcli.render.graph_layout import BESIDE, CONSTANT, EXACT, INPUT, TARGET, Drawing, Mark, draw_graph
from sheafcli.render.report.figure import INK, JSON, MUTED, PAPER, Decades, Figure, plain
from sheafcli.render.report.network import MARKERS, figures_of

SYMBOLS: Final = {**MARKERS, INPUT: "circle", TARGET: "circle", EXACT: "circle", CONSTANT: "circle"}
SIZES: Final = {EXACT: 6, CONSTANT: 6}
USUAL_SIZE = 14
# The palest colours of the scale are for areas: lines begin here.
PALEST_LINE = 0.15
ABOVE = 40
# Beside the drawing the colour bar takes so many pixels.
BAR = 130
# What there is room for on a page: a narrow drawing is not stretched.
NARROWEST = 920


def graph_figure(network: GraphNetwork, edges: pd.DataFrame) -> Figure:
    """Draw the graph: vertices by what makes them, coloured by the discord of the edge that ends there.

    `edges` is diagnosis.csv, or the last step of discord.csv, which has neither resistance nor excess.
    """
    shares = dict(zip(edges["edge"], edges["share"], strict=True))
    drawing = draw_graph(network.graph, shares, target=network.has_output_vertex)
    scale = Decades.of(edges["discord"].tolist())
    places = {name: scale.place(d) for name, d in zip(edges["edge"], edges["discord"], strict=True)}
    layout = {
        "xaxis": {"visible": False, "range": [0, max(drawing.width, NARROWEST)], "fixedrange": True},
        "yaxis": {"visible": False, "range": [drawing.height, 0], "fixedrange": True},
        "coloraxis": scale.colour_axis("discord"),
    }
    return Figure(
        "path",
        "The network as its graph",
        "Each sign is a vertex, with its name, its shape where that changes, and the share of the discord of "
        "the edge that ends there, which is its colour. A dot is an exact operation: nothing can give way "
        "there, and it has no edge. Input and target are filled: they are pinned. Point at a sign for its "
        "figures.",
        [*_lines(drawing, places), *_signs(drawing, edges, places), scale.bar()],
        layout,
        height=round(drawing.height) + ABOVE,
        min_width=round(drawing.width) + BAR,
    )


def _lines(drawing: Drawing, places: dict[str, float]) -> list[JSON]:
    """Return the connections, those of one colour as one trace."""
    by_colour: dict[str, list[tuple[float | None, float | None]]] = {}
    for line in drawing.lines:
        known = line.edge is not None and line.edge in places
        place = PALEST_LINE + (1.0 - PALEST_LINE) * places[line.edge] if known else 0.0  # type: ignore[index]
        points = by_colour.setdefault(f"@scale:{place:.2f}" if known else "@rule", [])
        points += [(round(x, 1), round(y, 1)) for x, y in line.points]
        points.append((None, None))
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "x": [x for x, _ in points],
            "y": [y for _, y in points],
            "line": {"color": colour, "width": 2},
            "hoverinfo": "skip",
            "showlegend": False,
        }
        for colour, points in by_colour.items()
    ]


def _signs(drawing: Drawing, edges: pd.DataFrame, places: dict[str, float]) -> list[JSON]:
    """Return the vertices, a trace a kind, with their labels and what is said when one points at them."""
    rows: dict[str, dict[Any, Any]] = {row["edge"]: row for row in edges.to_dict("records")}
    known = [column for column in ("resistance", "excess") if column in edges]
    traces: list[JSON] = []
    for kind, symbol in SYMBOLS.items():
        marks = [mark for mark in drawing.marks if mark.kind == kind]
        if not marks:
            continue
        common: JSON = {
            "type": "scatter",
            "x": [round(mark.x, 1) for mark in marks],
            "y": [round(mark.y, 1) for mark in marks],
        }
        traces.append(
            common
            | {
                "mode": "markers",
                "name": kind,
                "marker": {
                    "symbol": symbol,
                    "size": SIZES.get(kind, USUAL_SIZE),
                    "color": [_fill(mark, places) for mark in marks],
                    "line": {"color": INK, "width": 1},
                },
                "customdata": [_told(mark, rows, known) for mark in marks],
                "hovertemplate": "%{customdata}<extra></extra>",
            }
        )
        traces.append(
            common
            | {
                "mode": "text",
                "x": [round(mark.x + BESIDE, 1) for mark in marks],
                "text": [plain(mark.label) for mark in marks],
                "textposition": "middle right",
                "textfont": {"color": [MUTED if mark.again else INK for mark in marks], "size": 11},
                "hoverinfo": "skip",
                "showlegend": False,
            }
        )
    return traces


def _fill(mark: Mark, places: dict[str, float]) -> str:
    if mark.kind in (INPUT, TARGET):
        return INK
    return PAPER if mark.again or mark.edge not in places else f"@scale:{places[mark.edge]:.3f}"


def _told(mark: Mark, rows: dict[str, dict[Any, Any]], known: list[str]) -> str:
    """Return the name, the shape, and the figures of the edge that ends there, if one does."""
    if mark.edge in rows:
        return f"{figures_of(rows[mark.edge], known)}<br>{mark.kind}, {mark.shape}"
    return f"<b>{plain(mark.name)}</b><br>{mark.kind}, {mark.shape}"
