"""`sheaf import`: the sources' own predictions are the oracle, and whatever is no model is refused whole."""

import json
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import onnx
    import onnxruntime
    import safetensors.torch
    import skops.io
    import torch
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier, MLPRegressor
from torch import nn

from sheafcli.config.naming import name_from
from sheafcli.core.chain.network import Network
from sheafcli.interop.networks import network_arrays, read_network

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4)).astype(np.float32)
LABELS = (X[:, 0] * X[:, 1] > 0).astype(int) + (X[:, 2] > 0.5)
ONE_HOT = np.eye(3)[LABELS]
VALUES = np.stack([np.sin(X[:, 0]), X[:, 1] * X[:, 2]], axis=1)


def module(n_out=3):
    """A float32 network of PyTorch that has learned a little, so that its biases are not zero."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, n_out))
    rule = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(50):
        rule.zero_grad()
        nn.functional.cross_entropy(model(torch.from_numpy(X)), torch.tensor(LABELS)).backward()
        rule.step()
    return model.eval()


def save_torch(path, *endings):
    """Save the module, with further layers at its end, in the format of the suffix."""
    model = nn.Sequential(*module(), *endings)
    if path.suffix == ".pt":
        torch.save(model.state_dict(), path)
    elif path.suffix == ".safetensors":
        safetensors.torch.save_file(model.state_dict(), path)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            names = {"input_names": ["input"], "dynamic_axes": {"input": {0: "samples"}}}
            torch.onnx.export(model, (torch.zeros(1, 4),), path, dynamo=False, **names)
    return model


def said(suffix):
    """Return the options that say of a state_dict that it is a chain, which ONNX says itself."""
    return () if suffix == ".onnx" else ("--order", "0,2,4")


@pytest.fixture
def data(folder) -> str:
    """The samples as an .npz task: 60 to train on, 30 to test on."""
    parts = {"X_train": X[:60], "y_train": ONE_HOT[:60], "X_test": X[60:], "y_test": ONE_HOT[60:]}
    np.savez(folder / "data.npz", **parts)
    return "data.npz"


@pytest.fixture
def imported(sheaf, data) -> Path:
    """A run imported from PyTorch, with its data."""
    save_torch(Path("model.pt"))
    assert sheaf("import", "model.pt", *said(".pt"), "--data", data, "--output", "imported").code == 0
    return Path("imported")


def assert_agrees(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


def predicted(run="run"):
    return read_network(Path(run) / "network.npz").predict(X)


# Sources ------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".onnx"])
def test_a_pytorch_network_predicts_what_pytorch_does(sheaf, data, suffix):
    model = save_torch(Path(f"model{suffix}"))
    outcome = sheaf("import", f"model{suffix}", *said(suffix), "--data", data, "--output", "run")
    assert outcome.code == 0
    assert "it is softmax, which the targets ask for" in outcome.err
    assert "Run directory: run" in outcome.out
    with torch.no_grad():
        expected = model(torch.from_numpy(X)).softmax(dim=1).numpy()
    assert_agrees(predicted(), expected)
    accuracy = np.mean(expected[60:].argmax(axis=1) == LABELS[60:])
    assert f"{accuracy:.2%}" in outcome.out
    assert json.loads(Path("run/manifest.json").read_text())["final"]["test_accuracy"] == accuracy


def test_an_onnx_graph_that_says_its_output_predicts_what_onnxruntime_does(sheaf, folder):
    save_torch(Path("model.onnx"), nn.Softmax(dim=1))
    outcome = sheaf("import", "model.onnx", "--output", "run")
    assert (outcome.code, outcome.err) == (0, "")
    (expected,) = onnxruntime.InferenceSession("model.onnx").run(None, {"input": X})
    assert_agrees(predicted(), expected)


def test_weights_beside_an_onnx_file_come_along_or_are_missed(sheaf, refused, folder):
    """As torch.onnx.export writes them by default."""
    save_torch(Path("model.onnx"), nn.Softmax(dim=1))
    onnx.save(
        onnx.load("model.onnx"), "model.onnx", save_as_external_data=True, size_threshold=0, location="w"
    )
    outcome = sheaf("import", "model.onnx", "--output", "run")
    assert (outcome.code, outcome.err) == (0, "")
    (expected,) = onnxruntime.InferenceSession("model.onnx").run(None, {"input": X})
    assert_agrees(predicted(), expected)
    Path("w").unlink()
    refused("import", "model.onnx", "--output", "other", words="in another file, 'w', which is not there")


def test_labels_behind_an_onnx_graph_are_left_out_aloud(sheaf, data, folder):
    save_torch(Path("model.onnx"), nn.Softmax(dim=1))
    model = onnx.load("model.onnx")
    scores = model.graph.output[0].name
    model.graph.node.append(onnx.helper.make_node("ArgMax", [scores], ["label"], name="pick", axis=1))
    model.graph.output[0].name = "label"
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 1
    onnx.save(model, "model.onnx")
    outcome = sheaf("import", "model.onnx", "--data", data, "--output", "run")
    assert outcome.code == 0
    assert "note: ArgMax 'pick' makes labels" in outcome.err
    notes = json.loads(Path("run/manifest.json").read_text())["notes"]
    assert any("ArgMax 'pick'" in note for note in notes)
    (expected,) = onnxruntime.InferenceSession("model.onnx").run(None, {"input": X})
    assert np.array_equal(predicted().argmax(axis=1), expected[:, 0])


@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_a_network_of_scikit_learn_predicts_what_it_does(sheaf, folder, kind):
    options = {"hidden_layer_sizes": (7, 5), "max_iter": 20, "random_state": 0}
    model = MLPClassifier(**options) if kind == "classifier" else MLPRegressor(**options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, LABELS if kind == "classifier" else VALUES)
    skops.io.dump(model, "model.skops")
    assert sheaf("import", "model.skops", "--output", "run").code == 0
    expected = model.predict_proba(X) if kind == "classifier" else model.predict(X)
    assert_agrees(predicted(), expected)


def test_one_network_through_three_formats_has_one_diagnosis(sheaf, data):
    for suffix in (".pt", ".safetensors", ".onnx"):
        save_torch(Path(f"model{suffix}"))
        run = f"run_{suffix[1:]}"
        assert sheaf("import", f"model{suffix}", *said(suffix), "--data", data, "--output", run).code == 0
        assert sheaf("diagnose", run, "--limit", 10).code == 0
    tables = {(Path(f"run_{name}") / "diagnosis.csv").read_bytes() for name in ("pt", "safetensors", "onnx")}
    assert len(tables) == 1


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
def test_pytorch_loads_what_is_exported_by_the_line_that_is_shown(sheaf, imported, suffix):
    outcome = sheaf("export", imported, f"out{suffix}")
    assert outcome.code == 0
    line = outcome.out.splitlines()[1].removeprefix("Load it with: ")
    fresh = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3))
    eval(line, {"torch": torch, "safetensors": safetensors, "model": fresh})
    for name, tensor in module().state_dict().items():
        assert torch.equal(fresh.state_dict()[name], tensor.double())
    assert sheaf("import", f"out{suffix}", "--output", "again").code == 0
    assert Path("again/network.npz").read_bytes() == Path("imported/network.npz").read_bytes()


def test_a_table_and_a_kind_of_task_are_data_too(sheaf, folder):
    rows = (",".join(f"{value:.6f}" for value in (*x, *y)) for x, y in zip(X, VALUES, strict=True))
    Path("data.csv").write_text("\n".join(["a,b,c,d,one,two", *rows]) + "\n")
    np.savez("model.npz", **network_arrays(Network.he([4, 5, 2], "identity", 0)))
    targets = ("--target", "one", "--target", "two")
    outcome = sheaf("import", "model.npz", "--data", "data.csv", *targets, "--output", "table")
    assert outcome.code == 0
    assert "accuracy" not in outcome.out
    assert sheaf("diagnose", "table", "--limit", 5).code == 0
    np.savez("plane.npz", **network_arrays(Network.he([2, 5, 1], "identity", 0)))
    assert sheaf("import", "plane.npz", "--data", "saddle").code == 0
    assert sheaf("diagnose", "results/plane", "--limit", 5).code == 0


# What can be done with the run --------------------------------------------------------------


def test_it_is_trained_further_from_where_it_stands(sheaf, imported):
    before = json.loads((imported / "manifest.json").read_text())["final"]
    outcome = sheaf("train", imported / "config.yaml", "--output", "further")
    assert outcome.code == 0
    history = np.genfromtxt("further/history.csv", delimiter=",", names=True)
    assert history["train_loss"][0] == pytest.approx(before["train_loss"])
    assert history["train_loss"][-1] < 0.9 * before["train_loss"]
    assert sheaf("compare", "further").code == 0


def test_it_is_trained_in_its_own_directory(sheaf, imported):
    config = imported / "config.yaml"
    short = ("--set", "training.epochs=3", "--quiet")
    assert sheaf("train", config, "--output", imported, "--overwrite", *short).code == 0
    assert sheaf("train", config, "--output", imported, "--resume", "--quiet").code == 0
    assert sheaf("train", config, "--output", "other", *short).code == 0
    assert (
        Path("other/history.csv").read_text().splitlines()[1].split(",")[2]
        == ((imported / "history.csv").read_text().splitlines()[1].split(",")[2])
    )


@pytest.mark.parametrize("command", ["verify", "spectrum", "diffuse"])
def test_it_is_verified_analysed_and_diffused(sheaf, imported, command):
    outcome = sheaf(command, imported)
    assert outcome.code == 0, outcome
    assert "FAILS" not in outcome.out


def test_it_has_nothing_to_resume_and_nothing_to_compare(refused, imported):
    config = imported / "config.yaml"
    refused("train", config, "--output", imported, "--resume", words="an imported network")
    refused("compare", imported, words="logged nothing yet")


def test_without_data_it_is_diagnosed_on_a_file(sheaf, refused, folder):
    save_torch(Path("model.pt"))
    assert sheaf("import", "model.pt", *said(".pt"), "--ending", "softmax", "--output", "run").code == 0
    np.savez("samples.npz", X=X, y=ONE_HOT)
    assert sheaf("diagnose", "run", "--data", "samples.npz", "--limit", 5).code == 0
    for command in (("diagnose", "run"), ("verify", "run"), ("train", "run/config.yaml")):
        refused(*command, words="config.yaml:7: task: missing")


def test_another_run_is_replaced_only_if_it_is_said(sheaf, refused, imported):
    (imported / "mine.txt").write_text("mine")
    error = refused("import", "model.pt", *said(".pt"), "--output", imported, words="another run is here")
    assert "--overwrite" in error
    assert sheaf("diagnose", imported, "--limit", 3).code == 0
    assert sheaf("import", "model.pt", *said(".pt"), "--output", imported, "--overwrite").code == 0
    assert not (imported / "diagnosis.csv").exists()
    assert (imported / "mine.txt").read_text() == "mine"


# Bad input ----------------------------------------------------------------------------------


def arrays(**changes):
    found = network_arrays(Network.he([4, 5, 3], "softmax", 0)) | changes
    return {name: array for name, array in found.items() if array is not None}


def save_whole(path):
    torch.save(module(), path)


def save_script(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(module()), str(path))


def save_quantised(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantised = torch.ao.quantization.quantize_dynamic(module(), {nn.Linear})
        torch.save(quantised.state_dict(), path)


def save_deep(path):
    np.savez(path, **{f"W{i + 1}": np.ones((1, 1)) for i in range(10_000)})


def save_torch_as(path):
    torch.save(module().state_dict(), path)


def save_renamed(path):
    np.savez(path.with_suffix(".npz"), **arrays())
    path.with_suffix(".npz").rename(path)


def save_cut(path):
    whole = path.with_stem("whole")
    save_torch(whole) if path.suffix != ".npz" else np.savez(whole, **arrays())
    path.write_bytes(whole.read_bytes()[: -whole.stat().st_size // 3])
    whole.unlink()


def save_spoilt(path):
    model = module()
    model[2].weight.data[1, 2] = torch.nan
    torch.save(model.state_dict(), path)


def save_bomb(path):
    """Two gigabytes of zeros in two megabytes: packed once, and copied by its packed bytes."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("W1.npy", "w", force_zip64=True) as member,
    ):
        for _ in range(2**7):
            member.write(bytes(2**24))


