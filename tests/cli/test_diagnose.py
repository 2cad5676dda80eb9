"""`sheaf diagnose`: the files it writes, its status, and runs of which little is known."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.cells import cell_len

from sheafcli.core.chain.network import Network
from sheafcli.diagnostics.fault import FAULT_COLUMNS
from sheafcli.interop.networks import read_network
from sheafcli.runs import Experiment, RunDirectory

STATISTICS = ["discord", "std", "median", "max", "share"]
EDGES = ["affine_1", "activation_1", "affine_2"]
COLUMNS = {
    "diagnosis": ["layer", "operation", "edge", *STATISTICS, "resistance", "excess"],
    "layers": ["layer", *STATISTICS, "resistance", "excess", *FAULT_COLUMNS],
    "operations": ["operation", *STATISTICS],
    "neurons": ["layer", "operation", "edge", "neuron", *STATISTICS, "active"],
    "samples": ["sample", "discord", "share", "worst_edge", "loss", "target", "predicted"],
    "findings": ["severity", "rule", "layer", "operation", "neurons", "evidence", "advice"],
}
CLASSES = ["class", "samples", *STATISTICS, "loss", "accuracy"]
PICTURES = ["edges.png", "neurons.png", "resistance.png", "tension.png"]


@pytest.fixture(params=["run", "balanced_run"])
def any_run(request) -> Path:
    """A copy of a finished run, of a regression or of two classes."""
    return request.getfixturevalue(request.param)


def tables(run):
    return {path.stem: path.read_bytes() for path in run.glob("*.csv")}


def replanted(run, change):
    """Change copies of the weights and biases of a run's network in place."""
    network = read_network(run / "network.npz")
    weights, biases = [W.copy() for W in network.weights], [b.copy() for b in network.biases]
    change(weights, biases)
    RunDirectory(run).write_network(Network(tuple(weights), tuple(biases), network.output))


# Files ----------------------------------------------------------------------------------------


def test_every_table_has_its_columns_and_a_row_for_everything(sheaf, any_run):
    outcome = sheaf("diagnose", any_run)
    assert (outcome.code, outcome.err) == (0, "")
    network = read_network(any_run / "network.npz")
    classes = network.output.classifies
    edges = [*EDGES, "output"] if classes else EDGES
    found = {name: pd.read_csv(any_run / f"{name}.csv") for name in [*COLUMNS, *["classes"] * classes]}
    for name, columns in COLUMNS.items():
        expected = columns + [f"discord_{edge}" for edge in edges] * (name == "samples")
        assert list(found[name]) == expected, name
    assert found["diagnosis"]["edge"].tolist() == edges
    assert found["layers"]["layer"].tolist() == [1, 2]
    assert len(found["samples"]) == 20
    assert len(found["neurons"]) == sum(network.widths[1:]) + network.widths[1] + classes
    assert (any_run / "classes.csv").exists() == classes
    if classes:
        assert list(found["classes"]) == CLASSES
        assert found["classes"]["samples"].sum() == 20
    told = " ".join(outcome.out.split())
    assert "Written into" in told
    assert all(f"{name}.csv" in told for name in found)


def test_the_same_run_has_the_same_tables(sheaf, any_run):
    first = sheaf("diagnose", any_run)
    before = tables(any_run)
    second = sheaf("diagnose", any_run)
    assert (first.out, tables(any_run)) == (second.out, before)


def test_it_draws_its_pictures_when_asked(sheaf, balanced_run):
    assert "figures/" in sheaf("diagnose", balanced_run, "--figures").out
    for name in PICTURES:
        assert (balanced_run / "figures" / name).read_bytes().startswith(b"\x89PNG")


def test_unasked_it_draws_nothing_and_loads_nothing_that_draws(start, finish, balanced_run):
    outcome = finish(start("diagnose", balanced_run, PYTHONPROFILEIMPORTTIME="1"))
    assert outcome.code == 0
    assert "pandas" in outcome.err
    assert "matplotlib" not in outcome.err
    assert "figures/" not in outcome.out
    assert not (balanced_run / "figures").exists()


def test_pictures_that_are_there_never_show_other_samples_than_the_tables(sheaf, balanced_run):
    assert sheaf("diagnose", balanced_run, "--figures").code == 0
    edges = balanced_run / "figures" / "edges.png"
    before = edges.read_bytes()
    assert sheaf("diagnose", balanced_run, "--limit", 2).code == 0
    assert edges.read_bytes() != before


def test_classes_of_an_earlier_network_go(sheaf, run):
    (run / "classes.csv").write_text("class,share\n0,1.0\n")
    assert sheaf("diagnose", run).code == 0
    assert not (run / "classes.csv").exists()
    assert "classes.csv" not in sheaf("diagnose", run).out


# Formats --------------------------------------------------------------------------------------


def test_json_is_one_object_that_holds_what_the_files_do(sheaf, any_run):
    told = json.loads(sheaf("diagnose", any_run, "--format", "json", "--limit", 12).out)
    assert list(told) == [
        *("run", "data", "samples", "edges", "layers", "operations", "classes"),
        *("metrics", "worst_neurons", "worst_samples", "findings"),
    ]
    assert (told["run"], told["data"], told["samples"]) == (str(any_run), "test", 12)
    samples, neurons = (pd.read_csv(any_run / f"{name}.csv") for name in ("samples", "neurons"))
    worst = samples.nlargest(5, "discord")["sample"].tolist()
    assert [row["sample"] for row in told["worst_samples"]] == worst
    discords = [row["discord"] for row in told["worst_neurons"]]
    # Those that are alike to six digits stay in path order.
    assert discords == pytest.approx(sorted(neurons["discord"], reverse=True)[:10], rel=1e-5)
    findings = pd.read_csv(any_run / "findings.csv")
    assert [row["rule"] for row in told["findings"]] == findings["rule"].tolist()


