"""Objects in a .skops file as plain data: nothing in it is imported, constructed or run.

skops (https://skops.readthedocs.io) writes an object as a tree of nodes in schema.json, and arrays as .npy
files beside it. A node names its class and how it was taken apart ("__loader__"): ObjectNode has the
attributes, DictNode, ListNode and TupleNode have nodes, JsonNode has JSON, NdArrayNode the name of a
file, or the nodes of an array of objects. A node that occurs again is written again, whole.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from sheafcli.errors import InputError
from sheafcli.interop.npz import DAMAGE, check_member

MAX_SCHEMA_BYTES = 16 * 2**20
"""The largest schema.json that is read: a network that was trained for 50,000 epochs needs 12 MB."""


@dataclass(frozen=True, eq=False)
class Stored:
    """An object of another class than Python's own: its class, and the attributes that were stored.

    `kind` is the name of the class, `module` that of the package it comes from. An attribute is read when it
    is asked for: what nobody asks for may be anything. A function, a type, or an object that was taken
    apart in a way of its own has no attributes.
    """

    module: str
    kind: str
    _attributes: Mapping[str, Any]
    _tree: _Tree

    def get(self, name: str) -> Any:
        """Return an attribute; None if the object has none of the name."""
        attribute = self._attributes.get(name)
        return None if attribute is None else self._tree.read(attribute)

    def __contains__(self, name: str) -> bool:
        return name in self._attributes

    def __getitem__(self, name: str) -> Any:
        """Return an attribute; ValueError if the object has none of the name."""
        if name not in self._attributes:
            raise ValueError(f"the {self.kind} has no {name}: fit it before it is written")
        return self._tree.read(self._attributes[name])


def stored_object(path: Path) -> Any:
    """Return the object in a .skops file: a `Stored`, or a plain value.

    Lists and tuples are lists, NumPy's scalars are arrays without axes.

    Raises
    ------
    InputError
        If the file is damaged or too large; later, if a part of it is that is asked for.
    """
    with _damage_named(path), zipfile.ZipFile(path) as archive:
        size = archive.getinfo("schema.json").file_size
        if size > MAX_SCHEMA_BYTES:
            raise ValueError(f"its schema.json has {size} bytes, and at most {MAX_SCHEMA_BYTES} are read")
        schema = json.loads(archive.read("schema.json"))
    return _Tree(path).read(schema)


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    try:
        yield
    except (*DAMAGE, AttributeError, LookupError) as error:  # RecursionError is a RuntimeError
        raise InputError(
            f"not a whole .skops file ({error or type(error).__name__}); write it again with skops.io.dump",
            path=path,
        ) from error


@dataclass(eq=False)
class _Tree:
    """The nodes of a file, and the arrays that were read already: each is read once."""

    path: Path
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)

    def read(self, node: Any) -> Any:
        """Return what a node stands for; InputError if it is not as skops writes it."""
        with _damage_named(self.path):
            return self._value(node)

    def _value(self, node: Any) -> Any:
        match node["__loader__"]:
            case "JsonNode":
                return json.loads(node["content"])
            case "ListNode" | "TupleNode":
                return [self._value(item) for item in node["content"]]
            case "DictNode":
                return {key: self._value(item) for key, item in node["content"].items()}
            case "NdArrayNode" if node["type"] == "numpy":
                return self._array(node["file"])
            case "NdArrayNode":
                array = np.empty(len(node["content"]), dtype=object)
                array[:] = [self._value(item) for item in node["content"]]
                return array
            case loader:
                content = node.get("content") if loader == "ObjectNode" else None
                attributes = dict(content["content"]) if content else {}
                return Stored(str(node["__module__"]), str(node["__class__"]), attributes, self)

    def _array(self, name: str) -> NDArray[Any]:
        if name not in self.arrays:
            with zipfile.ZipFile(self.path) as archive:
                member = archive.getinfo(name)
                check_member(archive, member, self.path)
                with archive.open(member) as stream:
                    self.arrays[name] = npy.read_array(stream, allow_pickle=False)
        return self.arrays[name]
