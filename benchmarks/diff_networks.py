"""Networks with random weights in which differences are planted, as graphs and as modules of PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from sheafcli.core.graph import Constant, Graph, Node
from sheafcli.core.operation import Operation
from sheafcli.core.operations import (
    Add,
    BatchNormalization,
    Clip,
    Convolution,
    Dense,
    Flatten,
    Identity,
    MaxPooling,
    Mean,
    ReLU,
)


class Draw:
    """Operations with random weights, all from one seed."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def dense(self, inputs: int, outputs: int) -> Dense:
        """Return a dense layer."""
        W = self.rng.normal(size=(outputs, inputs)) * np.sqrt(2.0 / inputs)
        return Dense(W, 0.1 * self.rng.normal(size=outputs))

    def conv(
        self,
        channels: int,
        outputs: int,
        kernel: int = 3,
        padding: int | None = None,
        stride: int = 1,
        groups: int = 1,
    ) -> Convolution:
        """Return a convolution, padded to the size of its input unless told otherwise."""
        size = (outputs, channels // groups, kernel, kernel)
        W = self.rng.normal(size=size) * np.sqrt(2.0 / (channels // groups * kernel**2))
        at = kernel // 2 if padding is None else padding
        return Convolution(W, 0.1 * self.rng.normal(size=outputs), stride, at, 1, groups)

    def norm(self, channels: int) -> BatchNormalization:
        """Return a batch normalisation with variances from 0.05 to 2."""
        factor, offset, mean = 0.2 * self.rng.normal(size=(3, channels))
        return BatchNormalization(1.0 + factor, offset, mean, np.exp(self.rng.uniform(-3.0, 0.7, channels)))


class Chain:
    """Nodes that are added one after the other."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.last = "x"

    def add(self, operations: dict[str, Operation], after: str | None = None) -> str:
        """Add operations in a row, behind the last one or another, and return the name of the last."""
        parent = self.last if after is None else after
        for name, operation in operations.items():
            self.nodes.append(Node(name, operation, (parent,)))
            parent = name
        self.last = parent
        return parent

    def join(self, name: str, *parents: str) -> str:
        """Add up two branches."""
        self.nodes.append(Node(name, Add(), parents))
        self.last = name
        return name

    def head(self, dense: Dense) -> None:
        """End in the mean over all positions and a dense layer."""
        self.add({"pool": Mean((-1, -2)), "flatten": Flatten(), "fc": dense})


def mlp(draw: Draw) -> Graph:
    """Return an MLP of four layers of 32."""
    path: dict[str, Operation] = {}
    for i in range(1, 5):
        path |= {f"fc{i}": draw.dense(32, 32), f"norm{i}": draw.norm(32), f"relu{i}": ReLU()}
    return Graph.path((32,), path | {"fc5": draw.dense(32, 10)})


def lenet(draw: Draw) -> Graph:
    """Return a LeNet for images of 16 x 16, with batch normalisation."""
    path: dict[str, Operation] = {
        "conv1": draw.conv(1, 6, 5),
        "norm1": draw.norm(6),
        "relu1": ReLU(),
        "pool1": MaxPooling((2, 2)),
        "conv2": draw.conv(6, 16, 5, 0),
        "norm2": draw.norm(16),
        "relu2": ReLU(),
        "pool2": MaxPooling((2, 2)),
        "flatten": Flatten(),
        "fc1": draw.dense(64, 48),
        "relu3": ReLU(),
        "fc2": draw.dense(48, 32),
        "relu4": ReLU(),
        "fc3": draw.dense(32, 10),
    }
    return Graph.path((1, 16, 16), path)


def resnet20(draw: Draw) -> Graph:
    """Return ResNet-20, of half its channels, for images of 12 x 12."""
    chain, channels = Chain(), 8
    last = chain.add({"conv": draw.conv(3, 8), "norm": draw.norm(8), "relu": ReLU()})
    for stage, width in enumerate((8, 16, 32), start=1):
        for block in range(1, 4):
            name, stride = f"layer{stage}.{block}", 2 if width != channels else 1
            branch = chain.add(
                {
                    f"{name}.conv1": draw.conv(channels, width, stride=stride),
                    f"{name}.norm1": draw.norm(width),
                    f"{name}.relu1": ReLU(),
                    f"{name}.conv2": draw.conv(width, width),
                    f"{name}.norm2": draw.norm(width),
                },
                last,
            )
            if width != channels:
                projection = draw.conv(channels, width, 1, stride=stride)
                last = chain.add({f"{name}.down": projection, f"{name}.norm3": draw.norm(width)}, last)
            chain.join(f"{name}.add", last, branch)
            last, channels = chain.add({f"{name}.relu2": ReLU()}), width
    chain.head(draw.dense(32, 10))
    return settled(Graph((3, 12, 12), tuple(chain.nodes)), draw.rng)


def mobilenet(draw: Draw) -> Graph:
    """Return a small MobileNetV2 for images of 12 x 12: four inverted residual blocks."""
    chain, channels = Chain(), 8
    last = chain.add({"conv": draw.conv(3, 8), "norm": draw.norm(8), "relu": Clip(0.0, 6.0)})
    for block, (width, stride) in enumerate(((8, 1), (12, 2), (12, 1), (16, 1)), start=1):
        name, inner = f"block{block}", 3 * channels
        branch = chain.add(
            {
                f"{name}.expand": draw.conv(channels, inner, 1),
                f"{name}.norm1": draw.norm(inner),
                f"{name}.relu1": Clip(0.0, 6.0),
                f"{name}.depthwise": draw.conv(inner, inner, stride=stride, groups=inner),
                f"{name}.norm2": draw.norm(inner),
                f"{name}.relu2": Clip(0.0, 6.0),
                f"{name}.project": draw.conv(inner, width, 1),
                f"{name}.norm3": draw.norm(width),
            },
            last,
        )
        last = chain.join(f"{name}.add", last, branch) if (width, stride) == (channels, 1) else branch
        channels = width
    chain.add({"conv2": draw.conv(16, 32, 1), "norm2": draw.norm(32), "relu2": Clip(0.0, 6.0)})
    chain.head(draw.dense(32, 10))
    return settled(Graph((3, 12, 12), tuple(chain.nodes)), draw.rng)


def settled(graph: Graph, rng: np.random.Generator) -> Graph:
    """Return the graph with normalisations that have the statistics of normal samples, as if trained."""
    values: dict[str, np.ndarray] = {"x": rng.normal(size=(32, *graph.input_shape))}
    nodes = []
    for node in graph.nodes:
        operation, given = node.operation, [values[parent] for parent in node.parents]
        if isinstance(operation, BatchNormalization):
            mean, variance = given[0].mean(axis=(0, 2, 3)), given[0].var(axis=(0, 2, 3))
            operation = replace(operation, mean=mean, variance=variance)
        assert not isinstance(operation, Constant)
        values[node.name] = operation.forward(*given)
        nodes.append(replace(node, operation=operation))
    return Graph(graph.input_shape, tuple(nodes))


NETWORKS: dict[str, Callable[[Draw], Graph]] = {
    "MLP": mlp,
    "LeNet": lenet,
    "ResNet-20": resnet20,
    "MobileNetV2": mobilenet,
}


def module(graph: Graph) -> Any:
    """Return a graph as a module of PyTorch in single precision, its parts named by the vertices."""
    import torch  # noqa: PLC0415

    def tensor(array: Any) -> Any:
        return torch.nn.Parameter(torch.tensor(array, dtype=torch.float32))

    def part(operation: Any) -> Any:
        if isinstance(operation, Dense):
            made = torch.nn.Linear(*operation.weight.shape[::-1])
            made.weight, made.bias = tensor(operation.weight), tensor(operation.bias)
        elif isinstance(operation, Convolution):
            outputs, inner, *kernel = operation.weight.shape
            made = torch.nn.Conv2d(
                inner * operation.groups,
                outputs,
                kernel,
                operation.stride,
                operation.padding[0][0],
                groups=operation.groups,
            )
            made.weight, made.bias = tensor(operation.weight), tensor(operation.bias)
        elif isinstance(operation, BatchNormalization):
            kind = torch.nn.BatchNorm1d if graph.input_shape[1:] == () else torch.nn.BatchNorm2d
            made = kind(len(operation.factor), operation.epsilon)
            made.weight, made.bias = tensor(operation.factor), tensor(operation.offset)
            made.running_mean = torch.tensor(operation.mean, dtype=torch.float32)
            made.running_var = torch.tensor(operation.variance, dtype=torch.float32)
        elif isinstance(operation, MaxPooling):
            made = torch.nn.MaxPool2d(2)
        else:
            simple = {ReLU: torch.nn.ReLU, Clip: torch.nn.ReLU6, Flatten: torch.nn.Flatten}
            simple[Identity], simple[Mean] = torch.nn.Identity, lambda: torch.nn.AdaptiveAvgPool2d(1)
            made = simple[type(operation)]()
        return made

    class Walk(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            for node in graph.nodes:
                if not isinstance(node.operation, Add):
                    self.add_module(node.name.replace(".", "_"), part(node.operation))

        def forward(self, x: Any) -> Any:
            values = {"x": x}
            for node in graph.nodes:
                given = [values[parent] for parent in node.parents]
                named = getattr(self, node.name.replace(".", "_"), None)
                values[node.name] = given[0] + given[1] if named is None else named(given[0])
            return values[graph.nodes[-1].name]

    return Walk().eval()
