"""`sheaf export`: what is read back is the same network to the bit, and onnxruntime computes what it does."""

from pathlib import Path

import numpy as np
import pytest

from sheafcli.config.architecture import build
from sheafcli.core.chain.network import Network
from sheafcli.interop.networks import network_arrays, read_network
from sheafcli.runs.files import write_npz

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


@pytest.fixture
def graph_run(sheaf, folder):
    """A run of a small residual network on digits, as it starts."""
    layers = [
        {"conv": {"channels": 3, "kernel": 3, "padding": "same"}},
        {"residual": ["relu", {"conv": {"channels": 4, "kernel": 3, "stride": 2, "padding": "same"}}]},
        "global_average_pool",
    ]
    network = build(layers, (1, 8, 8), 10, "softmax", 0)
    write_npz(folder / "model.npz", network_arrays(network))
    assert sheaf("import", "model.npz", "--output", "run").code == 0
    return network


def test_a_graph_goes_through_an_npz_file_to_the_bit(sheaf, graph_run):
    assert sheaf("export", "run", "out.npz").code == 0
    X = np.random.default_rng(0).normal(size=(4, 64))
    assert read_network(Path("out.npz")).predict(X).tobytes() == graph_run.predict(X).tobytes()


def test_onnxruntime_predicts_what_a_graph_does_by_the_lines_that_are_shown(sheaf, graph_run):
    import onnxruntime

    out = sheaf("export", "run", "out.onnx").out.splitlines()
    assert out[2] == "X is samples x 1 x 8 x 8, of type float32."
    X = np.random.default_rng(0).normal(size=(20, 1, 8, 8)).astype(np.float32)
    (found,) = eval(out[1].removeprefix("Load it with: "), {"onnxruntime": onnxruntime, "X": X})
    np.testing.assert_allclose(found, graph_run.predict(X.astype(np.float64)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_state_dict_of_a_graph_is_refused_with_what_to_write(sheaf, graph_run, suffix):
    outcome = sheaf("export", "run", f"out{suffix}")
    assert outcome.code == 2
    assert "this one has conv_1 (Convolution)" in outcome.err
    assert "write .onnx or .npz" in " ".join(outcome.err.split())
