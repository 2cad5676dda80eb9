"""Cells of tables: what is a plain number, and what looks like a quantity, by examples of each kind."""

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheafcli.tasks.cells import is_missing, is_number, look_of, may_be_missing, shown, with_point


@pytest.mark.parametrize("cell", ["1", "-2.5e-3", ".5", "+7", "nan", "Infinity"])
def test_numbers(cell):
    assert is_number(cell)


@pytest.mark.parametrize("cell", ["", "1_000", "1,5", "0x10", "one", "1 2", "１２", "٣"])
def test_texts(cell):
    assert not is_number(cell)


@pytest.mark.parametrize("cell", ["", "?", "n/a", "N/A", "NaN", "<NA>", "-"])
def test_cells_that_say_nothing(cell):
    assert is_missing(cell)
    assert may_be_missing(cell)


@pytest.mark.parametrize("cell", ["NA", "None", "null", "Unknown"])
def test_words_that_may_say_nothing(cell):
    assert may_be_missing(cell)
    assert not is_missing(cell)


@pytest.mark.parametrize(
    ("cell", "what", "write"),
    [
        ("3,15", "decimal comma", "3.15,"),
        ("-0,370", "decimal comma", "-0.370,"),
        ("1,5e3", "decimal comma", "1.5e3,"),
        ("1,037", "a comma", "1.037 if that is a decimal comma"),
        ("1,037.50", "between the thousands", "1037.50"),
        ("1.234.567,89", "between the thousands", "1234567.89"),
        ("1 234", "between the thousands", "1234"),
        ("1\N{NO-BREAK SPACE}234,5", "between the thousands", "1234.5"),
        ("12'345", "between the thousands", "12345"),
        ("12,34,567", "between the thousands", "1234567"),
        ("$13.50", "money", "13.50"),
        ("€5", "money", "5"),
        ("5,50 €", "money", "5.50"),
        ("-$1,234", "money", "-1234"),
        ("US$ 7", "money", "7"),
        ("12 EUR", "money", "12"),
        ("CHF12.50", "money", "12.50"),
        ("(12.50)", "parentheses", "-12.50"),
        ("($12.50)", "parentheses", "-12.50"),
        ("12%", "percentage", "12,"),
        ("12,5 %", "percentage", "12.5,"),
        ("3‰", "per thousand", "3,"),
        ("2024-01-31", "a date", "days"),
        ("31.1.2024", "a date", "days"),
        ("1/31/24", "a date", "days"),
        ("2024-01", "a date", "days"),
        ("Jan 5, 2024", "a date", "days"),
        ("5 March 2024", "a date", "days"),
        ("2024-01-31T10:00:00Z", "a date", "days"),
        ("31/01/2024 10:00 PM", "a date", "days"),
        ("12:30", "a time", "hours"),
        ("1:02:03.5", "a time", "hours"),
        ("1_000", "underscores", "1000"),
        ("\N{MINUS SIGN}5", "other characters", "-5"),
        ("１２", "other characters", "12"),
    ],
)
def test_quantities_that_are_no_plain_numbers(cell, what, write):
    look = look_of(cell)
    assert look is not None
    assert look.certain
    assert what in look.what
    assert look.write.startswith(write) or write in look.write


@pytest.mark.parametrize("cell", ["12 kg", "1e3x", "5h", "37.5°C", "3b"])
def test_a_number_with_something_behind_it_may_be_the_name_of_a_class(cell):
    look = look_of(cell)
    assert look is not None
    assert not look.certain


@pytest.mark.parametrize(
    "cell",
    [
        *[
            "setosa",
            "10-20",
            "<=50K",
            ">50K",
            "1/2",
            "v1.2.3",
            "1.2.34",
            "192.168.0.1",
            "A-1",
            "$",
            "EUR",
            "%",
        ],
        *["2024-13-45", "1,2,3", "yes", "b", "(a)", "May", "EURO", "", "12 of 13"],
    ],
)
def test_names_of_classes(cell):
    assert look_of(cell) is None


@given(st.dates(min_value=datetime.date(1000, 1, 1)), st.sampled_from(["%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y"]))
def test_every_date_looks_like_one(day, form):
    look = look_of(day.strftime(form))
    assert look is not None
    assert look.what == "a date"


@given(st.floats(-1e15, 1e15).map(lambda x: f"{x:,.2f}").filter(lambda cell: "," in cell))
def test_every_number_with_marks_between_its_thousands_is_told_as_the_plain_one(cell):
    look = look_of(cell)
    assert look is not None
    assert float(look.write) == float(cell.replace(",", ""))


@given(st.floats(-1e9, 1e9))
def test_a_decimal_comma_is_read_as_a_point(value):
    assert with_point(repr(value).replace(".", ",")) == repr(value)


@pytest.mark.parametrize("cell", ["1.5", "1,2,3", "1.234,5", "a,b", "7", ","])
def test_other_cells_stay_as_they_are(cell):
    assert with_point(cell) == cell


def test_long_cells_are_cut():
    assert shown("z" * 500) == repr("z" * 37 + "...")
