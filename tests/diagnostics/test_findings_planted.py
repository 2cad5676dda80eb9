"""Findings on trained networks: what is planted is found where it is; healthy ones are left alone."""

import pytest
from planted import HEALTHY, PLANTS, healthy

from sheafcli.diagnostics.findings import examine


@pytest.mark.parametrize("part", ["test", "train"])
@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_network_has_no_finding_above_info(name, part):
    found = [finding for finding in examine(healthy(name).examined(part)) if finding.severity != "info"]
    assert found == []


@pytest.mark.parametrize("name", PLANTS)
def test_what_is_planted_is_found_there_and_nothing_that_it_does_not_bring_about(name):
    plant = PLANTS[name]
    findings = examine(plant.sicken(healthy(plant.base)).examined(plant.part))
    expected = (plant.severity, plant.rule, plant.layer, plant.neurons)
    matches = [f for f in findings if (f.severity, f.rule, f.layer, f.neurons) == expected]
    assert len(matches) == 1, findings
    assert plant.told in matches[0].evidence
    grave = {finding.rule for finding in findings if finding.severity != "info"}
    assert grave <= {plant.rule, *plant.brings}, findings
