"""Reading .npz files: numpy is the oracle for what is in them, and no bytes may do harm."""

import io
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.lib import format as npy

from sheafcli.errors import InputError
from sheafcli.interop import npz
from sheafcli.interop.npz import open_bounded, read_npz

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.npz")), ids=lambda path: path.stem)
def test_golden_files_are_read_as_numpy_reads_them(path):
    arrays = read_npz(path)
    with np.load(path, allow_pickle=False) as expected:
        assert list(arrays) == expected.files
        for name, array in arrays.items():
            assert array.dtype == expected[name].dtype
            np.testing.assert_array_equal(array, expected[name])


def test_layouts_dtypes_and_compression(tmp_path):
    arrays = {
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "scalar": np.array(2.5),
        "text": np.array("identity"),
        "bytes": np.array([b"a", b"bc"]),
        "big_endian": np.arange(3, dtype=">i4"),
        "empty": np.zeros((0, 4)),
        "flags": np.array([True, False]),
    }
    path = tmp_path / "a.npz"
    np.savez_compressed(path, **arrays)
    for name, array in read_npz(path).items():
        np.testing.assert_array_equal(array, arrays.pop(name))
    assert not arrays


class Explosive:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def test_object_arrays_are_never_unpickled(tmp_path):
    path, mark = tmp_path / "a.npz", tmp_path / "unpickled"
    np.savez(path, X=np.ones(2), bad=np.array([Explosive(mark)], dtype=object))
    with pytest.raises(InputError, match="'bad' holds Python objects") as caught:
        read_npz(path)
    assert caught.value.path == path
    assert not mark.exists()
    np.load(path, allow_pickle=True)["bad"]
    assert mark.exists(), "the trap itself must work"


def archive(path, members, **options):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, **options) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def npy_bytes(shape, content=b"", descr="<f8"):
    stream = io.BytesIO()
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    npy.write_array_header_1_0(stream, header)
    return stream.getvalue() + content


@pytest.mark.parametrize(
    ("shape", "descr"),
    [((10**13,), "<f8"), ((3,), "<f8"), ((1,), "<f8"), ((-2, -1), "<f8"), ((10**13,), "<U0")],
)
def test_headers_that_announce_another_size_are_refused(tmp_path, shape, descr):
    path = archive(tmp_path / "a.npz", {"X.npy": npy_bytes(shape, bytes(16), descr)})
    with pytest.raises(InputError):
        read_npz(path)


@pytest.mark.parametrize(
    "header",
    [b"-" * 9000 + b"1", b"(" * 50, b"[]", b"{'descr': 3}", b"\xff" * 20, b" " * 20_000],
    ids=["nested", "unclosed", "list", "incomplete", "bytes", "long"],
)
def test_strange_headers_are_refused(tmp_path, header):
    content = npy.magic(1, 0) + struct.pack("<H", len(header)) + header
    path = archive(tmp_path / "a.npz", {"X.npy": content})
    with pytest.raises(InputError, match=r"numpy\.savez"):
        read_npz(path)


def test_structured_arrays_and_strangers_are_refused(tmp_path):
    structured = tmp_path / "structured.npz"
    np.savez(structured, X=np.zeros(2, dtype=[("a", "f8")]))
    with pytest.raises(InputError, match="'X' has dtype"):
        read_npz(structured)
    stranger = archive(tmp_path / "stranger.npz", {"readme.txt": b"hello"})
    with pytest.raises(InputError, match=r"'readme\.txt'"):
        read_npz(stranger)


def test_a_zip_bomb_is_refused_before_anything_is_unpacked(tmp_path, monkeypatch):
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, a=np.zeros(6000), b=np.zeros(6000))
    assert path.stat().st_size < 2000
    monkeypatch.setattr(npz, "MAX_BYTES", 90_000)
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: pytest.fail("unpacked"))
    with pytest.raises(InputError, match="unpack to"):
        read_npz(path)


def test_the_limit_is_four_gigabytes(tmp_path):
    """The directory of the archive is edited to announce 4 GB, so that nothing large is written."""
    path = tmp_path / "a.npz"
    np.savez_compressed(path, X=np.zeros(10), y=np.zeros(10))
    content = bytearray(path.read_bytes())
    entries = [at for at in range(len(content)) if content[at : at + 4] == b"PK\x01\x02"]
    assert len(entries) == 2
    for at in entries:
        content[at + 24 : at + 28] = struct.pack("<I", 2**31 + 1)
    path.write_bytes(content)
    with pytest.raises(InputError, match="at most 4,096 MB"):
        read_npz(path)


@pytest.mark.parametrize("dtype", [np.int8, np.float16, np.bool_, np.float64])
def test_numbers_count_as_what_they_become(tmp_path, monkeypatch, dtype):
    """An array of int8 is eight times as large once it is float64."""
    path = tmp_path / "a.npz"
    np.savez_compressed(path, X=np.zeros((100, 10), dtype), y=np.zeros(24, dtype))
    assert read_npz(path, 8192)["y"].dtype == dtype
    monkeypatch.setattr(npz.npy, "read_array", lambda *_, **__: pytest.fail("read"))
    with pytest.raises(
        InputError, match=r"1,024 entries, 0 MB in double precision, and at most 0 MB are read"
    ):
        read_npz(path, 8191)


def test_no_file_a_directory_a_pipe_and_a_large_file(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_npz(tmp_path / "none.npz")
    with pytest.raises(InputError, match="is a directory"):
        read_npz(tmp_path)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(InputError, match="not a regular file"):
        read_npz(pipe)
    with pytest.raises(InputError, match="cannot be opened"):
        read_npz(tmp_path / "a\0b")
    path = tmp_path / "ten"
    path.write_bytes(bytes(10))
    with pytest.raises(InputError, match="at most"):
        open_bounded(path, 9)
    with open_bounded(path, 10) as file:
        assert file.read() == bytes(10)


def test_other_files_are_refused(tmp_path):
    single = tmp_path / "single.npy"
    np.save(single, np.ones(3))
    empty = tmp_path / "empty.npz"
    empty.touch()
    for path in (single, empty):
        with pytest.raises(InputError, match=r"numpy\.savez"):
            read_npz(path)


@pytest.fixture(scope="module", params=[np.savez, np.savez_compressed], ids=["stored", "packed"])
def whole(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "a.npz"
    request.param(path, X=np.arange(40.0).reshape(20, 2), y=np.ones(20))
    return path.read_bytes()


def test_every_cut_is_refused(whole, tmp_path):
    path = tmp_path / "cut.npz"
    for length in range(0, len(whole), 9):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError):
            read_npz(path)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.filterwarnings("default")
def test_damage_is_an_input_error_or_harmless(whole, tmp_path, data):
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.npz"
    path.write_bytes(damaged)
    try:
        arrays = read_npz(path)
    except InputError:
        return
    assert sum(array.nbytes for array in arrays.values()) <= 60 * 8
