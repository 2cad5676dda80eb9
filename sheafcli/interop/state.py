"""A state_dict as a file holds it: tensors by name, and what stands beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sheafcli.core.types import Array


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor that is not read yet: its shape, its type by NumPy's name, and how to read it as float64."""

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], Array]


@dataclass(frozen=True, eq=False)
class StateDict:
    """What a file holds.

    Attributes
    ----------
    tensors : by name, such as `fc1.weight`.
    ordered : whether they stand in the order in which the modules were defined, as PyTorch saves them.
    modules : the names of all modules, those without parameters too, if the file keeps them.
    output : the output function that the file states.
    beside : what else the file holds, by name: numbers, texts, containers of them. No part of the network.
    tied : of the tensors, those that the file holds once, under the other name.
    """

    tensors: Mapping[str, Tensor]
    ordered: bool
    modules: tuple[str, ...] = ()
    output: str | None = None
    beside: Mapping[str, Any] = field(default_factory=dict)
    tied: Mapping[str, str] = field(default_factory=dict)
