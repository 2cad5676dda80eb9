"""What a rule finds: a statement on one part of a network, how grave it is, its evidence, and what to do."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "info"]
Operation = Literal["affine", "activation", "output", "input"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
"""The severities, worst first. A healthy network has findings of severity info at most."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a network, or worth knowing.

    Attributes
    ----------
    severity : what is lost: error, the network or a whole layer of it; warning, a good part of what it could
        do; info, nothing that one would miss.
    rule : the name of the rule, such as dead-relu.
    layer : the layer it is about, 0 for the inputs; None for the whole network or the data.
    operation : affine, activation or output for an edge of the layer, input for layer 0; None likewise.
    neurons : the coordinates there that it is about, from 0; empty where it is about all or none.
    evidence : a sentence with the figures.
    advice : a sentence that says what to do.
    """

    severity: Severity
    rule: str
    layer: int | None
    operation: Operation | None
    neurons: tuple[int, ...]
    evidence: str
    advice: str


def graded(lost: int, width: int, grave: float) -> Severity:
    """Return how grave it is to lose so many of a layer's neurons: all, the share `grave` or more, fewer."""
    if lost == width:
        return "error"
    return "warning" if lost >= grave * width else "info"


def count_of(some: Collection[object], total: int, noun: str) -> str:
    """Return "12 of 30 neurons", or "1 of 1 neuron"."""
    return f"{len(some):,} of {total:,} {noun}{'' if total == 1 else 's'}"


def verb(some: Collection[object], one: str, more: str) -> str:
    """Return the form of a verb for so many subjects."""
    return one if len(some) == 1 else more


def listed(names: Sequence[object], most: int) -> str:
    """Return names in a row, "x1, x2, x3 and 12 more" where there are more than so many."""
    if len(names) <= most:
        return ", ".join(map(str, names))
    return f"{', '.join(map(str, names[:most]))} and {len(names) - most:,} more"
