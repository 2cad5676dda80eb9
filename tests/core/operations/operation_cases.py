"""Every operation of the core, once or more, with what it reads and what PyTorch computes in its place."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch.nn import functional

from sheafcli.core.operation import Operation
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
    HardSigmoid,
    HardSwish,
    Identity,
    LayerNormalization,
    LeakyReLU,
    MatrixProduct,
    MaxPooling,
    Mean,
    Multiply,
    Pad,
    PReLU,
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
    TanhGELU,
    Transpose,
    Upsample,
)


@dataclass(frozen=True)
class Case:
    """An operation, the stalks of its parents, and a function of PyTorch's tensors, samples x stalk.

    `kinks` are values near which finite differences are not tried.
    """

    name: str
    operation: Operation
    parents: tuple[tuple[int, ...], ...]
    torch: Callable | None = None
    kinks: tuple[float, ...] = ()
    spread: float = field(default=1.0)

    def values(self, seed=0, samples=3, dtype=np.float64):
        """Draw normal values for the parents, away from the kinks."""
        rng = np.random.default_rng(seed)
        drawn = [self.spread * rng.normal(size=(samples, *shape)) for shape in self.parents]
        for x in drawn:
            for kink in self.kinks:
                x[np.abs(x - kink) < 1e-3] += 2e-3
        return tuple(x.astype(dtype) for x in drawn)

    @property
    def shape(self):
        return self.operation.shape(*self.parents)


def normal(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape)


def tensor(array, like):
    return torch.as_tensor(np.asarray(array)).to(like.dtype)


W, b = normal(4, 5), normal(4, seed=2)
below = np.array([0.1, 0.3, -0.2]).reshape(3, 1, 1)

AFFINE = [
    Case("dense", Dense(W, b), ((5,),), lambda x: functional.linear(x, tensor(W, x), tensor(b, x))),
    Case("dense without bias", Dense(W), ((5,),), lambda x: functional.linear(x, tensor(W, x))),
    Case(
        "dense of tokens",
        Dense(W, b),
        ((2, 3, 5),),
        lambda x: functional.linear(x, tensor(W, x), tensor(b, x)),
    ),
    Case(
        "scale",
        Scale(normal(3, 1, 1), normal(3, 1, 1, seed=2)),
        ((3, 2, 4),),
        lambda x: tensor(normal(3, 1, 1), x) * x + tensor(normal(3, 1, 1, seed=2), x),
    ),
    Case("shift", Scale(offset=W), ((4, 5),), lambda x: x + tensor(W, x)),
    Case("scale by one number", Scale(np.array(0.5)), ((3, 2),), lambda x: 0.5 * x),
]

POINTWISE = [
    Case("relu", ReLU(), ((3, 4),), functional.relu, (0.0,)),
    Case("leaky relu", LeakyReLU(0.1), ((7,),), lambda x: functional.leaky_relu(x, 0.1), (0.0,)),
    Case(
        "prelu by channel",
        PReLU(below),
        ((3, 2, 4),),
        lambda x: functional.prelu(x, tensor(below.ravel(), x)),
        (0.0,),
    ),
    Case(
        "prelu of one slope",
        PReLU(np.array([0.3])),
        ((7,),),
        lambda x: functional.prelu(x, tensor([0.3], x)),
        (0.0,),
    ),
    Case("relu6", Clip(0, 6), ((9,),), functional.relu6, (0.0, 6.0), spread=5.0),
    Case("clip", Clip(-0.5, 0.7), ((9,),), lambda x: functional.hardtanh(x, -0.5, 0.7), (-0.5, 0.7)),
    Case("abs", Abs(), ((7,),), torch.abs, (0.0,)),
    Case(
        "hard sigmoid", HardSigmoid(), ((9,),), lambda x: (x / 6 + 0.5).clamp(0, 1), (-3.0, 3.0), spread=3.0
    ),
    Case("hard sigmoid of ONNX", HardSigmoid(0.2, 0.5), ((9,),), None, (-2.5, 2.5), spread=3.0),
    Case("hard swish", HardSwish(), ((9,),), functional.hardswish, (-3.0, 3.0), spread=3.0),
    Case("sigmoid", Sigmoid(), ((7,),), torch.sigmoid),
    Case("tanh", Tanh(), ((7,),), torch.tanh),
    Case("gelu", GELU(), ((7,),), functional.gelu),
    Case("tanh gelu", TanhGELU(), ((7,),), lambda x: functional.gelu(x, approximate="tanh")),
    Case("silu", SiLU(), ((7,),), functional.silu),
    Case("softplus", Softplus(), ((7,),), functional.softplus),
    Case("softplus of beta 2", Softplus(2.0), ((7,),), lambda x: functional.softplus(x, 2.0)),
    Case("elu", ELU(1.5), ((9,),), lambda x: functional.elu(x, 1.5), (0.0,)),
]


def convolution(name, image, outputs, kernel, *, bias=True, **options):
    """A convolution beside PyTorch's, which takes uneven padding as a pad of its own."""
    channels, axes, groups = image[0], len(image) - 1, options.get("groups", 1)
    weight = normal(outputs, channels // groups, *kernel, seed=3) / np.sqrt(np.prod(kernel))
    offset = normal(outputs, seed=4) if bias else None
    operation = Convolution(weight, offset, **options)

    def reference(x):
        pads = [n for pair in reversed(operation.padding) for n in pair]
        correlate = (functional.conv1d, functional.conv2d, functional.conv3d)[axes - 1]
        return correlate(
            functional.pad(x, pads),
            tensor(weight, x),
            tensor(offset, x) if bias else None,
            stride=operation.stride,
            dilation=operation.dilation,
            groups=groups,
        )

    return Case(f"convolution {name}", operation, (image,), reference)


CONVOLUTIONS = [
    convolution("plain", (2, 5, 6), 3, (3, 3)),
    convolution("padded", (2, 5, 6), 3, (3, 3), padding=1),
    convolution("strided", (2, 7, 6), 3, (3, 2), stride=(2, 3), padding=(1, 0)),
    convolution("with uneven padding", (2, 5, 6), 3, (3, 4), padding=((0, 2), (3, 1)), bias=False),
    convolution("dilated", (2, 8, 7), 3, (3, 2), dilation=(2, 3), padding=1),
    convolution("dilated and strided", (1, 9, 9), 2, (3, 3), dilation=2, stride=2, padding=3),
    convolution("in groups", (4, 5, 4), 6, (3, 2), groups=2, padding=1, stride=2),
    convolution("depthwise", (3, 5, 6), 3, (3, 3), groups=3, padding=1),
    convolution("depthwise, two outputs a channel", (3, 5, 6), 6, (2, 3), groups=3, stride=2),
    convolution("of one entry", (3, 4, 5), 4, (1, 1)),
    convolution("of one entry, strided", (3, 4, 5), 4, (1, 1), stride=2),
    convolution("of one entry, padded", (2, 3, 3), 4, (1, 1), padding=((1, 0), (0, 0))),
    convolution("as large as the image", (2, 3, 4), 5, (3, 4)),
    convolution("that skips entries", (2, 7, 7), 2, (2, 2), stride=3),
    # With channels enough to slide.
    convolution("sliding", (6, 5, 7), 7, (3, 3)),
    convolution("sliding, padded", (6, 5, 4), 8, (3, 3), padding=1),
    convolution("sliding, uneven padding", (6, 4, 5), 6, (2, 3), padding=((0, 1), (2, 0)), bias=False),
    convolution("sliding, more padding before", (6, 4, 5), 6, (3, 4), padding=((1, 2), (2, 1))),
    convolution("sliding, more padding after", (6, 4, 5), 6, (2, 5), padding=((0, 0), (1, 3))),
    convolution("sliding, dilated", (6, 7, 8), 9, (3, 2), dilation=(2, 3), padding=(2, 1)),
    convolution("sliding in groups", (12, 4, 5), 14, (2, 3), groups=2, padding=1),
    convolution("sliding over one axis", (6, 9), 7, (3,), padding=2, dilation=2),
    convolution("sliding over three axes", (8, 3, 4, 5), 9, (2, 3, 2), padding=((0, 1), (1, 1), (1, 0))),
    convolution("sliding, padding wider than the kernel", (8, 3, 3), 8, (2, 2), padding=3),
    convolution("sliding, a kernel of one column", (17, 5, 4), 18, (3, 1), padding=(1, 0)),
    convolution("sliding, as large as the image", (6, 3, 4), 5, (3, 4)),
    convolution("sliding, one entry", (17, 3, 4), 18, (1, 1)),
    convolution("over one axis", (3, 9), 4, (3,), stride=2, padding=1),
    convolution("over three axes", (2, 3, 4, 5), 3, (2, 3, 2), padding=(0, 1, 1), stride=(1, 2, 1)),
    convolution("with padding wider than the kernel", (1, 3, 3), 2, (2, 2), padding=3),
]

POOLING = [
    Case("max pooling", MaxPooling((2, 2)), ((2, 6, 5),), lambda x: functional.max_pool2d(x, 2)),
    Case(
        "max pooling, overlapping",
        MaxPooling((3, 2), 1, (1, 0)),
        ((2, 5, 6),),
        lambda x: functional.max_pool2d(x, (3, 2), 1, (1, 0)),
    ),
    Case(
        "max pooling, ceil",
        MaxPooling((3, 3), 2, 1, ceil=True),
        ((2, 6, 8),),
        lambda x: functional.max_pool2d(x, 3, 2, 1, ceil_mode=True),
    ),
    Case(
        "max pooling, ceil, a last window left out",
        MaxPooling((2, 2), 3, 1, ceil=True),
        ((1, 5, 8),),
        lambda x: functional.max_pool2d(x, 2, 3, 1, ceil_mode=True),
    ),
    Case(
        "max pooling, dilated",
        MaxPooling((2, 2), 2, 0, 2),
        ((2, 7, 6),),
        lambda x: functional.max_pool2d(x, 2, 2, 0, 2),
    ),
    Case("max pooling over one axis", MaxPooling((3,)), ((2, 9),), lambda x: functional.max_pool1d(x, 3)),
    Case(
        "max pooling of a large window",
        MaxPooling((20, 20)),
        ((1, 20, 20),),
        lambda x: functional.max_pool2d(x, 20),
    ),
    Case("average pooling", AveragePooling((2, 3)), ((2, 6, 7),), lambda x: functional.avg_pool2d(x, (2, 3))),
    Case(
        "average pooling, padding counted",
        AveragePooling((3, 3), 2, 1),
        ((2, 6, 7),),
        lambda x: functional.avg_pool2d(x, 3, 2, 1),
    ),
    Case(
        "average pooling, padding not counted",
        AveragePooling((3, 3), 2, 1, count_padding=False),
        ((2, 6, 7),),
        lambda x: functional.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
    ),
    Case(
        "average pooling, ceil, padding counted",
        AveragePooling((3, 3), 2, 1, ceil=True),
        ((2, 6, 8),),
        lambda x: functional.avg_pool2d(x, 3, 2, 1, ceil_mode=True),
    ),
    Case(
        "average pooling, ceil, padding not counted",
        AveragePooling((3, 3), 2, 1, ceil=True, count_padding=False),
        ((2, 6, 8),),
        lambda x: functional.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False),
    ),
    Case("global average pooling", Mean((-1, -2)), ((3, 4, 5),), lambda x: x.mean((-1, -2), keepdim=True)),
    Case("mean of the tokens", Mean((-2,)), ((4, 3),), lambda x: x.mean(-2, keepdim=True)),
]

