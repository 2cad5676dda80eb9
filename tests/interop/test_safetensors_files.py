"""The safetensors library is the oracle for the files; what they compute is checked beside PyTorch's."""

import json
import struct

import numpy as np
import pytest
import safetensors.numpy
from model_files import (
    assert_damage_is_refused_or_harmless,
    assert_same,
    biased,
    refusal,
    written,
)

from sheafcli.interop.models import read_model


@pytest.mark.parametrize("output", ["identity", "sigmoid", "softmax"])
def test_what_is_written_is_read_by_the_library_and_by_us(tmp_path, output):
    network = biased([4, 7, 5, 3], output)
    path = written(tmp_path / "model.safetensors", network)
    found = safetensors.numpy.load_file(path)
    assert set(found) == {f"{place}.{name}" for place in (0, 2, 4) for name in ("weight", "bias")}
    np.testing.assert_array_equal(found["2.weight"], network.weights[1])
    model = read_model(path)
    assert_same(model.network, network)
    assert model.says_output
    assert model.notes == (
        "assumed network: 4 -> Linear 0 -> ReLU -> Linear 2 -> ReLU -> Linear 4 -> 3",
        "a state_dict does not say what stands between its layers: ReLU is assumed",
    )


def test_ten_layers_are_in_the_order_of_their_numbers(tmp_path):
    network = biased([3] * 13, "identity")
    assert_same(read_model(written(tmp_path / "model.safetensors", network)).network, network)


def test_numbered_layers_stand_in_the_order_of_their_numbers(tmp_path):
    rng = np.random.default_rng(0)
    tensors = {f"fc{i}.weight": rng.normal(size=(3, 3)) for i in (10, 2, 1)}
    path = tmp_path / "model.safetensors"
    safetensors.numpy.save_file(tensors, path)
    model = read_model(path, "softmax")
    for W, name in zip(model.network.weights, ("fc1", "fc2", "fc10"), strict=True):
        np.testing.assert_array_equal(W, tensors[f"{name}.weight"])
    assert (
        model.notes[0] == "assumed network: 3 -> Linear fc1 -> ReLU -> Linear fc2 -> ReLU -> Linear fc10 -> 3"
    )
    assert model.network.output.name == "softmax"


def test_the_only_order_that_fits_is_taken_and_said(tmp_path):
    path = tmp_path / "model.safetensors"
    safetensors.numpy.save_file({"head.weight": np.ones((2, 5)), "stem.weight": np.ones((5, 3))}, path)
    model = read_model(path)
    assert model.network.widths == (3, 5, 2)
    assert "only one order of the layers fits their shapes: stem, head" in model.notes


@pytest.mark.parametrize("names", [("input", "hidden", "output"), ("encoder", "decoder")])
def test_the_alphabet_is_no_order(tmp_path, names):
    """Three square layers, and an autoencoder whose layers fit either way round."""
    shapes = [(4, 4)] * 3 if len(names) == 3 else [(2, 4), (4, 2)]
    rng = np.random.default_rng(0)
    tensors = {f"{name}.weight": rng.normal(size=shape) for name, shape in zip(names, shapes, strict=True)}
    path = tmp_path / "model.safetensors"
    safetensors.numpy.save_file(tensors, path)
    assert "with --order NAMES" in refusal(path)
    network = read_model(path, order=names).network
    for W, name in zip(network.weights, names, strict=True):
        np.testing.assert_array_equal(W, tensors[f"{name}.weight"])


def test_a_shared_tensor_that_is_nowhere_is_named(tmp_path):
    path = tmp_path / "model.safetensors"
    tensors = {"0.weight": np.ones((3, 3)), "2.bias": np.ones(3)}
    safetensors.numpy.save_file(tensors, path, metadata={"format": "pt", "2.weight": "1.weight"})
    assert "tensor '2.weight' is said to be '1.weight', which is not in the file" in refusal(path)


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"0.weight": np.full((2, 3), np.nan)}, "Linear 0 holds NaN"),
        ({"0.weight": np.ones((2, 3), np.uint8)}, "Linear 0 has weights of type uint8"),
        ({"0.weight": np.ones((2, 3), np.int64)}, "Linear 0 has weights of type int64"),
        ({"0.weight": np.ones((2, 3), bool)}, "Linear 0 has weights of type bool"),
        ({"0.weight": np.ones((2, 3, 3, 3))}, "Conv2d"),
        ({}, "no linear layer"),
    ],
)
def test_what_is_no_network_is_refused(tmp_path, tensors, words):
    path = tmp_path / "model.safetensors"
    safetensors.numpy.save_file(tensors, path)
    assert words in refusal(path)


@pytest.mark.parametrize(
    "header",
    [
        {"0.weight": {"dtype": "F64", "shape": [10**6, 10**6], "data_offsets": [0, 8]}},
        {"0.weight": {"dtype": "F64", "shape": [1, 1], "data_offsets": [0, 8 * 10**12]}},
        {"0.weight": {"dtype": "F64", "shape": [1, 1]}},
        {"0.weight": 3},
        [],
    ],
)
def test_headers_that_announce_what_is_not_there_are_refused(tmp_path, header):
    text = json.dumps(header).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(8))
    assert "not a whole" in refusal(path)


def test_a_header_longer_than_the_file_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 2**40) + b"{}")
    assert "not a whole safetensors file" in refusal(path)


def test_an_output_that_is_none_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    safetensors.numpy.save_file({"0.weight": np.ones((1, 1))}, path, metadata={"output": "tanh"})
    assert "unknown output 'tanh'" in refusal(path)


def test_damage_is_refused_or_harmless(tmp_path):
    path = tmp_path / "model.safetensors"
    content = written(path, biased([2, 3, 1], "sigmoid")).read_bytes()
    assert_damage_is_refused_or_harmless(path, content, 600)