BAD = {
    "nowhere.npz": (lambda path: None, "no such file"),
    "renamed.onnx": (save_renamed, "holds npz; rename it to end in .npz"),
    "text.pt": (lambda path: path.write_text("W1 = 3\n" * 50), "not a whole .pt file"),
    "empty.safetensors": (Path.touch, "is empty"),
    "cut.npz": (save_cut, "damaged or truncated"),
    "cut.pt": (save_cut, "damaged or truncated"),
    "cut.safetensors": (save_cut, "not a whole safetensors file"),
    "cut.onnx": (save_cut, "cut.onnx: "),
    "spoilt.pt": (save_spoilt, "Linear 2 holds NaN"),
    "spoilt.npz": (lambda path: np.savez(path, **arrays(b1=np.full(5, np.inf))), "finite"),
    "gap.npz": (lambda path: np.savez(path, **arrays(W1=np.ones((6, 4)), b1=None)), "W2 takes 5 inputs"),
    "objects.npz": (lambda path: np.savez(path, **arrays(W1=np.array([{}]))), "never unpickled"),
    "bomb.npz": (save_bomb, "unpack to 2,048 MB"),
    "model.pkl": (lambda path: path.write_bytes(b"\x80\x04N."), 'skops.io.dump(model, "model.skops")'),
    "model.joblib": (lambda path: path.write_bytes(b"\x80\x04N."), "torch.save(model.state_dict()"),
    "whole.pt": (save_whole, "torch.save(model.state_dict()"),
    "model.h5": (lambda path: path.write_bytes(b"\x89HDF\r\n"), "unknown suffix '.h5'"),
    "model.keras": (lambda path: path.write_bytes(b"PK"), 'model.export("model.onnx", format="onnx")'),
    "script.pt": (save_script, "torch.jit.load"),
    "quantised.pt": (save_quantised, "quantised"),
    "deep.npz": (save_deep, "has 9,999 hidden layers, and a run has at most 64"),
    "model.safetensors.index.json": (lambda path: path.write_text("{}"), "not an index of shards"),
    "model-00001-of-00002.bin": (save_torch_as, "model.bin.index.json, is not beside it"),
    "\u732b.npz": (lambda path: np.savez(path, **arrays()), "give --output results/NAME"),
    "\u0007\u2028.npz": (lambda path: np.savez(path, **arrays()), "give --output results/NAME"),
}


