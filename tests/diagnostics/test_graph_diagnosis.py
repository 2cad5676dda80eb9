"""Diagnoses of networks that are no plain chains: the chain's own where it is one, sums, and plain words."""

import re
from dataclasses import replace

import numpy as np
import pytest
from graph_networks import images, residual_network, straight_network

from sheafcli.core.chain.network import Network
from sheafcli.core.network import GraphNetwork, as_inputs
from sheafcli.core.pinned import pinned
from sheafcli.diagnostics import examination
from sheafcli.diagnostics.examination import check_memory
from sheafcli.diagnostics.fault import edge_faults, fault_table
from sheafcli.diagnostics.findings import RULES, Examined, examine
from sheafcli.diagnostics.findings.neurons import always_active, dead_relu, duplicate_neurons, unread_neurons
from sheafcli.diagnostics.findings.reading import is_bottleneck, outgoing
from sheafcli.diagnostics.pinned import bytes_of_sample, diagnose
from sheafcli.errors import InputError


def vertex(network, name):
    return next(v for v in network.graph.vertices if v.name == name)


def with_weights(network, name, **fields):
    return GraphNetwork(network.graph.with_parameters({name: fields}), network.output)


def examined(network, X, y, **more):
    return Examined(network, X, y, diagnose(network, X, y), **more)


# Tables ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("output", ["identity", "softmax"])
def test_a_chain_told_as_a_graph_has_the_tables_of_the_chain(output):
    """So small a pull moves no neuron off its pattern: both equilibria are one, and the graph's is exact."""
    rng = np.random.default_rng(0)
    chain = Network.he([4, 6, 5, 3], output, seed=3)
    X = rng.normal(size=(400, 4))
    X = X[np.min(np.hstack(chain.pre_activations(X)[:-1]) ** 2, axis=1) > 1e-4]
    y = chain.predict(X) + 1e-5 * rng.normal(size=(len(X), 3))
    y = y / y.sum(axis=1, keepdims=True) if output == "softmax" else y
    one, other = diagnose(chain, X, y), diagnose(GraphNetwork(chain.graph, chain.output), X, y)
    for name in ("edges", "layers", "operations"):
        left, right = getattr(one, name), getattr(other, name)
        assert list(left) == list(right)
        numbers = left.select_dtypes("number").columns
        np.testing.assert_allclose(left[numbers], right[numbers], rtol=1e-4, atol=1e-30)
        assert left.drop(columns=numbers).equals(right.drop(columns=numbers))
    assert list(one.neurons) == list(other.neurons)
    np.testing.assert_allclose(one.neurons["discord"], other.neurons["discord"], rtol=1e-4, atol=1e-30)
    np.testing.assert_array_equal(one.neurons["active"], other.neurons["active"])
    assert set(other.samples) - set(one.samples) == {"leaving"}


def test_units_are_channels_and_sum_to_their_edges():
    network, (X, y) = residual_network(), images()
    found = diagnose(network, X, y)
    assert found.unsettled == []
    units = found.neurons.groupby("edge", sort=False)["discord"].agg(["sum", "size"])
    assert units["size"].to_dict() == {
        **dict.fromkeys(("conv_1", "relu_1", "conv_2", "norm_2", "relu_2", "conv_3", "relu_3", "pool"), 3),
        "dense": 3,
        "output": 3,
    }
    np.testing.assert_allclose(units["sum"], found.edges.set_index("edge")["discord"], rtol=1e-9)
    settled = pinned(network.graph, network.output, as_inputs(network, X), y)
    edge = vertex(network, "conv_2").edge
    channel = found.neurons[(found.neurons["edge"] == "conv_2") & (found.neurons["neuron"] == 1)]
    assert channel["discord"].item() == pytest.approx(settled.units[edge][1].sum(), rel=1e-9)


def test_operations_are_those_that_occur_and_layers_are_in_order():
    found = diagnose(residual_network(), *images())
    assert found.operations["operation"].tolist() == ["affine", "activation", "pool", "output"]
    assert found.layers["layer"].tolist() == [1, 2, 3, 4]
    for table in (found.edges, found.layers, found.operations):
        assert table["share"].sum() == pytest.approx(1.0)
    assert found.edges["resistance"].sum() == pytest.approx(1.0)
    assert found.samples["leaving"].between(0.0, 1.0).all()


def test_the_share_of_active_places_is_that_of_the_forward_pass():
    network, (X, y) = residual_network(), images()
    conv = vertex(network, "conv_1").operation
    z = conv.forward(as_inputs(network, X))
    table = diagnose(network, X, y).neurons.set_index(["edge", "neuron"])["active"]
    for channel in range(3):
        share = np.mean(z[:, channel] >= 0.0)
        assert table["conv_1", channel] == pytest.approx(share)
        assert table["relu_1", channel] == pytest.approx(share)
    # What the sum hands to relu_3 is no edge's value alone, and dense is read by no activation.
    assert table["conv_3"].isna().all()
    assert table["dense"].isna().all()


# Faults ------------------------------------------------------------------------------------------


def test_every_edge_with_parameters_is_asked_and_a_layer_has_its_likeliest():
    network, (X, y) = residual_network(), images()
    edges, layers = edge_faults(network, X, y), fault_table(network, X, y)
    assert edges["edge"].tolist() == ["conv_1", "conv_2", "norm_2", "conv_3", "dense"]
    best = edges.groupby("layer")["evidence"].max()
    np.testing.assert_allclose(layers.set_index("layer")["evidence"], best)
    parts = edges.set_index("edge")["evidence"][layers["part"].to_numpy()]
    np.testing.assert_allclose(parts, layers["evidence"])
    assert 0.0 < layers["blame"].sum() < 1.0


