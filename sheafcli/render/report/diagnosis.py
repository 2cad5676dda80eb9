"""Figures of the pinned discord: who is to blame, against the resistance, by neuron and by sample."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from sheafcli.render.diagnosis_tables import blame_title
from sheafcli.render.numbers import percent
from sheafcli.render.palette import OPERATION_COLOURS, PART_COLOURS
from sheafcli.render.panels import thinned
from sheafcli.render.report.figure import (
    JSON,
    MUTED,
    PAPER,
    TRAIN,
    Figure,
    axis,
    plain,
    rounded,
    thinning_note,
)
from sheafcli.render.report.network import MARKERS

MOST_NEURONS, MOST_SAMPLES = 200, 1_000
# So many edges, those that carry most, are named where they stand.
MOST_NAMED_EDGES = 6
# Points that are nearer, in widths of the axes, have one name together.
TOGETHER = 0.03
# Shares that differ by less than this factor are told apart on linear axes.
LINEAR_UNTIL = 30.0
# Bars of neurons leave so many bars' room between two layers.
GAP = 3
NONE_COLOUR = "#009988"


def blame_figure(layers: pd.DataFrame) -> Figure | None:
    """Draw how likely each layer is at fault; None where the table does not say."""
    if "blame" not in layers:
        return None
    names = [*(f"layer {layer}" for layer in layers["layer"]), "none"]
    blames = [*layers["blame"], max(0.0, 1.0 - float(layers["blame"].sum()))]
    data: list[JSON] = [
        {
            "type": "bar",
            "orientation": "h",
            "x": rounded(blames),
            "y": names,
            "text": [percent(blame) for blame in blames],
            "textposition": "outside",
            "cliponaxis": False,
            "marker": {"color": [*[TRAIN] * len(layers), NONE_COLOUR]},
            "hovertemplate": "%{y}<br>blame %{x:.1%}<extra></extra>",
        }
    ]
    layout = {
        "xaxis": axis("blame", tickformat=".0%", range=[0, 1.2]),
        "yaxis": {"type": "category", "autorange": "reversed", "showgrid": False},
    }
    caption = "How likely a fault in each layer is, and how likely it is that none is at fault."
    return Figure("blame", blame_title(layers), caption, data, layout, height=90 + 28 * len(names))


def resistance_figure(edges: pd.DataFrame) -> Figure:
    """Draw every edge's share of the discord against its share of the effective resistance."""
    both = pd.concat([edges["resistance"], edges["share"]])
    positive = both[both > 0]
    log = bool(positive.max() > LINEAR_UNTIL * positive.min())
    names = ("share of resistance", "share of discord")
    scales = [axis(name, both if log else ()) for name in names]
    low, high = (positive.min() / 1.6, positive.max() * 1.6) if log else (0.0, 1.15 * both.max())
    for scale in scales:
        scale |= {"range": [math.log10(low), math.log10(high)] if log else [low, high]}
        scale |= {"tickformat": ".3~p"}
    data: list[JSON] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "no preferred direction",
            "x": rounded([low, high]),
            "y": rounded([low, high]),
            "line": {"color": MUTED, "width": 1.5, "dash": "dot"},
            "hoverinfo": "skip",
        }
    ]
    labels = _labels(edges, low, high, log=log)
    for operation, rows in edges.groupby("operation", sort=False):
        data.append(
            {
                "type": "scatter",
                "mode": "markers+text",
                "name": str(operation),
                "x": rounded(rows["resistance"]),
                "y": rounded(rows["share"]),
                "text": [plain(labels.get(edge, ("", ""))[0]) for edge in rows["edge"]],
                "textposition": [labels.get(edge, ("", "top left"))[1] for edge in rows["edge"]],
                "textfont": {"color": MUTED, "size": 11},
                "customdata": list(zip(map(plain, rows["edge"]), rounded(rows["excess"]), strict=True)),
                "marker": {
                    "symbol": MARKERS[str(operation)],
                    "size": 12,
                    "color": OPERATION_COLOURS[str(operation)],
                    "line": {"color": PAPER, "width": 1.5},
                },
                "hovertemplate": "<b>%{customdata[0]}</b><br>share of discord %{y:.1%}<br>"
                "share of resistance %{x:.1%}<br>excess %{customdata[1]:.3g}<extra></extra>",
            }
        )
    caption = (
        "On the dotted diagonal the discord sits where the network resists, as it does if nothing is the "
        "matter; an edge above it carries more than its share."
    )
    layout = {"xaxis": scales[0], "yaxis": scales[1]}
    return Figure("resistance", "Discord against resistance", caption, data, layout, height=430)


def _labels(edges: pd.DataFrame, low: float, high: float, *, log: bool) -> dict[str, tuple[str, str]]:
    """Return the names of the edges that carry most, and where they stand beside their points.

    Edges at one place, as the output edge at rest and the affine edge before it, have one name together.
    """
    scale = math.log if log else float
    width = scale(high) - scale(low) or 1.0
    places: list[tuple[float, float, list[str]]] = []
    named = edges[(edges[["resistance", "share"]] > (0.0 if log else -1.0)).all(axis=1)]
    top = named.loc[named["share"].nlargest(MOST_NAMED_EDGES).index]
    for edge, *point in zip(top["edge"], top["resistance"], top["share"], strict=True):
        x, y = ((scale(value) - scale(low)) / width for value in point)
        beside = (names for u, v, names in places if abs(u - x) < TOGETHER and abs(v - y) < TOGETHER)
        if (names := next(beside, None)) is None:
            places.append((x, y, [edge]))
        else:
            names.append(edge)
    return {names[0]: (", ".join(names), _beside(x, y)) for x, y, names in places}


