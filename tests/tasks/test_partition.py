"""Partitions and standardising, against their definition and scikit-learn's StandardScaler."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from sheafcli.tasks.fitting import moments, number_columns, target_column
from sheafcli.tasks.partition import Partition
from sheafcli.tasks.preprocessing import Preprocessing


@given(
    st.integers(2, 200),
    st.floats(0, 1, exclude_min=True, exclude_max=True),
    st.integers(0, 2**32),
)
def test_every_row_is_in_one_part_and_both_have_some(n_samples, test_fraction, entropy):
    parts = Partition.draw(n_samples, test_fraction, np.random.SeedSequence(entropy))
    assert sorted([*parts.train, *parts.test]) == list(range(n_samples))
    assert len(parts.train) >= 1
    assert len(parts.test) >= 1
    if 1 <= test_fraction * n_samples <= n_samples - 1:
        assert abs(len(parts.test) - test_fraction * n_samples) <= 0.5


def test_the_seed_decides():
    first, second, other = (
        Partition.draw(100, 0.25, np.random.SeedSequence(entropy)) for entropy in (1, 1, 2)
    )
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
    parts = Partition.draw(40, 0.25, np.random.SeedSequence(0))
    scaler = StandardScaler().fit(table[parts.train])
    found = standardized(parts, table)
    np.testing.assert_allclose(found, scaler.transform(table), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found[parts.train].std(axis=0), 1)
    assert np.abs(found[parts.test].mean(axis=0)).max() > 1e-3


@pytest.mark.parametrize("value", [0.0, 0.1])
def test_a_constant_column_becomes_zeros_throughout(value):
    parts = Partition(train=np.array([0, 1, 2]), test=np.array([3]))
    table = np.array([[value], [value], [value], [16.0]])
    assert moments(table[:3], True)[1] == 0.0
    np.testing.assert_array_equal(standardized(parts, table), 0)


def test_what_was_read_one_way_of_several_is_passed_on_to_be_said():
    parts = Partition.draw(4, 0.25, np.random.SeedSequence(0))
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
    parts = Partition.draw(40, 0.25, np.random.SeedSequence(0))
    tables = generator.normal(3.0, 5.0, size=(40, 2)), generator.normal(3.0, 5.0, size=(40, 1))
    names = {"features": ("a", "b"), "targets": ("t",), "classes": ()}
    task = parts.task(*tables, output="identity", standardize=standardize, **names)
    for table, found, is_scaled in zip(tables, (task.X_test, task.y_test), scaled, strict=True):
        expected = StandardScaler().fit(table[parts.train]).transform(table) if is_scaled else table
        np.testing.assert_allclose(found, expected[parts.test], rtol=1e-12, atol=1e-12)
