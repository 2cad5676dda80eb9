"""What a target is taken for, by examples of each kind; and that whatever could be otherwise is said."""

import datetime
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheafcli.errors import InputError
from sheafcli.tasks.table import CsvTable

N = 12


def load(folder, values, output=None):
    path = folder / "table.csv"
    rows = "".join(f'{i}.5,{i * i}.25,"{value}"\n' for i, value in enumerate(values))
    path.write_text(f"a,b,y\n{rows}", encoding="utf-8")
    spec = CsvTable(path=path, target="y", standardize=False)
    return spec.load(np.random.SeedSequence(1), output)


QUANTITIES = {
    "decimal comma": [f"{i},{i}5" for i in range(N)],
    "thousands": [f"{i + 1},0{i + 10}.50" for i in range(N)],
    "blanks between thousands": [f"{i + 1} 2{i + 10}" for i in range(N)],
    "dollars": [f"${i}.50" for i in range(N)],
    "euros": [f"€{i}" for i in range(N)],
    "percent": [f"{i}%" for i in range(N)],
    "dates": [f"2024-01-{i + 1:02d}" for i in range(N)],
    "times": [f"12:{i + 10}" for i in range(N)],
    "few percentages": ["5%", "10%"] * 6,
    "among names": [*[f"{i}%" for i in range(N - 2)], "all", "all"],
}


@pytest.mark.parametrize("values", QUANTITIES.values(), ids=QUANTITIES)
@pytest.mark.parametrize("output", [None, "identity"])
def test_a_quantity_written_as_text_is_refused_with_its_line(tmp_path, values, output):
    with pytest.raises(InputError, match=r"'y' is not a number but looks like .*; write .*softmax") as caught:
        load(tmp_path, values, output)
    assert (caught.value.path, caught.value.line) == (tmp_path / "table.csv", 2)


@pytest.mark.parametrize("values", QUANTITIES.values(), ids=QUANTITIES)
def test_it_is_classes_where_the_output_says_so_which_is_said(tmp_path, values):
    task = load(tmp_path, values, "softmax")
    assert set(task.classes) == set(values)
    assert any("classes" in note for note in task.notes)


