"""How far a run is by its logs, against the observer of the very run and against logs made by hand."""

import pytest

from sheafcli.config import load_config
from sheafcli.runs import Experiment, RunDirectory, conduct
from sheafcli.runs.observer import Silent
from sheafcli.runs.under_way import share_done

TASK = "task: {kind: blobs, n_train: 30, n_test: 12}\nnetwork: {hidden: [4]}\n"
WAYS = {
    "steps": "training: {steps: 60, dt: 0.02, log_every: 20}\n",
    "time": "training: {time: 1.0, dt: 0.02, log_every: 20}\n",
    "epochs": "training: {method: backprop, epochs: 20, log_every: 4}\n",
    "epochs of batches": "training: {method: equilibrium, epochs: 6, batch_size: 7, log_every: 5}\n",
    "steps of batches": "training: {method: equilibrium, steps: 20, batch_size: 7, log_every: 5}\n",
}


def begun(folder, text):
    (folder / "run.yaml").write_text(text)
    experiment = Experiment.prepare(load_config(folder / "run.yaml"))
    directory = RunDirectory(folder / "run")
    directory.create(experiment.config, overwrite=False)
    return experiment, directory


class Beside(Silent):
    """At every record of a phase, notes the share that is told and the one that is read off the logs."""

    def __init__(self, directory, config):
        self._directory, self._config = directory, config
        self.told = 0.0
        self.pairs = []

    def phase_started(self, phase, step, total):
        self.told = 0.0

    def progressed(self, step, share_done):
        self.told = share_done

    def recorded(self, record):
        self.pairs.append((self.told, share_done(self._directory, self._config)))


@pytest.mark.parametrize("way", WAYS)
def test_it_is_what_the_run_itself_tells(tmp_path, way):
    experiment, directory = begun(tmp_path, TASK + WAYS[way])
    assert share_done(directory, experiment.config) == 0.0
    beside = Beside(directory, experiment.config)
    conduct(experiment, directory, beside)
    assert len(beside.pairs) > 3
    for told, read in beside.pairs:
        assert read == pytest.approx(told, abs=1e-9)
    assert share_done(directory, experiment.config) == pytest.approx(1.0, abs=1e-9)


def test_training_and_baseline_are_a_half_each(tmp_path):
    baseline = "baseline: {epochs: 20, log_every: 4}\n"
    experiment, directory = begun(tmp_path, TASK + WAYS["steps"] + baseline)
    beside = Beside(directory, experiment.config)
    conduct(experiment, directory, beside)
    shares = [read for _, read in beside.pairs]
    by_hand = [i / 3 / 2 for i in range(4)] + [0.5 + i / 5 / 2 for i in range(6)]
    assert shares == pytest.approx(by_hand, abs=1e-12)


HEADER = "step,seconds,train_loss,test_loss,energy,time\n"
ROW = "{step},0.5,1.0,1.0,1.0,0.4\n"


@pytest.mark.parametrize(
    ("log", "share"),
    [
        (b"", 0.0),
        (b"step,sec", 0.0),
        (HEADER.encode(), 0.0),
        (f"{HEADER}0,0.1,1,1,1,0\n".encode(), 0.0),
        (f"{HEADER}0,0.1,1,1,1,0\n30,0.1,1,1,1,0\n".encode(), 0.5),
        (f"{HEADER}30,0.1,1,1,1,0\n45,0.1,1".encode(), 0.5),
        (f"{HEADER}4".encode(), 0.0),
        (f"{HEADER}90,0.1,1,1,1,0\n".encode(), 1.0),
        (f"{HEADER}many,0.1,1,1,1,0\n".encode(), 0.0),
        (f"{HEADER}\n".encode(), 0.0),
        (f"{HEADER}\xff\xfe\n".encode("latin-1"), 0.0),
        ((HEADER + "".join(ROW.format(step=i % 60) for i in range(16))).encode() * 50, 0.25),
    ],
)
def test_only_the_last_whole_row_counts(tmp_path, log, share):
    experiment, directory = begun(tmp_path, TASK + WAYS["steps"])
    (directory / "history.csv").write_bytes(log)
    assert share_done(directory, experiment.config) == share


def test_a_run_that_has_not_begun_is_at_its_start(tmp_path):
    experiment, _ = begun(tmp_path, TASK + WAYS["time"])
    assert share_done(RunDirectory(tmp_path / "none"), experiment.config) == 0.0
