"""Loading a configuration: what a file means, and the line and words of every error in one."""

import os
from pathlib import Path

import pytest
import yaml

from sheafcli.config import load_config
from sheafcli.errors import InputError

GOOD = "task: {kind: paraboloid}\nnetwork: {hidden: [30]}\n"
"""Two lines, so that what a test appends starts on line 3."""


def write(folder: Path, text: str | bytes, name: str = "run.yaml") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def error_of(path: Path | str, *overrides: str) -> InputError:
    with pytest.raises(InputError) as caught:
        load_config(path, overrides)
    return caught.value


# What a good file means ---------------------------------------------------------------------


def test_defaults_of_the_shortest_configuration(tmp_path):
    config = load_config(write(tmp_path, GOOD, "my-run.2.yaml"))
    assert config.name == "my-run.2"
    assert config.seed == 0
    assert config.task.kind == "paraboloid"
    assert config.network.model_dump() == {
        "hidden": (30,),
        "layers": None,
        "input": None,
        "output": None,
        "start": "he",
    }
    assert config.training.model_dump() == {
        "method": "heat",
        "steps": 100_000,
        "time": None,
        "dt": "auto",
        "alpha": 1.0,
        "beta": "auto",
        "stalks": "random",
        "reset_every": None,
        "reset_time": None,
        "stop_when": {"patience": None},
        "log_every": 1000,
    }
    assert config.diagnostics.every is None
    assert config.baseline is None


DESCENT = {
    "optimizer": "sgd",
    "learning_rate": 0.005,
    "schedule": "constant",
    "epochs": 10_000,
    "steps": None,
    "batch_size": None,
    "weight_decay": 0.0,
    "stop_when": {"train_loss": None, "seconds": None, "patience": None},
    "precision": "auto",
    "log_every": "auto",
}


def test_defaults_of_backpropagation(tmp_path):
    text = GOOD + "training: {method: backprop}\nbaseline: {}\n"
    config = load_config(write(tmp_path, text))
    assert config.training.model_dump() == {"method": "backprop", **DESCENT}
    assert config.baseline is not None
    assert config.baseline.model_dump() == DESCENT


def test_defaults_of_equilibrium(tmp_path):
    config = load_config(write(tmp_path, GOOD + "training: {method: equilibrium}\n"))
    own = {"method": "equilibrium", "gamma": 0.00001, "optimizer": "adam", "learning_rate": 0.01}
    assert config.training.model_dump() == DESCENT | own


def test_a_linear_model_has_no_hidden_layers(tmp_path):
    text = "task: {kind: paraboloid}\nnetwork: {hidden: []}\n"
    assert load_config(write(tmp_path, text)).network.hidden == ()


def test_a_time_replaces_the_default_number_of_steps(tmp_path):
    training = load_config(write(tmp_path, GOOD + "training: {time: 500, dt: 0.01}\n")).training
    assert (training.steps, training.time) == (None, 500.0)


def test_a_null_time_leaves_the_default_number_of_steps(tmp_path):
    training = load_config(write(tmp_path, GOOD + "training: {time: null}\n")).training
    assert (training.steps, training.time) == (100_000, None)


DESCENTS = ["training:\n  method: equilibrium", "training:\n  method: backprop", "baseline:"]


@pytest.mark.parametrize("section", DESCENTS)
@pytest.mark.parametrize(
    ("keys", "length"),
    [
        ("steps: 70", (None, 70)),
        ("epochs: null\n  steps: 70", (None, 70)),
        ("epochs: 70", (70, None)),
        ("epochs: 70\n  steps: null", (70, None)),
        ("steps: null", (10_000, None)),
    ],
)
def test_steps_replace_the_default_number_of_epochs(tmp_path, section, keys, length):
    config = load_config(write(tmp_path, f"{GOOD}{section}\n  {keys}\n"))
    descent = getattr(config, section.partition(":")[0])
    assert (descent.epochs, descent.steps) == length


def test_conditions_to_stop_may_be_given_one_or_both_or_none(tmp_path):
    for given in ({}, {"seconds": 3.0}, {"train_loss": 0.1}, {"train_loss": 0.1, "seconds": 3.0}):
        text = GOOD + f"training: {{method: equilibrium, stop_when: {given}}}\n".replace("'", "")
        stop_when = load_config(write(tmp_path, text)).training.stop_when
        assert stop_when.model_dump(exclude_none=True) == given


