"""Theorems on networks that are no plain chains: all hold, and what is wrong with a map shows."""

import numpy as np
import pytest
from graph_networks import images, residual_network, straight_network

from sheafcli.core.chain.network import Network
from sheafcli.core.graph import Graph
from sheafcli.core.network import GraphNetwork, as_inputs
from sheafcli.core.operations import GELU, Dense
from sheafcli.core.outputs import output_named
from sheafcli.core.theorems import Descent
from sheafcli.diagnostics import check
from sheafcli.diagnostics.verification import verify

ROWS = (
    "free coboundary",
    "|det",
    "L_Omega positive",
    "harmonic extension",
    "the forward pass is the one",
    "the flow decays",
    "a pin informs",
)


def smooth_network(activation):
    rng = np.random.default_rng(0)
    path = {"a": Dense(rng.normal(size=(5, 36)) / 6.0), "b": activation, "c": Dense(rng.normal(size=(2, 5)))}
    return GraphNetwork(Graph.path((36,), path), output_named("identity"))


@pytest.mark.parametrize("network", [residual_network(), straight_network(), smooth_network(GELU())])
def test_every_theorem_holds_on_a_graph(network):
    checks = verify(network, images(6)[0], seed=2)
    assert all(one.theorem.startswith(row) for one, row in zip(checks, ROWS, strict=True))
    assert all(one.holds for one in checks)


def test_what_was_sampled_is_said():
    checks = verify(residual_network(), images(6)[0])
    assert "64 of" in checks[0].theorem
    assert "drawn" in checks[2].theorem


@pytest.mark.parametrize(("force", "holds", "demand"), [(0.0, False, "<= 1e-6"), (1.0, True, "-")])
def test_rest_away_from_the_forward_pass_would_refute_it_and_a_stopped_descent_says_nothing(
    force, holds, demand, monkeypatch
):
    ended = Descent(energy=1.0, force=force, distance=1.0, steps=7)
    monkeypatch.setattr(check, "relaxes", lambda graph, X, seed: [ended for _ in X])
    network = straight_network()
    row = check.one_stationary_point(network.graph, as_inputs(network, images(2)[0]), 0)
    assert (row.holds, row.demand) == (holds, demand)


def test_a_chain_has_the_row_of_the_one_stationary_point():
    network = Network.he([3, 6, 5, 2], "softmax", seed=1)
    checks = verify(network, np.random.default_rng(0).normal(size=(5, 3)))
    row = next(one for one in checks if "one stationary point" in one.theorem)
    assert row.holds
    assert row.figure <= 1e-6