def test_findings_in_json_name_their_neurons_by_number(sheaf, run):
    def kill(weights, biases):
        biases[0][[1, 3, 4]] = -1e3

    replanted(run, kill)
    told = json.loads(sheaf("diagnose", run, "--format", "json").out)
    (dead,) = (finding for finding in told["findings"] if finding["rule"] == "dead-relu")
    assert (dead["layer"], dead["neurons"]) == (1, [1, 3, 4])
    table = pd.read_csv(run / "findings.csv").set_index("rule")
    assert table.loc["dead-relu", "neurons"] == "1 3 4"


def test_csv_is_the_table_of_edges(sheaf, any_run):
    assert sheaf("diagnose", any_run, "--format", "csv").out == (any_run / "diagnosis.csv").read_text()


# Status ---------------------------------------------------------------------------------------


def nothing(weights, biases):
    pass


def half_dead(weights, biases):
    biases[0][:3] = -1e3


def dead(weights, biases):
    biases[0][:] = -1e3


@pytest.mark.parametrize("format_", ["table", "csv", "json"])
@pytest.mark.parametrize(("change", "worst"), [(nothing, "info"), (half_dead, "warning"), (dead, "error")])
def test_the_status_is_3_where_a_finding_is_so_grave(sheaf, balanced_run, change, worst, format_):
    replanted(balanced_run, change)
    plain = sheaf("diagnose", balanced_run, "--format", format_)
    assert plain.code == 0
    severities = set(pd.read_csv(balanced_run / "findings.csv")["severity"])
    order = ["info", "warning", "error"]
    assert max(severities, key=order.index, default="info") == worst
    for threshold in ("warning", "error"):
        outcome = sheaf("diagnose", balanced_run, "--format", format_, "--fail-on", threshold)
        assert outcome.code == (3 if order.index(worst) >= order.index(threshold) else 0)
        # All is told and written as ever.
        assert (outcome.out, outcome.err) == (plain.out, "")


def test_a_severity_that_is_none_is_refused(refused, run):
    refused("diagnose", run, "--fail-on", "info", words="'info' is not one of 'warning', 'error'")


# Samples --------------------------------------------------------------------------------------


def test_a_file_is_diagnosed_on_its_own(sheaf, any_run):
    task = Experiment.load(any_run / "config.yaml").task
    np.savez("mine.npz", X=task.X_train[:9], y=task.y_train[:9])
    outcome = sheaf("diagnose", any_run, "--data", "mine.npz")
    assert outcome.code == 0
    assert outcome.out.startswith("Pinned discord of 9 samples (mine.npz)")
    assert "(on 9 mine.npz samples)" in outcome.out
    mine = tables(any_run)
    assert sheaf("diagnose", any_run, "--data", "train", "--limit", 9).code == 0
    ours = tables(any_run)
    assert {name for name in ours if ours[name] != mine[name]} <= {"findings", "classes", "samples"}  # names


@pytest.mark.parametrize("limit", [1, 2, 3])
@pytest.mark.parametrize("data", ["test", "train"])
def test_few_samples_are_enough(sheaf, any_run, data, limit):
    outcome = sheaf("diagnose", any_run, "--data", data, "--limit", limit)
    assert (outcome.code, outcome.err) == (0, "")
    assert len(pd.read_csv(any_run / "samples.csv")) == limit
    assert "nan" not in outcome.out
    assert max(map(cell_len, outcome.out.splitlines())) <= 80


def test_a_run_without_logs_is_diagnosed(sheaf, any_run):
    shutil.copytree(any_run, "bare")
    for name in ("history.csv", "discord.csv", "baseline.csv"):
        (Path("bare") / name).unlink(missing_ok=True)
    (Path("bare") / "manifest.json").write_text(json.dumps({"name": "bare", "status": "imported"}))
    assert sheaf("diagnose", any_run).code == 0
    assert sheaf("diagnose", "bare").code == 0
    for name in ("diagnosis", "layers", "operations", "neurons", "samples"):
        assert (Path("bare") / f"{name}.csv").read_bytes() == (any_run / f"{name}.csv").read_bytes()


# Widths ---------------------------------------------------------------------------------------

LONG = "the-class-with-a-name-of-rather-more-than-forty-letters"


def test_many_layers_and_long_names_fit_80_columns(sheaf, folder):
    rng = np.random.default_rng(0)
    X, labels = rng.normal(size=(60, 3)), rng.integers(0, 3, 60)
    names = np.array(["[red]", LONG, "other"])[labels]
    rows = [",".join([*map(str, x), name]) for x, name in zip(X, names, strict=True)]
    (folder / "data.csv").write_text("\n".join(["a,b,c,kind", *rows]) + "\n")
    (folder / "deep.yaml").write_text(
        "name: deep\n"
        f"task: {{kind: csv, path: {folder / 'data.csv'}, target: kind}}\n"
        "network: {hidden: [4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4]}\n"
        "training: {method: backprop, epochs: 1}\n"
    )
    assert sheaf("train", "deep.yaml", "--output", "deep", "--quiet").code == 0
    outcome = sheaf("diagnose", "deep")
    assert (outcome.code, outcome.err) == (0, "")
    assert max(map(cell_len, outcome.out.splitlines())) <= 80
    assert "…" not in outcome.out
    assert "[red]" in outcome.out
    by_layer = outcome.out.split("Discord by layer")[1].split("Discord by operation")[0]
    assert [int(n) for n in re.findall(r"^(\d+) ", by_layer, re.MULTILINE)] == list(range(1, 13))
    assert pd.read_csv("deep/classes.csv")["class"].tolist() == sorted(["[red]", LONG, "other"])
