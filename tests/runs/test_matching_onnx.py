"""ONNX graphs that name classes or scale inputs, on tables: ONNX Runtime on the raw table is the oracle."""

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
from onnx import helper, numpy_helper

from sheafcli.errors import InputError
from sheafcli.runs import RunDirectory
from sheafcli.runs.imported import DataSource, Imported

RNG = np.random.default_rng(3)
# Columns far from standardised: scaled twice, or not at all, they give other classes.
X = (RNG.normal(size=(90, 3)) * [30.0, 0.2, 4.0] + [100.0, -5.0, 7.0]).astype(np.float32)
MEAN, SPREAD = X.mean(axis=0), X.std(axis=0)
ARRAYS = {
    "W1": RNG.normal(size=(3, 8)).astype(np.float32),
    "b1": RNG.normal(size=8).astype(np.float32),
    "W2": RNG.normal(size=(8, 3)).astype(np.float32),
    "w": RNG.normal(size=(8, 1)).astype(np.float32),
    "half": np.array(0.5, np.float32),
    "one": np.array([1.0], np.float32),
    "zero": np.array(0.0, np.float32),
    "mean": MEAN,
    "spread": SPREAD,
    "factor": 1.0 / SPREAD,
    "shift": -MEAN / SPREAD,
    "zeros": np.zeros(3, np.float32),
    "ones": np.ones(3, np.float32),
    "codes": np.array([0, 1, 2]),
    "numbers": np.array([30, 10, 20]),
    "all": np.array([-1]),
    "single": np.array([1]),
    "low": np.array(-9.0, np.float32),
    "high": np.array(9.0, np.float32),
}
WORDS = {"words": ["b", "c", "a"], "two": ["yes", "no"], "no_yes": ["no", "yes"]}
SCALING = "m = Sub(x, mean) v = Div(m, spread)"
HIDDEN = "h = Gemm(v, W1, b1) r = Relu(h)"
THREE = f"{SCALING} {HIDDEN} s = MatMul(r, W2) p = Softmax(s)"
TWO = f"{SCALING} {HIDDEN} s = MatMul(r, w) p = Sigmoid(s)"
BOTH = f"{TWO} n = Sub(one, p) c = Concat<axis: int = 1>(n, p)"
ZIPMAP = 'ai.onnx.ml.ZipMap<classlabels_strings = ["b", "c", "a"]>'
TO_WORDS = 'values_strings: strings = ["a", "b", "c"]'
PICK = "i = ArgMax<axis: int = 1, keepdims: int = 0>(p)"


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def saved(body, gives, given="float[N,3] x"):
    """Write a graph, with the arrays that it names, and return how ONNX Runtime runs it."""
    parsed = onnx.parser.parse_graph(f"g ({given}) => ({gives}) {{ {body} }}")
    used = {name for node in parsed.node for name in node.input}
    held = [numpy_helper.from_array(np.asarray(array), name) for name, array in ARRAYS.items()]
    words = [
        helper.make_tensor(name, onnx.TensorProto.STRING, [len(row)], [word.encode() for word in row])
        for name, row in WORDS.items()
    ]
    parsed.initializer.extend(tensor for tensor in [*held, *words] if tensor.name in used)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 2)]
    model = helper.make_model(parsed, opset_imports=opsets, ir_version=8)
    onnx.save(model, "model.onnx")
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda output: session.run([output], {"x": X})[0]


def read(workplace, y, **options):
    pd.DataFrame(X.astype(float), columns=["a", "b", "c"]).assign(y=y).to_csv("data.csv", index=False)
    source = DataSource.named("data.csv", ["y"])
    return Imported.read(workplace / "model.onnx", RunDirectory(workplace / "run"), source, **options)


def accuracy(imported):
    """The accuracy on all samples, of both parts."""
    parts = {"train": len(imported.task.X_train), "test": len(imported.task.X_test)}
    figures = imported.figures
    return sum(figures[f"{part}_accuracy"] * n for part, n in parts.items()) / sum(parts.values())


def mostly(labels, others):
    """Labels, of which every tenth is another: what is right of them is then no matter of chance."""
    y = np.array(labels, dtype=object)
    y[::10] = np.array(list(others), dtype=object)[np.arange(len(y[::10])) % len(others)]
    return y


def largest(maps):
    return [max(row, key=row.get) for row in maps]


