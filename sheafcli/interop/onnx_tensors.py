"""The tensors of an ONNX file as arrays, once what they announce is what is there."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from sheafcli.interop.npz import MAX_BYTES, open_bounded

BITS = {
    **dict.fromkeys(("DOUBLE", "INT64", "UINT64"), 64),
    **dict.fromkeys(("FLOAT", "INT32", "UINT32"), 32),
    **dict.fromkeys(("FLOAT16", "BFLOAT16", "INT16", "UINT16"), 16),
    **dict.fromkeys(("INT8", "UINT8", "BOOL"), 8),
    **dict.fromkeys(("INT4", "UINT4"), 4),
}
"""The types of tensors that are read, each with the bits of one entry."""

FIELDS = ("float_data", "double_data", "int32_data", "int64_data", "uint64_data")
"""Where a tensor may hold its entries, other than as raw bytes."""


class Part(NamedTuple):
    """Some bytes of a file."""

    path: Path
    offset: int
    length: int


@dataclass
class Tensors:
    """Reads the tensors of one model, whose file lies in `folder`; ValueError says what is wrong with one.

    What lies in another file is decoded once, however many tensors refer to it. `held` counts the entries
    that have been decoded, which are there, whatever else is announced.
    """

    folder: Path
    onnx: Any
    external: ExternalData = field(init=False)
    held: int = 0
    shared: dict[tuple[Part, int], NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.external = ExternalData(self.folder)

    def entries(self, tensor: Any) -> int:
        """Return how many entries a tensor announces."""
        dims = list(tensor.dims)
        if min(dims, default=0) < 0:
            raise ValueError(f"the weights {tensor.name!r} announce a negative size")
        return math.prod(dims)

    def array(self, tensor: Any) -> NDArray[Any]:
        """Return a tensor as an array of its own type."""
        types = self.onnx.TensorProto
        kind = _name_of(types, tensor.data_type)
        if kind not in BITS:
            raise ValueError(
                f"the weights {tensor.name!r} are of type {kind or tensor.data_type}; "
                "save them in a type of floats or integers"
            )
        n = self.entries(tensor)
        size = math.ceil(n * BITS[kind] / 8)
        if tensor.data_location == types.EXTERNAL:
            part = self.external.part(tensor, size)
            key = (part, tensor.data_type)
            if key not in self.shared:
                content = self.external.read(tensor.name, part)
                whole = types(name=tensor.name, data_type=tensor.data_type, dims=[n], raw_data=content)
                self.shared[key] = self._decoded(whole)
            return self.shared[key].reshape(tensor.dims)
        if tensor.HasField("raw_data"):
            self._check(tensor, len(tensor.raw_data), size, "bytes")
        else:
            held = max(len(getattr(tensor, field)) for field in FIELDS)
            self._check(tensor, held, size if BITS[kind] < 8 else n, "numbers")
        return self._decoded(tensor)

    def _decoded(self, tensor: Any) -> NDArray[Any]:
        try:
            array: NDArray[Any] = self.onnx.numpy_helper.to_array(tensor)
        except Exception as error:  # what NumPy says of content that is not as its shape and type announce
            raise ValueError(f"the weights {tensor.name!r} are not what they announce ({error})") from error
        self.held += array.size
        return array

    def _check(self, tensor: Any, held: int, announced: int, what: str) -> None:
        if held != announced:
            raise ValueError(
                f"the weights {tensor.name!r} are not what they announce: "
                f"shape {list(tensor.dims)} needs {announced} {what}, and {held} are there"
            )


@dataclass
class ExternalData:
    """The weights that a model keeps in files beside it: nothing outside of `folder` is ever read.

    Parts of a file may not overlap, so that what is read is never more than the files hold.
    """

    folder: Path
    read_already: list[Part] = field(default_factory=list)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that something has been read from, each once, in `folder`."""
        inside = dict.fromkeys(part.path.relative_to(self.folder.resolve()) for part in self.read_already)
        return tuple(self.folder / path for path in inside)

    def part(self, tensor: Any, size: int) -> Part:
        """Return where a tensor says that its entries are, which must be `size` bytes."""
        name = tensor.name
        said = {entry.key: entry.value for entry in tensor.external_data}
        path = self._path(name, said.get("location", ""))
        offset = _whole_number(name, "offset", said.get("offset", "0"))
        length = _whole_number(name, "length", said.get("length", str(size)))
        if length != size:
            raise ValueError(
                f"the weights {name!r} are not what they announce: "
                f"shape {list(tensor.dims)} needs {size} bytes, and {length} are said to be in {path.name!r}"
            )
        return Part(path, offset, length)

    def read(self, name: str, part: Part) -> bytes:
        """Return the bytes of a part, once it has proved to be in its file."""
        path, offset, length = part
        with open_bounded(path, MAX_BYTES) as file:
            held = path.stat().st_size
            if offset + length > held:
                raise ValueError(
                    f"the weights {name!r} are bytes {offset} to {offset + length} of {path.name!r}, "
                    f"which has {held}; it is cut short, or of another model"
                )
            if sum(other.length for other in self.read_already if other.path == path) + length > held:
                raise ValueError(f"the weights in {path.name!r} overlap; export the model again")
            if sum(other.length for other in self.read_already) + length > MAX_BYTES:
                raise ValueError(f"the weights beside the model have more than {MAX_BYTES} bytes")
            file.seek(offset)
            content = file.read(length)
        if len(content) != length:
            raise ValueError(f"{path.name!r} ends within the weights {name!r}; it is cut short")
        self.read_already.append(part)
        return content

    def _path(self, name: str, location: str | bytes) -> Path:
        """Return the file that a location names, inside the folder once links are followed."""
        if not isinstance(location, str) or not location or "\0" in location:
            raise ValueError(f"the weights {name!r} are in another file, and its name is missing")
        try:
            folder = self.folder.resolve()
            path = (folder / location).resolve()
        except (OSError, RuntimeError) as error:  # a circle of links, or a name beyond what the system takes
            raise ValueError(f"the weights {name!r} are in {location!r}, which cannot be opened") from error
        if not path.is_relative_to(folder):
            raise ValueError(
                f"the weights {name!r} are in {location!r}, which is outside of the model's folder or a link "
                "out of it, and is not read; give a model whose files are all in one folder"
            )
        try:
            there = path.is_file()
        except OSError:
            there = False
        if not there:
            raise ValueError(
                f"the weights {name!r} are in another file, {location!r}, which is not there; "
                "copy it into the model's folder"
            )
        return path


def _whole_number(name: str, key: str, text: str) -> int:
    """Return an offset or a length, which the format writes as decimal digits."""
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ValueError(
            f"the weights {name!r} are in another file, at the {key} {text[:40]!r}; "
            "it must be a whole number, 0 or more"
        )
    return int(text)


def _name_of(types: Any, number: int) -> str | None:
    return types.DataType.Name(number) if number in types.DataType.values() else None