@pytest.mark.parametrize("name", BAD, ids=[name.encode("ascii", "replace").decode() for name in BAD])
def test_what_is_no_model_is_refused_and_leaves_nothing(refused, name):
    save, words = BAD[name]
    save(Path(name))
    refused("import", name, words=words)


@pytest.mark.parametrize(
    "name", ["my model", "epoch=3-val_loss=0.12", "gr\u00f6\u00dfe", "model (1)", "a\x1b[31mb"]
)
def test_a_model_may_be_called_anything(sheaf, name):
    np.savez(f"{name}.npz", **arrays())
    outcome = sheaf("import", f"{name}.npz")
    assert outcome.code == 0, outcome
    assert "\x1b" not in outcome.out + outcome.err
    made = outcome.out.rpartition("Run directory: ")[2].strip()
    assert made == f"results/{name_from(name)}"
    assert sheaf("diagnose", made, "--data", "nowhere.npz").code == 2


def test_a_run_may_be_in_a_directory_called_anything(sheaf):
    np.savez("net.npz", **arrays())
    for directory in ("my run", "\u732b", "a=b (1)"):
        assert sheaf("import", "net.npz", "--output", directory).code == 0
    outcome = sheaf("runs", ".", "--format", "csv")
    assert outcome.out.count("imported") >= 3, outcome


