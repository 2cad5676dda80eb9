"""The spectrum of the sheaf Laplacian in a picture: both ends, and where the extreme modes sit."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from sheafcli.core.spectrum import Spectrum
from sheafcli.render.graph_layout import shortened
from sheafcli.render.spectrum import FASTEST, LONGEST_FLAT, SLOWEST
from sheafcli.render.style import INK, add_legend, new_figure

# Below this factor between the eigenvalues the decades alone are too few ticks.
POWERS_FROM = 300.0
# More stalks than that: only every so-many-th is named.
MOST_NAMED_STALKS = 16


def spectrum_figure(found: Spectrum, title: str) -> Figure:
    """Draw both ends of the spectrum of every sample, and the stalks where their eigenvectors sit.

    Left: gap and largest eigenvalue, each sorted over the samples. Right: the share of the squared
    eigenvectors in every stalk, a mean over samples as a bar, from the least to the largest as a whisker.
    """
    stalks = [name for name, _ in found.blocks]
    width = 10.8 + 0.12 * max(0, len(stalks) - MOST_NAMED_STALKS)
    height = 4.6 if max(map(len, stalks)) <= LONGEST_FLAT else 5.6
    figure, (values, places) = new_figure(title, n_panels=2, size=(width, height))
    ends = (
        ("largest eigenvalue", found.largest, FASTEST),
        ("gap (smallest eigenvalue)", found.gap, SLOWEST),
    )
    rank = np.arange(1, len(found.gap) + 1)
    handles = [
        values.plot(rank, np.sort(end), color=colour, marker="o", markersize=3.5, linewidth=1.2, label=label)[
            0
        ]
        for label, end, colour in ends
    ]
    values.set_title("both ends of the spectrum", color=INK, fontsize=10)
    values.set_xlabel("samples, sorted")
    values.set_ylabel("eigenvalue")
    values.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    values.set_yscale("log")
    if found.largest.max() / found.gap.min() < POWERS_FROM:
        values.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        values.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    values.yaxis.set_minor_formatter(NullFormatter())
    add_legend(values, handles, "below")

    at = np.arange(len(stalks))
    modes = (
        ("slowest mode (Fiedler vector)", found.fiedler, SLOWEST, -0.2),
        ("fastest mode", found.top, FASTEST, 0.2),
    )
    for _, vectors, colour, shift in modes:
        energy = found.block_energy(vectors)
        mean = energy.mean(axis=0)
        whiskers = np.abs(np.stack([mean - energy.min(axis=0), energy.max(axis=0) - mean]))
        places.bar(
            at + shift, mean, 0.4, color=colour, yerr=whiskers, error_kw={"ecolor": INK, "elinewidth": 0.9}
        )
    places.set_title("where the extreme modes sit", color=INK, fontsize=10)
    places.set_ylabel("share of the squared eigenvector")
    places.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:.0%}"))
    places.set_ylim(0.0, None)
    places.grid(False, axis="x")
    every = -(-len(stalks) // MOST_NAMED_STALKS)
    long = any(len(stalk) > LONGEST_FLAT for stalk in stalks)
    shown = [shortened(stalk) for stalk in stalks[::every]]
    places.set_xticks(at[::every], shown, rotation=90 if long else 0)
    for label in places.get_xticklabels():
        label.set_parse_math(False)
    named = [
        Line2D([], [], linestyle="", marker="s", markersize=8, color=colour, label=label)
        for label, _, colour, _ in modes
    ]
    whisker = Line2D([], [], linestyle="", marker="|", markersize=10, color=INK, label="range over samples")
    add_legend(places, [*named, whisker], "below")
    return figure