def _beside(x: float, y: float) -> str:
    """Return on which side of its point a name stands: off the diagonal, and towards the middle."""
    above = y > x + TOGETHER or (x > 0.5 and y > x - TOGETHER)
    return f"{'top' if above else 'bottom'} {'left' if x > 0.5 else 'right'}"


def neuron_figure(neurons: pd.DataFrame) -> Figure:
    """Draw the discord of the neurons that carry most, layer by layer, stacked by operation."""
    by_neuron = ["layer", "neuron"]
    totals = neurons.groupby(by_neuron)["discord"].sum().rename("total").reset_index()
    top = totals.sort_values("total", ascending=False, kind="stable").head(MOST_NEURONS)
    top = top.sort_values(["layer", "total"], ascending=[True, False], kind="stable").reset_index(drop=True)
    layers = top["layer"].rank(method="dense").astype(int) - 1
    top = top.assign(place=top.index + GAP * layers)
    rows = neurons.merge(top, on=by_neuron)
    data: list[JSON] = []
    for operation, colour in OPERATION_COLOURS.items():
        part = rows[rows["operation"] == operation]
        if part.empty:
            continue
        hover = [
            f"<b>layer {layer}, neuron {neuron}</b><br>{operation}<br>discord {discord:.4g}"
            f"<br>share {percent(share)}<br>active on {percent(active)}"
            for layer, neuron, discord, share, active in zip(
                *(part[c] for c in ("layer", "neuron", "discord", "share", "active")), strict=True
            )
        ]
        data.append(
            {
                "type": "bar",
                "name": operation,
                "x": part["place"].tolist(),
                "y": rounded(part["discord"]),
                "marker": {"color": colour, "line": {"width": 0}},
                "customdata": hover,
                "hovertemplate": "%{customdata}<extra></extra>",
            }
        )
    middles = top.groupby("layer")["place"].agg(lambda places: (places.min() + places.max()) / 2)
    layout = {
        "barmode": "stack",
        "bargap": 0.12,
        "xaxis": {
            "tickvals": middles.tolist(),
            "ticktext": [f"layer {layer}" for layer in middles.index],
            "showgrid": False,
        },
        "yaxis": axis("discord"),
    }
    which = (
        "Every neuron"
        if len(top) == len(totals)
        else f"The {len(top)} of {len(totals):,} neurons that carry most"
    )
    caption = f"{which}, by layer, the largest discord first; point at a bar for its neuron."
    return Figure("neurons", "Discord by neuron", caption, data, layout)


def sample_figure(samples: pd.DataFrame, *, classified: bool) -> Figure:
    """Draw the discord of the samples from the most to the least tense.

    `classified` says that targets are classes: what is predicted wrongly then has another colour.
    """
    rows = samples.sort_values("discord", ascending=False, kind="stable").reset_index(drop=True)
    kept = rows.iloc[thinned(len(rows), MOST_SAMPLES)]
    groups = [("sample", TRAIN, kept)]
    if classified:
        wrong = kept["target"] != kept["predicted"]
        groups = [("right", TRAIN, kept[~wrong]), ("wrong", PART_COLOURS["test"], kept[wrong])]
    data: list[JSON] = []
    for name, colour, part in groups:
        if part.empty:
            continue
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "x": (part.index + 1).tolist(),
                "y": rounded(part["discord"].where(part["discord"] > 0)),
                "marker": {"color": colour, "size": 6},
                "customdata": [_sample_text(row) for row in part.to_dict("records")],
                "hovertemplate": "%{customdata}<extra></extra>",
                "showlegend": len(groups) > 1,
            }
        )
    layout = {
        "xaxis": axis("samples, the most tense first", tickformat=","),
        "yaxis": axis("discord", kept["discord"]),
    }
    half = int((rows["discord"].cumsum() < 0.5 * rows["discord"].sum()).sum()) + 1
    note = thinning_note(len(kept), len(rows), "samples")
    carry = "carries" if half == 1 else "carry"
    caption = f"{half:,} of {len(rows):,} samples {carry} half of the discord.{note}"
    return Figure("samples", "Tension by sample", caption, data, layout)


def _sample_text(row: dict[Any, Any]) -> str:
    places = [f"{word} {row[word]}" for word in ("line", "row") if word in row]
    name = ", ".join([f"sample {row['sample']}", *places])
    lines = [f"<b>{name}</b>", f"discord {row['discord']:.4g}", f"loss {row['loss']:.4g}"]
    lines += [f"{key} {plain(short(row[key]))}" for key in ("target", "predicted") if key in row]
    return "<br>".join([*lines, f"most on {plain(row['worst_edge'])}"])


def short(value: object) -> str:
    """Return a target or prediction as people read it: numbers with four digits, names as they are."""
    text = str(value)
    try:
        return f"{float(text):#.4g}" if "." in text else text
    except ValueError:
        return text