@pytest.mark.parametrize(
    ("training", "every"),
    [
        ("{method: equilibrium}", 3000),
        ("{method: equilibrium, log_every: 50}", 150),
        ("{method: backprop, batch_size: 8, log_every: 50}", 150),
        ("{method: backprop, batch_size: 8}", None),
    ],
)
def test_discord_may_be_measured_every_few_rows_that_are_steps_apart(tmp_path, training, every):
    text = f"{GOOD}training: {training}\ndiagnostics: {{every: {every or 'null'}}}\n"
    assert load_config(write(tmp_path, text)).diagnostics.every == every


@pytest.mark.parametrize(
    ("spelling", "number"),
    [("1e-3", 1e-3), ("5e3", 5e3), ("1.5E+2", 150.0), (".5", 0.5), ("2.", 2.0), ("1", 1.0)],
)
def test_every_usual_spelling_of_a_number_is_one(tmp_path, spelling, number):
    alpha = load_config(write(tmp_path, GOOD + f"training: {{alpha: {spelling}}}\n")).training.alpha
    assert alpha == number
    assert isinstance(alpha, float)


def test_digits_may_be_grouped(tmp_path):
    assert load_config(write(tmp_path, GOOD + "seed: 1_000_000\n")).seed == 10**6


@pytest.mark.parametrize("name", ["no", "on", "2026-03-01", "1.2.3"])
def test_what_older_yaml_takes_for_a_truth_value_or_a_date_is_text(tmp_path, name):
    assert load_config(write(tmp_path, GOOD + f"name: {name}\n")).name == name


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path):
    text = "\ufeff" + GOOD.replace("\n", "\r\n") + "seed: 4\r\n"
    assert load_config(write(tmp_path, text)).seed == 4


def test_paths_are_relative_to_the_folder_of_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    data = write(tmp_path, b"", "data.npz")
    weights = write(tmp_path, b"", "weights.npz")
    folder = tmp_path / "experiments"
    folder.mkdir()
    text = (
        "task: {kind: npz, path: ../data.npz}\n"
        "network: {hidden: [2], start: ../weights.npz}\n"
        f"training: {{stalks: '{weights}'}}\n"
    )
    config = load_config(write(folder, text))
    assert config.task.path == data.resolve()
    assert config.network.start == weights.resolve()
    assert config.training.stalks == weights.resolve()


# Overrides ----------------------------------------------------------------------------------


def test_overrides_replace_add_and_create_sections(tmp_path):
    path = write(tmp_path, GOOD + "seed: 1\n")
    overrides = ["seed=2", "network.hidden=[3, 4]", "training.alpha=1e-1", "name=other", "seed=3"]
    config = load_config(path, overrides)
    assert (config.seed, config.name) == (3, "other")
    assert config.network.hidden == (3, 4)
    assert config.training.alpha == 0.1


def test_an_override_mends_what_is_wrong_in_the_file(tmp_path):
    path = write(tmp_path, GOOD + "training:\n  stalks: missing.npz\n")
    assert load_config(path, ["training.stalks=zeros"]).training.stalks == "zeros"


def test_paths_in_overrides_are_relative_to_the_current_directory(tmp_path, monkeypatch):
    here = tmp_path / "here"
    here.mkdir()
    weights = write(here, b"", "weights.npz")
    monkeypatch.chdir(here)
    config = load_config(write(tmp_path, GOOD), ["network.start=weights.npz"])
    assert config.network.start == weights.resolve()


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("training.steps", "must be KEY=VALUE"),
        ("=3", "must be KEY=VALUE"),
        ("training..steps=3", "must be KEY=VALUE"),
        ("training.steps=-3", "training.steps: given -3; must be an integer of at least 1"),
        ("training.dt=.nan", "training.dt: given .nan; must be a finite number above 0, or auto"),
        ("training.step=3", "training.step: unknown key; did you mean steps?"),
        (
            "training.gamma=1",
            "training.gamma: belongs to method equilibrium, not to heat; known here: method",
        ),
        ("baseline.batch_size=0", "given 0; must be an integer of at least 1, or null"),
        ("baseline.stop_when.seconds=.nan", "baseline.stop_when.seconds: given .nan; must be a finite"),
        (
            "baseline.stop_when.loss=1",
            "baseline.stop_when.loss: unknown key; known here: train_loss, seconds",
        ),
        ("seed=[1", "not YAML"),
        ("seed={a: 1, a: 2}", "given twice"),
        ("seed=&a 3", "anchors"),
        ("network.hidden.x=3", "network.hidden is not a section"),
        ("network.start=nowhere.npz", "no file"),
        ("network.hidden=[0]", "network.hidden[0]: given [0]; must be an integer from 1 to 65536"),
    ],
)
def test_errors_of_an_override_name_it_and_no_line(tmp_path, override, words):
    error = error_of(write(tmp_path, GOOD), override)
    assert (error.path, error.line) == (None, None)
    assert str(error).startswith(f"--set {override}: ")
    assert words in str(error)


