"""Labels that look wrong: how many, and which.

A label that is wrong by chance is wrong wherever the sample lies; one that differs since the classes overlap
lies where they do. So one looks where they do not: where a vote of other samples is surest, the labels that
differ from it are as many as there are wrong ones. It is the least rate, over the inputs, of labels that
are not the likeliest class, by which noise is told from overlap (C. Scott, G. Blanchard, G. Handy, COLT
2013; A. Menon et al., ICML 2015).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.types import Array
from sheafcli.diagnostics.findings.examined import FEWEST_OF_CLASS, MOST_REFERENCES, Examined
from sheafcli.diagnostics.findings.finding import Finding
from sheafcli.diagnostics.findings.reference import neighbours
from sheafcli.diagnostics.findings.rows import spread_rows
from sheafcli.diagnostics.pinned import class_codes

# The samples that voters are surest of, and the next, and the next: shares of all, by the class voted for.
TIERS = (0.125, 0.25, 0.5)
# Disagreement that rises from one tier to the next by so many standard errors is overlap, which ends there.
RISES = 2.0
# Of the tiers that are left, at least so many samples: 5% of them are two.
FEWEST_SURE = 40
# From here on it is worth a warning. Tables as they are found have 3% of wrong labels (C. Northcutt,
# A. Athalye, J. Mueller, NeurIPS 2021); so many more are not there by chance, at 3 standard errors.
NOISY, USUAL, ERRORS = 0.05, 0.03, 3.0
# Nothing is said where votes are wrong on more than this share of what class shares alone get wrong, or where
# they are wrong so much more often on all samples than on the sure ones: overlap and noise look alike there.
BLIND, OVERLAP, LEAST_OVERLAP = 0.6, 0.25, 0.05
MOST_NAMED = 20


@dataclass(frozen=True, eq=False)
class Noise:
    """Which share of the labels is wrong by chance, its standard error, and the likeliest such samples."""

    share: float
    error: float
    samples: NDArray[np.intp]


def label_noise(examined: Examined) -> Iterator[Finding]:
    """Find a share of labels that differ from a sure vote of samples like theirs."""
    X, y = examined.taught
    if class_codes(examined.network, y) is None:
        return
    if len(X) < FEWEST_SURE:
        return
    voters, rows = examined.reference
    yield from _told(examined, voters.predicted, y[rows], rows, examined.taught_part)
    if examined.fresh is not None and examined.shift is None:
        X_fresh, y_fresh = examined.fresh
        some = spread_rows(len(X_fresh), MOST_REFERENCES)
        votes = neighbours(X[rows], y[rows], X_fresh[some])
        yield from _told(examined, votes, y_fresh[some], some, examined.fresh_part)


def _told(
    examined: Examined, predicted: Array, y: Array, rows: NDArray[np.intp], part: str
) -> Iterator[Finding]:
    noise = estimated_noise(_by_class(predicted), _by_class(y))
    if noise is None:
        return
    samples = rows[noise.samples].tolist()
    yield Finding(
        "warning",
        "label-noise",
        None,
        None,
        (),
        f"About {noise.share:.0%} +- {noise.error:.0%} of the {len(y):,} labels of {part} look wrong: where "
        f"samples like them agree, these differ. The likeliest {len(samples):,}: "
        f"{examined.named(samples, part, MOST_NAMED)}.",
        "Look at these labels, and mend them. Until then train shorter, or with weight_decay: a network that "
        "fits wrong labels has learnt them by heart.",
    )


def estimated_noise(votes: Array, labels: Array) -> Noise | None:
    """Return how many labels are wrong by chance; None where that is few, or not to be told from overlap.

    Both are samples x classes: what others say of each sample, out of its own sight, and its one-hot label.
    """
    voted, given = np.argmax(votes, axis=1), np.argmax(labels, axis=1)
    differs = voted != given
    everywhere, shares = float(differs.mean()), labels.mean(axis=0)
    if everywhere > BLIND * (1.0 - float(shares @ shares)):
        return None
    place = _places(votes, voted)
    wrong = count = 0
    for low, high in zip((0.0, *TIERS), TIERS, strict=False):
        tier = differs[(place >= low) & (place < high)]
        if count >= FEWEST_SURE and _rises(wrong, count, int(tier.sum()), len(tier)):
            break
        wrong, count = wrong + int(tier.sum()), count + len(tier)
    if count < FEWEST_SURE:
        return None
    share = wrong / count
    error = float(np.sqrt(max(share * (1.0 - share), 1.0 / count) / count))
    overlap = everywhere - share
    if share < NOISY or share - ERRORS * error < USUAL or overlap > max(OVERLAP * everywhere, LEAST_OVERLAP):
        return None
    doubt = np.take_along_axis(votes, voted[:, None], 1) - np.take_along_axis(votes, given[:, None], 1)
    likeliest = np.argsort(-doubt[:, 0], kind="stable")[: min(round(share * len(votes)), int(differs.sum()))]
    return Noise(share, error, np.sort(likeliest))


def _places(votes: Array, voted: NDArray[np.intp]) -> Array:
    """Return where each sample stands among those of the class voted for, 0 the surest, 1 the least sure.

    Sure is what is far ahead of the next class; ties are broken by the place in the table, spread evenly.
    """
    ordered = np.sort(votes, axis=1)
    lead = ordered[:, -1] - ordered[:, -2]
    spread = np.arange(len(votes)) * 0.6180339887498949 % 1.0
    place = np.ones(len(votes))
    for code in np.unique(voted):
        members = np.flatnonzero(voted == code)
        if len(members) < FEWEST_OF_CLASS:
            continue
        ranked = members[np.lexsort((spread[members], -lead[members]))]
        place[ranked] = (np.arange(len(ranked)) + 0.5) / len(ranked)
    return place


def _rises(wrong: int, count: int, more_wrong: int, more: int) -> bool:
    """Say whether a second share is significantly above a first."""
    if more == 0:
        return True
    both = (wrong + more_wrong) / (count + more)
    error = np.sqrt(max(both * (1.0 - both), 1.0 / (count + more)) * (1.0 / count + 1.0 / more))
    return bool(more_wrong / more - wrong / count > RISES * error)


def _by_class(y: Array) -> Array:
    """Return one column a class; one column alone is the chance of class 1."""
    return np.hstack([1.0 - y, y]) if y.shape[1] == 1 else y
