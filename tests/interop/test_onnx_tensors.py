"""Tensors in the file and beside it: onnx's own reader is the oracle, and what else is there stays shut."""

import os

import numpy as np
import onnx
import pytest
from model_files import refusal
from onnx import TensorProto, external_data_helper, numpy_helper
from onnx_graphs import CONSTANTS, graph, inputs, run, saved

from sheafcli.interop.models import read_model
from sheafcli.interop.onnx_tensors import BITS, Tensors

NET = "z = Gemm(x, A, a) r = Relu(z) y = Gemm(r, B, b)"


def beside(folder, location="model.onnx.data", **entries):
    """A model whose first matrix, 4 x 5, is in another file; `entries` change what is said of it."""
    model = graph(NET)
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == "A")
    content = tensor.raw_data
    said = {"location": location, "offset": "0", "length": str(len(content))} | entries
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in said.items():
        if value is not None:
            tensor.external_data.add(key=key, value=value)
    (folder / "model.onnx.data").write_bytes(content)
    return model


@pytest.mark.parametrize("location", ["weights.bin", "deeper/weights.bin", "./deeper/../weights.bin"])
def test_weights_beside_the_file_are_read(tmp_path, location):
    path = tmp_path / "model.onnx"
    (tmp_path / "deeper").mkdir()
    onnx.save(graph(NET), path)
    whole = read_model(path).network
    model = onnx.load(path)
    external_data_helper.convert_model_to_external_data(model, location=location, size_threshold=0)
    onnx.save(model, path)
    assert path.stat().st_size < 500
    rows, X = inputs((4,))
    network = read_model(path).network
    np.testing.assert_allclose(network.predict(rows), run(str(path), X)[0], rtol=1e-5, atol=1e-5)
    for one, other in zip(network.weights + network.biases, whole.weights + whole.biases, strict=True):
        assert np.array_equal(one, other)


def test_a_part_that_two_weights_share_is_read_once(tmp_path):
    model = beside(tmp_path)
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == "A")
    turned = model.graph.initializer.add()
    turned.CopyFrom(tensor)
    turned.name, turned.dims[0], turned.dims[1] = "B", 5, 4
    del model.graph.initializer[[t.name for t in model.graph.initializer].index("B")]
    model.graph.initializer.append(turned)
    del model.graph.node[2].input[2]
    model.graph.node[2].input[1] = "B"
    assert read_model(saved(tmp_path / "model.onnx", model)).network.widths == (4, 5, 4)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"offset": "-4"}, "in another file, at the offset '-4'; it must be a whole number"),
        ({"length": "-80"}, "at the length '-80'"),
        ({"offset": "a lot"}, "at the offset 'a lot'"),
        ({"offset": "9" * 400}, "at the offset '999"),
        ({"offset": "9" * 18}, "of model.onnx.data, which has 80"),
        ({"offset": "4"}, "are bytes 4 to 84 of model.onnx.data, which has 80; it is cut short"),
        ({"length": "1000000000000"}, "needs 80 bytes, and 1000000000000 are said to be"),
        ({"length": "76"}, "needs 80 bytes, and 76"),
        ({"location": None}, "its name is missing"),
        ({"location": "a\0b"}, "its name is missing"),
        ({"location": "nowhere.bin"}, "'nowhere.bin', which is not there; copy it into the model's folder"),
        ({"location": "."}, "which is not there"),
        ({"location": "x" * 5000}, "in another file"),
        ({"location": "../secret.bin"}, "'../secret.bin', which is outside of the model's folder"),
        ({"location": "/etc/passwd"}, "'/etc/passwd', which is outside of the model's folder"),
        ({"location": "link.bin"}, "outside of the model's folder or a link out of it"),
        ({"location": "folder/secret.bin"}, "outside of the model's folder or a link out of it"),
        ({"location": "circle.bin"}, "in 'circle.bin', which"),
        ({"location": "pipe"}, "'pipe', which is not there"),
    ],
)
def test_weights_that_are_not_where_they_should_be_are_refused(tmp_path, entries, words):
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(80))
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    (folder / "folder").symlink_to(tmp_path)
    (folder / "circle.bin").symlink_to(folder / "circle.bin")
    os.mkfifo(folder / "pipe")
    model = beside(folder, **entries)
    assert words in refusal(saved(folder / "model.onnx", model))