# Values that are wrong ----------------------------------------------------------------------

WIDTH = "an integer from 1 to 65536"
COUNT = "an integer of at least 1"
POSITIVE = "a finite number above 0"
STOP_WHEN = "a mapping of train_loss, seconds and patience, each a number above 0 or null"
METHODS = "one of heat, equilibrium, implicit, backprop"
KINDS = "one of paraboloid, saddle, circular, blobs, csv, npz, digits, diabetes, breast_cancer"


@pytest.mark.parametrize(
    ("addition", "line", "message"),
    [
        # integers
        ("seed: -1", 3, "seed: given -1; must be an integer from 0 to 9223372036854775807"),
        ("seed: 9223372036854775808", 3, "seed: given 9223372036854775808; must be an integer"),
        ('seed: "3"', 3, 'seed: given "3"; must be an integer'),
        ("seed: true", 3, "seed: given true; must be an integer"),
        ("seed: 3.0", 3, "seed: given 3.0; must be an integer"),
        ("seed: 010", 3, "seed: given 010; must be an integer"),
        ("seed:", 3, "seed: given nothing; must be an integer"),
        ("seed: [1]", 3, "seed: given [1]; must be an integer"),
        ("\nseed:\n  -1", 5, "seed: given -1; must be an integer"),
        ("seed: " + "1" * 5000, 3, f"seed: given {'1' * 57}...; must be an integer"),
        ("training:\n  steps: 0", 4, f"training.steps: given 0; must be {COUNT}, or null"),
        ("training:\n  log_every: 1e3", 4, f"training.log_every: given 1e3; must be {COUNT}"),
        ("training:\n  reset_every: -5", 4, f"training.reset_every: given -5; must be {COUNT}"),
        ("baseline:\n  epochs: 0", 4, f"baseline.epochs: given 0; must be {COUNT}"),
        ("diagnostics:\n  every: 0", 4, f"diagnostics.every: given 0; must be {COUNT}, or null"),
        # numbers
        ("training:\n  dt: 0", 4, f"training.dt: given 0; must be {POSITIVE}, or auto"),
        ("training:\n  dt: -0.1", 4, f"training.dt: given -0.1; must be {POSITIVE}, or auto"),
        ("training:\n  dt: .nan", 4, f"training.dt: given .nan; must be {POSITIVE}, or auto"),
        ("training:\n  dt: .inf", 4, f"training.dt: given .inf; must be {POSITIVE}, or auto"),
        ("training:\n  dt: 1e999", 4, f"training.dt: given 1e999; must be {POSITIVE}, or auto"),
        ("training:\n  dt: autp", 4, "must be a finite number above 0, or auto; did you mean auto?"),
        ("training:\n  alpha: true", 4, f"training.alpha: given true; must be {POSITIVE}"),
        ("training:\n  alpha: -.INF", 4, f"training.alpha: given -.INF; must be {POSITIVE}"),
        (f"training:\n  alpha: 1{'0' * 400}", 4, f"must be {POSITIVE}"),
        ("training:\n  beta: 0", 4, f"training.beta: given 0; must be {POSITIVE}, or auto"),
        ("training:\n  time: 0", 4, f"training.time: given 0; must be {POSITIVE}, or null"),
        ("baseline:\n  learning_rate: '1'", 4, f"given '1'; must be {POSITIVE}"),
        # words
        ("name: no way", 3, "name: given no way; must be text of at most 100 letters"),
        ("name: .hidden", 3, "name: given .hidden; must be text of at most 100 letters"),
        ("name: a/b", 3, "name: given a/b; must be text"),
        ("name: 3", 3, "name: given 3; must be text"),
        ('name: "a\\n"', 3, 'name: given "a\\n"; must be text'),
        (f"name: {'a' * 101}", 3, "must be text of at most 100 letters"),
        ("training:\n  method: het", 4, f"given het; must be {METHODS}; did you mean heat?"),
        ("training:\n  method: equilibriun", 4, f"must be {METHODS}; did you mean equilibrium?"),
        ("training:\n  method: [heat]", 4, "training.method: given"),
        ("baseline:\n  optimizer: rms", 4, "given rms; must be one of sgd, momentum, adam"),
        # sections
        ("training: 3", 3, "training: given 3; must be a mapping whose method is one of heat"),
        ("training:", 3, "training: given nothing; must be a mapping"),
        ("baseline: [sgd]", 3, "baseline: given [sgd]; must be a mapping of optimizer, learning_rate"),
        # unknown keys
        ("sed: 3", 3, "sed: unknown key; did you mean seed?"),
        ("3: 3", 3, "3: unknown key; known here: name, seed, task, network, training"),
        ("<<: {seed: 3}", 3, "<<: unknown key"),
        ("training:\n  stepz:\n    3", 4, "training.stepz: unknown key; did you mean steps?"),
        # keys that must agree
        ("training:\n  steps: 3\n  time: 2.5", 5, "given 2.5 beside steps 3; give one of the two"),
        (
            "training:\n  reset_time: 5\n  reset_every: 10",
            4,
            "training.reset_time: given 5.0 beside reset_every 10; give at most one of the two",
        ),
        ("training:\n  reset_time: 0", 4, f"training.reset_time: given 0; must be {POSITIVE}, or null"),
        (
            "training:\n  dt: 0.5\n  reset_time: 1.0e-300",
            5,
            "training.reset_time: given 1e-300; must be at least dt, which is 0.5: stalks",
        ),
        (
            "training:\n  time: 10\n  dt: 1.0e-20",
            4,
            "training.time: given 10.0, 1.0e+21 steps of dt 1e-20; must be at most 1e-08 with that dt",
        ),
        ("training:\n  steps: null", 4, "training.steps: given null and no time; give"),
        (
            "training:\n  log_every: 100\ndiagnostics:\n  every: 150",
            6,
            "diagnostics.every: given 150; must be a multiple of training.log_every, which is 100",
        ),
        # duplicate keys
        ("seed: 1\nname: a\nseed: 2", 5, "seed: given twice, first on line 3; keep one of the two"),
        ("training: {dt: 1,\n dt: 2}", 4, "training.dt: given twice, first on line 3"),
    ],
)  # fmt: skip
def test_wrong_values_are_named_with_their_line(tmp_path, addition, line, message):
    path = write(tmp_path, GOOD + addition + "\n")
    error = error_of(path)
    assert message in error.message
    assert (error.path, error.line) == (path, line)
    assert "\n" not in error.message, "one mistake, one line"


