"""From a configuration to data, start weights and methods: what the seed decides, and what must fit."""

import os

import numpy as np
import pytest

from sheafcli.core.chain.cochain import Cochain
from sheafcli.core.chain.network import Network
from sheafcli.core.graph import Graph
from sheafcli.core.network import GraphNetwork
from sheafcli.core.operations import Dense, Flatten, LeakyReLU
from sheafcli.core.outputs import output_named
from sheafcli.core.training.backprop import Backprop
from sheafcli.core.training.descent import StopWhen
from sheafcli.core.training.equilibrium import Equilibrium
from sheafcli.core.training.optimizers import SGD, Adam, Momentum
from sheafcli.errors import InputError
from sheafcli.runs import Experiment
from sheafcli.runs.experiment import check_parts
from sheafcli.tasks import TASKS

TASK = ("X_train", "y_train", "X_test", "y_test")


def drawn(experiment) -> dict[str, np.ndarray]:
    """Collect everything random in an experiment: its data, its start weights, its start stalks."""
    task, network, phase = experiment.task, experiment.network, experiment.phases[0]
    session = phase.method.start(network, task.X_train, task.y_train, phase.seed)
    arrays = {name: getattr(task, name) for name in TASK}
    arrays |= {f"W{layer}": W for layer, W in enumerate(network.weights, start=1)}
    return arrays | session.stalks()


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


# Descents -----------------------------------------------------------------------------------

OPTIONS = (
    "optimizer: momentum, learning_rate: 0.02, schedule: cosine, epochs: 7, batch_size: 8, "
    "weight_decay: 0.01, stop_when: {train_loss: 0.3, seconds: 9}, precision: single"
)
WITH_OPTIONS = {
    "optimizer": Momentum(0.02),
    "schedule": "cosine",
    "epochs": 7,
    "batch_size": 8,
    "weight_decay": 0.01,
    "stop_when": StopWhen(train_loss=0.3, seconds=9.0),
    "precision": "single",
}


@pytest.mark.parametrize(
    ("override", "index", "method"),
    [
        ("training={method: equilibrium}", 0, Equilibrium(gamma=1e-5, optimizer=Adam(0.01), epochs=10_000)),
        (f"training={{method: equilibrium, gamma: 2, {OPTIONS}}}", 0, Equilibrium(gamma=2.0, **WITH_OPTIONS)),
        ("training={method: backprop}", 0, Backprop(optimizer=SGD(0.005), epochs=10_000)),
        (f"training={{method: backprop, {OPTIONS}}}", 0, Backprop(**WITH_OPTIONS)),
        (f"baseline={{{OPTIONS}}}", 1, Backprop(**WITH_OPTIONS)),
        ("baseline={optimizer: adam, steps: 9}", 1, Backprop(optimizer=Adam(0.005), steps=9)),
    ],
)
def test_every_option_of_a_descent_reaches_its_method(prepare, override, index, method):
    assert prepare(override).phases[index].method == method


@pytest.mark.parametrize("section", ["training={method: equilibrium, KEYS}", "baseline={KEYS}"])
@pytest.mark.parametrize(
    ("keys", "total", "log_every"),
    [
        ("epochs: 7", 7, 1000),
        ("steps: 7", 7, 1000),
        ("epochs: 7, log_every: 3", 7, 3),
        # 20 samples in batches of 8 are three steps an epoch.
        ("epochs: 7, batch_size: 8", 21, 3),
        ("steps: 7, batch_size: 8", 7, 3),
        ("epochs: 7, batch_size: 8, log_every: 5", 21, 5),
        ("epochs: 7, batch_size: 20", 7, 1),
    ],
)
def test_a_row_of_history_is_due_every_thousand_steps_or_epoch_unless_given(
    prepare, section, keys, total, log_every
):
    phase = prepare(section.replace("KEYS", keys)).phases[section.startswith("baseline")]
    assert (phase.total, phase.log_every) == (total, log_every)


def test_the_order_of_mini_batches_derives_from_the_seed_and_is_that_of_the_baseline(prepare):
    descent = "epochs: 2, batch_size: 8, optimizer: sgd, learning_rate: 0.1"
    given = (f"training={{method: backprop, {descent}}}", f"baseline={{{descent}}}")
    experiment, another = prepare(*given), prepare(*given, "seed=4")

    def trained(phase):
        """Return weights of the one experiment's data and start, after the batches of a phase."""
        X, y = experiment.task.X_train, experiment.task.y_train
        session = phase.method.start(experiment.network, X, y, phase.seed)
        session.advance(6)
        return session.network().weights[0]

    training, baseline = experiment.phases
    np.testing.assert_array_equal(trained(training), trained(baseline))
    np.testing.assert_array_equal(trained(training), trained(prepare(*given).phases[0]))
    assert not np.array_equal(trained(training), trained(another.phases[0]))


