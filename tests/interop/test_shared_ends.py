"""Values at the ends of what one of two runs has fused: against the fusing done by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sheafcli.core.difference import values_of
from sheafcli.core.graph import Graph
from sheafcli.core.operations import BatchNormalization, Convolution, Dense, Flatten, ReLU
from sheafcli.interop.shared_ends import at_shared_ends


def network(rng):
    path = {
        "conv": Convolution(rng.normal(size=(3, 1, 2, 2)), rng.normal(size=3)),
        "norm": BatchNormalization(*rng.normal(size=(3, 3)), rng.uniform(0.2, 3.0, 3)),
        "relu": ReLU(),
        "flat": Flatten(),
        "end": Dense(rng.normal(size=(2, 12)), rng.normal(size=2)),
    }
    return Graph.path((1, 3, 3), path)


@given(st.integers(0, 2**32 - 1), st.sampled_from(["norm", "relu"]))
@settings(max_examples=40, deadline=None)
def test_what_is_fused_is_named_by_its_first_and_matched_at_its_last(seed, last):
    rng = np.random.default_rng(seed)
    graph = network(rng)
    X = rng.normal(size=(5, 1, 3, 3))
    own = values_of(graph, X)
    fused = {name: value for name, value in own.items() if name not in ("conv", "norm", "relu")}
    recorded = {"conv": own[last] * (1.0 + 1e-6 * rng.normal(size=own[last].shape)), **fused}
    values, moved = at_shared_ends(graph, X, recorded, recorded)
    assert moved == {last: "conv"}
    assert values[last] is recorded["conv"]
    assert "conv" not in values


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_what_is_all_recorded_stays_where_it_is(seed):
    rng = np.random.default_rng(seed)
    graph = network(rng)
    X = rng.normal(size=(5, 1, 3, 3))
    recorded = {
        name: value + 0.3 * rng.normal(size=value.shape) for name, value in values_of(graph, X).items()
    }
    values, moved = at_shared_ends(graph, X, recorded, recorded)
    assert moved == {}
    assert values == recorded


def test_a_layer_at_fault_is_not_taken_for_what_follows_it():
    """The convolution of the other run is another, and the normalisation was not recorded."""
    rng = np.random.default_rng(0)
    graph = network(rng)
    X = rng.normal(size=(5, 1, 3, 3))
    own = values_of(graph, X)
    recorded = {"conv": own["conv"][:, ::-1] * 3.0, "end": own["end"]}
    assert at_shared_ends(graph, X, recorded, recorded)[1] == {}


def test_what_is_read_rounded_is_not_taken_for_what_it_was_before():
    """The file has both under one name; the value before rounding is nearer to what the network computes."""
    graph = network(np.random.default_rng(2))
    X = np.random.default_rng(3).normal(size=(5, 1, 3, 3))
    own = values_of(graph, X)
    recorded = own | {"conv": np.rint(4.0 * own["conv"]) / 4.0}
    values, moved = at_shared_ends(
        graph, X, recorded, own | {"conv_DequantizeLinear_Output": recorded["conv"]}
    )
    assert moved == {}
    assert values["conv"] is recorded["conv"]


def test_a_normalisation_that_the_network_has_folded_in_is_found_behind_its_layer():
    rng = np.random.default_rng(1)
    graph = network(rng)
    X = rng.normal(size=(5, 1, 3, 3))
    own = values_of(graph, X)
    conv, norm = (node.operation for node in graph.nodes[:2])
    slope = norm.factor / np.sqrt(norm.variance + norm.epsilon)
    folded = Convolution(
        conv.weight * slope[:, None, None, None], (conv.bias - norm.mean) * slope + norm.offset
    )
    here = Graph.path(
        (1, 3, 3),
        {"conv": folded} | {node.name: node.operation for node in graph.nodes[2:]},
    )
    recorded = {name: value for name, value in own.items() if name != "norm"}
    values, moved = at_shared_ends(here, X, recorded, own)
    assert moved == {"conv": "norm"}
    assert values["conv"] == pytest.approx(values_of(here, X)["conv"])
