"""The report on a sweep: the best combination, all in parallel coordinates, what each parameter explains."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from sheafcli.records.importance import importance
from sheafcli.records.sweep import SEED, SweepRecord
from sheafcli.render.axes import LOG_FROM
from sheafcli.render.numbers import MISSING
from sheafcli.render.report.figure import INK, JSON, MUTED, Figure, axis, plain, rounded
from sheafcli.render.report.parts import Section, Tile
from sheafcli.render.report.tables import (
    Cell,
    Column,
    Table,
    count_cells,
    number_cells,
    percent_cells,
    share_cells,
    text_cells,
)
from sheafcli.render.sweep import parameter_names, parameter_text
from sheafcli.runs.sweep import FIRST_LOSS

MOST_LINES, ROWS, MOST_TICKS = 300, 40, 8
BEST_COLOUR, FIRST_PLACE, LAST_PLACE = "#ee3377", 0.95, 0.15
IMPORTANCE = (
    "How much of the loss each parameter explains by itself: the share of the variance of the ranks of all "
    "losses that lies between its values, less what chance would show (eta squared of the Kruskal-Wallis "
    "test). A run that diverged has the last rank. What parameters do only together is in none of the "
    "shares, so they need not add up to 100%."
)
AT_FIRST_RUNG = " Losses are those at the end of the first rung of the search, which all runs have reached."


def sweep_sections(sweep: SweepRecord) -> list[Section]:
    """Return the sections of the page of a sweep."""
    return [_summary(sweep), _combinations(sweep), _importance(sweep)]


def sweep_subtitle(sweep: SweepRecord) -> list[str]:
    """Return what stands below the name: the runs by their status, and what varied."""
    counts = [f"{count:,} {status}" for status, count in sweep.counts.items()]
    return [*counts, f"varied: {', '.join(parameter_names(sweep.keys))}"]


def _summary(sweep: SweepRecord) -> Section:
    best = sweep.best
    if best is None:
        return Section("summary", "Summary", "No run of this sweep has finished.")
    names = parameter_names(sweep.parameters)
    tiles = [Tile(sweep.loss.replace("_", " ").capitalize(), f"{best[sweep.loss]:.4g}", _spread(sweep, best))]
    tiles += [
        Tile(name, parameter_text(best[key])) for name, key in zip(names, sweep.parameters, strict=True)
    ]
    runs = sweep.runs_of(best)
    tiles.append(Tile("Runs" if len(runs) > 1 else "Run", ", ".join(runs[:3]), f"of {len(sweep.index):,}"))
    lead = f"The best combination by {sweep.loss.replace('_', ' ')}, among those that have finished."
    if sweep.loss == "test_loss":
        lead += " It was chosen on the test samples: on new ones its loss will be a little higher."
    return Section("summary", "The best", lead, tiles=tiles)


def _spread(sweep: SweepRecord, row: Mapping[str, Any]) -> str:
    if row["runs"] < 2 or "test_least" not in row:
        return ""
    return f"{row['test_least']:.3g} to {row['test_largest']:.3g} over {row['runs']} seeds"


def _combinations(sweep: SweepRecord) -> Section:
    table = sweep.combinations
    figures = [] if not sweep.parameters or sweep.loss not in table else [parallel_coordinates(sweep)]
    shown = table.head(ROWS)
    columns = [
        Column(name, _parameter_cells(shown[key]), pd.api.types.is_numeric_dtype(shown[key]))
        for name, key in zip(parameter_names(sweep.parameters), sweep.parameters, strict=True)
    ]
    for key, header, write in (
        ("train_loss", "train loss", number_cells),
        ("validation_loss", "validation loss", number_cells),
        ("test_loss", "test loss", number_cells),
        ("test_least", "least", number_cells),
        ("test_largest", "largest", number_cells),
        ("test_accuracy", "test accuracy", percent_cells),
    ):
        if key in shown and (not key.startswith(("test_least", "test_largest")) or shown["runs"].max() > 1):
            columns.append(Column(header, write(shown[key]), is_number=True))
    if "steps" in shown:
        steps = [Cell(MISSING if pd.isna(step) else f"{step:,.0f}") for step in shown["steps"]]
        columns.append(Column("steps", steps, is_number=True))
    finished = [f"{int(f)} of {int(n)}" for f, n in zip(shown["finished"], shown["runs"], strict=True)]
    columns.append(Column("finished", text_cells(finished), is_number=True))
    caption = f"The best {len(shown):,} of {len(table):,}" if len(shown) < len(table) else "Best first"
    lead = "Medians over the seeds." if SEED in sweep.keys else ""
    return Section("combinations", "Combinations", lead, figures=figures, tables=[Table(caption, columns)])


def _parameter_cells(values: pd.Series[Any]) -> list[Cell]:
    return [Cell(parameter_text(value)) for value in values]


def _importance(sweep: SweepRecord) -> Section:
    table = importance(sweep)
    known = table.dropna()
    note = AT_FIRST_RUNG if FIRST_LOSS in sweep.index else ""
    figures = []
    if len(known):
        figures.append(
            Figure(
                "importance",
                "Share of the loss explained",
                "By each parameter alone; the seed is chance.",
                [
                    {
                        "type": "bar",
                        "orientation": "h",
                        "x": rounded(known["share"]),
                        "y": [plain(key) for key in known["parameter"]],
                        "marker": {"color": MUTED},
                        "hovertemplate": "%{y}: %{x:.1%}<extra></extra>",
                    }
                ],
                {
                    "xaxis": axis("share", tickformat=".0%", range=[0, 1]),
                    "yaxis": {"autorange": "reversed", "showgrid": False},
                },
                height=90 + 34 * len(known),
            )
        )
    columns = [
        Column("parameter", text_cells(table["parameter"]), is_number=False),
        Column("share", share_cells(table["share"]), is_number=True),
        Column("values", count_cells(table["values"]), is_number=True),
        Column("runs compared", count_cells(table["runs"]), is_number=True),
    ]
    lead = f"{IMPORTANCE}{note}"
    return Section("importance", "Importance", lead, figures=figures, tables=[Table("Importance", columns)])


def parallel_coordinates(sweep: SweepRecord) -> Figure:
    """Draw every combination as a line through its values, the loss last; better ones stronger, the best red.

    Lines are scatter traces: plotly's own parallel coordinates compile shaders as they run, which the page's
    policy forbids.
    """
    table = sweep.combinations
    table = table[table[sweep.loss].notna()].head(MOST_LINES)
    keys = [*sweep.parameters, sweep.loss]
    names = [*parameter_names(sweep.parameters), sweep.loss.replace("_", " ")]
    axes = [*(_Axis.of(sweep.index[key]) for key in sweep.parameters), _Axis.of(table[sweep.loss])]
    data: list[JSON] = []
    # The best last, above all others.
    for place in reversed(range(len(table))):
        row = table.iloc[place]
        share = place / max(len(table) - 1, 1)
        told = [f"{name} {parameter_text(row[key])}" for name, key in zip(names, keys, strict=True)]
        is_best = place == 0 and sweep.best is not None
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers" if is_best else "lines",
                "x": list(range(len(keys))),
                "y": rounded(one.place(row[key]) for one, key in zip(axes, keys, strict=True)),
                "line": {
                    "color": BEST_COLOUR if is_best else INK,
                    "width": 3 if is_best else 1.2,
                    "shape": "spline",
                    "smoothing": 0.5,
                },
                "marker": {"size": 7},
                "opacity": 1.0
                if is_best
                else round(FIRST_PLACE - (FIRST_PLACE - LAST_PLACE) * share**0.5, 3),
                "text": ["<br>".join(map(plain, told))] * len(keys),
                "hovertemplate": "%{text}<extra></extra>",
                "showlegend": False,
            }
        )
    ticks = [
        {
            "x": x,
            "y": y,
            "text": plain(text),
            "showarrow": False,
            "xanchor": "left",
            "xshift": 5,
            "font": {"size": 11, "color": MUTED},
            "bgcolor": "@paper",
            "opacity": 0.85,
        }
        for x, one in enumerate(axes)
        for y, text in one.ticks()
    ]
    layout: JSON = {
        "xaxis": {
            "tickvals": list(range(len(keys))),
            "ticktext": [plain(name) for name in names],
            "side": "top",
            "range": [-0.35, len(keys) - 0.6],
            "gridcolor": MUTED,
        },
        "yaxis": {"visible": False, "range": [-0.06, 1.06]},
        "annotations": ticks,
    }
    total = len(sweep.combinations)
    drawn = "" if len(table) == total else f" {len(table):,} of {total:,} are drawn."
    caption = f"A line a combination; the stronger, the lower its loss; the best in red.{drawn}"
    return Figure(
        "parallel", "Parallel coordinates", caption, data, layout, height=420, min_width=130 * len(keys)
    )


class _Axis:
    """One of the parallel axes: where a value lies between 0 and 1."""

    def __init__(self, values: pd.Series[Any], places: dict[object, float]):
        self._values, self._places = values, places

    @classmethod
    def of(cls, values: pd.Series[Any]) -> _Axis:
        """Lay out numbers by their size, or its logarithm where they span much, and all else evenly."""
        is_number = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
        distinct = list(dict.fromkeys(values.sort_values() if is_number else values))
        heights = np.arange(len(distinct), dtype=float)
        if is_number:
            heights = np.array(distinct, dtype=float)
            if heights.min() > 0 and heights.max() >= LOG_FROM * heights.min():
                heights = np.log10(heights)
        reach = float(np.ptp(heights))
        shares = (heights - heights.min()) / reach if reach > 0 else np.full(len(distinct), 0.5)
        return cls(values, {_key(value): float(share) for value, share in zip(distinct, shares, strict=True)})

    def place(self, value: object) -> float:
        """Return where a value lies."""
        return self._places[_key(value)]

    def ticks(self) -> list[tuple[float, str]]:
        """Return places with the values there: all of a few, else the ends and some between."""
        entries = sorted((place, parameter_text(key)) for key, place in self._places.items())
        step = max(1, math.ceil((len(entries) - 1) / (MOST_TICKS - 1)))
        chosen = entries[::step] if step == 1 else [*entries[: -step // 2 : step], entries[-1]]
        kept: list[tuple[float, str]] = []
        for place, text in chosen:
            if not kept or place - kept[-1][0] > 1.0 / (2 * MOST_TICKS):
                kept.append((round(place, 5), text))
        return kept


def _key(value: object) -> object:
    """Return what stands for a value: every NaN for every other."""
    return MISSING if isinstance(value, float) and math.isnan(value) else value
