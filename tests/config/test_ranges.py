"""Ranges of a sweep: against NumPy's linspace and geomspace, and integers against Python's range."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheafcli.config.ranges import LONGEST, range_values

COUNTS = st.integers(2, 50)
NUMBERS = st.floats(-1e12, 1e12)
ABOVE_ZERO = st.floats(1e-12, 1e12)


@given(NUMBERS, NUMBERS, COUNTS)
def test_a_linear_range_is_linspace(first, last, count):
    values = range_values({"from": first, "to": last, "count": count, "scale": "linear"})
    assert values == np.linspace(first, last, count).tolist()
    assert range_values({"from": first, "to": last, "count": count}) == values
    assert all(type(value) is float for value in values)


@given(ABOVE_ZERO, ABOVE_ZERO, COUNTS)
def test_a_log_range_is_geomspace(first, last, count):
    values = range_values({"from": first, "to": last, "count": count, "scale": "log"})
    assert values == np.geomspace(first, last, count).tolist()
    assert (values[0], values[-1]) == (first, last)
    assert all(type(value) is float for value in values)


@given(st.integers(-(10**6), 10**6), st.integers(-1000, 1000).filter(bool), COUNTS)
def test_integers_at_a_whole_distance_stay_integers(first, distance, count):
    last = first + distance * (count - 1)
    values = range_values({"from": first, "to": last, "count": count})
    assert values == list(range(first, last + (1 if distance > 0 else -1), distance))
    assert all(type(value) is int for value in values)


def test_integers_at_no_whole_distance_and_decades_are_floats():
    assert range_values({"from": 0, "to": 1, "count": 3}) == [0.0, 0.5, 1.0]
    decades = range_values({"from": 1, "to": 1000, "count": 4, "scale": "log"})
    assert decades == pytest.approx([1, 10, 100, 1000], rel=1e-15)
    assert all(type(value) is float for value in decades)


GOOD = {"from": 1.0, "to": 2.0, "count": 3}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"form": 1}, "unknown key form; did you mean from?"),
        ({"step": 1}, "unknown key step"),
        ({"from": None}, "from must be a number from -1e+300 to 1e+300"),
        ({"to": "2"}, "to must be a number from -1e+300 to 1e+300"),
        ({"to": True}, "to must be a number from -1e+300 to 1e+300"),
        ({"from": math.inf}, "from must be a number from -1e+300 to 1e+300"),
        ({"to": math.nan}, "to must be a number from -1e+300 to 1e+300"),
        ({"to": 10**400}, "to must be a number from -1e+300 to 1e+300"),
        ({"from": -1.5e308, "to": 1.5e308}, "from must be a number from -1e+300 to 1e+300"),
        ({"count": None}, f"count must be an integer from 2 to {LONGEST}"),
        ({"count": 1}, "count must be"),
        ({"count": 3.0}, "count must be"),
        ({"count": True}, "count must be"),
        ({"count": LONGEST + 1}, "count must be"),
        ({"scale": "logg"}, "scale must be linear or log; did you mean log?"),
        ({"scale": ["log"]}, "scale must be linear or log"),
        ({"scale": "log", "from": 0}, "from and to must be above 0 on a log scale"),
        ({"scale": "log", "to": -2.0}, "from and to must be above 0 on a log scale"),
    ],
)
def test_what_is_no_range_is_refused(changes, words):
    with pytest.raises(ValueError, match=r"^") as caught:
        range_values(GOOD | changes)
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize("missing", ["from", "to", "count"])
def test_what_a_range_needs_may_not_be_left_out(missing):
    with pytest.raises(ValueError, match=f"{missing} must be"):
        range_values({key: value for key, value in GOOD.items() if key != missing})
