"""Operators of ONNX within a graph: the numbers are those of onnxruntime, whatever they are read as."""

import numpy as np
import onnx
import pytest
from model_files import assert_damage_is_refused_or_harmless, refusal
from onnx import helper
from onnx_graphs import graph, run, saved

from sheafcli.core.network import GraphNetwork
from sheafcli.interop.models import read_model

RNG = np.random.default_rng(3)
ARRAYS = {
    "K": RNG.normal(size=(4, 3, 3, 3)),
    "k": RNG.normal(size=4),
    "one_by_one": RNG.normal(size=(4, 3, 1, 1)),
    "of_groups": RNG.normal(size=(4, 2, 3, 3)),
    "channels4": RNG.normal(size=(4, 1, 1)),
    "slopes": RNG.uniform(0.1, 0.5, size=(4, 1, 1)),
    "last": RNG.normal(size=(6, 5)),
    "from_left": RNG.normal(size=(5, 6)),
    "stack": RNG.normal(size=(4, 6, 2)),
    "places": RNG.normal(size=(1, 4, 6, 6)),
    "g": RNG.normal(size=6),
    "s": RNG.normal(size=6),
    "c3": RNG.normal(size=3),
    "c4": RNG.normal(size=4),
    "spread4": RNG.uniform(0.5, 2.0, size=4),
    "half": np.array(0.5),
    "third": np.array(1 / 3),
    "root": np.array(np.sqrt(2.0)),
    "one": np.array(1.0),
    "two": np.array(2.0),
    "three": np.array(3.0),
    "six": np.array(6.0),
    "zero": np.array(0.0),
    "tiny": np.array(1e-5),
    "minus_half": np.array(-0.5),
    "scales2": np.array([1.0, 1.0, 2.0, 2.0]),
}
WHOLE = {
    "pads": np.array([0, 0, 1, 0, 0, 0, 1, 2]),
    "cut": np.array([0, 0, -1, 0, 0, 0, 1, 0]),
    "i0": np.array(0),
    "i_minus": np.array(-1),
    "i31": np.array([3, 1]),
    "i0132": np.array([0, 1, 3, 2]),
    "i1": np.array([1]),
    "i2": np.array([2]),
    "i23": np.array([2, 3]),
    "i_last": np.array([-1]),
    "far": np.array([9223372036854775807]),
    "near": np.array([-9223372036854775807]),
    "minus1": np.array([-1]),
    "parts": np.array([1, 3]),
    "shuffled": np.array([0, 2, 2, 6, 6]),
    "back": np.array([0, 4, 6, 6]),
    "flat": np.array([0, -1]),
    "grown": np.array([1, 4, 1, 6]),
    "sizes": np.array([2, 4, 12, 18]),
    "wide": np.array([1, 1, 3, 1]),
}
CONV = "h = Conv<pads = [1, 1, 1, 1]>(x, K, k)"
OF_H = {
    "stride, dilation, one side": "z = Conv<strides = [2, 1], dilations = [1, 2], pads = [0, 1, 1, 2]>(x, K)",
    "same, upper": "z = Conv<auto_pad = 'SAME_UPPER', strides = [2, 2]>(x, K, k)",
    "same, lower": "z = Conv<auto_pad = 'SAME_LOWER', strides = [2, 2]>(x, K, k)",
    "valid": "z = Conv<auto_pad = 'VALID'>(x, K, k)",
    "groups": f"{CONV} z = Conv<group = 2>(h, of_groups)",
    "bias apart": "c = Conv(x, one_by_one) z = Add(c, channels4)",
    "bias of places": "c = Conv(x, one_by_one) z = Add(c, places)",
    "largest": f"{CONV} z = MaxPool<kernel_shape = [3, 2], strides = [2, 2], ceil_mode = 1>(h)",
    "largest, padded": f"{CONV} z = MaxPool<kernel_shape = [3, 3], auto_pad = 'SAME_UPPER', strides = [2, 2]>"
    "(h)",
    "mean": f"{CONV} z = AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 2]>(h)",
    "mean with the padding": f"{CONV} z = AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1], "
    "count_include_pad = 1>(h)",
    "global": f"{CONV} z = GlobalAveragePool(h)",
    "global largest": f"{CONV} z = GlobalMaxPool(h)",
    "norm": f"{CONV} z = BatchNormalization<epsilon = 0.1>(h, c4, k, c4, spread4)",
    "norm of instances": f"{CONV} z = InstanceNormalization(h, c4, k)",
    "norm of rows": f"{CONV} z = LayerNormalization(h, g, s)",
    "padded": f"{CONV} z = Pad(h, pads)",
    "cut": f"{CONV} z = Pad(h, cut)",
    "enlarged": f"{CONV} z = Resize<mode = 'nearest', coordinate_transformation_mode = 'asymmetric', "
    "nearest_mode = 'floor'>(h, , scales2)",
    "enlarged from the middle": f"{CONV} z = Resize<mode = 'nearest'>(h, , scales2)",
    "depth to space": f"{CONV} z = DepthToSpace<blocksize = 2>(h)",
    "depth to space by columns": f"{CONV} z = DepthToSpace<blocksize = 2, mode = 'CRD'>(h)",
    "space to depth": f"{CONV} z = SpaceToDepth<blocksize = 3>(h)",
    "split": f"{CONV} a, b = Split<axis = 1>(h, parts) z = Concat<axis = 1>(b, a)",
    "split evenly": f"{CONV} a, b = Split<axis = -1>(h) z = Mul(a, b)",
    "slice": f"{CONV} z = Slice(h, i1, far, i2)",
    "slice backwards": f"{CONV} z = Slice(h, minus1, near, i2, minus1)",
    "picked": f"{CONV} z = Gather<axis = 1>(h, i31)",
    "picked in parts": f"{CONV} z = Gather<axis = 1>(h, i0132)",
    "one of them": f"{CONV} z = Gather<axis = 3>(h, i_minus)",
    "mean over places": f"{CONV} z = ReduceMean<axes = [2, 3], keepdims = 0>(h)",
    "largest over places": f"{CONV} z = ReduceMax<axes = [2, 3]>(h)",
    "repeated": f"{CONV} m = ReduceMean<axes = [2]>(h) z = Expand(m, grown)",
    "tiled": f"{CONV} m = ReduceMean<axes = [2]>(h) z = Tile(m, wide)",
    "shuffle": f"{CONV} r = Reshape(h, shuffled) t = Transpose<perm = [0, 2, 1, 3, 4]>(r) "
    "z = Reshape(t, back)",
    "last axis": f"{CONV} z = MatMul(h, last)",
    "from the left": f"{CONV} z = MatMul(from_left, h)",
    "one matrix a channel": f"{CONV} z = MatMul(h, stack)",
    "attention": f"{CONV} q = Softmax<axis = -1>(h) z = MatMul(q, h)",
    "slopes": f"{CONV} z = PRelu(h, slopes)",
    "two bounds": f"{CONV} z = Clip(h, minus_half, six)",
    "one bound": f"{CONV} z = Min(h, half)",
    "squeezed": f"{CONV} m = GlobalAveragePool(h) q = Squeeze(m, i23) u = Unsqueeze(q, i23) s = Sigmoid(u) "
    "z = Mul(h, s)",
    "difference": f"{CONV} r = Relu(h) z = Sub(r, h)",
    "from a constant": f"{CONV} z = Sub(one, h)",
    "three of them": f"{CONV} r = Relu(h) t = Tanh(h) z = Sum(r, h, t)",
    "square": f"{CONV} z = Pow(h, two)",
    "shape by itself": f"{CONV} v = Shape(h) n = Slice(v, zeroth, i2) c = Concat<axis = 0>(n, minus1) "
    "z = Reshape(h, c)",
    **{
        kind.lower(): f"{CONV} z = {kind}(h)"
        for kind in (
            "Abs",
            "Elu",
            "HardSigmoid",
            "HardSwish",
            "LeakyRelu",
            "Selu",
            "Celu",
            "Softplus",
            "Tanh",
        )
    },
}
WHOLE["zeroth"] = np.array([0])


