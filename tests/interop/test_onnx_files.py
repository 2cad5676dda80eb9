"""onnxruntime is the oracle: the network that is read predicts what the graph does."""

import numpy as np
import onnx
import onnxruntime
import pytest
from model_files import (
    assert_damage_is_refused_or_harmless,
    assert_same,
    biased,
    refusal,
    samples,
    written,
)
from onnx import TensorProto, helper, numpy_helper

from sheafcli.interop.models import read_model

RNG = np.random.default_rng(7)
CONSTANTS = {
    "A": RNG.normal(size=(4, 5)),
    "B": RNG.normal(size=(5, 3)),
    "a": RNG.normal(size=5),
    "b": RNG.normal(size=(1, 3)),
    "one": np.array([0.75]),
    "scalar": np.array(0.75),
    "gamma": RNG.normal(size=5),
    "beta": RNG.normal(size=5),
    "mean": RNG.normal(size=5),
    "variance": RNG.uniform(0.5, 2.0, size=5),
    "x_shift": RNG.normal(size=4),
    "wide": RNG.normal(size=(7, 4)),
    "square": RNG.normal(size=(4, 4)),
}
SHAPES = {
    "rows": np.array([0, -1]),
    "width_12": np.array([-1, 12]),
    "width_4": np.array([-1, 4]),
    "width_2": np.array([-1, 2]),
    "all": np.array([-1]),
    "true": np.array(True),
    "false": np.array(False),
    "ratio": np.array(0.5, np.float32),
    "integers": np.ones((4, 5), np.int64),
}


def node(op, *inputs, **attributes):
    """A node behind the one before it: the value that comes in is called x."""
    return op, inputs, attributes


def graph_of(nodes, shape=("N", 4), kind=np.float32, opset=17, outputs=1):
    """A chain of nodes as an ONNX model; only the constants that it uses stand in it."""
    made, at = [], "input"
    for place, (op, inputs, attributes) in enumerate(nodes):
        names = [at if name == "x" else name for name in inputs]
        at = f"v{place}"
        made.append(helper.make_node(op, names, [at], name=f"n{place}", **attributes))
    used = {name for _, inputs, _ in nodes for name in inputs}
    tensors = [
        numpy_helper.from_array(value.astype(kind), name) for name, value in CONSTANTS.items() if name in used
    ]
    tensors += [numpy_helper.from_array(value, name) for name, value in SHAPES.items() if name in used]
    element = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    graph = helper.make_graph(
        made,
        "test",
        [helper.make_tensor_value_info("input", element, shape)],
        [helper.make_tensor_value_info(name, element, None) for name in [at, "v0"][:outputs]],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def saved(path, model):
    path.write_bytes(model.SerializeToString())
    return path


def run(model, X):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"input": X})[0]


FIRST = node("Gemm", "x", "A", "a")
LAST = node("Gemm", "x", "B", "b")
NORM = node("BatchNormalization", "x", "gamma", "beta", "mean", "variance", epsilon=1e-3)
RELU = node("Relu", "x")

CHAINS = {
    "gemm": [FIRST, RELU, LAST],
    "transposed": [node("Gemm", "x", "wide", transB=1), RELU],
    "alpha and beta": [node("Gemm", "x", "A", "a", alpha=0.5, beta=-2.0), RELU, LAST],
    "bias of one number": [node("Gemm", "x", "A", "one"), RELU, node("Gemm", "x", "B", "scalar")],
    "no bias": [node("Gemm", "x", "A"), RELU, node("MatMul", "x", "B")],
    "matmul and add": [node("MatMul", "x", "A"), node("Add", "x", "a"), RELU, node("MatMul", "x", "B")],
    "add the other way": [node("MatMul", "x", "A"), node("Add", "a", "x"), RELU, node("MatMul", "x", "B")],
    "add twice": [FIRST, node("Add", "x", "a"), node("Add", "scalar", "x"), RELU, LAST],
    "add behind ReLU": [FIRST, RELU, node("Add", "x", "a"), LAST],
    "add first": [node("Add", "x", "x_shift"), FIRST],
    "add a number first": [node("Add", "x", "one"), FIRST],
    "norm before ReLU": [FIRST, NORM, RELU, LAST],
    "norm behind ReLU": [FIRST, RELU, NORM, LAST],
    "norm at the end": [FIRST, RELU, NORM],
    "sigmoid": [FIRST, RELU, LAST, node("Sigmoid", "x")],
    "softmax": [FIRST, RELU, LAST, node("Softmax", "x", axis=1)],
    "softmax by default": [FIRST, RELU, LAST, node("Softmax", "x")],
    "nothing done": [node("Identity", "x"), FIRST, node("Dropout", "x"), RELU, LAST, node("Identity", "x")],
    "dropout in inference": [FIRST, node("Dropout", "x", "ratio", "false"), RELU, LAST],
    "cast": [node("Cast", "x", to=TensorProto.FLOAT), FIRST, node("Cast", "x", to=TensorProto.FLOAT)],
    "flat already": [node("Flatten", "x", axis=1), FIRST, node("Reshape", "x", "rows"), RELU, LAST],
    "reshape to its width": [node("Reshape", "x", "width_4"), FIRST],
    "ReLU first": [RELU, FIRST],
    "linear twice": [FIRST, LAST],
}


