"""The samples of a diagnosis: those of the task, those of a file, and files that hold none."""

import numpy as np
import pytest

from sheafcli.core.chain.network import Network
from sheafcli.errors import InputError
from sheafcli.runs.samples import Samples


@pytest.fixture
def run(prepare, begin):
    """A run of 20 training and 10 test samples of 2 inputs and 1 output, with its task."""
    experiment = prepare()
    directory = begin(experiment)
    directory.write_network(Network.he([2, 4, 1]))
    return directory, experiment.task


@pytest.mark.parametrize("limit", [None, 1, 7, 1000])
@pytest.mark.parametrize(("part", "other"), [("test", "train"), ("train", "test")])
def test_a_part_of_the_task_comes_with_the_other(run, part, other, limit):
    directory, task = run
    arrays = {"test": (task.X_test, task.y_test), "train": (task.X_train, task.y_train)}
    samples = Samples.choose(directory, directory.network(), part, limit)
    np.testing.assert_array_equal(samples.X, arrays[part][0][:limit])
    np.testing.assert_array_equal(samples.y, arrays[part][1][:limit])
    assert (samples.part, samples.other_part) == (part, other)
    np.testing.assert_array_equal(samples.other[0], arrays[other][0])
    assert (samples.features, samples.classes) == (task.features, task.classes)


def test_repairs_are_asked_of_what_was_trained_on(run, tmp_path):
    directory, task = run
    network = directory.network()
    X, _ = Samples.choose(directory, network, "test", 3).trained_on
    np.testing.assert_array_equal(X, task.X_train)
    X, _ = Samples.choose(directory, network, "train", 3).trained_on
    np.testing.assert_array_equal(X, task.X_train[:3])
    np.savez(tmp_path / "mine.npz", X=task.X_test, y=task.y_test)
    X, _ = Samples.choose(directory, network, str(tmp_path / "mine.npz"), 3).trained_on
    np.testing.assert_array_equal(X, task.X_test[:3])


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int16, np.uint8])
def test_a_file_of_numbers_is_read_as_they_are(run, tmp_path, flat, dtype):
    directory, _ = run
    X, y = np.arange(10).reshape(5, 2).astype(dtype), np.arange(5).astype(dtype)
    np.savez(tmp_path / "mine.npz", X=X, y=y if flat else y[:, None], more=np.zeros(3))
    samples = Samples.choose(directory, directory.network(), str(tmp_path / "mine.npz"), 4)
    assert samples.X.dtype == samples.y.dtype == np.float64
    np.testing.assert_array_equal(samples.X, X[:4])
    np.testing.assert_array_equal(samples.y, y[:4, None])
    assert samples.part == "mine.npz"


def test_a_file_comes_with_what_the_run_was_trained_on_where_that_is_known(run, tmp_path):
    directory, task = run
    np.savez(tmp_path / "mine.npz", X=task.X_test, y=task.y_test)
    samples = Samples.choose(directory, directory.network(), str(tmp_path / "mine.npz"), None)
    assert (samples.other_part, samples.features, samples.classes) == ("train", task.features, task.classes)
    np.testing.assert_array_equal(samples.other[0], task.X_train)
    (directory / "config.yaml").write_text("name: without a task\n")
    samples = Samples.choose(directory, directory.network(), str(tmp_path / "mine.npz"), None)
    assert (samples.other, samples.features, samples.classes, samples.start) == (None, (), (), None)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"X": np.zeros((5, 2))}, "needs the arrays X and y; found X"),
        ({"x": np.zeros((5, 2)), "Y": np.zeros(5)}, "needs the arrays X and y; found x, Y"),
        ({"X": np.zeros((5, 3)), "y": np.zeros(5)}, r"X must be samples x 2, got shape \(5, 3\)"),
        ({"X": np.zeros(5), "y": np.zeros(5)}, r"X has shape \(5,\); it must be samples x features"),
        ({"X": np.zeros(()), "y": np.zeros(())}, r"X has shape \(\)"),
        (
            {"X": np.zeros((5, 2)), "y": np.zeros(())},
            r"y has shape \(\); it must be samples x outputs, or one value",
        ),
        ({"X": np.zeros((0, 2)), "y": np.zeros(0)}, r"X has shape \(0, 2\); .* not empty"),
        ({"X": np.zeros((5, 2)), "y": np.zeros(4)}, "X has 5 samples and y has 4"),
        (
            {"X": np.zeros((5, 2)), "y": np.zeros((5, 2))},
            r"y must have 1 column a sample for output identity; got shape \(5, 2\)",
        ),
        ({"X": np.full((5, 2), np.nan), "y": np.zeros(5)}, r"X\[0, 0\] is nan"),
        ({"X": np.zeros((5, 2)), "y": np.full(5, np.inf)}, r"y\[0, 0\] is inf"),
        ({"X": np.full((5, 2), "a"), "y": np.zeros(5)}, "X has dtype <U1"),
    ],
)
def test_a_file_without_samples_is_refused(run, tmp_path, arrays, words):
    directory, _ = run
    np.savez(tmp_path / "mine.npz", **arrays)
    with pytest.raises(InputError, match=words) as raised:
        Samples.choose(directory, directory.network(), str(tmp_path / "mine.npz"), None)
    assert raised.value.path == tmp_path / "mine.npz"


def test_a_network_of_another_task_is_refused(run):
    directory, _ = run
    with pytest.raises(InputError, match="3 inputs and 1 outputs, the run's task 2 and 1"):
        Samples.choose(directory, Network.he([3, 4, 1]), "test", None)
