"""An imported run against the file it comes from: the arrays, the data and the losses written out by hand."""

import fcntl
import hashlib
import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from safetensors.numpy import save_file

from sheafcli.config import dump_config, load_config
from sheafcli.core.chain.network import Network
from sheafcli.errors import InputError
from sheafcli.interop.models import model_bytes
from sheafcli.interop.networks import network_arrays
from sheafcli.runs import Experiment, RunDirectory, conduct
from sheafcli.runs import directory as directory_module
from sheafcli.runs import imported as imported_module
from sheafcli.runs.imported import DataSource, Imported
from sheafcli.runs.observer import Silent

RNG = np.random.default_rng(0)


def saved(path, widths, output=None, seed=1):
    """Save a network as .npz, which says its output only if it is given; return its arrays."""
    arrays = network_arrays(Network.he(widths, output or "identity", seed))
    if output is None:
        del arrays["output"]
    np.savez(path, **arrays)
    return arrays


def targets(kind, n):
    if kind == "values":
        return RNG.normal(size=n)
    classes = RNG.integers(0, 2 if kind == "two classes" else 3, n)
    return classes if kind == "two classes" else np.eye(3)[classes]


def arrays_of(path, kind="values", width=4):
    np.savez(
        path,
        X_train=RNG.normal(size=(12, width)),
        y_train=targets(kind, 12),
        X_test=RNG.normal(size=(6, width)),
        y_test=targets(kind, 6),
    )


def table(path, label=lambda i: ["a", "b"][i % 2]):
    rows = (f"{i % 5},{i * i % 7},{label(i)}" for i in range(20))
    path.write_text("\n".join(["p,q,r", *rows]) + "\n")


def read(folder, data=None, names=(), ending=None, run="run"):
    source = None if data is None else DataSource.named(str(data), names)
    return Imported.read(folder / "model.npz", RunDirectory(folder / run), source, ending)


def refusal(call, *arguments, **options):
    with pytest.raises(InputError) as caught:
        call(*arguments, **options)
    return str(caught.value)


# What is written ----------------------------------------------------------------------------


def test_the_run_holds_the_network_twice_and_says_where_it_comes_from(tmp_path):
    arrays = saved(tmp_path / "model.npz", [4, 5, 3], "softmax")
    arrays_of(tmp_path / "data.npz", "three classes")
    imported = read(tmp_path, tmp_path / "data.npz")
    run = RunDirectory(tmp_path / "run")
    imported.write(run, overwrite=False)
    assert {path.name for path in run.path.iterdir()} == {
        *("config.yaml", "manifest.json", "network.npz", "imported.npz", "preprocessing.json")
    }
    for name in ("network.npz", "imported.npz"):
        with np.load(run / name) as found:
            assert {key: found[key].tobytes() for key in found} == {k: a.tobytes() for k, a in arrays.items()}
    manifest = run.manifest()
    assert manifest["notes"][-1].startswith("the network predicts no better than a constant")
    assert manifest["source"] == {
        "file": "model.npz",
        "format": "npz",
        "sha256": hashlib.sha256((tmp_path / "model.npz").read_bytes()).hexdigest(),
    }
    assert (manifest["status"], manifest["name"], manifest["task"]) == ("imported", "run", "npz")
    assert (manifest["output"], manifest["widths"]) == ("softmax", [4, 5, 3])
    assert manifest["parameters"] == 4 * 5 + 5 + 5 * 3 + 3
    assert (manifest["n_train"], manifest["n_test"]) == (12, 6)


def test_weights_beside_an_onnx_file_have_their_hash_too(tmp_path):
    network = Network.he([4, 5, 1], "identity", 1)
    model = onnx.load_model_from_string(model_bytes(tmp_path / "model.onnx", network))
    onnx.save_model(
        model, tmp_path / "model.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    imported = Imported.read(tmp_path / "model.onnx", RunDirectory(tmp_path / "run"))
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in tmp_path.iterdir()}
    assert imported.source["sha256"] == digests["model.onnx"]
    assert imported.source["beside"] == {"weights.bin": digests["weights.bin"]}


