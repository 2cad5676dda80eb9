"""Rules on the data: classes and samples that carry most of the discord."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sheafcli.core.types import Array
from sheafcli.diagnostics.findings.examined import FEWEST_OF_CLASS, FEWEST_SAMPLES, Examined
from sheafcli.diagnostics.findings.finding import Finding, count_of, verb

# More than half of the discord is most of it.
MOST = 0.5
# Means this much apart are errors twice as large, discord being a square.
APART = 4.0
# So many standard errors apart is no chance, heavy tails of discord included.
CLASS_ERRORS = 4.0
# Outliers are at most this share of the samples, and at least so many times above all others: residuals three
# times as large. Errors of one kind have a tail, but no such gap in it.
OUTLIERS, GAP = 0.05, 10.0
# One or two samples apart from all others are what chance makes, too.
FEWEST_OUTLIERS = 3
# With a loss below this share of a constant prediction's there is nothing to explain.
MATERIAL = 0.01
MOST_SAMPLES_NAMED = 20
# Beyond this nobody counts.
MOST_GAP = 1e6
TINY = float(np.finfo(np.float64).tiny)


def class_discord(examined: Examined) -> Iterator[Finding]:
    """Find classes that carry most of the discord, with a mean far above all others'."""
    table = examined.diagnosis.classes
    if table is None or examined.relative_loss < MATERIAL or examined.is_shifted:
        return
    targets = examined.diagnosis.samples["target"].to_numpy()
    columns = (table[name].tolist() for name in ("class", "share", "accuracy"))
    for code, (name, share, accuracy) in enumerate(zip(*columns, strict=True)):
        inside = targets == name
        own, rest = examined.discord[inside], examined.discord[~inside]
        if min(len(own), len(rest)) < FEWEST_OF_CLASS or share <= MOST:
            continue
        if own.mean() < APART * rest.mean() or _errors_apart(own, rest) < CLASS_ERRORS:
            continue
        yield Finding(
            "warning",
            "class-discord",
            examined.last,
            "output",
            (code if examined.y.shape[1] > 1 else 0,),
            f"Class {name} carries {share:.0%} of the discord with {count_of(own, len(targets), 'sample')}; "
            f"{accuracy:.0%} of them are right.",
            "Look at its samples and their labels; if they are sound, give the class more samples, or the "
            "network more neurons.",
        )


def sample_discord(examined: Examined) -> Iterator[Finding]:
    """Find a few samples that carry most of the discord, with a wide gap to all others: label noise."""
    discord = examined.discord
    if len(discord) < FEWEST_SAMPLES or examined.relative_loss < MATERIAL or examined.is_shifted:
        return
    order = np.argsort(-discord, kind="stable")
    sizes = discord[order]
    most = max(1, int(OUTLIERS * len(sizes)))
    gaps = sizes[:most] / np.maximum(sizes[1 : most + 1], TINY)
    count = int(np.argmax(gaps)) + 1
    share = float(sizes[:count].sum() / sizes.sum())
    if gaps[count - 1] < GAP or share <= MOST:
        return
    samples = order[:count].tolist()
    yield Finding(
        "warning" if count >= FEWEST_OUTLIERS else "info",
        "sample-discord",
        None,
        None,
        (),
        f"{count_of(samples, len(discord), 'sample')} {verb(samples, 'carries', 'carry')} {share:.0%} of the "
        f"discord, {min(gaps[count - 1], MOST_GAP):,.0f} times or more what any other has: "
        f"{examined.named(samples, examined.part, MOST_SAMPLES_NAMED)}.",
        "Look at their targets first: labels that are wrong look like this.",
    )


def _error(values: Array) -> float:
    """Return the standard error of a mean."""
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def _errors_apart(high: Array, low: Array) -> float:
    """Return how many standard errors two means are apart."""
    error = np.hypot(_error(high), _error(low))
    return float((high.mean() - low.mean()) / max(error, TINY))
