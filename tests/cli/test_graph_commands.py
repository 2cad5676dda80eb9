"""Every command on a run of a network that is no plain chain: a small residual one, of images from a file."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from sheafcli.runs import Experiment, RunDirectory, conduct
from sheafcli.runs.observer import Silent

CONFIG = """\
name: stripes
task: {kind: npz, path: data.npz}
network:
  input: [1, 6, 6]
  layers:
    - conv: {channels: 3, kernel: 3, padding: same}
    - relu
    - residual:
        - conv: {channels: 3, kernel: 3, padding: same}
        - batch_norm
        - relu
    - max_pool: 2
    - flatten
training: {method: backprop, optimizer: adam, learning_rate: 0.01, epochs: 5, batch_size: 20, log_every: 5}
"""
EDGES = ["conv_1", "relu_1", "conv_2", "batch_norm_1", "relu_2", "max_pool_1", "dense_1", "output"]


def write_data(path, count=80):
    """Write images with a bright row or a bright column."""
    rng = np.random.default_rng(0)
    X, codes = 0.3 * rng.normal(size=(count, 6, 6)), rng.integers(0, 2, count)
    for image, code, place in zip(X, codes, rng.integers(0, 6, count), strict=True):
        image[(place, slice(None)) if code else (slice(None), place)] += 1.0
    y = np.eye(2)[codes]
    X = X.reshape(count, 36)
    np.savez(path, X_train=X[:50], y_train=y[:50], X_test=X[50:], y_test=y[50:])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("graph")
    write_data(folder / "data.npz")
    (folder / "stripes.yaml").write_text(CONFIG)
    experiment, directory = Experiment.load(folder / "stripes.yaml"), RunDirectory(folder / "run")
    directory.create(experiment.config, overwrite=False)
    conduct(experiment, directory, Silent())
    return folder / "run"


@pytest.fixture
def graph_run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def test_diagnose_writes_every_table_and_the_drawn_graph(sheaf, graph_run):
    outcome = sheaf("diagnose", graph_run, "--figures")
    assert outcome.code == 0
    assert "would leave" in outcome.out
    assert all(len(line) <= 80 for line in outcome.out.splitlines() if not line.startswith("Written"))
    tables = {name: pd.read_csv(graph_run / f"{name}.csv") for name in ("diagnosis", "layers", "samples")}
    assert tables["diagnosis"]["edge"].tolist() == EDGES
    assert {"evidence", "blame"} <= set(tables["diagnosis"])
    assert tables["layers"]["layer"].tolist() == [1, 2, 3]
    assert "leaving" in tables["samples"]
    assert {path.name for path in (graph_run / "figures").iterdir()} >= {"network.png", "tension.png"}


def test_diagnose_prints_json_with_the_share_that_leaves(sheaf, graph_run):
    outcome = sheaf("diagnose", graph_run, "--limit", 10, "--format", "json")
    told = json.loads(outcome.out)
    assert (outcome.code, told["samples"]) == (0, 10)
    assert 0.0 <= told["leaving"] <= 1.0


def test_verify_says_what_holds(sheaf, graph_run):
    outcome = sheaf("verify", graph_run, "--format", "json")
    rows = json.loads(outcome.out)
    assert outcome.code == 0
    assert any("one stationary point" in row["theorem"] for row in rows)
    assert all(row["holds"] for row in rows)


def test_spectrum_names_the_vertices_and_their_places(sheaf, graph_run):
    outcome = sheaf("spectrum", graph_run, "--limit", 3)
    assert outcome.code == 0
    assert all(len(line) <= 80 for line in outcome.out.splitlines() if not line.startswith("Written"))
    table = pd.read_csv(graph_run / "spectrum.csv")
    assert [name for name in table if name.startswith("fiedler_")] == [f"fiedler_{e}" for e in EDGES[:-1]]
    np.testing.assert_allclose(table.filter(like="fiedler_").sum(axis=1), 1.0)


def test_report_draws_the_graph_that_the_run_holds(sheaf, graph_run):
    sheaf("diagnose", graph_run)
    assert sheaf("report", graph_run).code == 0
    page = (graph_run / "report.html").read_text()
    assert "The network as its graph" in page
    assert "add_1" in page  # an exact vertex has no edge: no table knows of it
    assert "a graph of 3 layers" in page


def test_compare_and_runs_show_it(sheaf, graph_run):
    outcome = sheaf("compare", graph_run, "--format", "json")
    assert outcome.code == 0
    assert "discord_pool" in json.loads(outcome.out)[0]
    assert "stripes" not in sheaf("runs", graph_run.parent).err


def test_diffuse_measures_the_distance_from_an_equilibrium_with_kinks(sheaf, graph_run):
    pinned = sheaf(
        "diffuse", graph_run, "--pin", "max_pool_1[0,1,1]=-2", "--start", "forward", "--steps", 400
    )
    assert "was not found beforehand" not in pinned.err
    distance = pd.read_csv(graph_run / "diffusion.csv")["distance"]
    assert distance.iloc[-1] < 0.5 * distance.iloc[0]


def test_diffuse_pins_a_place_of_an_image_and_refuses_one_that_is_none(sheaf, graph_run):
    pinned = sheaf("diffuse", graph_run, "--pin", "conv_2[1,2,3]=0.5", "--steps", 5)
    assert pinned.code == 1
    assert "did not come to rest in 5 steps" in pinned.err
    trace = pd.read_csv(graph_run / "diffusion.csv")
    assert trace["energy"].iloc[-1] < trace["energy"].iloc[0]
    assert "discord_batch_norm_1" in trace
    refused = sheaf("diffuse", graph_run, "--pin", "conv_2[1,9,3]=0.5")
    assert refused.code == 2
    assert "coordinates 0 to 5, got 9" in refused.err
    assert sheaf("diffuse", graph_run, "--integrator", "bdf").code == 2