def of_images(body, opset=17, given="float[N,3,6,6] x", more=None):
    arrays = {name: array.astype(np.float32) for name, array in ARRAYS.items()} | WHOLE | (more or {})
    return graph(body.replace("'", '"'), given, opset=opset, arrays=arrays)


def assert_same_numbers(path, model, X):
    """Check that a model is read as a network that gives its numbers, and return that."""
    network = read_model(saved(path, model)).network
    expected = run(model, X)[0].reshape(len(X), -1)
    made = network.logits(X.reshape(len(X), -1).astype(np.float64))
    np.testing.assert_allclose(made, expected, rtol=0, atol=2e-6 * np.max(np.abs(expected)))
    return network


IMAGES = np.random.default_rng(5).normal(size=(2, 3, 6, 6)).astype(np.float32)


@pytest.mark.parametrize("name", OF_H)
def test_an_operator_gives_its_numbers(tmp_path, name):
    model = of_images(f"{OF_H[name]} y = Identity(z)")
    assert isinstance(assert_same_numbers(tmp_path / "model.onnx", model, IMAGES), GraphNetwork)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("SiLU", "s = Sigmoid(h) y = Mul(h, s)"),
        ("HardSwish", "a = Add(h, three) c = Clip(a, zero, six) m = Mul(h, c) y = Div(m, six)"),
        ("HardSwish", "s = HardSigmoid<alpha = 0.16666667, beta = 0.5>(h) y = Mul(s, h)"),
        ("HardSigmoid", "a = Add(h, three) r = Relu(a) c = Min(r, six) y = Div(c, six)"),
        ("GELU", "d = Div(h, root) e = Erf(d) a = Add(e, one) m = Mul(h, a) y = Mul(m, half)"),
        ("GELU", "d = Div(h, root) e = Erf(d) a = Add(one, e) m = Mul(half, a) y = Mul(m, h)"),
        ("Softplus", "e = Exp(h) a = Add(e, one) y = Log(a)"),
        ("Sigmoid", "n = Neg(h) e = Exp(n) a = Add(e, one) s = Div(one, a) y = Add(s, channels4)"),
        ("Clip", "r = Relu(h) y = Min(r, six)"),
        (
            "LayerNormalization",
            "m = ReduceMean<axes = [-1]>(h) d = Sub(h, m) q = Pow(d, two) v = ReduceMean<axes = [-1]>(q) "
            "e = Add(v, tiny) r = Sqrt(e) n = Div(d, r) f = Mul(n, g) y = Add(f, s)",
        ),
    ],
)
def test_operations_taken_apart_are_put_together(tmp_path, kind, body):
    model = of_images(f"{CONV} {body}")
    network = assert_same_numbers(tmp_path / "model.onnx", model, IMAGES)
    kinds = [type(vertex.operation).__name__ for vertex in network.graph.vertices[2:]]
    assert kinds[0] == kind
    assert set(kinds[1:]) <= {"Flatten", "Scale"}


