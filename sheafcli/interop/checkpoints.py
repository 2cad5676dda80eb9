"""Where in a checkpoint, dictionaries in dictionaries, the weights stand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sheafcli.interop.contents import STATE_DICT_SNIPPET
from sheafcli.interop.strangers import stranger

MAX_ENTRIES = 100_000
"""The most entries of all dictionaries of a checkpoint, counted as often as they are met."""

MAX_DEPTH = 8
"""How many dictionaries may lie in each other."""

Dictionary = Mapping[Any, Any]
IsTensor = Callable[[Any], bool]


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The tensors of a checkpoint, what PyTorch's metadata says of each module, and what stands beside."""

    tensors: dict[str, Any] = field(default_factory=dict)
    modules: dict[str, Any] = field(default_factory=dict)
    beside: dict[str, Any] = field(default_factory=dict)


def open_checkpoint(content: Any, is_tensor: IsTensor) -> Checkpoint:
    """Return the weights that lie in a checkpoint, at its top or further down; ValueError if none do.

    A dictionary holds weights if it has tensors, not all of them scalars, and is no optimizer's. If
    there is one, its keys are the names; with several, the keys that lead to them come before.
    Tensors of one axis beside such a dictionary are no part of it: class weights, a mean, a deviation.
    """
    holders = dict(_holders(content, is_tensor)) if isinstance(content, dict) else {}
    for path, holder in list(holders.items()):
        below = any(other != path and other[: len(path)] == path for other in holders)
        if below and all(tensor.dim() < 2 for tensor in _tensors(holder, is_tensor).values()):
            del holders[path]
    if not holders:
        names = [key for key in content if isinstance(key, str)] if isinstance(content, dict) else []
        if what := stranger("", names):
            raise ValueError(f"it holds {what}")
        keys = ", ".join(map(str, list(content)[:5])) if isinstance(content, dict) else type(content).__name__
        raise ValueError(
            f"there is no state_dict in it; found {keys or 'nothing'}; write it with: {STATE_DICT_SNIPPET}"
        )
    checkpoint = Checkpoint()
    for path, holder in holders.items():
        before = path if len(holders) > 1 else ()
        for name, tensor in _tensors(holder, is_tensor).items():
            full = ".".join((*before, name))
            if full in checkpoint.tensors:
                raise ValueError(f"two tensors are called {full!r}; save one of the dictionaries alone")
            checkpoint.tensors[full] = tensor
        metadata = getattr(holder, "_metadata", None)
        if isinstance(metadata, dict):
            checkpoint.modules.update(
                (".".join(filter(None, (*before, name))), about)
                for name, about in metadata.items()
                if isinstance(name, str)
            )
    checkpoint.beside.update(_beside(content, (), holders, is_tensor))
    return checkpoint


def _holders(content: Dictionary, is_tensor: IsTensor) -> Iterator[tuple[tuple[str, ...], Dictionary]]:
    """Yield the dictionaries that hold tensors, from the outside inwards, with the keys that lead to them."""
    waiting: list[tuple[tuple[str, ...], Dictionary]] = [((), content)]
    met = 0
    for path, here in waiting:  # it grows on the way
        met += len(here)
        if met > MAX_ENTRIES or len(path) > MAX_DEPTH:
            raise ValueError(
                f"more than {MAX_ENTRIES:,} entries, or dictionaries nested more than {MAX_DEPTH} deep; "
                "save the state_dict alone"
            )
        if any(tensor.dim() for tensor in _tensors(here, is_tensor).values()):
            yield path, here
        waiting.extend(
            ((*path, key), value)
            for key, value in here.items()
            if isinstance(key, str) and isinstance(value, dict) and not _trains(key, value)
        )


def _tensors(content: Dictionary, is_tensor: IsTensor) -> dict[str, Any]:
    return {key: value for key, value in content.items() if isinstance(key, str) and is_tensor(value)}


def _trains(key: str, value: Dictionary) -> bool:
    """Tell whether a dictionary is the state of an optimizer, a schedule, a gradient scaler or a callback."""
    return "param_groups" in value or any(
        word in key.lower() for word in ("optim", "sched", "scaler", "callback")
    )


def _beside(
    content: Dictionary, path: tuple[str, ...], holders: Mapping[tuple[str, ...], Any], is_tensor: IsTensor
) -> Iterator[tuple[str, Any]]:
    """Yield, by name, what is no holder, leads to none, and is no tensor of one."""
    for key, value in content.items():
        here = (*path, str(key))
        if isinstance(value, dict) and any(holder[: len(here)] == here for holder in holders):
            yield from _beside(value, here, holders, is_tensor)
        elif not (path in holders and isinstance(key, str) and is_tensor(value)):
            yield ".".join(here), value
