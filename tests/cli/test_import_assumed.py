"""`sheaf import` of what a state_dict leaves open: said aloud, tested on data, settled by --order."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import sheafcli as sc
from sheafcli.core.chain.network import Network
from sheafcli.interop.networks import network_arrays, read_network

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4)).astype(np.float32)
LABELS = (X[:, 0] * X[:, 1] > 0).astype(int) + (X[:, 2] > 0.5)


@pytest.fixture
def data(folder) -> str:
    """The samples as an .npz task: 60 to train on, 30 to test on."""
    y = np.eye(3)[LABELS]
    np.savez(folder / "data.npz", X_train=X[:60], y_train=y[:60], X_test=X[60:], y_test=y[60:])
    return "data.npz"


def assert_agrees(run, expected):
    found, expected = read_network(Path(run) / "network.npz").predict(X), expected.detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def trained(layers, activation=torch.relu):
    """Train linear layers of some activation on the labels, and return them."""
    rule = torch.optim.Adam(nn.ModuleList(layers).parameters(), lr=0.02)
    for _ in range(100):
        rule.zero_grad()
        z = layers[0](torch.from_numpy(X))
        for layer in layers[1:]:
            z = layer(activation(z))
        nn.functional.cross_entropy(z, torch.tensor(LABELS)).backward()
        rule.step()
    return layers


def square():
    torch.manual_seed(0)
    return [nn.Linear(4, 16), nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 3)]


def save_named(path, layers, names):
    state = {
        f"{name}.{key}": tensor
        for name, layer in zip(names, layers, strict=True)
        for key, tensor in layer.state_dict().items()
    }
    torch.save(state, path)


ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "leaky relu": nn.LeakyReLU}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_state_dict_that_may_be_another_network_is_refused_with_the_lines_that_export_onnx(refused, name):
    """The three leave the same file; the lines that are shown keep them apart."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), ACTIVATIONS[name](), nn.Linear(8, 3))
    torch.save(model.state_dict(), "model.pt")
    error = refused("import", "model.pt", words="does not say what stands between its layers")
    _, lines, _ = error.split("\n\n", 2)
    assert len(lines.splitlines()) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch means to drop its older exporter
        exec(lines, {"model": model, "torch": torch, "X": torch.from_numpy(X)})
    wanted = model(torch.from_numpy(X)).detach()
    np.testing.assert_allclose(sc.load("model.onnx").predict(X), wanted, atol=1e-5)


def test_a_residual_block_is_refused(refused, folder):
    layers = [nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)]
    save_named("model.pt", layers, ("fc1", "fc2", "fc3"))
    refused("import", "model.pt", words="so does a shortcut")


def test_one_layer_and_what_sheaf_wrote_are_certain(sheaf, folder):
    torch.save(nn.Linear(4, 3).state_dict(), "one.pt")
    assert sheaf("import", "one.pt", "--output", "one").code == 0
    np.savez("chain.npz", **network_arrays(Network.he([4, 5, 3], "softmax", 1)))
    assert sheaf("import", "chain.npz", "--output", "chain").code == 0
    for suffix in (".pt", ".safetensors"):
        assert sheaf("export", "chain", f"out{suffix}").code == 0
        assert sheaf("import", f"out{suffix}", "--output", f"again{suffix}").code == 0


def test_the_network_that_is_assumed_is_printed_before_the_result(sheaf, data):
    save_named("model.pt", trained(square()), ("stem", "one", "two", "head"))
    order = ("--order", "stem,one,two,head")
    outcome = sheaf("import", "model.pt", *order, "--data", data, "--output", "run")
    first, second, *_ = outcome.err.splitlines()
    assert first == (
        "note: assumed network: 4 -> Linear stem -> ReLU -> Linear one -> ReLU -> Linear two -> ReLU "
        "-> Linear head -> 3"
    )
    assert "ReLU is assumed" in second
    assert "compare the figures below with those that you know" in outcome.err
    assert "no better than a constant" not in outcome.err


@pytest.mark.parametrize("wrong", ["order", "activation"])
def test_data_that_does_not_bear_out_what_is_assumed_is_said_aloud(sheaf, data, wrong):
    """Two layers of the same shape that are called the other way round, and a network of sines."""
    layers = trained(square(), torch.sin if wrong == "activation" else torch.relu)
    stem, one, two, head = layers
    save_named("model.pt", [stem, two, one, head] if wrong == "order" else layers, ("stem", "b", "a", "head"))
    asked = ("--order", "stem, b, a, head")
    outcome = sheaf("import", "model.pt", *asked, "--data", data, "--output", "run")
    assert outcome.code == 0
    assert "no better than a constant on this data (loss " in outcome.err
    assert "the assumed order or activation is probably wrong" in outcome.err
    assert "ONNX" in outcome.err
    if wrong == "order":
        right = ("--order", "stem, a, b, head")
        outcome = sheaf("import", "model.pt", "--data", data, "--output", "right", *right)
        assert "no better than" not in outcome.err
        Z = torch.from_numpy(X)
        for layer in (stem, one, two):
            Z = torch.relu(layer(Z))
        assert_agrees("right", head(Z).softmax(dim=1))


def test_a_network_on_the_wrong_data_is_said_aloud(sheaf, data):
    np.savez("model.npz", **network_arrays(Network.he([4, 5, 3], "softmax", 1)))
    outcome = sheaf("import", "model.npz", "--data", data, "--output", "run")
    assert outcome.err.startswith("note: the network predicts no better than a constant on this data (loss ")


def test_one_of_several_networks_is_imported_by_its_name(sheaf, refused, folder):
    torch.manual_seed(0)
    networks = {name: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4)) for name in ("model", "ema")}
    torch.save({name: module.state_dict() for name, module in networks.items()}, "both.ckpt")
    refused("import", "both.ckpt", words="the file seems to hold several networks, model, ema")
    outcome = sheaf("import", "both.ckpt", "--order", "ema", "--output", "run")
    assert outcome.code == 0
    assert "left out, as no part of the network: model.0, model.2" in outcome.err
    assert_agrees("run", networks["ema"](torch.from_numpy(X)))


@pytest.mark.parametrize("order", ["", "0,,2", ","])
def test_an_order_without_names_is_refused(refused, folder, order):
    torch.save(nn.Linear(4, 3).state_dict(), "model.pt")
    refused("import", "model.pt", "--order", order, words="takes names with commas between")
