"""What all figures of the report share: the JSON that plotly.js reads, colours by theme, numbers."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from sheafcli.render.axes import LOG_FROM, POWERS_FROM
from sheafcli.render.figures import ROUNDING
from sheafcli.render.palette import DISCORD_SCALE, PART_COLOURS

JSON: TypeAlias = dict[str, Any]

INK, MUTED, PAPER, TRAIN = "@ink", "@muted", "@paper", "@train"
"""Colours that depend on the theme: the page's script puts them in when it draws."""
SCALE: Final = "@scale"
"""The colour scale of discord; "@scale:0.4" is the colour at 0.4 of it."""

# Paul Tol's YlOrBr from pale to dark on white, and the other way round on black: more discord always
# stands out more from the page.
THEMES: Final[dict[str, JSON]] = {
    "light": {
        "ink": "#1c2430",
        "muted": "#5b6675",
        "rule": "#dde2e8",
        "paper": "#ffffff",
        "page": "#f6f7f9",
        "train": PART_COLOURS["train"],
        "link": "#00629b",
        "scale": list(DISCORD_SCALE),
    },
    "dark": {
        "ink": "#e6e9ee",
        "muted": "#9aa5b4",
        "rule": "#323a45",
        "paper": "#1a1f27",
        "page": "#12161c",
        "train": "#aebccf",
        "link": "#66b8ec",
        "scale": ["#2f2620", "#5a2a10", "#8a3606", "#bb4a04", "#e06a12", "#f9952a", "#fec44f", "#fff0b8"],
    },
}
"""The colours of the page, light and dark."""

# All points of a figure's lines together, and those of one line, are at most so many.
MOST_POINTS, MOST_POINTS_OF_A_LINE = 60_000, 1_000
DIGITS = 5
# An axis names at most so many powers of ten.
MOST_DECADES = 7


@dataclass(frozen=True)
class Figure:
    """A figure of the page.

    Attributes
    ----------
    key : its id in the page.
    title, caption : its heading, and what it shows, in words.
    data, layout : the traces and the layout as plotly.js takes them, in addition to the page's template.
    height, min_width : in pixels; where the page is narrower, the figure is scrolled.
    half : whether it takes half of a wide page.
    """

    key: str
    title: str
    caption: str
    data: list[JSON]
    layout: JSON = field(default_factory=dict)
    height: int = 360
    min_width: int = 0
    half: bool = False


def rounded(values: Iterable[float]) -> list[float | None]:
    """Return numbers with five significant digits, all that a screen can show; None if not finite."""
    short = (float(f"{value:.{DIGITS}g}") for value in values)
    return [value if math.isfinite(value) else None for value in short]


def plain(text: object) -> str:
    """Return text that plotly shows as it is: it would take a tag for formatting."""
    return html.escape(str(text), quote=False)


def points_of_a_line(n_lines: int) -> int:
    """Return how many points each of so many lines may have."""
    return max(50, min(MOST_POINTS_OF_A_LINE, MOST_POINTS // max(n_lines, 1)))


def thinning_note(shown: int, total: int, what: str) -> str:
    """Return what a caption adds where not everything is drawn."""
    return f" {shown:,} of {total:,} {what} are drawn, evenly spaced." if shown < total else ""


def axis(title: str, values: Iterable[float] = (), **more: Any) -> JSON:
    """Return an axis, logarithmic if the values span enough for it."""
    positive = [value for value in values if math.isfinite(value) and value > 0]
    if positive and max(positive) >= LOG_FROM * min(positive):
        low, high = math.log10(min(positive)), math.log10(max(positive))
        # plotly.js writes powers of ten a quarter larger than other ticks.
        ticks = {"dtick": max(1, math.ceil((high - low) / MOST_DECADES)), "exponentformat": "power"}
        ticks |= {"tickfont": {"size": 10}}
        if high - low < math.log10(POWERS_FROM):
            powers = range(math.floor(low), math.ceil(high) + 1)
            values = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
            ticks = {"tickvals": values, "ticktext": [f"{value:.1g}" for value in values]}
        more = {"type": "log", **ticks, **more}
    return {"title": {"text": title}, **more}


@dataclass(frozen=True)
class Decades:
    """A colour scale over the logarithm of a discord, from `low` to `high` (powers of ten)."""

    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Decades:
        """Return the scale that fits the values; zeros, and rounding errors of zeros, have no place on it."""
        finite = [value for value in values if math.isfinite(value)]
        largest = max(finite, default=0.0)
        proper = [math.log10(value) for value in finite if value > ROUNDING * largest]
        if not proper:
            return cls(-1.0, 0.0)
        low, high = min(proper), max(proper)
        # A span of less than a decade would show differences that are none.
        return cls(low, high) if high - low >= 1.0 else cls(high - 1.0, high)

    def place(self, value: float) -> float:
        """Return where a value sits between 0 and 1; zeros at 0."""
        if not value > 0:
            return 0.0
        return min(max((math.log10(value) - self.low) / (self.high - self.low), 0.0), 1.0)

    def bar(self) -> JSON:
        """Return what the colour bar belongs to: a trace that draws nothing; others have one colour each."""
        marker = {"color": [self.low, self.high], "coloraxis": "coloraxis", "opacity": 0}
        ends: JSON = {"type": "scatter", "mode": "markers", "x": [0, 0], "y": [0, 0], "marker": marker}
        return ends | {"hoverinfo": "skip", "showlegend": False}

    def colour_axis(self, title: str) -> JSON:
        """Return the colour axis of logarithms to the base 10, its ticks the discords themselves."""
        ends = [math.ceil(self.low - 1e-9), math.floor(self.high + 1e-9)]
        step = max(1, math.ceil((ends[1] - ends[0]) / 5))
        ticks: list[float] = [*range(ends[0], ends[1] + 1, step)]
        if len(ticks) < 2:
            ticks = [self.low, self.high]
        texts = [f"10<sup>{tick}</sup>" if isinstance(tick, int) else f"{10**tick:.2g}" for tick in ticks]
        return {
            "colorscale": SCALE,
            "cmin": self.low,
            "cmax": self.high,
            "colorbar": {
                "title": {"text": title, "side": "right", "font": {"color": MUTED, "size": 12}},
                "tickfont": {"color": MUTED, "size": 11},
                "tickvals": ticks,
                "ticktext": texts,
                "thickness": 10,
                "outlinewidth": 0,
                "xpad": 4,
            },
        }


def template() -> JSON:
    """Return the layout that all figures start from, its colours left to the theme."""
    axes = {
        "gridcolor": "@rule",
        "linecolor": "@rule",
        "zeroline": False,
        "automargin": True,
        "exponentformat": "e",
        "ticks": "",
        "title": {"font": {"color": MUTED, "size": 12}, "standoff": 8},
        "tickfont": {"color": MUTED, "size": 11},
    }
    return {
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": INK},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 8, "r": 8, "t": 12, "b": 8},
        "xaxis": axes,
        "yaxis": axes,
        "legend": {
            "traceorder": "normal",
            "orientation": "h",
            "x": 0,
            "y": 1.02,
            "yanchor": "bottom",
            "font": {"size": 12},
        },
        "hoverlabel": {"bgcolor": PAPER, "bordercolor": MUTED, "font": {"color": INK}, "align": "left"},
        "hovermode": "closest",
        "bargap": 0.25,
    }
