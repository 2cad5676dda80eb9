"""Graphs: what they are made of, what their edges are called, and what they refuse."""

import numpy as np
import pytest

from sheafcli.core.edge import Edge
from sheafcli.core.graph import Constant, Graph, Node
from sheafcli.core.operations import Dense, Flatten, PReLU, ReLU, Scale, Sigmoid

ONE = np.ones


def chain():
    return Graph.path(
        (3,),
        {
            "affine_1": Dense(ONE((4, 3)), ONE(4)),
            "activation_1": ReLU(),
            "affine_2": Dense(ONE((2, 4))),
        },
    )


def test_a_chain_has_the_edges_of_the_paper():
    graph = chain()
    assert graph.edges == (
        Edge("affine_1", "affine", 1),
        Edge("activation_1", "activation", 1),
        Edge("affine_2", "affine", 2),
    )
    assert graph.output_edge == Edge("output", "output", 2)
    assert [vertex.shape for vertex in graph.vertices] == [(3,), (4,), (4,), (2,)]
    assert graph.dimension == 10
    assert list(graph.places.values()) == [slice(0, 4), slice(4, 8), slice(8, 10)]


def test_what_comes_before_the_first_weights_belongs_to_the_first_layer():
    graph = Graph.path((3,), {"standardise": Scale(ONE(3)), "dense": Dense(ONE((2, 3))), "end": Sigmoid()})
    assert [edge.layer for edge in graph.edges] == [1, 1, 1]


def test_parameters_are_read_and_changed_by_name():
    graph = Graph.path((3,), {"dense": Dense(ONE((2, 3)), ONE(2)), "prelu": PReLU(ONE(2))})
    assert {name: set(own) for name, own in graph.parameters.items()} == {
        "dense": {"weight", "bias"},
        "prelu": {"below"},
    }
    changed = graph.with_parameters({"dense": {"bias": np.zeros(2)}})
    np.testing.assert_array_equal(changed.parameters["dense"]["bias"], np.zeros(2))
    np.testing.assert_array_equal(graph.parameters["dense"]["bias"], ONE(2))
    with pytest.raises(ValueError, match="dense has no parameters nothing"):
        graph.with_parameters({"dense": {"nothing": np.zeros(2)}})


DENSE = Dense(ONE((3, 3)))


@pytest.mark.parametrize(
    ("nodes", "says"),
    [
        ([], "an input of a shape with entries and at least one operation"),
        ([Node("x", DENSE, ("x",))], "x names two vertices"),
        ([Node("a", DENSE, ("x",)), Node("a", DENSE, ("a",))], "a names two vertices"),
        ([Node("a", DENSE, ("b",)), Node("b", DENSE, ("a",))], "a reads b, which nothing before it makes"),
        ([Node("a", DENSE, ("a",))], "a reads a, which nothing before it makes"),
        (
            [Node("a", Dense(ONE((2, 4))), ("x",))],
            r"a \(Dense\) reads x of shape \(3,\): the last axis must have",
        ),
        ([Node("a", DENSE, ("x", "x"))], "a reads 2 values, which Dense does not"),
        ([Node("a", DENSE)], "a reads nothing"),
        ([Node("a", Flatten(), ("x",))], "a graph needs an operation that can give way"),
        ([Node("c", Constant(ONE(3)), ("x",))], "c is a constant and reads x"),
        ([Node("c", Constant(np.array([np.nan]))), Node("a", DENSE, ("c",))], "c must be finite"),
        (
            [Node("a", DENSE, ("x",)), Node("b", DENSE, ("x",))],
            "nothing reads a: leave out what the output, b",
        ),
        ([Node("c", Constant(ONE(3))), Node("b", DENSE, ("c",))], "nothing reads x: leave out"),
    ],
)
def test_what_is_no_graph(nodes, says):
    with pytest.raises(ValueError, match=says):
        Graph((3,), tuple(nodes))


def test_an_input_needs_entries():
    with pytest.raises(ValueError, match=r"got the shape \(0,\)"):
        Graph((0,), (Node("a", ReLU(), ("x",)),))
