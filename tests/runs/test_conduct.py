"""What a run writes down, against the formulas; and that a run stopped anywhere ends as if it never was."""

import csv
import functools
import itertools
import json
import signal
import sys
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from closed_form import equilibrium
from scipy.special import expit
from sklearn import metrics

from sheafcli.config import load_config
from sheafcli.core.chain.sheaf import NeuralSheaf
from sheafcli.core.graph import Graph, Node
from sheafcli.core.network import GraphNetwork
from sheafcli.core.operations import Add, BatchNormalization, Convolution, Dense, Flatten, ReLU
from sheafcli.core.outputs import output_named
from sheafcli.core.pinned import pinned
from sheafcli.core.training.backprop import Backprop
from sheafcli.core.training.equilibrium import Equilibrium
from sheafcli.core.training.heat import Heat
from sheafcli.core.training.optimizers import SGD
from sheafcli.errors import InputError
from sheafcli.runs import Experiment, RunFailed, files
from sheafcli.runs import conduct as conduct_run
from sheafcli.runs.conduct import Checkpoint
from sheafcli.runs.files import write_whole
from sheafcli.runs.observer import Silent

CIRCULAR = """\
task: {kind: circular, n_train: 30, n_test: 12}
network: {hidden: [4, 3]}
training: {steps: 50, dt: 0.05, stalks: forward, log_every: 20}
diagnostics: {every: 40}
"""

METRICS = ("test_r2", "test_rmse", "test_f1", "test_auc")
# 30 samples in batches of 7 are five steps an epoch, the last of two samples.
BATCHES = "{method: equilibrium, gamma: 0.5, epochs: 4, batch_size: 7}"
FOUR_CLASSES = f"""\
task: {{kind: blobs, n_train: 30, n_test: 12}}
network: {{hidden: [4, 3]}}
training: {BATCHES}
"""


@pytest.fixture(autouse=True)
def _checkpoint_at_every_record(monkeypatch):
    # The package exports a function of the module's name.
    monkeypatch.setattr(sys.modules["sheafcli.runs.conduct"], "CHECKPOINT_SECONDS", -1.0)