# Batches and samples ------------------------------------------------------------------------

TABLE = "x,y\n" + "".join(f"{i},{i * i % 7}.5\n" for i in range(10))
BATCHES = """\
task: TASK
network: {hidden: [4]}
training:
  method: equilibrium
  batch_size: 8
baseline:
  batch_size: 8
"""


@pytest.mark.parametrize(
    ("task", "n_train"), [("{kind: saddle, n_train: N}", 20), ("{kind: csv, path: data.csv, target: y}", 8)]
)
@pytest.mark.parametrize(("section", "line"), [("training", 5), ("baseline", 7)])
def test_a_batch_above_the_training_samples_is_refused_with_its_line(tmp_path, task, n_train, section, line):
    (tmp_path / "data.csv").write_text(TABLE)
    path = tmp_path / "run.yaml"
    text = BATCHES.replace("TASK", task.replace("N", str(n_train)))
    message = f"must be at most {n_train}, the number of training samples"
    path.write_text(text)
    assert Experiment.load(path, [f"{section}.batch_size={n_train}"]).task.n_train == n_train
    override = f"{section}.batch_size={n_train + 1}"
    with pytest.raises(InputError) as caught:
        Experiment.load(path, [override])
    assert str(caught.value) == f"--set {override}: {section}.batch_size: given {n_train + 1}; {message}"
    lines = text.splitlines()
    lines[line - 1] = f"  batch_size: {n_train + 1}"
    path.write_text("\n".join(lines))
    with pytest.raises(InputError) as caught:
        Experiment.load(path)
    assert (caught.value.path, caught.value.line) == (path, line)
    assert caught.value.message == f"{section}.batch_size: given {n_train + 1}; {message}"


def test_a_batch_above_the_training_samples_is_known_by_what_gave_it(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(BATCHES.replace("TASK", "{kind: saddle}"))
    with pytest.raises(InputError) as caught:  # the file is right until there are fewer samples
        Experiment.load(path, ["task.n_train=7"])
    assert str(caught.value) == (
        f"{path}:5: training.batch_size: given 8; must be at most 7, the number of training samples"
    )
    section = "training={method: backprop, batch_size: 9}"
    with pytest.raises(InputError) as caught:
        Experiment.load(path, ["task.n_train=8", section])
    assert str(caught.value).startswith(f"--set {section}: training.batch_size: given")
    assert "must be at most 8" in str(caught.value)


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
def test_start_cochain_of_another_shape_are_refused(prepare, tmp_path, change, words):
    stalks = {name: np.array(stalk) for name, stalk in Cochain((2, 4, 1), 20).stalks().items()}
    np.savez(tmp_path / "s.npz", **(stalks | change))
    error = refusal(prepare, f"training.stalks={tmp_path}/s.npz")
    assert words in error.message
    assert error.path == tmp_path / "s.npz"


@pytest.mark.parametrize(
    ("training", "words"),
    [
        ("dt: auto, reset_time: 1.0e-300", "training.reset_time: given 1.0e-300; must be at least 0.0"),
        ("time: 1.0e+40", "training.time: given 1.0e+40; takes about"),
    ],
)
def test_a_heat_training_that_gets_nowhere_is_refused_with_its_line(tmp_path, training, words):
    path = tmp_path / "c.yaml"
    path.write_text(f"task: {{kind: saddle}}\nnetwork: {{hidden: [4]}}\ntraining: {{{training}}}\n")
    with pytest.raises(InputError) as caught:
        Experiment.load(path)
    assert (caught.value.path, caught.value.line) == (path, 3)
    assert caught.value.message.startswith(words)


IMPLICIT = "task: {kind: saddle}\nnetwork: {hidden: [4]}\ntraining: {method: implicit}\n"


def test_more_unknowns_than_memory_are_refused_with_the_figure(tmp_path, monkeypatch):
    path = tmp_path / "c.yaml"
    path.write_text(IMPLICIT)
    assert Experiment.load(path).notes == ()
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 10, "SC_PAGE_SIZE": 4096}.__getitem__)
    with pytest.raises(InputError) as caught:
        Experiment.load(path)
    assert (caught.value.path, caught.value.line) == (path, 3)
    assert caught.value.message == (
        "training.method: given implicit; a step of implicit solves for 17 unknowns here, of 17 weights and "
        "300 residuals, and needs 0.00011 GB of memory, where this machine has 4.1e-05 GB; choose "
        "equilibrium or backprop, with batch_size"
    )