def test_a_network_too_large_for_the_machine_is_said_before(monkeypatch):
    network = residual_network()
    monkeypatch.setattr(examination, "total_memory", lambda: bytes_of_sample(network.graph) - 1)
    with pytest.raises(InputError, match="GB"):
        check_memory(network)
    monkeypatch.setattr(examination, "total_memory", lambda: bytes_of_sample(network.graph))
    check_memory(network)


# Who reads whom ----------------------------------------------------------------------------------


def test_weights_that_read_a_channel_are_counted_through_pooling_and_flattening():
    network = straight_network()
    conv, dense = vertex(network, "conv_2").operation.weight, vertex(network, "dense").operation.weight
    first = [np.linalg.norm(conv[:, c]) for c in range(4)]
    np.testing.assert_allclose(outgoing(network.graph, vertex(network, "relu_1")), first)
    # 2 channels of 3 x 3 were pooled to 1 x 1 each: a column of the dense layer reads each.
    assert vertex(network, "pool").shape == (2, 1, 1)
    second = np.linalg.norm(dense, axis=0)
    np.testing.assert_allclose(outgoing(network.graph, vertex(network, "relu_2")), second)


def test_what_a_sum_reads_is_not_told_by_weights():
    network = residual_network()
    assert outgoing(network.graph, vertex(network, "relu_1")) is None
    assert outgoing(network.graph, vertex(network, "relu_2")) is not None


def test_a_branch_is_no_bottleneck():
    network = residual_network()
    told = {v.name: is_bottleneck(network.graph, v) for v in network.graph.vertices[1:]}
    assert [name for name, needed in told.items() if not needed] == ["conv_2", "norm_2", "relu_2", "conv_3"]


# Rules -------------------------------------------------------------------------------------------


def test_a_dead_trunk_is_an_error_and_a_dead_branch_is_none():
    X, y = images()
    trunk = with_weights(residual_network(), "conv_1", bias=np.full(3, -1e3))
    (finding,) = [f for f in dead_relu(examined(trunk, X, y)) if f.evidence.startswith("relu_1")]
    assert finding.severity == "error"
    assert "3 of 3 channels are never active" in finding.evidence
    branch = with_weights(residual_network(), "conv_2", bias=np.full(3, -1e3))
    (finding,) = dead_relu(replace(examined(branch, X, y)))
    assert finding.neurons == (0, 1, 2)
    assert "nothing reaches the output" not in finding.advice
    # The skip leads on: predictions still follow the input.
    assert np.ptp(branch.predict(X), axis=0).max() > 1e-3


def test_a_channel_that_repeats_another_can_be_merged_as_the_advice_says():
    network, (X, y) = straight_network(), images()
    conv, second = vertex(network, "conv_1").operation, vertex(network, "conv_2").operation
    weight, bias = conv.weight.copy(), conv.bias.copy()
    weight[3], bias[3] = 2.0 * weight[1], 2.0 * bias[1]
    network = with_weights(network, "conv_1", weight=weight, bias=bias)
    (finding,) = duplicate_neurons(examined(network, X, y))
    assert finding.neurons == (1, 3)
    assert "channel" in finding.evidence
    merged = second.weight.copy()
    merged[:, 1] += 2.0 * merged[:, 3]
    merged[:, 3] = 0.0
    np.testing.assert_allclose(
        with_weights(network, "conv_2", weight=merged).predict(X), network.predict(X), rtol=1e-9
    )


def test_channels_of_a_residual_stream_are_never_called_mergeable_or_unread():
    network, (X, y) = residual_network(), images()
    weight = vertex(network, "conv_1").operation.weight.copy()
    weight[1] = weight[0]
    bias = np.zeros(3)
    case = examined(with_weights(network, "conv_1", weight=weight, bias=bias), X, y)
    assert not [*duplicate_neurons(case)]
    assert not [f for f in unread_neurons(case) if f.evidence.startswith("relu_1")]


def test_a_channel_that_no_weight_reads_is_told():
    network, (X, y) = straight_network(), images()
    weight = vertex(network, "conv_2").operation.weight.copy()
    weight[:, 2] = 0.0
    (finding,) = unread_neurons(examined(with_weights(network, "conv_2", weight=weight), X, y))
    assert (finding.neurons, finding.severity) == ((2,), "warning")
    assert finding.evidence.startswith("relu_1: 1 of 4 channels is read by nothing")


def test_an_activation_that_never_bends_is_told_by_name():
    network, (X, y) = straight_network(), images()
    case = examined(with_weights(network, "conv_1", bias=np.full(4, 1e3)), X, y)
    finding = next(f for f in always_active(case) if f.evidence.startswith("relu_1"))
    assert finding.neurons == (0, 1, 2, 3)


@pytest.mark.parametrize("make", [residual_network, straight_network])
def test_no_rule_speaks_of_what_a_graph_has_not(make):
    """No W1, no z1 or a1, no layer by number where only names tell edges apart."""
    network, (X, y) = make(), images()
    case = examined(network, X, y, other=images(80, seed=2), features=tuple(f"pixel_{i}" for i in range(36)))
    case = replace(case, fault=fault_table(network, *case.taught), start=make(seed=5))
    for finding in examine(case):
        assert not re.search(r"\b[WRza]\d\b|\blayer \d+ \(|hidden layer", finding.evidence + finding.advice)


def test_every_rule_takes_a_graph():
    network, (X, y) = residual_network(output="identity"), images()
    case = examined(network, X, y, other=images(80, seed=2))
    for rule in RULES:
        list(rule(case))
