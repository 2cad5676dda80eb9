"""A monitor beside PyTorch: its figures are the module's own, and the training does not notice it."""

import sys

import numpy as np
import pandas as pd
import pytest

import sheafcli as sc
from sheafcli.cli.app import main
from sheafcli.errors import InputError

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

X = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
Y = np.abs(X).sum(axis=1, keepdims=True)
CLASSES = (Y[:, 0] > 2.0).astype(np.int64)


def module(outputs=1):
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(3, 8),
        torch.nn.ReLU(),
        torch.nn.Linear(8, 8),
        torch.nn.ReLU(),
        torch.nn.Linear(8, outputs),
    )


def loss_of(model, y):
    predicted = model(torch.from_numpy(X))
    if y.ndim == 1:
        return torch.nn.functional.cross_entropy(predicted, torch.from_numpy(y))
    return torch.nn.functional.mse_loss(predicted, torch.from_numpy(y))


def train(model, steps, y=Y, watch=None, rate=0.01):
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(model, y).backward()
        optimizer.step()
        if watch is not None:
            watch.step()
    return model


def sheaf(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["sheaf", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code or 0


# What is recorded -----------------------------------------------------------------------------


def test_losses_are_those_of_the_module(tmp_path):
    few = X[:20], Y[:20]  # all of which are watched
    model = module()
    with sc.monitor(model, *few, tmp_path / "run", every=10, X_test=X[20:50], y_test=Y[20:50]) as watch:
        for _ in range(3):
            train(model, 10, watch=watch)
            with torch.no_grad():
                expected = [float(torch.mean((model(torch.from_numpy(x)) - torch.from_numpy(y)) ** 2))
                            for x, y in (few, (X[20:50], Y[20:50]))]  # fmt: skip
            last = watch.history.iloc[-1]
            assert [last["train_loss"], last["test_loss"]] == pytest.approx(expected, rel=1e-4)
    assert watch.history["step"].tolist() == [0, 10, 20, 30]


def test_discord_resistance_and_findings_are_those_of_a_diagnosis(tmp_path):
    model = module()
    with sc.monitor(model, X[:30], Y[:30], tmp_path / "run", every=50) as watch:
        train(model, 50, watch=watch)
    last = watch.discord[watch.discord["step"] == 50].set_index("edge")
    network = sc.from_torch(model, torch.from_numpy(X[:1]))
    flat = sc.GraphNetwork(network.graph, network.output)  # on the pattern of the forward pass, as monitored
    edges = sc.diagnose(flat, X[:30], Y[:30]).edges.set_index("edge")
    assert last["discord"].to_dict() == pytest.approx(edges["discord"].to_dict(), rel=1e-3, abs=1e-9)
    assert last["resistance"].to_dict() == pytest.approx(edges["resistance"].to_dict(), rel=1e-3)
    written = pd.read_csv(tmp_path / "run" / "findings.csv")
    assert written["rule"].tolist() == watch.findings["rule"].tolist()


def test_dead_units_are_counted_and_named(tmp_path):
    model = module()
    with torch.no_grad():
        model[2].bias -= 100
        model[0].bias[:2] = -100
    with sc.monitor(model, X, Y, tmp_path / "run") as watch:
        pass
    inactive = watch.discord.set_index("edge")["inactive"].dropna()
    assert inactive.iloc[0] >= 2 / 8
    assert inactive.iloc[1] == 1.0
    dead = watch.findings.query("rule == 'dead-relu' and severity == 'error'")
    assert dead["layer"].tolist() == [2]


def test_classes_are_told_by_accuracy(tmp_path):
    model = module(2)
    with sc.monitor(model, X[:30], CLASSES[:30], tmp_path / "run", output="softmax") as watch:
        train(model, 200, CLASSES, watch)
    with torch.no_grad():
        right = (model(torch.from_numpy(X[:30])).argmax(dim=1).numpy() == CLASSES[:30]).mean()
    assert watch.history["train_accuracy"].iloc[-1] == pytest.approx(right)


def test_a_module_whose_parameters_an_exporter_combines_is_followed_too(tmp_path):
    model = torch.nn.Sequential(
        torch.nn.Unflatten(1, (1, 3)), torch.nn.Conv1d(1, 2, 2), torch.nn.BatchNorm1d(2), torch.nn.ReLU(),
        torch.nn.Flatten(), torch.nn.Linear(4, 1),
    )  # fmt: skip
    with sc.monitor(model, X[:20], Y[:20], tmp_path / "run", every=5) as watch:
        train(model, 5, watch=watch)
    model.eval()
    with torch.no_grad():
        expected = torch.mean((model(torch.from_numpy(X[:20])) - torch.from_numpy(Y[:20])) ** 2).item()
    assert watch.history["train_loss"].iloc[-1] == pytest.approx(expected, rel=1e-4)


# What is left alone ---------------------------------------------------------------------------


def test_training_does_not_notice(tmp_path):
    alone = train(module(), 30)
    model = module()
    state = torch.get_rng_state()
    with sc.monitor(model, X, Y, tmp_path / "run", every=3) as watch:
        train(model, 30, watch=watch)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert all(torch.equal(a, b) for a, b in zip(alone.parameters(), model.parameters(), strict=True))


def test_a_training_that_diverges_is_told_and_goes_on(tmp_path):
    model = module()
    watch = sc.monitor(model, X, Y, tmp_path / "run", every=1)
    with torch.no_grad():
        model[0].weight[0, 0] = float("nan")
    with pytest.warns(UserWarning, match="nothing is recorded from step 1 on"):
        watch.step()
    watch.step()
    watch.close()
    assert pd.read_json(tmp_path / "run" / "manifest.json", typ="series")["status"] == "diverged"
    assert len(watch.history) == 1


def test_an_exception_in_the_loop_is_a_failed_run(tmp_path):
    def interrupted():
        with sc.monitor(module(), X, Y, tmp_path / "run"):
            raise RuntimeError("out of luck")

    with pytest.raises(RuntimeError, match="out of luck"):
        interrupted()
    manifest = pd.read_json(tmp_path / "run" / "manifest.json", typ="series")
    assert (manifest["status"], manifest["message"]) == ("failed", "RuntimeError: out of luck")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda path: sc.monitor(3, X, Y, path), "takes a torch.nn.Module"),
        (lambda path: sc.monitor(module(), X, Y[:5], path), "60 samples and 5 targets"),
        (lambda path: sc.monitor(module(), X, Y, path, every=0), "at least 1"),
        (lambda path: sc.monitor(module(), X, Y, path, X_test=X), "X_test and y_test"),
        (lambda path: sc.monitor(module(2), X, CLASSES, path), "2 columns"),
    ],
)
def test_what_cannot_be_watched_is_refused_and_nothing_written(tmp_path, call, words):
    with pytest.raises((ValueError, InputError), match=words):
        call(tmp_path / "run")
    assert not (tmp_path / "run").exists()


