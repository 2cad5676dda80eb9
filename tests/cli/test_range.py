"""Numbers out of range, through the commands: refused where they enter, or carried through without a word.

Warnings are errors here, as in all tests.
"""

from pathlib import Path

import numpy as np
import pytest

ROWS = 20
METHODS = {
    "heat": "training: {method: heat, steps: 12, log_every: 4}\n",
    "equilibrium": "training: {method: equilibrium, epochs: 4, log_every: 1}\n",
    "implicit": "training: {method: implicit, steps: 8, log_every: 4}\n",
    "strained": "training: {method: implicit, steps: 8, log_every: 4, kappa: 1.0, weight_decay: 0.1}\n",
    "backprop": "training: {method: backprop, epochs: 4, log_every: 1}\n",
}


def write(method, scale=1.0, weight=1.0, *, outlier=None, dtype=np.float64):
    """Write data, start weights and a configuration c.yaml, of numbers of such a size."""
    rng = np.random.default_rng(0)
    X, X_test = (rng.normal(size=(n, 2)).astype(dtype) * dtype(scale) for n in (ROWS, ROWS // 2))
    if outlier is not None:
        X[3, 1] = outlier
    y, y_test = rng.normal(size=(ROWS, 1)), rng.normal(size=(ROWS // 2, 1))
    np.savez("data.npz", X_train=X, y_train=y, X_test=X_test, y_test=y_test)
    np.savez("samples.npz", X=X, y=y)
    shapes = [(3, 2), (3, 3), (1, 3)]
    arrays = {f"W{i}": rng.normal(size=shape) * weight for i, shape in enumerate(shapes, start=1)}
    np.savez("start.npz", output="identity", **arrays)
    task = "task: {kind: npz, path: data.npz}\nnetwork: {hidden: [3, 3], start: start.npz}\n"
    Path("c.yaml").write_text(task + METHODS[method])


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("heat", {"scale": 1e50}),
        ("heat", {"weight": 1e8}),
        ("equilibrium", {"scale": 1e-60}),
        ("implicit", {"scale": 1e-60}),
        ("implicit", {"scale": 1e50}),
        ("implicit", {"outlier": 1e60}),
        ("strained", {"weight": 1e8}),
        ("backprop", {"outlier": 1e60}),
    ],
)
def test_every_command_carries_numbers_in_range_through(sheaf, method, options):
    write(method, **options)
    assert sheaf("validate", "c.yaml").code == 0
    trained = sheaf("train", "c.yaml", "--output", "run")
    assert trained.code == 0 or (trained.code == 1 and "diverged" in trained.err)
    commands = [[name, "run"] for name in ("diagnose", "spectrum", "diffuse", "compare", "report")]
    for command in [*commands, ["diagnose", "run", "--data", "samples.npz"]]:
        done = sheaf(*command)
        assert done.code in (0, 1), (command, done)
        assert "Traceback" not in done.err
    for path in Path("run").glob("*.csv"):
        cells = path.read_text().lower().replace("\n", ",").split(",")
        assert not {"inf", "-inf", "nan"} & set(cells), path


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"scale": 1e100}, "data.npz: X_train[0, 0] is 1.2573e+99, beyond 1e+70: squares"),
        ({"scale": 1e300}, "data.npz: X_train[0, 0] is 1.2573e+299, beyond 1e+70"),
        ({"outlier": -1e155}, "data.npz: X_train[3, 1] is -1e+155, beyond 1e+70"),
        ({"scale": np.longdouble("1e4000"), "dtype": np.longdouble}, "data.npz: X_train[0, 0] is inf"),
        ({"weight": 1e50}, "start.npz: numbers of up to 5e+300 arise"),
        ({"scale": 1e-300}, "start.npz: all inputs are at most"),
        ({"weight": 1e-160}, "start.npz: all entries of W1 are at most"),
        ({"weight": 1e300}, "start.npz: W1 holds"),
        ({"scale": 1e40, "weight": 1e20}, "overflow (an input is"),
    ],
)
def test_what_cannot_be_carried_is_refused_where_it_enters(sheaf, folder, options, words):
    write("heat", **options)
    for command in ("validate", "train", "verify", "diffuse"):
        done = sheaf(command, "c.yaml")
        assert (done.code, done.out) == (2, "")
        assert words in done.err
    assert not (folder / "results").exists()


@pytest.mark.parametrize("name", ["X", "y"])
def test_samples_of_a_diagnosis_are_refused_too(run, refused, name):
    arrays = {"X": np.zeros((6, 2)), "y": np.zeros((6, 1))}
    arrays[name][4, 0] = 1e155
    np.savez("samples.npz", **arrays)
    refused("diagnose", run, "--data", "samples.npz", words=f"samples.npz: {name}[4, 0] is 1e+155, beyond")


def test_a_run_whose_weights_grew_out_of_range_is_refused(run, refused):
    arrays = dict(np.load(run / "network.npz"))
    arrays["W2"] = arrays["W2"] * 1e120
    np.savez(run / "network.npz", **arrays)
    for command in ("diagnose", "spectrum", "verify", "diffuse"):
        refused(command, run, words="network.npz: W2 holds")


def test_start_cochain_out_of_range_are_refused(folder, sheaf):
    np.savez("stalks.npz", z1=np.full((40, 5), 1e80), a1=np.zeros((40, 5)), z2=np.zeros((40, 1)))
    done = sheaf("validate", "small.yaml", "--set", "training.stalks=stalks.npz")
    assert done.code == 2
    assert "stalks.npz: stalk z1[0, 0] is 1e+80, beyond 1e+70" in done.err