@pytest.mark.parametrize("opset", range(7, 25))
def test_operator_sets_are_read(tmp_path, opset):
    axes = "axes = [2, 3], keepdims = 0" if opset < 18 else "keepdims = 0"
    mean = f"m = ReduceMean<{axes}>(b{', i23' if opset >= 18 else ''})"
    norm = f"{CONV} n = BatchNormalization(h, c4, k, c4, spread4) r = Relu(n)"
    clip = "b = Clip<max = 6.0, min = -0.5>(w)" if opset < 11 else "b = Clip(w, minus_half, six)"
    turned = "t = Transpose<perm = [0, 2, 3, 1]>(r) v = Transpose<perm = [0, 3, 1, 2]>(t)"
    body = f"{norm} {turned} w = Add(v, h) {clip} {mean} y = LeakyRelu(m)"
    assert_same_numbers(tmp_path / "model.onnx", of_images(body, opset), IMAGES)


def test_channels_may_stand_last_and_batches_be_fixed(tmp_path):
    turned = "c = Transpose<perm = [0, 3, 1, 2]>(x)"
    body = f"{turned} h = Conv(c, K) r = Relu(h) y = Transpose<perm = [0, 2, 3, 1]>(r)"
    images = np.moveaxis(IMAGES, 1, -1)
    for given in ("float[N,6,6,3] x", "float[2,6,6,3] x"):
        network = assert_same_numbers(tmp_path / "model.onnx", of_images(body, given=given), images)
        assert network.input_shape == (6, 6, 3)


