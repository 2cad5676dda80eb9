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
    assert model.notes == ("a state_dict does not say what stands between its layers: ReLU is assumed",)


def test_ten_layers_are_in_the_order_of_their_numbers(tmp_path):
    network = biased([3] * 13, "identity")
    assert_same(read_model(written(tmp_path / "model.safetensors", network)).network, network)


def test_named_layers_stand_in_the_order_of_their_names_and_it_is_said(tmp_path):
    rng = np.random.default_rng(0)
    tensors = {f"fc{i}.weight": rng.normal(size=(3, 3)) for i in (10, 2, 1)}
    path = tmp_path / "model.safetensors"
    safetensors.numpy.save_file(tensors, path)
    model = read_model(path, "softmax")
    for W, name in zip(model.network.weights, ("fc1", "fc2", "fc10"), strict=True):
        np.testing.assert_array_equal(W, tensors[f"{name}.weight"])
    assert (
        "safetensors keeps no order: the layers stand in that of their names, fc1, fc2, fc10" in model.notes
    )
    assert model.network.output.name == "softmax"


def test_layers_that_do_not_chain_in_the_order_of_their_names_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    safetensors.numpy.save_file({"head.weight": np.ones((2, 5)), "stem.weight": np.ones((5, 3))}, path)
    assert "Linear stem takes 3 inputs" in refusal(path)


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"0.weight": np.full((2, 3), np.nan)}, "Linear 0 holds NaN"),
        ({"0.weight": np.ones((2, 3), np.uint8)}, "dtype U8"),
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
