"""What is recorded is what the libraries compute: PyTorch's modules, and ONNX Runtime."""

import numpy as np
import pytest

from sheafcli.core.difference import values_of
from sheafcli.core.graph import Graph
from sheafcli.core.network import network_of
from sheafcli.core.operations import BatchNormalization, Convolution, Dense, Flatten, ReLU, Tanh
from sheafcli.core.outputs import Identity
from sheafcli.errors import InputError
from sheafcli.interop.models import read_model
from sheafcli.interop.onnx_export import graph_bytes
from sheafcli.interop.recorded import recorded_of
from sheafcli.interop.recording import record, record_onnx


def network():
    rng = np.random.default_rng(0)
    operations = {
        "conv": Convolution(rng.normal(size=(2, 1, 3, 3)), rng.normal(size=2)),
        "tanh": Tanh(),
        "flat": Flatten(),
        "end": Dense(rng.normal(size=(3, 8)), rng.normal(size=3)),
    }
    return network_of(Graph.path((1, 4, 4), operations), Identity())


def test_a_module_is_recorded_by_the_names_of_its_parts():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Dropout(0.5), torch.nn.ReLU())
    X = torch.randn(4, 3)
    values = record(model, X)
    assert list(values) == ["x", "0", "1", "2"]
    with torch.no_grad():
        z = model[0](X).numpy()
    assert np.array_equal(values["0"], z)
    assert np.array_equal(values["1"], z)  # as at evaluation
    assert np.array_equal(values["2"], np.maximum(z, 0.0))
    assert model.training
    assert not model[0]._forward_hooks
    with pytest.raises(InputError, match=r"record takes a torch\.nn\.Module, got dict"):
        record({}, X)


def test_a_file_is_recorded_whole_and_knows_its_vertices(tmp_path):
    pytest.importorskip("onnxruntime")
    path = tmp_path / "net.onnx"
    path.write_bytes(graph_bytes(network()))
    X = np.random.default_rng(1).normal(size=(6, 16))
    values = record_onnx(path, X)
    assert {"input", "conv", "tanh", "flat", "end", "output"} <= set(values)
    model = read_model(path)
    found = recorded_of(values, model.network.graph, model.tensors, path)
    own = values_of(model.network.graph, X.reshape(6, 1, 4, 4))
    assert set(found.values) == set(own)
    for name, value in found.values.items():
        assert value == pytest.approx(own[name], abs=1e-5)
    assert found.input == pytest.approx(X.reshape(6, 1, 4, 4), abs=1e-6)


def test_a_plain_chain_knows_the_values_at_the_ends_of_its_layers(tmp_path):
    """Of a product and a sum that become one layer, the sum is the layer's value."""
    onnx = pytest.importorskip("onnx")
    rng, helper = np.random.default_rng(0), onnx.helper
    weights = {"W1": rng.normal(size=(3, 4)), "b1": rng.normal(size=4), "W2": rng.normal(size=(4, 2))}
    nodes = [
        helper.make_node("MatMul", ["in", "W1"], ["product"]),
        helper.make_node("Add", ["product", "b1"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["positive"]),
        helper.make_node("MatMul", ["positive", "W2"], ["out"]),
    ]
    tensors = [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()]
    double = onnx.TensorProto.DOUBLE
    ends = [
        helper.make_tensor_value_info(name, double, ["n", size]) for name, size in (("in", 3), ("out", 2))
    ]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], tensors)
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "chain.onnx")
    assert read_model(tmp_path / "chain.onnx").tensors == {
        "in": "x",
        "sum": "affine_1",
        "positive": "activation_1",
        "out": "affine_2",
    }


def test_what_is_folded_has_no_name_of_the_file(tmp_path):
    pytest.importorskip("onnx")
    rng = np.random.default_rng(0)
    operations = {
        "conv": Convolution(rng.normal(size=(2, 1, 3, 3)), rng.normal(size=2)),
        "norm": BatchNormalization(*rng.normal(size=(3, 2)), rng.uniform(0.5, 1.0, 2)),
        "relu": ReLU(),
        "flat": Flatten(),
        "end": Dense(rng.normal(size=(3, 8)), rng.normal(size=3)),
    }
    path = tmp_path / "net.onnx"
    path.write_bytes(graph_bytes(network_of(Graph.path((1, 4, 4), operations), Identity())))
    assert {"conv", "norm"} <= set(read_model(path).tensors)
    folded = read_model(path, fold=True)
    assert not {"conv", "norm"} & set(folded.tensors)
    assert folded.tensors["relu"] == "relu"


def test_values_that_quantisation_rounded_are_taken_as_they_are_read(tmp_path):
    graph = network().graph
    arrays = {name: value for name, value in values_of(graph, np.ones((2, 1, 4, 4))).items() if name != "end"}
    tensors = {f"/{name}": name for name in arrays}
    of_file = {f"/{name}": value for name, value in arrays.items()}
    of_file["/conv_DequantizeLinear_Output"] = np.rint(arrays["conv"])
    found = recorded_of(of_file, graph, tensors, tmp_path)
    assert np.array_equal(found.values["conv"], np.rint(arrays["conv"]))
    assert np.array_equal(found.values["tanh"], arrays["tanh"])
