"""What kind of difference an operation has: each kind planted by hand, and told from single precision."""

from dataclasses import replace

import numpy as np
import pytest

from sheafcli.core.difference import values_of
from sheafcli.core.graph import Graph
from sheafcli.core.network import network_of
from sheafcli.core.operations import (
    BatchNormalization,
    Clip,
    Convolution,
    Dense,
    Flatten,
    Identity,
    ReLU,
    Scale,
)
from sheafcli.core.outputs import Identity as NoFunction
from sheafcli.core.sweep import forward
from sheafcli.diagnostics.difference import compare, diff

RNG = np.random.default_rng(0)
OPERATIONS = {
    "conv": Convolution(RNG.normal(size=(4, 4, 3, 3)), RNG.normal(size=4), padding=1),
    "norm": BatchNormalization(*RNG.normal(size=(3, 4)), RNG.uniform(0.05, 2.0, 4)),
    "relu": ReLU(),
    "flatten": Flatten(),
    "dense": Dense(RNG.normal(size=(64, 64)) / 8.0, RNG.normal(size=64)),
    "relu_2": ReLU(),
    "end": Dense(RNG.normal(size=(3, 64)) / 8.0, RNG.normal(size=3)),
}
CONV, NORM, DENSE = (OPERATIONS[name] for name in ("conv", "norm", "dense"))
X = RNG.normal(size=(150, 4, 4, 4))
ORDER = np.roll(np.arange(64), 5)


def network(**changes):
    return network_of(Graph.path((4, 4, 4), OPERATIONS | changes), NoFunction())


def flipped(W):
    W = W.copy()
    W[2, 3] *= -1.0
    return W


def eight_bits(W):
    step = np.max(np.abs(W)) / 127.0
    return np.rint(W / step) * step


PLANTED = [
    ("missing", "relu", Identity(), "its value is its input"),
    ("missing", "norm", Identity(), "its value is its input"),
    ("transposed", "dense", replace(DENSE, weight=DENSE.weight.T), "weights look transposed"),
    ("transposed", "conv", replace(CONV, weight=np.swapaxes(CONV.weight, 0, 1)), "weights look transposed"),
    ("transposed", "conv", replace(CONV, weight=np.swapaxes(CONV.weight, 2, 3)), "kernel looks transposed"),
    ("flipped", "conv", replace(CONV, weight=CONV.weight[:, :, ::-1, ::-1]), "kernel looks turned round"),
    ("permuted", "dense", replace(DENSE, weight=DENSE.weight[ORDER]), "the rows of its weights"),
    ("permuted", "dense", replace(DENSE, weight=DENSE.weight[ORDER], bias=DENSE.bias[ORDER]), "its outputs"),
    ("permuted", "dense", replace(DENSE, weight=DENSE.weight[:, ORDER]), "its inputs look permuted"),
    ("permuted", "conv", replace(CONV, weight=CONV.weight[:, [1, 2, 3, 0]]), "its inputs look permuted"),
    ("rounded", "dense", replace(DENSE, weight=eight_bits(DENSE.weight)), "rounded to 8 bits"),
    ("rounded", "conv", replace(CONV, weight=CONV.weight.astype(np.float16)), "rounded to float16"),
    ("epsilon", "norm", replace(NORM, epsilon=0.01), "0.01, not 1e-05"),
    ("one weight", "dense", replace(DENSE, weight=flipped(DENSE.weight)), "one weight looks changed: [2, 3]"),
    ("saturated", "conv", None, "it looks saturated, cut at -1 and 1"),
    ("bias", "dense", replace(DENSE, bias=None), "its bias looks left out"),
    ("bias", "dense", replace(DENSE, bias=DENSE.bias + 0.5), "its bias looks changed"),
    ("bias", "dense", replace(DENSE, bias=DENSE.bias + 0.5 * np.eye(64)[7]), "in channel 7 alone"),
    ("gain", "norm", replace(NORM, factor=1.5 * NORM.factor, offset=1.5 * NORM.offset), "(1.5 times)"),
    ("gain", "norm", replace(NORM, factor=[1.0, 2.0, 3.0, 4.0] * NORM.factor), "by channel"),
    ("weights", "dense", replace(DENSE, weight=DENSE.weight + RNG.normal(size=(64, 64))), "others"),
]


