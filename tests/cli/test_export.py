"""`sheaf export`: what is read back is the same network to the bit, and onnxruntime computes what it does."""

from pathlib import Path

import numpy as np
import pytest

from sheafcli.core.chain.network import Network
from sheafcli.interop.networks import network_arrays, read_network

OUTPUTS = {"identity": 2, "sigmoid": 1, "softmax": 3}


def random_network(output):
    """A network with biases, of numbers that no decimal writes exactly."""
    drawn = Network.he([4, 6, 5, OUTPUTS[output]], output, seed=7)
    rng = np.random.default_rng(8)
    return Network(drawn.weights, tuple(rng.normal(size=b.shape) for b in drawn.biases), drawn.output)


@pytest.fixture(params=OUTPUTS)
def network(request, folder):
    network = random_network(request.param)
    np.savez(folder / "model.npz", **network_arrays(network))
    return network


def assert_same(found, network):
    assert found.output.name == network.output.name
    for one, other in zip(found.weights + found.biases, network.weights + network.biases, strict=True):
        assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("suffix", [".npz", ".onnx", ".safetensors"])
def test_exported_and_imported_it_is_the_same_to_the_bit(sheaf, network, suffix):
    assert sheaf("import", "model.npz", "--output", "run").code == 0
    outcome = sheaf("export", "run", f"out{suffix}")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith(f"Written: out{suffix} (")
    assert network.output.name in outcome.out
    again = sheaf("import", f"out{suffix}", "--output", "again")
    assert again.code == 0
    assert_same(read_network(Path("again/network.npz")), network)


def test_onnxruntime_predicts_the_same_by_the_line_that_is_shown(sheaf, network):
    import onnxruntime

    sheaf("import", "model.npz", "--output", "run")
    line = sheaf("export", "run", "out.onnx").out.splitlines()[1].removeprefix("Load it with: ")
    X = np.random.default_rng(0).normal(size=(20, 4))
    (found,) = eval(line, {"onnxruntime": onnxruntime, "X": X})
    np.testing.assert_allclose(found, network.predict(X), rtol=1e-12, atol=1e-14)


def test_numpy_loads_the_arrays_by_the_line_that_is_shown(sheaf, network):
    sheaf("import", "model.npz", "--output", "run")
    line = sheaf("export", "run", "out.npz").out.splitlines()[1].removeprefix("Load it with: ")
    with eval(line, {"numpy": np}) as found:
        assert found["W2"].tobytes() == network.weights[1].tobytes()
        assert str(found["output"]) == network.output.name


def test_a_trained_run_is_exported_as_it_is_now(sheaf, run):
    assert sheaf("export", run, "out.npz").code == 0
    assert_same(read_network(Path("out.npz")), read_network(run / "network.npz"))


def test_a_file_that_exists_stays_unless_it_is_said_otherwise(sheaf, refused, run, folder):
    (folder / "out.npz").write_text("mine")
    error = refused("export", run, "out.npz", words="out.npz: the file exists")
    assert "--overwrite" in error
    assert sheaf("export", run, "out.npz", "--overwrite").code == 0
    assert_same(read_network(Path("out.npz")), read_network(run / "network.npz"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "out.txt"], "unknown suffix '.txt'"),
        (["run", "out.skops"], "read and not written"),
        (["run", "out.pkl"], "pickle"),
        (["run", "nowhere/out.npz"], "cannot be written"),
        (["nowhere", "out.npz"], "nowhere: no such directory"),
        (["small.yaml", "out.npz"], "this is a file"),
    ],
)
def test_wrong_exports_are_refused(refused, run, arguments, words):
    refused("export", *arguments, words=words)


def test_a_run_without_a_network_is_not_exported(refused, run):
    (run / "network.npz").unlink()
    refused("export", run, "out.npz", words="no network yet")


def test_a_directory_is_no_file_to_replace(refused, run, folder):
    (folder / "out.npz").mkdir()
    refused("export", run, "out.npz", "--overwrite", words="cannot be written")