SINCE_12 = ("no bias", "transposed", "dropout in inference")
"""Chains of operators with inputs that they do not have in older sets."""


@pytest.mark.parametrize("opset", [9, 12, 13, 17, 21])
@pytest.mark.parametrize("name", CHAINS)
def test_a_graph_predicts_what_onnxruntime_says(tmp_path, name, opset):
    if name in SINCE_12:
        opset = max(opset, 12)
    model = graph_of(CHAINS[name], opset=opset)
    X = samples(4)
    expected = run(model, X)
    found = read_model(saved(tmp_path / "model.onnx", model))
    np.testing.assert_allclose(
        found.network.predict(X), expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max()
    )
    assert found.format == "onnx"
    assert found.says_output == ("sigmoid" in name or "softmax" in name)


@pytest.mark.parametrize(
    "flat", [node("Flatten", "x"), node("Reshape", "x", "rows"), node("Reshape", "x", "width_4")]
)
def test_pictures_are_taken_flat(tmp_path, flat):
    model = graph_of([flat, FIRST, RELU, LAST], shape=("N", 1, 2, 2))
    X = samples(4)
    found = read_model(saved(tmp_path / "model.onnx", model))
    np.testing.assert_allclose(
        found.network.predict(X), run(model, X.reshape(-1, 1, 2, 2)), rtol=1e-5, atol=1e-5
    )
    assert any("stand flat" in note for note in found.notes)


def test_constants_may_be_nodes_and_transposed(tmp_path):
    weights = CONSTANTS["wide"][:5, :4].astype(np.float32)
    model = graph_of([node("MatMul", "x", "turned"), node("Add", "x", "shift"), RELU])
    made = [
        helper.make_node("Constant", [], ["W"], value=numpy_helper.from_array(weights)),
        helper.make_node("Transpose", ["W"], ["turned"], perm=[1, 0]),
        helper.make_node("Constant", [], ["shift"], value_floats=[1.0, 2.0, 3.0, 4.0, 5.0]),
    ]
    nodes = made + list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    X = samples(4)
    found = read_model(saved(tmp_path / "model.onnx", model))
    np.testing.assert_allclose(found.network.predict(X), run(model, X), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("output", ["identity", "sigmoid", "softmax"])
def test_what_is_written_is_read_by_onnxruntime_and_by_us(tmp_path, output):
    network = biased([4, 7, 5, 3], output)
    path = written(tmp_path / "model.onnx", network)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    X = samples(4).astype(np.float64)
    found = run(model, X)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, network.predict(X), rtol=1e-12, atol=1e-14)
    read = read_model(path)
    assert_same(read.network, network)
    assert read.says_output == (output != "identity")
    assert read.notes == ()


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([node("Conv", "x", "A")], "Conv 'n0' is an operator"),
        ([FIRST, node("Tanh", "x"), LAST], "Tanh 'n1' is an operator"),
        ([FIRST, node("LeakyRelu", "x")], "LeakyRelu 'n1'"),
        ([FIRST, node("ArgMax", "x")], "ArgMax 'n1'"),
        ([FIRST, node("ZipMap", "x", domain="ai.onnx.ml")], "ZipMap 'n1' of ai.onnx.ml"),
        ([FIRST, node("FusedGemm", "x", "B", domain="com.microsoft")], "FusedGemm 'n1' of com.microsoft"),
        ([FIRST, node("Sigmoid", "x"), LAST], "Sigmoid 'n1' stands before other layers"),
        ([FIRST, node("Softmax", "x", axis=0)], "goes over axis 0"),
        ([node("Gemm", "x", "A", transA=1)], "transA"),
        ([node("MatMul", "square", "x")], "constant on the left"),
        ([node("Gemm", "square", "x")], "as a parameter"),
        ([FIRST, node("Add", "x", "x")], "no chain"),
        ([FIRST, node("Add", "x", "A")], "adds an array of shape (4, 5)"),
        ([FIRST, node("Add", "x", "x_shift")], "adds 4 numbers to 5 features"),
        ([FIRST, node("Dropout", "x", "ratio", "true")], "training mode"),
        (
            [FIRST, node("BatchNormalization", "x", "gamma", "beta", "mean", "variance", training_mode=1)],
            "training mode",
        ),
        ([node("Flatten", "x", axis=0), FIRST], "flattens from axis 0"),
        ([node("Reshape", "x", "width_2")], "does more than flatten"),
        ([node("Reshape", "x", "all")], "does more than flatten"),
        ([node("Cast", "x", to=TensorProto.INT64), FIRST], "no floats"),
        ([node("Gemm", "x", "integers")], "weights of type int64"),
        ([node("Gemm", "x", "nowhere")], "'nowhere', which is not a constant"),
        ([node("Gemm", "x", "a")], "must be a matrix"),
        ([FIRST, FIRST], "takes 4 inputs"),
        ([node("Gemm", "x")], "lacks its input 1"),
        ([RELU], "no linear layer"),
        ([], "no linear layer"),
    ],
)
def test_what_is_no_chain_of_ours_is_named(tmp_path, nodes, words):
    assert words in refusal(saved(tmp_path / "model.onnx", graph_of(nodes)))


