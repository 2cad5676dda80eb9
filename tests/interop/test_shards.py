"""Networks in several files with an index: the whole in one file is the oracle."""

import json

import numpy as np
import pytest
import torch
from model_files import refusal
from safetensors.torch import save_file
from torch_files import assert_chain, linear, state

from sheafcli.interop import shards
from sheafcli.interop.models import read_model


@pytest.fixture
def layers():
    return linear(4, 6, 5, 2)


def sharded(folder, layers, suffix, count=3, **changes):
    """Write layers fc0, fc1, ... into `count` files, in turn, and their index."""
    content = state(**{f"fc{i}": layer for i, layer in enumerate(layers)})
    whole = f"model{suffix}"
    names = [f"model-{i + 1:05}-of-{count:05}{suffix}" for i in range(count)]
    places = {key: names[i % count] for i, key in enumerate(content)}
    for name in names:
        tensors = {key: tensor for key, tensor in content.items() if places[key] == name}
        (save_file if suffix == ".safetensors" else torch.save)(tensors, folder / name)
    index = {"metadata": {"total_size": 1}, "weight_map": places} | changes
    (folder / f"{whole}.index.json").write_text(json.dumps(index))
    return [folder / name for name in names], folder / f"{whole}.index.json"


@pytest.mark.parametrize("suffix", [".safetensors", ".bin", ".pt"])
def test_any_shard_and_the_index_stand_for_the_whole(tmp_path, layers, suffix):
    names, index = sharded(tmp_path, layers, suffix)
    for path in (*names, index):
        assert assert_chain(path, layers).network.widths == (4, 6, 5, 2)


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_a_shard_alone_is_refused_with_what_to_do(tmp_path, layers, suffix):
    names, index = sharded(tmp_path, layers, suffix)
    index.unlink()
    message = refusal(names[1])
    assert f"their index, {index.name}, is not beside it" in message
    assert "write the network as one file" in message


def test_a_missing_shard_is_named(tmp_path, layers):
    names, index = sharded(tmp_path, layers, ".safetensors")
    names[1].unlink()
    with pytest.raises(Exception, match=r"model-00002-of-00003\.safetensors: no such file"):
        read_model(index)


@pytest.mark.parametrize(
    "name",
    ["../model-1.safetensors", "/etc/passwd", "a/b.safetensors", "..", "m.npz", "a\\b.safetensors", ""],
)
def test_an_index_that_leads_elsewhere_is_refused(tmp_path, layers, name):
    _, index = sharded(tmp_path, layers, ".safetensors")
    index.write_text(json.dumps({"weight_map": {"fc0.weight": name}}))
    assert "a shard is a .safetensors file in the folder of the index" in refusal(index)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"weight_map": {}}',
        '{"weight_map": {"a": 3}}',
        "[" * 100_000,
        '{"weight_map": []}',
        "\xff",
    ],
)
def test_what_is_no_index_is_refused(tmp_path, layers, text):
    _, index = sharded(tmp_path, layers, ".safetensors")
    index.write_text(text, encoding="latin-1")
    assert "not an index of shards" in refusal(index)


def test_an_index_that_its_shards_do_not_bear_out_is_refused(tmp_path, layers):
    names, index = sharded(tmp_path, layers, ".safetensors")
    places = json.loads(index.read_text())["weight_map"]
    index.write_text(json.dumps({"weight_map": places | {"fc9.weight": names[0].name}}))
    assert f"'fc9.weight' should be in {names[0].name} and is not" in refusal(index)
    save_file({"fc9.weight": torch.ones(2, 2)}, names[0])
    assert "is in model-00001-of-00003.safetensors, and not by the index" in refusal(
        sharded(
            tmp_path,
            layers,
            ".safetensors",
            weight_map={k: v for k, v in places.items() if k != "fc0.weight"},
        )[1]
    )


def test_the_bounds_of_shards(tmp_path, layers, monkeypatch):
    _, index = sharded(tmp_path, layers, ".safetensors")
    for bound, value, words in (
        ("MAX_SHARDS", 2, "3 shards, and at most 2"),
        ("MAX_BYTES", 100, "the shards have"),
        ("MAX_INDEX", 10, "at most 0 MB are read"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(shards, bound, value)
            assert words in refusal(index)
    index.write_text(json.dumps({"weight_map": {"fc0.weight": "model.safetensors"}}))
    save_file({"fc0.weight": torch.from_numpy(np.ones((2, 2)))}, tmp_path / "model.safetensors")
    assert read_model(index).network.widths == (2, 2)