def test_shards_of_a_state_dict_have_their_hashes_all(tmp_path):
    names = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    tensors = {"fc1.weight": RNG.normal(size=(5, 4)), "fc2.weight": RNG.normal(size=(1, 5))}
    for file, (name, array) in zip(names, tensors.items(), strict=True):
        save_file({name: array}, tmp_path / file)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": dict(zip(tensors, names, strict=True))}))
    order = ("fc1", "fc2")
    imported = Imported.read(tmp_path / names[0], RunDirectory(tmp_path / "run"), order=order)
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in tmp_path.iterdir()}
    assert imported.source["sha256"] == digests.pop(names[0])
    assert imported.source["beside"] == digests


def test_losses_and_accuracies_are_those_of_the_formulas(tmp_path):
    arrays = saved(tmp_path / "model.npz", [4, 5, 3], "softmax")
    arrays_of(tmp_path / "data.npz", "three classes")
    data = np.load(tmp_path / "data.npz")
    figures = read(tmp_path, tmp_path / "data.npz").figures
    for part in ("train", "test"):
        hidden = np.maximum(data[f"X_{part}"] @ arrays["W1"].T, 0.0)  # the biases of a He draw are zero
        powers = np.exp(hidden @ arrays["W2"].T)
        p, y = powers / powers.sum(axis=1, keepdims=True), data[f"y_{part}"]
        assert figures[f"{part}_loss"] == pytest.approx(-np.log(p[y == 1]).mean())
        assert figures[f"{part}_accuracy"] == np.mean(p.argmax(axis=1) == y.argmax(axis=1))


def test_the_configuration_starts_from_the_network_wherever_the_run_is_moved(tmp_path):
    arrays = saved(tmp_path / "model.npz", [4, 5, 1])
    arrays_of(tmp_path / "data.npz")
    imported = read(tmp_path, tmp_path / "data.npz")
    imported.write(RunDirectory(tmp_path / "run"), overwrite=False)
    (tmp_path / "run").rename(tmp_path / "moved")
    (tmp_path / "moved" / "network.npz").unlink()
    experiment = Experiment.load(tmp_path / "moved" / "config.yaml")
    assert experiment.config.training.method == "equilibrium"
    assert experiment.network.weights[0].tobytes() == arrays["W1"].tobytes()
    assert experiment.task.X_test.tobytes() == imported.task.X_test.tobytes()


def test_without_data_the_configuration_lacks_the_task_and_nothing_else(tmp_path):
    arrays = saved(tmp_path / "model.npz", [4, 5, 1])
    run = RunDirectory(tmp_path / "run")
    imported = read(tmp_path)
    imported.write(run, overwrite=False)
    assert imported.figures == {}
    assert "config.yaml:7: task: missing" in refusal(run.config)
    arrays_of(tmp_path / "data.npz")
    with (run / "config.yaml").open("a") as file:
        file.write("task: {kind: npz, path: ../data.npz}\n")
    network = Experiment.load(run / "config.yaml").network
    assert network.weights[1].tobytes() == arrays["W2"].tobytes()


def test_trained_in_its_own_directory_it_keeps_what_it_started_from(tmp_path):
    arrays = saved(tmp_path / "model.npz", [4, 5, 1])
    arrays_of(tmp_path / "data.npz")
    run = RunDirectory(tmp_path / "run")
    read(tmp_path, tmp_path / "data.npz").write(run, overwrite=False)
    experiment = Experiment.load(run / "config.yaml", ["training.epochs=3"])
    run.create(experiment.config, overwrite=True)
    conduct(experiment, run, Silent())
    with np.load(run / "imported.npz") as start, np.load(run / "network.npz") as end:
        assert start["W1"].tobytes() == arrays["W1"].tobytes()
        assert end["W1"].tobytes() != arrays["W1"].tobytes()
    assert run.status_of(load_config(run / "config.yaml")) == "finished"
    # Another run in its place does not.
    other = tmp_path / "other.yaml"
    other.write_text("task: {kind: saddle}\nnetwork: {hidden: [3]}\n")
    run.create(load_config(other), overwrite=True)
    assert not (run / "imported.npz").exists()


