"""Networks that are no plain chains: a small residual network for images of 6 x 6, and data for it."""

import numpy as np

from sheafcli.core.graph import Graph, Node
from sheafcli.core.network import GraphNetwork
from sheafcli.core.operations import Add, BatchNormalization, Convolution, Dense, Flatten, MaxPooling, ReLU
from sheafcli.core.outputs import output_named


def residual_network(seed=0, channels=3, outputs=3, output="softmax", **changed):
    """Return conv, ReLU, a residual block, pooling, a dense layer; `changed` are other operations by name."""
    rng = np.random.default_rng(seed)

    def kernel(*shape):
        return rng.normal(0.0, np.sqrt(2.0 / np.prod(shape[1:])), size=shape)

    def conv(inputs):
        return Convolution(kernel(channels, inputs, 3, 3), 0.1 * rng.normal(size=channels), padding=1)

    made = {
        "conv_1": (conv(1), "x"),
        "relu_1": (ReLU(), "conv_1"),
        "conv_2": (conv(channels), "relu_1"),
        "norm_2": (BatchNormalization(*np.full((4, channels), [[1.2], [0.1], [0.2], [0.9]])), "conv_2"),
        "relu_2": (ReLU(), "norm_2"),
        "conv_3": (conv(channels), "relu_2"),
        "add": (Add(), "conv_3", "relu_1"),
        "relu_3": (ReLU(), "add"),
        "pool": (MaxPooling((2, 2), stride=2), "relu_3"),
        "flatten": (Flatten(), "pool"),
        "dense": (Dense(kernel(outputs, 9 * channels), rng.normal(size=outputs)), "flatten"),
    }
    nodes = tuple(Node(name, changed.get(name, made[name][0]), made[name][1:]) for name in made)
    return GraphNetwork(Graph((1, 6, 6), nodes), output_named(output))


def straight_network(seed=0, channels=4, outputs=3):
    """Return conv, ReLU, conv, ReLU, pooling, a dense layer: what reads a channel does so by weights."""
    rng = np.random.default_rng(seed)
    operations = {
        "conv_1": Convolution(rng.normal(size=(channels, 1, 3, 3)), rng.normal(size=channels)),
        "relu_1": ReLU(),
        "conv_2": Convolution(rng.normal(size=(2, channels, 3, 3)), rng.normal(size=2)),
        "relu_2": ReLU(),
        "pool": MaxPooling((2, 2), stride=1),
        "flatten": Flatten(),
        "dense": Dense(rng.normal(size=(outputs, 2)), rng.normal(size=outputs)),
    }
    return GraphNetwork(Graph.path((1, 6, 6), operations), output_named("softmax"))


def images(count=60, seed=1, outputs=3):
    """Return flattened images and one-hot targets."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 36)), np.eye(outputs)[rng.integers(0, outputs, count)]
