"""Partitions and standardising, against their definition and scikit-learn's StandardScaler."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.preprocessing import StandardScaler

from sheafcli.tasks.fitting import moments, number_columns, target_column
from sheafcli.tasks.partition import Cut, Partition, UnknownPart
from sheafcli.tasks.preprocessing import Preprocessing
from sheafcli.tasks.table import CsvTable


@given(
    st.integers(2, 200),
    st.floats(0, 1, exclude_min=True, exclude_max=True),
    st.integers(0, 2**32),
)
def test_every_row_is_in_one_part_and_both_have_some(n_samples, test_fraction, entropy):
    parts = Cut(test_fraction).draw(n_samples, np.random.SeedSequence(entropy))
    assert sorted([*parts.train, *parts.test]) == list(range(n_samples))
    assert len(parts.train) >= 1
    assert len(parts.test) >= 1
    if 1 <= test_fraction * n_samples <= n_samples - 1:
        assert abs(len(parts.test) - test_fraction * n_samples) <= 0.5


def test_the_seed_decides():
    first, second, other = (Cut(0.25).draw(100, np.random.SeedSequence(entropy)) for entropy in (1, 1, 2))
    np.testing.assert_array_equal(first.test, second.test)
    assert set(first.test) != set(other.test)
    assert set(first.test) != set(range(25))


def standardized(parts, table):
    names = [f"x{column}" for column in range(table.shape[1])]
    columns = number_columns(names, table[parts.train], True)
    target = target_column(["y"], [], "identity", table[parts.train, :1], True)
    return Preprocessing(columns=columns, target=target).scaled(table)


def test_standardising_is_learnt_from_the_training_part():
    table = np.random.default_rng(0).normal([3.0, -100.0, 0.0], [1e-3, 50.0, 1e6], size=(40, 3))
    parts = Cut(0.25).draw(40, np.random.SeedSequence(0))
    scaler = StandardScaler().fit(table[parts.train])
    found = standardized(parts, table)
    np.testing.assert_allclose(found, scaler.transform(table), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found[parts.train].std(axis=0), 1)
    assert np.abs(found[parts.test].mean(axis=0)).max() > 1e-3


@pytest.mark.parametrize("value", [0.0, 0.1])
def test_a_constant_column_becomes_zeros_throughout(value):
    parts = Partition(np.array([0, 1, 2]), np.array([], dtype=int), np.array([3]))
    table = np.array([[value], [value], [value], [16.0]])
    assert moments(table[:3], True)[1] == 0.0
    np.testing.assert_array_equal(standardized(parts, table), 0)


def test_what_was_read_one_way_of_several_is_passed_on_to_be_said():
    parts = Cut(0.25).draw(4, np.random.SeedSequence(0))
    task = parts.task(
        np.arange(4.0)[:, None],
        np.arange(4.0)[:, None],
        output="identity",
        standardize=False,
        features=("a",),
        targets=("t",),
        classes=(),
        notes=("one row was read so",),
    )
    assert task.notes == ("one row was read so",)


@pytest.mark.parametrize(("standardize", "scaled"), [(True, (1, 1)), (False, (0, 0)), ("inputs", (1, 0))])
def test_inputs_may_be_standardised_without_the_targets(standardize, scaled):
    generator = np.random.default_rng(0)
    parts = Cut(0.25).draw(40, np.random.SeedSequence(0))
    tables = generator.normal(3.0, 5.0, size=(40, 2)), generator.normal(3.0, 5.0, size=(40, 1))
    names = {"features": ("a", "b"), "targets": ("t",), "classes": ()}
    task = parts.task(*tables, output="identity", standardize=standardize, **names)
    for table, found, is_scaled in zip(tables, (task.X_test, task.y_test), scaled, strict=True):
        expected = StandardScaler().fit(table[parts.train]).transform(table) if is_scaled else table
        np.testing.assert_allclose(found, expected[parts.test], rtol=1e-12, atol=1e-12)


SEED = np.random.SeedSequence(4)


@given(
    st.lists(st.integers(0, 4), min_size=10, max_size=120),
    st.floats(0.05, 0.5),
    st.floats(0, 0.4),
    st.integers(0, 2**32),
)
def test_each_class_has_its_share_of_every_part(codes, test_fraction, validation_fraction, entropy):
    codes = np.array(codes)
    cut = Cut(test_fraction, validation_fraction, stratify=True)
    parts = cut.draw(len(codes), np.random.SeedSequence(entropy), codes)
    assert sorted([*parts.train, *parts.validation, *parts.test]) == list(range(len(codes)))
    for part in (parts.train, parts.validation, parts.test):
        for code in np.unique(codes):
            share = len(part) * np.mean(codes == code)
            assert abs(np.sum(codes[part] == code) - share) < 3.0


def test_strata_against_scikit_learn():
    """Of classes large enough, the counts are scikit-learn's up to one."""
    codes = np.repeat([0, 1, 2], [100, 300, 600])
    expected = next(StratifiedShuffleSplit(1, test_size=0.2, random_state=0).split(codes, codes))[1]
    found = Cut(0.2, stratify=True).draw(1000, SEED, codes).test
    assert np.abs(np.bincount(codes[found]) - np.bincount(codes[expected])).max() <= 1
    unstratified = Cut(0.2).draw(1000, SEED, codes)
    np.testing.assert_array_equal(unstratified.test, np.random.default_rng(SEED).permutation(1000)[:200])


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("stratify", [False, True])
@pytest.mark.parametrize("n", [10, 23])
def test_the_folds_test_every_row_once(ordered, stratify, n):
    codes = np.arange(n) % 2
    tested = []
    for number in range(1, 6):
        cut = Cut(0.25, 0.2, f"{number}/5", ordered, stratify)
        parts = cut.draw(n, np.random.SeedSequence(1), codes)
        assert sorted([*parts.train, *parts.validation, *parts.test]) == list(range(n))
        assert len(parts.test) in (n // 5, n // 5 + 1)
        assert len(parts.validation) == round(0.2 * n)
        tested += parts.test.tolist()
    assert sorted(tested) == list(range(n))


def test_in_order_the_last_rows_are_tested_and_those_before_validated():
    parts = Cut(0.3, 0.2, ordered=True).draw(10, SEED)
    assert parts.train.tolist() == [0, 1, 2, 3, 4]
    assert parts.validation.tolist() == [5, 6]
    assert parts.test.tolist() == [7, 8, 9]


def test_a_column_may_say_the_parts():
    parts = Partition.told(["train", "TEST", "val", "training", "valid"])
    assert (parts.train.tolist(), parts.validation.tolist(), parts.test.tolist()) == ([0, 3], [2, 4], [1])
    with pytest.raises(ValueError, match="no row is of the part 'test'"):
        Partition.told(["train", "train"])
    with pytest.raises(UnknownPart) as caught:
        Partition.told(["train", "trial"])
    assert (caught.value.row, caught.value.cell) == (1, "trial")


@pytest.mark.parametrize(
    ("cut", "n", "words"),
    [
        (Cut(0.5, 0.45), 2, "none left to train on"),
        (Cut(0.5, fold="1/9"), 4, "4 rows are too few for 9 folds"),
    ],
)
def test_too_few_rows_are_refused(cut, n, words):
    with pytest.raises(ValueError, match=words):
        cut.draw(n, SEED)


CSV = {"path": "t.csv", "target": "y"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fold": "0/5"}, "1/5 to 5/5"),
        ({"fold": "6/5"}, "1/5 to 5/5"),
        ({"fold": "1/1"}, "1/5 to 5/5"),
        ({"fold": 2}, "1/5 to 5/5"),
        ({"validation_fraction": 0.75}, "given 0.75 beside a test part of 0.25"),
        ({"validation_fraction": 0.5, "fold": "1/2"}, "given 0.5 beside a test part of 0.5"),
        ({"validation_fraction": -0.1}, "greater than or equal to 0"),
        ({"split": "column"}, "missing; split: column needs"),
        ({"split_column": "part"}, "set split: column"),
        ({"split": "column", "split_column": "part", "fold": "1/5"}, "leave it out"),
        ({"split": "column", "split_column": ["part"]}, "not a list"),
        ({"split": "by date"}, "'random', 'ordered' or 'column'"),
    ],
)
def test_cuts_that_make_no_sense_are_refused(options, words):
    with pytest.raises(ValidationError, match=words):
        CsvTable(**CSV, **options)
