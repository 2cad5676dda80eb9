"""The house style of pictures: matplotlib's objects on the Agg canvas, no window, no global state."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.text import Text

from sheafcli.printable import printable
from sheafcli.runs.files import write_whole

DOTS_PER_INCH = 144
INK = "#333333"
# Of the fonts that come with systems or are often installed, those with letters that DejaVu lacks.
FALLBACKS = (
    *("Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans CJK KR", "Noto Sans JP", "Noto Sans SC"),
    *("Source Han Sans", "Hiragino Sans", "PingFang SC", "Apple SD Gothic Neo", "Heiti TC"),
    *("Yu Gothic", "Meiryo", "MS Gothic", "Microsoft YaHei", "SimHei", "Malgun Gothic"),
    *("WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback", "IPAexGothic", "IPAGothic"),
    *("TakaoPGothic", "VL PGothic", "UnDotum", "Noto Sans Arabic", "Noto Sans Hebrew"),
    *("Noto Sans Devanagari", "Noto Sans Thai", "Noto Emoji", "Symbola", "Arial Unicode MS", "Unifont"),
)
FAINT = "#dedede"


@cache
def _families() -> list[str]:
    """Return the fonts in which a letter is looked for, those that are installed."""
    installed = {font.name for font in fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in FALLBACKS if name in installed)]


class HouseFigure(Figure):
    """A figure that shows itself in a notebook, also where nobody has set up pyplot."""

    def _repr_png_(self) -> bytes:
        stream = io.BytesIO()
        _write(self, stream, "png")
        return stream.getvalue()


def new_figure(title: str, *, n_panels: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    """Return a figure of a size in inches, with empty panels from left to right.

    Titles and labels of the user's are plain text here and in `add_legend`: a $ begins no formula.
    """
    layout = ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.06)
    figure = HouseFigure(figsize=size, layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    figure.suptitle(title, color=INK, fontsize=12, fontweight="bold", parse_math=False)
    panels = [figure.add_subplot(1, n_panels, place) for place in range(1, n_panels + 1)]
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(INK)
        axes.tick_params(which="both", colors=INK, labelsize=9)
        for label in (axes.xaxis.label, axes.yaxis.label):
            label.set(color=INK, fontsize=10, parse_math=False)
        axes.grid(True, color=FAINT, linewidth=0.6)
        axes.set_axisbelow(True)
    return figure, panels


def add_legend(axes: Axes, handles: Sequence[Artist], place: Literal["inside", "beside", "below"]) -> None:
    """Add a legend of labelled artists where the axes have room inside, to their right, or below them."""
    if not handles:
        return
    places: dict[str, dict[str, Any]] = {
        "inside": {"loc": "best"},
        "beside": {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0)},
        "below": {"loc": "upper right", "bbox_to_anchor": (1.0, -0.11), "ncols": len(handles)},
    }
    legend = axes.legend(handles=handles, frameon=False, fontsize=9, labelcolor=INK, **places[place])
    for text in legend.get_texts():
        text.set_parse_math(False)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as what its name ends in, whole or not at all; the folder must exist.

    A letter that no font has is drawn as a box: the tables say what it is.
    """
    form = path.suffix.removeprefix(".").lower()
    write_whole(path, lambda file: _write(figure, file, form))


def _write(figure: Figure, file: IO[bytes], form: str) -> None:
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_text(printable(text.get_text()))
        text.set_fontfamily(_families())
    with warnings.catch_warnings(), np.errstate(all="ignore"):  # near the ends of a scale numbers overflow
        warnings.filterwarnings("ignore", r"Glyph .* missing from", UserWarning)
        figure.savefig(file, format=form, dpi=DOTS_PER_INCH)
