"""What a comparison leads with, and what it says: on runs whose differences are put in by hand."""

from dataclasses import replace

import numpy as np
import pytest

from sheafcli.core.difference import values_of
from sheafcli.core.graph import Graph
from sheafcli.core.network import network_of
from sheafcli.core.operations import Dense, ReLU, Tanh
from sheafcli.core.outputs import Identity, Sigmoid, Softmax
from sheafcli.core.sweep import forward
from sheafcli.diagnostics.difference import compare

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 12))
LAYERS = {
    "first": Dense(RNG.normal(size=(12, 12)) / 3.0, np.zeros(12)),
    "relu": ReLU(),
    "second": Dense(RNG.normal(size=(12, 12)) / 3.0, np.zeros(12)),
    "tanh": Tanh(),
    "last": Dense(RNG.normal(size=(3, 12)), np.zeros(3)),
}
NETWORK = network_of(Graph.path((12,), LAYERS), Identity())


def run(added, rounded=lambda x: x):
    """Return the values of a run in which some operations have something added to what they give."""
    held, values = {}, {}
    for step in forward(NETWORK.graph, X, held):
        name = step.vertex.name
        values[name] = held[step.vertex.index] = rounded(step.value + added.get(name, 0.0))
    return values


def to_steps(x):
    step = (max(x.max(), 0.0) - min(x.min(), 0.0)) / 255.0
    return np.rint(x / step) * step


def test_those_beyond_rounding_lead_by_their_shares():
    noise = RNG.normal(size=(64, 12))
    found = compare(NETWORK, X, run({"first": 1e-3 * noise, "second": 1e-1 * noise}), "float32")
    assert found.leading["operation"].tolist()[:2] == ["second", "first"]
    assert found.sentence.startswith("second alone explains ")
    assert found.sentence.endswith("; 2 of 5 operations differ beyond rounding")


def test_what_explains_the_difference_alone_leads_though_it_is_within_rounding():
    """In 8 bits, weights of two scales: what half a step of the larger comes to is most of the difference."""
    coarse = replace(LAYERS["second"], weight=LAYERS["second"].weight.copy())
    coarse.weight[0, 0] = 60.0
    here = network_of(Graph.path((12,), LAYERS | {"second": coarse}), Identity())
    step = 60.0 / 127.0
    there = replace(coarse, weight=np.rint(coarse.weight / step) * step)
    held, values = {}, {}
    for vertex in Graph.path((12,), LAYERS | {"second": there}).vertices[1:]:
        parent = X if vertex.index == 1 else held[vertex.index - 1]
        values[vertex.name] = held[vertex.index] = to_steps(vertex.operation.forward(parent))
    values["first"] = values["first"].copy()
    values["first"][3, 4] += 1.0
    found = compare(here, X, values, "int8")
    assert found.significant["operation"].tolist() == ["first"]
    assert found.leading["operation"].iloc[0] == "second"
    told = found.sentence
    assert told.startswith("second alone explains ")
    assert "within the rounding of int8; 1 of 4 others differ beyond it, first first: " in told


def test_where_all_is_rounding_nothing_is_said_of_shares():
    found = compare(NETWORK, X, values_of(NETWORK.graph, X.astype(np.float32)))
    assert found.sentence == "no operation differs beyond the rounding of float32"
    assert found.relative < 1e-5


def test_vertices_of_two_networks_go_by_place():
    other = {f"its_{name}": operation for name, operation in LAYERS.items()}
    other["its_last"] = replace(LAYERS["last"], bias=np.array([0.1, 0.0, 0.0]))
    there = network_of(Graph.path((12,), other), Identity())
    values = values_of(there.graph, X)
    by_place = {name.removeprefix("its_"): value for name, value in values.items()}
    found = compare(NETWORK, X, by_place, other=there)
    assert found.operations["reversed_share"].tolist() == pytest.approx([0.0, 0.0, 0.0, 0.0, 1.0])


@pytest.mark.parametrize(("output", "n"), [(Softmax(), 3), (Sigmoid(), 1), (Identity(), 3)])
def test_predictions_of_another_class_are_counted(output, n):
    """By the signs, or the largest, of logits before and after."""
    last = Dense(LAYERS["last"].weight[:n], np.zeros(n))
    here = network_of(Graph.path((12,), LAYERS | {"last": last}), output)
    there = network_of(
        Graph.path((12,), LAYERS | {"last": replace(last, bias=np.full(n, 1.0) * ([1] + [0] * (n - 1)))}),
        output,
    )
    a, b = here.logits(X), there.logits(X)
    if output.classifies:
        expected = np.sum((a > 0) != (b > 0)) if n == 1 else np.sum(a.argmax(axis=1) != b.argmax(axis=1))
        assert expected > 0
    else:
        expected = None
    assert compare(here, X, values_of(there.graph, X), other=there).changed == expected
