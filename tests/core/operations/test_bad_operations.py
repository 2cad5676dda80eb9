"""What operations refuse, and what they say."""

import numpy as np
import pytest

from sheafcli.core.operations import (
    Add,
    AveragePooling,
    BatchNormalization,
    Clip,
    Concatenate,
    Convolution,
    Dense,
    HardSigmoid,
    LayerNormalization,
    MatrixProduct,
    MaxPooling,
    Mean,
    Multiply,
    Pad,
    PReLU,
    Reshape,
    Scale,
    Slice,
    Softmax,
    Softplus,
    Subtract,
    Transpose,
    Upsample,
)

ONE = np.ones
KERNEL = Convolution(ONE((1, 2, 3, 3)))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Dense(ONE(3)), r"weight must be outputs x inputs, got shape \(3,\)"),
        (lambda: Dense(ONE((2, 3)), ONE(3)), r"bias must have shape \(2,\), got \(3,\)"),
        (lambda: Dense(np.array([[np.nan]])), "weight must be finite"),
        (lambda: Dense(np.array([["a"]])), "weight must be an array of real numbers"),
        (lambda: Dense(np.zeros((0, 3))), "weight must be an array of real numbers"),
        (lambda: Dense(np.array([[1j]])), "weight must be an array of real numbers, got complex128"),
        (lambda: Scale(np.array([np.inf])), "factor must be finite"),
        (Scale, "a scale needs a factor or an offset"),
        (lambda: MaxPooling(2), "kernel must have a length for every axis, got 2"),
        (lambda: Clip(1.0, 1.0), "low must lie below high, got 1.0 and 1.0"),
        (lambda: HardSigmoid(0.0), "alpha must be above 0, got 0.0"),
        (lambda: Softplus(-1.0), "beta must be above 0, got -1.0"),
        (lambda: Convolution(ONE((2, 3))), "weight must be outputs x channels a group"),
        (
            lambda: Convolution(ONE((2, 1, 3, 3, 3, 3))),
            "weight must be outputs x channels a group",
        ),
        (lambda: Convolution(ONE((3, 1, 2)), groups=2), "3 outputs do not fall into 2 groups"),
        (lambda: Convolution(ONE((3, 1, 2)), groups=0), "3 outputs do not fall into 0 groups"),
        (lambda: Convolution(ONE((3, 1, 2)), ONE(2)), r"bias must have shape \(3,\)"),
        (
            lambda: Convolution(ONE((3, 1, 2)), stride=0),
            "stride must be 1 whole numbers of at least 1",
        ),
        (lambda: Convolution(ONE((3, 1, 2)), stride=(1, 2)), r"stride must be 1 whole numbers of at least 1"),
        (lambda: Convolution(ONE((3, 1, 2)), dilation=0.5), "dilation must be 1 whole numbers of at least 1"),
        (
            lambda: Convolution(ONE((3, 1, 2)), padding=-1),
            "padding must be one whole number of at least 0",
        ),
        (
            lambda: Convolution(ONE((3, 1, 2)), padding=0.5),
            "padding must be one whole number of at least 0",
        ),
        (lambda: MaxPooling((0, 2)), "kernel must be 2 whole numbers of at least 1"),
        (
            lambda: BatchNormalization(ONE(2), ONE(2), ONE(3), ONE(2)),
            r"mean must have shape \(2,\), got \(3,\)",
        ),
        (
            lambda: BatchNormalization(ONE((2, 1)), *[ONE((2, 1))] * 3),
            "factor must be a vector",
        ),
        (lambda: BatchNormalization(ONE(2), ONE(2), ONE(2), -ONE(2)), "variance . epsilon must be above 0"),
        (lambda: LayerNormalization(ONE(())), "factor must have the shape of what is normalised"),
        (lambda: LayerNormalization(ONE(2), ONE(3)), r"offset must have shape \(2,\), got \(3,\)"),
        (lambda: LayerNormalization(ONE(2), epsilon=0.0), "epsilon must be above 0, got 0.0"),
        (lambda: Pad(((-1, 0),)), "widths must be pairs of numbers, none below 0"),
        (lambda: Upsample((2, 0)), r"factors must be whole numbers of at least 1, got \(2, 0\)"),
    ],
)
def test_what_an_operation_cannot_be_made_of(make, says):
    with pytest.raises(ValueError, match=says):
        make()


