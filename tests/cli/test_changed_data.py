"""A run whose data is not what it was: refused where it would go on, told where it is looked at."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
CONFIG = """\
task: {kind: csv, path: data.csv, target: y}
network: {hidden: [4]}
training: {method: equilibrium, epochs: 20, log_every: 10}
"""


@pytest.fixture
def trained(sheaf, folder):
    """A finished run of a table, named run."""
    rows = (",".join(map(repr, [*x, sum(x)])) for x in X.tolist())
    (folder / "data.csv").write_text("\n".join(["a,b,c,y", *rows]) + "\n")
    (folder / "given.yaml").write_text(CONFIG)
    assert sheaf("train", "given.yaml", "--output", "run", "--quiet").code == 0
    return folder


def change(folder):
    path = folder / "data.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *lines[2:], lines[1]]) + "\n")  # the same rows in another order


def manifest(folder):
    return json.loads((folder / "run" / "manifest.json").read_text())


def interrupted(folder):
    (folder / "run" / "manifest.json").write_text(json.dumps(manifest(folder) | {"status": "interrupted"}))


def test_the_manifest_has_the_hash_of_the_data(trained):
    expected = hashlib.sha256((trained / "data.csv").read_bytes()).hexdigest()
    assert manifest(trained)["data"] == {"task.path": expected}


def test_resuming_with_other_data_is_refused(trained, sheaf):
    interrupted(trained)
    before = manifest(trained)
    change(trained)
    outcome = sheaf("train", "given.yaml", "--output", "run", "--resume", "--quiet")
    assert outcome.code == 2
    for word in ("data.csv", "the run in run", "has changed since the run began", "--overwrite"):
        assert word in outcome.err
    assert manifest(trained) == before
    assert sheaf("train", "given.yaml", "--output", "run", "--overwrite", "--quiet").code == 0
    assert manifest(trained)["data"] != before["data"]


def test_resuming_with_the_same_data_goes_on(trained, sheaf):
    interrupted(trained)
    (trained / "data.csv").touch()
    assert sheaf("train", "given.yaml", "--output", "run", "--resume", "--quiet").code == 0
    assert manifest(trained)["status"] == "finished"


@pytest.mark.parametrize("key", ["network.start", "training.stalks"])
def test_other_files_that_a_run_starts_from_are_watched_too(trained, sheaf, key):
    def write(seed):
        generator = np.random.default_rng(seed)
        if key == "network.start":
            shapes = {"W1": (4, 3), "b1": (4,), "W2": (1, 4), "b2": (1,)}
        else:
            shapes = {"z1": (30, 4), "a1": (30, 4), "z2": (30, 1)}
        np.savez("start.npz", **{name: generator.normal(size=shape) for name, shape in shapes.items()})

    write(1)
    text = CONFIG.replace("method: equilibrium, epochs: 20", "steps: 20")
    (trained / "given.yaml").write_text(text)
    given = ("train", "given.yaml", "--set", f"{key}=start.npz", "--output", "run", "--quiet")
    assert sheaf(*given, "--overwrite").code == 0
    interrupted(trained)
    write(2)
    outcome = sheaf(*given, "--resume")
    assert outcome.code == 2
    assert f"start.npz: the file ({key}) has changed" in outcome.err


@pytest.mark.parametrize(
    "command",
    [
        ("diagnose", "run"),
        ("diagnose", "run", "--data", "train"),
        ("verify", "run"),
        ("spectrum", "run"),
        ("diffuse", "run"),
        ("report", "run"),
        ("train", "given.yaml", "--output", "run", "--resume"),
    ],
)
def test_looking_at_other_data_is_told(trained, sheaf, command):
    assert "changed" not in sheaf(*command).err
    change(trained)
    outcome = sheaf(*command)
    assert outcome.code == 0
    assert "data.csv: the data has changed since the run began" in outcome.err


def test_an_imported_run_knows_its_data_too(trained, sheaf):
    arrays = {"W1": RNG.normal(size=(4, 3)), "W2": RNG.normal(size=(1, 4)), "output": "identity"}
    np.savez("net.npz", **arrays)
    assert sheaf("import", "net.npz", "--data", "data.csv", "--target", "y", "--output", "run2").code == 0
    change(trained)
    assert "the data has changed" in sheaf("diagnose", "run2").err


def test_a_run_of_an_earlier_version_says_nothing(trained, sheaf):
    told = manifest(trained)
    del told["data"]
    (trained / "run" / "manifest.json").write_text(json.dumps(told))
    change(trained)
    assert sheaf("diagnose", "run").err == ""


@pytest.mark.parametrize("command", ["diagnose", "verify", "spectrum", "diffuse"])
def test_data_that_is_gone_is_said_to_be_with_what_to_do(trained, refused, command):
    Path("data.csv").unlink()
    error = refused(command, "run", words="the data of the run in run is gone")
    for word in ("data.csv", "task.path of run/config.yaml", "--data FILE.npz"):
        assert word in error


def test_other_samples_are_diagnosed_when_the_data_is_gone(trained, sheaf):
    np.savez("mine.npz", X=X, y=X.sum(axis=1))
    expected = sheaf("diagnose", "run", "--data", "mine.npz", "--format", "csv")
    Path("data.csv").unlink()
    outcome = sheaf("diagnose", "run", "--data", "mine.npz", "--format", "csv")
    assert (outcome.code, outcome.out) == (0, expected.out)


def test_data_of_another_width_is_said_to_have_changed(trained, refused):
    header, *rows = (trained / "data.csv").read_text().splitlines()
    wider = [f"{number % 7},{row}" for number, row in enumerate(rows)]
    (trained / "data.csv").write_text("\n".join([f"d,{header}", *wider]) + "\n")
    for command in (("predict", "run"), ("infer", "run", "--target", "1.0", "--row", 5)):
        told = refused(*command, words="has changed since the run began")
        assert "the network has 3 inputs" in told
