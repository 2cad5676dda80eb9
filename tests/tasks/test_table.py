"""csv tasks: good files against pandas and scikit-learn, bad files by the place they are bad at."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn import datasets
from sklearn.preprocessing import StandardScaler

from sheafcli.errors import InputError
from sheafcli.tasks.table import CsvTable

# The table of B. Efron, T. Hastie, I. Johnstone, R. Tibshirani, "Least angle regression", Annals
# of Statistics 32 (2004) 407-499, in raw units.
DIABETES = Path(__file__).parents[2] / "experiments" / "data" / "diabetes.csv"
SEED = np.random.SeedSequence(5)


def write(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "table.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


def load(path, target, output=None, **options):
    return CsvTable(path=path, target=target, **options).load(SEED, output)


def rows_of(task):
    """All samples of a task that was not standardised, sorted: features, then targets."""
    rows = np.vstack([np.hstack([task.X_train, task.y_train]), np.hstack([task.X_test, task.y_test])])
    return rows[np.lexsort(rows.T)]


def test_the_diabetes_table_is_scikit_learns():
    bunch = datasets.load_diabetes(scaled=False)
    table = pd.read_csv(DIABETES)
    assert list(table.columns) == [*bunch.feature_names, "progression"]
    # Versions of scikit-learn and pandas read the last digit of some texts otherwise.
    np.testing.assert_allclose(table.iloc[:, :-1], bunch.data, rtol=1e-15)
    np.testing.assert_array_equal(table["progression"], bunch.target)


def test_a_regression_against_pandas():
    table = pd.read_csv(DIABETES)
    task = load(DIABETES, "progression", standardize=False)
    assert (task.output, task.targets, task.classes) == ("identity", ("progression",), ())
    assert task.features == tuple(table.columns[:-1])
    assert (task.n_train, len(task.X_test)) == (332, 110)
    expected = table.to_numpy(dtype=float)
    np.testing.assert_array_equal(rows_of(task), expected[np.lexsort(expected.T)])


def test_standardising_by_the_training_part():
    raw, task = (load(DIABETES, "progression", standardize=flag) for flag in (False, True))
    for X, y, data in (("X_train", "y_train", "train"), ("X_test", "y_test", "test")):
        for name, fitted_on in ((X, raw.X_train), (y, raw.y_train)):
            expected = StandardScaler().fit(fitted_on).transform(getattr(raw, name))
            np.testing.assert_allclose(getattr(task, name), expected, atol=1e-12, err_msg=data)
    assert np.mean(task.y_train**2) == pytest.approx(1)


def test_equal_seeds_give_equal_parts():
    spec = CsvTable(path=DIABETES, target="progression")
    first, second = spec.load(SEED, None), spec.load(np.random.SeedSequence(5), None)
    np.testing.assert_array_equal(first.X_train, second.X_train)
    other = spec.load(np.random.SeedSequence(6), None)
    assert not np.array_equal(first.y_test, other.y_test)


@pytest.mark.parametrize(
    ("target", "features", "expected"),
    [
        ("s6", None, ("s6", 10)),
        (-1, None, ("progression", 10)),
        (0, ["bmi", "bp"], ("age", 2)),
        ("age", [2, -2], ("age", 2)),
    ],
)
def test_columns_by_name_and_position(target, features, expected):
    task = load(DIABETES, target, features=features)
    assert (task.targets[0], task.n_features) == expected


def test_several_targets():
    table = pd.read_csv(DIABETES)
    task = load(DIABETES, ["sex", -1], features=["bmi", "age"], standardize=False)
    assert (task.output, task.targets) == ("identity", ("sex", "progression"))
    expected = table[["bmi", "age", "sex", "progression"]].to_numpy(dtype=float)
    np.testing.assert_array_equal(rows_of(task), expected[np.lexsort(expected.T)])
    with pytest.raises(InputError, match=r"'softmax' does not fit 2 targets; allowed: identity"):
        load(DIABETES, ["sex", "age"], "softmax")


IRIS = "5.1,3.5,b\n4.9,3.0,a\n6.2,3.1,c\n5.5,2.2,a\n5.0,1.0,b\n6.0,2.0,c\n5.7,2.9,a\n5.2,3.3,b\n"


@pytest.mark.parametrize("header", ["", "length,width,species\n"])
def test_text_classes_with_and_without_a_header(tmp_path, header):
    task = load(write(tmp_path, header + IRIS), -1, standardize=False)
    assert (task.output, task.classes) == ("softmax", ("a", "b", "c"))
    assert task.targets == (("species",) if header else ("column_2",))
    assert task.features == (("length", "width") if header else ("column_0", "column_1"))
    table = pd.read_csv(tmp_path / "table.csv", header=0 if header else None)
    one_hot = pd.get_dummies(table.iloc[:, -1], dtype=float)
    expected = np.hstack([table.iloc[:, :2].to_numpy(), one_hot.to_numpy()])
    np.testing.assert_array_equal(rows_of(task), expected[np.lexsort(expected.T)])


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_layouts_of_the_same_table(tmp_path, newline, encoding):
    text = 'é,"x, 2", y \n\n 1 ,2.5,no\n   \n3,"4",yes\n5e-1,-1,"no"\n\n7,0.25,yes\n'
    path = write(tmp_path, text.replace("\n", newline), encoding)
    task = load(path, "y", standardize=False)
    assert (task.output, task.classes) == ("sigmoid", ("no", "yes"))
    assert task.features == ("é", "x, 2")
    expected = np.array([[1, 2.5, 0], [3, 4, 1], [0.5, -1, 0], [7, 0.25, 1]])
    np.testing.assert_array_equal(rows_of(task), expected[np.lexsort(expected.T)])


def integers(values):
    return "x,y\n" + "".join(f"{i}.5,{value}\n" for i, value in enumerate(values))


@pytest.mark.parametrize(
    ("values", "asked", "output", "classes"),
    [
        ([0, 1] * 5, None, "sigmoid", ("0", "1")),
        ([0, 1] * 5, "softmax", "softmax", ("0", "1")),
        ([0, 1] * 5, "identity", "identity", ()),
        ([2, 10, -1] * 5, None, "softmax", ("-1", "2", "10")),
        (["+1", "1", 2, 2] * 3, None, "sigmoid", ("1", "2")),
        (["01", "1", "007"] * 3, "identity", "identity", ()),
        (["0.0", "1.0"] * 5, "sigmoid", "sigmoid", ("0", "1")),
        (["0", "1.", "2.00"] * 5, "softmax", "softmax", ("0", "1", "2")),
        (list(range(1990, 2002)), None, "identity", ()),
        (list(range(20)) * 3, None, "softmax", tuple(map(str, range(20)))),
        (list(range(21)) * 3, None, "identity", ()),
        (list(range(21)) * 3, "softmax", "softmax", tuple(map(str, range(21)))),
        (["1.0", "2.0"] * 5, None, "identity", ()),
        ([1, 2, "2.5"] * 3, None, "identity", ()),
        (["1e1", 3] * 3, None, "identity", ()),
    ],
)
def test_what_a_target_means(tmp_path, values, asked, output, classes):
    path = write(tmp_path, integers(values))
    task = load(path, "y", asked, standardize=False)
    assert (task.output, task.classes) == (output, classes)
    rows = rows_of(task)
    numbers = np.array([float(value) for value in values])
    if output == "identity":
        expected = numbers[:, None]
    elif output == "sigmoid":
        expected = (numbers == numbers.max())[:, None]
    else:
        expected = numbers[:, None] == np.array([float(name) for name in classes])
    np.testing.assert_array_equal(rows[np.argsort(rows[:, 0]), 1:], expected)


@pytest.mark.parametrize(
    ("values", "asked", "allowed"),
    [
        ([0, 1, 2] * 5, "sigmoid", "softmax, identity"),
        (["a", "b"] * 5, "identity", "sigmoid, softmax"),
        (["a", "b", "c"] * 5, "sigmoid", "softmax"),
        ([0.5, 1, 2] * 5, "softmax", "identity"),
        (range(30), "sigmoid", "identity, softmax"),
    ],
)
def test_outputs_that_do_not_fit(tmp_path, values, asked, allowed):
    with pytest.raises(InputError, match=f"'{asked}' does not fit .*'y'.*; allowed: {allowed} "):
        load(write(tmp_path, integers(values)), "y", asked)


def test_a_class_may_stand_in_the_test_part_alone(tmp_path):
    path = write(tmp_path, integers(["a", "b"] * 20 + ["rare"]))
    alone = 0
    for entropy in range(12):
        task = CsvTable(path=path, target="y", test_fraction=0.5).load(np.random.SeedSequence(entropy), None)
        assert task.classes == ("a", "b", "rare")
        alone += task.y_train[:, 2].sum() == 0
    assert 0 < alone < 12


def test_the_smallest_file(tmp_path):
    # One row trains, so nothing varies: refused, as a constant column is.
    with pytest.raises(InputError, match="in all of the training part"):
        load(write(tmp_path, "x,y\n1,2.5\n2,3.5\n"), "y")
    task = load(write(tmp_path, "x,y\n1,2.5\n2,3.5\n3,4.5\n"), "y", test_fraction=0.01)
    assert (task.n_train, len(task.X_test)) == (2, 1)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(*[st.floats(-1e6, 1e6)] * 3),
        min_size=3,
        max_size=20,
        unique_by=tuple(lambda row, j=j: round(row[j], 3) for j in range(3)),
    )
)
def test_what_pandas_writes_is_read_back_to_the_bit(tmp_path, rows):
    path = tmp_path / "written.csv"
    table = pd.DataFrame(rows, columns=["p", "q", "r"])
    table.to_csv(path, index=False)
    task = load(path, "q", "identity", standardize=False)
    expected = table[["p", "r", "q"]].to_numpy()
    np.testing.assert_array_equal(rows_of(task), expected[np.lexsort(expected.T)])


GOOD = "a,b,y\n1,2,0.5\n2,3,1.5\n4,1,2.5\n3,3,0.25\n"


@pytest.mark.parametrize(
    ("text", "target", "line", "message"),
    [
        ("", "y", None, "holds nothing"),
        ("\n\n", "y", None, "holds nothing"),
        ("a,b,y\n", "y", None, "only one row"),
        ("1,2,3\n", -1, None, "only one row"),
        ("a,b,y\n1,2,3\n", "y", None, "only one sample"),
        (GOOD + "5,,1.5\n", "y", 6, "no value for 'b'"),
        (GOOD + "5,  ,1.5\n", "y", 6, "no value for 'b'"),
        (GOOD + "5,2,\n", "y", 6, "no value for 'y'"),
        (GOOD + "\n\n5,oops,1.5\n", "y", 8, "'oops' in 'b' is not a number"),
        (GOOD + "1,1_000,1.5\n", "y", 6, "'1_000' in 'b' is not a number"),
        (GOOD + "1," + "z" * 500 + ",1.5\n", "y", 6, r"'z{37}\.\.\.' in 'b' is not a number"),
        (GOOD + "1,nan,1.5\n", "y", 6, "no value for 'b' but 'nan'"),
        (GOOD + "1,inf,1.5\n", "y", 6, "'inf' in 'b' is not finite"),
        (GOOD + "1,1e999,1.5\n", "y", 6, "'1e999' in 'b' is not finite"),
        (GOOD + "1,2,-inf\n", "y", 6, "'-inf' in 'y' is not finite"),
        (GOOD + "1,2,NA\n", "y", 6, "no value for 'y' but 'NA'"),
        (GOOD + "1,2,oops\n", "y", 6, r"'oops' in 'y' is not a number, and '0\.5' on line 2 is"),
        ("a,y\n1,p\n2,q\n3,7\n", "y", 4, "'7' in 'y' is a number, and 'p' on line 2 is not"),
        ("a,b,y\n1,2,4\n2,3,x\n", ["b", "y"], 3, "'x' in 'y' is not a number"),
        (GOOD + "1,2\n", "y", 6, "2 cells and the first row has 3"),
        (GOOD + "1,2,3,4\n", "y", 6, "4 cells and the first row has 3"),
        ('a,y\n"1\n",2.5\n2,3.5\n3,x\n', "y", 5, "'x'"),
        ('a,y\n1,2.5\n2,"3.5\n3,4\n', "y", 3, "check its quotes"),
        ("a,b,a\n1,2,3\n4,5,6\n", "b", 1, "two columns are called 'a'"),
        (",b,y\n0,2,3\n1,5,6\n", "y", 1, "position 0 has no name"),
        ("\nalpha,beta,label\n1,2,3\n4,5,6\n", "lable", 2, "did you mean 'label'?"),
        ("a,b,y\n1,2,3\n4,5,6\n", "zebra", 1, "no column 'zebra' in the first row .it holds 'a'"),
        ("a:y\n1:2\n", "y", 1, "it holds 'a:y', and is not cut by any of comma, semicolon, tab, bar;"),
        (GOOD, 3, None, "no column at position 3; .* 0 to 2"),
        (GOOD, -4, None, "no column at position -4"),
        (GOOD, ["y", "y"], None, "'y' is asked for twice"),
        (GOOD, ["y", -1], None, "'y' is asked for twice"),
        (GOOD, ["a", "b", "y"], 1, "no column is left for features"),
        ("a\n1\n4\n", "a", 1, "no column is left for features; values are taken as separated by commas"),
        ("1,oops,3\n4,5,6\n7,8,9\n", -1, 1, "the first row holds numbers and 'oops'"),
        (
            "p,q,r\ns,t,u\n",
            -1,
            1,
            r"2 of 2 texts in 'column_0' stand there once, such as 'p': .* task.exclude",
        ),
        (
            "a,b,y\n1,7,0.5\n2,7,1.5\n3,7,2.5\n",
            "y",
            None,
            "'b' is 7 in all .* leave it out with task.exclude",
        ),
        ("a,b,y\n1,7,2\n2,8,2\n3,9,2\n", "y", None, "'y' has the same class in all"),
        ("a,b,y\n1,7,2.5\n2,8,2.5\n3,9,2.5\n", "y", None, r"'y' is 2\.5 in all .* nothing to pred"),
        ("a,y\n1,1e200\n2,3.5\n3,4\n4,5\n", "y", 2, r"'1e200' in 'y' is beyond 1e\+70: .* another unit"),
        ("a,y\n1,2.5\n-1e71,3.5\n3,4\n4,5\n", "y", 3, r"'-1e71' in 'a' is beyond 1e\+70: .* another unit"),
        ("a,y\n1e-200,1.5\n2e-200,3.5\n3e-200,4\n", "y", None, "'a' has values too close together"),
    ],
)
def test_bad_files_are_refused_at_their_line(tmp_path, text, target, line, message):
    path = write(tmp_path, text)
    with pytest.raises(InputError, match=message) as caught:
        load(path, target)
    assert (caught.value.path, caught.value.line) == (path, line)


def test_features_are_checked_like_targets(tmp_path):
    path = write(tmp_path, GOOD)
    with pytest.raises(InputError, match=r"features: no column 'bb' .* did you mean 'b'\?"):
        load(path, "y", features=["a", "bb"])
    with pytest.raises(InputError, match="'y' is asked for twice"):
        load(path, "y", features=["a", "y"])
    with pytest.raises(InputError, match="'a' is asked for twice"):
        load(path, "y", features=["a", 0])


def test_columns_that_nobody_asks_for_may_hold_anything(tmp_path):
    path = write(tmp_path, ",,note,a,y\n0,9,,1,2.5\n1,9,text,2,3.5\n2,9,nan,3,4\n")
    assert load(path, "y", features=["a"]).features == ("a",)


@pytest.mark.parametrize(
    ("content", "line", "byte"),
    [
        ("a,y\n1,2.5\n2,é\n".encode("latin-1"), 3, "0xe9"),
        (GOOD.encode("utf-16"), 1, "0xff"),
    ],
)
def test_other_encodings_are_refused_at_their_line(tmp_path, content, line, byte):
    path = write(tmp_path, content)
    with pytest.raises(InputError, match=f"byte {byte} is not UTF-8") as caught:
        load(path, "y")
    assert caught.value.line == line


def test_a_nul_byte_is_refused_at_its_line(tmp_path):
    path = write(tmp_path, GOOD.encode() + b"5,\x002,1.5\n")
    with pytest.raises(InputError, match="a NUL byte") as caught:
        load(path, "y")
    assert caught.value.line == 6


def test_all_that_is_wrong_is_told_column_by_column(tmp_path):
    rows = [
        "1,ann,,0.5",
        "2,bob,NA,1.5",
        "x,cat,3,2.5",
        "4,dan,1e99,3.5",
        "5,eve,$7,4.5",
        "6,eve,2,n/a",
        "7,8",
    ]
    path = write(tmp_path, "\n".join(["a,b,c,y", *rows]))
    with pytest.raises(InputError) as caught:
        load(path, "y")
    fill = "fill it in, take out the row, or set task.missing: drop or impute"
    assert str(caught.value).replace(f"{path}:", "").splitlines() == [
        "2: 4 of 6 texts in 'b' stand there once, such as 'ann': of names or free text nothing is "
        "learnt; leave "
        "the column out with task.exclude, or list it in task.categories if they are categories",
        f"2: no value for 'c' (2 such cells, on lines 2, 3); {fill}",
        "4: 'x' in 'a' is not a number; correct it, or leave the column out with task.exclude",
        "5: '1e99' in 'c' is beyond 1e+70: squares and products of such numbers overflow; give the column in "
        "another unit",
        "6: '$7' in 'c' is not a number but looks like an amount of money; write 7, all in one currency",
        f"7: no value for 'y' but 'n/a'; {fill}",
        "8: this row has 2 cells and the first row has 4; values are separated by commas, and one that "
        "holds ',' "
        "stands in quotes",
    ]
    assert (caught.value.path, caught.value.line) == (path, 2)


def test_many_columns_of_text_are_told_up_to_a_page(tmp_path):
    header = ",".join(f"c{i}" for i in range(30))
    rows = "".join(",".join([f"t{i}"] * 30) + f",{i}.5\n" for i in range(4))
    with pytest.raises(InputError, match="and 10 more things that are wrong with it") as caught:
        load(write(tmp_path, f"{header},y\n{rows}"), "y")
    assert len(str(caught.value).splitlines()) == 21


@pytest.mark.parametrize("start", [0, 1, 2001])
def test_a_first_row_that_counts_the_columns_is_a_header_or_a_sample(tmp_path, start):
    table = pd.DataFrame(np.arange(12.0).reshape(4, 3) ** 2 / 7, columns=range(start, start + 3))
    path = write(tmp_path, table.to_csv(index=False))
    with pytest.raises(
        InputError, match=rf"the first row counts.*target: '{start + 2}'; for a sample"
    ) as caught:
        load(path, -1)
    assert caught.value.line == 1
    task = load(path, str(start + 2), standardize=False)
    expected = table.to_numpy()
    np.testing.assert_array_equal(rows_of(task), expected[np.lexsort(expected.T)])


@pytest.mark.parametrize(
    "text", ["0,1\n0,1\n1,0\n1,0\n" * 3, "5,6,7\n1,3,9\n2,2,4\n" * 4, "2.5,3.5\n1,8\n7,1\n" * 4]
)
def test_rows_of_numbers_are_samples(tmp_path, text):
    assert load(write(tmp_path, text), -1).n_train == 9


def test_integers_that_lose_digits_are_told(tmp_path):
    first = 2**53 + 1
    path = write(
        tmp_path, "a,b,y\n" + "".join(f"{first + 2 * i},{2**60 + i * 2**10},{i}.5\n" for i in range(6))
    )
    for target in ("y", "a"):
        assert load(path, target).notes == (
            "table.csv: column 'a' holds integers with more digits than a double has, so the last ones are "
            f"lost: '{first}' on line 2 is read as {float(first):.0f}",
        )


def test_files_that_are_none(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load(tmp_path / "none.csv", "y")
    with pytest.raises(InputError, match="is a directory"):
        load(tmp_path, "y")


def test_large_files_are_refused_by_their_size(tmp_path):
    path = write(tmp_path, GOOD)
    os.truncate(path, 512 * 2**20 + 1)  # sparse: takes no room
    with pytest.raises(InputError, match="at most 512 MB"):
        load(path, "y")


def test_too_many_classes(tmp_path):
    path = write(tmp_path, integers([f"id{i}" for i in range(1001)] * 2))
    with pytest.raises(InputError, match="1001 distinct texts in 'y' are too many"):
        load(path, "y")
    assert load(write(tmp_path, integers([f"id{i}" for i in range(1000)] * 2)), "y").n_outputs == 1000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": True}, "a column is a name"),
        ({"target": 1.0}, "a column is a name"),
        ({"target": None}, "a column is a name"),
        ({"target": ["y", False]}, "a column is a name"),
        ({"target": []}, "an empty list"),
        ({"features": []}, "an empty list"),
        ({"features": "a"}, "a list of columns"),
        ({"path": 3}, "path"),
        ({"test_fraction": 0}, "greater than 0"),
        ({"test_fraction": 1}, "less than 1"),
        ({"test_fraction": "0.5"}, "valid number"),
        ({"standardize": "yes"}, "valid boolean"),
        ({"feature": ["a"]}, "Extra inputs"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(ValidationError, match=message) as caught:
        CsvTable(**{"path": "table.csv", "target": "y", **options})
    assert len({error["loc"][0] for error in caught.value.errors()}) == 1
