"""Checkpoints of all kinds that training scripts write: PyTorch's modules are the oracle for the weights."""

import argparse
import os
import warnings
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from model_files import refusal
from torch import nn
from torch_files import assert_chain, linear, saved, state

from sheafcli.interop.checkpoints import MAX_DEPTH
from sheafcli.interop.models import read_model

KEYS = [
    "state_dict", "model_state_dict", "model", "net", "network", "weights", "params", "module", "generator",
    "best_model_state", "MLP",
]  # fmt: skip


@pytest.fixture
def layers():
    return linear(4, 6, 2)


@pytest.fixture
def weights(layers):
    return nn.Sequential(layers[0], nn.ReLU(), layers[1]).state_dict()


def adam(layers):
    """The state of an optimizer that has made a step: matrices of the same shapes as the weights."""
    rule = torch.optim.Adam(nn.ModuleList(layers).parameters())
    sum(layer.weight.sum() for layer in layers).backward()
    rule.step()
    return rule.state_dict()


def left_out(model):
    [note] = [note for note in model.notes if note.startswith("left out, as no part of the network: ")]
    return note.partition(": ")[2].split(", ")


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("suffix", [".pt", ".ckpt"])
def test_weights_are_found_under_any_key_beside_an_optimizer(tmp_path, layers, weights, key, suffix):
    content = {"epoch": 3, key: weights, "optimizer": adam(layers), "best_loss": 0.5, "note": "a run"}
    model = assert_chain(saved(tmp_path / f"model{suffix}", content), layers)
    assert left_out(model) == ["epoch", "optimizer", "best_loss", "note"]
    assert model.notes[0] == "assumed network: 4 -> Linear 0 -> ReLU -> Linear 2 -> 2"


@pytest.mark.parametrize("prefix", ["model.", "net.", "model.net.", "model.module."])
def test_a_checkpoint_of_lightning(tmp_path, layers, weights, prefix):
    content = {
        "epoch": 9,
        "global_step": 100,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": OrderedDict((f"{prefix}{key}", tensor) for key, tensor in weights.items()),
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 1}}}},
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.3), "kth_value": torch.ones(1)}},
        "optimizer_states": [adam(layers)],
        "lr_schedulers": [],
        "hyper_parameters": {"lr": 0.1, "hidden": [6], "activation": "relu"},
    }
    model = assert_chain(saved(tmp_path / "last.ckpt", content), layers)
    assert {"epoch", "optimizer_states", "hyper_parameters"} <= set(left_out(model))


@pytest.mark.parametrize(
    "options",
    [
        {"activation": "gelu"},
        {"model": {"act_fn": "Tanh"}},
        {"hidden_activation": "nn.LeakyReLU"},
        argparse.Namespace(lr=0.1, activation="elu"),
    ],
)
def test_options_that_say_another_activation_are_heard(tmp_path, weights, options):
    path = saved(tmp_path / "model.ckpt", {"state_dict": weights, "hyper_parameters": options})
    assert "says that the activation is" in refusal(path)


@pytest.mark.parametrize(
    "options", [{"activation": "relu"}, {"output_activation": "sigmoid"}, {"optim": "adam"}]
)
def test_options_that_say_nothing_against_relu_are_left_out(tmp_path, layers, weights, options):
    content = {"state_dict": weights, "args": argparse.Namespace(**options), "config": options}
    assert left_out(assert_chain(saved(tmp_path / "model.ckpt", content), layers)) == ["args", "config"]


@pytest.mark.parametrize(
    "value",
    [
        np.float64(0.25),
        np.float32(0.25),
        np.int64(3),
        np.bool_(True),
        np.arange(6.0).reshape(2, 3),
        np.array(["a", "b"]),
        Path("data") / "train.csv",
        [np.float64(0.5), {"deep": np.float64(0.25)}],
    ],
)
def test_numbers_of_numpy_and_paths_beside_the_weights_are_left_out(tmp_path, layers, weights, value):
    path = saved(tmp_path / "model.pt", {"model": weights, "best": value})
    before = set(torch.serialization.get_safe_globals())
    assert left_out(assert_chain(path, layers)) == ["best"]
    assert set(torch.serialization.get_safe_globals()) == before


def test_tensors_beside_the_weights_are_left_out_aloud(tmp_path, layers, weights):
    content = {
        "model": weights,
        "class_weights": torch.ones(2),
        "mean": torch.ones(4),
        "acc": torch.tensor(0.9),
    }
    model = assert_chain(saved(tmp_path / "model.pt", content), layers)
    assert left_out(model) == ["class_weights", "mean", "acc"]


def test_what_is_no_tensor_in_a_state_dict_is_left_out(tmp_path, layers, weights):
    model = assert_chain(saved(tmp_path / "model.pt", dict(weights) | {"_extra_state": {"a": 1}}), layers)
    assert left_out(model) == ["_extra_state"]