@pytest.mark.parametrize(
    ("operation", "parents", "says"),
    [
        (Dense(ONE((2, 3))), [(4,)], r"the last axis must have length 3, got shape \(4,\)"),
        (Dense(ONE((2, 3))), [()], r"the last axis must have length 3, got shape \(\)"),
        (
            Scale(ONE((3, 1, 1))),
            [(3,)],
            r"factor of shape \(3, 1, 1\) does not broadcast over a value of shape",
        ),
        (Scale(ONE(3)), [(1,)], r"factor of shape \(3,\) does not broadcast"),
        (Scale(ONE(3), ONE(2)), [(3,)], r"offset of shape \(2,\) does not broadcast"),
        (PReLU(ONE((2, 1))), [(3, 3)], r"below of shape \(2, 1\) does not broadcast"),
        (KERNEL, [(3, 5, 5)], r"images must be 2 channels x 2 axes, got shape \(3, 5, 5\)"),
        (KERNEL, [(2, 5)], r"images must be 2 channels x 2 axes, got shape \(2, 5\)"),
        (KERNEL, [(2, 2, 5)], r"a window of \(3, 3\), \(1, 1\) apart, is larger than the image of \(2, 5\)"),
        (MaxPooling((2, 2)), [(4, 4)], r"images must be channels x 2 axes, got shape \(4, 4\)"),
        (MaxPooling((2,), 1, 2), [(1, 4)], "some windows see nothing of the image"),
        (AveragePooling((2,), 4, 0, 4), [(1, 4)], "is larger than the image"),
        (Mean((-3,)), [(2, 2)], r"axis -3 is none of -2, -1 of shape \(2, 2\)"),
        (Mean((-1, -1)), [(2, 2)], r"the axes \(-1, -1\) have one twice"),
        (Add(), [(2,)], r"two values or more with as many axes each are needed, got \(2,\)"),
        (Add(), [(2,), (2, 2)], r"with as many axes each are needed, got \(2,\) and \(2, 2\)"),
        (Add(), [(2,), (3,)], r"the shapes \(2,\) and \(3,\) do not agree"),
        (Subtract(), [(2,), (3,)], r"the shapes \(2,\) and \(3,\) do not agree"),
        (Multiply(), [(2,), (3, 2)], "with as many axes each are needed"),
        (Concatenate(-1), [(2, 3), (3, 3)], r"the shapes \(2, 3\) and \(3, 3\) differ in more than axis -1"),
        (Concatenate(0), [(2,), (2,)], "axis 0 is none of -1"),
        (MatrixProduct(), [(2, 3), (2, 3)], r"are not \(...\) x n x m and \(...\) x m x k"),
        (MatrixProduct(), [(3,), (3, 2)], r"are not \(...\) x n x m and \(...\) x m x k"),
        (Reshape((4, -1)), [(2, 3)], r"6 entries of shape \(2, 3\) do not fill the shape \(4, -1\)"),
        (Reshape((-1, -1)), [(2, 3)], "do not fill the shape"),
        (Reshape((0, -1)), [(2, 3)], "do not fill the shape"),
        (Transpose((-1, -1)), [(2, 3)], r"the axes \(-1, -1\) are not all of \(-2, -1\), each once"),
        (Pad(((1, 1), (1, 1))), [(3,)], r"widths for 2 axes do not fit the shape \(3,\)"),
        (Slice((slice(5, None),)), [(3,)], "leave nothing of the shape"),
        (Slice((slice(1), slice(1))), [(3,)], r"2 slices do not fit the shape \(3,\)"),
        (Upsample((2, 2)), [(3,)], r"factors for 2 axes do not fit the shape \(3,\)"),
        (BatchNormalization(*[ONE(2)] * 4), [(3, 4)], "the first axis must be 2 channels"),
        (LayerNormalization(ONE(2)), [(3,)], r"the last axes must be \(2,\), got shape \(3,\)"),
        (Softmax(-2), [(3,)], "axis -2 is none of -1"),
    ],
)
def test_what_it_cannot_read(operation, parents, says):
    with pytest.raises(ValueError, match=says):
        operation.shape(*parents)


def test_what_broadcasts_over_no_axis_of_the_parent_is_refused_even_if_there_are_as_many_samples():
    """A value of samples x 3 plus one of samples x 3 x 3 would meet NumPy's rule with three samples."""
    with pytest.raises(ValueError, match="as many axes each"):
        Add().shape((3,), (3, 3))


def test_whole_numbers_are_taken_as_real_ones():
    assert Dense(np.ones((2, 3), dtype=int)).weight.dtype == np.float64


def test_parameters_are_not_copied():
    weight = np.ones((2, 3), dtype=np.float32)
    assert Dense(weight).weight is weight
