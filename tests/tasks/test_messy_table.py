"""Tables as they are, against pandas and scikit-learn's ColumnTransformer, however they are written."""

import re

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sheafcli.errors import InputError
from sheafcli.tasks.table import CsvTable

SEED = np.random.SeedSequence(3)


def people(n=200, seed=0):
    """A table of every kind of column, with holes."""
    generator = np.random.default_rng(seed)
    age = generator.integers(18, 90, n).astype(float)
    towns = generator.choice(["Aachen", "Bonn", "Coburg", "Dorum"], n, p=[0.5, 0.3, 0.19, 0.01])
    member = generator.choice(["yes", "no"], n)
    since = pd.Timestamp("2001-02-03") + pd.to_timedelta(generator.integers(0, 5000, n), unit="D")
    income = np.round(1000 + 30 * age + 200 * (member == "yes") + generator.normal(0, 50, n), 2)
    table = pd.DataFrame(
        {
            "age": age,
            "town": towns,
            "member": member,
            "since": pd.Series(since).dt.strftime("%d.%m.%Y"),
            "income": income,
        }
    )
    for column in ("age", "town", "since"):
        table.loc[generator.random(n) < 0.1, column] = np.nan
    return table


def load(path, seed=SEED, output=None, **options):
    return CsvTable(path=path, **options).load(seed, output)


DATES = {"since": "%d.%m.%Y"}
OPTIONS = {"target": "income", "dates": DATES, "missing": "impute"}


@pytest.fixture
def path(tmp_path):
    people().to_csv(tmp_path / "people.csv", index=False)
    return tmp_path / "people.csv"


def test_all_kinds_of_columns_against_a_column_transformer(path):
    task = load(path, rare=0.02, **OPTIONS)
    table = people()
    rows = {part: getattr(task.rows, part) - 2 for part in ("train", "test")}  # below the header
    table["since"] = (pd.to_datetime(table["since"], format="%d.%m.%Y") - pd.Timestamp(0)) / pd.Timedelta(
        days=1
    )
    table["member"] = (table["member"] == "yes").astype(float)
    number = make_pipeline(SimpleImputer(add_indicator=False), StandardScaler())
    kept = make_pipeline(
        SimpleImputer(strategy="most_frequent"),
        OneHotEncoder(min_frequency=0.02, handle_unknown="infrequent_if_exist", sparse_output=False),
    )
    X = ColumnTransformer(
        [("n", number, ["age", "since"]), ("c", kept, ["town"]), ("b", "passthrough", ["member"])]
    ).fit(table.iloc[rows["train"]])
    names = ["age", "since", "town=Aachen", "town=Bonn", "town=Coburg", "town=(other)", "member"]
    at = [task.features.index(name) for name in names]
    marks = {name: task.features.index(f"{name}=(missing)") for name in ("age", "since", "town")}
    for part, found in (("train", task.X_train), ("test", task.X_test)):
        expected = np.asarray(X.transform(table.iloc[rows[part]]), dtype=float)
        filled = np.isnan(people().iloc[rows[part]]["age"].to_numpy())
        np.testing.assert_allclose(found[:, at], expected, rtol=1e-9, atol=1e-9, err_msg=part)
        np.testing.assert_array_equal(found[:, marks["age"]], filled)
        income = table["income"].iloc[rows[part]].to_numpy()[:, None]
        scaler = StandardScaler().fit(table[["income"]].to_numpy()[rows["train"]])
        np.testing.assert_allclose(getattr(task, f"y_{part}"), scaler.transform(income), rtol=1e-9)
    assert len(task.features) == len(names) + len(marks)


def test_encoding_the_cells_again_gives_the_same_inputs(path):
    task = load(path, **OPTIONS)
    cells = pd.read_csv(path, dtype=str, keep_default_na=False)
    for part in ("train", "test"):
        rows = cells.iloc[getattr(task.rows, part) - 2]
        encoded = task.preprocessing.encode({name: rows[name].tolist() for name in cells})
        np.testing.assert_array_equal(encoded.X, getattr(task, f"X_{part}"))


def test_rows_with_a_missing_value_are_left_out_and_counted(path):
    table = people()
    task = load(path, target="income", dates=DATES, missing="drop")
    whole = np.flatnonzero(table.notna().all(axis=1)) + 2
    assert sorted([*task.rows.train, *task.rows.test]) == whole.tolist()
    assert any(f"{len(table) - len(whole)} of {len(table)} rows are left out" in note for note in task.notes)
    assert not any("=(missing)" in name for name in task.features)


def test_a_missing_target_is_never_made_up(tmp_path):
    table = people()
    table.loc[[3, 8], "income"] = np.nan
    table.to_csv(tmp_path / "t.csv", index=False)
    task = load(tmp_path / "t.csv", **OPTIONS)
    assert not {5, 10} & {*task.rows.train, *task.rows.test}
    assert any(
        "2 of 200 rows are left out, for a value is missing there in the target" in n for n in task.notes
    )


