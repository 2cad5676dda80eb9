"""Rules on the fit: a network that has learnt nothing, too little, or its samples by heart.

All compare the share u of the targets' variance that is missed (see `reference` beside this): that of the
network with that of a constant, which is 1, with a simple predictor's, and between parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sheafcli.core.types import Array
from sheafcli.diagnostics.findings.causes import Cause, likeliest_cause
from sheafcli.diagnostics.findings.examined import FEWEST_SAMPLES, Examined
from sheafcli.diagnostics.findings.finding import Finding
from sheafcli.diagnostics.findings.reference import missed

# Of what there is to learn nine tenths are missed.
NO_BETTER = 0.9
# A tenth of the variance more than a simple predictor misses on samples that it has not seen, and more than
# chance by so many standard errors.
MORE, ERRORS = 0.1, 3.0
# Means this much apart are errors twice as large, discord being a square; heavy tails are in the errors.
APART, PART_ERRORS = 4.0, 3.0
# What the better part has of the targets' variance, the worse one lacks: a quarter of all there is.
LACKING = 0.25
TINY = float(np.finfo(np.float64).tiny)


def no_better_than_constant(examined: Examined) -> Iterator[Finding]:
    """Find a network that predicts what it was trained on no better than a constant would, and say why.

    An error; a warning where nothing simple does better, since then there may be nothing to learn. Where its
    training has not gone far enough, it is underfit.
    """
    fit = _Fit.of(examined)
    if fit is None or fit.share < NO_BETTER or fit.cause.unfinished:
        return
    yield Finding(
        "error" if fit.attained < NO_BETTER else "warning",
        "no-better-than-constant",
        *(None, None, ()),
        f"{fit.told}, a constant 100%, {fit.simple} {fit.attained:.0%}. {fit.cause.evidence}",
        fit.cause.advice,
    )


def underfit(examined: Examined) -> Iterator[Finding]:
    """Find a network that misses more of its own training samples than a simple predictor of new ones.

    Not where training left a better one: what became of that is another matter.
    """
    fit = _Fit.of(examined)
    if fit is None or fit.share - fit.attained < MORE or fit.errors < ERRORS or examined.was_better:
        return
    lost = fit.share >= NO_BETTER
    if lost and not fit.cause.unfinished:
        return
    yield Finding(
        "error" if lost else "warning",
        "underfit",
        *(None, None, ()),
        f"{fit.told}; {fit.simple} {fit.attained:.0%}, on samples that it has not seen. {fit.cause.evidence}",
        fit.cause.advice,
    )


@dataclass(frozen=True, eq=False)
class _Fit:
    """What a network misses of the samples it was trained on, beside a simple predictor, and why.

    `errors` says by how many standard errors it is worse, a mean over the samples.
    """

    told: str
    share: float
    simple: str
    attained: float
    errors: float
    cause: Cause

    @classmethod
    def of(cls, examined: Examined) -> _Fit | None:
        """Compare them; None where there is little to learn from, or little that is missed."""
        X, y = examined.taught
        share = examined.misses(examined.taught)
        if len(X) < FEWEST_SAMPLES or share < MORE or not y.std(axis=0).any():
            return None
        simple, rows = examined.reference
        attained = missed(simple.predicted, y[rows])
        more = _squares(examined.network.predict(X[rows]), y[rows]) - _squares(simple.predicted, y[rows])
        told = (
            f"On {examined.taught_part} samples the network misses {share:.0%} of the variance of the targets"
        )
        errors = float(more.mean()) / max(_error(more), TINY)
        return cls(told, share, simple.name, attained, errors, likeliest_cause(examined, attained))


def parts_apart(examined: Examined) -> Iterator[Finding]:
    """Find parts of which one is met far worse than the other, in discord or in squared errors.

    A warning if the network fails there: it lacks a quarter of the targets' variance that it has on the other
    part. The ratio alone says nothing: it is largest where training samples are met to the last digit,
    and new ones well. Parts whose inputs differ are another matter.
    """
    here, there = examined.discord, examined.other_discord
    if min(len(here), len(there)) < FEWEST_SAMPLES or examined.other is None or examined.shift is not None:
        return
    parts = ((examined.X, examined.y), examined.other)
    squares = [_squares(examined.network.predict(X), y) for X, y in parts]
    shares = [examined.misses(part) for part in parts]
    here_is_worse = shares[0] >= shares[1]
    order = slice(None) if here_is_worse else slice(None, None, -1)
    (missing, kept), (high, low) = shares[order], (here, there)[order]
    tense = high.mean() >= APART * low.mean() and _errors_apart(high, low) >= PART_ERRORS
    wrong = missing >= APART * kept and _errors_apart(*squares[order]) >= PART_ERRORS
    lacking = missing - kept >= LACKING
    if not (tense or (wrong and lacking)):
        return
    worse, better = [examined.part, examined.other_part][order]
    base = max(float(low.mean()), TINY)
    ratio = float(high.mean()) / base
    # Of independent means: the relative variances add up.
    error = ratio * float(np.hypot(_error(high) / high.mean(), _error(low) / base))
    yield Finding(
        "warning" if lacking else "info",
        "parts-apart",
        None,
        None,
        (),
        f"The discord of {worse} is {ratio:.3g} +- {error:.2g} times that of {better} ({high.mean():.3g} "
        f"against {low.mean():.3g}); of the variance of the targets the network misses {missing:.0%} on "
        f"{worse}, {kept:.0%} on {better}.",
        _advice(worse, lacking),
    )


def _advice(worse: str, lacking: bool) -> str:
    if worse == "train":
        return "Look for wrong targets among the training samples, and for test samples that are easier."
    if lacking:
        return (
            "The network is overfitted: it has learnt its training samples by heart. Use more of them, "
            "weight_decay, fewer neurons, or fewer epochs."
        )
    return "Nothing is wrong: it fits its training samples closely, and new ones well."


def _squares(predicted: Array, y: Array) -> Array:
    return np.asarray(np.sum((predicted - y) ** 2, axis=1))


def _error(values: Array) -> float:
    """Return the standard error of a mean."""
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def _errors_apart(high: Array, low: Array) -> float:
    """Return how many standard errors two means are apart."""
    error = np.hypot(_error(high), _error(low))
    return float((high.mean() - low.mean()) / max(error, TINY))