NAMED = {
    "ZipMap": (f"{THREE} q = {ZIPMAP}(p)", "seq(map(string, float)) q", "q", largest),
    "numbers of ZipMap": (
        f"{THREE} q = ai.onnx.ml.ZipMap<classlabels_int64s = [30, 10, 20]>(p)",
        *("seq(map(int64, float)) q", "q", largest),
    ),
    "ArrayFeatureExtractor": (
        f"{THREE} {PICK} e = ai.onnx.ml.ArrayFeatureExtractor(words, i) l = Reshape(e, all)",
        *("string[N] l, float[N,3] p", "l", list),
    ),
    "ArrayFeatureExtractor of numbers": (
        f"{THREE} {PICK} e = ai.onnx.ml.ArrayFeatureExtractor(numbers, i) d = Cast<to = 7>(e) "
        "l = Reshape(d, all)",
        *("int64[N] l, float[N,3] p", "l", list),
    ),
    "Gather": (f"{THREE} {PICK} l = Gather(words, i)", "string[N] l", "l", list),
    "LabelEncoder": (
        f"{THREE} {PICK} l = ai.onnx.ml.LabelEncoder<keys_int64s: ints = [2, 0, 1], {TO_WORDS}>(i)",
        *("string[N] l", "l", list),
    ),
    "LabelEncoder of labels": (
        f"{THREE} {PICK} e = ai.onnx.ml.ArrayFeatureExtractor(numbers, i) d = Reshape(e, all) "
        f"l = ai.onnx.ml.LabelEncoder<keys_int64s: ints = [20, 30, 10], {TO_WORDS}>(d)",
        *("string[N] l", "l", list),
    ),
    "ZipMap and places": (
        f"{THREE} q = {ZIPMAP}(p) {PICK} k = Gather(codes, i)",
        *("int64[N] k, seq(map(string, float)) q", "q", largest),
    ),
    "labels of logits": (
        f"{THREE} i = ArgMax<axis: int = 1, keepdims: int = 0>(s) l = Gather(words, i)",
        *("float[N,3] p, string[N] l", "l", list),
    ),
    "ZipMap of two": (
        f'{BOTH} q = ai.onnx.ml.ZipMap<classlabels_strings = ["yes", "no"]>(c)',
        *("seq(map(string, float)) q", "q", largest),
    ),
    "the larger of two": (
        f"{BOTH} i = ArgMax<axis: int = 1, keepdims: int = 0>(c) "
        "e = ai.onnx.ml.ArrayFeatureExtractor(two, i) l = Reshape(e, all)",
        *("string[N] l, float[N,2] c", "l", list),
    ),
    "above one half": (
        f"{TWO} g = Greater(p, half) i = Cast<to = 7>(g) f = Reshape(i, all) l = Gather(two, f)",
        *("string[N] l, float[N,1] p", "l", list),
    ),
    "one half below": (
        f"{TWO} g = Less(half, p) i = Cast<to = 7>(g) f = Reshape(i, all) l = Gather(two, f)",
        *("string[N] l, float[N,1] p", "l", list),
    ),
    "not above one half": (
        f"{TWO} g = Greater(p, half) o = Not(g) i = Cast<to = 7>(o) f = Reshape(i, all) "
        "l = Gather(no_yes, f)",
        *("string[N] l", "l", list),
    ),
    "a logit above zero": (
        f"{SCALING} {HIDDEN} s = MatMul(r, w) g = Greater(s, zero) i = Cast<to = 7>(g) f = Reshape(i, all) "
        "l = Gather(two, f)",
        *("string[N] l", "l", list),
    ),
}


@pytest.mark.parametrize(("body", "gives", "output", "labels"), NAMED.values(), ids=list(NAMED))
def test_classes_in_another_order_than_the_datas_are_matched_by_name(workplace, body, gives, output, labels):
    told = labels(saved(body, gives)(output))
    y = mostly(told, sorted(set(told)))
    imported = read(workplace, y)
    notes = "; ".join(imported.notes)
    assert "the classes are put in the data's order" in notes
    assert accuracy(imported) == pytest.approx(np.mean(np.array(told, dtype=object) == y))


def test_the_same_names_in_the_same_order_need_no_note(workplace):
    body = f'{THREE} q = ai.onnx.ml.ZipMap<classlabels_strings = ["a", "b", "c"]>(p)'
    told = largest(saved(body, "seq(map(string, float)) q")("q"))
    imported = read(workplace, mostly(told, "abc"))
    assert not any("the classes are" in note for note in imported.notes)


def test_other_names_are_refused(workplace):
    told = largest(saved(f"{THREE} q = {ZIPMAP}(p)", "seq(map(string, float)) q")("q"))
    with pytest.raises(InputError, match="the file's classes are b, c, a; the data's are a, b, d"):
        read(workplace, mostly(["d" if label == "c" else label for label in told], "abd"))


def test_places_beside_words_are_taken_by_position_aloud(workplace):
    body = f"{THREE} {PICK} l = Gather(codes, i)"
    told = saved(body, "int64[N] l")("l")
    imported = read(workplace, mostly(np.array(["a", "b", "c"])[told], "abc"))
    assert "the classes are taken by position: 0, 1, 2 of the file are a, b, c of the data" in imported.notes


