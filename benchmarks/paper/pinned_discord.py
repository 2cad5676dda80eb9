"""The paper's pinned discord: where sheaf- and SGD-trained networks carry the error of their predictions.

The input is pinned to x and the output to the true y, and the discord of each edge is read at the
equilibrium, over the first 50 test inputs of the paraboloid. The reference implementation runs Euler steps
until nothing moves; here the equilibrium is solved exactly. Rules:

- where Euler had converged (the SGD-trained network) mean and standard deviation of each edge, and the total,
  are within 2% of the published ones;
- where it had not (the sheaf-trained network) the flow still has energy to lose, and half the total is that
  energy: the exact total must not be above the published one, and within 2% of it;
- on the reference's own SGD-trained network, kept as golden arrays, the exact discord is its converged one to
  six digits.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from exhibit import Exhibit, Row
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from training_figures import METHOD_COLOURS
from training_runs import GOLDEN, chosen, published, sweep

from sheafcli.core.chain.network import Network
from sheafcli.diagnostics.pinned import PinnedDiscord, diagnose
from sheafcli.interop.networks import read_network
from sheafcli.render.panels import add_shared_legend, fit_log_ticks
from sheafcli.render.style import INK, new_figure

QUICK: dict[str, list[str]] = {}  # the runs are those of the exhibit on training

# The edges by the names of published.json, in path order.
EDGES = {"W1": "affine_1", "R1": "activation_1", "W2": "affine_2"}
N_INPUTS = 50
WIDTHS = (2, 30, 1)
TOLERANCE = 0.02
# Euler has converged where no coordinate moves by more than 1e-10 a step: six digits are safe.
GOLDEN_TOLERANCE = 1e-6


def exhibit(runs: Path, *, quick: bool) -> Exhibit:
    """Return the pinned discord of both networks, edge by edge."""
    diagnoses = {method: of_trained(runs, stem) for method, stem in STEMS.items()}
    known = published("pinned_discord_50_test_inputs")
    rows = [golden_row(), ratio_row(diagnoses, None if quick else known)]
    if not quick:
        rows = [
            *agreement_rows(diagnoses["SGD"], known["sgd_trained"]),
            minimum_row(diagnoses["sheaf"], known["sheaf_trained"]),
            *rows,
        ]
    return Exhibit(
        "pinned_discord",
        "Pinned discord of sheaf- and SGD-trained networks",
        text(diagnoses["sheaf"], known["sheaf_trained"]["info"]["iterations"], quick=quick),
        rows,
        figures={"pinned_discord": pinned_figure(diagnoses, None if quick else known)},
        tables={"pinned_discord": pinned_table(diagnoses, known)},
    )


STEMS = {"sheaf": "training", "SGD": "training_sgd"}


def of_trained(runs: Path, stem: str) -> PinnedDiscord:
    """Diagnose the paraboloid network of a sweep on its first 50 test inputs."""
    (run,) = chosen(sweep(runs, stem), "paraboloid", WIDTHS)
    return diagnose(run.network, run.data.X_test[:N_INPUTS], run.data.y_test[:N_INPUTS])


def edge_figures(diagnosis: PinnedDiscord) -> dict[str, tuple[float, float]]:
    """Return mean and standard deviation (with n - 1, as published) of each edge's discord."""
    samples = diagnosis.samples
    values = {edge: samples[f"discord_{name}"] for edge, name in EDGES.items()}
    return {edge: (float(column.mean()), float(column.std(ddof=1))) for edge, column in values.items()}


def total(diagnosis: PinnedDiscord) -> float:
    """Return the sum of the edges' mean discord."""
    return sum(mean for mean, _ in edge_figures(diagnosis).values())


def agreement_rows(diagnosis: PinnedDiscord, known: dict[str, Any]) -> Iterator[Row]:
    """Compare each edge, and the total, of a network on which the reference's Euler steps had converged."""
    for edge, ours in edge_figures(diagnosis).items():
        errors = [found / value - 1.0 for found, value in zip(ours, known[edge], strict=True)]
        yield Row(
            f"SGD-trained, {EDGES[edge]}: mean ± std",
            "{:.4e} ± {:.4e}".format(*known[edge]),
            "{:.4e} ± {:.4e} (off by {:+.0e}, {:+.0e})".format(*ours, *errors),
            "exact",
            holds=bool(np.abs(errors).max() <= TOLERANCE),
        )
    error = total(diagnosis) / known["total"] - 1.0
    yield Row(
        "SGD-trained, total",
        f"{known['total']:.6e}",
        f"{total(diagnosis):.6e} (off by {error:+.0e})",
        "exact",
        holds=abs(error) <= TOLERANCE,
    )


def minimum_row(diagnosis: PinnedDiscord, known: dict[str, Any]) -> Row:
    """Compare the total where the reference's Euler steps had not converged: the exact one is no higher."""
    error = total(diagnosis) / known["total"] - 1.0
    return Row(
        "sheaf-trained, total: Euler has not converged, the exact one is no higher",
        f"{known['total']:.9e}",
        f"{total(diagnosis):.9e} (off by {error:+.1e})",
        "exact",
        holds=-TOLERANCE <= error <= 0.0,
    )


