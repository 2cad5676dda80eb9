"""The layers that `network.layers` may list, each with its options and the operation that it stands for.

A layer is written as its name (`relu`), with its options (`conv: {channels: 8, kernel: 3}`), or with its main
one alone (`dense: 64`). Weights start He-normal, biases at zero, normalisations as the identity but for their
epsilon.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from sheafcli.config.section import PositiveFloat, Section
from sheafcli.core import operations as core
from sheafcli.core.operation import Operation
from sheafcli.core.types import Array, Shape

# Draws weights of a shape, outputs first; the mean square of an entry is 2 / (entries an output).
Draw = Callable[[Shape], Array]

LARGEST_NUMBER = 65536
Count = Annotated[int, Field(ge=1, le=LARGEST_NUMBER)]
Width = Annotated[int, Field(ge=0, le=LARGEST_NUMBER)]
Counts = Annotated[tuple[Count, ...], Field(strict=False, min_length=1, max_length=3)]
Widths = Annotated[tuple[Width, ...], Field(strict=False, min_length=1, max_length=3)]
PerAxis = Count | Counts
Padding = Literal["same", "valid"] | Width | Widths
Layers = Annotated[tuple[Any, ...], Field(strict=False, max_length=1000)]

KERNEL = Field(description="Entries that the window covers: one number for all axes, or one an axis.")
STRIDE = Field(default=1, description="By how many entries the window moves: larger makes smaller images.")
DILATION = Field(default=1, description="How far apart the entries are that the window covers.")
PADDING: Any = Field(
    default="valid",
    description="Zeros around the image: valid is none, same is as many as give ceil(length / stride) "
    "places, a number is as many before and after each axis.",
)
BIAS = Field(default=True, description="Whether a bias is added; batch_norm after it has one of its own.")
EPSILON = Field(default=1e-5, description="Added to the variance before the root is taken.")
INSIDE = Field(json_schema_extra={"allowed": "a list of layers"}, description="The layers inside, in order.")


class Layer(Section):
    """A layer that makes one operation of the value before it. `main` is the option that may stand alone."""

    main: ClassVar[str | None] = None

    @abstractmethod
    def operation(self, shape: Shape, draw: Draw) -> Operation:
        """Return the operation on a value of this shape; ValueError where they do not fit."""


class Windowed(Layer):
    """A layer whose window moves over an image, channels x 1 to 3 axes."""

    kernel: PerAxis = KERNEL
    padding: Padding = PADDING

    def kernel_on(self, shape: Shape) -> Shape:
        """Return the window's lengths on an image of this shape."""
        check_image(shape)
        return per_axis("kernel", self.kernel, shape)

    def padding_on(
        self, shape: Shape, stride: int | Sequence[int], dilation: int | Sequence[int] = 1
    ) -> tuple[tuple[int, int], ...]:
        """Return what is imagined before and after each axis of an image of this shape."""
        if isinstance(self.padding, int | tuple):
            return tuple((n, n) for n in per_axis("padding", self.padding, shape))
        if self.padding == "valid":
            return ((0, 0),) * (len(shape) - 1)
        steps, apart = per_axis("stride", stride, shape), per_axis("dilation", dilation, shape)
        pairs = []
        for n, k, s, d in zip(shape[1:], self.kernel_on(shape), steps, apart, strict=True):
            total = max((math.ceil(n / s) - 1) * s + d * (k - 1) + 1 - n, 0)
            pairs.append((total // 2, total - total // 2))
        return tuple(pairs)


class Conv(Windowed):
    """A convolution over 1 to 3 axes: every output is a weighted sum of what a window sees, plus a bias."""

    channels: Count = Field(description="How many images come out: more can tell more apart.")
    stride: PerAxis = STRIDE
    dilation: PerAxis = DILATION
    groups: Count = Field(default=1, description="Into how many groups channels fall that do not meet.")
    bias: bool = BIAS

    def operation(self, shape: Shape, draw: Draw) -> Operation:
        """Return the convolution."""
        kernel, stride = self.kernel_on(shape), per_axis("stride", self.stride, shape)
        dilation = per_axis("dilation", self.dilation, shape)
        if shape[0] % self.groups or self.channels % self.groups:
            raise ValueError(
                f"{shape[0]} channels in and {self.channels} out do not both fall into {self.groups} groups"
            )
        padding = self.padding_on(shape, stride, dilation)
        core.Convolution(np.ones((1, 1, *kernel)), None, stride, padding, dilation).shape((1, *shape[1:]))
        weight = draw((self.channels, shape[0] // self.groups, *kernel))
        bias = np.zeros(self.channels) if self.bias else None
        return core.Convolution(weight, bias, stride, padding, dilation, self.groups)


class DepthwiseConv(Windowed):
    """A convolution of every channel by itself."""

    main = "kernel"
    stride: PerAxis = STRIDE
    dilation: PerAxis = DILATION
    multiplier: Count = Field(default=1, description="How many images come out of each channel.")
    bias: bool = BIAS

    def operation(self, shape: Shape, draw: Draw) -> Operation:
        """Return the convolution with as many groups as channels."""
        check_image(shape)
        options = self.model_dump(exclude={"multiplier"})
        return Conv(channels=self.multiplier * shape[0], groups=shape[0], **options).operation(shape, draw)


class Dense(Layer):
    """A dense layer: every output is a weighted sum of a vector, plus a bias."""

    main = "units"
    units: Count = Field(description="How many outputs it has: more fit more.")
    bias: bool = BIAS

    def operation(self, shape: Shape, draw: Draw) -> Operation:
        """Return the dense layer."""
        if len(shape) != 1:
            raise ValueError(
                f"reads a vector, and the value before it is {shown(shape)}; put flatten before it"
            )
        return core.Dense(draw((self.units, *shape)), np.zeros(self.units) if self.bias else None)


class BatchNorm(Layer):
    """Batch normalisation as at evaluation: a factor and an offset a channel; mean 0 and variance 1 stay."""

    epsilon: PositiveFloat = EPSILON

    def operation(self, shape: Shape, draw: Draw) -> Operation:
        """Return the normalisation with factor 1 and offset 0."""
        ones, zeros = np.ones(shape[0]), np.zeros(shape[0])
        return core.BatchNormalization(ones, zeros, zeros, ones, self.epsilon)


class LayerNorm(Layer):
    """All entries of a sample less their mean, over their deviation; a factor and an offset each."""

    epsilon: PositiveFloat = EPSILON

    def operation(self, shape: Shape, draw: Draw) -> Operation:
        """Return the normalisation with factor 1 and offset 0."""
        return core.LayerNormalization(np.ones(shape), np.zeros(shape), self.epsilon)


class Pool(Windowed):
    """A pooling layer; its window moves by its own length unless `stride` says otherwise."""

    main = "kernel"
    stride: PerAxis | None = Field(
        default=None, description="By how many entries the window moves; null is by its own length."
    )

    def operation(self, shape: Shape, draw: Draw) -> Operation:
        """Return the pooling."""
        kernel = self.kernel_on(shape)
        stride = kernel if self.stride is None else per_axis("stride", self.stride, shape)
        return self.pooling(kernel, stride, self.padding_on(shape, stride))

    @abstractmethod
    def pooling(self, kernel: Shape, stride: Shape, padding: tuple[tuple[int, int], ...]) -> Operation:
        """Return the pooling with these lengths."""


class MaxPool(Pool):
    """The largest entry that a window sees."""

    def pooling(self, kernel: Shape, stride: Shape, padding: tuple[tuple[int, int], ...]) -> Operation:
        """Return the pooling of maxima."""
        return core.MaxPooling(kernel, stride, padding)


class AveragePool(Pool):
    """The mean of what a window sees, without the padding."""

    def pooling(self, kernel: Shape, stride: Shape, padding: tuple[tuple[int, int], ...]) -> Operation:
        """Return the pooling of means."""
        return core.AveragePooling(kernel, stride, padding, count_padding=False)


class GlobalAveragePool(Section):
    """The mean of every channel of an image: a vector."""

    main: ClassVar[str | None] = None


class Flatten(Section):
    """All entries as one vector, channel by channel, row by row."""

    main: ClassVar[str | None] = None


class Dropout(Section):
    """Nothing: training is on the network as it predicts, where dropout is not at work."""

    main: ClassVar[str | None] = "rate"
    rate: Annotated[float, Field(ge=0, lt=1)] = Field(default=0.5, description="Not used.")


class Residual(Section):
    """What goes in, added to what the layers inside make of it."""

    main: ClassVar[str | None] = "layers"
    layers: Layers = INSIDE
    project: bool | Literal["auto"] = Field(
        default="auto",
        description="Whether what goes in passes a convolution of length 1 (a dense layer for vectors) "
        "without bias before it is added: auto does so where the shapes differ, false refuses them.",
    )


class Concat(Section):
    """What several branches make of the same value, side by side along the channels."""

    main: ClassVar[str | None] = "branches"
    branches: Annotated[tuple[Layers, ...], Field(strict=False, min_length=2, max_length=100)] = Field(
        json_schema_extra={"allowed": "a list of at least 2 lists of layers"},
        description="The layers of every branch; [] is the value itself.",
    )


class Repeat(Section):
    """The layers inside, several times, each time with weights of its own."""

    main: ClassVar[str | None] = None
    times: Annotated[int, Field(ge=1, le=1000)] = Field(description="How many times.")
    layers: Layers = INSIDE


class Activation(Layer):
    """An activation without options."""

    made: ClassVar[Callable[[], Operation]]

    def operation(self, shape: Shape, draw: Draw) -> Operation:
        """Return the activation."""
        return type(self).made()


class LeakyReLU(Layer):
    """x where x >= 0, slope * x elsewhere."""

    main = "slope"
    slope: float = Field(default=0.01, description="The slope below zero.")

    def operation(self, shape: Shape, draw: Draw) -> Operation:
        """Return the activation."""
        return core.LeakyReLU(self.slope)


class PReLU(Layer):
    """As leaky_relu, with a slope that is learned, one a channel."""

    main = "slope"
    slope: float = Field(default=0.25, description="The slopes below zero at the start.")

    def operation(self, shape: Shape, draw: Draw) -> Operation:
        """Return the activation."""
        return core.PReLU(np.full((shape[0], *(1,) * (len(shape) - 1)), self.slope))


class ELU(Layer):
    """x where x >= 0, alpha (exp(x) - 1) elsewhere."""

    main = "alpha"
    alpha: PositiveFloat = Field(
        default=1.0, description="What it tends to far below zero, without its sign."
    )

    def operation(self, shape: Shape, draw: Draw) -> Operation:
        """Return the activation."""
        return core.ELU(self.alpha)


class GELU(Layer):
    """x times the distribution function of a standard normal variable."""

    main = "approximate"
    approximate: Literal["none", "tanh"] = Field(default="none", description="Exact, or by a tanh.")

    def operation(self, shape: Shape, draw: Draw) -> Operation:
        """Return the activation."""
        return core.TanhGELU() if self.approximate == "tanh" else core.GELU()


class Clip(Layer):
    """x, but not below low and not above high."""

    low: float = Field(default=0.0, description="The least value.")
    high: float = Field(default=6.0, description="The largest value.")

    def operation(self, shape: Shape, draw: Draw) -> Operation:
        """Return the activation."""
        return core.Clip(self.low, self.high)


def _plain(made: Callable[[], Operation]) -> type[Activation]:
    return type("Activation", (Activation,), {"made": staticmethod(made), "__module__": __name__})


PLAIN: dict[str, type[Activation]] = {
    "relu": _plain(core.ReLU),
    "relu6": _plain(lambda: core.Clip(0.0, 6.0)),
    "abs": _plain(core.Abs),
    "sigmoid": _plain(core.Sigmoid),
    "tanh": _plain(core.Tanh),
    "silu": _plain(core.SiLU),
    "softplus": _plain(core.Softplus),
    "softmax": _plain(core.Softmax),
    "hard_sigmoid": _plain(core.HardSigmoid),
    "hard_swish": _plain(core.HardSwish),
}
"""The activations without options."""

LAYERS: dict[str, type[Section]] = {
    "conv": Conv,
    "depthwise_conv": DepthwiseConv,
    "dense": Dense,
    "batch_norm": BatchNorm,
    "layer_norm": LayerNorm,
    **PLAIN,
    "leaky_relu": LeakyReLU,
    "prelu": PReLU,
    "elu": ELU,
    "gelu": GELU,
    "clip": Clip,
    "max_pool": MaxPool,
    "average_pool": AveragePool,
    "global_average_pool": GlobalAveragePool,
    "flatten": Flatten,
    "dropout": Dropout,
    "residual": Residual,
    "concat": Concat,
    "repeat": Repeat,
}
"""All layers by the names that configurations give them."""


def check_image(shape: Shape) -> None:
    """Raise ValueError unless a value of this shape is an image."""
    if not 2 <= len(shape) <= 4:
        raise ValueError(
            f"reads an image, channels x 1 to 3 axes, and the value before it is {shown(shape)}; if the "
            "samples are flattened images, say their shape in network.input, as in [1, 28, 28]"
        )


def per_axis(name: str, value: int | Sequence[int], shape: Shape) -> Shape:
    """Return a number for every axis of an image of this shape; one number stands for all."""
    axes = len(shape) - 1
    lengths = (value,) * axes if isinstance(value, int) else tuple(value)
    if len(lengths) != axes:
        raise ValueError(f"{name} has {len(lengths)} numbers, and the value before it is {shown(shape)}")
    return lengths


def shown(shape: Shape) -> str:
    """Return a shape as people read it: 16 x 5 x 5, or a vector of 120."""
    return f"a vector of {shape[0]}" if len(shape) == 1 else " x ".join(map(str, shape))
