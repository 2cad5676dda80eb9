"""Determinant one, whatever the pattern: 25 random networks, and no kernel in any of them.

The paper's central theorem: delta_Omega, the free columns of the coboundary, is square and block lower
triangular with identities (up to sign) on its diagonal. So |det delta_Omega| = 1 and det L_Omega = 1 for
all weights, all biases and all activation patterns, L_Omega is positive definite, H^0 relative to the
boundary is 0, and the input has exactly one harmonic extension.

Here the determinants are those of the assembled matrices, by an LU factorisation that pivots and so does
not know of the triangular shape; the eigenvalues are those of the dense L_Omega; the kernel is counted by
the singular values of delta_Omega. A row holds if its worst figure over all networks and patterns keeps
to the bound that it states.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from exhibit import Exhibit, Row
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sheafcli.core.chain.network import Network
from sheafcli.core.chain.sheaf import NeuralSheaf, Pattern
from sheafcli.render.palette import CLASS_COLOURS
from sheafcli.render.style import INK, add_legend, new_figure

NETWORKS, PATTERNS, QUICK_PATTERNS = 25, 12, 4
DEEPEST, WIDEST = 8, 24
# How far a computed determinant may lie from 1.
BOUND = "1e-9"
TOLERANCE = float(BOUND)
EPS = float(np.finfo(np.float64).eps)
TEXT = f"""
{NETWORKS} networks of 1 to {DEEPEST} hidden layers of 2 to {WIDEST} neurons, He weights and normal
biases, each with patterns drawn neuron by neuron, and with all neurons off and all on. No pattern need
come from an input: the theorem is about all of them. Determinants are computed from the assembled
matrices by an LU factorisation with pivoting; they may differ from 1 by {BOUND}. An eigenvalue counts as
positive, and a singular value as not zero, above the rounding error of the matrix: its dimension times
the machine epsilon times its largest.

The determinant is 1 and yet the smallest eigenvalue may be small: the product of the eigenvalues is
fixed, not the least of them. How small it gets with depth is the matter of the scaling laws.
"""


def random_network(rng: np.random.Generator) -> Network:
    """Draw widths, He-normal weights and standard normal biases."""
    hidden = rng.integers(2, WIDEST + 1, size=rng.integers(1, DEEPEST + 1))
    widths = [int(n) for n in (rng.integers(1, 9), *hidden, rng.integers(1, 5))]
    he = Network.he(widths, seed=rng)
    return Network(he.weights, tuple(rng.standard_normal(n) for n in widths[1:]), he.output)


def random_patterns(network: Network, count: int, rng: np.random.Generator) -> Iterator[Pattern]:
    """Yield all neurons off, all on, and then patterns drawn with chance 1/2, `count` in all."""
    hidden = network.widths[1:-1]
    yield [np.zeros(n, dtype=bool) for n in hidden]
    yield [np.ones(n, dtype=bool) for n in hidden]
    for _ in range(count - 2):
        yield [rng.random(n) < 0.5 for n in hidden]


def examine(network: Network, pattern: Pattern) -> dict[str, float]:
    """Return the figures of one pattern, for `table` to take the worst of.

    `margin` is the smallest eigenvalue of L_Omega over the rounding error of its eigenvalues; `kernel` the
    number of singular values of delta_Omega that are rounding error.
    """
    sheaf = NeuralSheaf(network)
    delta = sheaf.coboundary(pattern, "free").toarray()
    laplacian = sheaf.laplacian(pattern).toarray()
    values = np.linalg.eigvalsh(laplacian)
    sign, log = np.linalg.slogdet(laplacian)
    return {
        "det_coboundary": abs(float(np.expm1(np.linalg.slogdet(delta)[1]))),
        "det_laplacian": abs(float(sign * np.exp(log)) - 1.0),
        "smallest": float(values[0]),
        "margin": float(values[0] / (len(values) * EPS * values[-1])),
        "kernel": delta.shape[1] - float(np.linalg.matrix_rank(delta)),
    }


def table(*, patterns: int) -> pd.DataFrame:
    """Return a row a network: its sizes, and the worst figure over its patterns."""
    rows = []
    for seed in range(NETWORKS):
        rng = np.random.default_rng(seed)
        network = random_network(rng)
        seen = pd.DataFrame(
            [examine(network, pattern) for pattern in random_patterns(network, patterns, rng)]
        )
        rows.append(
            {
                "widths": " ".join(map(str, network.widths)),
                "hidden": network.depth,
                "free": 2 * sum(network.widths[1:-1]) + network.widths[-1],
                "patterns": patterns,
                "det_coboundary": seen["det_coboundary"].max(),
                "det_laplacian": seen["det_laplacian"].max(),
                "smallest": seen["smallest"].min(),
                "margin": seen["margin"].min(),
                "kernel": int(seen["kernel"].max()),
            }
        )
    return pd.DataFrame(rows).sort_values(["hidden", "free"], ignore_index=True)


def rows_of(found: pd.DataFrame) -> list[Row]:
    """Judge the theorem's four statements by the worst figures of all networks."""
    cases = f"{len(found)} networks x {found['patterns'].iloc[0]} patterns"
    off_delta, off_laplacian = found["det_coboundary"].max(), found["det_laplacian"].max()
    smallest, margin, kernel = found["smallest"].min(), found["margin"].min(), found["kernel"].max()
    return [
        Row(
            "det delta_Omega = +1 or -1",
            f"exactly (here: to {BOUND})",
            f"off by {off_delta:.1e} at most",
            f"pivoted LU, {cases}",
            off_delta <= TOLERANCE,
        ),
        Row(
            "det L_Omega = 1",
            f"exactly (here: to {BOUND})",
            f"off by {off_laplacian:.1e} at most",
            f"pivoted LU, {cases}",
            off_laplacian <= TOLERANCE,
        ),
        Row(
            "L_Omega is positive definite",
            "every eigenvalue above 0",
            f"smallest {smallest:.3g}, {margin:,.0f} times rounding error or more",
            f"dense eigenvalues, {cases}",
            margin > 1.0,
        ),
        Row(
            "H^0 = 0: the kernel of delta_Omega is trivial",
            "dimension 0",
            f"dimension {kernel} at most",
            f"singular values, {cases}",
            kernel == 0,
        ),
    ]


