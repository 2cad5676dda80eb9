"""The operations of networks, a family a file; `sheafcli.core.operation` says what one is."""

from sheafcli.core.operations.affine import Dense, Scale
from sheafcli.core.operations.convolution import Convolution
from sheafcli.core.operations.join import Add, Concatenate, MatrixProduct, Multiply, Subtract
from sheafcli.core.operations.normalisation import BatchNormalization, LayerNormalization, Softmax
from sheafcli.core.operations.pointwise import (
    ELU,
    GELU,
    Abs,
    Clip,
    HardSigmoid,
    HardSwish,
    LeakyReLU,
    PReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
    TanhGELU,
)
from sheafcli.core.operations.pooling import AveragePooling, MaxPooling, Mean
from sheafcli.core.operations.reshape import Flatten, Identity, Pad, Reshape, Slice, Transpose, Upsample

__all__ = [
    "ELU",
    "GELU",
    "Abs",
    "Add",
    "AveragePooling",
    "BatchNormalization",
    "Clip",
    "Concatenate",
    "Convolution",
    "Dense",
    "Flatten",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "LayerNormalization",
    "LeakyReLU",
    "MatrixProduct",
    "MaxPooling",
    "Mean",
    "Multiply",
    "PReLU",
    "Pad",
    "ReLU",
    "Reshape",
    "Scale",
    "SiLU",
    "Sigmoid",
    "Slice",
    "Softmax",
    "Softplus",
    "Subtract",
    "Tanh",
    "TanhGELU",
    "Transpose",
    "Upsample",
]
