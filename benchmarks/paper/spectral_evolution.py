"""What training does to the spectrum of the sheaf Laplacian: by sheaf diffusion and by SGD.

The gap (smallest eigenvalue) sets how fast stalks settle, the largest eigenvalue how large a step may be,
their ratio, the condition number, how many steps it takes. All are medians over the first 50 training
samples, each with its own activation pattern, from the runs of training.py. det L = 1 whatever the weights
are, so that large eigenvalues are paid for by small ones. Rules, for the paraboloid's networks:

- the condition number grows, from the start to the end, under sheaf training: the flow makes itself stiffer
  as it lowers its energy by the weights;
- it does so because both ends move: the largest eigenvalue rises and the gap falls;
- it grows under SGD too, from the same weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from exhibit import Exhibit, Row
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator
from training_figures import METHOD_COLOURS
from training_runs import published, sweep

from sheafcli.render.axes import fit_scale
from sheafcli.render.panels import add_shared_legend
from sheafcli.render.style import INK, new_figure

QUICK: dict[str, list[str]] = {}  # the runs are those of the exhibit on training

TASK = "paraboloid"
STEMS = {"sheaf": "training", "SGD": "training_sgd"}
QUANTITIES = {
    "gap_median": "gap",
    "largest_median": "largest eigenvalue",
    "condition_median": "condition number",
}
# The depth of a network by its key in published.json, and how its lines are drawn.
DEPTHS = {1: "1H", 2: "2H"}
LINE_STYLES = {1: "-", 2: (0, (4, 1.5))}

Courses = Mapping[tuple[str, int], pd.DataFrame]
"""The table spectrum_history.csv by method and number of hidden layers."""


def exhibit(runs: Path, *, quick: bool) -> Exhibit:
    """Return the course of the spectrum under both trainings."""
    courses = {
        (method, run.network.depth): run.table("spectrum_history.csv")
        for method, stem in STEMS.items()
        for run in sweep(runs, stem)
        if run.task == TASK
    }
    names = {depth: published("depth_by_time")["widths"][key] for depth, key in DEPTHS.items()}
    rows = []
    for (method, depth), course in courses.items():
        rows += growth_rows(method, names[depth], course)
    return Exhibit(
        "spectral_evolution",
        "The spectrum over training",
        text(courses, quick=quick),
        rows,
        figures={"spectral_evolution": course_figure(courses, names)},
        tables={"spectral_evolution": course_table(courses, names)},
    )


def growth_rows(method: str, widths: list[int], course: pd.DataFrame) -> list[Row]:
    """Say whether the condition grows and, of sheaf training, whether both ends of the spectrum move."""
    first, last = course.iloc[0], course.iloc[-1]
    by = "paper's dt" if method == "sheaf" else "SGD"
    rows = [
        Row(
            f"{TASK} {widths}, {method}: condition number, start to end",
            "grows",
            f"{first['condition_median']:.3g} to {last['condition_median']:.3g}",
            by,
            holds=bool(last["condition_median"] > first["condition_median"]),
        )
    ]
    if method == "sheaf":
        falls = last["gap_median"] < first["gap_median"]
        rises = last["largest_median"] > first["largest_median"]
        rows.append(
            Row(
                f"{TASK} {widths}, sheaf: gap and largest eigenvalue, start to end",
                "the gap falls, the largest rises",
                f"{first['gap_median']:.3g} to {last['gap_median']:.3g}, "
                f"{first['largest_median']:.3g} to {last['largest_median']:.3g}",
                by,
                holds=bool(falls and rises),
            )
        )
    return rows


def course_table(courses: Courses, names: Mapping[int, list[int]]) -> pd.DataFrame:
    """Return a line a method and network: each quantity at the start, at its extreme, at the end."""
    lines = []
    for (method, depth), course in courses.items():
        line: dict[str, object] = {"trained by": method, "widths": str(names[depth])}
        for column, name in QUANTITIES.items():
            values = course[column]
            extreme = values.min() if column == "gap_median" else values.max()
            word = "least" if column == "gap_median" else "most"
            line |= {
                f"{name}, start": values.iloc[0],
                word + f" {name}": extreme,
                f"{name}, end": values.iloc[-1],
            }
        lines.append(line)
    return pd.DataFrame(lines)


def course_figure(courses: Courses, names: Mapping[int, list[int]]) -> Figure:
    """Draw gap, largest eigenvalue and condition number over the share of the training."""
    figure, panels = new_figure("The spectrum over training, paraboloid", n_panels=3, size=(12.0, 4.2))
    for axes, (column, name) in zip(panels, QUANTITIES.items(), strict=True):
        for (method, depth), course in courses.items():
            axes.plot(
                course["step"],
                course[column],
                color=METHOD_COLOURS[method],
                linestyle=LINE_STYLES[depth],
                linewidth=1.5,
            )
        fit_scale(axes)
        axes.set_title(f"{name}, median of 50 samples", color=INK, fontsize=10)
        axes.set_xlabel("step or epoch")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step / 1000:g}k" if step else "0"))
    handles = [
        Line2D(
            [],
            [],
            color=METHOD_COLOURS[method],
            linestyle=LINE_STYLES[depth],
            label=f"{method}, {names[depth]}",
        )
        for method, depth in courses
    ]
    add_shared_legend(figure, handles)
    return figure


def text(courses: Courses, *, quick: bool) -> str:
    """Return the paragraphs above the table."""
    factors = {
        key: course["condition_median"].iloc[-1] / course["condition_median"].iloc[0]
        for key, course in courses.items()
    }
    ratios = [factors["sheaf", depth] / factors["SGD", depth] for depth in LINE_STYLES]
    shortened = " These runs are shortened ones." if quick else ""
    return (
        "The gap of the sheaf Laplacian sets how fast stalks settle, its largest eigenvalue how large an "
        "Euler step may be, and their ratio, the condition number, how many steps it takes. Medians over "
        "the first 50 training samples, each with the pattern of its own forward pass, along the runs of "
        f"the table of training on the paraboloid.{shortened} A row holds if the quantity moves as stated "
        "between the start and the end.\n\n"
        "Sheaf training descends an energy in which the error is weighed by the inverse of the effective "
        "resistance between input and output: it can lower it by larger weights as well as by a smaller "
        "error, and larger weights are a larger condition number. As the determinant is 1 whatever the "
        "weights, what the large eigenvalues gain the small ones lose. From the same start weights the "
        "condition number grows by "
        + " and ".join(
            f"{factors['sheaf', depth]:.3g} times under sheaf training and {factors['SGD', depth]:.3g} under "
            f"SGD with {depth} hidden layer{'s' if depth > 1 else ''}"
            for depth in LINE_STYLES
        )
        + f": {min(ratios):.2g} to {max(ratios):.2g} times as much."
    )