def test_an_imported_network_is_no_training_to_resume(tmp_path):
    saved(tmp_path / "model.npz", [4, 5, 1])
    arrays_of(tmp_path / "data.npz")
    run = RunDirectory(tmp_path / "run")
    read(tmp_path, tmp_path / "data.npz").write(run, overwrite=False)
    error = refusal(run.status_of, run.config())
    for word in ("imported", "--output", "--overwrite"):
        assert word in error


# The output function ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("widths", "kind", "output"),
    [
        ([4, 1], "values", "identity"),
        ([4, 1], "two classes", "sigmoid"),
        ([4, 3], "three classes", "softmax"),
    ],
)
def test_a_file_that_does_not_say_its_output_gets_the_one_of_the_targets(tmp_path, widths, kind, output):
    saved(tmp_path / "model.npz", widths)
    arrays_of(tmp_path / "data.npz", kind)
    imported = read(tmp_path, tmp_path / "data.npz")
    assert imported.network.output.name == imported.task.output == output
    assert any(f"it is {output}, which the targets ask for" in note for note in imported.notes)
    assert output in "; ".join(imported.notes)


@pytest.mark.parametrize(("widths", "output"), [([2, 1], "sigmoid"), ([2, 2], "softmax")])
def test_two_classes_are_one_output_or_two_as_the_network_has_them(tmp_path, widths, output):
    saved(tmp_path / "model.npz", widths)
    table(tmp_path / "data.csv")
    imported = read(tmp_path, tmp_path / "data.csv", ["r"])
    assert imported.network.output.name == imported.task.output == output
    assert imported.task.y_test.shape == (5, widths[-1])


@pytest.mark.parametrize("ending", ["identity", "sigmoid"])
def test_without_data_the_output_is_the_one_asked_for_or_the_identity(tmp_path, ending):
    saved(tmp_path / "model.npz", [4, 1])
    assert read(tmp_path, ending=ending).network.output.name == ending
    assert read(tmp_path, ending=ending).notes == ()
    assumed = read(tmp_path)
    assert assumed.network.output.name == "identity"
    assert "identity is assumed" in assumed.notes[0]


def test_an_ending_overrules_what_integers_would_be(tmp_path):
    saved(tmp_path / "model.npz", [2, 1])
    table(tmp_path / "data.csv", label=lambda i: i % 3)
    assert "asks for softmax" not in refusal(read, tmp_path, tmp_path / "data.csv", ["r"])
    imported = read(tmp_path, tmp_path / "data.csv", ["r"], ending="identity")
    assert imported.task.classes == ()


@pytest.mark.parametrize(("said", "ending"), [("softmax", None), (None, "softmax")])
def test_an_output_that_the_data_cannot_have_is_refused(tmp_path, said, ending):
    saved(tmp_path / "model.npz", [4, 1], said)
    arrays_of(tmp_path / "data.npz")
    error = refusal(read, tmp_path, tmp_path / "data.npz", ending=ending)
    assert "ends in softmax, and the data asks for identity" in error
    assert ("--ending" in error) == (ending is not None)


# The data -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "widths"), [(["q"], [2, 1]), (["1"], [2, 1]), (["-2"], [2, 1]), (["p", "q"], [1, 2])]
)
def test_targets_of_a_table_are_names_or_positions(tmp_path, names, widths):
    saved(tmp_path / "model.npz", widths, "identity")
    table(tmp_path / "data.csv", label=lambda i: i % 5 + 0.5)
    task = read(tmp_path, tmp_path / "data.csv", names).task
    assert task.targets == (("p", "q") if len(names) > 1 else ("q",))


