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


def noisy(case, layer):
    """Add noise of the norm of a layer's weights to them."""
    weights = list(case.network.weights)
    W = weights[layer - 1]
    noise = np.random.default_rng(layer).standard_normal(W.shape)
    weights[layer - 1] = W + np.linalg.norm(W) * noise / np.linalg.norm(noise)
    return replace(case, network=sc.Network(tuple(weights), case.network.biases, case.network.output))


# Not of every layer: noise in the first is often told as the second's, which could undo it as well.
@pytest.mark.parametrize(
    ("name", "layer"),
    [("saddle, three layers", 3), ("digits, two layers", 3)],
)
def test_noise_in_a_layer_is_found_there(name, layer):
    found = [f for f in examine(with_fault(noisy(healthy(name), layer))) if f.rule == "layer-at-fault"]
    assert [(finding.severity, finding.layer) for finding in found] == [("warning", layer)]


def test_noise_that_other_layers_could_nearly_mend_is_likeliest_where_it_is():
    # Evidence leads by seven nats, which healthy networks reach as well: nothing else is said.
    found = with_fault(noisy(healthy("digits, two layers"), 2))
    assert found.fault.set_index("layer")["blame"].idxmax() == 2
    told = [finding for finding in examine(found) if finding.rule == "layer-at-fault"]
    assert {finding.layer for finding in told} <= {2}


def test_where_two_layers_explain_the_error_alike_neither_is_blamed_alone():
    # What noise in the second does, the first can undo as well: their evidence differs by a percent.
    found = with_fault(noisy(healthy("saddle, three layers"), 2))
    blame = found.fault.set_index("layer")["blame"]
    assert blame[1] + blame[2] > 0.9
    assert blame[2] > 0.1
    told = [finding for finding in examine(found) if finding.rule == "layer-at-fault"]
    assert 2 in [finding.layer for finding in told]


@pytest.mark.parametrize(
    ("blame", "kind_blame", "said", "unsaid"),
    [
        ([0.01, 0.97, 0.01], 0.98, ["Layer 2 is at fault (97.0%): its weights look transposed"], ["cannot"]),
        (
            [0.01, 0.92, 0.01],
            0.9,
            ["Layer 2 is at fault", "of what kind the fault is cannot be told"],
            ["transp"],
        ),
        (
            [0.38, 0.55, 0.01],
            1.0,
            ["which one cannot be told", "layer 2 (55.0%), layer 1 (38.0%)"],
            ["transp"],
        ),
    ],
)
def test_what_is_sure_is_said_and_no_more(blame, kind_blame, said, unsaid):
    found = with_fault(noisy(healthy("digits, two layers"), 2))
    fault = found.fault.assign(blame=blame, kind="transposed", kind_blame=kind_blame)
    (told,) = [one for one in examine(replace(found, fault=fault)) if one.rule == "layer-at-fault"]
    assert told.layer == 2
    assert all(words in told.evidence for words in said)
    assert not any(words in told.evidence for words in unsaid)


def test_where_no_fault_is_as_likely_nothing_is_said():
    found = with_fault(noisy(healthy("digits, two layers"), 2))
    fault = found.fault.assign(blame=[0.05, 0.8, 0.04])
    assert not [one for one in examine(replace(found, fault=fault)) if one.rule == "layer-at-fault"]


def test_without_evidence_nothing_is_said():
    findings = examine(healthy("paraboloid, two layers").examined("test"))
    assert not any(finding.rule == "layer-at-fault" for finding in findings)
