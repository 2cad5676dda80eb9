"""`sheaf diff` and `sheaf record`: differences planted in a run's network, and what is refused."""

import json
import logging

import numpy as np
import pandas as pd
import pytest

from sheafcli.core.graph import Graph
from sheafcli.core.network import network_of
from sheafcli.core.operations import BatchNormalization, Convolution, Dense, Flatten, ReLU
from sheafcli.core.outputs import Identity
from sheafcli.core.sweep import forward
from sheafcli.interop.networks import network_arrays
from sheafcli.interop.onnx_export import graph_bytes
from sheafcli.runs import RunDirectory

X = np.random.default_rng(0).normal(size=(30, 2))


@pytest.fixture
def changed(run):
    """Write the run's network with some arrays changed, and return the path."""

    def changed(path="other.npz", **changes):
        arrays = network_arrays(RunDirectory(run).network())
        np.savez(path, **(arrays | {name: change(arrays[name]) for name, change in changes.items()}))
        return path

    return changed


@pytest.fixture
def recorded(run):
    """Write what the run's network computes in single precision, and return it by name."""

    def recorded(X, path="acts.npz", **others):
        graph = RunDirectory(run).network().graph
        values = {step.vertex.name: step.value for step in forward(graph, X.astype(np.float32))}
        values = {"x": X.astype(np.float32)} | values | others
        np.savez(path, **{name: value for name, value in values.items() if value is not None})
        return values

    return recorded


def convolutional():
    rng = np.random.default_rng(1)
    norm = BatchNormalization(*rng.normal(size=(3, 4)), rng.uniform(0.1, 2.0, 4))
    operations = {
        "conv": Convolution(rng.normal(size=(4, 1, 3, 3)), rng.normal(size=4)),
        "norm": norm,
        "relu": ReLU(),
        "flatten": Flatten(),
        "dense": Dense(rng.normal(size=(2, 64)), rng.normal(size=2)),
    }
    return network_of(Graph.path((1, 6, 6), operations), Identity())


def fits(out):
    return all(len(line) <= 80 for line in out.splitlines() if not line.startswith("Written"))


def test_the_operation_that_differs_leads(sheaf, run, changed):
    outcome = sheaf("diff", run, changed(W1=lambda W: W[::-1]), "--fail-on", "significant")
    assert outcome.code == 3
    told = " ".join(outcome.out.split())
    assert told.startswith(
        "affine_1 alone explains 100% of the output difference: the rows of its weights look"
    )
    assert fits(outcome.out)
    table = pd.read_csv(run / "diff.csv")
    assert table["operation"].tolist() == ["affine_1", "activation_1", "affine_2"]
    assert table["significant"].tolist() == [True, False, False]
    assert table["share"].sum() == pytest.approx(1.0)
    assert table["reversed_share"].sum() == pytest.approx(1.0)
    assert (run / "figures" / "diff.png").exists()


def test_rounded_weights_are_no_difference(sheaf, run, changed):
    def single(W):
        return W.astype(np.float32)

    path = changed(W1=single, b1=single, W2=single, b2=single)
    outcome = sheaf("diff", run, path, "--format", "json", "--fail-on", "significant")
    assert outcome.code == 0
    told = json.loads(outcome.out)
    assert told["precision"] == "float32"
    assert told["sentence"] == "no operation differs beyond the rounding of float32"
    assert [row["significant"] for row in told["operations"]] == [False] * 3


def test_activations_are_compared_on_the_input_that_they_hold(sheaf, run, recorded):
    recorded(X)
    outcome = sheaf("diff", run, "acts.npz", "--fail-on", "significant")
    assert outcome.code == 0
    assert "no operation differs beyond the rounding of float32" in outcome.out
    recorded(X, affine_2=(recorded(X)["affine_2"] + 1.0).astype(np.float32))
    outcome = sheaf("diff", run, "acts.npz", "--format", "csv")
    assert outcome.out.splitlines()[3].startswith("affine_2,Dense,")
    assert ",bias," in outcome.out.splitlines()[3]


def test_a_folder_of_arrays_does_as_well(sheaf, run, recorded, folder):
    (folder / "acts").mkdir()
    for name, value in recorded(X).items():
        np.save(folder / "acts" / f"{name}.npy", value)
    assert "no operation differs" in sheaf("diff", run, "acts").out


