"""The paper's sweep of depth against integration time: deeper networks need more time for the same loss.

One, two and three hidden layers on the paraboloid, seven integration times T from 0.5 to 50. The reference
implementation trains anew for each T, always from the same weights and stalks, in max(T / dt, 100) steps, run
as max(steps // 1000, 1) epochs of min(steps, 1000) steps: so one trajectory holds all seven, at the steps
that `steps_of` gives. Rules:

- one and two hidden layers, of which the start stalks are kept: every one of the seven test losses is within
  1%;
- three hidden layers, of which they are not: every one lies within the least and the largest of ten other
  draws of the stalks, widened by 20% either way;
- the claim, by the medians over these ten draws: at every T from 2.5 on, each further hidden layer ends with
  the higher test loss. (Before, a loss is the start's more than the training's.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from exhibit import Exhibit, Row
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from training_runs import Run, published, sweep

from sheafcli.render.axes import fit_scale
from sheafcli.render.palette import RUN_COLOURS
from sheafcli.render.panels import add_shared_legend
from sheafcli.render.style import INK, add_legend, new_figure

# One trajectory takes half a second; fewer draws of the stalks do.
QUICK = {"depth_time_starts": ["seed=0"]}

TOLERANCE = 0.01
WIDENED = 1.2
TRAINED_FROM = 2.5
SHORTEST = 100
EPOCH = 1000


def steps_of(time: float, dt: float) -> int:
    """Return how many steps the reference implementation takes for an integration time."""
    steps = max(round(time / dt), SHORTEST)
    return max(steps // EPOCH, 1) * min(steps, EPOCH)


def exhibit(runs: Path, *, quick: bool) -> Exhibit:
    """Return the seven losses of each depth, ours beside the published ones."""
    known = published("depth_by_time")
    same = test_losses(sweep(runs, "depth_time"), known)
    others = test_losses(sweep(runs, "depth_time_starts"), known)
    rows = [reproduced_row(depth, known["test_loss"][depth], losses) for depth, (losses,) in same.items()]
    if not quick:
        unkept = [depth for depth in known["test_loss"] if depth not in same]
        rows += [within_row(depth, known["test_loss"][depth], others[depth]) for depth in unkept]
        rows.append(depth_row(known, others))
    return Exhibit(
        "depth_time",
        "Depth against integration time",
        text(known, others, quick=quick),
        rows,
        figures={"depth_time": depth_figure(known, same, others)},
        tables={"depth_time": depth_table(known, same, others)},
    )


def test_losses(runs: list[Run], known: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the test losses by depth, runs x times."""
    found: dict[str, list[np.ndarray]] = {}
    for run in runs:
        depth = f"{run.network.depth}H"
        history = run.table("history.csv").set_index("step")["test_loss"]
        steps = [steps_of(time, known["dt"][depth]) for time in known["T"]]
        found.setdefault(depth, []).append(history.loc[steps].to_numpy())
    return {depth: np.array(losses) for depth, losses in found.items()}


def reproduced_row(depth: str, known: list[float], ours: np.ndarray) -> Row:
    """Compare the seven losses from the reference's own start."""
    errors = np.abs(ours / np.array(known) - 1.0)
    return Row(
        f"{depth}: test loss at the seven times, largest error",
        f"{known[0]:.6f} to {known[-1]:.6f}",
        f"{ours[0]:.6f} to {ours[-1]:.6f} (off by {errors.max():.0e} at most)",
        "paper's dt",
        holds=bool(errors.max() <= TOLERANCE),
    )


def within_row(depth: str, known: list[float], ours: np.ndarray) -> Row:
    """Compare the seven losses with those from other draws of the stalks."""
    low, high = ours.min(axis=0) / WIDENED, ours.max(axis=0) * WIDENED
    inside = (low <= known) & (known <= high)
    return Row(
        f"{depth}: test loss within the spread over {len(ours)} draws of the stalks, ± 20%",
        " ".join(f"{loss:.3g}" for loss in known),
        " ".join(
            f"{low:.3g}-{high:.3g}" for low, high in zip(ours.min(axis=0), ours.max(axis=0), strict=True)
        )
        + f"; {inside.sum()} of {len(inside)} within",
        "paper's dt",
        holds=bool(inside.all()),
    )


def depth_row(known: Mapping[str, Any], others: Mapping[str, np.ndarray]) -> Row:
    """Say whether each further layer has the higher median test loss at every time from 2.5 on."""
    trained = np.array(known["T"]) >= TRAINED_FROM
    ours = np.array([np.median(others[depth], axis=0) for depth in known["test_loss"]])[:, trained]
    theirs = np.array([*known["test_loss"].values()])[:, trained]
    rises, known_rises = (np.diff(losses, axis=0) > 0 for losses in (ours, theirs))
    return Row(
        f"each further hidden layer has the higher test loss, at every T from {TRAINED_FROM:g} on",
        f"{known_rises.sum()} of {known_rises.size} comparisons",
        f"{rises.sum()} of {rises.size}, by medians over {len(others['1H'])} draws",
        "paper's dt",
        holds=bool(rises.all()),
    )