def golden_row() -> Row:
    """Compare the exact discord of the reference's own SGD-trained network with its converged one."""
    with np.load(GOLDEN / "pinned_paraboloid_sgd.npz") as golden:
        known = np.array([golden[f"discord_{name.replace('_', '')}"] for name in EDGES.values()])
        diagnosis = diagnose(golden_network(), golden["X"], golden["Y"])
    ours = np.array([mean for mean, _ in edge_figures(diagnosis).values()])
    error = float(np.abs(ours / known - 1.0).max())
    return Row(
        "the reference's own SGD-trained network: largest error of an edge",
        "0",
        f"{error:.0e}",
        "exact",
        holds=error <= GOLDEN_TOLERANCE,
    )


def golden_network() -> Network:
    """Return the SGD-trained network that is kept beside the reference's equilibrium."""
    return read_network(GOLDEN / "pinned_paraboloid_sgd.npz")


def ratio_row(diagnoses: dict[str, PinnedDiscord], known: dict[str, Any] | None) -> Row:
    """Say whether the sheaf-trained network carries more discord; `known` is what is published, if it is."""
    ratio = total(diagnoses["sheaf"]) / total(diagnoses["SGD"])
    stated = (
        "more"
        if known is None
        else f"{known['sheaf_trained']['total'] / known['sgd_trained']['total']:.3g} times"
    )
    return Row(
        "sheaf-trained over SGD-trained, total: the sheaf-trained network carries more",
        stated,
        f"{ratio:.3g} times",
        "exact",
        holds=ratio > 1.0,
    )


def pinned_table(diagnoses: dict[str, PinnedDiscord], known: dict[str, Any]) -> pd.DataFrame:
    """Return a line a network and edge: mean, standard deviation, share; and what is published at the end."""
    lines = []
    for method, diagnosis in diagnoses.items():
        figures = edge_figures(diagnosis)
        for edge, (mean, std) in figures.items():
            mean_known, std_known = known[f"{method.lower()}_trained"][edge]
            lines.append({
                "trained by": method, "edge": EDGES[edge], "discord": mean, "std": std,
                "share": mean / total(diagnosis), "published discord": mean_known, "published std": std_known,
            })  # fmt: skip
    return pd.DataFrame(lines)


def pinned_figure(diagnoses: dict[str, PinnedDiscord], known: dict[str, Any] | None) -> Figure:
    """Draw the discord of every input by edge and network, with means; `known` adds the published ones."""
    figure, (axes,) = new_figure("Pinned discord of 50 test inputs, [2, 30, 1]", n_panels=1, size=(8.4, 4.8))
    rng = np.random.default_rng(0)  # of the sideways scatter alone
    heights = []
    for shift, (method, diagnosis) in zip((-0.2, 0.2), diagnoses.items(), strict=True):
        colour = METHOD_COLOURS[method]
        for place, edge in enumerate(EDGES):
            values = diagnosis.samples[f"discord_{EDGES[edge]}"]
            heights.append(values)
            x = place + shift
            axes.scatter(
                x + rng.uniform(-0.1, 0.1, len(values)), values, s=12, color=colour, alpha=0.45, linewidths=0
            )
            axes.hlines(values.mean(), x - 0.15, x + 0.15, color=colour, linewidth=2.2)
            if known is not None:
                mean = known[f"{method.lower()}_trained"][edge][0]
                axes.plot(x, mean, marker="D", markersize=6, mfc="none", mec=INK, mew=1.2)
    axes.set_yscale("log")
    fit_log_ticks(axes.yaxis, min(map(np.min, heights)), max(map(np.max, heights)))
    axes.set_xticks(range(len(EDGES)), EDGES.values())
    axes.set_ylabel("discord: squared residual")
    axes.grid(False, axis="x")
    handles = [
        Line2D(
            [],
            [],
            color=colour,
            marker="o",
            markersize=4,
            linewidth=2.2,
            label=f"{method}-trained, line: mean",
        )
        for method, colour in METHOD_COLOURS.items()
    ]
    if known is not None:
        handles.append(Line2D([], [], linestyle="", marker="D", mfc="none", mec=INK, label="published mean"))
    add_shared_legend(figure, handles)
    return figure


def text(sheaf: PinnedDiscord, iterations: int, *, quick: bool) -> str:
    """Return the paragraphs above the table."""
    kinks = int(sum((states == 2).sum() for states in sheaf.equilibrium.states))
    inputs = int((sheaf.equilibrium.states[0] == 2).any(axis=1).sum())
    unsettled = len(sheaf.unsettled)
    solved = "every input" if unsettled == 0 else f"{N_INPUTS - unsettled} of {N_INPUTS} inputs"
    shortened = (
        " These networks stopped early, so that nothing published stands beside them in this short run."
        if quick
        else ""
    )
    return (
        "With the input pinned to x and the output to the true y, the discord that remains at equilibrium "
        "shows where a network, however it was trained, carries its error. The paper reads it on the "
        "paraboloid's first 50 test inputs for the sheaf- and the SGD-trained [2, 30, 1] network by Euler "
        f"steps; here the equilibrium is solved exactly, within its tolerance for {solved} of the "
        f"sheaf-trained network.{shortened}\n\n"
        "Where Euler had converged, means and standard deviations agree if they are within 2%. On the "
        f"sheaf-trained network it had not after {iterations:,} steps. There {kinks} neurons, on {inputs} of "
        "the inputs, rest at the kink z = 0, where Euler chatters from side to side and never comes to "
        "rest. The flow only loses energy, half the total, so that the exact total, to which Euler tends, "
        "must not be above the published one."
    )