ALONE = {
    "names": [f"id{i}" for i in range(N)],
    "a slip behind each": [f"1e{i}x" for i in range(N)],
    "units": [f"{i} kg" for i in range(N)],
    "hexadecimal": [f"0x{i}f" for i in range(N)],
    "codes": [f"0{i + 10}" for i in range(N)],
    "just over half": [*[f"id{i}" for i in range(N // 2 + 1)], *["rest"] * (N // 2 - 1)],
}


@pytest.mark.parametrize("values", ALONE.values(), ids=ALONE)
def test_a_class_for_each_sample_is_refused(tmp_path, values):
    with pytest.raises(InputError, match=r"samples have a value of their own in 'y'.*softmax") as caught:
        load(tmp_path, values)
    assert caught.value.line == 2
    assert load(tmp_path, values, "softmax").notes


def test_half_of_them_may_be_alone(tmp_path):
    values = [*[f"id{i}" for i in range(N // 2)], *["rest"] * (N // 2)]
    assert len(load(tmp_path, values).classes) == N // 2 + 1


@pytest.mark.parametrize(
    ("values", "output", "classes", "words"),
    [
        (
            ["0.0", "1.0"] * 6,
            "identity",
            (),
            "2 distinct integers, written with decimals, 0 and 1: read as a quan",
        ),
        (["0", "1.0"] * 6, "identity", (), "network.output: sigmoid makes them classes"),
        (["0.", "1.0", "2.00"] * 4, "identity", (), "network.output: softmax makes them classes"),
        (
            ["01", "1", "007"] * 4,
            "softmax",
            ("01", "1", "007"),
            "codes with leading zeros, such as '01': read as 3",
        ),
        (["00", "01"] * 6, "sigmoid", ("00", "01"), "network.output: identity makes them a quantity"),
        (
            [3, 1, 2] * 4,
            "softmax",
            ("1", "2", "3"),
            "3 distinct integers, 1 to 3: read as classes; network.output",
        ),
        ([0, 1] * 6, "sigmoid", ("0", "1"), "2 distinct integers, 0 and 1: read as classes; network.output"),
        ([-1, 1] * 6, "sigmoid", ("-1", "1"), "network.output: identity makes them a quantity"),
        ([100, 250, 900] * 4, "softmax", ("100", "250", "900"), "identity makes them a quantity"),
        (range(1990, 1990 + N), "identity", (), "12 distinct integers, 1990 to 2001: read as a quantity"),
        (list(range(26)) * 2, "identity", (), "26 distinct integers, 0 to 25: read as a quantity"),
        (["5 kg", "7 kg"] * 6, "sigmoid", ("5 kg", "7 kg"), "'5 kg', which looks like a number with a unit"),
        (["a", "NA", "b"] * 4, "softmax", ("NA", "a", "b"), "the class 'NA' in 4 rows; if that says"),
        (
            ["no", "No", "yes"] * 4,
            "softmax",
            ("No", "no", "yes"),
            "in capitals or blanks alone: 'No', 'no'; write",
        ),
    ],
)
def test_what_could_be_otherwise_is_said(tmp_path, values, output, classes, words):
    task = load(tmp_path, values)
    assert (task.output, task.classes) == (output, classes)
    (note,) = task.notes
    assert note.startswith("table.csv: target 'y'")
    assert words in note


@pytest.mark.parametrize(
    ("values", "output"),
    [
        (["a", "b", "c"] * 4, None),
        (["<=50K", ">50K"] * 6, None),
        ([i * 7.5 for i in range(N)], None),
        ([i * i + 30 for i in range(40)], None),
        (["0.0", "1.0"] * 6, "sigmoid"),
        (["0.0", "1.0"] * 6, "identity"),
        ([3, 1, 2] * 4, "softmax"),
        ([3, 1, 2] * 4, "identity"),
    ],
)
def test_what_is_clear_needs_no_word(tmp_path, values, output):
    assert load(tmp_path, values, output).notes == ()


def test_classes_written_with_decimals_have_the_names_of_integers(tmp_path):
    task = load(tmp_path, ["0.0", "1.", "2"] * 4, "softmax")
    assert task.classes == ("0", "1", "2")
    np.testing.assert_array_equal(np.vstack([task.y_train, task.y_test]).sum(axis=0), [4, 4, 4])


@pytest.mark.parametrize("mark", ["n/a", "?", "NaN", ""])
@pytest.mark.parametrize("values", [["a", "b"], ["1.5", "2.5"]])
def test_a_missing_target_is_no_class(tmp_path, values, mark):
    with pytest.raises(InputError, match="no value for 'y'") as caught:
        load(tmp_path, [*values * 4, mark, *values])
    assert caught.value.line == 10


def test_numbers_beside_names_are_refused_with_their_count(tmp_path):
    with pytest.raises(
        InputError, match=r"'7' in 'y' is a number \(2 such cells\), and 'a' on line 2 is"
    ) as caught:
        load(tmp_path, [*["a", "b"] * 4, 7, 8])
    assert caught.value.line == 10
    with pytest.raises(InputError, match=r"'3,5' in 'y' is not a number but looks like .* decimal comma"):
        load(tmp_path, [*["1.5", "2.5"] * 4, "3,5"])


WRITTEN = st.sampled_from(
    [
        lambda x: f"{x:.2f}".replace(".", ","),
        lambda x: f"${x:,.2f}",
        lambda x: f"{x:.1f} %",
        lambda x: f"{x:.2f} EUR",
        lambda x: (datetime.date(2000, 1, 1) + datetime.timedelta(days=x)).isoformat(),
    ]
)


@given(WRITTEN, st.lists(st.integers(0, 9999), min_size=2, max_size=40))
def test_no_spelling_of_numbers_passes_for_names(tmp_path_factory, written, numbers):
    folder = tmp_path_factory.mktemp(f"t{zlib.crc32(repr(numbers).encode())}")
    with pytest.raises(InputError, match="looks like"):
        load(folder, [written(number) for number in numbers])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([1990, 1991, 1992] * 5, "though they look like years"),
        ([100, 200, 300, 400, 1200] * 5, "gaps as amounts and prices do"),
        ([0, 1, 2, 3, 4, 5] * 5, None),
        ([1, 2, 3, 4, 5] * 5, None),
        ([10, 20, 30] * 5, None),
    ],
)
def test_integers_that_are_hardly_classes_are_a_warning(tmp_path, values, words):
    path = tmp_path / "t.csv"
    path.write_text("x,y\n" + "".join(f"{i % 7}.5,{value}\n" for i, value in enumerate(values)))
    task = CsvTable(path=path, target="y").load(np.random.SeedSequence(0), None)
    (note,) = task.notes
    assert "network.output: identity makes them a quantity" in note
    assert note.startswith("warning: ") == (words is not None)
    assert words is None or words in note
    assert CsvTable(path=path, target="y").load(np.random.SeedSequence(0), "softmax").notes == ()
