"""Rules on the output: predictions that have stopped following, and stalks that do not settle."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from sheafcli.diagnostics.findings.examined import FEWEST_OF_CLASS, FEWEST_SAMPLES, Examined
from sheafcli.diagnostics.findings.finding import Finding, count_of, listed, verb

# Where p (1 - p) is below this in every output, the network claims to be right 999 times in 1,000.
FLAT = 1e-3
# Of the samples on which it claims that, one in ten is wrong: a hundred times as many as it claims.
WRONG = 0.1
# Saturation is the rule, not the exception.
MOST = 0.5
# Below the rounding error of 1, J_phi is zero in floating point for all that can be told.
VANISHED = float(np.finfo(np.float64).eps)
MOST_NAMED = 20
# A prediction that varies by less than this share of its target's variation is constant to three digits.
CONSTANT = 1e-3


def saturated_output(examined: Examined) -> Iterator[Finding]:
    """Find a sigmoid or softmax with J_phi near zero on most samples: a warning if many of them are wrong.

    With none of them wrong it is worth saying only where J_phi has vanished in floating point.
    """
    output = examined.network.output
    if not output.classifies or len(examined.X) < FEWEST_SAMPLES:
        return
    p = output.value(examined.logits)
    slope = np.max(p * (1.0 - p), axis=1)
    flat = np.flatnonzero(slope < FLAT)
    wrong = flat[_wrong(examined)[flat]]
    vanished = np.flatnonzero(slope < VANISHED)
    largest = float(np.max(np.abs(examined.logits)))
    harmful = len(flat) > MOST * len(slope) and len(wrong) >= WRONG * len(flat)
    if harmful:
        yield Finding(
            "warning",
            "saturated-output",
            examined.last,
            "output",
            (),
            f"{count_of(flat, len(slope), 'sample')} {verb(flat, 'is', 'are')} saturated (p (1 - p) below "
            f"{FLAT:g}), and {len(wrong):,} of these {verb(wrong, 'is', 'are')} wrong; logits reach "
            f"{largest:.3g}.",
            "Scale the last layer down, or train with weight_decay: where J_phi is near zero, a wrong "
            "prediction is hardly corrected.",
        )
    elif len(vanished) > MOST * len(slope):
        yield Finding(
            "info",
            "saturated-output",
            examined.last,
            "output",
            (),
            f"{count_of(vanished, len(slope), 'sample')} {verb(vanished, 'is', 'are')} saturated beyond "
            f"rounding error; logits reach {largest:.3g}.",
            "Stop earlier, or train with weight_decay, if the chances are to mean something.",
        )


def constant_output(examined: Examined) -> Iterator[Finding]:
    """Find outputs that are the same for all samples while their targets vary."""
    if len(examined.X) < FEWEST_SAMPLES:
        return
    output, y = examined.network.output, examined.y
    varies, spread = y.std(axis=0), output.value(examined.logits).std(axis=0)
    asked = varies > 0.0
    if output.classifies:
        members = np.minimum(y.sum(axis=0), (1.0 - y).sum(axis=0))
        asked &= members >= FEWEST_OF_CLASS
    constant = np.flatnonzero(asked & (spread < CONSTANT * varies))
    if len(constant) == 0:
        return
    width = int(np.count_nonzero(asked))
    yield Finding(
        "error" if len(constant) == width else "warning",
        "constant-output",
        examined.last,
        "output",
        tuple(constant.tolist()),
        f"{count_of(constant, width, 'output')} {verb(constant, 'is', 'are')} the same for all {len(y):,} "
        f"samples: the spread is {spread[constant].max():.3g}, that of the targets "
        f"{varies[constant].max():.3g}.",
        "Look for a dead or unread layer before it; if there is none, train again from another start.",
    )


def out_of_range(examined: Examined) -> Iterator[Finding]:
    """Find outputs of a regression that mostly lie outside the targets' range by more than its width."""
    if examined.network.output.classifies or len(examined.X) < FEWEST_SAMPLES:
        return
    targets = examined.y if examined.other is None else np.concatenate([examined.y, examined.other[1]])
    lowest, highest = targets.min(axis=0), targets.max(axis=0)
    width = highest - lowest
    far = np.mean((examined.logits < lowest - width) | (examined.logits > highest + width), axis=0)
    outside = np.flatnonzero((width > 0.0) & (far > MOST))
    if len(outside) == 0:
        return
    first = outside[0]
    yield Finding(
        "error",
        "out-of-range",
        examined.last,
        "output",
        tuple(outside.tolist()),
        f"{far[outside].max():.0%} of the predictions are far outside the range of the targets: output "
        f"{first} has the median {np.median(examined.logits[:, first]):.3g}, its targets lie between "
        f"{lowest[first]:.3g} and {highest[first]:.3g}.",
        "Check that these samples are scaled as those the network was trained on; else train longer or "
        "again.",
    )


def unsettled_samples(examined: Examined) -> Iterator[Finding]:
    """Find samples whose pinned equilibrium was not reached: no table counts them."""
    unsettled = examined.unsettled
    if not unsettled:
        return
    what = f"{examined.word} of the data" if examined.part in examined.places else "sample"
    yield Finding(
        "warning",
        "unsettled-samples",
        None,
        None,
        (),
        f"{count_of(unsettled, len(examined.X) + len(unsettled), 'sample')} did not reach the tolerance and "
        f"{verb(unsettled, 'is', 'are')} left out: {what} {listed(unsettled, MOST_NAMED)}.",
        "Trust the other tables with care: weights or inputs of very different sizes look like this.",
    )


def _wrong(examined: Examined) -> NDArray[np.bool_]:
    """Say of each sample whether its class, or one of its yes-or-no outputs, is wrong."""
    z, y = examined.logits, examined.y
    if examined.network.output.name == "softmax":
        return np.asarray(np.argmax(z, axis=1) != np.argmax(y, axis=1))
    return np.asarray(((z >= 0.0) != (y >= 0.5)).any(axis=1))
