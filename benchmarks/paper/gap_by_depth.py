"""The spectral gap at the start of training shrinks as the network gets deeper.

The gap lambda_1, the smallest eigenvalue of L_Omega, bounds the rate of the heat equation from below. The
paper gives it for three networks with one to three hidden layers, over inputs of the paraboloid: the
reference implementation's figures are the median, the standard deviation (of the population) and the
median of the largest eigenvalue over the first 50 training inputs, with the He weights of its seed 42.
Theirs and ours are compared one by one; a row holds within 1%.

Then the same over many He draws, for 1 to 8 hidden layers of one width and for the paper's tapering
shapes continued: a row holds if the median gap falls with every layer. What law it follows is the matter
of laws.py.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from exhibit import Exhibit, Row
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from sheafcli.core.chain.network import Network
from sheafcli.core.outputs import Identity
from sheafcli.core.spectrum import spectrum
from sheafcli.core.types import Array
from sheafcli.render.palette import CLASS_COLOURS
from sheafcli.render.style import INK, add_legend, new_figure

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"
# The reference implementation looks at so many training inputs.
PUBLISHED_INPUTS = 50
WITHIN = 0.01
DEEPEST, WIDTH = 8, 16
# He draws of each shape, and how many inputs each is averaged over.
DRAWS, QUICK_DRAWS, INPUTS = 30, 5, 10
# The paper's shapes, and what continues them: about 30 neurons at most in a layer, fewer from layer to layer.
TAPERING: dict[int, tuple[int, ...]] = {
    1: (30,),
    2: (10, 8),
    3: (8, 6, 4),
    4: (10, 8, 6, 4),
    5: (12, 10, 8, 6, 4),
    6: (14, 12, 10, 8, 6, 4),
    7: (16, 14, 12, 10, 8, 6, 4),
    8: (18, 16, 14, 12, 10, 8, 6, 4),
}
SHAPES = {
    f"{WIDTH} neurons in every layer": {depth: (WIDTH,) * depth for depth in range(1, DEEPEST + 1)},
    "tapering, the paper's and on": TAPERING,
}
FIGURES = {"gap_median": "median gap", "gap_std": "std of the gap", "largest_median": "median largest"}
TEXT = f"""
The reference implementation's figures for three networks are reproduced from its own weights and inputs:
over the first {PUBLISHED_INPUTS} training inputs of the paraboloid. A figure holds within {WITHIN:.0%}.

The second table and the picture have medians over He draws and inputs of networks of up to {DEEPEST}
hidden layers. A row holds if the median gap falls with every layer, as the paper says. Beyond three
layers the tapering shapes are ours: a wider layer is put before those that there are.
"""


def published_table(inputs: Array) -> pd.DataFrame:
    """Return a row a network and figure: published, ours, and the relative error."""
    published = json.loads((GOLDEN / "published.json").read_text())["spectral_gap_at_start"]
    rows = []
    for figures in published.values():
        widths = figures["widths"]
        found = spectrum(reference_network(widths), inputs)
        ours = {
            "gap_median": np.median(found.gap),
            "gap_std": np.std(found.gap),
            "largest_median": np.median(found.largest),
        }
        for key, name in FIGURES.items():
            value, theirs = float(ours[key]), figures[key]
            rows.append(
                {
                    "widths": " ".join(map(str, widths)),
                    "figure": name,
                    "published": theirs,
                    "ours": value,
                    "error": value / theirs - 1.0,
                }
            )
    return pd.DataFrame(rows)


def reference_network(widths: Sequence[int]) -> Network:
    """Return the network with the reference implementation's He weights of seed 42 and zero biases."""
    with np.load(GOLDEN / f"init_{'_'.join(map(str, widths))}.npz") as init:
        weights = tuple(init[f"seed42_W{layer}"] for layer in range(1, len(widths)))
    return Network(weights, tuple(np.zeros(len(W)) for W in weights), Identity())


