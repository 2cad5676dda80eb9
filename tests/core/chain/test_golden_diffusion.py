"""The heat equation on fixed weights against arrays of the reference implementation."""

import numpy as np
import pytest
from oracles import assert_golden, assert_golden_discord, golden, golden_names, golden_network

from sheafcli.core.chain.cochain import Cochain
from sheafcli.core.chain.diffusion import HeatEquation
from sheafcli.core.chain.extension import extend
from sheafcli.core.discord import discord, residuals
from sheafcli.core.integrators import Euler
from sheafcli.core.pins import Pin


def pins_of(arrays):
    """Read the `hard` rows (0 z | 1 a, layer, coordinate, value) and `soft` rows (and gamma)."""
    rows = [*arrays.get("hard", []), *arrays.get("soft", [])]
    return [Pin(f"{'za'[int(row[0])]}{int(row[1])}", int(row[2]), *row[3:]) for row in rows]


@pytest.mark.parametrize("name", golden_names("diffuse"))
def test_heat_equation_matches_the_reference(name):
    arrays = golden(name)
    network = golden_network(arrays)
    start = {
        key.removeprefix("start_").replace("a_out", "y"): arrays[key]
        for key in arrays
        if key.startswith("start_")
    }
    cochain = Cochain.from_stalks(network.widths, start, output_vertex=network.has_output_vertex)
    equation = HeatEquation(
        network,
        arrays["X"],
        cochain,
        target=arrays.get("Y"),
        pins=pins_of(arrays),
        output_force=str(arrays["output_force"]),
        alpha=float(arrays["alpha"]),
    )
    steps = Euler(float(arrays["dt"])).steps(equation)
    taken = compared = 0
    for step in arrays["steps"]:
        while taken < step:
            next(steps)
            taken += 1
        found = {stalk.replace("y", "a_out"): view for stalk, view in cochain.stalks().items()}
        discords = {
            f"discord_{edge.name.replace('_', '')}": value
            for edge, value in discord(residuals(network, arrays["X"], cochain)).items()
        }
        scale = max(np.max(np.abs(view)) for view in found.values())
        for key, value in {**found, **discords}.items():
            check = assert_golden_discord if key in discords else assert_golden
            check(value, arrays[f"step{step}_{key}"], scale, f"step{step}_{key}")
            compared += 1
    assert compared == sum(key.startswith("step") and key != "steps" for key in arrays)


@pytest.mark.parametrize("name", golden_names("diffuse"))
def test_forward_pass_matches_the_reference(name):
    arrays = golden(name)
    assert_golden(golden_network(arrays).predict(arrays["X"]), arrays["forward"], 1.0, name)


def test_pinned_discord_matches_the_reference():
    arrays = golden("pinned_paraboloid_sgd")
    network = golden_network(arrays)
    settled = extend(network, arrays["X"], target=arrays["Y"])
    assert bool(arrays["converged"])
    assert settled.converged.all()
    for edge, value in discord(residuals(network, arrays["X"], settled.cochain)).items():
        assert value == pytest.approx(float(arrays[f"discord_{edge.name.replace('_', '')}"]), rel=1e-6)
    for stalk, view in settled.cochain.stalks().items():
        np.testing.assert_allclose(view, arrays[f"end_{stalk}"], rtol=0, atol=1e-6)