def test_a_step_that_takes_long_is_told_before(tmp_path, monkeypatch):
    path = tmp_path / "c.yaml"
    path.write_text(IMPLICIT)
    monkeypatch.setattr("sheafcli.runs.experiment.MANY_OPERATIONS", 1e4)
    (note,) = Experiment.load(path).notes
    assert note == (
        "a step of implicit takes about 8.8e+04 operations, some 8.8e-06 s, and 0.00011 GB here, for 17 "
        "weights and 300 residuals; equilibrium and backprop with batch_size are the better choice"
    )
    assert Experiment.load(path, ["training={method: backprop}"]).notes == ()


@pytest.mark.parametrize("phase", ["training", "baseline"])
def test_single_precision_is_refused_where_it_overflows(tmp_path, phase):
    rng = np.random.default_rng(0)
    arrays = {"X_train": rng.normal(size=(9, 2)) * 1e20, "X_test": rng.normal(size=(4, 2)) * 1e20}
    np.savez(tmp_path / "d.npz", y_train=rng.normal(size=9), y_test=rng.normal(size=4), **arrays)
    path = tmp_path / "c.yaml"
    sections = {"training": "{method: backprop}", "baseline": "{}"}
    text = "task: {kind: npz, path: d.npz}\nnetwork: {hidden: [4]}\n"
    text += "".join(f"{name}: {section}\n" for name, section in sections.items())
    path.write_text(text)
    assert Experiment.load(path)
    with pytest.raises(InputError, match=rf"{phase}.precision: given single; its numbers end at 3\.4e38"):
        Experiment.load(path, [f"{phase}.precision=single"])


def test_single_precision_of_a_graph_is_refused_where_it_overflows(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {"X_train": rng.normal(size=(9, 2)) * 1e20, "X_test": rng.normal(size=(4, 2)) * 1e20}
    np.savez(tmp_path / "d.npz", y_train=rng.normal(size=9), y_test=rng.normal(size=4), **arrays)
    path = tmp_path / "c.yaml"
    path.write_text(
        "task: {kind: npz, path: d.npz}\nnetwork: {layers: [{dense: 3}, leaky_relu]}\n"
        "training: {method: backprop}\n"
    )
    with pytest.raises(
        InputError, match=r"training\.precision: .*single for this network; its numbers end at"
    ):
        Experiment.load(path)
    assert Experiment.load(path, ["training.precision=double"])


def test_restarts_after_the_first_step_are_taken(prepare):
    experiment = prepare("training={dt: auto}", "training.reset_time=1")
    phase, data = experiment.phases[0], experiment.data
    first, mean = phase.method.start(experiment.network, data.X, data.y, phase.seed).step_sizes()
    assert 0 < first < mean
    assert prepare("training={dt: auto}", f"training.reset_time={1.01 * first!r}")


@pytest.mark.parametrize("missing", ["z1", "a1", "z2"])
def test_a_missing_start_stalk_is_named(prepare, tmp_path, missing):
    stalks = {name: np.array(stalk) for name, stalk in Cochain((2, 4, 1), 20).stalks().items()}
    np.savez(tmp_path / "s.npz", **{name: stalk for name, stalk in stalks.items() if name != missing})
    assert missing in refusal(prepare, f"training.stalks={tmp_path}/s.npz").message


def test_start_cochain_of_other_samples_are_refused(prepare, tmp_path):
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


def image_network(*shape):
    size = int(np.prod(shape))
    nodes = {"leaky": LeakyReLU(), "flat": Flatten(), "dense": Dense(np.ones((10, size)))}
    return GraphNetwork(Graph.path(shape, nodes), output_named("softmax"))


@pytest.mark.parametrize("shape", [(1, 8, 8), (8, 8), (64,)])
def test_a_network_takes_data_of_its_shape_or_flat(prepare, shape):
    task = prepare("task={kind: digits}", "training.dt=0.01").task
    network = image_network(*shape)
    check_parts(network, task, None)
    assert network.predict(task.X_test).shape == (len(task.X_test), 10)


@pytest.mark.parametrize(
    ("shape", "said"),
    [((8, 1, 8), "8 x 1 x 8"), ((1, 4, 16), "1 x 4 x 16"), ((3, 8, 8), "3 x 8 x 8"), ((63,), "63")],
)
def test_a_network_of_other_images_is_refused_with_both_shapes(prepare, shape, said):
    task = prepare("task={kind: digits}", "training.dt=0.01").task
    message = refusal(check_parts, image_network(*shape), task, None).message
    assert message == f"the network has {said} inputs and 10 outputs, the run's task 1 x 8 x 8 and 10"
