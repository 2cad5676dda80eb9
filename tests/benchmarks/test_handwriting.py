"""The self-made handwriting: a reproducible stream, well-formed data, true curves, and how hard it is."""

import importlib.util
import io
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread as read_image
from rich.console import Console
from scipy.linalg import solve

from sheafcli.tasks.arrays import NpzArrays

SOURCE = Path(__file__).parents[2] / "benchmarks" / "handwriting.py"
N_TRAIN, N_TEST = 2_000, 2_000


@pytest.fixture(scope="module")
def handwriting():
    """The benchmark's module; benchmarks/ is no package."""
    specification = importlib.util.spec_from_file_location("handwriting", SOURCE)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def data(handwriting):
    return handwriting.draw(N_TRAIN, N_TEST)


def class_means(data):
    """Return the mean training image of each class, classes x pixels."""
    X, y = data["X_train"], data["y_train"]
    return (y.T @ X) / y.sum(axis=0)[:, np.newaxis]


# The stream


def test_equal_seeds_give_one_stream_whatever_is_drawn_of_it_and_in_either_precision(handwriting, data):
    counts = {"train": 1_234, "test": 500}
    for key, array in handwriting.draw(counts["train"], counts["test"], dtype=np.float32).items():
        assert len(array) == counts[key[2:]]
        assert (array.dtype, data[key].dtype) == (np.float32, np.float64)
        np.testing.assert_array_equal(array, data[key][: len(array)], err_msg=key)


def test_another_seed_gives_other_letters(handwriting, data):
    other = handwriting.draw(1_000, 10, seed=1)
    for key, array in other.items():
        assert not np.array_equal(array, data[key][: len(array)]), key
    # Its class means are not ours either: the ink of no class falls where ours does.
    ours, others = class_means(data), class_means(other)
    assert np.abs(ours - others).max(axis=1).min() > 0.15


def test_no_image_comes_twice(data):
    images = np.vstack([data["X_train"], data["X_test"]])
    assert len(np.unique(images, axis=0)) == N_TRAIN + N_TEST


# What the data must be


def test_pixels_lie_between_paper_and_ink(data):
    for key, n in (("X_train", N_TRAIN), ("X_test", N_TEST)):
        assert data[key].shape == (n, 784)
        assert (data[key].min(), data[key].max()) == (0.0, 1.0)


def test_targets_are_one_hot_and_every_thousand_balanced(data):
    for key, n in (("y_train", N_TRAIN), ("y_test", N_TEST)):
        y = data[key]
        assert y.shape == (n, 10)
        assert set(np.unique(y)) == {0.0, 1.0}
        assert (y.sum(axis=1) == 1.0).all()
        assert (y.reshape(-1, 1_000, 10).sum(axis=1) == 100).all()
    # In random order: consecutive labels agree one time in ten, about 99 of 999 steps for each block.
    labels = data["y_train"].argmax(axis=1)
    assert 0.05 < np.mean(labels[1:] == labels[:-1]) < 0.15


# How it is drawn


def test_distances_are_those_to_the_spline_through_the_grid_points(handwriting):
    # Collinear points: the natural spline through them is their segment, here moved to the middle column.
    grid = np.array([[4.0, 9.0], [10.0, 9.0], [23.0, 9.0]])
    distances = handwriting.distance_map([np.array([0, 1, 2]), np.array([1, 2])], grid)
    row, column = np.indices(distances.shape) / handwriting.FINE - handwriting.MARGIN
    assert (row.max(), column.max()) == (29, 29)
    beyond = np.maximum(np.abs(row - 13.5) - 9.5, 0.0)
    # The curve is known at points at most a quarter of a pixel apart.
    np.testing.assert_allclose(distances, np.hypot(beyond, column - 13.5), atol=0.125)


