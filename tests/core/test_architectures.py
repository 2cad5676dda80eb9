"""Whole networks beside PyTorch: a residual block with a gate, a branching one, a transformer encoder."""

import numpy as np
import pytest
import torch
from assembled import assemble
from torch import nn

from sheafcli.core.graph import Constant, Graph, Node
from sheafcli.core.operations import (
    GELU,
    Add,
    AveragePooling,
    BatchNormalization,
    Clip,
    Concatenate,
    Convolution,
    Dense,
    Flatten,
    HardSigmoid,
    HardSwish,
    LayerNormalization,
    MatrixProduct,
    MaxPooling,
    Mean,
    Multiply,
    ReLU,
    Reshape,
    Scale,
    Slice,
    Softmax,
    Tanh,
    Transpose,
)
from sheafcli.core.outputs import Identity
from sheafcli.core.outputs import Softmax as Classes
from sheafcli.core.pinned import pinned
from sheafcli.core.sweep import linearize, output, pull_back
from sheafcli.core.theorems import (
    descend,
    energy,
    forward_coordinates,
    harmonic_extension,
    sampled_triangularity,
)


def array(parameter):
    return None if parameter is None else parameter.detach().numpy()


def dense(layer):
    return Dense(array(layer.weight), array(layer.bias))


def convolution(layer):
    return Convolution(
        array(layer.weight),
        array(layer.bias),
        layer.stride,
        layer.padding,
        layer.dilation,
        layer.groups,
    )


def batch_norm(layer):
    parts = (layer.weight, layer.bias, layer.running_mean, layer.running_var)
    return BatchNormalization(*(array(part) for part in parts), layer.eps)


def layer_norm(layer):
    return LayerNormalization(array(layer.weight), array(layer.bias), layer.eps)