def rows_of(path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def without_seconds(path) -> list[dict[str, str]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows_of(path)]


def forward(network, X):
    """Return z_1, a_1, ..., z_{k+1} of the forward pass."""
    stalks, a = [], X
    for layer, (W, b) in enumerate(zip(network.weights, network.biases, strict=True), start=1):
        z = a @ W.T + b
        a = z * (z > 0)
        stalks += [z] if layer == len(network.weights) else [z, a]
    return stalks


def discords(network, X, y, stalks, pattern=None) -> list[tuple[str, str, str, float]]:
    """Return layer, operation, edge and discord of every edge of training stalks z_1, a_1, ..., z_{k+1}.

    The pattern R_1, ... is read from the stalks unless it is given.
    """
    rows, a, last = [], X, len(network.weights)
    for layer, (W, b) in enumerate(zip(network.weights, network.biases, strict=True), start=1):
        z = stalks[2 * layer - 2]
        r = a @ W.T + b - z
        rows.append((str(layer), "affine", f"affine_{layer}", np.mean(np.sum(r**2, axis=1))))
        if layer < last:
            a = stalks[2 * layer - 1]
            s = (z >= 0 if pattern is None else pattern[layer - 1]) * z - a
            rows.append((str(layer), "activation", f"activation_{layer}", np.mean(np.sum(s**2, axis=1))))
    return [*rows, (str(last), "output", "output", output_discord(network, z, y))]


def output_discord(network, z, y) -> float:
    match network.output.name:
        case "identity":
            return np.mean(np.sum((z - y) ** 2, axis=1))
        case "sigmoid":
            return entropy(z, y)
        case _:
            return -np.mean(np.log(np.sum(y * np.exp(z), axis=1) / np.sum(np.exp(z), axis=1)))


def entropy(z, y) -> float:
    p = expit(z)
    return -np.mean(np.sum(y * np.log(p) + (1 - y) * np.log(1 - p), axis=1))


# What is written ----------------------------------------------------------------------------


def test_the_tables_of_a_regression_are_what_the_formulas_give(prepare, begin):
    experiment = prepare()
    run = begin(experiment)
    conduct_run(experiment, run, Silent())
    task, X, y = experiment.task, experiment.task.X_train, experiment.task.y_train
    history, discord = rows_of(run / "history.csv"), rows_of(run / "discord.csv")
    losses = ("train_loss", "test_loss", "energy")
    assert list(history[0]) == ["step", "seconds", *losses, "test_r2", "test_rmse", "time"]
    assert list(discord[0]) == ["step", "layer", "operation", "edge", "discord", "share"]
    assert [row["step"] for row in history] == ["0", "20", "40", "60"]
    phase = experiment.phases[0]
    session = Heat(steps=60, dt=0.02).start(experiment.network, X, y, phase.seed)
    for row in history:
        session.advance(int(row["step"]) - session.step)
        network, stalks = session.network(), list(session.stalks().values())
        expected = discords(network, X, y, stalks)
        total = sum(value for *_, value in expected)
        found = [line for line in discord if line["step"] == row["step"]]
        for line, (layer, operation, edge, value) in zip(found, expected, strict=True):
            assert (line["layer"], line["operation"], line["edge"]) == (layer, operation, edge)
            assert float(line["discord"]) == pytest.approx(value, rel=1e-12)
            assert float(line["share"]) == pytest.approx(value / total, rel=1e-12)
        assert float(row["train_loss"]) == pytest.approx(np.mean((forward(network, X)[-1] - y) ** 2))
        test_error = forward(network, task.X_test)[-1] - task.y_test
        assert float(row["test_loss"]) == pytest.approx(np.mean(test_error**2))
        predicted = forward(network, task.X_test)[-1]
        assert float(row["test_r2"]) == pytest.approx(metrics.r2_score(task.y_test, predicted))
        assert float(row["test_rmse"]) == pytest.approx(
            metrics.root_mean_squared_error(task.y_test, predicted)
        )
        assert float(row["energy"]) == pytest.approx(total / 2)
        assert float(row["time"]) == pytest.approx(0.02 * session.step)
    seconds = [float(row["seconds"]) for row in history]
    assert seconds == sorted(seconds)
    assert seconds[0] >= 0
    for one, other in zip(run.network().weights, session.network().weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_tables_of_a_classification_have_accuracies(prepare, begin):
    experiment = prepare(text=CIRCULAR)
    run = begin(experiment)
    conduct_run(experiment, run, Silent())
    task, history = experiment.task, rows_of(run / "history.csv")
    assert list(history[0]) == [
        *("step", "seconds", "train_loss", "test_loss", "energy", "train_accuracy", "test_accuracy"),
        *("test_f1", "test_auc", "time"),
    ]
    assert [row["step"] for row in history] == ["0", "20", "40", "50"]
    network = run.network()
    for part, X, y in (("train", task.X_train, task.y_train), ("test", task.X_test, task.y_test)):
        z = forward(network, X)[-1]
        assert float(history[-1][f"{part}_loss"]) == pytest.approx(entropy(z, y))
        assert float(history[-1][f"{part}_accuracy"]) == np.mean((z >= 0) == y)
    truth, z = task.y_test[:, 0], forward(network, task.X_test)[-1][:, 0]
    assert float(history[-1]["test_auc"]) == pytest.approx(metrics.roc_auc_score(truth, z))
    assert float(history[-1]["test_f1"]) == pytest.approx(metrics.f1_score(truth, z >= 0, average="macro"))
    # Every 40 steps, and at the end.
    discord = rows_of(run / "discord.csv")
    assert [row["step"] for row in discord] == ["0"] * 6 + ["40"] * 6 + ["50"] * 6
    assert [row["edge"] for row in discord[:6]] == [
        *("affine_1", "activation_1", "affine_2", "activation_2", "affine_3", "output")
    ]
    z = experiment.network.logits(task.X_train)  # the stalks start from the forward pass
    assert float(discord[5]["discord"]) == pytest.approx(entropy(z, task.y_train))
    assert not (run / "baseline.csv").exists()


def test_the_spectrum_is_followed_where_asked_for(prepare, begin):
    experiment = prepare("diagnostics.spectrum=true", text=CIRCULAR)
    run = begin(experiment)
    conduct_run(experiment, run, Silent())
    rows = rows_of(run / "spectrum_history.csv")
    assert [int(row["step"]) for row in rows] == [0, 40, 50]
    # All 30 training samples are fewer than the 50 that are followed.
    sheaf, ends = NeuralSheaf(run.network()), []
    for x in experiment.task.X_train:
        values = np.linalg.eigvalsh(sheaf.laplacian(sheaf.pattern(x)).toarray())
        ends.append((values[0], values[-1]))
    gap, largest = np.array(ends).T
    last = {name: float(value) for name, value in rows[-1].items()}
    assert last["gap_min"] == pytest.approx(gap.min(), rel=1e-9)
    assert last["gap_median"] == pytest.approx(np.median(gap), rel=1e-9)
    assert last["largest_max"] == pytest.approx(largest.max(), rel=1e-9)
    assert last["largest_median"] == pytest.approx(np.median(largest), rel=1e-9)
    assert last["condition_median"] == pytest.approx(np.median(largest / gap), rel=1e-9)


def test_the_table_of_the_baseline_is_gradient_descent_from_the_same_start(prepare, begin):
    experiment = prepare()
    run = begin(experiment)
    conduct_run(experiment, run, Silent())
    X, y = experiment.task.X_train, experiment.task.y_train
    baseline = rows_of(run / "baseline.csv")
    assert list(baseline[0]) == list(rows_of(run / "history.csv")[0])
    assert [row["step"] for row in baseline] == ["0", "10", "20", "30"]
    session = Backprop(epochs=30, optimizer=SGD(0.05)).start(experiment.network, X, y)
    for row in baseline:
        session.advance(int(row["step"]) - session.step)
        loss = np.mean((forward(session.network(), X)[-1] - y) ** 2)
        assert float(row["train_loss"]) == pytest.approx(loss)
        assert float(row["energy"]) == pytest.approx(loss / 2)  # one output: half the squared error
        assert float(row["time"]) == session.step


@pytest.mark.parametrize("task", ["paraboloid", "circular", "blobs"])
def test_the_tables_of_equilibrium_are_those_of_the_stalks_at_equilibrium(prepare, begin, task):
    """The stalks are found anew from the weights of every row, with S formed, on the forward pattern."""
    gamma, steps = 0.5, 30
    # The pull of classes is iterated until its error is of no account to a step; a regression's is exact.
    close = functools.partial(pytest.approx, rel=1e-9 if task == "paraboloid" else 1e-3)
    training = f"training={{method: equilibrium, gamma: {gamma}, steps: {steps}, log_every: 10}}"
    experiment = prepare(f"task={{kind: {task}, n_train: 20, n_test: 10}}", training)
    run = begin(experiment)
    conduct_run(experiment, run, Silent())
    X, y = experiment.task.X_train, experiment.task.y_train
    history, discord = rows_of(run / "history.csv"), rows_of(run / "discord.csv")
    assert [row["step"] for row in history] == ["0", "10", "20", "30"]
    session = Equilibrium(gamma=gamma, steps=steps).start(experiment.network, X, y)
    for row in history:
        session.advance(int(row["step"]) - session.step)
        found = [line for line in discord if line["step"] == row["step"]]
        reported = {edge.name: value for edge, value in session.discord().items()}
        assert {line["edge"]: float(line["discord"]) for line in found} == reported
        closed = equilibrium(session.network(), X, y, gamma)
        stalks = [stalk for pair in itertools.zip_longest(closed.z, closed.a) for stalk in pair]
        pattern = [z >= 0 for z in forward(session.network(), X)[::2]]
        expected = discords(session.network(), X, y, stalks[:-1], pattern)
        total = sum(value for *_, value in expected)
        for line, (layer, operation, edge, value) in zip(found, expected, strict=True):
            assert (line["layer"], line["operation"], line["edge"]) == (layer, operation, edge)
            assert float(line["discord"]) == close(value)
            assert float(line["share"]) == close(value / total)
        # The output edge counts the loss of classes, and twice the potential of a regression.
        of_output = expected[-1][-1]
        potential = of_output / 2 if task == "paraboloid" else of_output
        energy = gamma * potential + (total - of_output) / 2
        assert float(row["energy"]) == close(energy)
        assert float(row["time"]) == session.step
    for one, other in zip(run.network().weights, session.network().weights, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("precision", ["double", "single"])
def test_mini_batches_have_a_row_of_history_an_epoch(prepare, begin, precision):
    override = f"training={BATCHES[:-1]}, precision: {precision}}}"
    experiment = prepare(override, "baseline={epochs: 3, batch_size: 16}", text=FOUR_CLASSES)
    run = begin(experiment)
    manifest = conduct_run(experiment, run, Silent())
    for name, steps in (("history.csv", [0, 5, 10, 15, 20]), ("baseline.csv", [0, 2, 4, 6])):
        rows = rows_of(run / name)
        assert [int(row["step"]) for row in rows] == steps
        assert [float(row["time"]) for row in rows] == list(range(len(steps)))  # epochs
    assert (manifest["final"]["step"], manifest["baseline"]["step"]) == (20, 6)
    discord = rows_of(run / "discord.csv")
    assert [int(row["step"]) for row in discord] == [step for step in (0, 5, 10, 15, 20) for _ in range(6)]
    values = np.array([[float(row["discord"]), float(row["share"])] for row in discord])
    assert np.isfinite(values).all()
    assert (values >= 0).all()
    np.testing.assert_allclose(values[:, 1].reshape(5, 6).sum(axis=1), 1.0, rtol=1e-12)


def losses(run, name="history.csv") -> list[float]:
    return [float(row["train_loss"]) for row in rows_of(run / name)]


def test_a_loss_that_is_low_enough_ends_a_run(prepare, begin):
    experiment = prepare("training={method: equilibrium, steps: 200, log_every: 5}")
    whole = begin(experiment, "whole")
    conduct_run(experiment, whole, Silent())
    goal = losses(whole)[9]
    first = next(index for index, loss in enumerate(losses(whole)) if loss <= goal)
    length = f"steps: 200, log_every: 5, stop_when: {{train_loss: {goal!r}}}"
    early = prepare(
        f"training={{method: equilibrium, {length}}}",
        "baseline={epochs: 500, log_every: 10, learning_rate: 0.05, stop_when: {train_loss: 1.0}}",
    )
    run = begin(early)
    manifest = conduct_run(early, run, Silent())
    assert manifest["status"] == "finished"
    assert losses(run) == losses(whole)[: first + 1]
    assert manifest["final"]["train_loss"] == losses(run)[-1]
    assert manifest["final"]["step"] == 5 * first < 200
    assert int(rows_of(run / "discord.csv")[-1]["step"]) == 5 * first
    # A baseline has a condition of its own.
    *above, last = losses(run, "baseline.csv")
    assert last <= 1.0 < min(above)
    assert manifest["baseline"]["step"] == 10 * len(above) < 500


def test_seconds_end_a_run_at_the_step_that_spends_them(prepare, begin):
    stop = "stop_when: {seconds: 1.0e-9}"
    experiment = prepare(f"training={{method: equilibrium, {stop}}}", f"baseline={{{stop}}}")
    run = begin(experiment)
    manifest = conduct_run(experiment, run, Silent())
    assert (manifest["status"], manifest["message"]) == ("finished", None)
    assert (manifest["final"]["step"], manifest["baseline"]["step"]) == (1, 1)
    assert [row["step"] for row in rows_of(run / "history.csv")] == ["0", "1"]
    assert {row["step"] for row in rows_of(run / "discord.csv")} == {"0", "1"}


def test_seconds_of_earlier_sittings_count(prepare, begin, watcher):
    training = "training={method: equilibrium, steps: 1000, log_every: 10, stop_when: {seconds: 900}}"
    experiment = prepare(training)
    run = begin(experiment)
    with pytest.raises(KeyboardInterrupt):
        conduct_run(experiment, run, watcher(3))
    checkpoint = Checkpoint.read(run)
    assert 0.0 < checkpoint.state["seconds"] < 100.0
    spent = checkpoint.state | {"seconds": np.array(899.9999999)}
    Checkpoint(checkpoint.phase, checkpoint.seconds, spent).write(run)
    manifest = conduct_run(experiment, run, Silent(), resume=True)
    assert manifest["status"] == "finished"
    assert manifest["final"]["step"] == int(checkpoint.state["clock"][0]) + 1


def test_the_configuration_of_a_run_gives_the_same_network_again(prepare, begin, tmp_path, contents):
    text = "task: {kind: blobs, n_train: 20}\nnetwork: {hidden: [3]}\ntraining: {time: 2, log_every: 7}\n"
    experiment = prepare(text=text)
    first = begin(experiment, "first")
    conduct_run(experiment, first, Silent())
    again = Experiment.prepare(load_config(first / "config.yaml"))
    second = begin(again, "second")
    conduct_run(again, second, Silent())
    for name in ("network.npz", "discord.csv", "config.yaml"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    assert without_seconds(first / "history.csv") == without_seconds(second / "history.csv")


def test_a_linear_model_runs(prepare, begin):
    experiment = prepare("network.hidden=[]")
    run = begin(experiment)
    manifest = conduct_run(experiment, run, Silent())
    assert manifest["widths"] == [2, 1]
    assert manifest["parameters"] == 3
    assert {row["edge"] for row in rows_of(run / "discord.csv")} == {"affine_1", "output"}


def test_the_watcher_hears_of_every_phase_and_record(prepare, begin, watcher):
    experiment = prepare()
    watching = watcher()
    conduct_run(experiment, begin(experiment), watching)
    assert watching.calls == [
        "training from 0 of 60",
        *(f"record {step}" for step in (0, 20, 40, 60)),
        "ended",
        "baseline from 0 of 30",
        *(f"record {step}" for step in (0, 10, 20, 30)),
        "ended",
    ]


# The manifest -------------------------------------------------------------------------------


def test_the_manifest_of_a_finished_run_says_what_it_was(prepare, begin):
    experiment = prepare()
    run = begin(experiment)
    returned = conduct_run(experiment, run, Silent())
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest == returned
    last, last_baseline = rows_of(run / "history.csv")[-1], rows_of(run / "baseline.csv")[-1]
    for key, row in (("final", last), ("baseline", last_baseline)):
        final = manifest.pop(key)
        assert (final.pop("train_accuracy"), final.pop("test_accuracy")) == (None, None)
        assert set(final) == set(row) - set(METRICS)
        assert final.pop("seconds") >= float(row["seconds"])
        assert {name: str(value) for name, value in final.items()} == {name: row[name] for name in final}
    for key, figures in manifest.pop("metrics").items():
        loss = float((last if key == "final" else last_baseline)["test_loss"])
        assert figures["rmse"] ** 2 == pytest.approx(loss)
        variance = float(np.var(experiment.task.y_test))
        assert figures["r2"] == pytest.approx(1.0 - loss / variance)
    assert manifest.pop("started") <= manifest.pop("ended")
    assert manifest.pop("versions").keys() == {"sheafcli", "python", "numpy", "scipy"}
    assert manifest == {
        "name": "small",
        "status": "finished",
        "message": None,
        "task": "paraboloid",
        "method": "heat",
        "output": "identity",
        "seed": 3,
        "notes": [],
        "widths": [2, 4, 1],
        "parameters": 2 * 4 + 4 + 4 * 1 + 1,
        "n_train": 20,
        "n_test": 10,
        "data": {},
    }


def test_the_manifest_follows_the_run(prepare, begin):
    experiment = prepare()
    run = begin(experiment)
    seen = []

    class Reader(Silent):
        def phase_started(self, phase, step, total):
            manifest = run.manifest()
            seen.append((manifest["status"], manifest["ended"], manifest["final"] is not None))

    conduct_run(experiment, run, Reader())
    assert seen == [("running", None, False), ("running", None, True)]


@pytest.mark.parametrize(
    ("error", "raised", "status", "message"),
    [
        (KeyboardInterrupt(), KeyboardInterrupt, "interrupted", "--resume"),
        (OSError(28, "No space left on device"), RunFailed, "failed", "No space left on device"),
        (OSError(5, "Input/output error", "a file"), RunFailed, "failed", "a file: Input/output error"),
        (MemoryError("64 GiB"), MemoryError, "failed", "MemoryError: 64 GiB"),
        (ZeroDivisionError("a fault"), ZeroDivisionError, "failed", "ZeroDivisionError: a fault"),
    ],
)
def test_the_manifest_of_a_run_that_ended_early_says_why(
    prepare, begin, watcher, error, raised, status, message
):
    experiment = prepare()
    run = begin(experiment)
    with pytest.raises(raised):
        conduct_run(experiment, run, watcher(2, error))
    manifest = run.manifest()
    assert manifest["status"] == status
    assert message in manifest["message"]
    assert manifest["ended"] is not None
    assert manifest["final"] is None


@pytest.mark.parametrize("phase", ["training", "baseline"])
def test_a_run_that_diverges_says_where_and_keeps_its_last_good_state(prepare, begin, monkeypatch, phase):
    monkeypatch.setattr(sys.modules["sheafcli.runs.conduct"], "CHECKPOINT_SECONDS", 1e9)
    override = "training.dt=1.5" if phase == "training" else "baseline.learning_rate=1e6"
    experiment = prepare(override, "training.log_every=20")
    run = begin(experiment)
    with pytest.raises(RunFailed, match=f"^{phase} diverged at step") as caught:
        conduct_run(experiment, run, Silent())
    manifest = run.manifest()
    assert (manifest["status"], manifest["message"]) == ("diverged", str(caught.value))
    checkpoint = Checkpoint.read(run)
    assert checkpoint.phase == phase
    assert all(np.isfinite(array).all() for array in checkpoint.state.values())
    assert all(np.isfinite(W).all() for W in run.network().weights)
    assert (manifest["final"] is not None) == (phase == "baseline")


def test_sigterm_stops_a_run_as_ctrl_c_does_and_is_left_as_it_was(prepare, begin):
    experiment = prepare()
    run = begin(experiment)

    class Scheduler(Silent):
        def recorded(self, record):
            signal.raise_signal(signal.SIGTERM)

    def harmless(signum, frame):
        pass

    original = signal.signal(signal.SIGTERM, harmless)
    try:
        with pytest.raises(KeyboardInterrupt):
            conduct_run(experiment, run, Scheduler())
        assert signal.getsignal(signal.SIGTERM) is harmless
    finally:
        signal.signal(signal.SIGTERM, original)
    assert run.manifest()["status"] == "interrupted"


# Stopped and resumed ------------------------------------------------------------------------

FEW_SAMPLES = "task: {kind: npz, path: few.npz}\nnetwork: {hidden: [4]}\n"
TWO_CLASSES = CIRCULAR.replace("{every: 40}", "{every: 20}")
WITH_EVERYTHING = (
    "training={method: equilibrium, epochs: 3, batch_size: 7, optimizer: momentum, schedule: cosine, "
    "weight_decay: 0.01, precision: single}",
    "baseline={epochs: 2, batch_size: 16, optimizer: adam, schedule: linear}",
)
ENDS_EARLY = "{method: equilibrium, steps: 100, log_every: 10, stop_when: {train_loss: 0.6}}"
KINDS = {
    "fixed step": ([], None),
    "auto, restarts by time": (["training={time: 3, dt: auto, reset_time: 0.7, log_every: 13}"], None),
    "classes, restarts by steps": (["training.reset_every=17"], CIRCULAR),
    "fewer samples than inputs": (["training={steps: 60, dt: 0.002, log_every: 20}"], FEW_SAMPLES),
    "adam beside it": (["baseline={optimizer: adam, epochs: 25, log_every: 10}"], None),
    "trained by adam": (["training={method: backprop, optimizer: adam, epochs: 25, log_every: 10}"], None),
    "equilibrium, sigmoid": (
        ["training={method: equilibrium, gamma: 1, steps: 35, log_every: 10}"],
        TWO_CLASSES,
    ),
    "equilibrium, softmax": (
        ["training={method: equilibrium, gamma: 1, steps: 35, log_every: 10}"],
        FOUR_CLASSES,
    ),
    "waits for a lower validation loss": (
        ["training={method: backprop, steps: 200, log_every: 10, stop_when: {patience: 2}}", "baseline=null"],
        FEW_SAMPLES,
    ),
    "implicit, within and beyond a cycle": (["training={method: implicit, steps: 67, log_every: 9}"], None),
    "implicit, softmax, giving way": (
        ["training={method: implicit, kappa: 0.5, weight_decay: 0.01, steps: 8, log_every: 3}"],
        FOUR_CLASSES,
    ),
    "equilibrium, ends early": ([f"training={ENDS_EARLY}"], TWO_CLASSES),
    "equilibrium, batches": ([], FOUR_CLASSES),
    "equilibrium, batches, everything": (WITH_EVERYTHING, FOUR_CLASSES),
    "graph, heat": (["training={steps: 40, dt: 0.01, log_every: 20, reset_every: 30}"], FEW_SAMPLES),
    "graph, equilibrium": (
        ["training={method: equilibrium, gamma: 1, steps: 30, log_every: 10}", "baseline={epochs: 10}"],
        FEW_SAMPLES,
    ),
    "graph, batches": (
        ["training={method: backprop, epochs: 3, batch_size: 2}", "diagnostics={spectrum: true}"],
        FEW_SAMPLES,
    ),
}


def residual(rng):
    """Return a residual network for images of 1 x 3 x 3, with one output."""
    nodes = (
        Node("conv_1", Convolution(rng.normal(size=(2, 1, 3, 3)), rng.normal(size=2), padding=1), ("x",)),
        Node("norm_1", BatchNormalization(np.ones(2), np.zeros(2), np.zeros(2), np.ones(2)), ("conv_1",)),
        Node("relu_1", ReLU(), ("norm_1",)),
        Node("add_1", Add(), ("relu_1", "x")),
        Node("flatten_1", Flatten(), ("add_1",)),
        Node("dense_1", Dense(rng.normal(size=(1, 18)) / 4.0, np.zeros(1)), ("flatten_1",)),
    )
    return GraphNetwork(Graph((1, 3, 3), nodes), output_named("identity"))


@pytest.fixture
def prepare_kind(prepare, tmp_path):
    def prepare_kind(kind):
        rng = np.random.default_rng(0)
        shapes = {"X_train": (5, 9), "y_train": (5, 1), "X_test": (3, 9), "y_test": (3, 1)}
        shapes |= {"X_validation": (4, 9), "y_validation": (4, 1)}
        np.savez(tmp_path / "few.npz", **{name: rng.normal(size=shape) for name, shape in shapes.items()})
        overrides, text = KINDS[kind]
        experiment = prepare(*overrides, **({} if text is None else {"text": text}))
        return replace(experiment, network=residual(rng)) if kind.startswith("graph") else experiment

    return prepare_kind


def outcome(run) -> dict:
    tables = [name for name in ("history.csv", "baseline.csv", "discord.csv") if (run / name).exists()]
    return {name: without_seconds(run / name) for name in tables} | {
        "network": (run / "network.npz").read_bytes()
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_stopped_anywhere_and_resumed_ends_as_if_it_never_was(
    prepare_kind, begin, watcher, tmp_path, kind
):
    experiment = prepare_kind(kind)
    whole, watching = begin(experiment, "whole"), watcher()
    conduct_run(experiment, whole, watching)
    expected = outcome(whole)
    for stop_at in range(len(watching.calls)):
        run = begin(experiment, f"stopped at {stop_at}")
        with pytest.raises(KeyboardInterrupt):
            conduct_run(experiment, run, watcher(stop_at))
        again = prepare_kind(kind)
        assert conduct_run(again, run, Silent(), resume=True)["status"] == "finished"
        assert outcome(run) == expected
        assert run.manifest()["final"]["train_loss"] == whole.manifest()["final"]["train_loss"]


@pytest.mark.parametrize("kind", ["fixed step", "equilibrium, batches"])
def test_a_run_that_an_earlier_version_began_goes_on_with_its_columns(prepare_kind, begin, watcher, kind):
    experiment = prepare_kind(kind)
    whole, run = begin(experiment, "whole"), begin(experiment)
    conduct_run(experiment, whole, Silent())
    with pytest.raises(KeyboardInterrupt):
        conduct_run(experiment, run, watcher(4))
    added = [column for column in rows_of(run / "history.csv")[0] if column in METRICS]
    assert added
    earlier = pd.read_csv(run / "history.csv", dtype=str).drop(columns=added)
    earlier.to_csv(run / "history.csv", index=False)
    assert conduct_run(prepare_kind(kind), run, Silent(), resume=True)["status"] == "finished"
    expected = [
        {key: value for key, value in row.items() if key not in added}
        for row in without_seconds(whole / "history.csv")
    ]
    assert without_seconds(run / "history.csv") == expected


@pytest.mark.parametrize("method", ["heat", "backprop", "equilibrium", "implicit"])
@pytest.mark.parametrize("patience", [2, 1000])
def test_the_network_of_the_least_validation_loss_is_kept(prepare_kind, begin, prepare, method, patience):
    """Against the whole history of the same training, which waits for nothing."""
    prepare_kind("fewer samples than inputs")
    training = f"training={{method: {method}, steps: 60, log_every: 5}}"
    whole, run = (
        begin(prepare(training, *more, text=FEW_SAMPLES), name)
        for name, more in (("whole", ()), ("run", (f"training.stop_when={{patience: {patience}}}",)))
    )
    for directory in (whole, run):
        conduct_run(Experiment.load(directory / "config.yaml"), directory, Silent())
    history, found = rows_of(whole / "history.csv"), rows_of(run / "history.csv")
    loss = np.array([float(row["validation_loss"]) for row in history])
    best = np.minimum.accumulate(loss)
    at = [int(np.flatnonzero(loss == least)[0]) for least in best]
    ends = next((i for i in range(len(loss)) if i - at[i] >= patience), len(loss) - 1)
    assert [row["validation_loss"] for row in found] == [
        row["validation_loss"] for row in history[: ends + 1]
    ]
    task = Experiment.load(run / "config.yaml").task
    network = run.network()
    kept = network.output.loss(network.logits(task.X_validation), task.y_validation)
    assert kept == pytest.approx(best[ends], rel=1e-12)
    final = run.manifest()["final"]
    assert final["step"] == int(history[at[ends]]["step"])
    assert final["validation_loss"] == best[ends]
    if at[ends] < ends:
        assert f"the network of step {final['step']} is kept" in run.manifest()["message"]


def test_patience_needs_a_validation_part(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(
        "task: {kind: circular}\nnetwork: {hidden: [3]}\ntraining:\n  method: backprop\n  stop_when: "
        "{patience: 3}\n"
    )
    words = r":5: training.stop_when.patience: given 3; there is no validation part"
    with pytest.raises(InputError, match=words):
        Experiment.load(path)


def test_the_tables_of_a_graph_have_a_row_an_edge(prepare_kind, begin):
    experiment = prepare_kind("graph, equilibrium")
    run = begin(experiment)
    conduct_run(experiment, run, Silent())
    rows = [row for row in rows_of(run / "discord.csv") if row["step"] == "30"]
    assert [(row["layer"], row["operation"], row["edge"]) for row in rows] == [
        ("1", "affine", "conv_1"),
        ("1", "affine", "norm_1"),
        ("1", "activation", "relu_1"),
        ("2", "affine", "dense_1"),
        ("2", "output", "output"),
    ]
    network, task = run.network(), experiment.task
    assert isinstance(network, GraphNetwork)
    last = rows_of(run / "history.csv")[-1]
    assert float(last["test_loss"]) == network.output.loss(network.logits(task.X_test), task.y_test)
    at_rest = pinned(network.graph, network.output, task.X_train.reshape(-1, 1, 3, 3), task.y_train, 1.0)
    for row, edge in zip(rows[:-1], network.graph.edges, strict=True):
        assert float(row["discord"]) == pytest.approx(at_rest.discord[edge], rel=1e-2)


def test_a_run_stopped_again_and_again_ends_as_if_it_never_was(prepare_kind, begin, watcher):
    experiment = prepare_kind("fixed step")
    whole = begin(experiment, "whole")
    conduct_run(experiment, whole, Silent())
    run = begin(experiment)
    stops = []
    while run.manifest()["status"] != "finished":
        watching = watcher(4)
        with suppress(KeyboardInterrupt):
            conduct_run(prepare_kind("fixed step"), run, watching, resume=len(stops) > 0)
        stops.append((watching.calls[0], watching.calls[:5][-1]))
    assert stops == [
        ("training from 0 of 60", "record 60"),
        ("training from 40 of 60", "record 0"),
        ("training from 60 of 60", "record 10"),
        ("baseline from 0 of 30", "record 30"),
        ("baseline from 20 of 30", "ended"),
    ]
    assert outcome(run) == outcome(whole)


class Killed(BaseException):
    """What a kill is to the code under way."""


@pytest.mark.parametrize(
    ("kind", "writes", "written"),
    [
        # The manifest four times, the preprocessing, three tables, four networks, eight checkpoints.
        ("fixed step", 4 + 1 + 3 + 4 + 8, False),
        ("fixed step", 4 + 1 + 3 + 4 + 8, True),
        # The manifest three times, preprocessing, two tables, network and checkpoint at each record.
        ("equilibrium, ends early", 3 + 1 + 2 + 4 + 4, True),
        ("equilibrium, batches", 3 + 1 + 2 + 5 + 5, True),
    ],
)
def test_a_run_killed_beside_any_write_ends_as_if_it_never_was(
    prepare_kind, begin, monkeypatch, kind, writes, written
):
    """Whichever file was the last to be written whole, resuming leads to the same end."""
    experiment = prepare_kind(kind)
    whole = begin(experiment, "whole")
    conduct_run(experiment, whole, Silent())
    expected = outcome(whole)
    for kill_at in itertools.count():
        run = begin(experiment, f"killed at {kill_at}")
        count = itertools.count()

        def write_or_die(path, write, kill_at=kill_at, count=count):
            number = next(count)
            if number < kill_at or (written and number == kill_at):
                write_whole(path, write)
            if number >= kill_at:  # what is dead writes nothing more, not even that it failed
                raise Killed

        with monkeypatch.context() as patched:
            patched.setattr(files, "write_whole", write_or_die)
            try:
                conduct_run(experiment, run, Silent())
                break
            except Killed:
                pass
        conduct_run(prepare_kind(kind), run, Silent(), resume=True)
        assert outcome(run) == expected
    assert kill_at == writes


def test_a_resumed_run_counts_its_seconds_on(prepare, begin, watcher):
    experiment = prepare()
    run = begin(experiment)
    with pytest.raises(KeyboardInterrupt):
        conduct_run(experiment, run, watcher(3))
    checkpoint = Checkpoint.read(run)
    Checkpoint(checkpoint.phase, 1000.0, checkpoint.state).write(run)
    conduct_run(experiment, run, Silent(), resume=True)
    seconds = [float(row["seconds"]) for row in rows_of(run / "history.csv")]
    assert seconds[0] < 1000 < seconds[-1] < 1100


def test_another_configuration_does_not_resume(prepare, begin, watcher, contents):
    experiment = prepare()
    run = begin(experiment)
    with pytest.raises(KeyboardInterrupt):
        conduct_run(experiment, run, watcher(3))
    before = contents(run.path)
    with pytest.raises(InputError, match="another configuration"):
        conduct_run(prepare("training.dt=0.01"), run, Silent(), resume=True)
    assert contents(run.path) == before


def _change(**arrays):
    def change(path):
        with np.load(path) as file:
            content = dict(file)
        for name, array in arrays.items():
            if array is None:
                content.pop(name)
            else:
                content[name] = array
        np.savez(path, **content)

    return change


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-100]),
        lambda path: path.write_bytes(b""),
        _change(phase=None),
        _change(phase=np.array("spectrum")),
        _change(seconds=np.zeros(2)),
        _change(seconds=np.array("now")),
        _change(state_H1=None),
        _change(state_H1=np.zeros((9, 9))),
        _change(state_H1=np.full((4, 3), np.nan)),
        _change(state_clock=np.zeros(1)),
        _change(state_H1=np.array([{}])),
        _change(state_H1=np.full((4, 3), "0.5")),
    ],
)
def test_a_damaged_checkpoint_is_refused(prepare, begin, watcher, contents, damage):
    experiment = prepare()
    run = begin(experiment)
    with pytest.raises(KeyboardInterrupt):
        conduct_run(experiment, run, watcher(3))
    damage(run / "checkpoint.npz")
    before = contents(run.path)
    with pytest.raises(InputError, match="--overwrite") as caught:
        conduct_run(experiment, run, Silent(), resume=True)
    assert caught.value.path == run / "checkpoint.npz"
    after = contents(run.path)
    assert before.pop("manifest.json")
    assert after.pop("manifest.json")
    assert after == before


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-100]),
        _change(state_parameters=None),
        _change(state_parameters=np.zeros(9)),
        _change(state_parameters=np.full(31, np.nan)),
        _change(state_parameters=np.full(31, "0.5")),
        _change(state_memory1=None),
        _change(state_memory1=np.zeros((5, 7))),
        _change(state_seconds=None),
        _change(state_seconds=np.array(np.inf)),
        _change(state_clock=np.zeros(1)),
        _change(state_guess=np.full((30, 1), np.nan)),
    ],
)
def test_a_damaged_checkpoint_of_equilibrium_is_refused(prepare_kind, begin, watcher, damage):
    experiment = prepare_kind("equilibrium, sigmoid")
    run = begin(experiment)
    with pytest.raises(KeyboardInterrupt):
        conduct_run(experiment, run, watcher(3))
    state = Checkpoint.read(run).state
    assert {name: array.shape for name, array in state.items()} == {
        "clock": (3,),
        "seconds": (),
        "parameters": (2 * 4 + 4 + 4 * 3 + 3 + 3 * 1 + 1,),
        "memory0": (31,),
        "memory1": (31,),
        "guess": (30, 1),
    }
    damage(run / "checkpoint.npz")
    with pytest.raises(InputError, match="--overwrite") as caught:
        conduct_run(experiment, run, Silent(), resume=True)
    assert caught.value.path == run / "checkpoint.npz"


