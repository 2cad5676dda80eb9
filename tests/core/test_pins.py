"""Pins: which coordinate they hold, and what is refused."""

import numpy as np
import pytest

from sheafcli.core.chain.cochain import Cochain
from sheafcli.core.pins import Pin, check_pins


@pytest.fixture
def stalks():
    return Cochain.random([2, 4, 3, 1], 5, output_vertex=True).stalks()


def test_column_is_a_view_of_its_coordinate(stalks):
    Pin("a2", 1, 0.0).column(stalks)[:] = 9.0
    np.testing.assert_array_equal(stalks["a2"][:, 1], 9.0)
    assert sum(np.count_nonzero(stalk == 9.0) for stalk in stalks.values()) == 5


def test_hard_and_soft():
    assert Pin("z1", 3, 0.5).hard
    assert not Pin("z1", 3, 0.5, 2.0).hard
    assert str(Pin("z1", 3, 0.5)) == "z1[3]"


@pytest.mark.parametrize("stiffness", [0.0, -1.0, np.inf, np.nan, 1e-300, 1e71])
def test_stiffness_must_be_above_zero_and_in_range(stiffness):
    with pytest.raises(ValueError, match=r"soft pin on z1\[0\] needs a stiffness from 1e-70 to 1e\+70"):
        Pin("z1", 0, 0.5, stiffness)


@pytest.mark.parametrize("value", [1e150, -1e300, np.array([0.0, 2e70])])
def test_values_whose_squares_overflow_are_refused(value):
    with pytest.raises(ValueError, match=r"pin on z1\[0\] must have a value of at most 1e\+70"):
        Pin("z1", 0, value)


@pytest.mark.parametrize("value", [np.nan, -np.inf, np.array([0.0, np.nan])])
def test_value_must_be_finite(value):
    with pytest.raises(ValueError, match=r"pin on z1\[0\] must have a finite value"):
        Pin("z1", 0, value)


@pytest.mark.parametrize(
    ("pin", "message"),
    [
        (Pin("z9", 0, 0.0), "no free stalk 'z9'; there are z1, a1, z2, a2, z3, y"),
        (Pin("x", 0, 0.0), "the input a0 is always pinned"),
        (Pin("a0", 0, 0.0), "the input a0 is always pinned"),
        (Pin("a2", 3, 0.0), "stalk a2 has coordinates 0 to 2, got 3"),
        (Pin("a2", -1, 0.0), "stalk a2 has coordinates 0 to 2, got -1"),
        (Pin("a2", 0, np.zeros(4)), r"one value or 5, one a sample, got shape \(4,\)"),
        (Pin("a2", 0, np.zeros((5, 1))), r"one value or 5, one a sample, got shape \(5, 1\)"),
    ],
)
def test_pins_that_do_not_fit_are_refused(stalks, pin, message):
    with pytest.raises(ValueError, match=message):
        pin.column(stalks)


def test_a_coordinate_is_pinned_once(stalks):
    check_pins([Pin("a1", 0, 0.0), Pin("a1", 1, 0.0), Pin("z1", 0, 0.0, 1.0)], stalks)
    with pytest.raises(ValueError, match=r"a1\[0\] is pinned twice, to 0.5 and 0.7"):
        check_pins([Pin("a1", 0, 0.5, 50.0), Pin("a1", 1, 0.0), Pin("a1", 0, 0.7, 50.0)], stalks)
    with pytest.raises(ValueError, match="no free stalk"):
        check_pins([Pin("a9", 0, 0.5)], stalks)