def draws_table(inputs: Array, *, draws: int) -> pd.DataFrame:
    """Return a row a shape and depth: median and quartiles of the gap over He draws and inputs."""
    rows = []
    for shape, by_depth in SHAPES.items():
        for depth, hidden in by_depth.items():
            widths = (inputs.shape[1], *hidden, 1)
            gaps = np.concatenate(
                [spectrum(Network.he(widths, seed=seed), inputs).gap for seed in range(draws)]
            )
            low, median, high = (float(q) for q in np.quantile(gaps, (0.25, 0.5, 0.75)))
            row = {"shape": shape, "hidden": depth, "widths": " ".join(map(str, widths)), "draws": draws}
            rows.append(row | {"quartile_1": low, "gap": median, "quartile_3": high})
    return pd.DataFrame(rows)


def rows_of(published: pd.DataFrame, drawn: pd.DataFrame) -> list[Row]:
    """Judge each published figure, and the fall of the gap with depth."""
    rows = [
        Row(
            f"[{entry['widths'].replace(' ', ', ')}]: {entry['figure']} at the start, within {WITHIN:.0%}",
            f"{entry['published']:.6g}",
            f"{entry['ours']:.6g}",
            f"dense eigenvalues, {PUBLISHED_INPUTS} inputs",
            abs(entry["error"]) <= WITHIN,
        )
        for entry in published.to_dict("records")
    ]
    for shape, part in drawn.groupby("shape", sort=False):
        gap, deepest = part["gap"].to_numpy(), part["hidden"].iloc[-1]
        falls = bool((np.diff(gap) < 0.0).all())
        rows.append(
            Row(
                f"the deeper, the smaller the gap: {shape}",
                "falls with every layer",
                f"{gap[0]:.3g} with 1, {gap[-1]:.3g} with {deepest}: {'always' if falls else 'not'} down",
                f"median of {part['draws'].iloc[0]} He draws x {INPUTS} inputs",
                falls,
            )
        )
    return rows


def figure(published: pd.DataFrame, drawn: pd.DataFrame) -> Figure:
    """Draw the gap by depth, and the published medians."""
    picture, (axes,) = new_figure("The spectral gap shrinks with depth", n_panels=1, size=(7.6, 4.8))
    handles = []
    for (shape, part), colour, shift in zip(
        drawn.groupby("shape", sort=False), CLASS_COLOURS, (-0.05, 0.05), strict=False
    ):
        spread = np.abs(np.stack([part["gap"] - part["quartile_1"], part["quartile_3"] - part["gap"]]))
        handles.append(
            axes.errorbar(
                part["hidden"] + shift,
                part["gap"],
                yerr=spread,
                color=colour,
                marker="o",
                markersize=5,
                linewidth=1.4,
                capsize=3,
                label=str(shape),
            )
        )
    medians = published[published["figure"] == FIGURES["gap_median"]]["published"]
    depths = np.arange(1, len(medians) + 1)
    axes.plot(depths, medians, linestyle="", marker="D", markersize=8, color=INK, fillstyle="none")
    theirs = Line2D([], [], linestyle="", marker="D", color=INK, fillstyle="none", label="published, seed 42")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("hidden layers")
    axes.set_ylabel("gap lambda_1: median, quartiles")
    add_legend(axes, [*handles, theirs], "inside")
    return picture


def exhibit(runs: Path, *, quick: bool) -> Exhibit:
    """Compute the gaps; no run is needed."""
    with np.load(GOLDEN / "tasks_paraboloid.npz") as task:
        inputs = task["X_train"][:PUBLISHED_INPUTS]
    published = published_table(inputs)
    drawn = draws_table(inputs[:INPUTS], draws=QUICK_DRAWS if quick else DRAWS)
    return Exhibit(
        key="gap_by_depth",
        title="The spectral gap by depth",
        text=TEXT.strip(),
        rows=rows_of(published, drawn),
        figures={"gap_by_depth": figure(published, drawn)},
        tables={"gap_published": published, "gap_by_depth": drawn},
    )