def test_a_look_between_the_points_is_exact_for_bilinear_maps(handwriting):
    def distance(prototype, row, column):
        return 3.0 * prototype + 0.5 * row - 0.25 * column + 0.125 * row * column

    points = (handwriting.CELLS + 1, handwriting.CELLS + 1)
    row, column = np.indices(points) / handwriting.FINE - handwriting.MARGIN
    maps = np.array([distance(prototype, row, column) for prototype in range(4)], np.float32)
    rng = np.random.default_rng(0)
    prototypes, places = rng.integers(4, size=50), rng.uniform(-2.0, 28.9, (50, 2, 784)).astype(np.float32)
    found = handwriting.look_up(maps, prototypes, places)
    expected = distance(prototypes[:, np.newaxis], places[:, 0], places[:, 1])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_pixels_look_where_the_stated_spreads_send_them(handwriting):
    rng = np.random.default_rng(0)
    places = np.concatenate([handwriting.draw_places(rng) for _ in range(3)]).reshape(-1, 2, 28, 28)
    # In the middle pixels, half a pixel from the centre, only shift and bend count. Of 3,000 samples
    # the standard deviation is known to 1.3%.
    middle = places[:, :, 13:15, 13:15]
    spread = np.hypot(handwriting.SHIFT, handwriting.BEND)
    np.testing.assert_allclose(middle.std(axis=0), spread, rtol=0.05)
    np.testing.assert_allclose(middle.mean(axis=(0, 2, 3)), 13.5, atol=0.15)
    # Between neighbours the shift cancels: E (u(p) - u(p'))^2 = 2 BEND^2 (1 - exp(-1 / (2 BEND_LENGTH^2))),
    # and the linear map adds the variance of a column of R(angle) [[s_1, 0], [shear, s_2]].
    rough = 2 * handwriting.BEND**2 * (1 - np.exp(-1 / (2 * handwriting.BEND_LENGTH**2)))
    spreads = (handwriting.ROTATION, handwriting.STRETCH, handwriting.SHEAR)
    angle, log_stretch, shear = (rng.normal(0.0, spread, 10**5) for spread in spreads)
    cos, sin, stretch = np.cos(angle), np.sin(angle), np.exp(log_stretch)
    down = cos * stretch - sin * shear, sin * stretch + cos * shear
    across = -sin * stretch, cos * stretch
    for axis, linear in ((2, down), (3, across)):
        step = np.diff(places, axis=axis)
        for component in range(2):
            expected = linear[component].var() + rough
            assert step[:, component].var(axis=0).mean() == pytest.approx(expected, rel=0.1)


# How hard it is, by classifiers in closed form


def squared_distances(X, Y):
    return (X**2).sum(axis=1)[:, np.newaxis] - 2 * X @ Y.T + (Y**2).sum(axis=1)


def test_shapes_tell_the_classes_apart_and_averages_do_not(data):
    X, y = data["X_train"][:1_000], data["y_train"][:1_000]
    X_test, truth = data["X_test"], data["y_test"].argmax(axis=1)
    nearest_mean = np.mean(squared_distances(X_test, class_means(data)).argmin(axis=1) == truth)
    # Least squares with a Gaussian kernel of the mean squared distance.
    width = 2 * X.var(axis=0).sum()
    kernel = np.exp(-squared_distances(X, X) / width) + 0.01 * np.eye(len(X))
    weights = solve(kernel, y, assume_a="pos")
    scores = np.exp(-squared_distances(X_test, X) / width) @ weights
    kernel_fit = np.mean(scores.argmax(axis=1) == truth)
    assert 0.4 < nearest_mean < 0.85
    assert nearest_mean + 0.08 < kernel_fit < 0.98


# The command


class FakeTerminal(io.StringIO):
    def isatty(self):
        return True


def test_the_file_is_a_task_and_the_picture_a_picture(handwriting, data, tmp_path, capsys):
    file, picture = tmp_path / "letters.npz", tmp_path / "letters.png"
    handwriting.main([str(file), "--train", "300", "--test", "50", "--picture", str(picture)])
    task = NpzArrays(path=file).load(np.random.SeedSequence(0), None)
    assert (task.output, task.n_features, task.n_outputs) == ("softmax", 784, 10)
    for key, array in data.items():
        found = getattr(task, key)
        assert len(found) == (300 if key.endswith("train") else 50)
        np.testing.assert_array_equal(found, array[: len(found)])
    height, width, _ = read_image(picture).shape
    assert min(height, width) > 280
    assert sorted(tmp_path.iterdir()) == [file, picture]
    out, err = capsys.readouterr()
    assert err == ""
    assert out == f"wrote {picture}\nwrote {file}: 300 training and 50 test images\n"


def test_a_long_part_shows_a_bar_on_a_terminal_and_a_short_one_does_not(handwriting, monkeypatch):
    stream = FakeTerminal()
    console = Console(file=stream, width=80, _environ={"TERM": "xterm"})
    monkeypatch.setattr(handwriting, "stderr", lambda: console)
    blank = np.zeros((60, handwriting.CELLS + 1, handwriting.CELLS + 1), np.float32)
    monkeypatch.setattr(handwriting, "draw_alphabet", lambda rng: blank)
    handwriting.draw(1_000, 1)
    assert stream.getvalue() == ""
    monkeypatch.setattr(handwriting, "BAR_FROM", 2)
    handwriting.draw(1_001, 1)
    assert "train images" in stream.getvalue()
    assert "test images" not in stream.getvalue()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--train", "0"], "n_train must be at least 1, not 0"),
        (["--test", "-2"], "n_test must be at least 1, not -2"),
        (["--seed", "-1"], "seed must be at least 0, not -1"),
    ],
)
def test_wrong_numbers_are_named_and_nothing_is_written(handwriting, tmp_path, capsys, options, message):
    with pytest.raises(SystemExit) as stop:
        handwriting.main([str(tmp_path / "letters.npz"), *options])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_whole_numbers_cannot_hold_pixels(handwriting):
    with pytest.raises(ValueError, match="dtype must be a float, such as float32 or float64, not int64"):
        handwriting.draw(10, 10, dtype=np.int64)