def figure(found: pd.DataFrame) -> Figure:
    """Draw the deviation of both determinants from 1 and the smallest eigenvalue, network by network."""
    picture, (off, least) = new_figure(
        "Determinant one, for 25 networks and any pattern", n_panels=2, size=(10.8, 4.4)
    )
    place = np.arange(1, len(found) + 1)
    kinds = (
        ("det_coboundary", "|det delta_Omega| - 1", CLASS_COLOURS[0], "o"),
        ("det_laplacian", "det L_Omega - 1", CLASS_COLOURS[1], "^"),
    )
    for column, label, colour, marker in kinds:
        # A deviation of zero is drawn at the smallest step between two numbers near 1.
        size = np.maximum(found[column], EPS)
        off.plot(place, size, linestyle="", marker=marker, markersize=5, color=colour, label=label)
    bound = off.axhline(TOLERANCE, color=CLASS_COLOURS[2], linestyle="--", linewidth=1.2)
    bound.set_label(f"bound, {BOUND}")
    off.set_yscale("log")
    off.set_ylim(EPS / 2, 10 * TOLERANCE)
    off.set_title("largest deviation from 1", color=INK, fontsize=10)
    off.set_xlabel("network, from shallow to deep")
    add_legend(off, off.lines, "below")

    least.plot(place, found["smallest"], linestyle="", marker="s", markersize=5, color=CLASS_COLOURS[5])
    least.set_yscale("log")
    least.set_ylim(None, 4.0 * found["smallest"].max())  # room for the depths on top
    least.set_title("smallest eigenvalue of L_Omega met", color=INK, fontsize=10)
    least.set_xlabel("network, from shallow to deep")
    starts = np.flatnonzero(np.diff(found["hidden"], prepend=0))
    for axes in (off, least):
        # A line where the next depth begins, named above.
        for start in starts:
            axes.axvline(start + 0.5, color="#bbbbbb", linewidth=0.7, zorder=0)
    for start in starts:
        depth, across = str(found["hidden"][start]), least.get_xaxis_transform()
        least.text(start + 0.65, 1.0, depth, transform=across, fontsize=8, va="top", color=INK)
    handle = Line2D([], [], linestyle="", color="w", label="numbers on top: hidden layers")
    add_legend(least, [handle], "below")
    return picture


def exhibit(runs: Path, *, quick: bool) -> Exhibit:
    """Compute the determinants anew; no run is needed."""
    found = table(patterns=QUICK_PATTERNS if quick else PATTERNS)
    shown = found.drop(columns="margin")
    return Exhibit(
        key="determinants",
        title="Determinant one",
        text=TEXT.strip(),
        rows=rows_of(found),
        figures={"determinants": figure(found)},
        tables={"determinants": shown},
    )
