"""Reading a user's files safely: bounded in size, never unpickled, every refusal an InputError."""

from __future__ import annotations

import lzma
import math
import struct
import zipfile
import zlib
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from tokenize import TokenError
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from sheafcli.errors import InputError

MAX_BYTES = 4 * 2**30
"""The most that an .npz file may hold, in bytes, packed or unpacked."""

MAX_LOADED = 2**29
"""The most bytes that the arrays of an .npz file may have, each number counted as a float64."""

BOMB_BYTES, BOMB_RATIO = 256 * 2**20, 200
"""An archive that unpacks to more bytes than the one and to more than the other times its size is no data."""

PLAIN_KINDS = "biufcSU"
"""The numpy dtype kinds that are numbers or text: all that an .npz file of ours ever holds."""

DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,  # an encrypted member, or a compression that zipfile does not know
    SyntaxError,  # a header that is not a literal
    TokenError,  # one that is not even made of Python's words
    TypeError,
    ValueError,
)
"""What zipfile and numpy raise on files that are damaged, cut short or something else."""


def open_bounded(path: Path, max_bytes: int) -> BinaryIO:
    """Open a regular file to read, unless its size says that it holds more than `max_bytes`."""
    try:
        status = path.stat()
        if S_ISDIR(status.st_mode):
            raise InputError("this is a directory; give the path of a file in it", path=path)
        if not S_ISREG(status.st_mode):
            raise InputError("this is not a regular file; copy its contents into one", path=path)
        if status.st_size > max_bytes:
            raise InputError(
                f"the file has {_megabytes(status.st_size)}, and at most "
                f"{_megabytes(max_bytes)} are read; give a smaller one",
                path=path,
            )
        return path.open("rb")
    except FileNotFoundError as error:
        raise InputError("no such file; check the path", path=path) from error
    except (OSError, ValueError) as error:
        raise InputError(f"the file cannot be opened ({error})", path=path) from error


def read_npz(path: Path, max_loaded: int = MAX_LOADED) -> dict[str, NDArray[Any]]:
    """Read every array of an .npz file, by name.

    The sizes that the zip directory and the array headers announce are checked before anything is
    unpacked, and object arrays are refused: nothing is ever unpickled. At most `max_loaded` bytes are
    read, of which a number counts 8, whatever its type: it is to be a float64.

    Raises
    ------
    InputError
        If the file is missing, not an .npz file, damaged, too large, or holds anything but plain
        arrays of numbers or text.
    """
    with open_bounded(path, MAX_BYTES) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                check_archive(archive, path)
                _check_loaded(archive, path, max_loaded)
                return dict(_read_member(archive, member, path) for member in archive.infolist())
        except DAMAGE as error:
            raise InputError(
                f"not a whole .npz file ({error or type(error).__name__}); write it again with numpy.savez",
                path=path,
            ) from error


def check_archive(archive: zipfile.ZipFile, path: Path) -> None:
    """Raise InputError if the sizes that a zip directory announces are too large, or those of a zip bomb."""
    members = archive.infolist()
    unpacked, packed = sum(member.file_size for member in members), path.stat().st_size
    if unpacked > MAX_BYTES:
        raise InputError(
            f"the contents unpack to {_megabytes(unpacked)}, and at most "
            f"{_megabytes(MAX_BYTES)} are read; give a smaller file",
            path=path,
        )
    if unpacked > BOMB_BYTES and unpacked > BOMB_RATIO * packed:
        raise InputError(
            f"{_megabytes(packed)} that unpack to {_megabytes(unpacked)}, over {BOMB_RATIO} times as much, "
            "are not unpacked; if the file is what it should be, write it without compression",
            path=path,
        )


def check_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> None:
    """Raise InputError unless a .npy member is a plain array that holds as much as its header announces."""
    name = member.filename.removesuffix(".npy")
    with archive.open(member) as stream:
        _check_array(stream, name, member.file_size, path)


def _check_loaded(archive: zipfile.ZipFile, path: Path, max_loaded: int) -> None:
    """Raise InputError if the arrays of an archive have more numbers than are read."""
    count = n_bytes = 0
    for member in archive.infolist():
        if member.filename.endswith(".npy"):
            with archive.open(member) as stream:
                shape, dtype = _read_header(stream)
            count += math.prod(shape)
            n_bytes += math.prod(shape) * max(dtype.itemsize, 8)
    if n_bytes > max_loaded:
        raise InputError(
            f"its arrays have {count:,} entries, {_megabytes(n_bytes)} in double precision, and at most "
            f"{_megabytes(max_loaded)} are read; give a smaller file",
            path=path,
        )


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> tuple[str, NDArray[Any]]:
    """Read one array, named as numpy names it, once its header has proved harmless."""
    name = member.filename.removesuffix(".npy")
    if name == member.filename:
        raise InputError(f"{name!r} in it is not an array (.npy); write the file with numpy.savez", path=path)
    with archive.open(member) as stream:
        _check_array(stream, name, member.file_size, path)
        stream.seek(0)
        return name, npy.read_array(stream, allow_pickle=False)


def _check_array(stream: IO[bytes], name: str, size: int, path: Path) -> None:
    """Read the header of an array, of `size` bytes with it, and raise InputError unless it is harmless."""
    shape, dtype = _read_header(stream)
    if dtype.hasobject:
        raise InputError(
            f"array {name!r} holds Python objects, which are never unpickled; save it with a numeric dtype",
            path=path,
        )
    if dtype.kind not in PLAIN_KINDS or dtype.itemsize == 0:
        raise InputError(f"array {name!r} has dtype {dtype}; save it with a numeric dtype", path=path)
    # numpy allocates what the header announces: it must be what the member holds.
    announced, held = math.prod(shape) * dtype.itemsize, size - stream.tell()
    if announced != held:
        raise InputError(
            f"array {name!r} announces {announced} bytes and holds {held}; "
            "write the file again with numpy.savez",
            path=path,
        )


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Read the shape and the dtype that stand before an array's data."""
    version = npy.read_magic(stream)
    try:
        if version == (1, 0):
            shape, _, dtype = npy.read_array_header_1_0(stream)
        elif version == (2, 0):
            shape, _, dtype = npy.read_array_header_2_0(stream)
        else:  # 3.0 only serves structured arrays with field names beyond Latin-1
            raise ValueError(f"an array of .npy format version {version}")
    except MemoryError as error:  # Python's parser, on operators nested thousands deep
        raise ValueError("an array header that cannot be parsed") from error
    return shape, dtype


def _megabytes(n_bytes: int) -> str:
    return f"{n_bytes / 2**20:,.0f} MB"
