"""Findings: rules that name what is wrong with a network, each a small function with its threshold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pandas as pd

from sheafcli.diagnostics.findings.data import class_discord, sample_discord
from sheafcli.diagnostics.findings.examined import Examined
from sheafcli.diagnostics.findings.finding import SEVERITIES, Finding
from sheafcli.diagnostics.findings.fit import no_better_than_constant, parts_apart, underfit
from sheafcli.diagnostics.findings.inputs import constant_inputs, inputs_shifted, unread_inputs
from sheafcli.diagnostics.findings.labels import label_noise
from sheafcli.diagnostics.findings.layers import exploding_updates, layer_at_fault, vanishing_updates
from sheafcli.diagnostics.findings.neurons import (
    always_active,
    dead_relu,
    duplicate_neurons,
    held_at_kink,
    unread_neurons,
)
from sheafcli.diagnostics.findings.output import (
    constant_output,
    out_of_range,
    saturated_output,
    unsettled_samples,
)
from sheafcli.diagnostics.findings.training import (
    diverging_run,
    exploding_resistance,
    slow_settling,
    unstable_step,
)

__all__ = ["COLUMNS", "RULES", "Examined", "Finding", "examine", "findings_frame"]

Rule = Callable[[Examined], Iterator[Finding]]

DATA_AND_STEPS: tuple[Rule, ...] = (
    diverging_run,
    inputs_shifted,
    label_noise,
    unstable_step,
    slow_settling,
    exploding_resistance,
)
TRAINING: tuple[Rule, ...] = (no_better_than_constant, underfit)
WEIGHTS: tuple[Rule, ...] = (
    dead_relu,
    always_active,
    held_at_kink,
    duplicate_neurons,
    unread_inputs,
    unread_neurons,
    layer_at_fault,
    vanishing_updates,
    exploding_updates,
)
GENERALISATION: tuple[Rule, ...] = (parts_apart,)
SYMPTOMS: tuple[Rule, ...] = (
    saturated_output,
    constant_output,
    out_of_range,
    class_discord,
    sample_discord,
    constant_inputs,
    unsettled_samples,
)

RULES: tuple[Rule, ...] = (*DATA_AND_STEPS, *TRAINING, *WEIGHTS, *GENERALISATION, *SYMPTOMS)
"""All rules. A rule yields what it finds, and nothing on a healthy network but what is info."""

COLUMNS = ["severity", "rule", "layer", "operation", "neurons", "evidence", "advice"]
OPERATIONS = (None, "input", "affine", "activation", "output")


def examine(examined: Examined) -> list[Finding]:
    """Apply all rules: what is grave before what is info, and causes before what they bring about.

    The data and the steps of training come first, then what became of the weights and of the fit. Where the
    network is as its training left it, a poor fit is training's doing, and its weights show it; where it
    is not, or nobody knows, weights that are broken make the fit poor. Among causes of a kind the worst come
    first, then they are in path order. What has such a cause is not called underfit.
    """
    fit = (TRAINING, WEIGHTS) if examined.as_trained else (WEIGHTS, TRAINING)
    found = [
        (rank, finding)
        for rank, rules in enumerate((DATA_AND_STEPS, *fit, GENERALISATION, SYMPTOMS))
        for rule in rules
        for finding in rule(examined)
    ]
    told = [finding for _, finding in sorted(found, key=lambda one: _place(*one))]
    return [finding for finding in told if finding.rule != "underfit" or finding is told[0]]


def findings_frame(findings: Sequence[Finding]) -> pd.DataFrame:
    """Return a row a finding with the columns COLUMNS; neurons are told as 0 3 17."""
    rows = [[getattr(finding, name) for name in COLUMNS] for finding in findings]
    table = pd.DataFrame(rows, columns=COLUMNS).astype({"layer": "Int64"})
    return table.assign(neurons=[" ".join(map(str, finding.neurons)) for finding in findings])


def _place(rank: int, finding: Finding) -> tuple[int, int, int, int]:
    layer = -1 if finding.layer is None else finding.layer
    place = layer, OPERATIONS.index(finding.operation)
    # What is info is no cause of anything.
    if finding.severity == "info":
        return (len(RULES), 0, *place)
    return (rank, SEVERITIES.index(finding.severity), *place)