def planted(name, operation):
    """Return what a network with another operation computes in single precision; None cuts at -1 and 1."""
    if operation is not None:
        return values_of(network(**{name: operation}).graph, X.astype(np.float32))
    path = {}
    for key, own in OPERATIONS.items():
        path |= {f"{key}_": own, key: Clip(-1.0, 1.0)} if key == name else {key: own}
    values = values_of(Graph.path((4, 4, 4), path), X.astype(np.float32))
    return {key: value for key, value in values.items() if not key.endswith("_")}


@pytest.mark.parametrize(("kind", "name", "operation", "says"), PLANTED)
def test_the_kind_of_a_planted_difference_is_told(kind, name, operation, says):
    found = compare(network(), X, planted(name, operation))
    rows = found.significant
    assert rows["operation"].tolist() == [name]
    assert (rows["kind"].iloc[0], rows["share"].iloc[0]) == (kind, pytest.approx(1.0, abs=1e-3))
    assert says in rows["kind_says"].iloc[0]
    assert found.sentence.startswith(f"{name} alone explains 100% of the output difference: ")


def test_one_operation_in_fewer_bits_than_the_others_is_told():
    held, values = {}, {}
    for step in forward(network().graph, X.astype(np.float32), held):
        value = step.value
        if step.vertex.name == "dense":
            value = held[step.vertex.index] = value.astype(np.float16).astype(np.float32)
        values[step.vertex.name] = value
    rows = compare(network(), X, values).significant
    assert rows[["operation", "kind"]].to_numpy().tolist() == [["dense", "coarse"]]


def test_noise_has_no_kind():
    values = planted("relu", ReLU())
    values["end"] = values["end"] + np.random.default_rng(1).normal(size=values["end"].shape)
    assert compare(network(), X, values).significant["kind"].tolist() == ["unclear"]


def test_the_same_seen_from_both_sides():
    other = network(dense=replace(DENSE, weight=DENSE.weight.T))
    there, back = diff(network(), other, X), diff(other, network(), X)
    assert there.operations["reversed_share"].tolist() == pytest.approx(back.operations["share"].tolist())
    assert there.operations["share"].tolist() == pytest.approx(back.operations["reversed_share"].tolist())


def test_a_normalisation_that_was_folded_is_taken_for_its_layer():
    """A module records the convolution and the normalisation; the network has one layer for both."""
    slope = NORM.factor / np.sqrt(NORM.variance + NORM.epsilon)
    folded = replace(
        CONV,
        weight=CONV.weight * slope[:, None, None, None],
        bias=(CONV.bias - NORM.mean) * slope + NORM.offset,
    )
    path = {"conv": folded} | {name: own for name, own in OPERATIONS.items() if name not in ("conv", "norm")}
    other = network_of(Graph.path((4, 4, 4), path), NoFunction())
    with pytest.warns(UserWarning, match="norm is taken for conv"):
        found = diff(other, values_of(network().graph, X.astype(np.float32)), X)
    assert found.significant.empty


def test_what_leaves_the_output_alone_is_said():
    """A factor that the next layer takes away is a difference of both, and none at the output."""
    path = {"scale": Scale(np.array(1.0)), "end": Dense(np.ones((1, 3)))}
    net = network_of(Graph.path((3,), path), NoFunction())
    X = np.random.default_rng(0).normal(size=(5, 3))
    values = values_of(net.graph, X)
    found = compare(net, X, {"scale": 2.0 * values["scale"], "end": values["end"]}, "float32")
    assert "which the output does not show" in found.sentence
    assert found.significant["share"].tolist() == [0.0, 0.0]
