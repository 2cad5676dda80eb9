"""Numbers as text, against the numbers that they read back as."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheafcli.render.numbers import aligned, duration, percent

finite = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(finite, min_size=1))
def test_every_text_reads_back_to_six_digits_and_has_the_same_length(values):
    texts = aligned(values)
    assert len({len(text) for text in texts}) == 1
    for text, value in zip(texts, values, strict=True):
        assert float(text) == pytest.approx(value, rel=5.0001e-6, abs=0)


@given(st.lists(st.floats(0.01, 9999.0), min_size=2))
def test_points_stand_in_line(values):
    assert len({text.find(".") for text in aligned(values)}) == 1


def test_what_is_missing_is_a_dash_and_zero_is_short():
    assert aligned([None, math.nan, 0.0, 12.5]) == ["      -", "      -", " 0     ", "12.5000"]
    assert aligned([]) == []
    assert aligned([math.inf, 1.0])[0].strip() == "inf"


def test_a_wide_range_is_written_with_exponents():
    assert aligned([1.0, 3.2e-7]) == ["1.00000e+00", "3.20000e-07"]
    assert aligned([0.000123, 45678.9]) == ["1.23000e-04", "4.56789e+04"]


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0.0%"), (1e-9, "<0.1%"), (0.0005, "0.1%"), (1.0, "100.0%"), (math.nan, "-"), (None, "-")],
)
def test_percent(share, text):
    assert percent(share) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (185.0, "3 min 05 s"),
        (3599.6, "1 h 00 min"),
        (7385.0, "2 h 03 min"),
    ],
)
def test_duration(seconds, text):
    assert duration(seconds) == text
