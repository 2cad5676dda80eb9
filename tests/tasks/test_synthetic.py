"""The four planar tasks against their definitions and the draws of the reference implementation."""

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats

from sheafcli.errors import InputError
from sheafcli.tasks.synthetic import Blobs, Circular, Paraboloid, Saddle

GOLDEN = Path(__file__).parents[1] / "golden"
SEED = np.random.SeedSequence(7)
N = 20_000
# The seeds are fixed: a p-value below this would be a defect, not bad luck.
UNLIKELY = 1e-4


@pytest.mark.parametrize("kind", [Paraboloid, Saddle, Circular, Blobs])
def test_shapes_names_and_default_sizes(kind):
    task = kind().load(SEED, None)
    assert (task.n_train, len(task.X_test), task.n_features) == (300, 100, 2)
    assert task.features == ("x1", "x2")
    small = kind(n_train=1, n_test=3).load(SEED, None)
    assert (small.n_train, len(small.X_test)) == (1, 3)


@pytest.mark.parametrize("kind", [Paraboloid, Saddle, Circular, Blobs])
def test_equal_seeds_give_equal_data_and_others_do_not(kind):
    first, second = kind().load(SEED, None), kind().load(np.random.SeedSequence(7), None)
    for name in ("X_train", "y_train", "X_test", "y_test"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    other = kind().load(np.random.SeedSequence(8), None)
    assert not np.isin(other.X_train, first.X_train).any()
    assert not np.isin(first.X_test, first.X_train).any()


@pytest.mark.parametrize(
    ("kind", "low", "high", "formula"),
    [
        (Paraboloid, -2, 2, lambda x1, x2: x1**2 + x2**2 - 2 / 3),
        (Saddle, 0, 2, lambda x1, x2: x1**2 - x2**2 + 0.5 * np.sin(2 * x1)),
    ],
)
def test_surfaces_with_their_noise(kind, low, high, formula):
    task = kind(n_train=N, n_test=N).load(SEED, None)
    assert (task.output, task.n_outputs, task.targets, task.classes) == ("identity", 1, ("y",), ())
    for X, y in ((task.X_train, task.y_train), (task.X_test, task.y_test)):
        for column in X.T:
            assert stats.kstest(column, stats.uniform(low, high - low).cdf).pvalue > UNLIKELY
        assert abs(np.corrcoef(X.T)[0, 1]) < 4 / np.sqrt(N)
        noise = y[:, 0] - formula(X[:, 0], X[:, 1])
        assert stats.kstest(noise, stats.norm(0, 0.02).cdf).pvalue > UNLIKELY
        assert noise.std() == pytest.approx(0.02, rel=4 / np.sqrt(2 * N))


@pytest.mark.parametrize("kind", [Paraboloid, Saddle])
def test_the_reference_draws_from_the_same_surface(kind):
    with np.load(GOLDEN / f"tasks_{kind.__name__.lower()}.npz") as golden:
        X, y = golden["X_train"], golden["y_train"][:, 0]
    noise = y - kind.surface(X[:, 0], X[:, 1])
    assert stats.kstest(noise, stats.norm(0, 0.02).cdf).pvalue > UNLIKELY


def test_circular_radii():
    task = Circular(n_train=N, n_test=101).load(SEED, None)
    assert (task.output, task.n_outputs) == ("sigmoid", 1)
    assert task.classes == ("disk", "annulus")
    label = task.y_train[:, 0]
    assert label.sum() == N / 2
    assert task.y_test.sum() == 50
    # Shuffled: as many changes of label from row to row as a fair coin would make.
    assert abs(np.count_nonzero(np.diff(label)) - N / 2) < 4 * np.sqrt(N) / 2
    angle = np.arctan2(task.X_train[:, 1], task.X_train[:, 0])
    assert stats.kstest(angle, stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > UNLIKELY

    # Uniform by area: the squared radius is uniform on [a, b]. With noise of variance s on the
    # radius, E r^2 = (a + b)/2 + s and E r^4 = (a^2 + ab + b^2)/3 + 6 s (a + b)/2 + 3 s^2.
    for value, inner, outer in ((0, 0.0, 1.0), (1, 1.5, 2.5)):
        square = (task.X_train[label == value] ** 2).sum(axis=1)
        a, b, s = inner**2, outer**2, 0.1**2
        mean = (a + b) / 2 + s
        fourth = (a * a + a * b + b * b) / 3 + 6 * s * (a + b) / 2 + 3 * s * s
        deviation = np.sqrt(fourth - mean**2)
        assert abs(square.mean() - mean) < 4 * deviation / np.sqrt(N / 2)
        assert np.mean(square**2) == pytest.approx(fourth, rel=0.02)


def test_circular_radii_are_distributed_as_the_reference_draws_them():
    task = Circular(n_train=N).load(SEED, None)
    with np.load(GOLDEN / "tasks_circular.npz") as golden:
        for value in (0, 1):
            ours = np.hypot(*task.X_train[task.y_train[:, 0] == value].T)
            theirs = np.hypot(*golden["X_train"][golden["y_train"][:, 0] == value].T)
            assert stats.ks_2samp(ours, theirs).pvalue > UNLIKELY


def test_blobs_have_their_centres_and_covariances():
    task = Blobs(n_train=N, n_test=402).load(SEED, None)
    assert (task.output, task.n_outputs, len(task.classes)) == ("softmax", 4, 4)
    np.testing.assert_array_equal(task.y_train.sum(axis=0), N / 4)
    np.testing.assert_array_equal(np.sort(task.y_test.sum(axis=0)), [100, 100, 101, 101])
    centres = [(-1.5, -1.5), (1.8, -1.0), (1.0, 2.0), (-2.0, 1.5)]
    covariances = [
        [[0.8, 0.3], [0.3, 0.4]],
        [[0.3, -0.2], [-0.2, 1.0]],
        [[1.2, 0.5], [0.5, 0.5]],
        [[0.5, 0.0], [0.0, 0.8]],
    ]
    for label, (centre, covariance) in enumerate(zip(centres, covariances, strict=True)):
        points = task.X_train[task.y_train[:, label] == 1]
        # Whitened by the covariance asked for, the points are standard normal, independently.
        white = np.linalg.solve(np.linalg.cholesky(covariance), (points - centre).T)
        for coordinate in (*white, (white[0] + white[1]) / np.sqrt(2)):
            assert stats.kstest(coordinate, stats.norm.cdf).pvalue > UNLIKELY


@pytest.mark.parametrize(
    ("kind", "asked", "columns"),
    [(Circular, "softmax", 2), (Circular, "sigmoid", 1), (Blobs, "softmax", 4)],
)
def test_outputs_that_fit(kind, asked, columns):
    task = kind().load(SEED, asked)
    assert (task.output, task.n_outputs) == (asked, columns)


@pytest.mark.parametrize(
    ("kind", "asked", "allowed"),
    [
        (Paraboloid, "sigmoid", "identity"),
        (Saddle, "softmax", "identity"),
        (Circular, "identity", "sigmoid, softmax"),
        (Blobs, "sigmoid", "softmax"),
    ],
)
def test_outputs_that_do_not_fit(kind, asked, allowed):
    with pytest.raises(InputError, match=f"'{asked}' does not fit .*; allowed: {allowed} "):
        kind().load(SEED, asked)


@pytest.mark.parametrize("value", [0, -1, "3", 3.0, True, float("nan"), 10**12, None])
@pytest.mark.parametrize("field", ["n_train", "n_test"])
def test_sizes_that_make_no_sense(field, value):
    with pytest.raises(ValidationError):
        Paraboloid(**{field: value})
