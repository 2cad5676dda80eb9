"""Targets against what each output function means by them: what fits is encoded, what does not is named."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheafcli.tasks.targets import encoded, inputs_of, targets_of

LABELS = np.array([2, 0, 1, 0, 2])


def read(y, output, n_outputs):
    return encoded(targets_of(np.asarray(y), "y"), output, n_outputs, "y")


@pytest.mark.parametrize("dtype", [bool, int, np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_0_and_1_of_any_type_are_the_targets_of_a_sigmoid(dtype, shape):
    y = np.array([0, 1, 1, 0], dtype=dtype).reshape(shape)
    np.testing.assert_array_equal(read(y, "sigmoid", 1), [[0.0], [1.0], [1.0], [0.0]])


@pytest.mark.parametrize("dtype", [bool, int, np.float32])
def test_one_hot_rows_are_taken_to_the_bit(dtype):
    np.testing.assert_array_equal(read(np.eye(3)[LABELS].astype(dtype), "softmax", 3), np.eye(3)[LABELS])


@pytest.mark.parametrize("dtype", [int, np.uint8, np.float64])
@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_class_numbers_become_one_hot(dtype, shape):
    np.testing.assert_array_equal(read(LABELS.astype(dtype).reshape(shape), "softmax", 3), np.eye(3)[LABELS])


@given(st.lists(st.lists(st.floats(0.001, 1e3), min_size=4, max_size=4), min_size=1, max_size=5))
def test_shares_in_single_precision_sum_to_one_in_double(rows):
    shares = np.array(rows) / np.sum(rows, axis=1, keepdims=True)
    found = read(shares.astype(np.float32), "softmax", 4)
    np.testing.assert_allclose(found, shares, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=0, atol=1e-15)


def test_a_regression_takes_any_number():
    np.testing.assert_array_equal(read([[-1, 255], [3, 4]], "identity", 2), [[-1.0, 255.0], [3.0, 4.0]])


@pytest.mark.parametrize(
    ("y", "output", "n_outputs", "words"),
    [
        (
            [-1, 1, 1],
            "sigmoid",
            1,
            "0 or 1 for output sigmoid; found -1 in sample 0: write -1 as 0$",
        ),
        ([1, 2, 1], "sigmoid", 1, "found 2 in sample 1: write 1 as 0 and 2 as 1$"),
        ([0, 0, 255], "sigmoid", 1, "found 255 in sample 2: write 255 as 1$"),
        ([0, 1, 2], "sigmoid", 1, "found 2 in sample 2: write 1 where the sample is of the class"),
        ([0.0, 0.5, 1.0], "sigmoid", 1, "found 0.5 in sample 1"),
        ([[0, 1], [1, -1]], "sigmoid", 2, "found -1 in sample 1"),
        (
            [[0, 1], [1, 0]],
            "sigmoid",
            1,
            r"y must have 1 column a sample for output sigmoid; got shape \(2, 2\)",
        ),
        ([0, 1], "sigmoid", 3, "y must have 3 columns a sample"),
        ([[1, 1, 0]], "softmax", 3, "sample 0 sums to 2: several labels a sample need output sigmoid"),
        ([[0, 1, 0], [0, 0, 0]], "softmax", 3, "sample 1 sums to 0"),
        ([[100, 0, 0]], "softmax", 3, "sample 0 sums to 100: divide each row by its sum"),
        ([[1.5, -0.5, 0]], "softmax", 3, "found -0.5 in sample 0"),
        ([[0.5, 0.5]], "softmax", 3, "3 columns or one class number, 0 to 2, a sample for output softmax"),
        ([0, 1, 3], "softmax", 3, "class numbers 0 to 2 or rows of 3 shares .* found 3 in sample 2"),
        ([1, -1], "softmax", 3, "found -1 in sample 1"),
        ([0, 0.5], "softmax", 3, "found 0.5 in sample 1"),
        ([[1.0, 2.0]], "identity", 1, "y must have 1 column a sample for output identity"),
    ],
)
def test_what_is_not_encoded_for_the_output_is_refused(y, output, n_outputs, words):
    with pytest.raises(ValueError, match=words):
        read(y, output, n_outputs)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.array([["a"]]), "y has dtype <U1"),
        (np.array([[1j]]), "y has dtype complex128"),
        (np.zeros((2, 2, 2, 2, 2, 2)), r"shape \(2, 2, 2, 2, 2, 2\)"),
        (np.zeros(()), r"shape \(\)"),
        (np.zeros((0, 1)), r"shape \(0, 1\); it must be .* not empty"),
        (np.array([[1.0], [np.nan]]), r"y\[1, 0\] is nan"),
    ],
)
@pytest.mark.parametrize("read_array", [inputs_of, targets_of])
def test_what_is_no_matrix_of_finite_numbers_is_refused(read_array, array, words):
    with pytest.raises(ValueError, match=words):
        read_array(array, "y")


def test_a_vector_is_one_column_of_targets_but_no_inputs():
    np.testing.assert_array_equal(targets_of(np.array([3, 4]), "y"), [[3.0], [4.0]])
    with pytest.raises(ValueError, match=r"X has shape \(2,\); it must be samples x features"):
        inputs_of(np.array([3, 4]), "X")