OF_HEAT = "method, steps, time, dt, alpha, beta, stalks, reset_every, reset_time, stop_when, log_every"
OF_BASELINE = (
    "optimizer, learning_rate, schedule, epochs, steps, batch_size, weight_decay, stop_when, "
    "precision, log_every"
)
OF_BACKPROP = f"method, {OF_BASELINE}"
OF_EQUILIBRIUM = f"{OF_BACKPROP}, gamma"
OF_IMPLICIT = "method, steps, kappa, weight_decay, regularise, stop_when, log_every"
ONLY_HEAT = ("time", "dt", "alpha", "beta", "stalks", "reset_every", "reset_time")
SHARED = ["weight_decay"]
DESCENT_ALONE = ["optimizer", "learning_rate", "schedule", "epochs", "batch_size", "precision"]


@pytest.mark.parametrize(
    ("method", "keys", "owner", "known"),
    [
        ("method: equilibrium", ONLY_HEAT, "method heat, not to equilibrium", OF_EQUILIBRIUM),
        ("method: backprop", ONLY_HEAT, "method heat, not to backprop", OF_BACKPROP),
        ("method: backprop", ["gamma"], "method equilibrium, not to backprop", OF_BACKPROP),
        ("method: heat", ["gamma"], "method equilibrium, not to heat", OF_HEAT),
        ("method: heat", DESCENT_ALONE, "method equilibrium or backprop, not to heat", OF_HEAT),
        ("method: heat", SHARED, "method equilibrium, implicit or backprop, not to heat", OF_HEAT),
        ("method: heat", ["kappa", "regularise"], "method implicit, not to heat", OF_HEAT),
        ("method: backprop", ["kappa", "regularise"], "method implicit, not to backprop", OF_BACKPROP),
        ("method: implicit", ONLY_HEAT, "method heat, not to implicit", OF_IMPLICIT),
        ("method: implicit", ["gamma"], "method equilibrium, not to implicit", OF_IMPLICIT),
        ("method: implicit", DESCENT_ALONE, "method equilibrium or backprop, not to implicit", OF_IMPLICIT),
        ("log_every: 10", ["gamma"], "method equilibrium, not to heat", OF_HEAT),
    ],
)
def test_an_option_of_another_method_is_refused_with_its_line(tmp_path, method, keys, owner, known):
    for key in keys:
        path = write(tmp_path, f"{GOOD}training:\n  {method}\n  {key}: 3\n")
        error = error_of(path)
        assert error.message == f"training.{key}: belongs to {owner}; known here: {known}"
        assert (error.path, error.line) == (path, 5)


