"""Discord and energy of training stalks against plain sums."""

import numpy as np
import pytest
from oracles import Plain, problem

from sheafcli.core.chain.cochain import Cochain
from sheafcli.core.chain.network import Network
from sheafcli.core.discord import discord, residuals, training_discord, training_energy
from sheafcli.core.edge import affine_edge, edges, output_edge


def test_edges_in_path_order():
    network = Network.he([2, 4, 3, 1])
    names = ["affine_1", "activation_1", "affine_2", "activation_2", "affine_3", "output"]
    assert [edge.name for edge in edges(network.depth)] == names
    assert [edge.name for edge in edges(network.depth, output=False)] == names[:-1]
    assert [edge.layer for edge in edges(network.depth)] == [1, 1, 2, 2, 3, 3]
    assert [edge.name for edge in edges(0)] == ["affine_1", "output"]


def test_discord_by_hand():
    found = discord({affine_edge(1): np.array([[1.0, 2.0], [3.0, 0.0], [0.0, 0.0], [0.0, -1.0]])})
    assert found == {affine_edge(1): (5 + 9 + 0 + 1) / 4}


@pytest.mark.parametrize("output", ["identity", "sigmoid", "softmax"])
@pytest.mark.parametrize("hidden", [(), (4,), (4, 3)])
def test_residuals_discord_and_energy_of_training_stalks(output, hidden):
    network, X, y = problem(output, hidden)
    cochain = Cochain.random(network.widths, len(X), 3)
    r, s = Plain.of(network, cochain.stalks()).residuals(X)
    found = residuals(network, X, cochain)
    assert list(found) == edges(network.depth, output=False)
    for edge, residual in found.items():
        expected = (r if edge.operation == "affine" else s)[edge.layer - 1]
        np.testing.assert_allclose(residual, expected, rtol=0, atol=1e-13)
    z = cochain.z[network.depth + 1]
    p = network.output.value(z)
    output_discord = {
        "identity": lambda: np.mean(np.sum((z - y) ** 2, axis=1)),
        "sigmoid": lambda: -np.mean(np.sum(y * np.log(p) + (1 - y) * np.log(1 - p), axis=1)),
        "softmax": lambda: -np.mean(np.sum(y * np.log(p), axis=1)),
    }[output]()
    discords = training_discord(network, X, y, cochain)
    assert list(discords) == edges(network.depth)
    stalks = sum(np.sum(v**2) for v in [*r, *s]) / len(X)
    assert discords.pop(output_edge(network.depth + 1)) == pytest.approx(output_discord, rel=1e-12)
    assert sum(discords.values()) == pytest.approx(stalks, rel=1e-12)
    potential = output_discord / 2 if output == "identity" else output_discord
    assert training_energy(network, X, y, cochain) == pytest.approx(stalks / 2 + potential, rel=1e-12)


def test_the_output_edge_of_an_output_vertex():
    network, X, _ = problem("softmax")
    cochain = Cochain.random(network.widths, len(X), 3, output_vertex=True)
    found = residuals(network, X, cochain)
    assert list(found) == edges(network.depth)
    expected = network.output.value(cochain.stalks()["z3"]) - cochain.stalks()["y"]
    np.testing.assert_allclose(found[output_edge(3)], expected, rtol=0, atol=1e-14)
