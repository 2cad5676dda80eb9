"""What is done to columns, against scikit-learn and pandas; undone, it gives the cells that it was given."""

from datetime import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sheafcli.tasks.columns import BooleanColumn, CategoryColumn, DateColumn, NumberColumn
from sheafcli.tasks.preprocessing import Preprocessing
from sheafcli.tasks.target_column import TargetColumn

TARGET = TargetColumn(names=("y",), output="identity", means=(10.0,), scales=(4.0,))


def encoded(column, cells):
    return Preprocessing(columns=(column,), target=TARGET).encode({column.name: cells})


def test_numbers_against_scikit_learn():
    cells = ["1", "2.5", "", "-3e2", "NA"]
    raw = np.array([[1.0], [2.5], [np.nan], [-300.0], [np.nan]])
    imputed = SimpleImputer(add_indicator=True).fit_transform(raw)
    scaler = StandardScaler().fit(imputed[:, :1])
    fill = float(np.nanmean(raw))
    column = NumberColumn(
        name="n", mean=scaler.mean_[0], scale=scaler.scale_[0], fill=fill, marks_missing=True
    )
    found = encoded(column, cells)
    expected = np.hstack([scaler.transform(imputed[:, :1]), imputed[:, 1:]])
    np.testing.assert_allclose(found.X, expected, rtol=1e-14, atol=1e-15)
    np.testing.assert_array_equal(found.missing[:, 0], np.isnan(raw[:, 0]))
    assert found.complete.all()
    assert not found.unusable.any()


def test_categories_against_scikit_learn():
    train = np.array(["a"] * 5 + ["b"] * 4 + ["c", "d"])[:, None]
    cells = ["b", "a", "d", "c", "unseen"]
    encoder = OneHotEncoder(min_frequency=2, handle_unknown="infrequent_if_exist", sparse_output=False).fit(
        train
    )
    column = CategoryColumn(name="k", categories=("a", "b"), rare=("c", "d"))
    found = encoded(column, cells)
    np.testing.assert_array_equal(found.X, encoder.transform(np.array(cells)[:, None]))
    np.testing.assert_array_equal(found.unseen[:, 0], [False] * 4 + [True])
    assert column.inputs == ("k=a", "k=b", "k=(other)")


def test_an_unseen_category_without_rare_ones_is_none_of_the_known():
    found = encoded(CategoryColumn(name="k", categories=("a", "b")), ["c", "b", "", "none"])
    np.testing.assert_array_equal(found.X, [[0, 0], [0, 1], [np.nan] * 2, [0, 0]])
    np.testing.assert_array_equal(found.unseen[:, 0], [True, False, False, True])
    np.testing.assert_array_equal(found.missing[:, 0], [False, False, True, False])
    np.testing.assert_array_equal(found.complete, [True, True, False, True])


def test_dates_against_pandas():
    when = pd.Series(pd.date_range("1950-03-01", periods=50, freq="397D4h"))
    expected = (when - pd.Timestamp("1970-01-01")) / pd.Timedelta(days=1)
    for format_, cells in (
        ("iso", [str(day) for day in when]),
        ("%d.%m.%Y %H:%M", when.dt.strftime("%d.%m.%Y %H:%M").tolist()),
    ):
        column = DateColumn(name="t", format=format_, mean=100.0, scale=7.0)
        found = encoded(column, cells)
        np.testing.assert_allclose(found.X[:, 0], (expected - 100.0) / 7.0, rtol=1e-12)
        read = datetime.fromisoformat if format_ == "iso" else str
        assert [read(cell) for cell in column.decode(found.X)] == [read(cell) for cell in cells]


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        (NumberColumn(name="c"), "text"),
        (NumberColumn(name="c"), "1_000"),
        (NumberColumn(name="c"), "inf"),
        (NumberColumn(name="c"), "1e99"),
        (DateColumn(name="c", format="iso"), "31.12.2024"),
        (DateColumn(name="c", format="%d.%m.%Y"), "2024-12-31"),
        (BooleanColumn(name="c", values=("no", "yes")), "maybe"),
    ],
)
def test_what_a_column_cannot_hold_is_flagged_and_never_filled_in(column, cell):
    found = encoded(column, [cell])
    assert found.unusable.all()
    assert np.isnan(found.X).all()
    filled = column.model_copy(update={"fill": "no" if isinstance(column, BooleanColumn) else 1.0})
    assert np.isnan(encoded(filled, [cell]).X).all()