def test_what_was_not_recorded_is_said(sheaf, run, recorded):
    recorded(X, affine_1=None, affine_2=None, afine_2=X)
    outcome = sheaf("diff", run, "acts.npz")
    assert outcome.code == 0
    told = " ".join(outcome.err.split())
    assert "not recorded: affine_1, affine_2;" in told
    assert "the output was not recorded" in told
    assert "afine_2 is no vertex; did you mean affine_2?" in told


def test_one_sample_is_enough_and_said(sheaf, run, recorded):
    recorded(X[:1])
    outcome = sheaf("diff", run, "acts.npz")
    assert outcome.code == 0
    assert "one sample" in outcome.err


def test_other_samples_are_refused(refused, run, recorded):
    recorded(X)
    np.savez("data.npz", X=np.concatenate([X[:3], X[:27]]))
    refused("diff", run, "acts.npz", "--data", "data.npz", words="other samples: their input at sample 3")
    np.savez("data.npz", X=X[:7])
    refused("diff", run, "acts.npz", "--data", "data.npz", words="other samples: they have 30 samples")
    recorded(X, x=None)
    refused("diff", run, "acts.npz", "--data", "data.npz", words="the activations are of 30 samples")


def test_what_is_not_finite_is_named(sheaf, run, recorded):
    bad = recorded(X)["activation_1"].copy()
    bad[4, 0] = np.nan
    recorded(X, activation_1=bad)
    outcome = sheaf("diff", run, "acts.npz")
    assert outcome.code == 2
    assert "activation_1 is the first vertex that holds NaN or infinity, at sample 4" in outcome.err


def test_another_architecture_is_refused_by_its_first_vertex(refused, run, changed, recorded):
    path = changed(W1=lambda W: np.vstack([W, W]), b1=lambda b: np.tile(b, 2), W2=lambda W: np.tile(W, 2))
    refused("diff", run, path, words="affine_1 has shape (5,) here, and affine_1 (10,) there")
    recorded(X, affine_1=np.zeros((30, 6)))
    refused("diff", run, "acts.npz", words="affine_1 has shape (30, 6)")


def test_what_to_keep_is_listed_with_what_it_reaches(sheaf, run, changed):
    path = changed(W1=lambda W: W + 0.01, W2=lambda W: 1.3 * W)
    outcome = sheaf("diff", run, path, "--budget", "0.9", "--format", "json")
    told = json.loads(outcome.out)["keep"]
    assert [row["operation"] for row in told["operations"]] == ["affine_2"]
    assert told["reached"] >= told["asked"] == 0.9
    outcome = sheaf("diff", run, path, "--budget", "1")
    assert "Keep 2 of 3 operations: 100.0% of the squared output difference goes" in " ".join(
        outcome.out.split()
    )
    assert fits(outcome.out)
    assert json.loads((run / "diff.json").read_text())["keep"]["reached"] == pytest.approx(1.0)
    assert sheaf("diff", run, path, "--budget", "1.5").code == 2


@pytest.mark.parametrize(
    ("name", "text"),
    [("map.yaml", "layer/one: affine_1\nz: affine_2\n"), ("map.csv", "layer/one,affine_1\nz,affine_2\n")],
)
def test_values_of_other_names_are_matched_by_a_map(sheaf, run, recorded, folder, name, text):
    values = recorded(X)
    arrays = {"layer/one": values["affine_1"], "activation_1": values["activation_1"]}
    np.savez("acts.npz", x=values["x"], z=values["affine_2"], **arrays)
    assert "not recorded: affine_1, affine_2" in sheaf("diff", run, "acts.npz").err
    (folder / name).write_text(text)
    outcome = sheaf("diff", run, "acts.npz", "--map", name)
    assert (outcome.code, outcome.err) == (0, "")
    assert "affine_1" in outcome.out
    (folder / name).write_text(text.replace("affine_2", "afine_2"))
    outcome = sheaf("diff", run, "acts.npz", "--map", name)
    assert outcome.code == 2
    assert f"{name}:2: the network has no vertex 'afine_2'; did you mean affine_2?" in outcome.err


def test_a_map_is_for_values_alone(refused, run, changed, folder):
    (folder / "map.csv").write_text("a,affine_1\n")
    refused("diff", run, changed(), "--map", "map.csv", words="a map is for recorded activations")


def test_an_input_that_was_not_recorded_cannot_be_checked(sheaf, run, recorded):
    recorded(X, x=None)
    np.savez("data.npz", X=X)
    outcome = sheaf("diff", run, "acts.npz", "--data", "data.npz")
    assert outcome.code == 0
    assert "whether the samples are the same cannot be checked" in outcome.err