def values(**changes):
    parts = {"X_train": X[:60], "y_train": ONE_HOT[:60], "X_test": X[60:], "y_test": ONE_HOT[60:]}
    np.savez("other.npz", **parts | changes)


@pytest.mark.parametrize(
    ("prepare", "options", "words"),
    [
        (
            lambda: values(X_train=X[:60, :3], X_test=X[60:, :3]),
            ["--data", "other.npz"],
            "takes 4 inputs, the data has 3 columns",
        ),
        (
            lambda: values(y_train=ONE_HOT[:60] @ np.eye(3, 4), y_test=ONE_HOT[60:] @ np.eye(3, 4)),
            ["--data", "other.npz"],
            "gives 3 outputs, the targets with output softmax ask for 4",
        ),
        (
            lambda: values(y_train=X[:60, :3], y_test=X[60:, :3]),
            ["--data", "other.npz"],
            "ends in softmax, and the data asks for identity",
        ),
        (lambda: None, ["--data", "breast_cancer"], "takes 4 inputs, the data has 30 columns"),
        (lambda: None, ["--data", "digits"], "takes 4 inputs, the data has 64 columns"),
        (lambda: None, ["--data", "nowhere.npz"], "nowhere.npz: no such file"),
        (lambda: None, ["--data", "nowhere.csv", "--target", "y"], "nowhere.csv: no such file"),
        (lambda: None, ["--data", "nowhere.yaml"], "nowhere.yaml: cannot be read"),
        (lambda: None, ["--data", "small.yaml"], "the data asks for identity"),
        (lambda: None, ["--data", "nowhere.csv"], "--target COLUMN"),
        (lambda: None, ["--data", "digitz"], "did you mean digits?"),
        (lambda: None, ["--data", "csv"], "--data csv: must be a .csv, .npz or .yaml file"),
        (lambda: None, ["--data", "digits", "--target", "y"], "--target names columns of a .csv file"),
        (lambda: None, ["--target", "y"], "give that with --data"),
        (lambda: None, ["--ending", "sigmoid"], "its output is softmax, and sigmoid was asked for"),
        (lambda: None, ["--ending", "tanh"], "tanh"),
        (lambda: None, ["--output", "small.yaml"], "the output is a file"),
        (lambda: None, ["--output", "."], "the directory holds files but no run"),
    ],
)
def test_data_that_does_not_fit_is_refused_and_leaves_nothing(refused, folder, prepare, options, words):
    np.savez("model.npz", **arrays())
    prepare()
    refused("import", "model.npz", *options, words=words)


def test_a_table_without_the_target_is_refused(refused, folder):
    np.savez("model.npz", **arrays())
    Path("data.csv").write_text("a,b\n1,2\n3,4\n5,7\n")
    refused("import", "model.npz", "--data", "data.csv", "--target", "z", words="data.csv")