def test_data_that_changed_since_does_not_resume(prepare, begin, watcher, tmp_path):
    rows = [f"{i},{i * i % 7}.5" for i in range(20)]
    text = "task: {kind: csv, path: d.csv, target: 1}\nnetwork: {hidden: [3]}\ntraining: {log_every: 10}\n"
    (tmp_path / "d.csv").write_text("\n".join(rows))
    experiment = prepare(text=text)
    run = begin(experiment)
    with pytest.raises(KeyboardInterrupt):
        conduct_run(experiment, run, watcher(3))
    (tmp_path / "d.csv").write_text("\n".join(rows[:-4]))
    with pytest.raises(InputError, match="has changed since the run began"):
        conduct_run(prepare(text=text), run, Silent(), resume=True)
    manifest = run.manifest()
    del manifest["data"]  # as an earlier version wrote it
    run.write_manifest(manifest)
    with pytest.raises(InputError, match="does not fit"):
        conduct_run(prepare(text=text), run, Silent(), resume=True)


@pytest.mark.parametrize("resume", [False, True])
def test_a_phase_is_announced_before_its_session_starts(prepare, begin, watcher, monkeypatch, resume):
    """The start takes a while on large data: a bar stands there by then, at the step that it goes on from."""
    experiment = prepare(text=CIRCULAR)
    directory = begin(experiment)
    if resume:
        with suppress(KeyboardInterrupt):
            conduct_run(experiment, directory, watcher(stop_at=3))
    watched = watcher()

    def start(*_):
        raise RuntimeError(f"after {watched.calls}")

    monkeypatch.setattr(Heat, "start", start)
    step = 20 if resume else 0
    with pytest.raises(RuntimeError, match=rf"after \['training from {step} of 50'\]"):
        conduct_run(experiment, directory, watched, resume=resume)
    assert watched.calls[-1] == "ended"


def test_a_checkpoint_without_a_clock_is_damaged(prepare, begin):
    experiment = prepare(text=CIRCULAR)
    directory = begin(experiment)
    conduct_run(experiment, directory, Silent())
    arrays = {
        name: array for name, array in np.load(directory / "checkpoint.npz").items() if "clock" not in name
    }
    np.savez(directory / "checkpoint.npz", **arrays)
    with pytest.raises(InputError, match="the checkpoint is damaged; start again with --overwrite"):
        Checkpoint.read(directory)
