"""What operations refuse, and what they say."""

import numpy as np
import pytest

from sheafcli.core.operations import Clip, Dense, HardSigmoid, PReLU, Scale, Softplus

ONE = np.ones


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
        (lambda: Clip(1.0, 1.0), "low must lie below high, got 1.0 and 1.0"),
        (lambda: HardSigmoid(0.0), "alpha must be above 0, got 0.0"),
        (lambda: Softplus(-1.0), "beta must be above 0, got -1.0"),
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
    ],
)
def test_what_it_cannot_read(operation, parents, says):
    with pytest.raises(ValueError, match=says):
        operation.shape(*parents)


def test_whole_numbers_are_taken_as_real_ones():
    assert Dense(np.ones((2, 3), dtype=int)).weight.dtype == np.float64


def test_parameters_are_not_copied():
    weight = np.ones((2, 3), dtype=np.float32)
    assert Dense(weight).weight is weight
