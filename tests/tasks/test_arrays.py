"""npz tasks: the golden files as they stand, and every way an array can be wrong."""

import re
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
    task = load(tmp_path, "sigmoid", **codes)  # as labels, of which every sample happens to have one
    assert (task.targets, task.classes) == (("y1", "y2"), ("0", "1"))


def test_both_parts_must_be_encoded_alike(tmp_path):
    codes = {"y_train": np.array([0.0, 1, 0, 1, 1]), "y_test": np.array([0.0, 1, 2, 0])}
    with pytest.raises(InputError, match="y_train is encoded for output sigmoid and y_test is not"):
        load(tmp_path, **codes)
    assert load(tmp_path, "identity", **codes).output == "identity"
    # A small test part of a regression may hold nothing but 0 and 1.
    task = load(tmp_path, y_train=np.array([0, 1, 2, 3, 4]), y_test=np.array([0, 1, 1, 0]))
    assert task.output == "identity"


LABELS = {"y_train": [[1, 1, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0], [1, 1, 1]], "y_test": [[1, 0, 0]] * 4}


@pytest.mark.parametrize("dtype", [int, float, bool, np.uint8])
def test_several_columns_of_0_and_1_are_labels_when_asked_for(tmp_path, dtype):
    labels = {key: np.array(rows, dtype=dtype) for key, rows in LABELS.items()}
    task = load(tmp_path, "sigmoid", **labels)
    assert (task.output, task.targets, task.classes) == ("sigmoid", ("y1", "y2", "y3"), ("0", "1"))
    np.testing.assert_array_equal(task.y_train, LABELS["y_train"])
    assert task.notes == ()
    unasked = load(tmp_path, **labels)
    assert unasked.output == "identity"
    assert "the 3 columns of y are 0 and 1" in unasked.notes[0]
    assert "output: sigmoid" in unasked.notes[0]


@pytest.mark.parametrize("dtype", [int, float, np.uint8])
@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_class_numbers_are_classes_when_asked_for(tmp_path, dtype, shape):
    numbers = {"y_train": [2, 0, 1, 0, 2], "y_test": [0, 3, 0, 1]}  # a class of the test part alone
    codes = {key: np.array(values, dtype=dtype).reshape(shape) for key, values in numbers.items()}
    task = load(tmp_path, "softmax", **codes)
    assert (task.output, task.targets, task.classes) == ("softmax", ("class",), ("0", "1", "2", "3"))
    np.testing.assert_array_equal(task.y_train, np.eye(4)[numbers["y_train"]])
    np.testing.assert_array_equal(task.y_test, np.eye(4)[numbers["y_test"]])
    assert task.notes == ()


def test_two_classes_may_be_two_outputs(tmp_path):
    task = load(tmp_path, "softmax", y_train=np.array([0, 1, 0, 1, 1]), y_test=np.array([False] * 4))
    np.testing.assert_array_equal(task.y_train, np.eye(2)[[0, 1, 0, 1, 1]])
    np.testing.assert_array_equal(task.y_test, np.eye(2)[[0, 0, 0, 0]])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([0, 1, 2], "whole numbers from 0 to 2 and is read as a quantity; .* set output: softmax"),
        ([-1, 1], "one of -1, 1 and is read as a quantity; .* two classes are 0 and 1"),
        ([1, 2], "one of 1, 2 and is read as a quantity"),
        ([0, 255], "one of 0, 255 and is read as a quantity"),
        ([1, 2, 3], "one of 1, 2, 3 and is read as a quantity"),
        ([0.5, 1.5], None),
        (range(10), None),  # as many values as samples
        (range(-30, 30), None),
    ],
)
def test_a_regression_of_what_may_be_classes_is_said_to_be_one(tmp_path, values, words):
    y_train = np.resize(np.array(values, dtype=float), max(10, len(values)))
    rows = {"X_train": np.ones((len(y_train), 3)), "y_train": y_train, "y_test": y_train[:4]}
    task = load(tmp_path, **rows)
    assert task.output == "identity"
    if words is None:
        assert task.notes == ()
    else:
        assert re.search(words, *task.notes)
    assert load(tmp_path, "identity", **rows).notes == ()


@pytest.mark.parametrize("dtype", [int, np.uint8, np.int16])
@pytest.mark.parametrize("values", [[0, 1, 2], [1, 2], [3, 5, 9, 100]])
def test_whole_numbers_of_an_integer_type_are_classes_which_is_said(tmp_path, dtype, values):
    y_train, y_test = np.resize(np.array(values, dtype=dtype), 10), np.array(values, dtype=dtype)
    rows = {"X_train": np.ones((10, 3)), "X_test": np.ones((len(values), 3))}
    task = load(tmp_path, y_train=y_train, y_test=y_test, **rows)
    assert task.classes == tuple(map(str, values))
    assert task.output == ("sigmoid" if len(values) == 2 else "softmax")
    assert task.preprocessing.target.labels(task.y_test) == list(map(str, values))
    (note,) = task.notes
    assert f"{len(values)} of them from {values[0]} to {values[-1]}: read as classes" in note
    assert load(tmp_path, "identity", y_train=y_train, y_test=y_test, **rows).classes == ()


