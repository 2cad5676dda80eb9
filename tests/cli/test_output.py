"""What commands print: tables on standard output alone, the same numbers in every format, plain in a pipe."""

import fcntl
import io
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import termios
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

import sheafcli
from sheafcli.config import load_config
from sheafcli.interop.networks import read_network
from sheafcli.render import progress
from sheafcli.runs import Experiment

CONFIG = """\
seed: 1
task: {kind: TASK, n_train: 40, n_test: 30}
network: {hidden: [5, 4]}
training: {steps: 400, dt: 0.02, stalks: forward, log_every: 100}
"""
ESCAPE = "\x1b"


BY_EQUILIBRIUM = """\
seed: 1
task: {kind: blobs, n_train: 40, n_test: 30}
network: {hidden: [5, 4]}
training: {method: equilibrium, epochs: 100}
"""
CONFIGS = {kind: CONFIG.replace("TASK", kind) for kind in ("paraboloid", "circular", "blobs")}
CONFIGS["equilibrium"] = BY_EQUILIBRIUM


@pytest.fixture(params=CONFIGS)
def trained(request, train_once, folder):
    """A copy of a finished run: of a regression, of two classes, of four, and of four by equilibrium."""
    shutil.copytree(train_once(CONFIGS[request.param]), folder / "trained")
    return Path("trained")


def resistances(network, X) -> dict[str, float]:
    """Return, for every edge, the sum over samples of the squares in df/da, df/da R, or the identity."""
    layers, outputs = len(network.weights), network.widths[-1]
    found = {f"affine_{layers}": float(len(X) * outputs)}
    if network.output.name != "identity":
        found["output"] = float(len(X) * outputs)
    for layer in range(layers - 1, 0, -1):
        found |= {f"affine_{layer}": 0.0, f"activation_{layer}": 0.0}
    for x in X:
        active, a = [], x
        for W, b in zip(network.weights[:-1], network.biases[:-1], strict=True):
            active.append(W @ a + b >= 0)
            a = np.where(active[-1], W @ a + b, 0.0)
        J = network.weights[-1]
        for layer in range(layers - 1, 0, -1):
            found[f"activation_{layer}"] += np.sum(J**2)
            J = J * active[layer - 1]
            found[f"affine_{layer}"] += np.sum(J**2)
            J = J @ network.weights[layer - 1]
    return found


def statistics_of(values) -> tuple[float, ...]:
    return values.mean(), values.std(), np.median(values), values.max()


