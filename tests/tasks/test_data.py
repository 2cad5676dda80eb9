"""TaskData refuses what does not fit together; the encodings are checked against their meaning."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheafcli.errors import InputError
from sheafcli.tasks.data import TaskData
from sheafcli.tasks.encoding import class_outputs, encode_classes, encoding_of
from sheafcli.tasks.specification import choose_output


def regression():
    return TaskData(
        X_train=np.arange(6.0).reshape(3, 2),
        y_train=np.arange(3.0)[:, None] / 2,
        X_test=np.ones((1, 2)),
        y_test=np.ones((1, 1)),
        output="identity",
        features=("a", "b"),
        targets=("t",),
        classes=(),
    )


def test_sizes():
    task = regression()
    assert (task.n_train, task.n_features, task.n_outputs) == (3, 2, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"X_train": np.full((3, 2), np.nan)},
        {"y_test": np.full((1, 1), np.inf)},
        {"X_train": np.ones((3, 2), dtype=np.float32)},
        {"y_train": np.ones(3)},
        {"X_test": np.ones((0, 2)), "y_test": np.ones((0, 1))},
        {"X_train": np.ones((4, 2))},
        {"y_test": np.ones((2, 1))},
        {"X_test": np.ones((1, 3))},
        {"y_test": np.ones((1, 2))},
        {"features": ("a",)},
        {"targets": ("t", "u")},
        {"classes": ("no", "yes")},
        {"output": "sigmoid"},
        {"output": "softmax"},
        {"output": "sigmoid", "classes": ("no", "yes")},  # the targets are not 0 and 1
    ],
)
def test_what_does_not_fit_is_refused(change):
    with pytest.raises(ValueError, match=r"."):
        replace(regression(), **change)


def test_classes_must_be_encoded_for_the_output():
    one_hot = np.eye(3)
    task = replace(
        regression(),
        y_train=one_hot,
        y_test=one_hot[:1],
        output="softmax",
        classes=("p", "q", "r"),
    )
    assert task.n_outputs == 3
    with pytest.raises(ValueError, match="not encoded for output softmax"):
        replace(task, y_train=np.ones((3, 3)))
    with pytest.raises(ValueError, match="do not agree"):
        replace(task, classes=("p", "q"))


@given(st.integers(2, 6).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.integers(0, n - 1)))))
def test_labels_can_be_read_off_their_encodings(case):
    n_classes, labels = case[0], np.array(case[1], dtype=np.intp)
    one_hot = encode_classes(labels, n_classes, "softmax")
    assert one_hot.shape == (len(labels), n_classes)
    np.testing.assert_array_equal(one_hot.sum(axis=1), 1)
    np.testing.assert_array_equal(one_hot.argmax(axis=1), labels)
    assert encoding_of(one_hot) == "softmax"
    if n_classes == 2:
        column = encode_classes(labels, 2, "sigmoid")
        assert column.shape == (len(labels), 1)
        np.testing.assert_array_equal(column[:, 0], labels)
        assert encoding_of(column) == "sigmoid"


@pytest.mark.parametrize("y", [[[0.5]], [[2.0]], [[1.0, 1.0]], [[0.0, 0.0]], [[0.5, 0.5]], [[2.0, -1.0]]])
def test_other_targets_are_quantities(y):
    assert encoding_of(np.array(y)) == "identity"


def test_which_outputs_fit_classes():
    assert class_outputs(2) == ("sigmoid", "softmax")
    assert class_outputs(3) == ("softmax",)


def test_an_output_is_the_first_fitting_or_the_one_asked_for():
    assert choose_output(None, ("softmax", "identity"), "this") == "softmax"
    assert choose_output("identity", ("softmax", "identity"), "this") == "identity"
    with pytest.raises(InputError, match="'relu' does not fit three classes; allowed: softmax, identity"):
        choose_output("relu", ("softmax", "identity"), "three classes")
