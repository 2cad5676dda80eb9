"""Discord tables: identities between edges and neurons, the golden diagnosis, rows in path order."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheafcli.core.chain.cochain import Cochain
from sheafcli.core.chain.network import Network
from sheafcli.core.discord import residuals
from sheafcli.core.edge import affine_edge, output_edge
from sheafcli.diagnostics.discord import (
    class_table,
    discord_table,
    edge_table,
    layer_table,
    most_first,
    neuron_table,
    operation_table,
    sample_table,
    squared_residuals,
)
from sheafcli.diagnostics.pinned import diagnose
from sheafcli.interop.networks import read_network

GOLDEN = Path(__file__).parents[1] / "golden"


@st.composite
def cochains(draw):
    """Draw a network, inputs, and stalks that agree nowhere."""
    widths = [draw(st.integers(1, 4)) for _ in range(draw(st.integers(2, 5)))]
    output = draw(st.sampled_from(["identity", "sigmoid", "softmax"]))
    seed, n_samples = draw(st.integers(0, 1000)), draw(st.integers(1, 6))
    network = Network.he(widths, output, seed)
    X = np.random.default_rng(seed).normal(size=(n_samples, widths[0]))
    vertex = output != "identity"
    return network, X, Cochain.random(widths, n_samples, seed + 1, output_vertex=vertex)


@given(case=cochains())
def test_neurons_sum_to_their_edge_and_shares_to_one(case):
    edges, neurons = discord_table(*case), neuron_table(*case)
    by_edge = neurons.groupby("edge", sort=False)[["discord", "share"]].sum()
    np.testing.assert_allclose(by_edge["discord"], edges["discord"], rtol=1e-12)
    np.testing.assert_allclose(by_edge["share"], edges["share"], rtol=1e-12)
    assert edges["share"].sum() == pytest.approx(1.0)
    assert list(by_edge.index) == list(edges["edge"])
    assert (edges["max"] >= edges["median"]).all()
    # The mean square is the square of the mean plus the variance, of each sample's discord.
    assert (edges["discord"] <= edges["max"] * (1 + 1e-12)).all()


@given(case=cochains())
def test_rows_are_in_path_order_with_every_coordinate_once(case):
    network, X, cochain = case
    neurons = neuron_table(network, X, cochain)
    expected = []
    for layer, n in enumerate(network.widths[1:], start=1):
        hidden = layer <= network.depth
        last = ["output"] if cochain.y is not None else []
        for operation in ["affine", "activation"] if hidden else ["affine", *last]:
            name = operation if operation == "output" else f"{operation}_{layer}"
            expected += [(layer, operation, name, i) for i in range(n)]
    assert (
        list(neurons[["layer", "operation", "edge", "neuron"]].itertuples(index=False, name=None)) == expected
    )
    assert neurons["active"].isna().equals(neurons["layer"] > network.depth)
    assert neurons["active"].dropna().between(0.0, 1.0).all()


@given(case=cochains())
def test_layers_operations_and_samples_are_sums_of_the_same_residuals(case):
    """Sample by sample, so that their statistics are of the sums, not sums of statistics."""
    found = residuals(*case)
    squared = squared_residuals(found)
    for table, key in ((layer_table(squared), "layer"), (operation_table(squared), "operation")):
        groups = list(dict.fromkeys(getattr(edge, key) for edge in squared))
        assert table[key].tolist() == groups
        for group, row in zip(groups, table.itertuples(), strict=True):
            values = sum(np.linalg.norm(r, axis=1) ** 2 for e, r in found.items() if getattr(e, key) == group)
            expected = (values.mean(), values.std(), np.median(values), values.max())
            assert (row.discord, row.std, row.median, row.max) == pytest.approx(expected, rel=1e-9)
        assert table["share"].sum() == pytest.approx(1.0)
    samples = sample_table(squared)
    assert samples["sample"].tolist() == list(range(len(case[1])))
    by_edge = samples[[f"discord_{edge.name}" for edge in squared]]
    np.testing.assert_allclose(by_edge.mean().to_numpy(), edge_table(squared)["discord"], rtol=1e-12)
    assert (samples["worst_edge"] == by_edge.idxmax(axis=1).str.removeprefix("discord_")).all()
    total = by_edge.to_numpy().sum()
    np.testing.assert_allclose(samples["share"], by_edge.sum(axis=1) / total, rtol=1e-12)


def test_a_class_has_the_statistics_of_its_samples_and_none_without_any():
    squared = {affine_edge(1): np.array([1.0, 2.0, 5.0]), output_edge(1): np.array([1.0, 0.0, 1.0])}
    table = class_table(squared, np.array([2, 0, 2]), ("red", "green", "blue")).set_index("class")
    assert table["samples"].tolist() == [1, 0, 2]
    assert table.loc["red", ["discord", "std", "median", "max", "share"]].tolist() == [2, 0, 2, 2, 0.2]
    assert table.loc["blue", ["discord", "std", "median", "max", "share"]].tolist() == [4, 2, 4, 6, 0.8]
    assert table.loc["green", ["discord", "std", "median", "max"]].isna().all()
    assert table.loc["green", "share"] == 0.0


def test_the_forward_pass_has_no_discord_and_so_no_shares():
    network = Network.he([2, 4, 1], seed=0)
    network = Network(tuple(np.round(W) for W in network.weights), network.biases, network.output)
    X = np.arange(10.0).reshape(5, 2)  # whole numbers: no rounding error
    cochain = Cochain.forward(network, X)
    for table in (discord_table(network, X, cochain), neuron_table(network, X, cochain)):
        assert (table["discord"] == 0.0).all()
        assert (table["share"] == 0.0).all()


def test_one_coordinate_that_is_off_shows_on_the_edges_it_touches():
    network = Network(
        (np.array([[1.0], [2.0]]), np.array([[3.0, 5.0]])),
        (np.zeros(2), np.zeros(1)),
        Network.he([1, 1]).output,
    )
    cochain = Cochain.forward(network, np.ones((4, 1)))
    cochain.a[1][0, 1] += 0.5  # one sample of four, the second neuron
    edges = discord_table(network, np.ones((4, 1)), cochain).set_index("edge")
    assert edges["discord"].tolist() == [0.0, 0.25 / 4, (5 * 0.5) ** 2 / 4]
    assert edges["max"].tolist() == [0.0, 0.25, 6.25]
    assert edges["median"].tolist() == [0.0, 0.0, 0.0]
    assert edges["std"].tolist() == pytest.approx([0.0, 0.25 * np.sqrt(3) / 4, 6.25 * np.sqrt(3) / 4])
    assert edges["share"].tolist() == pytest.approx([0.0, 1 / 26, 25 / 26])
    neurons = neuron_table(network, np.ones((4, 1)), cochain)
    assert neurons["discord"].tolist() == [0.0, 0.0, 0.0, 0.25 / 4, 6.25 / 4]
    assert neurons["active"].fillna(-1).tolist() == [1.0, 1.0, 1.0, 1.0, -1.0]


@pytest.mark.parametrize(
    # Euler came to rest on the first; on the second it chatters at a kink, and is near.
    ("name", "tolerance"),
    [("pinned_paraboloid_sgd", 1e-6), ("pinned_circular_sgd", 1e-2)],
)
def test_the_diagnosis_of_the_reference_is_met(name, tolerance):
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        golden = dict(arrays)
    diagnosis = diagnose(read_network(GOLDEN / f"{name}.npz"), golden["X"], golden["Y"])
    assert diagnosis.unsettled == []
    for row in diagnosis.edges.itertuples():
        assert row.discord == pytest.approx(
            float(golden[f"discord_{row.edge.replace('_', '')}"]), rel=tolerance
        )


def test_samples_that_did_not_settle_are_named():
    with np.load(GOLDEN / "pinned_circular_sgd.npz") as arrays:
        X, y = arrays["X"], arrays["Y"]
    diagnosis = diagnose(read_network(GOLDEN / "pinned_circular_sgd.npz"), X, y)
    diagnosis.equilibrium.converged[[3, 17]] = False
    assert diagnosis.unsettled == [3, 17]


def test_rows_that_rounding_alone_tells_apart_stay_in_their_order():
    table = pd.DataFrame({"edge": list("abcd"), "discord": [1.0, 2.0 * (1.0 - 1e-9), 2.0, 2.001]})
    assert most_first(table)["edge"].tolist() == list("dbca")
