"""ONNX graphs that are no network here: each is refused by name, with what can be done."""

import numpy as np
import onnx
import pytest
from model_files import assert_damage_is_refused_or_harmless, refusal
from onnx import TensorProto, helper, numpy_helper
from onnx_graphs import CONSTANTS, graph, saved

from sheafcli.interop.models import read_model

FIRST = "z = Gemm(x, A, a)"
REST = "r = Relu(z) y = Gemm(r, B, b)"
TRAINING = "training_mode: int = 1"

OPERATORS = {
    "convolution": ("y = Conv(x, A)", "Conv (node 0) works on samples x channels x"),
    "norm of a sample": (
        f"v = ai.onnx.ml.Normalizer(x) z = Gemm(v, A, a) {REST}",
        "Normalizer (node 0) divides each sample by a figure of its own, which no operation here does",
    ),
    "choice of features": (
        f"v = ai.onnx.ml.ArrayFeatureExtractor(x, labels) z = Gemm(v, A, a) {REST}",
        "ArrayFeatureExtractor (node 0) picks or recodes features",
    ),
    "quantized on its way": (
        f"q = QuantizeLinear(x, half) v = DequantizeLinear(q, half) z = Gemm(v, A, a) {REST}",
        "QuantizeLinear (node 0) rounds the values on their way; import the model from before",
    ),
    "optimized": (f"{FIRST} y = com.microsoft.FusedGemm(z, B)", "FusedGemm (node 1) is of com.microsoft"),
    "something else": (
        f"{FIRST} y = Einsum<equation: string = 's'>(z)",
        "Einsum (node 1) is an operator that a sheaf does not cover; covered are Gemm, MatMul, Conv,",
    ),
    "softmax over samples": (f"{FIRST} y = Softmax<axis: int = 0>(z)", "Softmax (node 1) goes over axis 0"),
    "labels over samples": (f"{FIRST} y = ArgMax(z)", "ArgMax (node 1) goes over axis 0"),
    "labels between layers": (
        f"{FIRST} l = Greater(z, half) f = Cast<to = 1>(l) y = Gemm(f, B, b)",
        "Greater (node 1) stands before Gemm (node 3)",
    ),
    "logarithm of scores": (f"{FIRST} y = Log(z)", "Log (node 1) is read as part of an activation"),
    "over the samples": ("y = Gemm<transA: int = 1>(x, A)", "Gemm (node 0) adds up over the samples"),
    "over the samples, from the left": ("y = MatMul(square, x)", "MatMul (node 0) adds up over the samples"),
    "as a bias": ("y = Gemm(At, A, x)", "Gemm (node 0) takes the values of the network as a parameter"),
    "as a slope": ("y = PRelu(vector, x)", "PRelu (node 0) takes the values of the network as a parameter"),
    "divided by": (
        f"v = Div(one, x) z = Gemm(v, A, a) {REST}",
        "Div (node 0) is read as part of an activation",
    ),
    "other numbers for each sample": (
        f"{FIRST} y = Add(z, A)",
        "Add (node 1) combines 4 x 5 with samples x 5, other numbers for each sample",
    ),
    "a bias of another length": (
        f"{FIRST} y = Add(z, vector)",
        "combines 4 numbers with samples x 5, which do not",
    ),
    "dropout in training": (f"{FIRST} y = Dropout(z, half, true)", "Dropout (node 1) is in training mode"),
    "norm in training": (
        f"{FIRST} y, m, v = BatchNormalization<{TRAINING}>(z, gamma, beta, running_mean, variance)",
        "BatchNormalization (node 1) is in training mode; export the model after model.eval()",
    ),
    "mask of a dropout": (
        f"{FIRST} d, y = Dropout(z)",
        "'y' is not the first output of Dropout (node 1)",
    ),
    "samples mixed": (
        "v = Reshape(x, width_2) y = MatMul(v, two)",
        "'y' has samples and features along one axis",
    ),
    "whole numbers": (
        f"{FIRST} c = Cast<to = 7>(z) y = Gemm(c, B, b)",
        "Cast (node 1) makes numbers that are no",
    ),
    "weights of whole numbers": ("y = Gemm(x, integers)", "Gemm (node 0) has weights of type int64"),
    "missing weights": ("y = Gemm(x, nowhere)", "needs 'nowhere', which is not a constant of the file"),
    "weights drawn anew": (
        "w = RandomNormal<shape = [4, 5]>() y = Gemm(x, w)",
        "needs 'w', which is computed by RandomNormal (node 0); write what it computes into the file",
    ),
    "weights that cannot be computed": (
        "w = Reshape(A, shape_5) y = Gemm(x, w)",
        "Reshape (node 0) cannot be computed from its constants",
    ),
    "a shape of floats": ("v = Reshape(x, vector) y = Gemm(v, A)", "Reshape (node 0) needs whole numbers"),
    "a vector as weights": (
        "y = Gemm(x, a)",
        "Gemm (node 0) has weights of 5 numbers; they must be a matrix",
    ),
    "layers that do not fit": (f"{FIRST} y = Gemm(z, A, a)", "Gemm (node 1) takes 4 inputs, and is given 5"),
    "no weights": ("y = Gemm(x)", "Gemm (node 0) lacks its input 1"),
    "no layer": ("y = Relu(x)", "no linear layer"),
    "nothing at all": ("y = Identity(A)", "'y' does not depend on an input of the graph"),
    "no weights at all": ("y = Identity(x)", "no linear layer"),
    "no axis 5": (f"{FIRST} y = Softmax<axis: int = 5>(z)", "goes over axis 5"),
    "an axis taken away that counts": (f"{FIRST} y = Squeeze(z, axis_1)", "takes away axis 1 of samples x 5"),
    "a circle": ("z = Gemm(x, A, q) r = Relu(z) q = Relu(r) y = Gemm(r, B, b)", "damaged: what goes into"),
    "a value made twice": (
        f"{FIRST} {FIRST} {REST}",
        "damaged: 'z' is made by Gemm (node 1) and somewhere else",
    ),
    "an attribute of another type": (
        "y = Gemm<alpha: string = 'half'>(x, A)",
        "attribute alpha that is no number",
    ),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_what_is_no_chain_of_ours_is_named(tmp_path, name):
    body, words = OPERATORS[name]
    arrays = {"two": np.ones((2, 3), np.float32), "At4": np.ones((4, 1), np.float32)}
    model = graph(body.replace("'", '"'), arrays=arrays)
    assert words in refusal(saved(tmp_path / "model.onnx", model))


@pytest.mark.parametrize(
    ("given", "body", "words"),
    [
        ("float[N,2,4] x", f"{FIRST} {REST}", "Gemm (node 0) has values of samples x 2 x 4"),
        (
            "float[N,M] x",
            "v = Reshape(x, width_4) y = Gemm(v, A)",
            "does more than flatten the features, or may do",
        ),
        ("float[N,6] x", "v = Reshape(x, width_4) y = Gemm(v, A)", "makes samples x 6 to -1 x 4"),
        (
            "int64[N,4] x",
            "s = Sub(x, i) v = Cast<to = 1>(s) y = Gemm(v, A)",
            "Sub (node 0) has weights of type int64",
        ),
        (
            "int64[N,4] x",
            "r = Relu(x) v = Cast<to = 1>(r) y = Gemm(v, A)",
            "Relu (node 0) computes with whole numbers",
        ),
        ("string[N,4] x", "v = Cast<to = 1>(x) y = Gemm(v, A)", "'x' is no array of numbers"),
        ("float[N,4] x, float[N,5] w", "z = Gemm(x, A) y = Add(z, w)", "'y' depends on 2 (x, w)"),
        ("float[N,4] x", "", "'y' does not depend on an input"),
        (
            "float[N,4] x",
            "h = Shape(x) d = Mul(h, h) v = Reshape(x, d) y = Gemm(v, A)",
            "Mul (node 1) computes with the sizes of its input; export the model",
        ),
        ("seq(float[N]) x", "y = Gemm(x, A)", "'x' is no array of numbers"),
    ],
)
def test_inputs_that_are_no_rows_of_numbers_are_named(tmp_path, given, body, words):
    model = graph(body, given, arrays={"i": np.ones(4, np.int64)})
    assert words in refusal(saved(tmp_path / "model.onnx", model))


def test_two_networks_in_a_file_are_refused_with_how_to_take_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    heads = f"{FIRST} r = Relu(z) p = Gemm(r, B, b) q = MatMul(r, B)"
    message = refusal(saved(tmp_path / "model.onnx", graph(heads, gives="float[N,3] p, float[N,3] q")))
    assert "neither of 'p' and 'q' stands on the way to the other" in message
    exec(message[message.index("onnx.utils.extract_model") :], {"onnx": onnx})
    assert read_model(tmp_path / "one.onnx").network.widths == (4, 5, 3)


def test_an_output_that_is_no_chain_is_read_with_the_one_on_its_way(tmp_path):
    branch = f"{FIRST} {REST} t = Tanh(y) u = Add(t, y)"
    model = read_model(saved(tmp_path / "model.onnx", graph(branch, gives="float[N,3] y, float[N,3] u")))
    assert [vertex.name for vertex in model.network.graph.vertices] == ["x", "z", "r", "y", "t", "u"]
    assert model.notes == ("the graph's output 'u' is read; it has all that is in 'y'",)


@pytest.mark.parametrize(
    ("opset", "words"), [(6, "operator set 6"), (999, "install a newer onnx"), (None, "set 1")]
)
def test_operator_sets_that_are_not_known_are_named(tmp_path, opset, words):
    model = graph(f"{FIRST} {REST}")
    del model.opset_import[:]
    if opset is not None:
        model.opset_import.append(helper.make_opsetid("", opset))
    assert words in refusal(saved(tmp_path / "model.onnx", model))


def test_an_old_operator_set_is_read_once_it_is_converted_as_the_message_says(tmp_path):
    model = graph(
        "z = Gemm<broadcast: int = 1>(x, A, a) y = Relu(z)", "float[1,4] x", "float[1,5] y", opset=6
    )
    for tensor in model.graph.initializer:  # which older files list among the inputs
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    path = saved(tmp_path / "model.onnx", model)
    message = refusal(path)
    call = message[message.index("onnx.version_converter") : message.index(" makes it")]
    saved(path, eval(call, {"onnx": onnx, "model": onnx.load(path)}))
    assert read_model(path).network.widths == (4, 5, 5)


@pytest.mark.parametrize("change", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_refused(tmp_path, change):
    model = graph(FIRST, gives="float[] z", arrays={"A": np.full((4, 5), change, np.float32)})
    assert "Gemm (node 0) holds NaN or infinite" in refusal(saved(tmp_path / "model.onnx", model))


def test_a_division_by_zero_is_refused(tmp_path):
    model = graph("v = Div(x, zero) y = Gemm(v, A, a)")
    assert "Div (node 0) holds NaN or infinite" in refusal(saved(tmp_path / "model.onnx", model))


def test_a_bound_that_is_no_number_is_refused(tmp_path):
    model = graph("v = Clip(x, nan) y = Gemm(v, A, a)", arrays={"nan": np.float32(np.nan)})
    assert "Clip (node 0) holds NaN or infinite" in refusal(saved(tmp_path / "model.onnx", model))


def test_graphs_within_nodes_are_not_walked(tmp_path):
    branch = onnx.parser.parse_graph("b () => (float[4,5] o) { o = Identity(A) }")
    model = graph("w = Identity(A) y = Gemm(x, w, a)")
    model.graph.node[0].CopyFrom(
        helper.make_node("If", ["yes"], ["w"], then_branch=branch, else_branch=branch)
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    assert "needs 'w', which is computed by If (node 0)" in refusal(saved(tmp_path / "model.onnx", model))


def test_functions_that_have_no_end_are_refused(tmp_path):
    model = graph("y = local.f0(x)")
    model.opset_import.append(helper.make_opsetid("local", 1))
    opsets = list(model.opset_import)
    call = [helper.make_node("f0", ["i"], ["o"], domain="local")]
    model.functions.append(helper.make_function("local", "f0", ["i"], ["o"], call, opsets))
    assert "'f0' of the model calls itself" in refusal(saved(tmp_path / "model.onnx", model))
    del model.functions[:]
    for level in range(40):
        twice = [
            helper.make_node(f"f{level + 1}", [one], [other], domain="local")
            for one, other in (("i", "h"), ("h", "o"))
        ]
        model.functions.append(helper.make_function("local", f"f{level}", ["i"], ["o"], twice, opsets))
    assert "nodes with those of its functions" in refusal(saved(tmp_path / "model.onnx", model))


# Damage and excess -------------------------------------------------------------------------------


def test_other_content_is_refused(tmp_path):
    path = tmp_path / "model.onnx"
    for content in (b"", b"hello", b"<html>", bytes(100)):
        path.write_bytes(content)
        refusal(path)


@pytest.mark.parametrize(
    "body",
    [
        f"v = ai.onnx.ml.Scaler<offset: floats = [0.5], scale: floats = [2.0]>(x) z = Gemm(v, A, a) {REST}",
        "h = Shape(x) i = Gather(h, axis_0) c = Concat<axis: int = 0>(i, minus_one) v = Reshape(x, c) "
        "w = Transpose(At) m = MatMul(v, w) k = Max(m, zero) z = Gemm(k, B, b) y = Softmax<axis: int = 1>(z)",
        "w = DequantizeLinear(W8, half) q = Cast<to = 1>(n) z = Gemm(x, w, q) d = Dropout(z) "
        "y = Clip(d, zero, six)",
    ],
)
def test_damage_is_refused_or_harmless(tmp_path, body):
    arrays = {"W8": np.ones((4, 5), np.int8), "n": CONSTANTS["a"].astype(np.float16)}
    content = graph(body, arrays=arrays).SerializeToString()
    assert_damage_is_refused_or_harmless(tmp_path / "model.onnx", content, 300)


def long_chain(count):
    model = graph(f"{FIRST} {REST}")
    nodes = [helper.make_node("Relu", [f"v{i}" if i else "y"], [f"v{i + 1}"]) for i in range(count)]
    model.graph.node.extend(nodes)
    model.graph.output[0].name = f"v{count}"
    return model


def test_chains_beyond_all_measure_are_refused(tmp_path):
    assert "100,003 nodes" in refusal(saved(tmp_path / "model.onnx", long_chain(100_000)))


def test_long_chains_are_walked_without_recursion(tmp_path):
    assert read_model(saved(tmp_path / "model.onnx", long_chain(20_000))).network.widths == (4, 5, 3, 3)


@pytest.mark.parametrize("part", [b"\x0a\x00", b"\x2a\x00", b"\x62\x00", b"\x0a\x02\x2a\x00"])
def test_files_of_ever_so_many_parts_are_refused(tmp_path, part):
    """Empty nodes, initializers, outputs and attributes: two bytes each in the file, a hundred in memory."""
    path = tmp_path / "model.onnx"
    length = b"\x80\x80\x80" + bytes([len(part) // 2])  # of 2^20 parts, seven bits a byte
    path.write_bytes(b"\x3a" + length + part * 2**20)
    assert "parts" in refusal(path)


BOMBS = {
    "ConstantOfShape": "w = ConstantOfShape(billion) y = Gemm(x, w)",
    "Expand": "w = Expand(one, billion) y = Gemm(x, w)",
    "Tile": "w = Tile(vector, billion_1) y = Gemm(x, w)",
    "Range": "w = Range(first, lone_billion, lone_one) y = Gemm(x, w)",
    "Gather": "w = Gather(v, many) y = Gemm(x, w)",
    "products": "u = ConstantOfShape(long) w = MatMul(u, v) y = Gemm(x, w)",
    "sums": "u = ConstantOfShape(long) w = Add(u, v) y = Gemm(x, w)",
    "many": "r0 = Neg(x) "
    + " ".join(f"w{i} = ConstantOfShape(large) r{i + 1} = Add(r{i}, w{i})" for i in range(20))
    + " y = MatMul(r20, A)",
    "again and again": "w0 = ConstantOfShape(large) "
    + " ".join(f"w{i + 1} = Neg(w{i})" for i in range(400))
    + " y = Gemm(x, w400)",
}


@pytest.mark.parametrize("name", BOMBS)
def test_constants_beyond_all_measure_are_not_computed(tmp_path, name):
    arrays = {
        "billion": np.array([10**9, 4]),
        "billion_1": np.array([10**9]),
        "lone_billion": np.array(10**9),
        "lone_one": np.array(1),
        "many": np.zeros(2_000, np.int64),
        "long": np.array([40_000, 1]),
        "v": np.ones((1, 40_000), np.float32),
        "large": np.array([2**23]),
    }
    given = "float[N,8388608] x" if name == "many" else "float[N,4] x"
    model = graph(BOMBS[name], given, arrays=arrays)
    model.graph.initializer.append(TensorProto(name="unused", data_type=1, dims=[10**12]))
    message = refusal(saved(tmp_path / "model.onnx", model))
    assert "far more than the file holds" in message or "far larger than the file" in message


def test_one_matrix_in_ever_so_many_layers_is_refused(tmp_path):
    body = "v0 = Relu(x) " + " ".join(f"u{i} = Gemm(v{i}, W) v{i + 1} = Relu(u{i})" for i in range(80))
    model = graph(body, "float[N,1000] x", "float[] v80", arrays={"W": np.eye(1000, dtype=np.float32)})
    assert "far larger than the file" in refusal(saved(tmp_path / "model.onnx", model))


def test_bounds_of_ever_so_many_features_are_refused(tmp_path):
    body = "v0 = Neg(x) " + " ".join(f"v{i + 1} = Max(v{i}, half)" for i in range(8)) + " y = Gemm(v8, W)"
    model = graph(body, "float[N,9000] x", arrays={"W": np.ones((9000, 1), np.float32)})
    assert "Max (node 1) would be a layer of 9,000 x 9,000" in refusal(saved(tmp_path / "model.onnx", model))


@pytest.mark.parametrize("given", ["float[N,1000000000000] x", "float[1000000000000] x"])
def test_inputs_beyond_all_measure_are_refused(tmp_path, given):
    model = graph("v = Add(x, half) y = MatMul(v, A)", given)
    assert "far larger than the file" in refusal(saved(tmp_path / "model.onnx", model))