@pytest.mark.parametrize(
    ("section", "keys", "owner", "known"),
    [
        ("baseline", ["method", "gamma", *ONLY_HEAT], "training, not to baseline", OF_BASELINE),
        ("diagnostics", ["log_every"], "training or baseline, not to diagnostics", "every, spectrum"),
        ("diagnostics", ["n_train"], "task, not to diagnostics", "every, spectrum"),
    ],
)
def test_an_option_of_another_section_is_refused_with_its_line(tmp_path, section, keys, owner, known):
    for key in keys:
        path = write(tmp_path, f"{GOOD}{section}:\n  {key}: 3\n")
        error = error_of(path)
        assert error.message == f"{section}.{key}: belongs to {owner}; known here: {known}"
        assert (error.path, error.line) == (path, 4)


def test_an_option_without_its_section_is_refused_with_its_line(tmp_path):
    error = error_of(write(tmp_path, GOOD + "epochs: 3\n"))
    assert error.message.startswith("epochs: belongs to training or baseline, not to the top level; known")
    assert error.line == 3


@pytest.mark.parametrize("section", DESCENTS)
@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("epochs: 0", f"epochs: given 0; must be {COUNT}, or null"),
        ("epochs: 1e3", f"epochs: given 1e3; must be {COUNT}, or null"),
        ("steps: -1", f"steps: given -1; must be {COUNT}, or null"),
        ("steps: 5\n  epochs: 3", "steps: given 5 beside epochs 3; give one of the two"),
        ("epochs: null", "epochs: given null and no steps; give a number of epochs or of steps"),
        ("epochs: null\n  steps: null", "epochs: given null and no steps; give a number of epochs or of"),
        ("batch_size: 0", f"batch_size: given 0; must be {COUNT}, or null"),
        ("batch_size: 8.0", f"batch_size: given 8.0; must be {COUNT}, or null"),
        ("batch_size: all", f"batch_size: given all; must be {COUNT}, or null"),
        ("log_every: 0", f"log_every: given 0; must be {COUNT}, or auto"),
        ("log_every: often", f"log_every: given often; must be {COUNT}, or auto"),
        ("log_every: atuo", f"log_every: given atuo; must be {COUNT}, or auto; did you mean auto?"),
        ("log_every: null", f"log_every: given null; must be {COUNT}, or auto"),
        ("learning_rate: 0", f"learning_rate: given 0; must be {POSITIVE}"),
        ("learning_rate: .nan", f"learning_rate: given .nan; must be {POSITIVE}"),
        ("weight_decay: -1e-9", "weight_decay: given -1e-9; must be a finite number of at least 0"),
        ("weight_decay: .inf", "weight_decay: given .inf; must be a finite number of at least 0"),
        ("weight_decay: .nan", "weight_decay: given .nan; must be a finite number of at least 0"),
        ("weight_decay: 2\n  learning_rate: 0.5", "weight_decay: given 2.0; must be below 1 / learning_rate"),
        ("weight_decay: null", "weight_decay: given null; must be a finite number of at least 0"),
        (
            "schedule: cosin",
            "schedule: given cosin; must be one of constant, linear, cosine; did you mean cosine?",
        ),
        ("precision: half", "precision: given half; must be one of auto, double, single"),
        ("optimizer: [sgd]", "optimizer: given [sgd]; must be one of sgd, momentum, adam"),
        ("stop_when: 0.1", f"stop_when: given 0.1; must be {STOP_WHEN}"),
        ("stop_when: null", f"stop_when: given null; must be {STOP_WHEN}"),
        ("stop_when: [1]", f"stop_when: given [1]; must be {STOP_WHEN}"),
        ("stop_when: {loss: 1}", "stop_when.loss: unknown key; known here: train_loss, seconds"),
        ("stop_when: {second: 1}", "stop_when.second: unknown key; did you mean seconds?"),
        ("stop_when: {gamma: 1}", "stop_when.gamma: belongs to training, not to "),
        *(
            (f"stop_when: {{{key}: {value}}}", f"stop_when.{key}: given {value}; must be {POSITIVE}, or null")
            for key in ("train_loss", "seconds")
            for value in ("0", "-1", ".nan", ".inf", "soon", "true", "'1'")
        ),
    ],
)  # fmt: skip
def test_wrong_options_of_a_descent_are_named_with_their_line(tmp_path, section, key, reason):
    path = write(tmp_path, f"{GOOD}{section}\n  {key}\n")
    error = error_of(path)
    assert error.message.startswith(f"{section.partition(':')[0]}.{reason}")
    assert (error.path, error.line) == (path, 4 + section.count("\n"))
    assert "\n" not in error.message