def test_missing_values_are_refused_by_default_with_what_to_set(path):
    with pytest.raises(InputError) as caught:
        load(path, target="income", dates=DATES)
    told = str(caught.value)
    for name in ("age", "town", "since"):
        count = people()[name].isna().sum()
        assert f"no value for '{name}' ({count} such cells" in told
    assert "set task.missing: drop or impute" in told


def test_the_same_table_however_it_is_written(tmp_path, path):
    plain = load(path, **OPTIONS)
    table = people()
    table.insert(0, "note", "one; two\nlines, ü")
    forms = {
        "semicolons": {"sep": ";", "decimal": ","},
        "tabs": {"sep": "\t"},
        "bars": {"sep": "|"},
        "crlf": {"lineterminator": "\r\n"},
        "bom": {"encoding": "utf-8-sig"},
        "latin": {"encoding": "latin-1"},
    }
    for name, options in forms.items():
        other = tmp_path / f"{name}.csv"
        table.to_csv(other, index=False, **options)
        told = {"encoding": "latin-1"} if name == "latin" else {}
        task = load(other, exclude=["note"], **OPTIONS, **told)
        np.testing.assert_array_equal(task.X_train, plain.X_train, err_msg=name)
        assert task.features == plain.features
        if name != "crlf":  # pandas writes the newline within the quotes as it is
            lines = other.read_bytes().splitlines()
            assert b"one; two" in lines[task.rows.train[0] - 1]


def test_another_encoding_is_asked_for_and_never_guessed(tmp_path):
    path = tmp_path / "t.csv"
    text = "who,x,y\n" + "".join(f"{'Ä' if i % 2 else 'ö'},{i % 5},{i % 7}.5\n" for i in range(40))
    path.write_bytes(text.encode("windows-1252"))
    with pytest.raises(InputError, match=r"not UTF-8 .as Latin-1 .*set task.encoding: latin-1"):
        load(path, target="y")
    assert load(path, target="y", encoding="latin-1").features[:2] == ("who=Ä", "who=ö")
    path.write_bytes(text.replace("Ä", "€").encode("windows-1252"))
    with pytest.raises(InputError, match=r"set task\.encoding: windows-1252"):
        load(path, target="y", encoding="latin-1")
    assert "who=€" in load(path, target="y", encoding="windows-1252").features


def write(tmp_path, **columns):
    path = tmp_path / "t.csv"
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


Y = [i * 1.25 + i % 3 for i in range(24)]


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (["2024-01-31", "2023-12-01"] * 12, r"looks like a date; set task.dates: \{x: iso\}"),
        (["31.1.2024", "1.12.2023"] * 12, r"task.dates: \{x: '%d.%m.%Y'\}"),
        (["1/2/2024", "3/4/2023"] * 12, r"'%d/%m/%Y'\} or task.dates: \{x: '%m/%d/%Y'\}"),
        (["$5", "$7"] * 12, "looks like an amount of money"),
        (["5%", "7%"] * 12, "looks like a percentage"),
        ([f"name {i}" for i in range(24)], "24 of 24 texts in 'x' stand there once"),
        ([f"{i}" if i % 3 == 0 else "abc" for i in range(24)], "8 numbers and 16 texts such as 'abc'"),
        ([f"{i}" if i % 3 == 0 else f"PC {i}" for i in range(24)], "16 of 16 texts in 'x' stand there once"),
        (["", "NA"] * 12, "holds no value at all"),
        (["a"] * 24, "'x' is 'a' in all of the training part"),
        (["yes"] * 24, "'x' is 'yes' in all"),
        ([1, 2, "x3"] * 8, "'x3' in 'x' is not a number .8 such cells"),
    ],
)
def test_what_a_column_may_not_hold(tmp_path, cells, words):
    path = write(tmp_path, x=cells, z=Y, y=Y)
    with pytest.raises(InputError, match=words):
        load(path, target="y", missing="impute")
    assert load(path, target="y", exclude=["x"]).features == ("z",)


