"""Folding changes no function, and takes whatever fits into a layer beside it."""

import numpy as np
import pytest

from sheafcli.core.graph import Graph, Node
from sheafcli.core.operations import Add, BatchNormalization, Convolution, Dense, ReLU, Scale
from sheafcli.core.sweep import output
from sheafcli.interop.folding import folded

RNG = np.random.default_rng(0)


def drawn(*shape):
    return RNG.normal(size=shape)


def norm(n):
    return BatchNormalization(drawn(n), drawn(n), drawn(n), RNG.uniform(0.5, 2.0, n), 1e-3)


PATHS = {
    "behind a convolution": (
        (4, 5, 5),
        [Convolution(drawn(6, 2, 3, 3), None, 1, 1, 1, 2), norm(6), ReLU()],
        1,
    ),
    "before a convolution": (
        (4, 5, 5),
        [ReLU(), norm(4), Convolution(drawn(6, 2, 3, 3), drawn(6), groups=2)],
        1,
    ),
    "before a padded one": ((4, 5, 5), [ReLU(), norm(4), Convolution(drawn(6, 4, 3, 3), padding=1)], 0),
    "a factor before a padded one": (
        (4, 5, 5),
        [ReLU(), Scale(drawn(4, 1, 1)), Convolution(drawn(6, 4, 3, 3), padding=1)],
        1,
    ),
    "around a dense layer": ((4,), [norm(4), Dense(drawn(3, 4), drawn(3)), Scale(drawn(3), drawn(3))], 2),
    "of tokens": ((5, 4), [ReLU(), Scale(None, drawn(4)), Dense(drawn(3, 4))], 1),
    "of places": ((4, 5, 5), [Convolution(drawn(6, 4, 3, 3)), Scale(drawn(6, 3, 3)), ReLU()], 0),
    "of one number": ((4, 5, 5), [Convolution(drawn(6, 4, 3, 3)), Scale(drawn(), drawn()), ReLU()], 1),
}


@pytest.mark.parametrize("name", PATHS)
def test_the_function_stays(name):
    shape, operations, count = PATHS[name]
    graph = Graph.path(shape, {f"v{i}": operation for i, operation in enumerate(operations)})
    other, names = folded(graph)
    assert len(names) == count == len(graph.edges) - len(other.edges)
    X = RNG.normal(size=(3, *shape))
    np.testing.assert_allclose(output(other, X), output(graph, X), rtol=1e-12, atol=1e-12)


def test_a_layer_that_others_read_too_is_left_alone():
    nodes = (
        Node("d", Dense(drawn(4, 4)), ("x",)),
        Node("s", Scale(drawn(4)), ("d",)),
        Node("r", ReLU(), ("s",)),
        Node("a", Add(), ("r", "d")),
    )
    assert folded(Graph((4,), nodes))[1] == ()