JOINS = [
    Case("add", Add(), ((2, 3), (2, 3)), torch.add),
    Case("add three", Add(), ((2, 3), (2, 1), (1, 3)), lambda x, y, z: x + y + z),
    Case("subtract", Subtract(), ((2, 3), (1, 3)), torch.subtract),
    Case("concatenate channels", Concatenate(-3), ((2, 3, 4), (1, 3, 4)), lambda *x: torch.cat(x, 1)),
    Case("concatenate three", Concatenate(-1), ((2, 3), (2, 1), (2, 2)), lambda *x: torch.cat(x, -1)),
    Case("multiply", Multiply(), ((2, 3), (2, 3)), torch.multiply),
    Case("squeeze and excite", Multiply(), ((3, 2, 4), (3, 1, 1)), torch.multiply),
    Case("multiply crosswise", Multiply(), ((3, 1, 4), (1, 2, 4)), torch.multiply),
    Case("matrix product", MatrixProduct(), ((3, 4), (4, 2)), torch.matmul),
    Case("matrix product by head", MatrixProduct(), ((2, 3, 4), (2, 4, 5)), torch.matmul),
]

RESHAPES = [
    Case("identity", Identity(), ((2, 3),), lambda x: x.clone()),
    Case("flatten", Flatten(), ((2, 3, 4),), lambda x: x.flatten(1)),
    Case("reshape", Reshape((4, -1)), ((2, 3, 4),), lambda x: x.reshape(-1, 4, 6)),
    Case("reshape of a number a sample", Reshape((1, 1)), ((1,),), lambda x: x.reshape(-1, 1, 1)),
    Case("transpose", Transpose((-1, -3, -2)), ((2, 3, 4),), lambda x: x.permute(0, 3, 1, 2)),
    Case("pad", Pad(((1, 0), (2, 3))), ((2, 3, 4),), lambda x: functional.pad(x, (2, 3, 1, 0))),
    Case("slice", Slice((slice(1, None), slice(None, None, 2))), ((2, 3, 5),), lambda x: x[..., 1:, ::2]),
    Case("slice backwards", Slice((slice(None, None, -2),)), ((2, 5),), lambda x: x.flip(-1)[..., ::2]),
    Case(
        "upsample",
        Upsample((2, 3)),
        ((2, 3, 2),),
        lambda x: x.repeat_interleave(2, -2).repeat_interleave(3, -1),
    ),
]

