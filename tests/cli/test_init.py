"""`sheaf init` asks nothing: what it writes is valid at once, fits the data, and says what it guessed."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from sheafcli.config import load_config
from sheafcli.config.training import HeatSpec, ImplicitSpec
from sheafcli.tasks import TASKS

METHODS = ("heat", "equilibrium", "implicit", "backprop")


@pytest.fixture
def table(folder):
    """A table of 200 rows with a noisy sum as its target, in a folder of its own."""
    draw = np.random.default_rng(0)
    X = draw.normal(size=(200, 3))

    def write(names=("a", "b", "c", "d"), values=None):
        target = X.sum(axis=1) + 0.1 * draw.normal(size=200) if values is None else values
        Path("data").mkdir(exist_ok=True)
        rows = [f"{','.join(f'{x:.6f}' for x in row)},{y}" for row, y in zip(X, target, strict=True)]
        Path("data/t.csv").write_text("\n".join([",".join(names), *rows]) + "\n")
        return "data/t.csv"

    return write


# Without data ---------------------------------------------------------------------------------


def test_by_default_it_trains_by_the_method_that_trains_best(sheaf, folder):
    outcome = sheaf("init")
    assert (outcome.code, outcome.err) == (0, "")
    assert isinstance(load_config("config.yaml").training, ImplicitSpec)
    assert sheaf("validate", "config.yaml").code == 0


@pytest.mark.parametrize("method", METHODS)
def test_any_method_may_be_asked_for(sheaf, folder, method):
    assert sheaf("init", "--method", method).code == 0
    assert load_config("config.yaml").training.method == method


def test_the_papers_training_stands_beside_it_as_a_comment(sheaf, folder):
    sheaf("init")
    lines = Path("config.yaml").read_text().splitlines()
    place = lines.index("# training:")
    comment = [line[2:] for line in lines[place:] if line.startswith("#")]
    end = next(n for n, line in enumerate(comment[1:], start=1) if not line.startswith("  "))
    training = yaml.safe_load("\n".join(comment[:end]))["training"]
    assert HeatSpec.model_validate(training) == HeatSpec()


# With data ------------------------------------------------------------------------------------


def test_a_table_is_read_and_its_target_guessed_and_said(sheaf, table):
    outcome = sheaf("init", "own.yaml", "--data", table())
    assert outcome.code == 0
    assert "target: d, the last column" in outcome.out
    assert "150 training and 50 test samples, 3 inputs" in outcome.out
    config = load_config("own.yaml")
    assert (config.task.target, config.task.path) == ("d", Path("data/t.csv").resolve())
    assert yaml.safe_load(Path("own.yaml").read_text())["task"]["path"] == "data/t.csv"


def test_a_column_called_target_is_taken_wherever_it_stands(sheaf, table):
    outcome = sheaf("init", "--data", table(names=("a", "Target", "c", "d")))
    assert "target: Target, by its name" in outcome.out
    assert load_config("config.yaml").task.target == "Target"


def test_the_target_may_be_named(sheaf, table):
    outcome = sheaf("init", "--data", table(), "--target", "b")
    assert "target: b\n" in outcome.out
    assert load_config("config.yaml").task.target == "b"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("penguins", "missing values: filled in and marked"),
        ("cars", "left out (most texts stand there once): name"),
        ("weather", "dates: date as %Y/%m/%d"),
        ("loans", "target: approved"),
        ("diabetes", "target: progression"),
    ],
)
def test_real_tables_are_taken_as_they_are(sheaf, folder, name, told):
    table = Path(__file__).resolve().parents[2] / "experiments" / "data" / f"{name}.csv"
    outcome = sheaf("init", "--data", table)
    assert outcome.code == 0, outcome
    assert told in outcome.out
    assert sheaf("validate", "config.yaml").code == 0


def test_the_rows_of_a_time_series_are_not_drawn(sheaf, folder):
    draw = np.random.default_rng(0)
    for name, order in (("series", np.arange(60)), ("mixed", draw.permutation(60))):
        days = np.datetime64("2024-01-01") + order
        rows = [f"{day},{draw.normal():.3f},{draw.normal():.3f}" for day in days]
        Path(f"{name}.csv").write_text("\n".join(["when,x,y", *rows]) + "\n")
        outcome = sheaf("init", f"{name}.yaml", "--data", f"{name}.csv")
        assert ("split: ordered, for rows are in the order of when" in outcome.out) == (name == "series")
        assert load_config(f"{name}.yaml").task.split == ("ordered" if name == "series" else "random")


def test_numbers_beside_texts_become_categories_and_tickets_are_left_out(sheaf, folder):
    draw = np.random.default_rng(1)
    rows = [
        f"{draw.choice(['1', '2', 'crew', 'crew'])},{'PC ' if i % 3 else ''}{1000 + i},{draw.normal():.3f}"
        for i in range(60)
    ]
    Path("ship.csv").write_text("\n".join(["class,ticket,y", *rows]) + "\n")
    outcome = sheaf("init", "--data", "ship.csv")
    assert "left out (most texts stand there once): ticket" in outcome.out
    assert "categories, some of which are numbers: class" in outcome.out
    task = load_config("config.yaml").task
    assert (task.categories, task.exclude) == (("class",), ("ticket",))


def test_columns_that_say_nothing_are_left_out(sheaf, folder):
    draw = np.random.default_rng(2)
    rows = [f"{draw.normal():.3f},,x,7,{draw.normal():.3f}" for _ in range(60)]
    Path("t.csv").write_text("\n".join(["a,empty,same text,same number,y", *rows]) + "\n")
    outcome = sheaf("init", "--data", "t.csv")
    assert "left out (no value in them): empty" in outcome.out
    assert "left out (the same in all rows): same text, same number" in outcome.out
    assert load_config("config.yaml").task.exclude == ("empty", "same text", "same number")
    assert sheaf("validate", "config.yaml").code == 0


def test_a_parquet_file_is_read(sheaf, folder):
    pytest.importorskip("pyarrow")
    X = np.random.default_rng(0).normal(size=(60, 3))
    pd.DataFrame(X, columns=["a", "b", "c"]).to_parquet("t.parquet")
    assert "45 training and 15 test samples, 2 inputs" in sheaf("init", "--data", "t.parquet").out
    assert sheaf("validate", "config.yaml").code == 0


def test_what_no_configuration_can_mend_stays_an_error(refused, table):
    table(names=("a", "b", "b", "d"))
    refused("init", "--data", "data/t.csv", words="data/t.csv")


def test_what_is_written_learns(sheaf, table):
    sheaf("init", "own.yaml", "--data", table())
    assert sheaf("train", "own.yaml", "--quiet").code == 0
    final = json.loads(Path("results/own/manifest.json").read_text())["final"]
    assert final["test_loss"] < 0.1  # of a variance of 1; the noise is a thirtieth of that


def test_the_network_is_wider_and_the_method_cheaper_with_more_data(sheaf, folder):
    draw = np.random.default_rng(0)
    chosen = {}
    for n in (40, 20_000):
        X, y = draw.normal(size=(n, 5)), draw.integers(0, 3, size=n)
        np.savez("data.npz", X_train=X, y_train=np.eye(3)[y], X_test=X[:20], y_test=np.eye(3)[y[:20]])
        assert sheaf("init", f"of{n}.yaml", "--data", "data.npz").code == 0
        chosen[n] = load_config(f"of{n}.yaml")
    assert chosen[40].network.hidden[0] < chosen[20_000].network.hidden[0]
    assert chosen[40].training.method == "implicit"
    assert chosen[20_000].training.batch_size is not None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--method", "sgd"), "--method sgd: no such method; there are heat"),
        (("--task", "rings"), "--task rings: no such kind; there are paraboloid"),
        (("--data", "nowhere.csv"), "nowhere.csv: no such file"),
        (("--data", "small.yaml"), "unknown suffix '.yaml'"),
        (("--data", "data/t.csv", "--target", "z"), "z"),
        (("--data", "data/t.csv", "--task", "npz"), "--task npz does not read this file"),
        (("--target", "y"), "--target is a column of a table"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_written(refused, table, arguments, words):
    table()
    refused("init", *arguments, words=words)


# Another method for the same file -------------------------------------------------------------


@pytest.mark.parametrize("kind", ["paraboloid", "blobs"])
@pytest.mark.parametrize("before", METHODS)
@pytest.mark.parametrize("after", METHODS)
def test_a_file_of_defaults_is_trained_by_any_method(sheaf, folder, kind, before, after):
    assert kind in TASKS
    sheaf("init", "--task", kind, "--method", before)
    config = load_config("config.yaml", [f"training.method={after}"])
    Path("other.yaml").write_text(
        f"task: {{kind: {kind}}}\nnetwork: {{hidden: [30]}}\ntraining: {{method: {after}}}\n"
    )
    assert config.training == load_config("other.yaml").training


def test_what_is_no_default_stays_and_is_an_error_where_it_does_not_belong(sheaf, folder):
    sheaf("init", "--method", "heat")
    text = Path("config.yaml").read_text().replace("alpha: 1.0", "alpha: 2.0", 1)
    Path("config.yaml").write_text(text)
    outcome = sheaf("validate", "config.yaml", "--set", "training.method=implicit")
    assert outcome.code == 2
    assert len(outcome.err.splitlines()) == 1
    assert "training.alpha: belongs to method heat, not to implicit" in outcome.err


def test_what_is_overridden_stays_whatever_the_order(folder):
    chosen = ["training.method=implicit", "training.steps=60"]
    Path("heat.yaml").write_text("task: {kind: blobs}\nnetwork: {hidden: [3]}\ntraining: {steps: 100000}\n")
    for order in (chosen, chosen[::-1]):
        assert load_config("heat.yaml", order).training.steps == 60
