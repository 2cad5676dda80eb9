"""Training real data ends clearly better than a constant; every experiment of the project is valid."""

import json
from pathlib import Path

import numpy as np
import pytest

from sheafcli.config import load_config, load_sweep
from sheafcli.runs import Experiment

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
ALL = sorted(EXPERIMENTS.rglob("*.yaml"))


def constant_losses(config: Path) -> tuple[float, float]:
    """Return the test loss of always predicting what is best on the training part, and the accuracy."""
    task = Experiment.prepare(load_config(config)).task
    mean = task.y_train.mean(axis=0)
    if task.output == "identity":
        return float(np.mean((task.y_test - mean) ** 2)), 0.0
    return -float(np.mean(task.y_test @ np.log(mean))), float(task.y_test.mean(axis=0).max())


@pytest.mark.parametrize(
    ("name", "length", "share"),
    [("diabetes", "training.time=60", 0.75), ("digits", "training.time=50", 0.4)],
)
def test_real_data_is_learned(sheaf, folder, name, length, share):
    config = EXPERIMENTS / f"{name}.yaml"
    outcome = sheaf("train", config, "--output", "run", "--set", length, "--set", "baseline=null")
    assert (outcome.code, outcome.err) == (0, "")
    final = json.loads(Path("run/manifest.json").read_text())["final"]
    loss, accuracy = constant_losses(config)
    assert final["test_loss"] < share * loss
    if name == "digits":
        assert accuracy < 0.2
        assert final["test_accuracy"] > 0.85
    diagnosis = sheaf("diagnose", "run", "--limit", 20, "--format", "json")
    assert diagnosis.code == 0
    assert sum(row["share"] for row in json.loads(diagnosis.out)["edges"]) == pytest.approx(1.0)


@pytest.mark.parametrize("path", ALL, ids=[str(path.relative_to(EXPERIMENTS)) for path in ALL])
def test_every_experiment_is_valid(sheaf, folder, path):
    given = ()
    if "handwriting.npz" in path.read_text(encoding="utf-8"):  # which `make images` writes
        X, y = np.ones((130, 784)), np.eye(10)[np.arange(130) % 10]
        np.savez("images.npz", X_train=X, y_train=y, X_test=X, y_test=y)
        given = ("task.path=images.npz",)
    outcome = sheaf("validate", path, *(word for each in given for word in ("--set", each)))
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines()[-1].startswith(f"{path}: valid. ")
    assert (load_sweep if "A sweep of" in outcome.out else load_config)(path, given).name == path.stem


def test_validating_writes_nothing_and_says_what_would_be_trained(sheaf, folder, read):
    before = read(folder)
    outcome = sheaf("validate", "small.yaml", "--set", "network.hidden=[7, 6]")
    assert outcome.out == (
        "small.yaml: valid. Task paraboloid: 40 training and 20 test samples; "
        "network [2, 7, 6, 1], output identity.\n"
    )
    assert read(folder) == before


@pytest.mark.parametrize(
    "kind", ["paraboloid", "saddle", "circular", "blobs", "csv", "npz", "digits", "diabetes", "breast_cancer"]
)
def test_what_init_writes_is_valid_once_its_data_is_there(sheaf, folder, kind):
    outcome = sheaf("init", "new.yaml", "--task", kind)
    assert (outcome.code, outcome.out) == (0, "wrote new.yaml; train it with: sheaf train new.yaml\n")
    assert "#" in (folder / "new.yaml").read_text()
    if kind == "csv":
        assert "data.csv" in sheaf("validate", "new.yaml").err
        (folder / "data.csv").write_text("x,y\n1,2.5\n2,3.5\n3,5.5\n4,6.5\n")
    if kind == "npz":
        arrays = {"X_train": np.ones((4, 2)), "y_train": np.arange(4.0)}
        np.savez(folder / "data.npz", **arrays, X_test=arrays["X_train"], y_test=arrays["y_train"])
    assert sheaf("validate", "new.yaml").code == 0


def test_init_writes_config_yaml_unless_told_otherwise(sheaf, folder):
    assert sheaf("init").code == 0
    assert load_config(folder / "config.yaml").task.kind == "paraboloid"


def test_the_version_is_told(sheaf):
    assert sheaf("--version").out == "sheafcli 0.1.0\n"


def test_a_loss_of_zero_ends_implicit_steps_and_is_told(sheaf, folder):
    X, y = np.array([[-1.0], [1.0]]), np.array([-1.0, 1.0])
    np.savez("line.npz", X_train=X, y_train=y, X_test=X, y_test=y)
    np.savez("start.npz", W1=np.zeros((1, 1)), b1=np.zeros(1), output="identity")
    Path("flat.yaml").write_text(
        "task: {kind: npz, path: line.npz}\nnetwork: {hidden: [], start: start.npz}\n"
        "training: {method: implicit}\n"
    )
    done = sheaf("train", "flat.yaml", "--output", "flat")
    assert done.code == 0
    manifest = json.loads(Path("flat/manifest.json").read_text())
    assert manifest["status"] == "finished"
    assert manifest["final"]["train_loss"] == 0.0
    step = manifest["final"]["step"]
    assert 0 < step < 1200
    words = f"training ended at step {step}: the training loss is exactly 0: nothing is left to learn"
    assert manifest["message"] == words
    assert done.err == f"flat: {words}\n"


@pytest.mark.parametrize("method", ["equilibrium", "implicit", "backprop"])
def test_where_inner_edges_agree_the_discord_shown_is_the_pinned_one_of_diagnose(sheaf, folder, method):
    trained = sheaf(
        "train", "small.yaml", "--output", "run", "--set", f"training={{method: {method}, steps: 20}}"
    )
    assert trained.code == 0
    assert not [path.name for path in Path("run/figures").iterdir() if path.stem in ("discord", "heat_map")]
    headline = "Pinned discord of 20 samples (test): input and true output pinned"
    told, _, tables = trained.out.partition("Discord by edge")
    assert headline in told
    assert tables.partition("\n\nRun directory")[0] in sheaf("diagnose", "run").out


def test_heat_training_shows_the_discord_of_its_stalks(sheaf, folder):
    trained = sheaf("train", "small.yaml", "--output", "run")
    assert "Pinned" not in trained.out
    assert {"discord.png", "heat_map.png"} <= {path.name for path in Path("run/figures").iterdir()}
