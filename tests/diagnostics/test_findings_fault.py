"""The layer at fault, as a finding: silent on healthy networks, right where noise was planted."""

from dataclasses import replace

import numpy as np
import pytest
from planted import HEALTHY, healthy

import sheafcli as sc
from sheafcli.diagnostics.fault import fault_table
from sheafcli.diagnostics.findings import examine


def with_fault(case):
    """Return what the rules look at, with the evidence for every layer on the training samples."""
    examined = case.examined("test")
    return replace(examined, fault=fault_table(case.network, *examined.other))


@pytest.mark.parametrize("name", HEALTHY)
def test_no_layer_of_a_healthy_network_is_at_fault(name):
    assert [finding for finding in examine(with_fault(healthy(name))) if finding.severity != "info"] == []


# Not of every layer: noise in the first is often told as the second's, which could undo it as well, and in
# the second of the saddle's as the first's: their evidence differs by a percent, as that of one local minimum
# from another's.
@pytest.mark.parametrize(
    ("name", "layer"),
    [("saddle, three layers", 3), ("digits, two layers", 2), ("digits, two layers", 3)],
)
def test_noise_in_a_layer_is_found_there(name, layer):
    case = healthy(name)
    weights = list(case.network.weights)
    W = weights[layer - 1]
    noise = np.random.default_rng(layer).standard_normal(W.shape)
    weights[layer - 1] = W + np.linalg.norm(W) * noise / np.linalg.norm(noise)
    sick = replace(case, network=sc.Network(tuple(weights), case.network.biases, case.network.output))
    found = [finding for finding in examine(with_fault(sick)) if finding.rule == "layer-at-fault"]
    assert [(finding.severity, finding.layer) for finding in found] == [("warning", layer)]


def test_without_evidence_nothing_is_said():
    findings = examine(healthy("paraboloid, two layers").examined("test"))
    assert not any(finding.rule == "layer-at-fault" for finding in findings)
