"""Every operation of the core, once or more, with what it reads and what PyTorch computes in its place."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch.nn import functional

from sheafcli.core.operation import Operation
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

CASES = [*AFFINE, *POINTWISE]
BY_NAME = {case.name: case for case in CASES}
