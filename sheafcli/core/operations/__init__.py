"""The operations of networks, a family a file; `sheafcli.core.operation` says what one is."""

from sheafcli.core.operations.affine import Dense, Scale
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

__all__ = [
    "ELU",
    "GELU",
    "Abs",
    "Clip",
    "Dense",
    "HardSigmoid",
    "HardSwish",
    "LeakyReLU",
    "PReLU",
    "ReLU",
    "Scale",
    "SiLU",
    "Sigmoid",
    "Softplus",
    "Tanh",
    "TanhGELU",
]