@pytest.mark.parametrize(
    ("cells", "options", "features", "said"),
    [
        (["no", "yes"] * 12, {}, ("x",), None),
        (["False", "TRUE", "true"] * 8, {}, ("x",), None),
        (["no", "yes", "maybe"] * 8, {}, ("x=maybe", "x=no", "x=yes"), None),
        ([1, 2, 3] * 8, {}, ("x",), None),
        ([1, 2, 3] * 8, {"categories": ["x"]}, ("x=1", "x=2", "x=3"), None),
        (["1", "2", "b"] * 8, {"categories": ["x"]}, ("x=1", "x=2", "x=b"), None),
        (["01", "2", "3"] * 8, {}, ("x",), r"leading zeros.*task.categories: \[x\]"),
        (["01", "2", "3"] * 8, {"categories": ["x"]}, ("x=01", "x=2", "x=3"), None),
        (range(24), {}, ("x",), "counts the rows.*task.exclude"),
        (["a", "unknown"] * 12, {}, ("x=a", "x=unknown"), "'unknown' in 12 rows"),
        (["a", "A"] * 12, {}, ("x=A", "x=a"), "capitals or blanks"),
        (["5 kg", "7 kg"] * 12, {}, ("x=5 kg", "x=7 kg"), "a number with a unit"),
        (["2024-01-31", "2023-12-01"] * 12, {"categories": ["x"]}, ("x=2023-12-01", "x=2024-01-31"), None),
    ],
)
def test_what_a_column_may_hold(tmp_path, cells, options, features, said):
    path = write(tmp_path, x=list(cells), y=Y)
    task = load(path, target="y", **options)
    assert task.features == features
    notes = [note for note in task.notes if "'x'" in note]
    if said is None:
        assert notes == []
    else:
        (note,) = notes
        assert re.search(said, note)


def test_a_date_in_another_format_is_refused_with_its_line(tmp_path):
    path = write(tmp_path, x=["31.1.2024", "1.12.2023"] * 12 + ["2024-05-06"], y=[*Y, 1.0])
    with pytest.raises(InputError, match="'2024-05-06' in 'x' is no date of the format") as caught:
        load(path, target="y", dates={"x": "%d.%m.%Y"})
    assert caught.value.line == 26
    with pytest.raises(
        InputError, match=r"is no date of the format '%Y' .*set task.dates: \{x: '%d.%m.%Y'\}"
    ):
        load(write(tmp_path, x=["31.1.2024", "1.12.2023"] * 12, y=Y), target="y", dates={"x": "%Y"})


def test_rare_and_unseen_categories_are_taken_together_and_told(tmp_path):
    names = ["a"] * 50 + ["b"] * 48 + ["c", "d"]
    path = write(tmp_path, x=names, y=[i * 1.5 for i in range(100)], part=["train"] * 97 + ["test"] * 3)
    task = load(path, target="y", split="column", split_column="part", rare=0.5)
    assert task.features == ("x=a", "x=(other)")
    np.testing.assert_array_equal(task.X_test, [[0, 1]] * 3)
    assert any(
        "'x' has categories that no training row has: 'c', 'd'; they are taken as (other)" in n
        for n in task.notes
    )
    task = load(path, target="y", split="column", split_column="part", rare=0)
    np.testing.assert_array_equal(task.X_test, [[0, 1], [0, 0], [0, 0]])
    assert any("as none of the known ones" in note for note in task.notes)


def test_several_things_that_are_not_there_are_told_at_once(tmp_path):
    path = write(tmp_path, alpha=Y, beta=Y, y=Y)
    with pytest.raises(InputError) as caught:
        load(path, target="yy", features=["alfa"], exclude=["gamma"], dates={"bete": "iso"})
    told = str(caught.value)
    for words in (
        "target: no column 'yy'",
        "features: no column 'alfa'",
        "exclude: no column 'gamma'",
        "dates: no",
    ):
        assert words in told
    assert len(told.splitlines()) == 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"categories": ["y"]}, "categories: 'y' is none of the features"),
        ({"categories": ["a"], "dates": {"a": "iso"}}, "'a' is told to be categories and dates"),
        ({"features": ["a"], "exclude": ["a"]}, None),
        ({"exclude": ["a", "b"]}, "no column is left for features"),
    ],
)
def test_roles_that_make_no_sense(tmp_path, options, words):
    path = write(tmp_path, a=Y, b=Y, y=Y)
    if words is None:
        assert load(path, target="y", **options).features == ("a",)
        return
    with pytest.raises(InputError, match=words):
        load(path, target="y", **options)


def test_parquet_is_read_as_the_same_table_in_text(tmp_path, path):
    table = people()
    table["since"] = pd.to_datetime(table["since"], format="%d.%m.%Y")
    other = tmp_path / "people.parquet"
    table.to_parquet(other)
    plain, found = load(path, **OPTIONS), load(other, target="income", missing="impute")
    np.testing.assert_array_equal(found.X_train, plain.X_train)
    assert found.rows.word == "row"
    np.testing.assert_array_equal(found.rows.train, plain.rows.train - 2)


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    def missing(path, engine):
        raise ImportError

    monkeypatch.setattr(pd, "read_parquet", missing)
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"pip install .sheafcli\[parquet\]"):
        load(tmp_path / "t.parquet", target="y")


def test_what_stands_for_a_missing_date_is_said_to_the_day(tmp_path):
    days = [f"2024-03-{1 + i % 28:02d}" for i in range(23)]
    path = write(tmp_path, x=[*days, ""], z=Y, y=Y)
    task = load(path, target="y", missing="impute", dates={"x": "iso"})
    (column,) = (column for column in task.preprocessing.columns if column.name == "x")
    assert column.filled_with == str(np.datetime64(round(column.fill), "D"))
