"""A messy table through the commands: what is done to it is shown, and samples have the lines of the file."""

import io
from pathlib import Path

import pandas as pd
import pytest

MESSY = """\
name;size;born;site;kind
a1;3,5;1.2.2001;north;x
a2;;3.4.2002;south;y
a3;4,25;5.6.2003;north;x
a4;1,0;7.8.2004;;y
"""
CONFIG = """\
task:
  kind: csv
  path: messy.csv
  target: kind
  exclude: [name]
  missing: impute
  dates: {born: '%d.%m.%Y'}
network: {hidden: [3]}
training: {method: equilibrium, steps: 30, log_every: 10}
"""


@pytest.fixture
def messy(folder):
    lines = MESSY.splitlines()  # a blank line stands below the header
    rows = [f"{number}{line}" for number, line in enumerate(lines[1:] * 10)]
    (folder / "messy.csv").write_text("\n".join([lines[0], "", *rows]) + "\n")
    (folder / "messy.yaml").write_text(CONFIG)
    return "messy.yaml"


def test_validate_shows_what_is_done_to_each_column(sheaf, messy):
    outcome = sheaf("validate", messy)
    assert outcome.code == 0
    table, _, verdict = outcome.out.rpartition("messy.yaml: valid")
    assert all(len(line) <= 80 for line in table.splitlines())
    words = " ".join(table.split())
    for column in ("size number 2 (x - ", "born date 1 (x - ", "site category 3 one-hot: north, south north"):
        assert column in words
    assert "Target kind: 2 classes, x, y." in words
    assert "30 training and 10 test samples; network [6, 3, 1], output sigmoid." in verdict
    assert "separated by semicolons" in outcome.err


def test_samples_have_the_lines_of_the_file(sheaf, messy):
    assert sheaf("train", messy, "--output", "run", "--quiet").code == 0
    outcome = sheaf("diagnose", "run")
    assert outcome.code == 0
    samples = pd.read_csv("run/samples.csv")
    rows = open_lines("messy.csv")
    for line, target in zip(samples["line"], samples["target"], strict=True):
        assert rows[line - 1].split(";")[-1] == target
    assert "\nline " in outcome.out
    page = sheaf("report", "run")
    assert page.code == 0


def test_from_a_table_to_predictions_without_a_line_of_python(sheaf, folder):
    """What `init` writes is taken as it is: text, missing values, a target that is not the last column."""
    source = Path(__file__).resolve().parents[2] / "experiments" / "data" / "penguins.csv"
    lines = source.read_text().splitlines()
    (folder / "birds.csv").write_text("\n".join(lines[:1] + lines[1::2]) + "\n")
    assert sheaf("init", "birds.yaml", "--data", "birds.csv", "--target", "species").code == 0
    assert sheaf("validate", "birds.yaml").code == 0
    assert sheaf("train", "birds.yaml", "--quiet").code == 0
    others = pd.read_csv(io.StringIO("\n".join(lines[:1] + lines[2::2])), dtype=str, keep_default_na=False)
    # In another order of columns, without the target.
    others.drop(columns="species").iloc[:, ::-1].to_csv(folder / "new.csv", index=False)
    outcome = sheaf("predict", "results/birds", "--data", "new.csv")
    assert outcome.code == 0, outcome
    predicted = pd.read_csv(io.StringIO(outcome.out))
    assert predicted["line"].tolist() == list(range(2, len(others) + 2))
    assert (predicted["prediction"] == others["species"]).mean() >= 0.95
    chances = predicted[[f"p({name})" for name in ("Adelie", "Chinstrap", "Gentoo")]]
    assert chances.sum(axis=1).to_numpy() == pytest.approx(1.0)
    assert "missing values are filled in" in outcome.err
    wanted = ("--target", "species=Gentoo", "--row", 2, "--data", "new.csv")
    assert "species=Gentoo (" in sheaf("infer", "results/birds", *wanted).out
    assert sheaf("export", "results/birds", "birds.onnx").code == 0
    assert (folder / "birds.onnx").stat().st_size > 0


def open_lines(name):
    with open(name) as file:
        return file.read().splitlines()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            "task.missing=error",
            ["no value for 'size'", "no value for 'site'", "set task.missing: drop or impute"],
        ),
        ("task.dates={}", ["'1.2.2001' in 'born' looks like a date; set task.dates: {born: '%d.%m.%Y'}"]),
        ("task.exclude=[]", ["40 of 40 texts in 'name' stand there once, such as '0a1'"]),
        ("task.exclude=[nome]", ["exclude: no column 'nome' in the first row; did you mean 'name'"]),
        ("task.missing=fill", ["task.missing: given fill; must be one of error, drop, impute"]),
        ("task.validation_fraction=0.8", ["given 0.8 beside a test part of 0.25; their sum must be below 1"]),
        ("task.fold=6/5", ["task.fold: given 6/5; must be a fold and how many there are"]),
    ],
)
def test_what_keeps_a_table_from_being_read_is_said_with_what_to_do(refused, messy, change, words):
    told = refused("train", messy, "--set", change, "--output", "run", words=words[0])
    assert all(word in told for word in words)
