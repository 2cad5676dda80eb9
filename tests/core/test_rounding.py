"""What a run in few bits may err by: against runs that are rounded by hand, and steps that are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import seeds

from sheafcli.core.difference import difference
from sheafcli.core.graph import Graph
from sheafcli.core.operations import BatchNormalization, Convolution, Dense, Flatten, MaxPooling, ReLU
from sheafcli.core.rounding import Allowance, step_of
from sheafcli.core.sweep import forward


def network(rng, width=24):
    def dense(outputs):
        return Dense(rng.normal(size=(outputs, width)) * np.sqrt(2.0 / width), 0.1 * rng.normal(size=outputs))

    def norm():
        return BatchNormalization(*(1.0 + 0.2 * rng.normal(size=(3, width))), rng.uniform(0.1, 2.0, width))

    path = {}
    for i in (1, 2):
        path |= {f"fc{i}": dense(width), f"norm{i}": norm(), f"relu{i}": ReLU()}
    return Graph.path((width,), path | {"fc3": dense(5)})


def bfloat16(x):
    bits = np.asarray(x, dtype=np.float32).view(np.uint32)
    bits = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) & np.uint32(0xFFFF0000)
    return bits.view(np.float32).astype(np.float64)


def to_steps(x):
    low, high = min(x.min(), 0.0), max(x.max(), 0.0)
    step = (high - low) / 255.0
    zero = np.rint(-low / step)
    return (np.clip(np.rint(x / step) + zero, 0, 255) - zero) * step


def rounded(graph, X, value, weight):
    """Return the values of a run whose weights are rounded, and the value of every operation."""
    nodes = []
    for node in graph.nodes:
        operation = node.operation
        if isinstance(operation, Dense):
            operation = Dense(weight(operation.weight), operation.bias)
        nodes.append(type(node)(node.name, operation, node.parents))
    held, values = {}, {"x": value(X)}
    for step in forward(Graph(graph.input_shape, tuple(nodes)), values["x"], held):
        values[step.vertex.name] = held[step.vertex.index] = value(step.value)
    return values


def to_weights(W):
    step = np.max(np.abs(W)) / 127.0
    return np.rint(W / step) * step


RUNS = {"bfloat16": (bfloat16, bfloat16), "int8": (to_steps, to_weights)}


def significant(graph, X, values, name=None):
    there = difference(graph, X, values, name)
    return [local.vertex.name for local in there.operations if local.is_significant]


@pytest.mark.parametrize("name", RUNS)
@given(seeds)
@settings(max_examples=25, deadline=None)
def test_a_run_in_few_bits_is_within_its_rounding(name, seed):
    rng = np.random.default_rng(seed)
    graph = network(rng)
    X = rng.normal(size=(32, 24))
    assert significant(graph, X, rounded(graph, X, *RUNS[name]), name) == []


@pytest.mark.parametrize("name", RUNS)
@given(seeds, st.sampled_from(["fc1", "fc2", "fc3"]))
@settings(max_examples=25, deadline=None)
def test_a_shift_below_the_rounding_of_an_entry_tells_in_the_sum_over_a_channel(name, seed, place):
    """In 512 samples a shift counts by the root of their number, where rounding does not add up."""
    rng = np.random.default_rng(seed)
    graph = network(rng)
    X = np.abs(rng.normal(size=(512, 24)))
    value, weight = RUNS[name]
    size = 0.4 if name == "int8" else 0.2

    other = Graph(
        graph.input_shape,
        tuple(
            type(node)(
                node.name,
                Dense(node.operation.weight, node.operation.bias + size),
                node.parents,
            )
            if node.name == place
            else node
            for node in graph.nodes
        ),
    )
    there = difference(graph, X, rounded(other, X, value, weight), name)
    assert max(there.operations, key=lambda local: local.times).vertex.name == place


def test_layers_that_sum_in_half_precision_are_within_their_rounding_too():
    """Most layers are beyond what sums in float32 err by: then sums are taken to be of half precision."""
    rng = np.random.default_rng(3)
    graph = Graph.path(
        (400,),
        {f"fc{i}": Dense(rng.normal(size=(400, 400)) / 20.0, np.zeros(400)) for i in range(1, 4)},
    )
    X = np.abs(rng.normal(size=(4, 400))).astype(np.float16)
    x, values = X, {"x": X}
    for step in forward(graph, X.astype(np.float64)):
        W = step.vertex.operation.weight.astype(np.float16)
        total = np.zeros((4, 400), dtype=np.float16)
        for j in range(400):
            total += x[:, j : j + 1] * W[:, j]
        values[step.vertex.name] = x = total
    assert significant(graph, X, values, "float16") == []


@given(
    st.floats(1e-3, 1e3),
    st.integers(-200, 55),
    st.lists(st.integers(0, 255), min_size=17, max_size=60, unique=True),
)
@settings(max_examples=200, deadline=None)
def test_values_on_steps_lie_on_steps(size, first, levels):
    """What is found is a whole number of the steps that they were rounded to."""
    value = ((np.array(levels) + first) * size).astype(np.float32)
    step = step_of(value)
    assert step is not None
    assert step / size == pytest.approx(max(1, round(step / size)), rel=1e-3)


def test_steps_of_which_none_are_next_to_each_other():
    """Rounded to coarse steps, then to finer ones: gaps are two or three of the finer."""
    coarse = np.rint(np.linspace(0.0, 40.0, 300)) * 2.5
    assert step_of(np.rint(coarse)) == 1.0
    assert step_of(np.random.default_rng(0).normal(size=100)) is None
    assert step_of(np.ones((3, 4))) == 0.0


def test_what_is_not_recorded_may_cross_a_kink():
    """Only the activation of a layer is recorded: errors of the layer show where its value was below 0."""
    layer = Dense(np.array([[1.0, -1.0], [-1.0, 1.0]]))
    graph = Graph.path((2,), {"fc": layer, "relu": ReLU(), "end": Dense(np.ones((1, 2)))})
    X = np.array([[1.0, 1.0 + 1e-9], [1.0, 1.0]])
    for size, beyond in ((3e-8, []), (1e-3, ["relu"])):
        relu = np.array([[size, 0.0], [0.0, size]])
        values = {"relu": relu, "end": relu.sum(axis=1, keepdims=True)}
        assert significant(graph, X, values, "float32") == beyond


def test_another_entry_of_a_window_may_be_the_largest():
    """The largest entry here sums tiny terms; another one, just below it, errs by 1e-8 of a sum of 1."""
    kernel = np.zeros((1, 1, 1, 2))
    kernel[0, 0, 0] = 1.0, -1.0
    path = {"conv": Convolution(kernel, stride=(1, 2)), "pool": MaxPooling((1, 2)), "end": Flatten()}
    graph = Graph.path((1, 1, 4), path)
    X = np.array([[[[2e-9, 1e-9, 1.0, 1.0 + 1e-8]]]])
    for size, beyond in ((3e-8, []), (1e-3, ["end"])):
        assert significant(graph, X, {"end": np.array([[size]])}, "float32") == beyond


@pytest.mark.parametrize(("levels", "most"), [(16, 4.0), (1, 16.0), (4, 8.0)])
def test_sums_of_what_is_rounded_to_different_numbers_grow_by_the_root_of_these(levels, most):
    """Of 16 entries that err by 1 each: 4 in all on as many numbers, 16 on one, 4 times 2 on four."""
    recorded = np.repeat(np.arange(levels), 16 // levels)[:, None].astype(float)
    ones = np.ones((16, 1))
    allowance = Allowance(np.full((16, 1), 1e-12), ones, 5.0)
    assert allowance.times_in_sum(ones, ones, recorded, 1) == pytest.approx(16.0 / most)
    assert Allowance(ones, 0.0 * ones, 5.0).times_in_sum(ones, ones, recorded, 1) == pytest.approx(1.0)