def test_a_state_dict_for_every_layer_is_one_network(tmp_path, layers):
    content = {"fc1": layers[0].state_dict(), "fc2": layers[1].state_dict(), "epoch": 3}
    model = assert_chain(saved(tmp_path / "model.pt", content), layers)
    assert model.notes[0] == "assumed network: 4 -> Linear fc1 -> ReLU -> Linear fc2 -> 2"


@pytest.mark.parametrize(
    "keys", [("model", "ema"), ("state_dict", "state_dict_ema"), ("model", "best_model"), ("one", "two")]
)
def test_several_networks_in_one_checkpoint_are_refused_until_one_is_named(tmp_path, keys):
    layers, others = linear(4, 8, 4), linear(4, 8, 4)
    nn.init.normal_(others[0].weight)
    content = {
        key: nn.Sequential(one, nn.ReLU(), two).state_dict()
        for key, (one, two) in zip(keys, (layers, others), strict=True)
    }
    path = saved(tmp_path / "model.pt", content)
    message = refusal(path)
    assert f"several networks, {keys[0]}, {keys[1]}" in message
    assert "--order" in message
    for key, chosen in zip(keys, (layers, others), strict=True):
        assert_chain(path, chosen, [key])


def test_a_generator_and_its_discriminator_are_several_networks(tmp_path):
    generator, discriminator = linear(3, 8, 4), linear(4, 8, 1)
    content = {
        "generator": state(fc1=generator[0], fc2=generator[1]),
        "discriminator": state(fc1=discriminator[0], fc2=discriminator[1]),
    }
    path = saved(tmp_path / "gan.pt", content)
    assert "several networks, generator, discriminator" in refusal(path)
    assert_chain(path, generator, ["generator"])


# What is no checkpoint, or a hostile one -------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        [torch.ones(2)],
        torch.ones(2),
        {},
        {"state_dict": {}},
        {1: torch.ones(2)},
        {"optimizer": {"state": {0: {"exp_avg": torch.ones(2, 2)}}, "param_groups": []}},
        {"a": 1, "b": np.float64(1.0)},
        {"shadow_params": [torch.ones(2, 2)]},
    ],
)
def test_what_holds_no_state_dict_is_refused(tmp_path, content):
    assert "no state_dict in it" in refusal(saved(tmp_path / "model.pt", content))


class Explosive:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize(
    "hide", [lambda trap: trap, lambda trap: np.array([trap]), lambda trap: argparse.Namespace(x=trap)]
)
def test_code_beside_the_weights_is_never_run(tmp_path, weights, hide):
    mark = tmp_path / "unpickled"
    path = saved(tmp_path / "model.pt", {"model": weights, "best": hide(Explosive(mark))})
    assert "code, which is not run" in refusal(path)
    assert not mark.exists()
    torch.load(path, weights_only=False)
    assert mark.exists(), "the trap itself must work"


def test_dictionaries_without_end_are_refused(tmp_path):
    inside = {}
    inside["again"] = inside
    assert f"nested more than {MAX_DEPTH} deep" in refusal(saved(tmp_path / "model.pt", inside))
    wide = {"0.weight": torch.ones(2, 2)}
    for _ in range(7):
        wide = {f"k{i}": wide for i in range(12)}
    assert "more than 100,000 entries" in refusal(saved(tmp_path / "model.pt", wide))


def test_an_archive_of_very_many_tensors_is_refused_before_it_is_loaded(tmp_path, monkeypatch):
    path = saved(tmp_path / "model.pt", {f"{i}.weight": torch.ones(1, 1) for i in range(10_001)})
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("loaded"))
    assert "tensors, and at most 10,000 are read" in refusal(path)


def test_a_table_of_many_megabytes_is_refused_before_it_is_loaded(tmp_path, monkeypatch):
    path = saved(tmp_path / "model.pt", {"0.weight": torch.ones(1, 1), "history": "x" * 17 * 2**20})
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("loaded"))
    assert "takes 17 MB, and at most 16 MB are read" in refusal(path)


def test_no_warning_of_pytorch_is_shown(tmp_path):
    """There are some of old storages, sparse layouts and quantised types."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantised = torch.quantize_per_tensor(torch.ones(2, 4), 0.1, 0, torch.qint8)
        contents = [
            ({"0.weight": torch.eye(4).to_sparse_csr()}, "is sparse"),
            ({"0.weight": torch.eye(4).to_sparse()}, "is sparse"),
            ({"0.weight": quantised}, "has weights of type qint8"),
        ]
        for content, _ in contents:
            saved(tmp_path / f"{len(list(tmp_path.iterdir()))}.pt", content)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for i, (_, words) in enumerate(contents):
            assert words in refusal(tmp_path / f"{i}.pt")
    assert not caught


def test_a_dictionary_without_modules_is_read_as_before(tmp_path, layers, weights):
    assert read_model(saved(tmp_path / "model.pt", dict(weights))).network.widths == (4, 6, 2)
