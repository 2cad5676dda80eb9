"""Separators of CSV files: what other programs write is read as they meant it, what is open is refused."""

import csv
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sheafcli.errors import InputError
from sheafcli.tasks.separators import CHARACTERS, recognise
from sheafcli.tasks.table import CsvTable

TABLE = pd.DataFrame(
    {
        "a": [0.5, 1.25, -3.0, 12.75, 2.5, 8.0],
        "b": [1.5, 2.5, 0.5, 7.25, -1.0, 9.5],
        "y": [0.25, 1.5, 2.0, 3.0, 4.5, 5.0],
    }
)


def load(tmp_path, text, target="y", **options):
    path = tmp_path / "table.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return CsvTable(path=path, target=target, standardize=False, **options).load(
        np.random.SeedSequence(0), None
    )


def assert_is_table(task, frame=TABLE):
    rows = np.vstack([np.hstack([task.X_train, task.y_train]), np.hstack([task.X_test, task.y_test])])
    expected = frame.to_numpy()
    np.testing.assert_array_equal(rows[np.lexsort(rows.T)], expected[np.lexsort(expected.T)])


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("decimal", [".", ","])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_what_pandas_writes_is_read(tmp_path, delimiter, decimal, header):
    text = TABLE.to_csv(index=False, sep=delimiter, decimal=decimal, header=header)
    target = "y" if header else -1
    if delimiter == decimal:
        # Decimal commas in quotes between commas: thousands are written so, too.
        with pytest.raises(InputError, match=r"decimal comma.*write 0\.5, or set task.decimal: comma"):
            load(tmp_path, text, target)
        task = load(tmp_path, text, target, decimal="comma")
    else:
        task = load(tmp_path, text, target)
        expected = [] if delimiter == "," else ["task.delimiter"]
        expected += [] if decimal == "." else ["task.decimal: point"]
        assert [note.rpartition("set ")[2] for note in task.notes] == expected
    assert_is_table(task)


@given(
    st.sampled_from([",", ";", "\t", "|"]),
    st.lists(
        st.tuples(
            st.floats(-1e9, 1e9), st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]))
        ),
        min_size=2,
        max_size=30,
    ),
)
def test_quoted_text_does_not_mislead(delimiter, rows):
    """Of a column of any quoted text beside a number, only the separator outside of the quotes counts."""
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows(rows)
    lines = [f"{line}\r\n" for line in file.getvalue().split("\r\n")[:-1]]
    found = recognise(lines, Path("t.csv"), first=1, delimiter=None, decimal="point", whole=True)
    assert found.delimiter == delimiter


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_the_first_line_that_excel_reads(tmp_path, mark):
    text = TABLE.to_csv(index=False, sep=mark)
    assert_is_table(load(tmp_path, f"sep={mark}\r\n{text}"))
    with pytest.raises(InputError, match="'oops'") as caught:
        load(tmp_path, f"sep={mark}\n{text}1{mark}oops{mark}3.5\n")
    assert caught.value.line == 9


def test_a_first_line_with_another_separator(tmp_path):
    with pytest.raises(
        InputError, match="separated by '!'; save the file with one of comma, semicolon"
    ) as caught:
        load(tmp_path, "sep=!\na!y\n1!2.5\n")
    assert caught.value.line == 1


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a b y\n1 2 0.5\n2 3 1.5\n3 1 2.5\n", 1, "separated by blanks"),
        (
            "1,a;b\n2,c;d\n3,e;f\n",
            1,
            r"commas \(comma\) or semicolons \(semicolon\); say which with task.delimiter",
        ),
        (
            "a;y\n1;1,037\n2;2,041\n3;4,512\n",
            2,
            "'1,037' is 1.037 or 1037; say how .* task.decimal: comma or point",
        ),
        ("a;y\n1.5;0,5\n2.5;1,5\n3.5;2,5\n", 2, r"written '1\.5' on line 2 and '0,5' here; say how"),
        (
            "a;b;y\n1;2;3.5\n2;3\n4;5;6.5\n",
            3,
            "2 cells and the first row has 3; values are separated by semicolons",
        ),
        ("a;b;y\n1;2;3,5\n2;3;4,5\n4;5.5;6\n", 2, "is|written"),
    ],
)
def test_what_is_open_is_refused(tmp_path, text, line, words):
    with pytest.raises(InputError, match=words) as caught:
        load(tmp_path, text, -1)
    assert caught.value.line == line


@pytest.mark.parametrize(
    ("options", "y"),
    [
        ({"decimal": "comma"}, [1.037, 2.041, 4.512]),
        ({"decimal": ","}, [1.037, 2.041, 4.512]),
        ({"delimiter": "semicolon", "decimal": "comma"}, [1.037, 2.041, 4.512]),
        ({"delimiter": ";", "decimal": "comma"}, [1.037, 2.041, 4.512]),
    ],
)
def test_the_keys_settle_it(tmp_path, options, y):
    task = load(tmp_path, "a;y\n1;1,037\n2;2,041\n3;4,512\n", **options)
    assert sorted([*task.y_train[:, 0], *task.y_test[:, 0]]) == y
    assert bool(task.notes) == ("delimiter" not in options)


def test_thousands_are_refused_where_the_decimals_are_said_to_have_a_point(tmp_path):
    text = "a;y\n1;1,037\n2;2,041\n3;4,512\n"
    with pytest.raises(InputError, match="'1,037' in the target 'y' is not a number but looks like"):
        load(tmp_path, text, decimal="point")


def test_points_are_refused_among_decimal_commas(tmp_path):
    with pytest.raises(InputError, match=r"'5\.5' in 'a' has a decimal point, where") as caught:
        load(tmp_path, "a;y\n1;0,5\n2;1,5\n5.5;2,5\n", decimal="comma")
    assert caught.value.line == 4


def test_a_point_far_below_the_sample_is_refused(tmp_path):
    text = "a;y\n" + "".join(f"{i},5;{i},25\n" for i in range(1200)) + "7.5;1\n"
    with pytest.raises(InputError, match=r"'7\.5' in 'a' has a decimal point") as caught:
        load(tmp_path, text)
    assert caught.value.line == 1202


def test_quoted_newlines_at_the_end_of_the_sample(tmp_path):
    lines = "".join(f'{i};"text\nof two; lines";{i},5\n' for i in range(600))
    task = load(tmp_path, f"a;note;y\n{lines}", features=["a"])
    assert len(task.X_train) + len(task.X_test) == 600


def test_keys_that_make_no_sense(tmp_path):
    for options in ({"delimiter": "blank"}, {"delimiter": 3}, {"decimal": ";"}):
        with pytest.raises(ValidationError):
            CsvTable(path="table.csv", target="y", **options)
    assert {CsvTable(path="t", target="y", delimiter=c).delimiter for c in CHARACTERS.values()} == set(
        CHARACTERS
    )
