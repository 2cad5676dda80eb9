"""Open sizes: what is said of them holds for every number of samples, as NumPy has it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheafcli.interop.onnx_sizes import SAMPLES, Sizes, features

sizes_of = st.lists(st.sampled_from([1, 2, 3, 4]), min_size=1, max_size=3)


def closed(shape, samples):
    return tuple(samples if size == SAMPLES else size for size in shape)


@given(shape=sizes_of, place=st.integers(0, 3), data=st.data())
def test_a_reshape_that_is_accepted_keeps_every_sample_apart(shape, place, data):
    """Sample i of what comes out is sample i of what goes in, its numbers in the same order."""
    shape.insert(min(place, len(shape)), SAMPLES)
    target = data.draw(st.lists(st.sampled_from([-1, SAMPLES, 1, 2, 3, 4, 6]), max_size=4))
    made = Sizes(batch=7).reshaped(tuple(shape), tuple(target))
    if made is None:
        return
    assert made.count(SAMPLES) == 1
    for samples in (5, 7):
        x = np.arange(math.prod(closed(shape, samples))).reshape(closed(shape, samples))
        y = x.reshape(closed(target, samples))
        assert y.shape == closed(made, samples)
        before, after = np.moveaxis(x, shape.index(SAMPLES), 0), np.moveaxis(y, made.index(SAMPLES), 0)
        assert np.array_equal(before.reshape(samples, -1), after.reshape(samples, -1))


@given(shape=sizes_of, place=st.integers(0, 3))
def test_flattening_is_always_accepted_where_samples_come_first(shape, place):
    n = math.prod(shape)
    for target in ((SAMPLES, -1), (-1, n), (SAMPLES, n)):
        assert Sizes().reshaped((SAMPLES, *shape), target) == (SAMPLES, n)


def test_sizes_that_are_open_have_products():
    sizes = Sizes()
    rows, columns = sizes.named("rows"), sizes.named("columns")
    flat = sizes.reshaped((SAMPLES, rows, 3, columns), (SAMPLES, -1))
    assert flat == sizes.reshaped((SAMPLES, columns, rows, 3), (SAMPLES, -1))
    assert sizes.reshaped(flat, (SAMPLES, 3, rows, -1)) == (SAMPLES, 3, rows, columns)
    assert sizes.reshaped(flat, (SAMPLES, 5, -1)) is None
    assert features(flat) == flat[1:]


@pytest.mark.parametrize(
    ("batch", "shape", "target", "made"),
    [
        (1, (SAMPLES, 4), (1, 4), (SAMPLES, 4)),
        (1, (SAMPLES, 4), (-1,), (4,)),
        (1, (SAMPLES, 4), (4, 1), (4, 1)),
        (None, (SAMPLES, 4), (1, -1), (1, 4)),
        (5, (SAMPLES, 5), (5, -1), (SAMPLES, 5)),
        (5, (SAMPLES, 4), (-1,), None),
        (None, (SAMPLES, 4), (3, -1), None),
        (None, (SAMPLES, 4), (-1, -1), None),
        (None, (SAMPLES, 4), (0, 4), None),
        (None, (4,), (2, 2), (2, 2)),
    ],
)
def test_fixed_batches(batch, shape, target, made):
    assert Sizes(batch=batch).reshaped(shape, target) == made
