"""Where another run differs: against examples by hand, and against what must hold on every graph."""

import numpy as np
import pytest
from graphs import ACTIVATIONS, graphs
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import seeds

from sheafcli.core.difference import difference
from sheafcli.core.graph import Graph, Node
from sheafcli.core.operations import Add, Dense, ReLU, Scale
from sheafcli.core.rounding import PRECISIONS, inferred_precision
from sheafcli.core.sweep import forward, output


def values(graph, X):
    return {step.vertex.name: step.value for step in forward(graph, X)}


def two_layers(bias=0.0, slope=1.0):
    return Graph.path(
        (2,),
        {
            "first": Dense(slope * np.array([[1.0, 2.0], [0.0, -1.0]]), np.array([bias, 0.0])),
            "relu": ReLU(),
            "last": Dense(np.array([[3.0, 5.0]]), np.zeros(1)),
        },
    )


def disturbed(graph, X, rng, some=1.0):
    """Return values near those of the graph, of about so many of its vertices and of the last."""
    near = {name: value + 0.1 * rng.normal(size=value.shape) for name, value in values(graph, X).items()}
    return {name: value for name, value in near.items() if rng.random() < some or name == graph.output.name}


def test_a_bias_by_hand():
    X = np.array([[1.0, 1.0], [2.0, 0.0]])
    found = difference(two_layers(), X, values(two_layers(bias=-1.0), X))
    first, relu, last = found.operations
    assert first.residual.tolist() == [[1.0, 0.0], [1.0, 0.0]]
    assert (first.mean_square, first.largest, first.share) == (0.5, 1.0, 1.0)
    assert not np.any(relu.residual)
    assert not np.any(last.residual)
    assert found.output.tolist() == [[3.0], [3.0]]
    assert [local.is_significant for local in found.operations] == [True, False, False]


def test_two_differences_share_what_they_do():
    X = np.array([[1.0, 1.0]])  # the output is 9; with 1 less in the first layer 6, then 2 less: 4
    other = values(two_layers(bias=-1.0), X)
    other["last"] = other["last"] - 2.0
    assert [local.share for local in difference(two_layers(), X, other).operations] == pytest.approx(
        [0.6, 0, 0.4]
    )


def test_a_kink_counts_in_full():
    """A bias of -5 moves the output by 9, not by the 15 that the slope says."""
    X = np.array([[1.0, 1.0]])
    other = values(two_layers(bias=-5.0), X)
    exact = difference(two_layers(), X, other)
    assert exact.output.item() == 9.0
    assert exact.operations[0].share == 1.0
    assert exact.is_exact


def test_where_a_vertex_is_not_recorded_the_segment_differs():
    X = np.random.default_rng(0).normal(size=(5, 2))
    other = values(two_layers(slope=2.0), X)
    del other["first"]
    relu, last = difference(two_layers(), X, other).operations
    assert relu.is_significant
    assert relu.residual == pytest.approx(values(two_layers(), X)["relu"] - other["relu"])
    assert not last.is_significant


@given(graphs(), seeds, st.sampled_from([1.0, 0.5]))
@settings(max_examples=60, deadline=None)
def test_effects_of_hybrid_runs_sum_to_the_output_difference(graph, seed, some):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(3, *graph.input_shape))
    other = disturbed(graph, X, rng, some)
    found = difference(graph, X, other)
    assert sum(local.share for local in found.operations) == pytest.approx(1.0, abs=1e-9)
    assert found.output == pytest.approx(output(graph, X) - other[graph.output.name])