def test_a_softmax_at_the_end_is_the_output_and_one_within_an_edge(tmp_path):
    body = f"{CONV} g = GlobalAveragePool(h) f = Flatten(g) s = Softmax(f) z = Add(s, c4) y = Softmax(z)"
    model = read_model(saved(tmp_path / "model.onnx", of_images(body)))
    assert (model.network.output.name, model.says_output) == ("softmax", True)
    kinds = [vertex.operation.kind for vertex in model.network.graph.vertices[1:]]
    assert kinds == ["affine", "exact", "exact", "activation", "affine"]
    expected = run(of_images(body), IMAGES)[0]
    np.testing.assert_allclose(model.network.predict(IMAGES.reshape(2, -1)), expected, atol=1e-5)


def test_the_output_is_chosen_by_its_name(tmp_path):
    heads = f"{CONV} a = Relu(h) p = GlobalAveragePool(a) b = Tanh(h) q = GlobalMaxPool(b)"
    model = of_images(heads)
    del model.graph.output[:]
    model.graph.output.extend(helper.make_tensor_value_info(name, 1, None) for name in "pq")
    path = saved(tmp_path / "model.onnx", model)
    message = refusal(path)
    assert "neither of" in message
    assert "--ending p" in message
    assert [v.name for v in read_model(path, "q").network.graph.vertices] == ["x", "h", "b", "q", "q_1"]
    with pytest.raises(Exception, match="has no output 'r'; its outputs are p, q"):
        read_model(path, "r")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (f"{CONV} y = LRN<size = 3>(h)", "LRN (node 1) divides each sample by a figure of its own"),
        (f"{CONV} y = Sin(h)", "Sin (node 1) is an operator that a sheaf does not cover; covered are Gemm,"),
        (f"{CONV} e = Exp(h) y = Mul(e, h)", "Exp (node 1) is read as part of an activation"),
        (f"{CONV} s = ReduceMean<axes = [0]>(h) y = Add(h, s)", "ReduceMean (node 1) goes over axis 0"),
        ("y = Conv(x, of_groups)", "Conv (node 0): images must be 2 channels x 2 axes, got shape (3, 6, 6)"),
        ("y = MaxPool<kernel_shape = [9, 9]>(x)", "MaxPool (node 0): a window of (9, 9)"),
        (f"{CONV} y = Pad<mode = 'reflect'>(h, pads)", "Pad (node 1) pads by reflect; zeros are read"),
        (f"{CONV} y = Resize<mode = 'linear'>(h, , scales2)", "Resize (node 1) interpolates (linear)"),
        (
            f"{CONV} y, places_of = MaxPool<kernel_shape = [2, 2]>(h)",
            "gives the places of the maxima as well",
        ),
        (f"{CONV} f = Flatten(h) z = Flatten(x) y = Concat<axis = 0>(f, z)", "goes over axis 0"),
        (f"{CONV} y = Add(h, c3)", "combines 3 numbers with samples x 4 x 6 x 6, which do not fit"),
        (f"{CONV} y = Gather(h, i0)", "Gather (node 1) goes over axis 0; it must go over features"),
    ],
)
def test_what_is_not_covered_is_named(tmp_path, body, words):
    assert words in refusal(saved(tmp_path / "model.onnx", of_images(body)))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("float[3,6,6] x", "export the model with an input that has the samples as its first axis"),
        ("float[N,3,H,W] x", "leaves open how large a sample of 'x' is; export the model with fixed sizes"),
        ("float[N,3,100000,10000] x", "the input makes 3,000,000,000 numbers of one sample"),
        ("float[N,3,6,6] x, float[N,4,6,6] u", "depends on 2 (x, u)"),
    ],
)
def test_inputs_that_no_network_has_are_named(tmp_path, given, words):
    body = f"{CONV} y = {'Add(h, u)' if 'u' in given.split(', ')[-1] else 'Relu(h)'}"
    message = refusal(saved(tmp_path / "model.onnx", of_images(body, given=given)))
    assert words in message