def test_a_wrong_condition_to_stop_is_named_with_its_own_line(tmp_path):
    text = GOOD + "training:\n  method: equilibrium\n  stop_when:\n    train_loss: 1\n    seconds: 0\n"
    error = error_of(write(tmp_path, text))
    assert error.message == f"training.stop_when.seconds: given 0; must be {POSITIVE}, or null"
    assert error.line == 7


@pytest.mark.parametrize("given", ["0", "-1", ".nan", ".inf", "auto", "null", "true"])
def test_a_wrong_stiffness_is_named_with_its_line(tmp_path, given):
    error = error_of(write(tmp_path, f"{GOOD}training:\n  method: equilibrium\n  gamma: {given}\n"))
    assert error.message == f"training.gamma: given {given}; must be {POSITIVE}"
    assert error.line == 5


@pytest.mark.parametrize("method", ["equilibrium", "backprop"])
@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ("", "must be a multiple of training.log_every, which is 1000"),
        (", log_every: 400", "must be a multiple of training.log_every, which is 400"),
        (", batch_size: 5", "with mini-batches, give training.log_every in steps too"),
        (", batch_size: 5, log_every: 400", "must be a multiple of training.log_every, which is 400"),
    ],
)
def test_discord_that_is_due_beside_the_rows_is_named_with_its_line(tmp_path, method, keys, reason):
    text = f"{GOOD}training: {{method: {method}{keys}}}\ndiagnostics:\n  every: 1500\n"
    error = error_of(write(tmp_path, text))
    assert error.message == f"diagnostics.every: given 1500; {reason}"
    assert error.line == 5


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("network: {hidden: [0]}", 2, f"network.hidden[0]: given 0; must be {WIDTH}"),
        ("network:\n  hidden:\n    - 3\n    - '3'", 5, f"network.hidden[1]: given '3'; must be {WIDTH}"),
        ("network: {hidden: [65537]}", 2, f"network.hidden[0]: given 65537; must be {WIDTH}"),
        ("network: {hidden: 30}", 2, "network.hidden: given 30; must be a list of at most 64 items"),
        ("network: {hidden: {a: 1}}", 2, "network.hidden: given {a: 1}; must be a list"),
        (f"network: {{hidden: [{'1,' * 65}]}}", 2, "must be a list of at most 64 items"),
        ("network:\n  output: softmax", 2, "network.hidden: missing; must be the widths"),
        (
            "network:\n  hidden: [1]\n  output: softmx",
            4,
            "network.output: given softmx; must be one of identity, sigmoid, softmax, or null; "
            "did you mean softmax?",
        ),
        ("network:\n  hidden: [1]\n  start: null", 4, "network.start: given null; must be he, or the"),
        ("network:\n  hidden: [1]\n  start: 3", 4, "network.start: given 3; must be he, or the path"),
        ("seed: 3", 1, "network: missing; must be a mapping of hidden, layers, input, output, start"),
    ],
)  # fmt: skip
def test_wrong_networks_are_named_with_their_line(tmp_path, text, line, message):
    error = error_of(write(tmp_path, "task: {kind: paraboloid}\n" + text + "\n"))
    assert message in error.message
    assert error.line == line
    assert "\n" not in error.message


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("task:\n  kind: csb", 3, f"task.kind: given csb; must be {KINDS}; did you mean csv?"),
        ("task:\n  n_train: 3", 2, f"task.kind: missing; must be {KINDS}"),
        ("task: paraboloid", 2, f"given paraboloid; must be a mapping whose kind is {KINDS}"),
        ("task:\n  kind: npz", 2, "task.path: missing; must be the path of a file"),
        ("task:\n  kind: npz\n  path: [a]", 4, "task.path: given [a]; must be the path of a file"),
        (f"task:\n  kind: csv\n  path: {__file__}\n  target: .nan", 5, "task.target: given .nan; a column"),
        (f"task:\n  kind: csv\n  path: {__file__}\n  target: -.Inf", 5, "task.target: given -.Inf; a"),
        ("task:\n  kind: blobs\n  n_trian: 3", 4, "task.n_trian: unknown key; did you mean n_train?"),
        ("task:\n  kind: blobs\n  n_train: 0", 4, "task.n_train: given 0; must be an integer from 1"),
        ("seed: 3", 1, "task: missing; must be a mapping whose kind is one of paraboloid"),
    ],
)  # fmt: skip
def test_wrong_tasks_are_named_with_their_line(tmp_path, text, line, message):
    error = error_of(write(tmp_path, "network: {hidden: [1]}\n" + text + "\n"))
    assert message in error.message
    assert error.line == line
    assert "\n" not in error.message


