"""npz tasks: the golden files as they stand, and every way an array can be wrong."""

from pathlib import Path

import numpy as np
import pytest

from sheafcli.errors import InputError
from sheafcli.tasks.arrays import NpzArrays

GOLDEN = Path(__file__).parents[1] / "golden"
SEED = np.random.SeedSequence(0)


@pytest.mark.parametrize(
    ("name", "output", "n_classes"),
    [
        ("paraboloid", "identity", 0),
        ("saddle", "identity", 0),
        ("circular", "sigmoid", 2),
        ("blobs", "softmax", 4),
    ],
)
def test_golden_tasks(name, output, n_classes):
    path = GOLDEN / f"tasks_{name}.npz"
    task = NpzArrays(path=path).load(SEED, None)
    assert (task.output, len(task.classes)) == (output, n_classes)
    with np.load(path) as golden:
        for key in golden.files:
            np.testing.assert_array_equal(getattr(task, key), golden[key])


def arrays(**changes):
    generator = np.random.default_rng(0)
    found = {
        "X_train": generator.normal(size=(5, 3)),
        "y_train": generator.normal(size=(5, 2)),
        "X_test": generator.normal(size=(4, 3)),
        "y_test": generator.normal(size=(4, 2)),
    }
    found.update(changes)
    return {key: value for key, value in found.items() if value is not None}


def load(tmp_path, output=None, **changes):
    path = tmp_path / "task.npz"
    np.savez(path, **arrays(**changes))
    return NpzArrays(path=path).load(SEED, output)


def test_names_and_other_dtypes(tmp_path):
    task = load(tmp_path, X_train=np.arange(15).reshape(5, 3), X_test=np.ones((4, 3), np.float32))
    assert task.X_train.dtype == task.X_test.dtype == np.float64
    assert task.features == ("x1", "x2", "x3")
    assert task.targets == ("y1", "y2")


def test_a_vector_of_targets_is_one_column(tmp_path):
    y_train = np.array([True, False, True, True, False])
    task = load(tmp_path, y_train=y_train, y_test=np.array([[0], [1], [1], [0]]))
    np.testing.assert_array_equal(task.y_train, [[1], [0], [1], [1], [0]])
    assert (task.output, task.classes) == ("sigmoid", ("0", "1"))


def test_classes_may_be_taken_as_quantities(tmp_path):
    codes = {"y_train": np.eye(2)[[0, 1, 0, 1, 0]], "y_test": np.eye(2)[[0, 0, 1, 1]]}
    assert load(tmp_path, **codes).classes == ("0", "1")
    task = load(tmp_path, "identity", **codes)
    assert (task.output, task.targets, task.classes) == ("identity", ("y1", "y2"), ())
    with pytest.raises(InputError, match=r"'sigmoid' does not fit .* allowed: softmax, identity"):
        load(tmp_path, "sigmoid", **codes)


def test_both_parts_must_be_encoded_alike(tmp_path):
    codes = {"y_train": np.array([0, 1, 0, 1, 1]), "y_test": np.array([0, 1, 2, 0])}
    with pytest.raises(InputError, match="y_train is encoded for output sigmoid and y_test is not"):
        load(tmp_path, **codes)
    assert load(tmp_path, "identity", **codes).output == "identity"
    # A small test part of a regression may hold nothing but 0 and 1.
    task = load(tmp_path, y_train=np.array([0, 1, 2, 3, 4]), y_test=np.array([0, 1, 1, 0]))
    assert task.output == "identity"


def with_bad(shape, index, value):
    array = np.ones(shape)
    array[index] = value
    return array


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"X_train": None, "x_train": np.ones(2)},
            r"no X_train among .*x_train.*; needed: X_train",
        ),
        ({"X_train": np.ones(5)}, r"X_train has shape \(5,\); it must be samples x features"),
        ({"y_train": np.ones((5, 2, 1))}, r"y_train has shape \(5, 2, 1\)"),
        ({"X_test": np.ones((0, 3))}, r"X_test has shape \(0, 3\)"),
        ({"X_test": np.ones((4, 2))}, "X_train has 3 features and X_test has 2"),
        ({"y_test": np.ones((4, 1))}, "y_train has 2 outputs and y_test has 1"),
        ({"y_train": np.ones((6, 2))}, "X_train has 5 samples and y_train has 6"),
        ({"y_test": np.ones(5)}, "X_test has 4 samples and y_test has 5"),
        ({"X_test": with_bad((4, 3), (2, 1), np.nan)}, r"X_test\[2, 1\] is nan"),
        ({"y_train": with_bad((5, 2), (3, 0), -np.inf)}, r"y_train\[3, 0\] is -inf"),
        ({"X_train": np.full((5, 3), "1.0")}, "X_train has dtype <U3"),
        ({"X_train": np.ones((5, 3), complex)}, "X_train has dtype complex128"),
        ({"X_train": np.full((5, 3), np.longdouble("1e4000"))}, r"X_train\[0, 0\] is inf"),
        ({"y_test": np.array([["a"], [None]], dtype=object)}, "'y_test' holds Python objects"),
    ],
)
def test_wrong_arrays(tmp_path, changes, message):
    with pytest.raises(InputError, match=message) as caught:
        load(tmp_path, **changes)
    assert caught.value.path == tmp_path / "task.npz"
