"""Rules on the inputs: those that differ between parts, those nobody reads, and those that say nothing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sheafcli.core.types import Array
from sheafcli.diagnostics.constant import loss_of_constant
from sheafcli.diagnostics.findings.examined import FEWEST_SAMPLES, Examined
from sheafcli.diagnostics.findings.finding import Finding, Severity, count_of, graded, listed, verb
from sheafcli.diagnostics.findings.reading import outgoing
from sheafcli.diagnostics.findings.shift import Shift

# An input is negligible if its spread moves layer 1 by less than this share of what a typical one does: three
# digits of the others drown it. Inputs that training has left unused keep half of what their start gave them.
NEGLIGIBLE = 1e-3
# At so many inputs unread, a good part of the data is lost.
GRAVE = 0.25
MOST_NAMES = 8
# With the columns put back, a fiftieth of the targets' variance less is missed, beyond chance, or a quarter
# of a constant prediction's loss is saved: that is what it costs.
COSTS, ERRORS, DEARER = 0.02, 3.0, 0.25
# Or it cannot be put back, three tenths of the samples lie elsewhere, and a quarter of the variance is lost.
ELSEWHERE, LOST = 0.3, 0.25
# A factor so near to 1, and an offset of so few standard deviations, are not worth a word.
NEAR_ONE, NEAR_ZERO = 0.1, 0.1
# Factors in use: decimals, and the ranges of pixels. One is told where the estimate is as near to it as
# the standard deviations of some hundred samples are to each other.
USUAL, NEARLY = (10, 16, 100, 255, 1000), 0.08


def inputs_shifted(examined: Examined) -> Iterator[Finding]:
    """Find inputs that are scaled, shifted or ordered otherwise in the new samples than in those trained on.

    As grave as what it costs: a warning where putting the columns back mends predictions, an error where a
    constant would have done better. The distributions are compared, not the network's answers: see
    `sheafcli.diagnostics.findings.shift`.
    """
    shift = examined.shift
    if shift is None or examined.fresh is None:
        return
    X, y = examined.fresh
    mended = min(((again, y) for again in shift.undone(X)), key=examined.misses)
    now, then, taught = (examined.misses(some) for some in (examined.fresh, mended, examined.taught))
    constant = loss_of_constant(examined.network.output, y)
    cheaper = examined.loss(examined.fresh) - examined.loss(mended) >= DEARER * constant
    puts_right = cheaper or (now - then >= COSTS and _errors_better(examined, mended) >= ERRORS)
    costs = puts_right or (shift.distance.max() >= ELSEWHERE and now - taught >= LOST)
    severity: Severity = "info" if not costs else "error" if now >= 1.0 else "warning"
    here, there = examined.fresh_part, examined.taught_part
    gain = (
        f" Put back, they take the loss of {here} from {examined.loss(examined.fresh):.3g} to "
        f"{examined.loss(mended):.3g}."
        if puts_right
        else ""
    )
    yield Finding(
        severity,
        "inputs-shifted",
        0,
        "input",
        tuple(shift.columns.tolist()),
        f"{_difference(examined, shift, here, there)}{gain}",
        f"Give the inputs of {here} in the order, the units and the scaling of those of {there}."
        if costs
        else f"Nothing is lost by it; but make sure that {here} is what the network is meant for.",
    )


def _errors_better(examined: Examined, mended: tuple[Array, Array]) -> float:
    """Return by how many standard errors the mean squared error falls."""
    assert examined.fresh is not None
    before, after = (
        np.sum((examined.network.predict(X) - y) ** 2, axis=1) for X, y in (examined.fresh, mended)
    )
    gain = before - after
    return float(gain.mean() / max(gain.std(ddof=1) / np.sqrt(len(gain)), np.finfo(np.float64).tiny))


def _difference(examined: Examined, shift: Shift, here: str, there: str) -> str:
    columns, width = shift.columns.tolist(), examined.X.shape[1]
    if shift.order is not None:
        places = [(examined.name_of_input(i), examined.name_of_input(int(shift.order[i]))) for i in columns]
        if len(columns) == 2:
            return f"{places[0][0]} and {places[0][1]} have changed places in {here}."
        named = listed([f"{one} stands in the place of {other}" for one, other in places], MOST_NAMES)
        return (
            f"{count_of(columns, width, 'input')} of {here} stand in another order than in {there}: {named}."
        )
    if shift.common is not None:
        return (
            f"The inputs of {here} have about {_times(shift.common)} the scale of those of {there}, "
            f"{len(columns)} of {width} beyond doubt."
        )
    worst = np.argsort(-shift.distance, kind="stable")
    told = [
        f"{examined.name_of_input(columns[k])} {_scaled(shift.factor[k], shift.offset[k], shift.spread[k])}"
        for k in worst.tolist()
    ]
    return (
        f"{count_of(columns, width, 'input')} of {here} {verb(columns, 'lies', 'lie')} elsewhere than in "
        f"{there}: {listed(told, MOST_NAMES)}."
    )


def _scaled(factor: float, offset: float, spread: float) -> str:
    """Say what became of a column whose standard deviation is `spread` where it has not been scaled."""
    told = [] if abs(factor - 1.0) < NEAR_ONE else [f"{_times(factor)} as large"]
    told += [] if abs(offset) < NEAR_ZERO * factor * spread else [f"{offset:+.3g}"]
    return ", ".join(told) or "distributed otherwise"


def _times(factor: float) -> str:
    """Write a factor as 1/16 or as 255 times: as one in use where it may be that, else with two digits."""
    whole = max(factor, 1.0 / factor)
    near = min(USUAL, key=lambda usual: abs(np.log(whole / usual)))
    if abs(np.log(whole / near)) > NEARLY:
        return f"{float(f'{factor:.2g}'):g} times"
    return f"{near} times" if factor > 1.0 else f"1/{near}"


def unread_inputs(examined: Examined) -> Iterator[Finding]:
    """Find inputs that vary, but whose weights times their spread are negligible against the others'.

    That is, at most NEGLIGIBLE of the median over the inputs that are read. Not of images, whose entries
    share weights, nor where something else than weights reads the inputs.
    """
    if examined.n_samples < FEWEST_SAMPLES:
        return
    graph, spread = examined.graph, examined.inputs.spread
    reading = outgoing(graph, graph.vertices[0])
    if reading is None or len(reading) != len(spread):
        return
    reach = reading * spread
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
    spread = examined.inputs.spread
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
        "Leave them out: they carry no information, and their weights act as biases.",
    )