def recomputed(run: Path, part: str, limit: int | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Diagnose by the exact harmonic extension and plain arithmetic: tables by edge and by neuron."""
    task = Experiment.prepare(load_config(run / "config.yaml")).task
    X = getattr(task, f"X_{part}")[:limit]
    y = getattr(task, f"y_{part}")[:limit]
    network = read_network(run / "network.npz")
    stalks = sheafcli.extend(network, X, target=y).cochain.stalks()
    edges, neurons, resistance, a = [], [], resistances(network, X), X
    for layer, (W, b) in enumerate(zip(network.weights, network.biases, strict=True), start=1):
        z = stalks[f"z{layer}"]
        hidden = layer < len(network.weights)
        active = (z >= 0).mean(axis=0) if hidden else np.full(z.shape[1], np.nan)
        found = [("affine", a @ W.T + b - z)]
        if hidden:
            a = stalks[f"a{layer}"]
            found.append(("activation", np.where(z >= 0, z, 0.0) - a))
        elif network.output.name == "sigmoid":
            found.append(("output", 1 / (1 + np.exp(-z)) - y))
        elif network.output.name == "softmax":
            found.append(("output", np.exp(z) / np.exp(z).sum(axis=1, keepdims=True) - y))
        for operation, residual in found:
            name = operation if operation == "output" else f"{operation}_{layer}"
            squares = (residual**2).sum(axis=1)
            edges.append((layer, operation, name, *statistics_of(squares)))
            neurons += [
                (layer, operation, name, i, *statistics_of(residual[:, i] ** 2), active[i])
                for i in range(residual.shape[1])
            ]
    columns = ["layer", "operation", "edge"]
    by_edge = pd.DataFrame(edges, columns=[*columns, "discord", "std", "median", "max"])
    by_neuron = pd.DataFrame(
        neurons, columns=[*columns, "neuron", "discord", "std", "median", "max", "active"]
    )
    for table in (by_edge, by_neuron):
        table["share"] = table["discord"] / table["discord"].sum()
    by_edge["resistance"] = [resistance[name] / sum(resistance.values()) for name in by_edge["edge"]]
    by_edge["excess"] = by_edge["share"] / by_edge["resistance"]
    return by_edge, by_neuron.assign(active=by_neuron.pop("active"))


# Diagnosis ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("part", "limit"), [("test", None), ("train", 7)])
def test_a_diagnosis_is_what_the_harmonic_extension_gives(sheaf, trained, part, limit):
    option = () if limit is None else ("--limit", limit)
    outcome = sheaf("diagnose", trained, "--data", part, *option, "--format", "csv")
    assert (outcome.code, outcome.err) == (0, "")
    edges, neurons = recomputed(trained, part, limit)
    printed = pd.read_csv(io.StringIO(outcome.out))
    for found, expected in (
        (printed, edges),
        (pd.read_csv(trained / "diagnosis.csv"), edges),
        (pd.read_csv(trained / "neurons.csv"), neurons),
    ):
        assert list(found) == list(expected)
        pd.testing.assert_frame_equal(found, expected, rtol=1e-9, atol=1e-15)
    assert edges["discord"].sum() > 1e-4
    assert neurons.groupby("edge")["discord"].sum().to_numpy() == pytest.approx(
        edges.set_index("edge")["discord"].sort_index().to_numpy()
    )


def test_samples_of_a_file_are_diagnosed_as_those_of_the_run(sheaf, run):
    task = Experiment.prepare(load_config(run / "config.yaml")).task
    np.savez("mine.npz", X=task.X_test, y=task.y_test[:, 0], more=np.zeros(3))
    own = sheaf("diagnose", run, "--format", "csv")
    mine = sheaf("diagnose", run, "--format", "csv", "--data", "mine.npz")
    assert (mine.code, mine.out) == (own.code, own.out)


def test_every_format_holds_the_same_numbers(sheaf, trained):
    by_csv = sheaf("diagnose", trained, "--format", "csv").out
    by_json = sheaf("diagnose", trained, "--format", "json").out
    assert by_csv == (trained / "diagnosis.csv").read_text()
    found = json.loads(by_json, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    table = pd.read_csv(io.StringIO(by_csv))
    files = {"edges": "diagnosis", "layers": "layers", "operations": "operations"}
    if found["classes"] is not None:
        files["classes"] = "classes"
    for key, name in files.items():
        written = pd.read_csv(trained / f"{name}.csv").astype({"class": str} if key == "classes" else {})
        # What is missing is null in JSON and an empty cell in CSV.
        told = pd.DataFrame(found[key]).fillna(np.nan)
        pd.testing.assert_frame_equal(told, written, rtol=0, atol=0, check_dtype=False)
    shown = sheaf("diagnose", trained).out.split("Discord by edge")[1].split("Discord by layer")[0]
    for row in table.itertuples():
        (line,) = (line.split() for line in shown.splitlines() if line.startswith(f"{row.edge} "))
        assert float(line[1]) == pytest.approx(row.discord, rel=1e-5)
        assert float(line[5].strip("%<")) == pytest.approx(100 * row.share, abs=0.06)


def test_samples_that_do_not_settle_fail_and_nothing_is_written(sheaf, run, read, monkeypatch):
    from sheafcli.diagnostics import pinned

    extend = pinned.extend
    lost = np.zeros(20, dtype=bool)
    monkeypatch.setattr(pinned, "extend", lambda *a, **o: replace(extend(*a, **o), converged=lost))
    before = read(run)
    outcome = sheaf("diagnose", run)
    assert (outcome.code, outcome.out) == (1, "")
    assert re.match(r"error: \d+ of 20 samples did not reach the tolerance: \d+", outcome.err)
    assert read(run) == before


# Training -----------------------------------------------------------------------------------


def test_training_prints_tables_alone_and_quiet_nothing(sheaf):
    outcome = sheaf("train", "small.yaml")
    assert (outcome.code, outcome.err) == (0, "")
    manifest = json.loads(Path("results/small/manifest.json").read_text())
    for label, key in (("sheaf (heat)", "final"), ("baseline (sgd)", "baseline")):
        (line,) = (line for line in outcome.out.splitlines() if line.startswith(label))
        words = line.removeprefix(label).replace(",", "").split()
        final = manifest[key]
        assert float(words[0]) == pytest.approx(final["train_loss"], rel=1e-5)
        assert float(words[1]) == pytest.approx(final["test_loss"], rel=1e-5)
        assert int(words[2]) == final["step"]
    discord = pd.read_csv("results/small/discord.csv").tail(4)
    by_edge = outcome.out.split("Discord by layer")[0]
    for row in discord.itertuples():
        (line,) = (line for line in by_edge.splitlines() if line.startswith(f"{row.edge} "))
        assert float(line.split()[1]) == pytest.approx(row.discord, rel=1e-5)
    outcome = sheaf("train", "small.yaml", "--quiet", "--overwrite")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")


def test_a_training_by_back_propagation_is_called_that(sheaf):
    training = "training={method: backprop, epochs: 100}"
    outcome = sheaf("train", "small.yaml", "--set", training, "--set", "baseline=null")
    assert re.search(r"^backprop +[0-9.]+ +[0-9.]+ +100 ", outcome.out, re.MULTILINE)
    assert "sheaf (" not in outcome.out
    assert "baseline (" not in outcome.out


def test_a_training_by_equilibrium_is_called_that(sheaf, balanced):
    outcome = sheaf("train", balanced)
    assert (outcome.code, outcome.err) == (0, "")
    final = json.loads(Path("results/balanced/manifest.json").read_text())["final"]
    (line,) = (line for line in outcome.out.splitlines() if line.startswith("sheaf (equilibrium) "))
    words = line.removeprefix("sheaf (equilibrium)").split()
    assert [float(word) for word in words[:2]] == pytest.approx(
        [final["train_loss"], final["test_loss"]], rel=1e-5
    )
    assert int(words[4]) == final["step"] == 60 * 3
    assert "baseline (sgd)" in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= 80
    drawn = {path.name for path in Path("results/balanced/figures").iterdir()}
    assert drawn == {"loss.png", "learned.png", "confusion.png"}  # discord over time is the loss alone


def test_a_training_by_equilibrium_is_watched_on_a_terminal(sheaf, balanced, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    monkeypatch.setattr(
        progress,
        "stderr",
        lambda: Console(file=stream, width=80, _environ={"TERM": "xterm"}, highlight=False),
    )
    monkeypatch.setattr(progress, "APPEARS_AFTER_SECONDS", -1.0)
    assert sheaf("train", balanced).code == 0
    seen = re.sub(r"\r|\x1b\[[?\d;]*[a-zA-Z]", "", stream.getvalue())
    assert re.search(r"training [━╸╺ ]+ +\d+%  \d+/180", seen), seen  # the bar
    manifest = json.loads(Path("results/balanced/manifest.json").read_text())
    for phase, key, steps in (("training", "final", 180), ("baseline", "baseline", 60)):
        loss = f"{manifest[key]['train_loss']:#.6g}"
        assert re.search(rf"{phase}  {steps} steps  .* steps/s  train loss {loss}\n", seen), seen


def test_a_configuration_trains_into_the_directory_of_its_name(sheaf, folder):
    assert sheaf("train", "small.yaml", "--quiet", "--set", "name=other").code == 0
    assert {path.name for path in (folder / "results").iterdir()} == {"other"}
    assert load_config(folder / "results/other/config.yaml").name == "other"


def test_the_configuration_of_a_run_trains_the_same_network_again(sheaf, run):
    assert sheaf("train", run / "config.yaml", "--output", "again", "--quiet").code == 0
    assert Path("again/network.npz").read_bytes() == (run / "network.npz").read_bytes()
    assert Path("again/config.yaml").read_bytes() == (run / "config.yaml").read_bytes()


# Colours ------------------------------------------------------------------------------------


def through_terminals(process_on: Callable[[dict[str, int]], subprocess.Popen[str]]) -> tuple[str, str]:
    """Return what a process writes to two terminals of 90 columns: its output and its error stream."""
    received = {"stdout": b"", "stderr": b""}

    def listen(name: str, end: int) -> None:
        with suppress(OSError):  # raised once the other end is closed
            while chunk := os.read(end, 65536):
                received[name] += chunk

    streams, threads = {}, []
    for name in received:
        end, streams[name] = pty.openpty()
        fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 90, 0, 0))
        threads.append(threading.Thread(target=listen, args=(name, end)))
    process = process_on(streams)
    for end in streams.values():
        os.close(end)
    for thread in threads:
        thread.start()
    assert process.wait() == 0
    for thread in threads:
        thread.join()
    return received["stdout"].decode(), received["stderr"].decode()


COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def test_colours_and_bars_go_to_terminals_only(start, finish, run):
    arguments = ("train", "small.yaml", "--output", run, "--overwrite")
    piped = finish(start(*arguments))
    assert (piped.code, piped.err) == (0, "")
    assert ESCAPE not in piped.out
    assert "\r" not in piped.out
    out, err = through_terminals(lambda ends: start(*arguments, streams=ends, TERM="xterm-256color"))
    assert COLOUR.search(out)
    assert "training" in err
    plain = COLOUR.sub("", out)
    assert ESCAPE not in plain
    unlike = re.compile(
        r"[\d.]+\r?$|─+|[█▏▎▍▌▋▊▉]+", re.MULTILINE
    )  # seconds, and what is as wide as there is room
    assert unlike.sub("", plain).split() == unlike.sub("", piped.out).split()


def test_no_color_leaves_tables_plain_on_a_terminal(start, run):
    ask = {"TERM": "xterm-256color", "NO_COLOR": "1"}
    out, _ = through_terminals(lambda ends: start("diagnose", run, streams=ends, **ask))
    assert "Discord by edge" in out
    assert ESCAPE not in out


def test_lines_in_a_pipe_fit_80_columns(sheaf, trained):
    lines = sheaf("diagnose", trained).out.splitlines()
    assert max(map(len, lines)) == 80
