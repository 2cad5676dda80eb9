"""The picture of a residual block's sheaf in docs/concepts.md and docs/networks.md.

python benchmarks/residual_block.py FILE
"""

from __future__ import annotations

import sys
from pathlib import Path

from matplotlib.axes import Axes

from sheafcli.render.palette import OPERATION_COLOURS
from sheafcli.render.style import INK, new_figure, save_figure

# Vertices from left to right: name, formula, and the operation of the edge that ends there.
VERTICES = (
    ("x", "given", None),
    ("conv_1", "W1 * x + b1", "affine"),
    ("relu_1", "relu(conv_1)", "activation"),
    ("conv_2", "W2 * relu_1 + b2", "affine"),
    ("add_1", "conv_2 + x", None),
    ("relu_2", "relu(add_1)", "activation"),
)
STEP, SKIP = 2.0, 1.25


def main() -> None:
    """Draw it."""
    figure, (axes,) = new_figure("A residual block as a sheaf", n_panels=1, size=(8.4, 3.2))
    axes.set(xlim=(-0.7, STEP * 5 + 0.9), ylim=(-1.3, 1.75))
    axes.set_axis_off()
    for place, (name, formula, operation) in enumerate(VERTICES):
        if place > 0:
            _arrow(axes, place - 1, place, operation)
        exact = operation is None and place > 0
        fill = INK if place == 0 else "w"
        axes.plot(
            STEP * place, 0.0, marker="o", markersize=8 if exact else 22, color=fill, markeredgecolor=INK
        )
        axes.text(STEP * place, -0.5, name, ha="center", color=INK, fontweight="bold", fontsize=11)
        axes.text(STEP * place, -0.83, formula, ha="center", color=INK, fontsize=9)
        if exact:
            axes.text(
                STEP * place, -1.16, "exact: no edge", ha="center", color=INK, fontsize=9, style="italic"
            )
    skip = {"arrowstyle": "-|>", "connectionstyle": "arc3,rad=-0.28", "color": INK, "linewidth": 1.4}
    axes.annotate("", (STEP * 4 - 0.05, 0.15), (0.2, 0.22), arrowprops=skip)
    axes.text(STEP * 2, SKIP + 0.2, "skip: x is read twice", ha="center", color=INK, fontsize=10)
    save_figure(figure, Path(sys.argv[1]))


def _arrow(axes: Axes, first: int, second: int, operation: str | None) -> None:
    colour = INK if operation is None else OPERATION_COLOURS[operation]
    ends = (STEP * second - 0.24, 0.0), (STEP * first + 0.24, 0.0)
    arrow = {"arrowstyle": "-|>", "color": colour, "linewidth": 1.4 if operation is None else 3.0}
    axes.annotate("", *ends, arrowprops=arrow)
    if operation is not None:
        axes.text(STEP * (second - 0.5), 0.18, operation, ha="center", color=colour, fontsize=10)
        axes.text(
            STEP * (second - 0.5),
            -0.26,
            f"r = g - {VERTICES[second][0]}",
            ha="center",
            color=colour,
            fontsize=8.5,
        )


if __name__ == "__main__":
    main()
