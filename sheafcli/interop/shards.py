"""One state_dict in several files: the shards that Hugging Face's save_pretrained writes, and their index."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from sheafcli.errors import InputError
from sheafcli.interop.npz import MAX_BYTES, open_bounded
from sheafcli.interop.state import StateDict, Tensor

MAX_INDEX = 16 * 2**20
"""The most bytes of an index."""

MAX_SHARDS = 1000

INDEX = ".index.json"
"""How the name of an index ends, behind that of the whole: model.safetensors.index.json."""

_SHARD = re.compile(r"(?P<whole>.+)-\d{5}-of-(?P<count>\d{5})")


def index_of(path: Path) -> Path | None:
    """Return the index of the shards that a path names one of, or itself if it is an index; else None."""
    if path.name.lower().endswith(INDEX):
        return path
    shard = _SHARD.fullmatch(path.stem)
    return None if shard is None else path.with_name(f"{shard['whole']}{path.suffix}{INDEX}")


def read_shards(path: Path, index: Path, read: Callable[[Path], StateDict]) -> StateDict:
    """Read the shards that an index lists, each by `read`, as one state_dict.

    InputError if the index is missing, names a file outside its folder, or does not match its shards.
    """
    if not index.exists():
        raise InputError(
            f"this is one part of a network in several files, and their index, {index.name}, is not beside "
            "it; put all parts and the index into one folder, or write the network as one file",
            path=path,
        )
    places = _places(index)
    shards = {name: read(index.with_name(name)) for name in dict.fromkeys(sorted(places.values()))}
    tensors: dict[str, Tensor] = {}
    for name, shard in shards.items():
        for key, tensor in shard.tensors.items():
            if places.get(key) != name and key not in shard.tied:
                raise InputError(f"tensor {key!r} is in {name}, and not by the index", path=index)
            tensors[key] = tensor
    for key, name in places.items():
        if key not in tensors:
            raise InputError(
                f"tensor {key!r} should be in {name} and is not; fetch that file again", path=index
            )
    first = next(iter(shards.values()))
    tied = {key: other for shard in shards.values() for key, other in shard.tied.items()}
    return replace(first, tensors=tensors, tied=tied)


def _places(index: Path) -> dict[str, str]:
    """Return the file of every tensor, by an index: names of files in its own folder, of its own format."""
    with open_bounded(index, MAX_INDEX) as file:
        try:
            places = json.loads(file.read(MAX_INDEX + 1))["weight_map"]
            names = _checked(places)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise InputError(
                "not an index of shards: it must be JSON with weight_map, the file of every tensor",
                path=index,
            ) from error
    suffix = Path(index.name[: -len(INDEX)]).suffix
    for name in names:
        if Path(name).name != name or "\\" in name or "\0" in name or Path(name).suffix != suffix:
            raise InputError(
                f"the index names {name!r}, and a shard is a {suffix} file in the folder of the index",
                path=index,
            )
    if len(names) > MAX_SHARDS:
        raise InputError(f"{len(names):,} shards, and at most {MAX_SHARDS:,} are read", path=index)
    total = sum(index.with_name(name).stat().st_size for name in names if index.with_name(name).is_file())
    if total > MAX_BYTES:
        raise InputError(
            f"the shards have {total / 2**20:,.0f} MB, and at most {MAX_BYTES / 2**20:,.0f} MB are read",
            path=index,
        )
    return dict(places)


def _checked(places: dict[str, str]) -> Sequence[str]:
    if not places or not all(isinstance(text, str) for pair in places.items() for text in pair):
        raise ValueError("weight_map")
    return sorted(set(places.values()))
