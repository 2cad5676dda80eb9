"""Phase planes: the two stalks of a neuron, z against a, from many random starts to one end.

The heat equation of the whole network is followed for one input from many random starts, and shown in the
plane of one neuron's z_l[i] and a_l[i]. With h = W_l a_{l-1} + b_l the force on z is h - z where z < 0
and h + a - 2 z where z >= 0: dz/dt jumps by a where a path meets the kink z = 0, and the path has a
corner there. All paths end where z = h and a = relu(z): at the forward pass, the only equilibrium.

A row holds if every path ends within 1e-6 of the forward pass in all stalks of the network; and if the
jump of dz/dt from the step before a crossing to the step after it is a on the way up and -a on the way
down, to within 5% of |a| in the median over the crossings of all hidden neurons.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from exhibit import Exhibit, Row
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from relaxation import Case, cases, wide_start

from sheafcli.core.chain.cochain import Cochain
from sheafcli.core.chain.diffusion import HeatEquation
from sheafcli.core.integrators import Euler
from sheafcli.core.types import Array
from sheafcli.render.palette import CLASS_COLOURS
from sheafcli.render.panels import add_shared_legend, new_grid
from sheafcli.render.style import INK

STARTS, QUICK_STARTS = 28, 10
END, JUMP = 1e-6, 0.05
# So many steps are looked at one by one, later ones whenever time has grown by a share; and when it ends.
FINE, GROWTH, MOST_STEPS = 1_000, 0.01, 400_000
# Of the fine looks so many are drawn, evenly spaced in log time.
DRAWN = 160
OFF, ON = CLASS_COLOURS[1], CLASS_COLOURS[0]
TEXT = """
Every path is one random start of the whole network, seen in the plane of one neuron, for the first of the
reference implementation's inputs: left a neuron that is active at the forward pass, right one that is
not. On the dashed line, a = relu(z), the activation edge has no discord; on the dotted line, z = 0, the
pattern changes and paths have a corner, because dz/dt jumps by a there. Where a < 0 and both sides push
back, paths slide along it. They end at one point.

Paths in the plane may cross each other: the other stalks of the network differ.
"""


@dataclass(frozen=True, eq=False)
class Paths:
    """The paths of all hidden neurons of a network, by forward Euler with steps dt.

    `z` and `a` are looks x starts x neurons, and the first FINE + 1 looks are consecutive steps; `goal_z`
    and `goal_a` are the forward pass. `left` is the largest difference of any stalk from it at the end.
    """

    case: Case
    steps: Array
    z: Array
    a: Array
    goal_z: Array
    goal_a: Array
    left: float

    def neuron(self, *, active: bool) -> int:
        """Return the neuron, active or not at the forward pass, whose kink is crossed most often."""
        crossed = np.sum(np.diff(self.z >= 0.0, axis=0), axis=(0, 1))
        return int(np.argmax(np.where((self.goal_z >= 0.0) == active, crossed, -1)))

    def stalks_of(self, neuron: int) -> tuple[str, str]:
        """Return the names of a neuron's two coordinates, as in z1[3] and a1[3]."""
        hidden = self.case.network.widths[1:-1]
        layer = int(np.searchsorted(np.cumsum(hidden), neuron, side="right"))
        place = f"{layer + 1}[{neuron - sum(hidden[:layer])}]"
        return f"z{place}", f"a{place}"

    def jumps(self) -> tuple[Array, Array]:
        """Return, for every crossing among the fine looks, the jump of dz/dt and what it should be."""
        z, a = self.z[: FINE + 1], self.a[: FINE + 1]
        speed, active = np.diff(z, axis=0) / self.case.dt, z >= 0.0
        # speed[n] is the force at look n; between looks n and n + 1 the side changes.
        at = np.nonzero(active[1:-1] != active[:-2])
        jump = (speed[1:] - speed[:-1])[at]
        return jump, np.where(active[1:-1][at], a[1:-1][at], -a[1:-1][at])


def hidden_stalks(cochain: Cochain) -> tuple[Array, Array]:
    """Return z and a of all hidden neurons, samples x neurons each."""
    return (
        np.concatenate([cochain.z[layer] for layer in cochain.a], axis=1),
        np.concatenate(list(cochain.a.values()), axis=1),
    )


def follow(case: Case, *, starts: int) -> Paths:
    """Follow the first input's stalks from random starts, by forward Euler at the paper's dt."""
    network, X = case.network, np.repeat(case.X[:1], starts, axis=0)
    cochain = wide_start(network, starts, seed=1)
    goal = case.forward(X)
    equation = HeatEquation(network, X, cochain, output_force=case.output_force)
    steps, looks, left = [0], [hidden_stalks(cochain)], np.inf
    for step, _ in enumerate(Euler(case.dt).steps(equation), start=1):
        if step > FINE and step < (1.0 + GROWTH) * steps[-1]:
            continue
        steps.append(step)
        looks.append(hidden_stalks(cochain))
        left = float(np.max(np.abs(cochain.data - goal.data)))
        if step >= FINE and (left <= END / 10.0 or step >= MOST_STEPS):
            break
    z, a = (np.array(part) for part in zip(*looks, strict=True))
    goal_z, goal_a = (part[0] for part in hidden_stalks(goal))
    return Paths(case, np.array(steps, dtype=np.float64), z, a, goal_z, goal_a, left)