@given(graphs(activations=(Scale(np.array(0.7)),), products=False), seeds)
@settings(max_examples=40, deadline=None)
def test_shares_of_first_order_are_exact_to_it(graph, seed):
    """Of small differences both kinds of shares are the same."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(2, *graph.input_shape))
    other = {name: value + 1e-7 * rng.normal(size=value.shape) for name, value in values(graph, X).items()}
    exact, first = (difference(graph, X, other, "float64", most_hybrids=most) for most in (100, 0))
    assert (exact.is_exact, first.is_exact) == (True, False)
    shares = [[local.share for local in found.operations] for found in (exact, first)]
    assert shares[1] == pytest.approx(shares[0], abs=1e-4)


@given(graphs(), seeds, st.sampled_from([1.0, 0.5]))
@settings(max_examples=80, deadline=None)
def test_single_precision_is_within_rounding(graph, seed, some):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(4, *graph.input_shape)).astype(np.float32)
    other = values(graph, X)
    kept = {name: value for name, value in other.items() if rng.random() < some or name == graph.output.name}
    found = difference(graph, X, kept, "float32")
    assert [local.vertex.name for local in found.operations if local.is_significant] == []


@given(graphs(), seeds)
@settings(max_examples=40, deadline=None)
def test_a_difference_beyond_rounding_is_significant_at_its_vertex_alone(graph, seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(4, *graph.input_shape))
    name = graph.edges[rng.integers(len(graph.edges))].name
    held, other = {}, {}
    for step in forward(graph, X, held):
        value = step.value
        if step.vertex.name == name:
            value = value + 1e-3 * (1.0 + np.abs(value))
            held[step.vertex.index] = value
        other[step.vertex.name] = value
    found = difference(graph, X, other, "float32")
    assert [local.vertex.name for local in found.operations if local.is_significant] == [name]


@pytest.mark.parametrize("name", ["bfloat16", "float16", "float32", "float64", "int8"])
def test_the_precision_is_inferred(name):
    rng = np.random.default_rng(0)
    value = rng.normal(size=(50, 40))
    if name == "int8":
        value = np.rint(value * 30.0) / 30.0
    elif name == "bfloat16":
        value = (value.astype(np.float32).view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    else:
        value = value.astype(name)
    assert inferred_precision({"a": value, "b": value[:30], "c": rng.normal(size=(50, 40))}).name == name


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_short_precisions_have_their_own_rounding(name):
    """A run rounded after each operation is within its own rounding, and not within float32's."""
    rng = np.random.default_rng(1)
    graph, held, other = two_layers(), {}, {}
    X = rng.normal(size=(50, 2))
    for step in forward(graph, X, held):
        value = step.value.astype(np.float32)
        if name == "bfloat16":
            value = ((value.view(np.uint32) + np.uint32(0x8000)) & np.uint32(0xFFFF0000)).view(np.float32)
        else:
            value = value.astype(np.float16)
        held[step.vertex.index] = value.astype(np.float64)
        other[step.vertex.name] = value
    assert difference(graph, X, other).precision == PRECISIONS[name]
    assert not any(local.is_significant for local in difference(graph, X, other).operations)
    assert any(local.is_significant for local in difference(graph, X, other, "float32").operations)


@pytest.mark.parametrize(
    ("recorded", "says"),
    [
        ({}, "no vertex"),
        ({"other": np.ones((2, 2))}, "no vertex other"),
        ({"first": np.ones((2, 3))}, "first must be samples x stalk"),
        ({"first": np.ones((3, 2))}, "first must be samples x stalk"),
        (
            {"first": np.ones((2, 2)), "relu": np.array([[1.0, 1.0], [np.nan, 1.0]])},
            "relu is the first.*sample 1",
        ),
    ],
)
def test_what_does_not_fit_is_refused(recorded, says):
    with pytest.raises(ValueError, match=says):
        difference(two_layers(), np.ones((2, 2)), recorded)


def test_activations_are_named_by_their_own_vertex_in_a_graph_that_joins():
    nodes = (
        Node("left", Dense(np.eye(2)), ("x",)),
        Node("right", ACTIVATIONS[0], ("x",)),
        Node("sum", Add(), ("left", "right")),
        Node("end", Dense(np.ones((1, 2))), ("sum",)),
    )
    graph, X = Graph((2,), nodes), np.random.default_rng(0).normal(size=(6, 2))
    other = values(Graph((2,), (Node("left", Dense(2.0 * np.eye(2)), ("x",)), *nodes[1:])), X)
    found = difference(graph, X, other)
    assert [local.vertex.name for local in found.operations if local.is_significant] == ["left"]
    assert found.operations[0].share == pytest.approx(1.0)
