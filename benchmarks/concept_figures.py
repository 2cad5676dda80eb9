"""The drawn figures of docs/concepts.md: the path sheaf, a pin that informs both sides, resistance.

python benchmarks/concept_figures.py [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from sheafcli.core.chain.extension import extend
from sheafcli.core.chain.network import Network
from sheafcli.core.pins import Pin
from sheafcli.render.palette import OPERATION_COLOURS
from sheafcli.render.style import INK, new_figure, save_figure

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "images"
GREY = "#5b6675"
NAMES = (r"$x$", r"$z_1$", r"$a_1$", r"$z_2$", r"$y$")
EDGES = (
    ("affine", r"$W_1 x + b_1 - z_1$"),
    ("activation", r"$R_1 z_1 - a_1$"),
    ("affine", r"$W_2 a_1 + b_2 - z_2$"),
    ("output", r"$\varphi(z_2) - y$"),
)


def bare(axes: Axes) -> None:
    """Leave nothing of a pair of axes but what is drawn on it."""
    axes.set_axis_off()
    axes.grid(False)


def write(axes: Axes, x: float, y: float, text: str, **style: object) -> None:
    """Write a text in the middle of a place."""
    axes.text(x, y, text, ha="center", va="center", **({"color": INK, "fontsize": 12} | style))


def path_sheaf(path: Path) -> None:
    """Draw the path: a stalk at every vertex, an edge at every step, and what each edge compares."""
    figure, (axes,) = new_figure("A network as a path of stalks", n_panels=1, size=(9.0, 3.0))
    bare(axes)
    for place, (operation, residual) in enumerate(EDGES):
        colour = OPERATION_COLOURS[operation]
        axes.plot([2 * place, 2 * place + 2], [0, 0], color=colour, linewidth=4, zorder=1)
        write(axes, 2 * place + 1, 0.32, operation, color=colour, fontsize=11)
        write(axes, 2 * place + 1, -0.36, residual, fontsize=11)
    for place, (name, height) in enumerate(zip(NAMES, (0.5, 0.9, 0.9, 0.4, 0.4), strict=True)):
        pinned = place in (0, 4)
        box = Rectangle(
            (2 * place - 0.11, -height), 0.22, 2 * height, facecolor=INK if pinned else "white", edgecolor=INK
        )
        axes.add_patch(box)
        write(axes, 2 * place, 1.15, name, fontsize=15)
    write(axes, 4, -1.25, "a bar is a stalk; each edge asks whether its two ends agree", color=GREY)
    axes.set(xlim=(-0.5, 8.5), ylim=(-1.45, 1.4))
    save_figure(figure, path)


def pin(path: Path) -> None:
    """Show how far every stalk moves when one neuron in the middle is pinned: layers before it as well."""
    network = Network.he((2, 8, 8, 8, 1), "identity", seed=3)
    X = np.random.default_rng(0).uniform(-1.0, 1.0, (1, 2))
    free = extend(network, X).cochain
    pinned = extend(network, X, pins=[Pin("z2", 0, float(free.z[2][0, 0]) + 1.0)]).cochain
    names = ["z1", "a1", "z2", "a2", "z3", "a3", "z4"]
    moved = [
        float(np.linalg.norm(getattr(pinned, name[0])[int(name[1])] - getattr(free, name[0])[int(name[1])]))
        for name in names
    ]
    figure, (axes,) = new_figure("One neuron of z2 is pinned: every stalk moves", n_panels=1, size=(7.2, 3.4))
    colours = [OPERATION_COLOURS["output"] if name == "z2" else GREY for name in names]
    axes.bar(names, moved, color=colours, width=0.6)
    axes.set_ylabel("distance from the forward pass")
    axes.set_xlabel("green: the stalk that holds the pin; z1 and a1 come before it")
    axes.grid(False, axis="x")
    save_figure(figure, path)


def resistance(path: Path) -> None:
    """Draw the edges as resistors between the pinned input and the pinned output."""
    figure, (axes,) = new_figure(
        "Edges as resistors: the error falls off along the path", n_panels=1, size=(9.0, 2.8)
    )
    bare(axes)
    for place, (operation, _) in enumerate(EDGES[:3]):
        left, colour = 2.0 * place, OPERATION_COLOURS[operation]
        zigzag = np.linspace(left + 0.5, left + 1.5, 13)
        heights = np.array([0, *[0.16, -0.16] * 5, 0.16, 0])
        axes.plot([left, left + 0.5], [0, 0], color=INK, linewidth=1.5)
        axes.plot(zigzag, heights, color=colour, linewidth=2.2)
        axes.plot([left + 1.5, left + 2.0], [0, 0], color=INK, linewidth=1.5)
        write(axes, left + 1.0, 0.42, operation, color=colour, fontsize=11)
    for place, name in enumerate((r"$x$", r"$z_1$", r"$a_1$", r"$z_2 = y$")):
        axes.plot([2 * place], [0], "o", color=INK, markersize=8)
        write(axes, 2 * place, -0.42, name, fontsize=14)
    write(axes, 0, 0.42, "held", color=GREY, fontsize=11)
    write(axes, 6, 0.42, "held at the truth", color=GREY, fontsize=11)
    write(
        axes, 3, -0.95, "what gives way easily takes a large share of the error: that is no fault", color=GREY
    )
    axes.set(xlim=(-0.6, 6.9), ylim=(-1.15, 0.8))
    save_figure(figure, path)


def main() -> None:
    """Draw all three."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    path_sheaf(folder / "path_sheaf.png")
    pin(folder / "pin.png")
    resistance(folder / "resistors.png")


if __name__ == "__main__":
    main()