def test_booleans_in_any_capitals():
    column = BooleanColumn(name="c", values=("False", "True"))
    np.testing.assert_array_equal(encoded(column, ["TRUE", "false", "True"]).X, [[1], [0], [1]])


TABLE = Preprocessing(
    columns=(
        NumberColumn(name="age", mean=40.0, scale=12.5, fill=38.0, marks_missing=True),
        CategoryColumn(name="island", categories=("Biscoe", "Dream"), fill="Dream", marks_missing=True),
        BooleanColumn(name="member", values=("no", "yes")),
        DateColumn(name="since", format="iso", mean=11_000.0, scale=3000.0, fill=1.0, marks_missing=True),
    ),
    target=TargetColumn(names=("class",), output="softmax", classes=("p", "q", "r")),
    missing="impute",
)


@given(
    st.lists(
        st.tuples(
            st.floats(-1e6, 1e6).map(lambda x: repr(round(x, 3))) | st.just(""),
            st.sampled_from(["Biscoe", "Dream", ""]),
            st.sampled_from(["no", "yes"]),
            st.dates().map(str) | st.just(""),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_undone_it_gives_the_cells_again(rows):
    columns = dict(zip(TABLE.names, map(list, zip(*rows, strict=True)), strict=True))
    decoded = TABLE.decode(TABLE.encode(columns).X)
    for name in ("island", "member", "since"):
        assert decoded[name] == columns[name]
    for cell, again in zip(columns["age"], decoded["age"], strict=True):
        assert again == ("" if cell == "" else pytest.approx(float(cell), rel=1e-12, abs=1e-9))


def test_every_input_has_a_name_and_a_place():
    assert TABLE.inputs == (
        *("age", "age=(missing)", "island=Biscoe", "island=Dream", "island=(missing)", "member"),
        *("since", "since=(missing)"),
    )
    assert [TABLE.inputs[place] for place in TABLE.places.values()] == [c.inputs for c in TABLE.columns]
    assert [row["inputs"] for row in TABLE.described()] == [2, 3, 1, 2]


def test_it_is_stored_to_the_bit():
    assert Preprocessing.from_json(TABLE.to_json()) == TABLE
    odd = TABLE.columns[0].model_copy(update={"mean": 0.1 + 0.2, "scale": 5e-324})
    table = TABLE.model_copy(update={"columns": (odd,)})
    assert Preprocessing.from_json(table.to_json()).columns[0] == odd


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"columns": 3}', TABLE.to_json()[:-9]])
def test_what_is_no_preprocessing_is_refused(text):
    with pytest.raises(ValueError, match="Preprocessing"):
        Preprocessing.from_json(text)


def test_a_target_in_its_own_units():
    y, known = TARGET.encode([["10", "18", "x"]])
    np.testing.assert_array_equal(y, [[0.0], [2.0], [np.nan]])
    np.testing.assert_array_equal(known, [True, True, False])
    np.testing.assert_array_equal(TARGET.values(y[:2]), [[10.0], [18.0]])


def test_classes_by_name_and_by_probability():
    y, known = TABLE.target.encode([["q", "s", "p"]])
    np.testing.assert_array_equal(y, [[0, 1, 0], [np.nan] * 3, [1, 0, 0]])
    np.testing.assert_array_equal(known, [True, False, True])
    assert TABLE.target.labels(np.array([[0.2, 0.5, 0.3]])) == ["q"]
    two = TargetColumn(names=("c",), output="sigmoid", classes=("1", "2"))
    np.testing.assert_array_equal(two.encode([["2", "1.0", "+2"]])[0], [[1], [0], [1]])
    np.testing.assert_allclose(two.probabilities(np.array([[0.25]])), [[0.75, 0.25]])
