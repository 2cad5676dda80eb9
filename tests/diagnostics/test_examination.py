"""All that a run's diagnosis holds: its tables, what its rules see, and samples that do not settle."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from sheafcli.config import load_config
from sheafcli.core.chain.network import Network
from sheafcli.diagnostics import examination, pinned
from sheafcli.diagnostics.examination import examine_run
from sheafcli.diagnostics.fault import fault_table
from sheafcli.diagnostics.pinned import diagnose
from sheafcli.runs import Experiment, RunDirectory, RunFailed
from sheafcli.runs.samples import Samples

CONFIG = """\
name: small
task: {kind: TASK, n_train: 40, n_test: 20}
network: {hidden: [5, 4]}
training: {method: equilibrium, epochs: 5}
"""
TABLES = ["diagnosis", "layers", "operations", "neurons", "samples", "findings"]


@pytest.fixture(params=["paraboloid", "circular", "blobs"])
def run(request, tmp_path):
    """A run directory with a network that was never trained, and no logs."""
    (tmp_path / "small.yaml").write_text(CONFIG.replace("TASK", request.param))
    experiment = Experiment.prepare(load_config(tmp_path / "small.yaml"))
    directory = RunDirectory(tmp_path / "run")
    directory.create(experiment.config, overwrite=False)
    task = experiment.task
    directory.write_network(Network.he([task.n_features, 5, 4, task.n_outputs], task.output, 3))
    return directory


def examined(run, data="test", limit=None):
    network, told = run.network(), []
    samples = Samples.choose(run, network, data, limit)
    return examine_run(run, network, samples, told.append), told


def test_its_tables_are_those_of_the_diagnosis_the_faults_and_the_findings(run):
    found, told = examined(run)
    tables, network, samples = found.tables(), run.network(), found.samples
    classes = ["classes"] if network.output.classifies else []
    assert list(tables) == [*TABLES, *classes]
    direct = diagnose(network, samples.X, samples.y, samples.classes)
    pd.testing.assert_frame_equal(tables["diagnosis"], direct.edges)
    pd.testing.assert_frame_equal(tables["samples"], direct.samples)
    if direct.classes is not None:
        pd.testing.assert_frame_equal(tables["classes"], direct.classes)
        assert tuple(tables["classes"]["class"]) == samples.classes
    layers = tables["layers"].set_index("layer")
    pd.testing.assert_frame_equal(
        layers[list(direct.layers)[1:]], direct.layers.set_index("layer"), check_like=True
    )
    # Repairs are asked of what the network was trained on.
    task = Experiment.load(run / "config.yaml").task
    fault = fault_table(network, task.X_train, task.y_train).set_index("layer")
    pd.testing.assert_frame_equal(layers[list(fault)], fault)
    assert len(told) == network.depth + 4
    assert told[0] == "pinned equilibrium"
    assert told[-1] == "findings"


@pytest.mark.parametrize("data", ["train", "file"])
def test_other_samples_are_examined_as_they_are(run, tmp_path, data):
    task, network = Experiment.load(run / "config.yaml").task, run.network()
    X, y = task.X_train[:15], task.y_train[:15]
    np.savez(tmp_path / "mine.npz", X=X, y=y)
    found, _ = examined(run, "train" if data == "train" else str(tmp_path / "mine.npz"), 15)
    pd.testing.assert_frame_equal(found.layers[list(fault_table(network, X, y))], fault_table(network, X, y))


def test_the_rules_see_logs_where_there_are_any(run, monkeypatch):
    seen = []
    monkeypatch.setattr(examination, "examine", lambda examined: seen.append(examined) or [])
    examined(run)
    log = {"step": [0, 100], "seconds": [0.0, 1.0], "train_loss": [1.0, 0.5], "test_loss": [1.0, 0.6]}
    log |= {
        "energy": [1.0, 0.5],
        "train_accuracy": [0.5, 1.0],
        "test_accuracy": [0.5, 1.0],
        "time": [0.0, 1.0],
    }
    pd.DataFrame(log).to_csv(run / "history.csv", index=False)
    run.write_manifest({"name": "small", "status": "diverged"})
    examined(run)
    before, after = seen
    assert before.history is None
    assert after.history["train_loss"].tolist() == [1.0, 0.5]
    assert after.status == "diverged"
    assert after.training == load_config(run / "config.yaml").training
    assert (after.part, after.other_part, len(after.other[0])) == ("test", "train", 40)


def test_without_a_task_a_file_is_examined_without_what_is_not_known(run, tmp_path, monkeypatch):
    task = Experiment.load(run / "config.yaml").task
    np.savez(tmp_path / "mine.npz", X=task.X_test, y=task.y_test)
    (run / "config.yaml").write_text("name: imported\n")
    seen = []
    monkeypatch.setattr(examination, "examine", lambda examined: seen.append(examined) or [])
    found, _ = examined(run, str(tmp_path / "mine.npz"))
    assert list(found.tables())[:6] == TABLES
    assert (seen[0].training, seen[0].other, seen[0].part) == (None, None, "mine.npz")


def test_samples_that_do_not_settle_are_named(run, monkeypatch):
    extend = pinned.extend
    settled = np.arange(20) < 9
    monkeypatch.setattr(pinned, "extend", lambda *a, **o: replace(extend(*a, **o), converged=settled))
    with pytest.raises(RunFailed, match=r"^11 of 20 samples did not reach the tolerance: 9, 10"):
        examined(run)


def test_up_to_half_of_the_samples_are_left_out_and_told(run, monkeypatch):
    extend = pinned.extend

    def unsettled(network, X, **options):
        extension = extend(network, X, **options)
        return replace(extension, converged=np.arange(20) % 2 > 0) if len(X) == 20 else extension

    monkeypatch.setattr(pinned, "extend", unsettled)
    found, _ = examined(run)
    assert found.tables()["samples"]["sample"].tolist() == list(range(1, 20, 2))
    (told,) = (finding for finding in found.findings if finding.rule == "unsettled-samples")
    assert (told.severity, told.evidence[:8]) == ("warning", "10 of 20")