UNCLEAR = {
    "two ways": (
        f"{THREE} q = {ZIPMAP}(p) {PICK} l = Gather(numbers, i)",
        "int64[N] l, seq(map(string, float)) q",
        "in several ways (30, 10, 20; b, c, a): they are taken by position",
    ),
    "a choice": (
        f"{TWO} g = Greater(p, half) l = Where(g, one, half)",
        "float[N,1] l",
        "how Where (node 7) names the classes is not read: they are taken by position",
    ),
    "the index of the largest numbers": (
        f"{THREE} t, i = TopK<axis: int = 1>(p, single) f = Reshape(i, all) l = Gather(words, f)",
        "string[N] l",
        "how Gather (node 8) names the classes is not read",
    ),
    "one name for two": (
        f'{THREE} q = ai.onnx.ml.ZipMap<classlabels_strings = ["a", "b", "a"]>(p)',
        "seq(map(string, float)) q",
        "how ZipMap (node 6) names the classes is not read",
    ),
}


@pytest.mark.parametrize(("body", "gives", "said"), UNCLEAR.values(), ids=list(UNCLEAR))
def test_names_that_are_not_sure_are_not_used_aloud(workplace, body, gives, said):
    saved(body, gives)
    y = np.array(["u", "v", "w"])[np.arange(90) % (2 if body.startswith(TWO) else 3)]
    assert said in "; ".join(read(workplace, y).notes)


def test_labels_of_a_sample_are_no_classes(workplace):
    saved(f"{SCALING} {HIDDEN} s = MatMul(r, W2) p = Sigmoid(s) q = {ZIPMAP}(p)", "seq(map(string, float)) q")
    imported = Imported.read(workplace / "model.onnx", RunDirectory(workplace / "run"))
    assert any("their names (b, c, a) are not matched" in note for note in imported.notes)


def test_without_data_the_names_are_told(workplace):
    saved(f"{BOTH} i = ArgMax<axis: int = 1, keepdims: int = 0>(c) l = Gather(two, i)", "string[N] l")
    imported = Imported.read(workplace / "model.onnx", RunDirectory(workplace / "run"))
    assert "the one output is the probability of class no" in imported.notes


def test_a_graph_of_classes_does_not_predict_a_quantity(workplace):
    saved(
        f"{TWO.removesuffix('p = Sigmoid(s)')} g = Greater(s, half) i = Cast<to = 7>(g) f = Reshape(i, all) "
        "l = Gather(two, f)",
        "string[N] l",
    )
    with pytest.raises(InputError, match="names classes, yes, no, and the data has a quantity"):
        read(workplace, X[:, 0] * 1.5)


# Scales -------------------------------------------------------------------------------------

LAYERS = f"{HIDDEN} s = MatMul(r, W2) p = Softmax(s) q = {ZIPMAP}(p)"
LISTED = {name: ", ".join(map(str, map(float, ARRAYS[name]))) for name in ("mean", "factor")}
SCALED = {
    "skl2onnx": "v = ai.onnx.ml.Scaler<offset: floats = [{mean}], scale: floats = [{factor}]>(x)".format(
        **LISTED
    ),
    "Sub, Div": SCALING,
    "Mul, Add": "m = Mul(x, factor) v = Add(m, shift)",
    "Sub, Div, Clip": "m = Sub(x, mean) d = Div(m, spread) v = Clip(d, low, high)",
}


@pytest.mark.parametrize("scaling", SCALED.values(), ids=list(SCALED))
def test_a_graph_that_scales_its_inputs_takes_the_table_as_it_is(workplace, scaling):
    told = largest(saved(f"{scaling} {LAYERS}", "seq(map(string, float)) q")("q"))
    y = mostly(told, "abc")
    imported = read(workplace, y)
    assert any("a scaler of the inputs: the data is taken as it is" in note for note in imported.notes)
    assert accuracy(imported) == pytest.approx(np.mean(np.array(told, dtype=object) == y))


UNSCALED = {
    "a layer first": "v = Identity(x)",
    "neutral constants": "m = Sub(x, zeros) d = Div(m, ones) v = Mul(d, ones)",
    "another sign": "v = Neg(x)",
    "a diagonal layer with a ReLU": "m = Sub(x, mean) v = Relu(m)",
    "BatchNormalization": "v = BatchNormalization(x, factor, shift, mean, spread)",
}


@pytest.mark.parametrize("body", UNSCALED.values(), ids=list(UNSCALED))
def test_what_is_no_scaler_leaves_the_table_standardised(workplace, body):
    saved(f"{body} {LAYERS}", "seq(map(string, float)) q")
    imported = read(workplace, np.array(["a", "b", "c"])[np.arange(90) % 3])
    assert any(note.startswith("the data is standardised") for note in imported.notes)