def test_a_configuration_gives_its_task_its_seed_and_its_output(tmp_path):
    saved(tmp_path / "model.npz", [2, 1])
    table(tmp_path / "data.csv", label=lambda i: i % 3)
    path = tmp_path / "given.yaml"
    path.write_text(
        "seed: 11\ntask: {kind: csv, path: data.csv, target: r, test_fraction: 0.4, standardize: false}\n"
        "network: {hidden: [9], output: identity}\n"
    )
    imported = read(tmp_path, path)
    expected = Experiment.load(path).task
    assert imported.task.X_train.tobytes() == expected.X_train.tobytes()
    assert imported.task.y_test.tobytes() == expected.y_test.tobytes()
    assert not any("standardised" in note for note in imported.notes)
    run = RunDirectory(tmp_path / "run")
    imported.write(run, overwrite=False)
    assert dump_config(run.config()).startswith("name: run\nseed: 11\n")
    assert Experiment.load(run / "config.yaml").task.X_train.tobytes() == expected.X_train.tobytes()


def test_data_that_is_standardised_unasked_is_said_to_be(tmp_path):
    saved(tmp_path / "model.npz", [2, 1])
    table(tmp_path / "data.csv")
    assert any("standardised" in note for note in read(tmp_path, tmp_path / "data.csv", ["r"]).notes)


# Whole or not at all ------------------------------------------------------------------------


def full_disk(*arguments, **options):
    raise OSError(28, "No space left on device", "a file")


@pytest.mark.parametrize("there", ["nothing", "an empty directory", "a run and a file"])
@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (imported_module, "write_npz"),
        (RunDirectory, "write_network"),
        (Imported, "_manifest"),
        ("sheafcli.runs.directory", "write_text"),
    ],
)
def test_an_import_that_fails_leaves_nothing_of_itself(tmp_path, monkeypatch, there, owner, name):
    saved(tmp_path / "model.npz", [4, 1])
    run = RunDirectory(tmp_path / "results" / "run")
    if there != "nothing":
        run.path.mkdir(parents=True)
    if there == "a run and a file":
        read(tmp_path).write(run, overwrite=False)
        (run / "mine.txt").write_text("mine")
    before = sorted(os.listdir(run.path)) if there != "nothing" else []
    imported = read(tmp_path, ending="sigmoid")
    if isinstance(owner, str):
        monkeypatch.setattr(f"{owner}.{name}", full_disk)
    else:
        monkeypatch.setattr(owner, name, full_disk)
    with pytest.raises((OSError, InputError)):
        imported.write(run, overwrite=True)
    if there == "nothing":
        assert not (tmp_path / "results").exists()
    elif there == "an empty directory":
        assert os.listdir(run.path) == []
    else:  # the run that was there stays until the new one has begun
        assert sorted(os.listdir(run.path)) == (before if isinstance(owner, str) else ["mine.txt"])


def test_a_configuration_that_cannot_be_written_leaves_no_manifest_either(tmp_path, monkeypatch):
    saved(tmp_path / "model.npz", [4, 1])
    write_text = directory_module.write_text
    monkeypatch.setattr(
        directory_module,
        "write_text",
        lambda path, text: full_disk() if path.name == "config.yaml" else write_text(path, text),
    )
    error = refusal(read(tmp_path).write, RunDirectory(tmp_path / "results" / "run"), overwrite=False)
    assert "No space left" in error
    assert not (tmp_path / "results").exists()


def test_a_directory_where_another_process_works_is_left_alone(tmp_path):
    saved(tmp_path / "model.npz", [4, 1])
    run = RunDirectory(tmp_path / "run")
    read(tmp_path).write(run, overwrite=False)
    before = {path.name: path.read_bytes() for path in run.path.iterdir()}
    descriptor = os.open(run.path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert "another process" in refusal(read(tmp_path, ending="sigmoid").write, run, overwrite=True)
    os.close(descriptor)
    assert {path.name: path.read_bytes() for path in run.path.iterdir()} == before


def test_importing_a_run_over_itself_reads_before_it_writes(tmp_path):
    saved(tmp_path / "model.npz", [4, 1], "sigmoid")
    run = RunDirectory(tmp_path / "run")
    read(tmp_path).write(run, overwrite=False)
    again = Imported.read(run / "imported.npz", run)
    again.write(run, overwrite=True)
    assert json.loads(Path(run / "manifest.json").read_text())["source"]["file"] == "imported.npz"
    assert run.network().output.name == "sigmoid"