def rows_of(paths: Paths) -> list[Row]:
    """Judge where the paths of one network end, and their corners."""
    label, starts = paths.case.label, paths.z.shape[1]
    by = f"Euler, paper's dt {paths.case.dt}"
    found, expected = paths.jumps()
    error = float(np.median(np.abs(found - expected) / np.abs(expected))) if len(found) else np.nan
    return [
        Row(
            f"{label}: all paths end at the forward pass",
            "one equilibrium (here: to 1e-6)",
            f"{starts} of {starts} starts, {paths.left:.0e} off at most"
            if paths.left <= END
            else f"{paths.left:.0e} off",
            by,
            paths.left <= END,
        ),
        Row(
            f"{label}: at z = 0 dz/dt jumps by a",
            "exactly (here: within 5% in the median)",
            f"{error:.1%} off in the median of {len(found):,} crossings",
            by,
            error <= JUMP,
        ),
    ]


def draw(axes: Axes, paths: Paths, neuron: int) -> None:
    """Draw the paths of one neuron, in two colours for its two sides."""
    thinned = np.unique(np.geomspace(1, FINE, DRAWN).round().astype(int))
    looks = np.concatenate([[0], thinned, np.arange(FINE + 1, len(paths.steps), 4), [len(paths.steps) - 1]])
    z, a = paths.z[looks][:, :, neuron], paths.a[looks][:, :, neuron]
    for side, colour in ((z < 0.0, OFF), (z >= 0.0, ON)):
        # A stretch begins where the one before it ends.
        shown = side | np.vstack([np.zeros_like(side[:1]), side[:-1]])
        axes.plot(
            np.where(shown, z, np.nan), np.where(shown, a, np.nan), color=colour, linewidth=0.8, alpha=0.8
        )
    axes.plot(z[0], a[0], linestyle="", marker="o", markersize=4, markerfacecolor="w", markeredgecolor=INK)
    axes.autoscale_view()
    axes.autoscale(False)
    low, high = axes.get_xlim()
    axes.plot([low, 0.0, high], [0.0, 0.0, high], color=INK, linewidth=1.0, linestyle="--")
    axes.axvline(0.0, color=INK, linewidth=1.0, linestyle=":")
    end = paths.goal_z[neuron], paths.goal_a[neuron]
    axes.plot(*end, marker="X", markersize=11, markerfacecolor="#ccbb44", markeredgecolor=INK, zorder=4)
    for label, name in zip((axes.set_xlabel, axes.set_ylabel), paths.stalks_of(neuron), strict=True):
        label(name)


def figure(found: list[Paths]) -> Figure:
    """Draw a row a network: a neuron that is active at the forward pass, and one that is not."""
    picture, grid = new_grid(
        "Phase planes: from every start to the forward pass",
        heights=[1.0] * len(found),
        columns=2,
        size=(10.8, 9.0),
    )
    for panels, paths in zip(grid, found, strict=True):
        for axes, active in zip(panels, (True, False), strict=True):
            draw(axes, paths, paths.neuron(active=active))
            state = "active" if active else "not active"
            axes.set_title(f"{paths.case.label}: {state} at the forward pass", color=INK, fontsize=10)
    add_shared_legend(
        picture,
        [
            Line2D([], [], linestyle="", marker="o", markerfacecolor="w", markeredgecolor=INK, label="start"),
            Line2D([], [], color=OFF, label="z < 0"),
            Line2D([], [], color=ON, label="z >= 0"),
            Line2D([], [], color=INK, linestyle=":", label="the kink z = 0"),
            Line2D([], [], color=INK, linestyle="--", label="a = relu(z)"),
            Line2D(
                [],
                [],
                linestyle="",
                marker="X",
                markersize=9,
                markerfacecolor="#ccbb44",
                markeredgecolor=INK,
                label="forward pass",
            ),
        ],
    )
    return picture


def exhibit(runs: Path, *, quick: bool) -> Exhibit:
    """Follow both networks' neurons; no run is needed."""
    found = [follow(case, starts=QUICK_STARTS if quick else STARTS) for case in cases()]
    return Exhibit(
        key="phase_planes",
        title="Phase planes",
        text=TEXT.strip(),
        rows=[row for paths in found for row in rows_of(paths)],
        figures={"phase_planes": figure(found)},
    )