def test_a_quantised_file_is_run_and_matched(sheaf, folder):
    """All of the integers' story in one command; the layers are those that the quantiser wrote."""
    onnx = pytest.importorskip("onnx")
    quantization = pytest.importorskip("onnxruntime.quantization")
    content = graph_bytes(convolutional(), np.dtype(np.float32))
    onnx.save(onnx.load_model_from_string(content), "net.onnx")
    np.savez("X.npz", X=np.random.default_rng(0).normal(size=(20, 36)))
    logging.disable(logging.WARNING)
    quantization.quantize_dynamic("net.onnx", "int8.onnx")
    logging.disable(logging.NOTSET)
    assert sheaf("import", "net.onnx", "--output", "run").code == 0
    outcome = sheaf("diff", "run", "int8.onnx", "--data", "X.npz", "--format", "json")
    assert outcome.code == 0
    rows = json.loads(outcome.out)["operations"]
    assert {row["operation"] for row in rows if row["kind"] == "rounded"} == {"conv", "dense"}
    assert [row["significant"] for row in rows if row["operation"] in ("norm", "relu", "flatten")] == [
        False
    ] * 3


def test_what_is_no_run_model_or_activations_is_refused(refused, run, folder):
    (folder / "empty").mkdir()
    refused("diff", run, "empty", words=".npy files or a run")
    refused("diff", run, "nowhere.npz", words="no such file")
    (folder / "a.txt").write_text("a")
    refused("diff", run, "a.txt", words="unknown suffix")
    np.savez("acts.npz", other=X)
    refused("diff", run, "acts.npz", words="no array is a value of this network")


def test_what_onnx_runtime_computes_of_a_chain_is_matched(sheaf, run):
    pytest.importorskip("onnxruntime")
    assert sheaf("export", run, "chain.onnx").code == 0
    np.savez("X.npz", X=X)
    assert sheaf("record", "chain.onnx", "--data", "X.npz", "--output", "acts.npz").code == 0
    outcome = sheaf("diff", run, "acts.npz", "--fail-on", "significant")
    assert outcome.code == 0
    assert outcome.err == ""
    assert "affine_2" in outcome.out


def test_an_imported_network_knows_the_names_of_its_file(sheaf, folder):
    """The batch normalisation of a copy has another epsilon; ONNX Runtime runs both in single precision."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    model = onnx.load_model_from_string(graph_bytes(convolutional()))
    renamed = {
        name: f"/value/{name}" for node in model.graph.node for name in node.output if name != "output"
    }
    for node in model.graph.node:
        node.name = f"/block/{node.name or node.output[0]}"
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    onnx.save(model, "net.onnx")
    (norm,) = (node for node in model.graph.node if node.op_type == "BatchNormalization")
    (epsilon,) = (attribute for attribute in norm.attribute if attribute.name == "epsilon")
    epsilon.f = 0.1
    onnx.save(model, "wrong.onnx")
    np.savez("X.npz", X=np.random.default_rng(0).normal(size=(20, 36)))
    assert sheaf("import", "net.onnx", "--output", "run").code == 0
    for name in ("net", "wrong"):
        assert sheaf("record", f"{name}.onnx", "--data", "X.npz", "--output", f"{name}.npz").code == 0
    assert "no operation differs" in sheaf("diff", "run", "net.npz").out
    outcome = sheaf("diff", "run", "wrong.npz", "--format", "json")
    leading = [row for row in json.loads(outcome.out)["operations"] if row["significant"]]
    assert [(row["type"], row["kind"]) for row in leading] == [("BatchNormalization", "epsilon")]
    assert "epsilon looks to be 0.1, not 1e-05" in leading[0]["kind_says"]


def test_record_refuses_what_it_cannot_run(refused, sheaf, run):
    pytest.importorskip("onnxruntime")
    assert sheaf("export", run, "chain.onnx").code == 0
    np.savez("X.npz", X=X)
    np.savez("wide.npz", X=np.ones((3, 7)))
    np.savez("none.npz", y=X)
    refused("record", "chain.onnx", "--data", "none.npz", words="needs an array X")
    refused("record", "chain.onnx", "--data", "wide.npz", words="ONNX Runtime does not run the file")
    refused("record", "chain.onnx", "--data", "X.npz", "--output", "a.csv", words="--output FILE.npz")
    refused("record", "chain.onnx", "--data", "X.npz", "--provider", "Nobody", words="has no Nobody")
    refused("record", "X.npz", "--data", "X.npz", words="X.npz")
