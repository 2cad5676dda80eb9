"""Networks of layers: shapes by hand, numbers as PyTorch and `hidden` have them, errors with their line."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sheafcli.config import load_config
from sheafcli.config.architecture import Unbuildable, build, has_dropout
from sheafcli.config.layers import LAYERS
from sheafcli.core.chain.network import Network
from sheafcli.core.network import GraphNetwork
from sheafcli.core.operations import BatchNormalization, Dense
from sheafcli.errors import InputError

CONV = {"conv": {"channels": 4, "kernel": 3}}
SAME = {"conv": {"channels": 4, "kernel": 3, "padding": "same"}}


def made(layers, shape=(1, 8, 8), outputs=3, seed=0):
    return build(layers, shape, outputs, "identity", seed)


def shapes(layers, shape=(1, 8, 8)):
    """Return the shape of every vertex by name, the input and the added layer left out."""
    vertices = made([*layers, "flatten"], shape).graph.vertices[1:-2]
    return {vertex.name: vertex.shape for vertex in vertices}


@given(
    widths=st.lists(st.integers(1, 6), max_size=4),
    inputs=st.integers(1, 5),
    outputs=st.integers(1, 3),
    seed=st.integers(0, 100),
)
def test_a_plain_chain_is_what_hidden_gives(widths, inputs, outputs, seed):
    layers = [layer for width in widths for layer in ({"dense": width}, "relu")]
    network = build(layers, (inputs,), outputs, "softmax", np.random.SeedSequence(seed))
    chain = Network.he([inputs, *widths, outputs], "softmax", np.random.SeedSequence(seed))
    assert isinstance(network, Network)
    assert network.output == chain.output
    for one, other in zip(network.weights + network.biases, chain.weights + chain.biases, strict=True):
        assert one.tobytes() == other.tobytes()


def test_images_flattened_first_are_a_plain_chain():
    network = made(["flatten", {"dense": 5}, "relu"])
    assert isinstance(network, Network)
    assert network.widths == (64, 5, 3)


@pytest.mark.parametrize(
    ("layers", "last"),
    [
        ([CONV], (4, 6, 6)),
        ([SAME], (4, 8, 8)),
        ([{"conv": {"channels": 4, "kernel": [3, 5], "stride": [1, 2]}}], (4, 6, 2)),
        ([{"conv": {"channels": 4, "kernel": 3, "padding": 2}}], (4, 10, 10)),
        ([{"conv": {"channels": 4, "kernel": 3, "padding": [0, 1]}}], (4, 6, 8)),
        ([{"conv": {"channels": 4, "kernel": 3, "dilation": 3}}], (4, 2, 2)),
        ([{"conv": {"channels": 4, "kernel": 3, "stride": 2, "padding": "same"}}], (4, 4, 4)),
        ([{"conv": {"channels": 4, "kernel": 2, "stride": 3, "padding": "same"}}], (4, 3, 3)),
        ([CONV, {"conv": {"channels": 6, "kernel": 1, "groups": 2}}], (6, 6, 6)),
        ([CONV, {"depthwise_conv": 3}], (4, 4, 4)),
        ([CONV, {"depthwise_conv": {"kernel": 3, "multiplier": 2, "padding": "same"}}], (8, 6, 6)),
        ([{"max_pool": 2}], (1, 4, 4)),
        ([{"max_pool": {"kernel": 3, "stride": 1, "padding": "same"}}], (1, 8, 8)),
        ([{"average_pool": [2, 4]}], (1, 4, 2)),
        ([{"residual": [SAME]}], (4, 8, 8)),
        ([{"residual": [{"conv": {"channels": 4, "kernel": 3, "stride": 2, "padding": "same"}}]}], (4, 4, 4)),
        ([{"concat": [[], [SAME], [SAME, "relu"]]}], (9, 8, 8)),
        ([{"repeat": {"times": 3, "layers": [CONV, "relu"]}}], (4, 2, 2)),
        (["dropout", {"dropout": 0.3}, CONV], (4, 6, 6)),
    ],
)
def test_shapes_follow(layers, last):
    assert list(shapes(layers).values())[-1] == last


@pytest.mark.parametrize(("shape", "last"), [((2, 9), (4, 7)), ((2, 5, 5, 6), (4, 3, 3, 4))])
def test_convolutions_run_over_one_to_three_axes(shape, last):
    assert list(shapes([CONV], shape).values())[-1] == last


def test_global_pooling_makes_a_vector_of_channels():
    network = made([CONV, "global_average_pool"])
    assert network.graph.vertices[-2].shape == (4,)
    x = np.random.default_rng(0).normal(size=(2, 1, 8, 8))
    parameters = network.graph.parameters
    maps = network.graph.nodes[0].operation.forward(x)
    wanted = maps.mean(axis=(2, 3)) @ parameters["dense_1"]["weight"].T
    np.testing.assert_allclose(network.predict(x), wanted, rtol=1e-12, atol=1e-14)


def test_vertices_are_named_after_their_layers_and_numbered():
    names = shapes(
        [CONV, "batch_norm", "relu", {"residual": ["relu", {"conv": {"channels": 8, "kernel": 1}}]}]
    )
    assert list(names) == ["conv_1", "batch_norm_1", "relu_1", "relu_2", "conv_2", "shortcut_1", "add_1"]
    assert made([CONV, "flatten", {"dense": 4}]).graph.output.name == "dense_2"


@pytest.mark.parametrize(
    ("project", "names"), [(True, ["conv_1", "shortcut_1", "add_1"]), ("auto", ["conv_1", "add_1"])]
)
def test_a_shortcut_is_there_where_asked_for_or_needed(project, names):
    same = {"conv": {"channels": 1, "kernel": 1}}
    assert list(shapes([{"residual": {"layers": [same], "project": project}}])) == names


def test_weights_start_he_normal_and_normalisations_as_the_identity():
    layers = ["batch_norm", {"conv": {"channels": 64, "kernel": 5}}, "flatten", {"dense": 50}]
    network = made(layers, (32, 8, 8))
    parameters = network.graph.parameters
    for name, fan_in in (("conv_1", 32 * 25), ("dense_1", 64 * 16)):
        W = parameters[name]["weight"]
        # The mean square of n normal numbers is right to sqrt(2 / n) of itself.
        assert np.mean(W * W) == pytest.approx(2 / fan_in, rel=6 * np.sqrt(2 / W.size))
        assert not parameters[name]["bias"].any()
    norm = network.graph.nodes[0].operation
    assert isinstance(norm, BatchNormalization)
    x = np.random.default_rng(0).normal(size=(2, 32, 3, 3))
    np.testing.assert_allclose(norm.forward(x), x / np.sqrt(1 + 1e-5), rtol=1e-12)


def test_the_seed_decides_the_weights():
    assert made([CONV, "flatten"], seed=1).graph.parameters["conv_1"]["weight"].tobytes() == (
        made([CONV, "flatten"], seed=1).graph.parameters["conv_1"]["weight"].tobytes()
    )
    assert not np.array_equal(
        *(made([CONV, "flatten"], seed=s).graph.parameters["conv_1"]["weight"] for s in (1, 2))
    )


def test_a_residual_network_is_that_of_pytorch():
    """The same weights in modules of PyTorch give the same numbers."""
    inner = {"conv": {"channels": 6, "kernel": 3, "stride": 2, "padding": 1}}
    layers = [SAME, "relu", {"residual": [inner, {"gelu": "tanh"}, {"conv": {"channels": 6, "kernel": 1}}]}]
    layers += [{"leaky_relu": 0.2}, {"max_pool": 2}, {"layer_norm": {}}, "flatten", {"dense": 5}, "silu"]
    network = made(layers, (2, 8, 8))
    fields = {
        name: {k: torch.tensor(v) for k, v in f.items()} for name, f in network.graph.parameters.items()
    }
    F = torch.nn.functional
    x = torch.tensor(np.random.default_rng(0).normal(size=(3, 2, 8, 8)))
    a = F.relu(F.conv2d(x, **fields["conv_1"], padding=1))
    b = F.gelu(F.conv2d(a, **fields["conv_2"], stride=2, padding=1), approximate="tanh")
    a = F.conv2d(b, **fields["conv_3"]) + F.conv2d(a, fields["shortcut_1"]["weight"], stride=2)
    a = F.max_pool2d(F.leaky_relu(a, 0.2), 2)
    a = F.layer_norm(a, a.shape[1:], fields["layer_norm_1"]["factor"], fields["layer_norm_1"]["offset"])
    a = F.silu(F.linear(a.flatten(1), **fields["dense_1"]))
    wanted = F.linear(a, **fields["dense_2"]).numpy()
    np.testing.assert_allclose(network.predict(x.numpy()), wanted, rtol=1e-12, atol=1e-12)


ACTIVATIONS = {
    "relu": torch.relu,
    "relu6": torch.nn.functional.relu6,
    "abs": torch.abs,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "silu": torch.nn.functional.silu,
    "softplus": torch.nn.functional.softplus,
    "softmax": lambda x: torch.softmax(x, -1),
    "hard_sigmoid": torch.nn.functional.hardsigmoid,
    "hard_swish": torch.nn.functional.hardswish,
    "leaky_relu": torch.nn.functional.leaky_relu,
    "prelu": lambda x: torch.nn.functional.prelu(x, torch.tensor([0.25], dtype=x.dtype)),
    "elu": torch.nn.functional.elu,
    "gelu": torch.nn.functional.gelu,
    "clip": lambda x: torch.clip(x, 0, 6),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_those_of_pytorch(name):
    x = np.random.default_rng(0).normal(size=(4, 9)) * 4
    operation = made([name], (9,)).graph.nodes[0].operation
    np.testing.assert_allclose(
        operation.forward(x), ACTIVATIONS[name](torch.tensor(x)), rtol=1e-12, atol=1e-14
    )


def test_every_layer_stands_in_a_network_or_is_an_activation():
    containers = {"residual", "concat", "repeat", "flatten", "dropout", "global_average_pool"}
    mixing = {"conv", "depthwise_conv", "dense", "batch_norm", "layer_norm", "max_pool", "average_pool"}
    assert set(LAYERS) == containers | mixing | set(ACTIVATIONS)


@pytest.mark.parametrize(
    ("layers", "path", "words"),
    [
        ([{"dense": 3}], (0, "dense"), r"reads a vector, .* 1 x 8 x 8; put flatten before it"),
        (["flatten", CONV], (1, "conv"), r"reads an image, .* a vector of 64"),
        ([CONV], (0, "conv"), "after the last layer is 4 x 6 x 6, .* end with flatten"),
        ([CONV, {"max_pool": 7}], (1, "max_pool"), "a window of .* is larger than the image"),
        ([{"conv": {"channels": 4, "kernel": [3]}}], (0, "conv"), "kernel has 1 numbers"),
        ([{"conv": {"channels": 4, "kernel": 1, "groups": 2}}], (0, "conv"), "fall into 2 groups"),
        ([{"residual": ["flatten"]}], (0, "residual"), "no shortcut"),
        ([{"residual": [CONV]}], (0, "residual"), "from what goes in, 1 x 8 x 8, to .*, 4 x 6 x 6"),
        ([{"residual": {"layers": [SAME], "project": False}}], (0, "residual"), "which do not add"),
        ([{"residual": ["dropout"]}], (0, "residual"), "change something"),
        ([{"concat": [[], [CONV]]}], (0, "concat"), "8"),
        ([{"clip": {"low": 1.0, "high": 0.0}}], (0, "clip"), "low must lie below high"),
        (["flatten", {"dense": 65536}, {"dense": 65536}], (2, "dense"), "more than 134,217,728"),
        ([{"repeat": {"times": 1000, "layers": [{"repeat": {"times": 1000, "layers": ["relu"]}}]}}],
         (0, "repeat", "layers", 0, "repeat", "layers", 0), "more than 2,000 layers"),
    ],
)  # fmt: skip
def test_layers_that_do_not_fit_are_named(layers, path, words):
    with pytest.raises(Unbuildable, match=words) as caught:
        made(layers)
    assert caught.value.path == ("network", "layers", *path)


def test_dropout_is_found_wherever_it_is():
    assert has_dropout([{"repeat": {"times": 2, "layers": [{"residual": ["relu", "dropout"]}]}}])
    assert not has_dropout([{"residual": ["relu"]}])


@pytest.mark.parametrize(
    ("item", "line", "message"),
    [
        ("relue", 4, "network.layers[0]: given relue; unknown layer; did you mean relu?"),
        ("3", 4, "network.layers[0]: given 3; unknown layer; the layers are conv, "),
        ("{relu: , tanh: }", 4, "must be one layer"),
        ("conv:\n        channels: 0\n        kernel: 3", 5, "conv.channels: given 0; must be an int"),
        ("conv: {channels: 3}", 4, "network.layers[0].conv.kernel: missing; must be"),
        ("conv:\n        kernel: 3\n        channels: 3\n        kernl: 2", 7, "did you mean kernel?"),
        ("dense: two", 4, "network.layers[0].dense: given two; must be an integer from 1"),
        ("relu: 3", 4, "network.layers[0].relu: given 3; must be left out"),
        ("conv: 3", 4, "network.layers[0].conv: given 3; must be its options, "),
        ("residual:\n        - relu\n        - tanhh", 6, "layers[0].residual[1]: given tanhh;"),
        ("concat:\n        - - relu\n        - - dense: x", 6, "layers[0].concat[1][0].dense: given x"),
        ("repeat:\n        times: 2\n        layers:\n          - rel", 7, "repeat.layers[0]: given rel;"),
        ("concat: [[relu]]", 4, "must be a list of at least 2 lists of layers"),
        ("dropout: 1", 4, "network.layers[0].dropout: given 1; must be"),
        ("conv: {channels: 3, kernel: 3, padding: full}", 4, "conv.padding: given full; must be one of same"),
    ],
)  # fmt: skip
def test_what_is_no_layer_is_named_with_its_line(tmp_path, item, line, message):
    path = tmp_path / "run.yaml"
    path.write_text(f"task: {{kind: digits}}\nnetwork:\n  layers:\n    - {item}\n", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_config(path)
    assert message in caught.value.message
    assert caught.value.line == line
    assert "\n" not in caught.value.message


def test_all_that_is_wrong_is_listed_at_once(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("task: {kind: digit}\nnetwork: {layers: [rel, {dense: 0}]}\n", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_config(path)
    assert len(caught.value.message.splitlines()) == 3


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("{}", "network.hidden: missing"),
        ("{hidden: [3], layers: [relu]}", "network.layers: hidden is given too"),
        ("{hidden: [3], input: [1, 8, 8]}", "network.input: belongs to layers"),
    ],
)
def test_one_of_hidden_and_layers_is_given(tmp_path, network, message):
    path = tmp_path / "run.yaml"
    path.write_text(f"task: {{kind: digits}}\nnetwork: {network}\n", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_config(path)
    assert message in caught.value.message


def test_what_is_made_ends_in_a_dense_layer_to_the_outputs():
    network = made([CONV, "relu", "global_average_pool"], outputs=7)
    assert isinstance(network, GraphNetwork)
    assert isinstance(network.graph.nodes[-1].operation, Dense)
    assert network.n_outputs == 7
