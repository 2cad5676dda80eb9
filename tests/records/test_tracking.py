"""Runs for other tools: what TensorBoard and MLflow read back is what the run directory holds."""

import sys

import pandas as pd
import pytest

from sheafcli.cli.app import main
from sheafcli.config import load_config
from sheafcli.errors import InputError
from sheafcli.records.tracking import Tracked, export
from sheafcli.runs import Experiment, RunDirectory, conduct
from sheafcli.runs.observer import Silent

CONFIGURATION = """\
name: small
task: {kind: paraboloid, n_train: 20, n_test: 10}
network: {hidden: [3]}
training: {method: heat, steps: 100, dt: 0.02, log_every: 20}
baseline: {epochs: 40, log_every: 20}
"""
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def run(tmp_path):
    """A finished run, with something in the place of a picture."""
    (tmp_path / "config.yaml").write_text(CONFIGURATION)
    experiment = Experiment.prepare(load_config(tmp_path / "config.yaml"))
    directory = RunDirectory(tmp_path / "results" / "small")
    directory.create(experiment.config, overwrite=False)
    conduct(experiment, directory, Silent())
    directory.make_figures()
    (directory.figures / "loss.png").write_bytes(PNG)
    return directory


def expected(run):
    """Return the series by reading the files by pandas."""
    history, discord = (pd.read_csv(run / f"{name}.csv") for name in ("history", "discord"))
    edge = discord[discord["edge"] == "affine_1"]
    return {
        "train_loss": list(zip(history["step"], history["train_loss"], strict=True)),
        "discord/affine_1": list(zip(edge["step"], edge["discord"], strict=True)),
    }


def test_a_run_has_its_parameters_series_and_pictures(run):
    tracked = Tracked.read(run, "small")
    assert tracked.parameters["training.dt"] == "0.02"
    assert tracked.parameters["network.hidden"] == "[3]"
    for tag, values in expected(run).items():
        assert tracked.series[tag] == values
    assert "baseline/train_loss" in tracked.series
    assert list(tracked.pictures) == ["loss"]
    assert tracked.started <= tracked.ended


def test_a_tool_that_is_not_installed_is_named_with_its_extra(run, monkeypatch):
    for tool, module in (
        ("tensorboard", "tensorboard.summary.writer.event_file_writer"),
        ("mlflow", "mlflow"),
    ):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(InputError, match=rf"pip install 'sheafcli\[{tool}\]'"):
            export(tool, {"small": run}, None)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_reads_it_back(run, tmp_path, monkeypatch, capsys):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.chdir(tmp_path)
    for told in ("1 run written\n", "0 runs written, 1 there already\n"):
        monkeypatch.setattr(
            sys, "argv", ["sheaf", "runs", "results", "--export", "tensorboard", "--to", "tb"]
        )
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        assert told in capsys.readouterr().err
    events = EventAccumulator("tb/small")
    events.Reload()
    for tag, values in expected(run).items():
        scalars = events.Scalars(tag)
        assert [scalar.step for scalar in scalars] == [step for step, _ in values]
        assert [scalar.value for scalar in scalars] == pytest.approx([value for _, value in values], rel=1e-6)
    assert events.Images("figures/loss")[0].encoded_image_string == PNG


@pytest.mark.filterwarnings("ignore")
def test_mlflow_reads_it_back(run, tmp_path, monkeypatch):
    import mlflow

    monkeypatch.chdir(tmp_path)
    place = f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert export("mlflow", {"small": run}, place) == ["small"]
    assert export("mlflow", {"small": run}, place) == []
    client = mlflow.MlflowClient(tracking_uri=place)
    (found,) = client.search_runs([client.get_experiment_by_name("sheafcli").experiment_id])
    assert found.info.status == "FINISHED"
    assert found.data.params["training.dt"] == "0.02"
    for tag, values in expected(run).items():
        metrics = sorted(
            (metric.step, metric.value) for metric in client.get_metric_history(found.info.run_id, tag)
        )
        assert [step for step, _ in metrics] == [step for step, _ in values]
        assert [value for _, value in metrics] == pytest.approx([value for _, value in values])
    assert [file.path for file in client.list_artifacts(found.info.run_id, "figures")] == ["figures/loss.png"]