@pytest.mark.parametrize(
    ("text", "line", "key", "words"),
    [
        ("task: {kind: npz,\n path: no.npz}\nnetwork: {hidden: []}", 2, "task.path", "the path"),
        (GOOD + "training:\n  stalks: radnom", 4, "training.stalks", "random, zeros, forward or"),
        (
            "task: {kind: blobs}\nnetwork:\n  hidden: []\n  start: .",
            4,
            "network.start",
            "he or the path of a file",
        ),
        (GOOD + 'training:\n  stalks: "a\\0b"', 4, "training.stalks", "no file"),
        (GOOD + f"training:\n  stalks: {'a' * 5000}", 4, "training.stalks", "no file"),
    ],
)
def test_missing_files_are_named_with_their_line(tmp_path, text, line, key, words):
    error = error_of(write(tmp_path, text))
    assert error.line == line
    assert error.message.startswith(f"{key}: no file {tmp_path}")
    assert words in error.message


def test_a_missing_file_is_named_by_its_whole_path_once(tmp_path):
    error = error_of(write(tmp_path, GOOD + "network2: 1\ntraining: {stalks: /no/where.npz}\n"))
    assert "training.stalks: no file /no/where.npz; must be" in error.message
    error = error_of(write(tmp_path, GOOD), "network={hidden: [], start: ../no.npz}")
    assert f"network.start: no file {Path.cwd().parent / 'no.npz'}; must be" in error.message


def test_a_misspelt_word_where_a_path_may_stand_is_recognised(tmp_path):
    error = error_of(write(tmp_path, GOOD + "training: {stalks: radnom}\n"))
    assert error.message.endswith("did you mean random?")


def test_a_file_whose_name_cannot_name_a_run_names_it_nearly_so(tmp_path):
    path = write(tmp_path, GOOD, "my run.yaml")
    assert load_config(path).name == "my-run"
    assert load_config(path, ["name=your-run"]).name == "your-run"
    error = error_of(path, "name=your run")
    assert "name: given your run; must be text of at most 100 letters" in error.message


def test_all_errors_are_listed_at_once_in_the_order_of_the_file(tmp_path):
    text = GOOD + "sed: 1\ntraining:\n  dt: 0\n  stalks: nowhere.npz\ndiagnostics: {every: x}\nsed: 2\n"
    path = write(tmp_path, text)
    lines = str(error_of(path, "name=a b", "x")).splitlines()
    assert [line.split(": ")[:2] for line in lines] == [
        [f"{path}:3", "sed"],
        [f"{path}:5", "training.dt"],
        [f"{path}:6", "training.stalks"],
        [f"{path}:7", "diagnostics.every"],
        [f"{path}:8", "sed"],
        ["--set x", "must be KEY=VALUE, as in training.steps=1000"],
        ["--set name=a b", "name"],
    ]


