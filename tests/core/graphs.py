"""Graphs to try things on: chains of the present core, and random directed acyclic graphs."""

import math

import numpy as np
from hypothesis import strategies as st
from strategies import seeds

from sheafcli.core.graph import Constant, Graph, Node
from sheafcli.core.operations import (
    ELU,
    GELU,
    Abs,
    Add,
    AveragePooling,
    BatchNormalization,
    Clip,
    Concatenate,
    Convolution,
    Dense,
    Flatten,
    HardSwish,
    LayerNormalization,
    LeakyReLU,
    MatrixProduct,
    MaxPooling,
    Mean,
    Multiply,
    Pad,
    ReLU,
    Reshape,
    Scale,
    Sigmoid,
    SiLU,
    Slice,
    Softmax,
    Softplus,
    Subtract,
    Tanh,
    Transpose,
    Upsample,
)

ACTIVATIONS = (
    ReLU(),
    ReLU(),
    LeakyReLU(0.1),
    Abs(),
    Clip(-0.5, 0.5),
    Sigmoid(),
    Tanh(),
    GELU(),
    SiLU(),
    ELU(),
)
SMOOTH = (Sigmoid(), Tanh(), GELU(), SiLU(), Softplus(), HardSwish(), Softmax())
INPUTS = ((4,), (3, 2), (2, 4, 4), (1, 5, 3))
# Shapes do not grow beyond this many entries.
LARGEST = 60


def graph_of(network):
    """Return a network of dense layers and ReLUs as a graph, without its output function."""
    operations = {}
    for layer, (W, b) in enumerate(zip(network.weights, network.biases, strict=True), start=1):
        operations[f"affine_{layer}"] = Dense(W, b)
        if layer <= network.depth:
            operations[f"activation_{layer}"] = ReLU()
    return Graph.path((network.widths[0],), operations)


def random_graph(rng, steps, outputs, activations=ACTIVATIONS, *, products=True):
    """Return a directed acyclic graph of so many random operations and a dense layer, with its input shape.

    What nothing reads in the end is flattened, concatenated and read by the dense layer.
    """
    shape = INPUTS[rng.integers(len(INPUTS))]
    nodes, made = [], {"x": shape}

    def add(operation, *parents):
        name = f"v{len(nodes)}"
        nodes.append(Node(name, operation, parents))
        value = isinstance(operation, Constant)
        made[name] = operation.value.shape if value else operation.shape(*(made[p] for p in parents))
        return name

    for _ in range(steps):
        names = list(made)
        parent = names[rng.integers(len(names))]
        if rng.random() < 0.4:
            partners = [name for name in names if made[name] == made[parent]]
            _join(rng, add, made[parent], parent, partners[rng.integers(len(partners))], products)
        else:
            operation = _single(rng, made[parent], activations)
            if operation is not None and math.prod(operation.shape(made[parent])) <= LARGEST:
                add(operation, parent)
    read = {parent for node in nodes for parent in node.parents}
    leaves = [add(Flatten(), name) for name in list(made) if name not in read]
    last = add(Concatenate(-1), *leaves) if len(leaves) > 1 else leaves[0]
    add(
        Dense(rng.normal(size=(outputs, made[last][0])) / np.sqrt(made[last][0]), rng.normal(size=outputs)),
        last,
    )
    return Graph(shape, tuple(nodes))


def _join(rng, add, shape, first, second, products):
    kind = rng.integers(6)
    if kind == 0:
        add(Concatenate(-len(shape)), first, second)
    elif kind == 1:
        add(Subtract(), first, second)
    elif kind == 2:
        add(Add(), first, add(Constant(rng.normal(size=shape))))
    elif kind == 3 and products:
        add(Multiply(), first, second)
    elif kind == 4 and products and len(shape) == 2:
        add(MatrixProduct(), first, add(Transpose((-1, -2)), second))
    else:
        add(Add(), first, second)


def _single(rng, shape, activations):
    """Draw an operation that reads a stalk of this shape; None where the one drawn does not fit."""
    features = 3

    def normal(*size):
        return rng.normal(size=size)

    image = len(shape) == 3
    spatial = shape[1:]
    kinds = [
        lambda: activations[rng.integers(len(activations))],
        lambda: activations[rng.integers(len(activations))],
        lambda: Dense(normal(features, shape[-1]) / np.sqrt(shape[-1]), normal(features)),
        lambda: Scale(normal(*shape), normal(*shape)),
        lambda: BatchNormalization(*(normal(shape[0]) for _ in range(3)), np.exp(normal(shape[0]))),
        lambda: LayerNormalization(1.0 + 0.1 * normal(shape[-1]), epsilon=0.1),
        lambda: Softmax(-1),
        lambda: Pad(((1, 0),)),
        lambda: Slice((slice(None, None, -1),)),
        lambda: Upsample((2,)),
        lambda: Mean((-1,)),
        lambda: Reshape((1, -1)) if len(shape) == 1 else Reshape((shape[0], -1)),
    ]
    if image:
        padding = int(rng.integers(2))
        kernel = tuple(int(min(n, 1 + rng.integers(3))) for n in spatial)
        stride = int(1 + rng.integers(2))
        weight = normal(2, shape[0], *kernel) / np.sqrt(shape[0] * np.prod(kernel))
        few = min(kernel) > 1
        kinds += [
            lambda: Convolution(weight, normal(2), stride, padding),
            lambda: Convolution(weight, None, stride, padding),
            lambda: Convolution(normal(shape[0], 1, *kernel), normal(shape[0]), groups=shape[0]),
            lambda: MaxPooling(kernel, stride, padding if few else 0),
            lambda: AveragePooling(kernel, stride, padding if few else 0),
            lambda: Mean((-1, -2)),
        ]
    return kinds[rng.integers(len(kinds))]()


@st.composite
def graphs(draw, activations=ACTIVATIONS, products=True):
    """Draw a random directed acyclic graph of at least one operation and a dense layer."""
    rng = np.random.default_rng(draw(seeds))
    return random_graph(
        rng, draw(st.integers(1, 14)), draw(st.integers(1, 4)), activations, products=products
    )
