"""From a configuration to data, start weights and methods: what the seed decides, and what must fit."""

import numpy as np
import pytest

from sheafcli.core.cochain import Cochain
from sheafcli.core.network import Network
from sheafcli.errors import InputError
from sheafcli.tasks import TASKS

TASK = ("X_train", "y_train", "X_test", "y_test")


def drawn(experiment) -> dict[str, np.ndarray]:
    """Collect everything random in an experiment: its data, its start weights, its start stalks."""
    task, network, phase = experiment.task, experiment.network, experiment.phases[0]
    session = phase.method.start(network, task.X_train, task.y_train, phase.seed)
    arrays = {name: getattr(task, name) for name in TASK}
    arrays |= {f"W{layer}": W for layer, W in enumerate(network.weights, start=1)}
    return arrays | session.cochain().stalks()


def same(one, other) -> set[str]:
    """Name the arrays that two experiments share."""
    first, second = drawn(one), drawn(other)
    return {name for name in first if np.array_equal(first[name], second[name])}


def refusal(prepare, *overrides) -> InputError:
    with pytest.raises(InputError) as caught:
        prepare(*overrides)
    return caught.value


# Seeds --------------------------------------------------------------------------------------


def test_the_same_seed_draws_the_same(prepare):
    assert same(prepare(), prepare()) == set(drawn(prepare()))


def test_another_seed_draws_everything_anew(prepare):
    assert same(prepare(), prepare("seed=4")) == set()


@pytest.mark.parametrize(
    ("override", "kept"),
    [
        ("task.n_test=11", {"X_train", "y_train", "W1", "W2", "z1", "a1", "z2"}),
        ("task.kind=saddle", {"W1", "W2", "z1", "a1", "z2"}),
        ("network.hidden=[5]", set(TASK)),
        ("training.stalks=zeros", {*TASK, "W1", "W2"}),
        ("training.steps=10", {*TASK, "W1", "W2", "z1", "a1", "z2"}),
    ],
)
def test_what_one_part_draws_does_not_move_another(prepare, override, kept):
    assert same(prepare(), prepare(override)) == kept


def test_task_weights_and_stalks_are_the_children_of_the_seed_in_this_order(prepare):
    experiment = prepare()
    task, weights, stalks = np.random.SeedSequence(3).spawn(3)
    data = TASKS["paraboloid"](n_train=20, n_test=10).load(task, None)
    for name in TASK:
        np.testing.assert_array_equal(getattr(experiment.task, name), getattr(data, name))
    network = Network.he((2, 4, 1), "identity", weights)
    for one, other in zip(experiment.network.weights, network.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert {phase.seed.spawn_key for phase in experiment.phases} == {stalks.spawn_key}


def test_a_baseline_has_its_own_length_and_log(prepare):
    training, baseline = prepare().phases
    assert (training.name, training.total, training.log_every) == ("training", 60, 20)
    assert (baseline.name, baseline.total, baseline.log_every) == ("baseline", 30, 10)
    assert len(prepare("baseline=null").phases) == 1


def test_a_training_by_time_does_not_know_its_steps(prepare):
    phase = prepare("training={time: 1, dt: 0.1}").phases[0]
    assert (phase.total, phase.method.time, phase.method.steps) == (None, 1.0, None)


# Files to start from ------------------------------------------------------------------------


def test_start_weights_and_stalks_are_taken_as_they_are(prepare, tmp_path):
    network = Network.he((2, 4, 1), "identity", seed=9)
    np.savez(tmp_path / "w.npz", W1=network.weights[0], W2=network.weights[1], b1=np.arange(4.0))
    stalks = Cochain.random((2, 4, 1), 20, seed=9).stalks()
    np.savez(tmp_path / "s.npz", **stalks)
    found = drawn(prepare(f"network.start={tmp_path}/w.npz", f"training.stalks={tmp_path}/s.npz"))
    for name, array in {"W1": network.weights[0], "W2": network.weights[1], **stalks}.items():
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize(
    "shapes", [[(4, 3), (1, 4)], [(5, 2), (1, 5)], [(4, 2), (2, 4)], [(1, 2)], [(4, 2), (4, 4), (1, 4)]]
)
def test_start_weights_of_other_widths_are_refused(prepare, tmp_path, shapes):
    weights = {f"W{layer}": np.ones(shape) for layer, shape in enumerate(shapes, start=1)}
    np.savez(tmp_path / "w.npz", **weights)
    error = refusal(prepare, f"network.start={tmp_path}/w.npz")
    widths = [shapes[0][1], *(rows for rows, _ in shapes)]
    assert str(widths) in error.message
    assert "[2, 4, 1]" in error.message
    assert error.path == tmp_path / "w.npz"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"z1": np.ones((20, 5))}, "stalk z1 must have shape (20, 4), got (20, 5)"),
        ({"a1": np.ones((19, 4))}, "stalk a1 must have shape (20, 4), got (19, 4)"),
        ({"z2": np.ones(20)}, "stalk z2 must have shape (20, 1), got (20,)"),
        ({"z3": np.ones((20, 1))}, "start stalks must be z1, a1, z2; got z1, a1, z2, z3"),
        ({"z1": np.ones(20)}, "start stalks need z1"),
        ({"z2": np.full((20, 1), np.inf)}, "finite"),
    ],
)
def test_start_stalks_of_another_shape_are_refused(prepare, tmp_path, change, words):
    stalks = {name: np.array(stalk) for name, stalk in Cochain((2, 4, 1), 20).stalks().items()}
    np.savez(tmp_path / "s.npz", **(stalks | change))
    error = refusal(prepare, f"training.stalks={tmp_path}/s.npz")
    assert words in error.message
    assert error.path == tmp_path / "s.npz"


@pytest.mark.parametrize("missing", ["z1", "a1", "z2"])
def test_a_missing_start_stalk_is_named(prepare, tmp_path, missing):
    stalks = {name: np.array(stalk) for name, stalk in Cochain((2, 4, 1), 20).stalks().items()}
    np.savez(tmp_path / "s.npz", **{name: stalk for name, stalk in stalks.items() if name != missing})
    assert missing in refusal(prepare, f"training.stalks={tmp_path}/s.npz").message


def test_start_stalks_of_other_samples_are_refused(prepare, tmp_path):
    np.savez(tmp_path / "s.npz", **Cochain((2, 4, 1), 21).stalks())
    message = refusal(prepare, f"training.stalks={tmp_path}/s.npz").message
    assert "21 samples" in message
    assert "trains on 20" in message


@pytest.mark.parametrize(
    ("kind", "output", "fitting"),
    [
        ("paraboloid", "softmax", "identity"),
        ("saddle", "sigmoid", "identity"),
        ("circular", "identity", "sigmoid"),
        ("blobs", "sigmoid", "softmax"),
        ("diabetes", "softmax", "identity"),
        ("digits", "identity", "softmax"),
    ],
)
def test_an_output_that_does_not_fit_the_task_is_refused(prepare, kind, output, fitting):
    message = refusal(prepare, f"task={{kind: {kind}}}", f"network.output={output}").message
    assert output in message
    assert fitting in message
