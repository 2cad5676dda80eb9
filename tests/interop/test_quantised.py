"""Quantised graphs of ONNX Runtime: what is recorded of them is what their integers stand for."""

import logging

import numpy as np
import pytest

from sheafcli.core.graph import Graph, Node
from sheafcli.core.network import network_of
from sheafcli.core.operations import Add, BatchNormalization, Convolution, Dense, Flatten, MaxPooling, ReLU
from sheafcli.core.outputs import Identity
from sheafcli.diagnostics.difference import compare
from sheafcli.interop.onnx_export import graph_bytes
from sheafcli.interop.quantised import is_quantised, read_through_steps, rounded_value
from sheafcli.interop.recorded import recorded_of
from sheafcli.interop.recording import record_onnx
from sheafcli.interop.shared_ends import at_shared_ends

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

FORMS = ("QDQ", "QOperator", "dynamic")


def block():
    """A convolution, and a residual block with a normalisation, a pooling and a dense layer."""
    rng = np.random.default_rng(0)

    def conv(channels):
        return Convolution(0.4 * rng.normal(size=(4, channels, 3, 3)), 0.1 * rng.normal(size=4), 1, 1)

    nodes = (
        Node("stem", conv(1), ("x",)),
        Node("relu", ReLU(), ("stem",)),
        Node("conv", conv(4), ("relu",)),
        Node("norm", BatchNormalization(*(1.0 + 0.1 * rng.normal(size=(3, 4))), np.ones(4)), ("conv",)),
        Node("act", ReLU(), ("norm",)),
        Node("mid", conv(4), ("act",)),
        Node("cut", ReLU(), ("mid",)),
        Node("add", Add(), ("relu", "cut")),
        Node("pool", MaxPooling((2, 2)), ("add",)),
        Node("flat", Flatten(), ("pool",)),
        Node("fc", Dense(0.3 * rng.normal(size=(3, 36)), np.zeros(3)), ("flat",)),
    )
    return Graph((1, 6, 6), nodes)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The block in every form, written by ONNX Runtime after its own fusing of the normalisation."""
    quantization = pytest.importorskip("onnxruntime.quantization")
    shapes = pytest.importorskip("onnxruntime.quantization.shape_inference")
    folder = tmp_path_factory.mktemp("quantised")
    graph = block()
    X = np.random.default_rng(1).normal(size=(16, 1, 6, 6)).astype(np.float32)

    class Reader(quantization.CalibrationDataReader):
        def __init__(self):
            self.batches = iter([{"input": X}])

        def get_next(self):
            return next(self.batches, None)

    plain, fused = folder / "plain.onnx", folder / "fused.onnx"
    plain.write_bytes(graph_bytes(network_of(graph, Identity()), np.dtype(np.float32)))
    logging.disable(logging.WARNING)
    try:
        shapes.quant_pre_process(str(plain), str(fused), skip_symbolic_shape=True)
        for form in FORMS[:2]:
            quantization.quantize_static(
                str(fused),
                str(folder / f"{form}.onnx"),
                Reader(),
                quant_format=getattr(quantization.QuantFormat, form),
            )
        quantization.quantize_dynamic(str(plain), str(folder / "dynamic.onnx"))
    finally:
        logging.disable(logging.NOTSET)
    return graph, X, {form: folder / f"{form}.onnx" for form in ("plain", *FORMS)}


def matched(graph, path, X):
    arrays = record_onnx(path, X)
    found = recorded_of(arrays, graph, {"input": "x", "output": "fc"}, path)
    return (*at_shared_ends(graph, found.input, found.values, arrays), found)


def test_a_file_tells_that_it_is_quantised(files):
    _, _, paths = files
    assert [is_quantised(onnx.load(path)) for path in paths.values()] == [False, True, True, True]


def test_a_value_that_is_read_rounded_and_as_it_is_stays_as_it_is():
    """Then rounding is counted to the operations that read it so."""
    make = onnx.helper.make_node
    nodes = [
        make("Relu", ["x"], ["r"]),
        make("QuantizeLinear", ["r", "s"], ["q"]),
        make("DequantizeLinear", ["q", "s"], ["r_DequantizeLinear_Output"]),
        make("Neg", ["r_DequantizeLinear_Output"], ["a"]),
        make("Neg", ["r"], ["b"]),
    ]

    def model(nodes):
        return onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [], []))

    assert read_through_steps(model(nodes), onnx) == {"r_DequantizeLinear_Output"}
    assert read_through_steps(model(nodes[:4]), onnx) == set()


def test_names_of_values_read_through_steps():
    assert rounded_value("conv_DequantizeLinear_Output") == "conv"
    assert rounded_value("conv_DequantizeLinear_Output_2") == "conv"
    assert rounded_value("conv_quantized_DequantizeLinear_Output") == "conv"
    assert rounded_value("conv") is None


@pytest.mark.parametrize("form", FORMS[:2])
def test_integers_are_recorded_as_what_they_stand_for(files, form):
    """(q - zero point) scale, by the numbers in the file."""
    _, X, paths = files
    model = onnx.load(paths[form])
    numbers = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    arrays = record_onnx(paths[form], X)
    slots = {"QuantizeLinear": (1, 2), "QLinearConv": (6, 7), "QGemm": (7, 8)}
    checked = set()
    for node in model.graph.node:
        real = f"{node.output[0].removesuffix('_QuantizeLinear_Output')}_DequantizeLinear_Output"
        if node.op_type in slots and real in arrays:
            scale, zero = (numbers[node.input[slot]] for slot in slots[node.op_type])
            q = arrays[node.output[0]].astype(np.float64)
            assert arrays[real] == pytest.approx((q - zero.astype(np.float64)) * scale, rel=1e-6)
            checked.add(node.op_type)
    assert checked == {"QuantizeLinear"} | ({"QLinearConv"} if form == "QOperator" else set())


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_matched_at_the_ends_that_it_shares(files, form):
    graph, X, paths = files
    values, moved, found = matched(graph, paths[form], X)
    ends = {"relu", "act", "cut", "add", "pool", "flat", "fc"}
    assert ends <= set(values)
    if form == "QOperator":  # its activations are the cut of what rounds
        assert set(moved) == {"relu", "act", "cut"} - set(found.values)
        assert np.min(values["act"]) == 0.0
    if form == "dynamic":
        assert ends | {"stem", "conv", "norm", "mid"} == set(values)


@pytest.mark.parametrize("form", FORMS)
def test_a_quantised_copy_is_within_the_rounding_of_8_bits(files, form):
    graph, X, paths = files
    values, _, found = matched(graph, paths[form], X)
    comparison = compare(network_of(graph, Identity()), found.input, values, "int8")
    assert comparison.significant.empty
    assert comparison.operations["share"].sum() == pytest.approx(1.0)


def test_rounding_inside_the_layers_of_a_float_run_is_told(files):
    """Dynamic quantisation leaves all values in float32: its layers, and these alone, are beyond that."""
    graph, X, paths = files
    values, _, found = matched(graph, paths["dynamic"], X)
    comparison = compare(network_of(graph, Identity()), found.input, values)
    assert set(comparison.significant["operation"]) == {"stem", "conv", "mid", "fc"}
    assert set(comparison.significant["kind"]) == {"rounded"}


def test_the_rounding_of_the_input_has_a_share_of_its_own(files):
    graph, X, paths = files
    values, _, found = matched(graph, paths["QDQ"], X)
    comparison = compare(network_of(graph, Identity()), found.input, values)
    first = comparison.operations.iloc[0]
    assert (first["operation"], first["type"]) == ("x", "Input")
    assert np.array_equal(found.input, X)
    assert first["largest"] == pytest.approx(np.max(np.abs(X - values["x"])))
    assert comparison.operations["share"].sum() == pytest.approx(1.0)
