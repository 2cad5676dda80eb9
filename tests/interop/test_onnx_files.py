"""onnxruntime is the oracle: the network that is read predicts what the graph does."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import pytest
from model_files import assert_same, biased, samples, written
from onnx import TensorProto, helper
from onnx_graphs import CONSTANTS, graph, inputs, run, saved

from sheafcli.interop.models import read_model

FIRST = "z = Gemm(x, A, a)"
LAST = "y = Gemm(r, B, b)"
REST = f"r = Relu(z) {LAST}"
NET = f"{FIRST} {REST}"
SCORES = f"{FIRST} r = Relu(z) s = Gemm(r, B, b)"
LONE = f"{FIRST} r = Relu(z) s = Gemm(r, lone, lone_b)"
NAMES = "classlabels_strings: strings = ['a', 'b', 'c']".replace("'", '"')


@dataclass(frozen=True)
class Accepted:
    """A graph that is a network; `sample` is the shape of one, as the graph takes it in a batch."""

    body: str
    given: str = "float[N,4] x"
    gives: str = "float[] y"
    sample: tuple[int, ...] = (4,)
    batch: int | None = 20
    opsets: tuple[int, ...] = (8, 17, 21)
    kind: Any = np.float32
    output: str = "identity"
    notes: str | None = ""
    compare: Any = None
    arrays: dict[str, Any] = field(default_factory=dict)


def spelt(first, **changes):
    """A graph whose first layer is another one, and the rest the same."""
    return Accepted(f"{first} {REST}", **changes)


def around(before, **changes):
    """A graph that does something to its input x, which makes it v, before the layers."""
    return Accepted(f"{before} z = Gemm(v, A, a) {REST}", **changes)


def ending(after, **changes):
    """A graph that does something to the scores s of its last layer, of which there are three."""
    return Accepted(f"{SCORES} {after}", **changes)


def labels(found, outputs):
    return found.argmax(axis=1), outputs[0].ravel()


def mapped(place):
    def compare(found, outputs):
        return found, np.array([list(row.values()) for row in outputs[place]])

    return compare


SINCE_13, SINCE_11, SINCE_12 = (13, 17, 21), (11, 13, 17, 21), (12, 17, 24)
BEFORE_13 = (7, 8, 9, 10, 11, 12)
PICTURE = {"given": "float[N,1,2,2] x", "sample": (1, 2, 2), "notes": "stand flat, in C order"}
ONE = {"batch": 1, "given": "float[1,4] x"}
VECTOR = {"batch": None, "given": "float[4] x"}
ALL_OPSETS = tuple(range(7, 25))

LAYERS = {
    "gemm": Accepted(NET, opsets=ALL_OPSETS),
    "gemm turned": spelt("z = Gemm <transB: int = 1>(x, At, a)"),
    "gemm scaled": spelt("z = Gemm <alpha: float = 0.5, beta: float = -2.0>(x, A, a)"),
    "gemm without bias": spelt("z = Gemm(x, A)", opsets=(11, 13, 21)),
    "gemm with a bias of one number": spelt("z = Gemm(x, A, one)"),
    "matmul": spelt("m = MatMul(x, A) z = Add(m, a)"),
    "matmul, bias first": spelt("m = MatMul(x, A) z = Add(a, m)"),
    "matmul with an axis more": spelt(
        "m = MatMul(x, A_stacked) q = Squeeze(m, axis_0) z = Add(q, a)", opsets=SINCE_13, batch=1, notes=None
    ),
    "bias in two": spelt("g = Gemm(x, A, a) h = Add(g, shift5) z = Add(half, h)"),
    "matmul without bias": spelt("z = MatMul(x, A)"),
    "matmul with a vector": Accepted(
        f"{FIRST} r = Relu(z) y = MatMul(r, shift5)", compare=lambda f, o: (f[:, 0], o[0])
    ),
    "norm before ReLU": spelt(
        "g = MatMul(x, A) "
        "z = BatchNormalization<epsilon: float = 0.001>(g, gamma, beta, running_mean, variance)",
        notes="folded into MatMul",
        opsets=(9, 14, 15, 21),
    ),
    "norm behind ReLU": Accepted(
        f"{FIRST} q = Relu(z) r = BatchNormalization(q, gamma, beta, running_mean, variance) {LAST}",
        notes=None,
    ),
    "norm of the input": around(
        "v = BatchNormalization(x, vector, mean, mean, spread)", notes="folded into Gemm"
    ),
    "dropout": Accepted(f"{FIRST} d = Dropout(z) r = Relu(d) {LAST}", opsets=(7, 10, 12, 13, 22)),
    "dropout in inference": Accepted(
        f"{FIRST} d = Dropout(z, half, false) r = Relu(d) {LAST}", opsets=SINCE_12
    ),
    "cast and identity": Accepted(
        f"i = Identity(x) z = Gemm(i, A, a) c = Cast<to = 1>(z) r = Relu(c) {LAST}"
    ),
    "linear twice": Accepted(f"r = Gemm(x, A, a) {LAST}", notes="nothing stands between"),
    "nodes in another order": Accepted(f"{LAST} r = Relu(z) {FIRST}", opsets=(17,)),
    "double": Accepted(NET, kind=np.float64, given="double[N,4] x", gives="double[] y"),
    "half": Accepted(NET, kind=np.float16, given="float16[N,4] x", gives="float16[] y"),
    "a lone layer": Accepted("y = Gemm(x, A, a)"),
}

AXES = {
    "no batch axis": Accepted(
        "m = MatMul(x, A) z = Add(m, a) r = Relu(z) n = MatMul(r, B) y = Add(n, b_flat)", **VECTOR
    ),
    "no batch axis, constants on the left": Accepted(
        "m = MatMul(At, x) z = Add(m, a) r = Relu(z) n = MatMul(Bt, r) y = Add(b_flat, n)", **VECTOR
    ),
    "no batch axis, then one": Accepted(f"v = Reshape(x, two_axes) z = Gemm(v, A, a) {REST}", **VECTOR),
    "samples in columns": Accepted(
        "m = MatMul(At, x) z = Add(m, a_column) r = Relu(z) y = MatMul(Bt, r)",
        given="float[4,N] x",
        compare=lambda f, o: (f, o[0].T),
    ),
    "a column": Accepted(
        "m = MatMul(At, x) z = Add(m, a_column) r = Relu(z) y = MatMul(Bt, r)",
        given="float[4,1] x",
        sample=(4, 1),
        batch=None,
    ),
    "turned, worked on in columns, and turned back": Accepted(
        "t = Transpose(x) m = MatMul(At, t) z = Add(m, a_column) r = Relu(z) n = MatMul(Bt, r) "
        "y = Transpose(n)"
    ),
    "gemm with samples in columns": Accepted(
        "z = Gemm<transA: int = 1>(x, A, a) " + REST, given="float[4,N] x"
    ),
    "gemm with its constant on the left": Accepted(
        "z = Gemm(At, x, a_column) r = Relu(z) y = Gemm<transA: int = 1>(r, B, b)", given="float[4,N] x"
    ),
    "a batch of one": Accepted(NET, **ONE),
    "a batch of twenty": Accepted(NET, given="float[20,4] x"),
    "sizes that the file leaves open": Accepted(NET, given="float[N,M] x"),
    "a scaled input of open size": around("v = Mul(x, half)", given="float[N,M] x", notes=None),
    "an input without shape": Accepted(NET, given="float[] x"),
    "pictures": around("v = Flatten(x)", **PICTURE),
    "pictures, reshaped": around("v = Reshape(x, rows)", **PICTURE),
    "pictures, reshaped to their width": around("v = Reshape(x, width_4)", **PICTURE),
    "pictures of open size": around(
        "v = Flatten(x)", given="float[N,C,H,W] x", sample=(1, 2, 2), notes="stand flat"
    ),
    "one picture": around("v = Reshape(x, two_axes)", **PICTURE | {"given": "float[1,1,2,2] x"}, batch=1),
    "one picture, its batch left open": around(
        "v = Reshape(x, two_axes)", **PICTURE | {"notes": "made for one sample at a time"}, batch=1
    ),
    "one picture, to a vector": Accepted(
        "v = Reshape(x, all) m = MatMul(v, A) z = Add(m, a) r = Relu(z) y = MatMul(r, B)",
        **PICTURE | {"given": "float[1,1,2,2] x"},
        batch=1,
        compare=lambda f, o: (f[0], o[0]),
    ),
    "twenty pictures": around(
        "v = Reshape(x, s)", **PICTURE | {"given": "float[20,1,2,2] x"}, arrays={"s": np.array([20, -1])}
    ),
    "flattened from axis 0": around("v = Flatten<axis: int = 0>(x)", batch=1, given="float[1,4] x"),
    "flattened from the last axis": around("v = Flatten<axis: int = -1>(x)", opsets=SINCE_11),
    "flattened between layers": Accepted(f"{FIRST} f = Flatten(z) r = Relu(f) {LAST}"),
    "channels last to channels first": around(
        "t = Transpose<perm = [0, 3, 1, 2]>(x) v = Flatten(t)",
        given="float[N,2,1,2] x",
        sample=(2, 1, 2),
        notes="nothing stands between",
    ),
    "an axis in front": Accepted(
        "e = Unsqueeze(x, axis_1) m = MatMul(e, A) r = Relu(m) n = MatMul(r, B) y = Squeeze(n, axis_1)",
        opsets=SINCE_13,
    ),
    "an axis in front, as it was": Accepted(
        "e = Unsqueeze<axes = [1]>(x) m = MatMul(e, A) r = Relu(m) n = MatMul(r, B) "
        "y = Squeeze<axes = [1]>(n)",
        opsets=BEFORE_13,
    ),
    "x.view(x.size(0), -1)": around(
        "h = Shape(x) i = Gather(h, first) u = Unsqueeze<axes = [0]>(i) "
        "c = Concat<axis: int = 0>(u, minus_one) "
        "v = Reshape(x, c)",
        **PICTURE,
        opsets=(9, 11, 12),
    ),
    "x.view(x.size(0), -1) since": around(
        "h = Shape(x) i = Gather(h, first) u = Unsqueeze(i, axis_0) c = Concat<axis: int = 0>(u, minus_one) "
        "v = Reshape(x, c)",
        **PICTURE,
        opsets=SINCE_13,
    ),
    "x.view with a product of sizes": around(
        "h = Shape(x) n = Gather(h, axis_0) i = Gather(h, two) j = Gather(h, three) p = Mul(i, j) "
        "c = Concat<axis: int = 0>(n, p) v = Reshape(x, c)",
        **PICTURE,
        arrays={"two": np.array([2]), "three": np.array([3])},
    ),
    "sizes through 32 bits": around(
        "h = Shape(x) d = Cast<to = 6>(h) n = Slice(d, axis_0, axis_1) c = Concat<axis: int = 0>(n, m) "
        "e = Cast<to = 7>(c) v = Reshape(x, e)",
        **PICTURE,
        opsets=SINCE_11,
        arrays={"m": np.array([-1], np.int32)},
    ),
    "shape of a part": around(
        "h = Shape<start: int = 0, end: int = 1>(x) c = Concat<axis: int = 0>(h, minus_one) "
        "v = Reshape<allowzero: int = 1>(x, c)",
        **PICTURE,
        opsets=(15, 18, 24),
    ),
    "view between layers": Accepted(
        f"{FIRST} h = Shape(z) i = Gather(h, axis_0) c = Concat<axis: int = 0>(i, shape_5) w = Reshape(z, c) "
        f"r = Relu(w) {LAST}"
    ),
}

INPUTS = {
    "shifted and scaled": around("s = Sub(x, mean) v = Div(s, spread)", notes=None),
    "scaled by one number": around("v = Mul(x, half)", notes="folded into Gemm"),
    "taken from a constant": around("v = Sub(mean, x)", notes=None),
    "negative": around("v = Neg(x)", notes=None),
    "shifted": around("v = Add(x, vector)", notes=None),
    "a picture's channels": around(
        "s = Sub(x, picture_mean) v = Flatten(s)", given="float[N,2,1,2] x", sample=(2, 1, 2), notes=None
    ),
    "ACAS Xu": Accepted(
        "s = Sub(x, acas_mean) f = Flatten(s) m = MatMul(f, A) z = Add(m, a) r = Relu(z) n = MatMul(r, B) "
        "y = Add(n, b_flat)",
        given="float[1,1,1,4] x",
        sample=(1, 1, 4),
        batch=1,
        notes="folded into MatMul",
    ),
    "bounded": around(
        "l = Max(x, low) h = Min(l, high) s = Sub(h, mean) v = Div(s, spread)", notes="bounds its input"
    ),
    "clipped": around("v = Clip(x, zero, half)", opsets=SINCE_12, notes="bounds its input"),
    "clipped, as it was": around(
        "v = Clip<min: float = -0.25, max: float = 0.5>(x)", opsets=(7, 10), notes="bounds its input"
    ),
    "scikit-learn's scaler": around(
        "v = ai.onnx.ml.Scaler<offset: floats = [0.5, -1.0, 2.0, 0.0], scale: floats = [1.0, 2.0, 0.5, 4.0]>"
        "(x)",
        notes="folded into Gemm",
    ),
    "scikit-learn's scaler of one number": around(
        "v = ai.onnx.ml.Scaler<offset: floats = [0.5], scale: floats = [2.0]>(x)", notes=None
    ),
    "whole numbers": around("v = Cast<to = 1>(x)", given="int64[N,4] x"),
    "bytes": around("c = Cast<to = 1>(x) v = Div(c, spread)", given="int8[N,4] x", notes=None),
    "wider, then floats": around("w = Cast<to = 7>(x) v = Cast<to = 1>(w)", given="int32[N,4] x"),
}

ACTIVATIONS = {
    "max with zero": Accepted(f"{FIRST} r = Max(z, zero) {LAST}"),
    "max with zero, first": Accepted(f"{FIRST} r = Max(zero, z) {LAST}"),
    "max with zeros": Accepted(f"{FIRST} r = Max(z, zeros5) {LAST}"),
    "clip at zero": Accepted(f"{FIRST} r = Clip(z, zero) {LAST}", opsets=SINCE_11),
    "clip at zero, with the end of the type": Accepted(
        f"{FIRST} r = Clip<min: float = 0.0, max: float = 3.4028234663852886e38>(z) {LAST}", opsets=(7, 10)
    ),
    "no clip": Accepted(f"{FIRST} c = Clip(z, tiny_low) r = Relu(c) {LAST}", opsets=SINCE_11),
    "relu6": Accepted(f"{FIRST} r = Clip(z, zero, six) {LAST}", opsets=SINCE_12, notes="bounds its input"),
    "relu6, half": Accepted(
        f"{FIRST} r = Clip(z, zero, six) {LAST}",
        opsets=SINCE_12,
        notes=None,
        kind=np.float16,
        given="float16[N,4] x",
        gives="float16[] y",
    ),
    "a leak of nothing": Accepted(f"{FIRST} r = LeakyRelu<alpha: float = 0.0>(z) {LAST}"),
    "a slope of nothing": Accepted(f"{FIRST} r = PRelu(z, zero) {LAST}", opsets=(9, 16)),
    "ReLU first": Accepted(f"v = Relu(x) z = Gemm(v, A, a) {REST}", notes="begins with a ReLU"),
    "ReLU last": Accepted(f"{FIRST} r = Relu(z) s = Gemm(r, B, b) y = Relu(s)", notes="ends with a ReLU"),
}

WEIGHTS = {
    "cast": spelt("w = Cast<to = 1>(Wh) z = Gemm(x, w, a)", arrays={"Wh": CONSTANTS["A"].astype(np.float16)}),
    "turned": spelt("w = Transpose(At) z = Gemm(x, w, a)"),
    "turned by nothing": spelt("w = Transpose<perm = [0, 1]>(A) z = Gemm(x, w, a)"),
    "named twice": spelt("w = Identity(A) q = Identity(w) z = Gemm(x, q, a)"),
    "int8": spelt(
        "w = DequantizeLinear(W8, half, z8) z = Gemm(x, w, a)",
        opsets=(10, 13, 19, 21),
        arrays={"W8": (CONSTANTS["A"] * 20).astype(np.int8), "z8": np.int8(3)},
    ),
    "int8 by column": spelt(
        "w = DequantizeLinear<axis: int = 1>(W8, scale5, z8) z = Gemm(x, w, a)",
        opsets=(13, 19, 21),
        arrays={
            "W8": (CONSTANTS["A"] * 20).astype(np.int8),
            "z8": np.arange(5, dtype=np.int8),
            "scale5": np.linspace(0.1, 0.2, 5, dtype=np.float32),
        },
    ),
    "rounded to int8 and back": spelt(
        "q = QuantizeLinear(A, half, z8) w = DequantizeLinear(q, half, z8) z = Gemm(x, w, a)",
        opsets=(13, 19, 21),
        arrays={"z8": np.int8(3)},
    ),
    "scaled": spelt("w = Mul(A, half) z = Gemm(x, w, a)"),
    "of a length of their own": spelt(
        "n = ReduceL2<axes = [1], keepdims: int = 1>(A) u = Div(A, n) w = Mul(u, spread_column) "
        "z = Gemm(x, w, a)",
        opsets=(11, 13, 17),
        arrays={"spread_column": CONSTANTS["spread"][:, None].astype(np.float32)},
    ),
    "products": spelt("w = MatMul(square, A) z = Gemm(x, w, a)"),
    "cut out": spelt(
        "w = Slice(W, axis_0, four, axis_0) z = Gemm(x, w, a)",
        opsets=SINCE_11,
        arrays={"W": np.vstack([CONSTANTS["A"]] * 2).astype(np.float32), "four": np.array([4])},
    ),
    "split": spelt(
        "w, q = Split<axis: int = 0>(W) z = Gemm(x, w, a)",
        opsets=(8, 11, 13),
        arrays={"W": np.vstack([CONSTANTS["A"]] * 2).astype(np.float32)},
    ),
    "put together": spelt(
        "w = Concat<axis: int = 0>(A, A) v = Concat<axis: int = 1>(x, x) z = Gemm(x, A, a)"
    ),
    "reshaped": spelt(
        "w = Reshape(f, shape_4_5) z = Gemm(x, w, a)", arrays={"f": CONSTANTS["A"].ravel().astype(np.float32)}
    ),
    "a bias of zeros": spelt("n = ConstantOfShape(shape_5) z = Gemm(x, A, n)", opsets=(9, 13, 21)),
    "a bias that is repeated": spelt("n = Expand(one, shape_5) z = Gemm(x, A, n)"),
    "constants as nodes": spelt(
        "w = Constant<value: tensor = float[4,2] {1, 2, -3, 4, 5, -6, 7, 8}>() "
        "q = Constant<value_floats = [0.5, -1.0]>() "
        "m = MatMul(x, w) n = Add(m, q) k = Constant<value_float: float = 2.0>() o = Mul(n, k) "
        "z = Gemm(o, W, a)",
        opsets=(12, 17),
        arrays={"W": CONSTANTS["B"].T[:2].astype(np.float32)},
        notes=None,
    ),
}

ENDINGS = {
    "sigmoid": ending("y = Sigmoid(s)", output="sigmoid"),
    "softmax": ending("y = Softmax<axis: int = 1>(s)", output="softmax"),
    "softmax by default": ending("y = Softmax(s)", output="softmax"),
    "softmax of a vector": Accepted(
        "m = MatMul(x, A) r = Relu(m) s = MatMul(r, B) y = Softmax<axis: int = 0>(s)",
        output="softmax",
        **VECTOR,
    ),
    "logarithms of a softmax": ending(
        "y = LogSoftmax<axis: int = 1>(s)",
        output="softmax",
        notes="logarithms",
        compare=lambda f, o: (f, np.exp(o[0])),
    ),
    "the logarithm of a softmax": ending(
        "p = Softmax<axis: int = 1>(s) y = Log(p)",
        output="softmax",
        notes="logarithms",
        compare=lambda f, o: (f, np.exp(o[0])),
    ),
    "one number a sample": Accepted(
        f"{LONE} y = Squeeze(s, axis_1)", opsets=SINCE_13, compare=lambda f, o: (f[:, 0], o[0])
    ),
    "one number a sample, flat": Accepted(
        f"{LONE} y = Reshape(s, all)", compare=lambda f, o: (f[:, 0], o[0])
    ),
    "an axis more": ending("y = Unsqueeze(s, axis_1)", opsets=SINCE_13, compare=lambda f, o: (f, o[0][:, 0])),
    "scaled back": ending("y = Mul(s, half)", notes="folded into Gemm"),
    "labels": ending(
        "y = ArgMax<axis: int = 1, keepdims: int = 0>(s)",
        gives="int64[] y",
        notes="makes labels",
        compare=labels,
    ),
    "labels of probabilities": ending(
        "p = Softmax(s) y = ArgMax<axis: int = -1>(p)",
        gives="int64[] y",
        output="softmax",
        opsets=SINCE_13,
        notes="makes labels",
        compare=labels,
    ),
    "names of labels": ending(
        "l = ArgMax<axis: int = 1, keepdims: int = 0>(s) y = Gather(labels, l)",
        gives="int64[] y",
        notes="makes labels",
        compare=lambda f, o: (10 * (f.argmax(axis=1) + 1), o[0]),
    ),
    "labels of a lone number": Accepted(
        f"{LONE} p = Sigmoid(s) t = Greater(p, half) y = Cast<to = 7>(t)",
        gives="int64[] y",
        output="sigmoid",
        notes="makes labels",
        compare=lambda f, o: (f > 0.5, o[0]),
    ),
    "scores and probabilities": ending(
        "y = Softmax<axis: int = 1>(s)",
        gives="float[] s, float[] y",
        output="softmax",
        notes="the graph's output 'y' is read",
        compare=lambda f, o: (f, o[1]),
    ),
    "a hidden layer beside": Accepted(
        NET, gives="float[] r, float[] y", notes="'y' is read", compare=lambda f, o: (f, o[1])
    ),
    "labels and probabilities": ending(
        "y = Softmax<axis: int = 1>(s) l = ArgMax<axis: int = 1>(y)",
        gives="int64[] l, float[] y",
        output="softmax",
        notes="'y' is read",
        compare=lambda f, o: (f, o[1]),
    ),
    "a classifier of scikit-learn": ending(
        "p = Softmax(s) i = ArgMax<axis: int = 1>(p) "
        f"q = ai.onnx.ml.ZipMap <{NAMES}>(p) e = ai.onnx.ml.ArrayFeatureExtractor(labels, i) "
        "f = Reshape(e, all) l = Cast<to = 7>(f)",
        gives="int64[N] l, seq(map(string, float)) q",
        output="softmax",
        opsets=(9, 13, 21),
        notes="in this order: a, b, c",
        compare=mapped(1),
    ),
    "a classifier of scikit-learn between two": Accepted(
        f"{LONE} p = Sigmoid(s) n = Sub(one, p) c = Concat<axis: int = 1>(n, p) i = ArgMax<axis: int = 1>(c) "
        "q = ai.onnx.ml.ZipMap<classlabels_int64s = [0, 1]>(c) l = Cast<to = 7>(i)",
        gives="int64[] l, seq(map(int64, float)) q",
        output="sigmoid",
        notes="gives p alone",
        compare=lambda f, o: (f[:, 0], [row[1] for row in o[1]]),
    ),
    "a part of the probabilities beside": ending(
        "y = Softmax(s) c = Slice(y, axis_0, axis_1, axis_1)",
        gives="float[] c, float[] y",
        output="softmax",
        opsets=SINCE_13,
        notes="'y' is read",
        compare=lambda f, o: (f, o[1]),
    ),
}

ACCEPTED = [
    pytest.param(case, opset, id=f"{family}: {name}, opset {opset}")
    for family, cases in (
        ("layers", LAYERS),
        ("axes", AXES),
        ("inputs", INPUTS),
        ("activations", ACTIVATIONS),
        ("weights", WEIGHTS),
        ("endings", ENDINGS),
    )
    for name, case in cases.items()
    for opset in case.opsets
]


@pytest.mark.parametrize(("case", "opset"), ACCEPTED)
def test_a_graph_predicts_what_onnxruntime_says(tmp_path, case, opset):
    model = graph(case.body, case.given, case.gives, opset, case.kind, case.arrays)
    element = helper.tensor_dtype_to_np_dtype(model.graph.input[0].type.tensor_type.elem_type)
    rows, X = inputs(case.sample, element)
    if case.batch is None:
        outputs = [np.stack(made) for made in zip(*(run(model, x) for x in X), strict=True)]
        outputs[0] = outputs[0].reshape(len(X), -1)
    elif case.batch == 1:
        outputs = run(model, X[:1])
        rows = rows[:1]
    else:
        outputs = run(model, np.moveaxis(X, 0, 1) if case.given.endswith(",N] x") else X)
    read = read_model(saved(tmp_path / "model.onnx", model))
    predicted = read.network.predict(rows.astype(np.float64))
    compare = case.compare or (lambda found, made: (found, made[0].reshape(found.shape)))
    found, expected = map(np.asarray, compare(predicted, outputs))
    tolerance = 1e-2 if case.kind is np.float16 else 1e-5
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max())
    assert read.network.output.name == case.output
    assert read.says_output == (case.output != "identity")
    if case.notes is not None:
        assert case.notes in "\n".join(read.notes)
    assert case.notes != "" or read.notes == ()


@pytest.mark.parametrize("output", ["identity", "sigmoid", "softmax"])
def test_what_is_written_is_read_by_onnxruntime_and_by_us(tmp_path, output):
    network = biased([4, 7, 5, 3], output)
    path = written(tmp_path / "model.onnx", network)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    X = samples(4).astype(np.float64)
    (found,) = run(model, X)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, network.predict(X), rtol=1e-12, atol=1e-14)
    read = read_model(path)
    assert_same(read.network, network)
    assert read.says_output == (output != "identity")
    assert read.notes == ()


def test_bfloat16_is_a_float_too(tmp_path):
    """No runtime computes with it here: the same weights in float32 are the oracle."""
    plain, short = graph(NET), graph(NET, "bfloat16[N,4] x", "bfloat16[] y")
    for one, other in zip(short.graph.initializer, plain.graph.initializer, strict=True):
        rounded = onnx.numpy_helper.to_array(one).astype(
            helper.tensor_dtype_to_np_dtype(TensorProto.BFLOAT16)
        )
        one.CopyFrom(onnx.numpy_helper.from_array(rounded, one.name))
        other.CopyFrom(onnx.numpy_helper.from_array(rounded.astype(np.float32), one.name))
    (one, other) = (
        read_model(saved(tmp_path / f"{name}.onnx", model)).network
        for name, model in (("short", short), ("plain", plain))
    )
    assert_same(one, other)


def test_initializers_may_be_inputs_too(tmp_path):
    """As exporters wrote them before version 4 of the format."""
    model = graph(NET)
    model.graph.input.extend(
        helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        for tensor in model.graph.initializer
    )
    rows, X = inputs((4,))
    found = read_model(saved(tmp_path / "model.onnx", model))
    np.testing.assert_allclose(found.network.predict(rows), run(model, X)[0], rtol=1e-5, atol=1e-5)


def test_an_input_that_nothing_depends_on_is_left_away_aloud(tmp_path):
    model = graph(NET, "float[N,4] x, float[N] weight_of_sample")
    notes = read_model(saved(tmp_path / "model.onnx", model)).notes
    assert "'y' does not depend on the input 'weight_of_sample'" in notes


def test_functions_of_the_model_are_written_out(tmp_path):
    model = graph(NET)
    body = [helper.make_node("MatMul", ["v", "W"], ["m"]), helper.make_node("Add", ["m", "c"], ["o"])]
    opset = [helper.make_opsetid("", 17)]
    linear = helper.make_function("local", "Linear", ["v", "W", "c"], ["o"], body, opset)
    model.functions.append(linear)
    model.opset_import.append(helper.make_opsetid("local", 1))
    for node in model.graph.node:
        if node.op_type == "Gemm":
            node.op_type, node.domain = "Linear", "local"
    rows, X = inputs((4,))
    found = read_model(saved(tmp_path / "model.onnx", model))
    np.testing.assert_allclose(found.network.predict(rows), run(model, X)[0], rtol=1e-5, atol=1e-5)
