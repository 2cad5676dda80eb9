"""Targets as people have them, through the commands: oracles are scikit-learn's score and one-hot rows."""

import json

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from sheafcli.core.chain.network import Network
from sheafcli.interop.networks import network_arrays

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3))
LABELS = (X + RNG.normal(size=(60, 3)) > 0).astype(int)
NUMBERS = np.digitize(X[:, 0], [-0.5, 0.5])


@pytest.fixture
def of_arrays(folder):
    """Write y as an npz task, and a configuration that trains on it with an output."""

    def of_arrays(y, output):
        np.savez("data.npz", X_train=X[:40], y_train=y[:40], X_test=X[40:], y_test=y[40:])
        (folder / "given.yaml").write_text(
            "task: {kind: npz, path: data.npz}\n"
            f"network: {{hidden: [6], output: {output}}}\n"
            "training: {method: equilibrium, epochs: 20, log_every: 20}\n"
        )
        return "given.yaml"

    return of_arrays


@pytest.fixture
def imported(sheaf):
    """Import a network of an output, as a run named out."""

    def imported(output, n_outputs):
        network = Network.he([3, 6, n_outputs], output, 0)
        np.savez("net.npz", **network_arrays(network))
        assert sheaf("import", "net.npz", "--output", "out").code == 0
        return network

    return imported


def test_several_labels_a_sample_go_through_every_command(sheaf, folder, of_arrays):
    config = of_arrays(LABELS, "sigmoid")
    assert "network [3, 6, 3], output sigmoid" in sheaf("validate", config).out
    assert sheaf("train", config, "--output", "run").code == 0
    final = json.loads((folder / "run" / "manifest.json").read_text())["final"]
    with np.load("run/network.npz") as w:
        z = np.maximum(X @ w["W1"].T + w["b1"], 0.0) @ w["W2"].T + w["b2"]
    for part, rows in (("train", slice(40)), ("test", slice(40, None))):
        # scikit-learn's score of labels: the share of samples that have all of them right
        assert final[f"{part}_accuracy"] == pytest.approx(accuracy_score(LABELS[rows], z[rows] > 0.0))
    for command in ("diagnose", "verify", "spectrum", "report", "compare"):
        outcome = sheaf(command, "run")
        assert (outcome.code, outcome.err) == (0, "")


def test_what_may_be_classes_is_said_before_it_is_trained_as_a_quantity(sheaf, of_arrays):
    config = of_arrays(NUMBERS.astype(float), "null")
    for arguments in (("validate", config), ("train", config, "--output", "run", "--quiet")):
        outcome = sheaf(*arguments)
        assert outcome.code == 0
        assert outcome.err.startswith("note: y is whole numbers from 0 to 2 and is read as a quantity")
        assert "output: softmax" in outcome.err
    outcome = sheaf("validate", config, "--set", "network.output=softmax")
    assert outcome.err == ""
    assert "network [3, 6, 3], output softmax" in outcome.out


@pytest.mark.parametrize("form", [np.eye(3, dtype=bool)[NUMBERS], NUMBERS, NUMBERS[:, None].astype(np.uint8)])
def test_classes_are_diagnosed_alike_in_every_form(sheaf, imported, form):
    imported("softmax", 3)
    np.savez("one_hot.npz", X=X, y=np.eye(3)[NUMBERS])
    np.savez("given.npz", X=X, y=form)
    expected, found = (
        sheaf("diagnose", "out", "--data", f"{name}.npz", "--format", "csv") for name in ("one_hot", "given")
    )
    assert expected.code == 0
    assert found.out == expected.out


@pytest.mark.parametrize(
    ("output", "y", "words"),
    [
        ("sigmoid", 2 * LABELS[:, 0] - 1, "found -1"),
        ("sigmoid", LABELS[:, 0] + 1, "found 2"),
        ("sigmoid", (255 * LABELS[:, 0]).astype(np.uint8), "found 255"),
        ("softmax", LABELS, "rows of shares that sum to 1"),
        ("softmax", 100 * np.eye(3)[NUMBERS], "sums to 100"),
        ("softmax", NUMBERS + 1, "found 3"),
    ],
)
def test_labels_that_are_not_encoded_for_the_output_are_refused(imported, refused, output, y, words):
    imported(output, 1 if output == "sigmoid" else 3)
    np.savez("given.npz", X=X, y=y)
    error = refused("diagnose", "out", "--data", "given.npz", words=words)
    assert "given.npz: y must be" in error