# Who reads it ---------------------------------------------------------------------------------


def test_the_run_is_one_that_commands_read(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, rate in (("slow", 0.001), ("fast", 0.02)):
        model = module()
        with sc.monitor(model, X, Y, name, every=20) as watch:
            train(model, 60, watch=watch, rate=rate)
    assert sheaf(monkeypatch, "compare", "slow", "fast", "--format", "csv") == 0
    told = capsys.readouterr()
    assert "slow" in told.out
    assert "monitored" in told.out
    assert "warning" not in told.err
    assert sheaf(monkeypatch, "report", "fast") == 0
    assert sheaf(monkeypatch, "diagnose", "fast", "--format", "csv") == 0
    assert sheaf(monkeypatch, "runs", ".", "--where", "method=monitored") == 0
    assert "fast" in capsys.readouterr().out
    assert "Monitor(step 60" in repr(watch)
    assert "<table" in watch._repr_html_()


@pytest.mark.filterwarnings("ignore")  # of Lightning's own, on loggers, workers and versions
def test_lightning_trains_beside_it(tmp_path):
    import lightning.pytorch as lightning

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = module()

        def training_step(self, batch, _):
            x, y = batch
            return torch.nn.functional.mse_loss(self.net(x), y)

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), lr=0.01)

    data = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    model = Module()
    watch = sc.monitor(model.net, X, Y, tmp_path / "run", every=5)
    trainer = lightning.Trainer(
        max_epochs=4, accelerator="cpu", callbacks=[watch.lightning()], logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(model, torch.utils.data.DataLoader(data, batch_size=20))
    assert watch.history["step"].tolist() == [0, 5, 10, 12]
    assert watch.history["train_loss"].iloc[-1] < watch.history["train_loss"].iloc[0]
    assert pd.read_json(tmp_path / "run" / "manifest.json", typ="series")["status"] == "finished"


@pytest.mark.filterwarnings("ignore")
def test_hugging_face_trains_beside_it(tmp_path):
    import transformers

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = module()

        def forward(self, x, labels=None):
            predicted = self.net(x)
            return {"loss": torch.nn.functional.mse_loss(predicted, labels), "logits": predicted}

    model = Model()
    watch = sc.monitor(model.net, X, Y, tmp_path / "run", every=5)
    rows = [{"x": x, "labels": y} for x, y in zip(X, Y, strict=True)]
    arguments = transformers.TrainingArguments(
        str(tmp_path / "hf"), per_device_train_batch_size=20, num_train_epochs=4, report_to=[], use_cpu=True
    )
    transformers.Trainer(model, arguments, train_dataset=rows, callbacks=[watch.transformers()]).train()
    assert watch.history["step"].tolist() == [0, 5, 10, 12]
