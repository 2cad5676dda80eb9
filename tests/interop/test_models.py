"""Model files of any format: what goes in comes out, and what is not as its name says is refused."""

import pickle
import sys
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as arrays_of
from model_files import assert_damage_is_refused_or_harmless, assert_same, biased, refusal, written

from sheafcli.core.chain.network import Network
from sheafcli.core.magnitude import LARGEST
from sheafcli.core.outputs import output_named
from sheafcli.errors import InputError
from sheafcli.interop.models import FORMATS, READERS, STATES, WRITERS, model_bytes, read_model

WRITABLE = [suffix for suffix, format in FORMATS.items() if format in WRITERS]


@st.composite
def networks(draw):
    widths = draw(st.lists(st.integers(1, 4), min_size=2, max_size=4))
    numbers = st.floats(-LARGEST, LARGEST)
    shapes = list(zip(widths[1:], widths[:-1], strict=True))
    weights = tuple(draw(arrays_of(np.float64, shape, elements=numbers)) for shape in shapes)
    biases = tuple(draw(arrays_of(np.float64, shape[0], elements=numbers)) for shape in shapes)
    return Network(weights, biases, output_named(draw(st.sampled_from(["identity", "sigmoid", "softmax"]))))


@pytest.mark.parametrize("suffix", WRITABLE)
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(network=networks())
def test_a_network_comes_back_bit_for_bit(tmp_path, suffix, network):
    path = written(tmp_path / f"model{suffix}", network)
    assert_same(read_model(path).network, network)
    assert_same(read_model(path, network.output.name).network, network)


@pytest.mark.parametrize("suffix", WRITABLE)
def test_an_output_that_the_file_contradicts_is_refused(tmp_path, suffix):
    path = written(tmp_path / f"model{suffix}", biased([2, 3, 2], "softmax"))
    assert "says that its output is softmax, and identity was asked for" in refusal(path, "identity")


def test_every_format_is_read_and_every_suffix_known():
    assert set(FORMATS.values()) == {*READERS, *STATES, "npz"}
    assert set(WRITERS) == set(FORMATS.values()) - {"scikit-learn"}


def test_an_npz_without_an_output_says_none(tmp_path):
    path = tmp_path / "model.npz"
    np.savez(path, W1=np.ones((2, 2)))
    assert not read_model(path).says_output
    assert read_model(path).network.output.name == "identity"
    assert read_model(path, "softmax").network.output.name == "softmax"


def test_suffixes_in_capitals_are_the_same(tmp_path):
    network = biased([2, 3, 1], "sigmoid")
    assert_same(read_model(written(tmp_path / "MODEL.NPZ", network)).network, network)


def test_outputs_that_are_none_are_named(tmp_path):
    path = written(tmp_path / "model.npz", biased([2, 1], "identity"))
    with pytest.raises(InputError, match="unknown output 'tanh'; known: identity, sigmoid, softmax"):
        read_model(path, "tanh")


@pytest.mark.parametrize("name", ["model.h5", "model.txt", "model"])
def test_unknown_suffixes_are_answered_with_those_there_are(tmp_path, name):
    path = tmp_path / name
    path.touch()
    message = refusal(path)
    assert all(suffix in message for suffix in FORMATS)
    with pytest.raises(InputError, match="unknown suffix"):
        model_bytes(path, biased([2, 1], "identity"))


def test_skops_is_read_and_not_written(tmp_path):
    with pytest.raises(
        InputError, match=r"write one of \.npz, \.pt, \.pth, \.ckpt, \.bin, \.safetensors, \.onnx"
    ):
        model_bytes(tmp_path / "model.skops", biased([2, 1], "identity"))


@pytest.mark.parametrize("name", ["model.h5", "model.hdf5", "model.keras", "model.pt"])
def test_models_of_keras_are_answered_with_how_to_write_them(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(20))
    message = refusal(path)
    assert 'model.export("model.onnx", format="onnx")' in message
    assert "np.savez" in message


@pytest.mark.parametrize("suffix", [".pkl", ".pickle", ".joblib"])
def test_pickles_are_refused_by_name(tmp_path, suffix):
    message = refusal(tmp_path / f"model{suffix}")
    assert "skops.io.dump" in message
    assert "np.savez" in message


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("suffix", FORMATS)
def test_pickles_are_refused_by_content(tmp_path, suffix, protocol):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(pickle.dumps({"W1": [[1.0]], "b1": [0.0]}, protocol=protocol))
    assert "torch.save(model.state_dict()" in refusal(path)


@pytest.mark.parametrize("suffix", [".npz", ".skops", ".safetensors", ".onnx"])
@pytest.mark.parametrize("content", [".npz", ".pt", ".safetensors"])
def test_a_file_of_another_format_is_told_by_its_content(tmp_path, suffix, content):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(model_bytes(tmp_path / f"model{content}", biased([2, 3, 1], "sigmoid")))
    if suffix == content:
        read_model(path)
    else:
        assert f"rename it to end in {content}" in refusal(path)


@pytest.mark.parametrize("suffix", FORMATS)
def test_what_is_no_model_file_is_refused(tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    assert "no such file" in refusal(path)
    path.mkdir()
    assert "is a directory" in refusal(path)
    path.rmdir()
    for content in (b"", b"PK\x03\x04", b"<html>", b"\x89HDF\r\n\x1a\n" + bytes(20), bytes(64)):
        path.write_bytes(content)
        refusal(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "a zip archive, not a whole" in refusal(path)


@pytest.fixture(scope="module")
def bomb(tmp_path_factory):
    """Half a gigabyte of zeros in half a megabyte."""
    path = tmp_path_factory.mktemp("bomb") / "bomb"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("W1.npy", "w", force_zip64=True) as member,
    ):
        for _ in range(2**7):
            member.write(bytes(2**22))
    assert path.stat().st_size < 2**20
    return path.read_bytes()


@pytest.mark.parametrize("suffix", [".npz", ".pt", ".skops"])
def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch, bomb, suffix):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(bomb)
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: pytest.fail("unpacked"))
    assert "unpack to 512 MB, over 200 times as much" in refusal(path)


@pytest.mark.parametrize(
    ("suffix", "module", "install"),
    [
        (".pt", "torch", "sheafcli[torch]"),
        (".onnx", "onnx", "sheafcli[onnx]"),
        (".safetensors", "safetensors", "sheafcli[safetensors]"),
    ],
)
def test_a_missing_library_is_named_with_what_installs_it(tmp_path, monkeypatch, suffix, module, install):
    network = biased([2, 1], "identity")
    path = written(tmp_path / f"model{suffix}", network)
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    expected = f"ing {suffix} files needs {module}; install it with: pip install '{install}'"
    assert refusal(path) == f"read{expected}"
    with pytest.raises(InputError) as caught:
        model_bytes(path, network)
    assert caught.value.message == f"writ{expected}"
    assert caught.value.path == path


def test_damage_is_refused_or_harmless(tmp_path):
    path = tmp_path / "model.npz"
    content = written(path, biased([2, 3, 1], "sigmoid")).read_bytes()
    assert_damage_is_refused_or_harmless(path, content, 300)