def test_a_flood_of_errors_is_cut(tmp_path):
    path = write(tmp_path, GOOD + "".join(f"key{n}x: 1\n" for n in range(500)))
    lines = str(error_of(path)).splitlines()
    assert len(lines) == 21
    assert lines[-1] == f"{path}: and 480 more problems"


# Files that are no configuration ------------------------------------------------------------

BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "is empty"),
        ("# only a comment\n", 1, "is empty"),
        ("\n\n- a\n- b\n", 3, "given - a - b; must be keys with values"),
        ("just text\n", 1, "given just text; must be keys with values"),
        ("null\n", 1, "given null; must be keys with values"),
        ("seed: 1\n\tname: a\n", 2, "not YAML"),
        ("training:\n\tdt: 1\n", 2, "indent with spaces"),
        ("seed: [1,\n\n", 3, "not YAML"),
        ("seed: 1\nname: 'open\n", 3, "not YAML"),
        ("seed: 1\n  name: a\n", 2, "not YAML"),
        ("seed: 1\nname: \x00\n", 2, "the character U+0000 is not allowed"),
        ("seed: 1\n---\nseed: 2\n", 2, "a second document starts here"),
        (BOMB, 1, "anchors"),
        ("seed: 1\nname: *a\n", 2, "aliases"),
        ("seed: 1\nname: !!python/object/apply:os.system [ls]\n", 2, "the tag"),
        ("seed: 1\nname: !!str 3\n", 2, "the tag"),
        ("seed: 1\n? [a]\n: 3\n", 2, "a key must be a plain name"),
        ("seed: 1\nname: " + "[" * 20_000, 2, "nested more than"),
        ('seed: 1\nname: "\\UFFFFFFFF"\n', 2, "not YAML: an escape"),
        ("- 1\n" * 10_001, 10_000, "more than 10000 keys and values"),
        ("name: " + "{a: " * 1000, 1, "nested more than"),
    ],
)
def test_what_is_no_plain_yaml_mapping_is_refused_with_its_line(tmp_path, text, line, message):
    path = write(tmp_path, text)
    error = error_of(path)
    assert message in error.message
    assert (error.path, error.line) == (path, line)
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("content", "line", "byte"),
    [
        (b"\x89PNG\r\n", 1, "0x89"),
        (GOOD.encode() + b"name: caf\xe9\n", 3, "0xe9"),
        (GOOD.encode("utf-16"), 1, "0xff"),
    ],
)
def test_what_is_not_utf8_is_refused_with_its_line(tmp_path, content, line, byte):
    error = error_of(write(tmp_path, content))
    assert f"is not UTF-8 text: byte {byte}" in error.message
    assert error.line == line


def test_a_huge_file_is_refused_by_its_size(tmp_path):
    path = tmp_path / "huge.yaml"
    with path.open("wb") as file:
        file.truncate(2**30)
    error = error_of(path)
    assert "has 1073741824 bytes; a configuration has at most 1048576" in error.message
    assert error.path == path


def test_the_largest_file_allowed_is_read(tmp_path):
    full = GOOD + "#" * (2**20 - len(GOOD))
    assert load_config(write(tmp_path, full)).seed == 0
    assert "1048577 bytes" in error_of(write(tmp_path, full + "#")).message


def test_what_is_no_regular_file_is_refused_unread(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path, Path("/dev/zero")):
        assert "is not a regular file" in error_of(path).message


def test_a_missing_configuration_is_named(tmp_path):
    path = tmp_path / "nowhere.yaml"
    assert str(error_of(path)) == f"{path}: cannot be read: No such file or directory"


def test_plain_yaml_means_the_same_to_us_as_to_pyyaml(tmp_path):
    text = "seed: 3\ntraining:\n  dt: 0.25\n  beta: auto\nnetwork: {hidden: [3, 4]}\ntask: {kind: blobs}\n"
    config = load_config(write(tmp_path, text))
    theirs = yaml.safe_load(text)
    assert config.seed == theirs["seed"]
    assert config.training.dt == theirs["training"]["dt"]
    assert list(config.network.hidden) == theirs["network"]["hidden"]
