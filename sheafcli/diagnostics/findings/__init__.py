"""Findings: rules that name what is wrong with a network, each a small function with its threshold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pandas as pd

from sheafcli.diagnostics.findings.data import class_discord, parts_apart, sample_discord
from sheafcli.diagnostics.findings.examined import Examined
from sheafcli.diagnostics.findings.finding import SEVERITIES, Finding
from sheafcli.diagnostics.findings.inputs import constant_inputs, unread_inputs
from sheafcli.diagnostics.findings.layers import exploding_updates, layer_at_fault, vanishing_updates
from sheafcli.diagnostics.findings.neurons import (
    always_active,
    dead_relu,
    duplicate_neurons,
    held_at_kink,
    unread_neurons,
)
from sheafcli.diagnostics.findings.output import constant_output, out_of_range, saturated_output
from sheafcli.diagnostics.findings.training import (
    diverging_run,
    exploding_resistance,
    slow_settling,
    unstable_step,
)

__all__ = ["COLUMNS", "RULES", "Examined", "Finding", "examine", "findings_frame"]

Rule = Callable[[Examined], Iterator[Finding]]

RULES: tuple[Rule, ...] = (
    diverging_run,
    unstable_step,
    slow_settling,
    exploding_resistance,
    unread_inputs,
    constant_inputs,
    dead_relu,
    always_active,
    held_at_kink,
    duplicate_neurons,
    unread_neurons,
    layer_at_fault,
    vanishing_updates,
    exploding_updates,
    saturated_output,
    constant_output,
    out_of_range,
    class_discord,
    sample_discord,
    parts_apart,
)
"""All rules. A rule yields what it finds, and nothing on a healthy network but what is info."""

COLUMNS = ["severity", "rule", "layer", "operation", "neurons", "evidence", "advice"]
OPERATIONS = (None, "input", "affine", "activation", "output")


def examine(examined: Examined) -> list[Finding]:
    """Apply all rules: the worst findings first, then in path order, run and data before all layers."""
    findings = [finding for rule in RULES for finding in rule(examined)]
    return sorted(findings, key=_place)


def findings_frame(findings: Sequence[Finding]) -> pd.DataFrame:
    """Return a row a finding with the columns COLUMNS; neurons are told as 0 3 17."""
    rows = [[getattr(finding, name) for name in COLUMNS] for finding in findings]
    table = pd.DataFrame(rows, columns=COLUMNS).astype({"layer": "Int64"})
    return table.assign(neurons=[" ".join(map(str, finding.neurons)) for finding in findings])


def _place(finding: Finding) -> tuple[int, int, int]:
    layer = -1 if finding.layer is None else finding.layer
    return SEVERITIES.index(finding.severity), layer, OPERATIONS.index(finding.operation)