def depth_table(
    known: Mapping[str, Any], same: Mapping[str, np.ndarray], others: Mapping[str, np.ndarray]
) -> pd.DataFrame:
    """Return a line a depth and time: the published loss, ours from the same start, and from the others."""
    lines = []
    for depth, losses in known["test_loss"].items():
        for place, (time, loss) in enumerate(zip(known["T"], losses, strict=True)):
            draws = others[depth][:, place]
            lines.append({
                "depth": depth, "T": float(time), "steps": steps_of(time, known["dt"][depth]),
                "published": loss,
                "ours": float(same[depth][0, place]) if depth in same else None,
                "other stalks, median": float(np.median(draws)),
                "least": float(draws.min()), "largest": float(draws.max()),
            })  # fmt: skip
    return pd.DataFrame(lines)


def depth_figure(
    known: Mapping[str, Any], same: Mapping[str, np.ndarray], others: Mapping[str, np.ndarray]
) -> Figure:
    """Draw test loss over integration time, a colour a depth: dots are published, bands are other draws."""
    figure, (axes,) = new_figure("Depth against integration time, paraboloid", n_panels=1, size=(8.4, 5.0))
    handles = []
    for (depth, losses), colour in zip(known["test_loss"].items(), RUN_COLOURS, strict=False):
        axes.fill_between(
            known["T"], *(np.quantile(others[depth], (0, 1), axis=0)), color=colour, alpha=0.15, lw=0
        )
        axes.plot(known["T"], np.median(others[depth], axis=0), color=colour, linestyle="--", linewidth=1.1)
        if depth in same:
            axes.plot(known["T"], same[depth][0], color=colour, linewidth=1.8)
        axes.plot(known["T"], losses, linestyle="", marker="o", markersize=6, color=colour, mec="w")
        widths = ", ".join(map(str, known["widths"][depth]))
        handles.append(Line2D([], [], color=colour, label=f"[{widths}]"))
    axes.set_xscale("log")
    axes.set_xticks(known["T"], [f"{time:g}" for time in known["T"]])
    axes.minorticks_off()
    fit_scale(axes)
    axes.set_xlabel("integration time T")
    axes.set_ylabel("test loss")
    add_legend(axes, handles, "inside")
    styles = [
        Line2D([], [], color=INK, linestyle="", marker="o", label="published"),
        Line2D([], [], color=INK, label="same start"),
        Line2D([], [], color=INK, linestyle="--", label="other stalks, median; band: all"),
    ]
    add_shared_legend(figure, styles)
    return figure


def text(known: Mapping[str, Any], others: Mapping[str, np.ndarray], *, quick: bool) -> str:
    """Return the paragraphs above the table."""
    rules = (
        "Information crosses one edge at a time, so deeper networks need more integration time before their "
        "weights learn anything. The paper trains one, two and three hidden layers for seven times T; each "
        "run starts from the same weights and stalks, so that the shorter runs are stretches of the "
        "longest. With dt = 0.01 and at least 100 steps, its times 0.5 and 1 are the same run for the "
        "deeper two.\n\n"
        "The losses of one and two hidden layers hold if all seven are within 1% of the published ones."
    )
    if quick:
        return f"{rules} This short run has too few draws of the stalks to say more."
    one, two, three = (np.median(others[depth], axis=0) for depth in ("1H", "2H", "3H"))
    gap = np.minimum(two, three) / one
    ours, theirs = higher(two, three), higher(known["test_loss"]["2H"], known["test_loss"]["3H"])
    return (
        f"{rules} For three hidden layers the start stalks are not kept: the published losses must lie "
        f"within what {len(others['3H'])} other draws of the stalks span, widened by 20% either way. That "
        "deeper is slower holds if, at every T from 2.5 on, each further layer ends with the higher median "
        "test loss.\n\n"
        f"Found: a second or third hidden layer has {gap.min():.3g} to {gap.max():.3g} times the loss of "
        "one, at every T. Between the second and the third there is no such order: the number of hidden "
        f"layers with the higher loss, from T = 0.5 to 50, is {ours} here and {theirs} in the published "
        "figures. These networks differ in width and step size too, not in depth alone, and at T = 25 the "
        "deeper two have had only 2,000 steps of 0.01."
    )


def higher(two: Sequence[float], three: Sequence[float]) -> str:
    """Say of each time which has the higher loss, two or three hidden layers."""
    return ", ".join("2" if second > third else "3" for second, third in zip(two, three, strict=True))