scale, offset = normal(3, seed=5), normal(3, seed=6)
mean, variance = normal(3, seed=7), np.exp(normal(3, seed=8))
statistics = (mean, variance, scale, offset)
tokens = normal(4, seed=9)

NORMALISATION = [
    Case(
        "batch normalisation of images",
        BatchNormalization(scale, offset, mean, variance, 1e-3),
        ((3, 2, 4),),
        lambda x: functional.batch_norm(
            x, *(tensor(a, x) for a in (mean, variance, scale, offset)), eps=1e-3
        ),
    ),
    Case(
        "batch normalisation of vectors",
        BatchNormalization(scale, offset, mean, variance),
        ((3,),),
        lambda x: functional.batch_norm(x, *(tensor(a, x) for a in statistics)),
    ),
    Case(
        "layer normalisation",
        LayerNormalization(tokens, normal(4, seed=10)),
        ((3, 4),),
        lambda x: functional.layer_norm(x, (4,), tensor(tokens, x), tensor(normal(4, seed=10), x)),
    ),
    Case(
        "layer normalisation over two axes, no offset",
        LayerNormalization(normal(2, 3, seed=11), epsilon=1e-2),
        ((2, 3),),
        lambda x: functional.layer_norm(x, (2, 3), tensor(normal(2, 3, seed=11), x), eps=1e-2),
    ),
    Case("softmax", Softmax(), ((3, 4),), lambda x: functional.softmax(x, -1)),
    Case("softmax along another axis", Softmax(-2), ((2, 3, 4),), lambda x: functional.softmax(x, -2)),
]

CASES = [*AFFINE, *POINTWISE, *CONVOLUTIONS, *POOLING, *JOINS, *RESHAPES, *NORMALISATION]
BY_NAME = {case.name: case for case in CASES}