def test_axes_that_were_not_flattened_are_refused(tmp_path):
    assert "works on 3 axes" in refusal(saved(tmp_path / "model.onnx", graph_of([FIRST], shape=("N", 2, 4))))


def test_a_reshape_of_an_unknown_width_is_refused(tmp_path):
    model = graph_of([node("Reshape", "x", "width_4"), FIRST], shape=("N", "M"))
    assert "or may do" in refusal(saved(tmp_path / "model.onnx", model))


def test_several_inputs_and_outputs_are_refused(tmp_path):
    model = graph_of([FIRST, RELU, LAST], outputs=2)
    assert "one output, the graph has 2" in refusal(saved(tmp_path / "model.onnx", model))
    model = graph_of([FIRST])
    model.graph.input.append(helper.make_tensor_value_info("other", TensorProto.FLOAT, [1]))
    assert "one input, the graph has 2 (input, other)" in refusal(saved(tmp_path / "model.onnx", model))


def test_a_circle_is_refused(tmp_path):
    model = graph_of([RELU, RELU, LAST])
    model.graph.node[1].output[0] = "input"
    assert "no chain" in refusal(saved(tmp_path / "model.onnx", model))


def test_a_branch_is_refused(tmp_path):
    model = graph_of([FIRST, RELU, LAST])
    model.graph.node.append(helper.make_node("Shape", ["v0"], ["shape"], name="shape"))
    assert "'v0' goes to Relu 'n1', Shape 'shape'" in refusal(saved(tmp_path / "model.onnx", model))


def test_external_data_is_refused(tmp_path):
    model = graph_of([FIRST])
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], "weights.bin")
    (tmp_path / "weights.bin").write_bytes(bytes(80))
    assert "external data" in refusal(saved(tmp_path / "model.onnx", model))


@pytest.mark.parametrize("change", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_refused(tmp_path, change):
    model = graph_of([FIRST])
    bad = np.full((4, 5), change, np.float32)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(bad, "A"))
    assert "Gemm 'n0' holds NaN or infinite" in refusal(saved(tmp_path / "model.onnx", model))


def test_shapes_that_announce_more_than_there_is_are_refused(tmp_path):
    model = graph_of([FIRST])
    del model.graph.initializer[0].dims[:]
    model.graph.initializer[0].dims.extend([10**6, 10**6])
    assert "'A' are not what they announce" in refusal(saved(tmp_path / "model.onnx", model))


def test_an_attribute_of_another_type_is_refused(tmp_path):
    model = graph_of([node("Gemm", "x", "A", alpha="half")])
    assert "attribute alpha that is no number" in refusal(saved(tmp_path / "model.onnx", model))


@pytest.mark.parametrize(
    ("attributes", "op"),
    [
        ({"perm": "10"}, "Transpose"),
        ({"perm": [0, 1]}, "Transpose"),
        ({"value_floats": [1.0]}, "Constant"),
        ({}, "Shape"),
    ],
)
def test_constants_that_are_computed_otherwise_are_refused(tmp_path, attributes, op):
    model = graph_of([node("MatMul", "x", "W"), RELU])
    model.graph.node.append(helper.make_node(op, ["A"], ["W"], **attributes))
    model.graph.initializer.append(numpy_helper.from_array(CONSTANTS["A"], "A"))
    refusal(saved(tmp_path / "model.onnx", model))


@pytest.mark.parametrize("shape", [[np.inf, 4.0], [np.nan, 4.0]])
def test_a_shape_that_is_no_whole_number_is_refused(tmp_path, shape):
    model = graph_of([node("Reshape", "x", "shape"), FIRST])
    model.graph.initializer.append(numpy_helper.from_array(np.array(shape), "shape"))
    assert "needs whole numbers" in refusal(saved(tmp_path / "model.onnx", model))


def test_other_content_is_refused(tmp_path):
    path = tmp_path / "model.onnx"
    for content in (b"", b"hello", b"<html>", bytes(100)):
        path.write_bytes(content)
        refusal(path)


@pytest.mark.filterwarnings("ignore")
def test_damage_is_refused_or_harmless(tmp_path):
    model = graph_of([FIRST, NORM, RELU, LAST, node("Softmax", "x")])
    assert_damage_is_refused_or_harmless(tmp_path / "model.onnx", model.SerializeToString(), 600)