def test_many_whole_numbers_are_a_quantity(tmp_path):
    rows = {"X_train": np.ones((60, 3)), "y_train": np.arange(60), "y_test": np.arange(4)}
    assert load(tmp_path, **rows).output == "identity"


def test_a_validation_part_may_stand_beside_the_others(tmp_path):
    held = {"X_validation": np.full((2, 3), 7.0), "y_validation": np.full((2, 2), 8.0)}
    task = load(tmp_path, **held)
    np.testing.assert_array_equal(task.X_validation, held["X_validation"])
    np.testing.assert_array_equal(task.y_validation, held["y_validation"])
    with pytest.raises(InputError, match="belong together"):
        load(tmp_path, X_validation=np.ones((2, 3)))
    with pytest.raises(InputError, match="X_train has 3 features and X_validation has 2"):
        load(tmp_path, X_validation=np.ones((2, 2)), y_validation=np.ones((2, 2)))


def test_rows_of_shares_are_classes_when_asked_for(tmp_path):
    shares = np.array([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7], [0, 0, 1], [1 / 3] * 3, [0.9, 0.1, 0.0]])
    single = {"y_train": shares.astype(np.float32), "y_test": shares[:4].astype(np.float32)}
    task = load(tmp_path, "softmax", **single)
    assert task.classes == ("0", "1", "2")
    np.testing.assert_allclose(task.y_train, shares, atol=1e-7)
    np.testing.assert_allclose(task.y_train.sum(axis=1), 1.0, rtol=0, atol=1e-15)
    assert load(tmp_path, **single).output == "identity"


@pytest.mark.parametrize("output", [None, "identity", "sigmoid", "softmax"])
@pytest.mark.parametrize("y", [np.zeros(5), np.ones(5, dtype=int), np.eye(3)[[1] * 5]])
def test_targets_that_are_all_the_same_leave_nothing_to_predict(tmp_path, y, output):
    with pytest.raises(InputError, match="there is nothing to predict"):
        load(tmp_path, output, y_train=y, y_test=y[:4])


def test_a_target_among_others_that_does_not_vary_is_told(tmp_path):
    y_train = np.array([[0, 1, 7.5], [1, 1, 7.5], [0, 1, 7.5], [1, 1, 7.5], [1, 1, 7.5]])
    note = load(tmp_path, y_train=y_train, y_test=y_train[:4]).notes[0]
    assert "y2, y3 of y_train is the same" in note


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
        ({"y_train": np.array(1)}, r"y_train has shape \(\); it must be samples x outputs"),
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
        (
            {"y_train": np.array([1, 2]), "y_test": np.array([1, 2])},
            "X_train has 5 samples and y_train has 2",
        ),
        ({"y_test": np.array([["a"], [None]], dtype=object)}, "'y_test' holds Python objects"),
    ],
)
def test_wrong_arrays(tmp_path, changes, message):
    with pytest.raises(InputError, match=message) as caught:
        load(tmp_path, **changes)
    assert caught.value.path == tmp_path / "task.npz"


def images(*shape):
    return {"X_train": np.arange(5.0 * np.prod(shape)).reshape(5, *shape), "X_test": np.ones((4, *shape))}


@pytest.mark.parametrize(
    ("shape", "read_as"),
    [((2, 3), (1, 2, 3)), ((3, 2, 4), (3, 2, 4)), ((1, 2, 2, 2), (1, 2, 2, 2)), ((3,), (3,))],
)
def test_images_are_flattened_and_their_shape_is_kept(tmp_path, shape, read_as):
    task = load(tmp_path, **images(*shape))
    assert task.shape == read_as
    np.testing.assert_array_equal(
        task.X_train.reshape(5, *read_as), images(*shape)["X_train"].reshape(5, *read_as)
    )
    assert task.n_features == np.prod(shape)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((6, 7), "samples x 6 x 7 and is read as images of one channel"),
        ((6, 6, 3), "samples x 6 x 6 x 3 and is read as images of 6 channels; if the channels come last"),
    ],
)
def test_images_that_could_be_read_otherwise_are_said_aloud(tmp_path, shape, said):
    assert said in load(tmp_path, **images(*shape)).notes[0]


@pytest.mark.parametrize("shape", [(3, 6, 6), (3,)])
def test_images_that_could_not_are_not(tmp_path, shape):
    assert load(tmp_path, **images(*shape)).notes == ()


def test_parts_of_two_shapes_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"X_train have the shape \(1, 2, 6\), of X_test \(1, 3, 4\)"):
        load(tmp_path, X_train=np.ones((5, 2, 6)), X_test=np.ones((4, 3, 4)))


def test_labels_of_images_may_be_whole_numbers(tmp_path):
    labels = {"y_train": np.array([0, 2, 1, 0, 1]), "y_test": np.array([0, 1, 2, 2])}
    task = load(tmp_path, "softmax", **images(2, 2), **labels)
    np.testing.assert_array_equal(np.argmax(task.y_train, axis=1), labels["y_train"])