@pytest.mark.parametrize(
    "body",
    [
        f"{CONV} m = MaxPool<kernel_shape = [3, 2], strides = [2, 2], pads = [1, 0, 1, 0]>(h) "
        "p = Pad(m, pads) r = Resize<mode = 'nearest'>(p, , scales2) a, b = Split<axis = 1>(r, parts) "
        "z = Concat<axis = 1>(b, a) y = GlobalAveragePool(z)",
        f"{CONV} n = LayerNormalization(h, g, s) r = Reshape(n, shuffled) q = Gather<axis = 1>(r, i1) "
        "m = ReduceMean<axes = [2, 4]>(q) e = Expand(m, long) y = Softmax<axis = 1>(e)",
    ],
)
def test_damage_is_refused_or_harmless(tmp_path, body):
    model = of_images(body, more={"long": np.array([1, 1, 2, 6, 3])})
    content = model.SerializeToString()
    read_model(saved(tmp_path / "whole.onnx", model))
    assert_damage_is_refused_or_harmless(tmp_path / "model.onnx", content, 150)


@pytest.mark.parametrize(
    "body",
    [
        "y = MaxPool<kernel_shape = [1000000000, 2], pads = [1000000000, 0, 0, 0]>(x)",
        "y = AveragePool<kernel_shape = [2, 2], pads = [1000000000, 0, 1000000000, 0]>(x)",
        f"{CONV} m = ReduceMean<axes = [2, 3]>(h) y = Expand(m, billions)",
        "v = Shape(x) n = Slice(v, zeroth, i1) c = Concat<axis = 0>(n, i1, billions) "
        "e = Expand(channels4, c) y = Add(e, e)",
        f"{CONV} y = Pad(h, wide_pads)",
    ],
)
def test_sizes_beyond_all_measure_are_refused(tmp_path, body):
    more = {
        "billions": np.array([1, 1, 10**9, 10**9]),
        "wide_pads": np.array([0, 0, 10**9, 0, 0, 0, 10**9, 0]),
    }
    refusal(saved(tmp_path / "model.onnx", of_images(body, more=more)))


def test_a_circle_is_refused(tmp_path):
    model = of_images("h = Conv(q, one_by_one) y = Add(h, x) q = Relu(y)")
    assert "Conv (node 0) comes out of it, a circle" in refusal(saved(tmp_path / "model.onnx", model))


def test_weights_outside_of_the_folder_are_refused(tmp_path):
    model = of_images(f"{CONV} y = Relu(h)")
    (kernel,) = (tensor for tensor in model.graph.initializer if tensor.name == "K")
    kernel.ClearField("raw_data")
    kernel.data_location = onnx.TensorProto.EXTERNAL
    kernel.external_data.add(key="location", value="../weights.bin")
    assert "../weights.bin" in refusal(saved(tmp_path / "model.onnx", model))