class Residual(nn.Module):
    """An inverted residual block with squeeze and excitation, as MobileNet has it."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.expand = nn.Conv2d(4, 8, 1)
        self.depth = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.squeeze, self.excite = nn.Conv2d(8, 2, 1), nn.Conv2d(2, 8, 1)
        self.project = nn.Conv2d(8, 4, 1)
        self.head = nn.Linear(16, 3)

    def forward(self, x):
        x = nn.functional.hardswish(self.norm(self.stem(x)))
        h = nn.functional.relu6(self.depth(nn.functional.hardswish(self.expand(x))))
        gate = nn.functional.relu(self.squeeze(nn.functional.adaptive_avg_pool2d(h, 1)))
        h = h * nn.functional.hardsigmoid(self.excite(gate))
        x = x + self.project(h)
        return self.head(nn.functional.avg_pool2d(x, 2).flatten(1))

    def graph(self):
        return Graph(
            (2, 8, 8),
            (
                Node("stem", convolution(self.stem), ("x",)),
                Node("norm", batch_norm(self.norm), ("stem",)),
                Node("swish", HardSwish(), ("norm",)),
                Node("expand", convolution(self.expand), ("swish",)),
                Node("swish2", HardSwish(), ("expand",)),
                Node("depth", convolution(self.depth), ("swish2",)),
                Node("relu6", Clip(0, 6), ("depth",)),
                Node("mean", Mean((-1, -2)), ("relu6",)),
                Node("squeeze", convolution(self.squeeze), ("mean",)),
                Node("relu", ReLU(), ("squeeze",)),
                Node("excite", convolution(self.excite), ("relu",)),
                Node("gate", HardSigmoid(), ("excite",)),
                Node("gated", Multiply(), ("relu6", "gate")),
                Node("project", convolution(self.project), ("gated",)),
                Node("add", Add(), ("swish", "project")),
                Node("average", AveragePooling((2, 2)), ("add",)),
                Node("flatten", Flatten(), ("average",)),
                Node("head", dense(self.head), ("flatten",)),
            ),
        )

    shape = (2, 8, 8)


class Branching(nn.Module):
    """Branches of different kernels and a pooled one, concatenated, as Inception and DenseNet have them."""

    def __init__(self):
        super().__init__()
        self.one, self.three = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 4, (3, 2), padding=(1, 1), dilation=(1, 2))
        self.grouped = nn.Conv2d(9, 6, 2, groups=3)
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        pooled = nn.functional.max_pool2d(x, 3, 1, 1)
        x = torch.relu(torch.cat([self.one(x), self.three(x), pooled], 1))
        x = nn.functional.max_pool2d(torch.tanh(self.grouped(x)), 2, ceil_mode=True)
        return self.head(x.mean((2, 3)))

    def graph(self):
        return Graph(
            (3, 6, 6),
            (
                Node("one", convolution(self.one), ("x",)),
                Node("three", convolution(self.three), ("x",)),
                Node("pooled", MaxPooling((3, 3), 1, 1), ("x",)),
                Node("concat", Concatenate(-3), ("one", "three", "pooled")),
                Node("relu", ReLU(), ("concat",)),
                Node("grouped", convolution(self.grouped), ("relu",)),
                Node("tanh", Tanh(), ("grouped",)),
                Node("pool", MaxPooling((2, 2), ceil=True), ("tanh",)),
                Node("mean", Mean((-1, -2)), ("pool",)),
                Node("flatten", Flatten(), ("mean",)),
                Node("head", dense(self.head), ("flatten",)),
            ),
        )

    shape = (3, 6, 6)


class Encoder(nn.Module):
    """Two blocks of a transformer on patches of an image, with a class token and places, as ViT has them."""

    heads, features = 2, 6

    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(1, self.features, 2, stride=2)
        self.token = nn.Parameter(torch.randn(1, 1, self.features))
        self.place = nn.Parameter(torch.randn(1, 5, self.features))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                self.features,
                self.heads,
                8,
                dropout=0.0,
                activation="gelu",
                batch_first=True,
                norm_first=True,
            )
            for _ in range(2)
        )
        self.norm = nn.LayerNorm(self.features)
        self.head = nn.Linear(self.features, 3)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.place
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])

    def graph(self):
        nodes = []

        def add(name, operation, *parents):
            nodes.append(Node(name, operation, parents))
            return name

        h = add("patch", convolution(self.patch), "x")
        h = add("tokens", Transpose((-1, -2)), add("flat", Reshape((self.features, -1)), h))
        token = add("token", Constant(array(self.token)[0]))
        h = add("sequence", Concatenate(-2), token, h)
        h = add("placed", Scale(offset=array(self.place)[0]), h)
        for i, block in enumerate(self.blocks):
            h = add(f"add{i}a", Add(), h, self._attention(add, f"b{i}", block, h))
            m = add(f"norm{i}b", layer_norm(block.norm2), h)
            m = add(f"gelu{i}", GELU(), add(f"up{i}", dense(block.linear1), m))
            h = add(f"add{i}b", Add(), h, add(f"down{i}", dense(block.linear2), m))
        h = add("norm", layer_norm(self.norm), h)
        h = add("first", Flatten(), add("class", Slice((slice(0, 1), slice(None))), h))
        add("head", dense(self.head), h)
        return Graph((1, 4, 4), tuple(nodes))

    def _attention(self, add, name, block, h):
        n = self.features
        h = add(f"{name}norm", layer_norm(block.norm1), h)
        weight, bias = array(block.self_attn.in_proj_weight), array(block.self_attn.in_proj_bias)
        h = add(f"{name}qkv", Dense(weight, bias), h)
        parts = []
        for i, part in enumerate("qkv"):
            h_part = add(f"{name}{part}", Slice((slice(i * n, (i + 1) * n),)), h)
            by_head = add(f"{name}{part}s", Reshape((5, self.heads, n // self.heads)), h_part)
            parts.append(add(f"{name}{part}h", Transpose((-2, -3, -1)), by_head))
        q, k, v = parts
        scores = add(f"{name}scores", MatrixProduct(), q, add(f"{name}kt", Transpose((-3, -1, -2)), k))
        scaled = add(f"{name}scaled", Scale(np.array((n // self.heads) ** -0.5)), scores)
        mixed = add(f"{name}mixed", MatrixProduct(), add(f"{name}soft", Softmax(), scaled), v)
        joined = add(f"{name}joined", Reshape((5, n)), add(f"{name}back", Transpose((-2, -3, -1)), mixed))
        return add(f"{name}out", dense(block.self_attn.out_proj), joined)

    shape = (1, 4, 4)


@pytest.fixture(params=[Residual, Branching, Encoder], ids=lambda kind: kind.__name__.lower())
def network(request):
    torch.manual_seed(0)
    module = request.param().double()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2.0)
    return module.eval()


def samples(network, n=3):
    return np.random.default_rng(0).normal(size=(n, *network.shape))


def test_it_computes_what_pytorch_does(network):
    X = samples(network)
    expected = network(torch.tensor(X)).detach().numpy()
    graph = network.graph()
    np.testing.assert_allclose(output(graph, X), expected, rtol=1e-12, atol=1e-12)
    single = output(graph, X.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, rtol=1e-4, atol=1e-4)


def test_its_derivative_is_pytorch_s(network):
    X, graph = samples(network), network.graph()
    x = torch.tensor(X, requires_grad=True)
    y = network(x)
    v = np.random.default_rng(1).normal(size=y.shape)
    (expected,) = torch.autograd.grad(y, x, torch.tensor(v))
    *_, (_, pulled) = pull_back(linearize(graph, X), {graph.output.index: v}, down_to=0)
    np.testing.assert_allclose(pulled, expected.numpy(), rtol=1e-10, atol=1e-12)


def test_the_theorems_hold(network):
    X, graph = samples(network), network.graph()
    assert sampled_triangularity(linearize(graph, X), graph.dimension)[1:] == (0.0, 0.0)
    expected = forward_coordinates(graph, X)
    np.testing.assert_allclose(
        harmonic_extension(graph, X), expected, rtol=0, atol=1e-9 * np.max(np.abs(expected))
    )


def test_descent_ends_at_the_forward_pass(network):
    graph, x = network.graph(), samples(network)[0]
    start = forward_coordinates(graph, x[None])[0] + np.random.default_rng(2).normal(size=graph.dimension)
    ended = descend(graph, x, start)
    assert ended.energy < 1e-14 * energy(graph, x[None], start[None])[0][0]
    assert ended.distance < 1e-6


def test_its_pinned_equilibrium_is_in_balance(network):
    X, graph = samples(network), network.graph()
    n = graph.output.size
    found = pinned(graph, Classes(), X, np.eye(n)[[0, 1, 2]])
    assert np.max(found.left) < 1e-11
    assert found.edges[-1].name == "output"


def test_it_is_the_least_sum_of_squares(network):
    X, graph = samples(network, 1), network.graph()
    y = output(graph, X) + np.random.default_rng(3).normal(size=(1, graph.output.size))
    found = pinned(graph, Identity(), X, y)
    delta = assemble(linearize(graph, X), 0).toarray()
    out = graph.places[graph.output.index]
    moved = delta[:, out] @ (y - output(graph, X))[0]
    inner = np.delete(delta, out, axis=1)
    residuals = moved - inner @ np.linalg.lstsq(inner, moved)[0]
    squares = [np.sum(residuals[place] ** 2) for place in graph.places.values()]
    np.testing.assert_allclose(found.squares[0], squares, rtol=1e-9, atol=1e-12 * max(squares))
