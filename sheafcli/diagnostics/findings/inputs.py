"""Rules on the inputs: those nobody reads, and those that say nothing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sheafcli.diagnostics.findings.examined import FEWEST_SAMPLES, Examined
from sheafcli.diagnostics.findings.finding import Finding, count_of, graded, listed, verb

# An input is negligible if its spread moves layer 1 by less than this share of what a typical one does: three
# digits of the others drown it. Inputs that training has left unused keep half of what their start gave them.
NEGLIGIBLE = 1e-3
# At so many inputs unread, a good part of the data is lost.
GRAVE = 0.25
MOST_NAMES = 8


def unread_inputs(examined: Examined) -> Iterator[Finding]:
    """Find inputs that vary, but whose column of W_1 times their spread is negligible against the others'.

    That is, at most NEGLIGIBLE of the median over the inputs whose columns are not 0.
    """
    if examined.n_samples < FEWEST_SAMPLES:
        return
    spread = examined.values[0].spread
    reach = np.linalg.norm(examined.network.weights[0], axis=0) * spread
    typical = float(np.median(reach[reach > 0.0])) if reach.any() else 0.0
    unread = np.flatnonzero((spread > 0.0) & (reach <= NEGLIGIBLE * typical))
    if len(unread) == 0:
        return
    varied = int(np.count_nonzero(spread))
    names = [examined.name_of_input(i) for i in unread.tolist()]
    largest = float(reach[unread].max())
    yield Finding(
        graded(len(unread), varied, GRAVE),
        "unread-inputs",
        0,
        "input",
        tuple(unread.tolist()),
        f"{count_of(unread, varied, 'input')} that vary {verb(unread, 'is', 'are')} read by nobody: "
        f"{listed(names, MOST_NAMES)} {verb(unread, 'moves', 'move')} layer 1 by {largest:.3g} at most, a "
        f"typical input by {typical:.3g}.",
        "Standardise the inputs if theirs is a much smaller scale (task.standardize); else leave them out.",
    )


def constant_inputs(examined: Examined) -> Iterator[Finding]:
    """Find inputs that are the same on all samples: they only add to the biases."""
    if examined.n_samples < FEWEST_SAMPLES:
        return
    spread = examined.values[0].spread
    constant = np.flatnonzero(spread == 0.0)
    if len(constant) == 0:
        return
    names = [examined.name_of_input(i) for i in constant.tolist()]
    yield Finding(
        "info",
        "constant-inputs",
        0,
        "input",
        tuple(constant.tolist()),
        f"{count_of(constant, len(spread), 'input')} {verb(constant, 'is', 'are')} the same on all "
        f"{examined.n_samples:,} samples: {listed(names, MOST_NAMES)}.",
        "Leave them out: they say nothing, and their weights act as biases.",
    )