def test_a_link_within_the_folder_is_followed(tmp_path):
    model = beside(tmp_path, location="link.bin")
    (tmp_path / "link.bin").symlink_to("model.onnx.data")
    assert read_model(saved(tmp_path / "model.onnx", model)).network.widths == (4, 5, 3)


def test_parts_that_overlap_are_refused(tmp_path):
    """Else a small file could make any number of large arrays."""
    model = beside(tmp_path)
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == "a")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "model.onnx.data", "offset": "8", "length": "20"}.items():
        tensor.external_data.add(key=key, value=value)
    assert "overlap" in refusal(saved(tmp_path / "model.onnx", model))


def test_an_attribute_in_another_file_is_refused(tmp_path):
    """Also one of an operator that the library would evaluate, from the folder that one stands in."""
    model = graph("n = ConstantOfShape(shape_5) y = Gemm(x, A, n)")
    value = numpy_helper.from_array(np.zeros(1, np.float32), "value")
    value.ClearField("raw_data")
    value.data_location = TensorProto.EXTERNAL
    value.external_data.add(key="location", value="model.onnx")
    model.graph.node[0].attribute.add(name="value", type=onnx.AttributeProto.TENSOR, t=value)
    assert "has an attribute in another file" in refusal(saved(tmp_path / "model.onnx", model))


@pytest.mark.parametrize("field", ["raw_data", "float_data"])
@pytest.mark.parametrize(
    "dims", [[10**9], [10**6, 10**6], [2**62, 2**62], [4, 6], [4, -5], [-4, -5], [0, 10**18], []]
)
def test_shapes_that_announce_other_than_there_is_are_refused(tmp_path, field, dims):
    model = graph(NET)
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == "A")
    if field == "float_data":
        tensor.float_data.extend(CONSTANTS["A"].ravel())
        tensor.ClearField("raw_data")
    del tensor.dims[:]
    tensor.dims.extend(dims)
    message = refusal(saved(tmp_path / "model.onnx", model))
    assert "'A' are not what they announce" in message or "'A' announce a negative size" in message


@pytest.mark.parametrize("kind", ["STRING", "COMPLEX64", "UNDEFINED"])
def test_types_that_are_no_numbers_are_named(tmp_path, kind):
    model = graph(NET)
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == "A")
    tensor.data_type = TensorProto.DataType.Value(kind)
    assert f"'A' are of type {kind}" in refusal(saved(tmp_path / "model.onnx", model))


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("kind", BITS)
def test_every_type_is_read_as_onnx_reads_it(tmp_path, kind, raw):
    number = TensorProto.DataType.Value(kind)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(number)
    values = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 1]]).astype(dtype)
    if raw:
        tensor = numpy_helper.from_array(values, "W")
    else:
        tensor = onnx.helper.make_tensor("W", number, [3, 3], values.ravel())
    found = Tensors(tmp_path, onnx).array(tensor)
    assert found.dtype == numpy_helper.to_array(tensor).dtype
    assert np.array_equal(found.astype(np.float64), values.astype(np.float64))


def test_sparse_weights_are_named(tmp_path):
    model = graph("y = Gemm(x, W)")
    values = numpy_helper.from_array(np.ones(2, np.float32), "W")
    places = numpy_helper.from_array(np.array([0, 5]), "places")
    model.graph.sparse_initializer.append(onnx.helper.make_sparse_tensor(values, places, [4, 5]))
    assert "the weights 'W' are sparse" in refusal(saved(tmp_path / "model.onnx", model))
