"""What is written as ONNX, ONNX Runtime computes as the network does: operations, random graphs, layers."""

import math
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from graphs import graphs
from hypothesis import HealthCheck, given, settings

from sheafcli.config.architecture import build
from sheafcli.core import operations
from sheafcli.core.graph import Constant, Graph, Node
from sheafcli.core.network import GraphNetwork, network_of
from sheafcli.core.operations import Add, AveragePooling, Concatenate, Dense, Flatten, ReLU, Reshape, Slice
from sheafcli.core.outputs import OUTPUTS, output_named
from sheafcli.interop.onnx_export import WRITERS, graph_bytes, precision

sys.path.insert(0, str(Path(__file__).parents[1] / "core" / "operations"))
from operation_cases import CASES

# Beyond what single precision is right to, by what the operators of a small network add up to.
TOLERANCE = {np.dtype(np.float32): 2e-6, np.dtype(np.float64): 1e-12}


def run(network, X):
    """Return what ONNX Runtime makes of samples, which are in the file's precision."""
    content = graph_bytes(network)
    onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
    (found,) = onnxruntime.InferenceSession(content).run(None, {"input": X})
    return found


def assert_same(network, samples=3):
    dtype = precision(network)
    X = np.random.default_rng(5).normal(size=(samples, *network.input_shape)).astype(dtype)
    found, wanted = run(network, X), network.predict(X.astype(np.float64))
    assert found.dtype == dtype
    scale = max(1.0, float(np.max(np.abs(wanted))))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=TOLERANCE[dtype] * scale)


def network_with(operation, parents):
    """Return a network that cuts its input into the parents of an operation, and reads all of its value."""
    sizes = [math.prod(parent) for parent in parents]
    nodes, names, at = [], [], 0
    for i, (size, parent) in enumerate(zip(sizes, parents, strict=True)):
        nodes.append(Node(f"part{i}", Slice((slice(at, at + size),)), ("x",)))
        nodes.append(Node(f"parent{i}", Reshape(parent), (f"part{i}",)))
        names.append(f"parent{i}")
        at += size
    size = math.prod(operation.shape(*parents))
    weight = np.random.default_rng(3).normal(size=(2, size)) / np.sqrt(size)
    nodes += [Node("made", operation, tuple(names)), Node("flat", Flatten(), ("made",))]
    nodes.append(Node("dense", Dense(weight), ("flat",)))
    return GraphNetwork(Graph((sum(sizes),), tuple(nodes)), output_named("identity"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_operation(case):
    assert_same(network_with(case.operation, case.parents))


def test_every_operation_has_a_writer():
    assert {kind.__name__ for kind in WRITERS} == set(operations.__all__)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(graph=graphs())
def test_random_graphs(graph):
    network = network_of(graph, output_named("identity"))
    if isinstance(network, GraphNetwork):
        X = np.random.default_rng(5).normal(size=(2, *network.input_shape)).astype(precision(network))
        found, wanted = run(network, X), network.predict(X.astype(np.float64))
        # Values of products may be large on the way: single precision is right to their size.
        scale = max(1.0, float(np.max(np.abs(wanted))))
        tolerance = 1e-9 if X.dtype == np.float64 else 1e-2
        np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("output", OUTPUTS)
def test_outputs_and_any_number_of_samples(output):
    layers = [
        {"conv": {"channels": 4, "kernel": 3, "padding": "same"}},
        "batch_norm",
        {"residual": ["relu", {"conv": {"channels": 6, "kernel": 3, "stride": 2, "padding": "same"}}]},
        {"concat": [[], [{"average_pool": {"kernel": 3, "stride": 1, "padding": "same"}}]]},
        "global_average_pool",
    ]
    network = build(layers, (2, 8, 8), 1 if output == "sigmoid" else 3, output, 0)
    for samples in (1, 5):
        assert_same(network, samples)


def test_constants_are_the_same_for_all_samples():
    value = np.arange(6.0).reshape(2, 3)
    nodes = (
        Node("c", Constant(value)),
        Node("sum", Add(), ("x", "c")),
        Node("both", Concatenate(-1), ("sum", "c")),
        Node("flat", Flatten(), ("both",)),
        Node("dense", Dense(np.random.default_rng(0).normal(size=(2, 12))), ("flat",)),
    )
    assert_same(GraphNetwork(Graph((2, 3), nodes), output_named("softmax")), samples=4)


def test_vertices_may_be_called_as_the_file_calls_its_input_and_output():
    nodes = (
        Node("input", ReLU(), ("x",)),
        Node("output", Dense(np.ones((2, 3))), ("input",)),
    )
    assert_same(GraphNetwork(Graph((3,), nodes), output_named("softmax")))


def test_what_onnx_has_not_is_refused_by_name():
    network = network_with(AveragePooling((2, 2), dilation=2), ((1, 5, 5),))
    with pytest.raises(ValueError, match="made: average pooling with a dilation"):
        graph_bytes(network)
