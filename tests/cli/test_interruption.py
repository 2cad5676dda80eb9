"""Kills, signals, a full disk, a step too large: nothing is lost, and what goes on ends as if nothing was."""

import json
import random
import re
import resource
import signal
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sheafcli.interop.networks import read_network

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
# Some seconds of training, and longer than any test waits.
LONG = """\
task: {kind: paraboloid}
network: {hidden: [30]}
training: {steps: STEPS, dt: 0.005, log_every: 200}
baseline: {epochs: 2000, log_every: 50}
"""
LONG_BALANCED = """\
task: {kind: blobs}
network: {hidden: [30]}
training: {method: equilibrium, epochs: 600, batch_size: 64, schedule: cosine, weight_decay: 0.001}
baseline: {epochs: 300, batch_size: 64, optimizer: momentum}
"""


@pytest.fixture
def long(folder):
    (folder / "long.yaml").write_text(LONG.replace("STEPS", "50_000"))
    (folder / "balanced.yaml").write_text(LONG_BALANCED)
    (folder / "endless.yaml").write_text(LONG.replace("STEPS", "1_000_000_000"))
    return folder


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def wait_until_it_trains(process, run: Path) -> None:
    """Return once a process has added rows to the history of a run."""
    before = size(run / "history.csv")
    while process.poll() is None and size(run / "history.csv") <= max(before, 100):
        time.sleep(0.005)


def results(run: Path) -> dict[str, object]:
    """Return the bytes of the network, and the tables without what a clock said."""
    tables = {
        name: pd.read_csv(run / f"{name}.csv", dtype=str) for name in ("history", "baseline", "discord")
    }
    plain = {name: table.drop(columns="seconds", errors="ignore").to_csv() for name, table in tables.items()}
    return {"network": (run / "network.npz").read_bytes()} | plain


def check_readable(run: Path) -> None:
    """Check that all there is of a run can be read."""
    json.loads((run / "manifest.json").read_text())
    for table in run.glob("*.csv"):
        rows = pd.read_csv(table)
        assert rows["step"].is_monotonic_increasing
        assert np.isfinite(rows.select_dtypes("number").to_numpy()).all()
    for archive in run.glob("*.npz"):
        with np.load(archive, allow_pickle=False) as arrays:
            assert all(array.size for array in arrays.values())
    if (run / "network.npz").exists():
        read_network(run / "network.npz")
    assert not list(run.glob(".*.tmp"))


@pytest.mark.parametrize(
    ("config", "kills", "pictures"),
    [("long.yaml", 5, {"discord.png", "heat_map.png"}), ("balanced.yaml", 2, {"confusion.png"})],
)
def test_killed_at_random_moments_and_resumed_it_ends_bit_for_bit_as_uninterrupted(
    long, start, finish, config, kills, pictures
):
    uninterrupted = start("train", config, "--output", "whole", "--quiet")
    draw = random.Random(5)
    run = long / "run"
    # The first before there is a checkpoint; the others wherever they hit.
    for pause in (0.0, *(draw.uniform(0.0, 1.5) for _ in range(kills - 1))):
        process = start("train", config, "--output", "run", "--resume", "--quiet")
        wait_until_it_trains(process, run)
        time.sleep(pause)
        process.kill()
        code = process.wait()
        assert code in (-signal.SIGKILL, 0)
    outcome = finish(start("train", config, "--output", "run", "--resume", "--quiet"))
    assert outcome.code == 0, outcome
    assert finish(uninterrupted).code == 0
    assert results(run) == results(long / "whole")
    assert json.loads((run / "manifest.json").read_text())["status"] == "finished"
    drawn = {path.name for path in (run / "figures").iterdir()}
    assert drawn == {"loss.png", "learned.png"} | pictures


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_leave_a_run_that_resumes(long, sheaf, start, finish, number):
    def deaf_to_nothing():
        signal.signal(signal.SIGINT, signal.default_int_handler)

    arguments = ("train", "endless.yaml", "--output", "run", "--resume")
    process = start(*arguments, prepare=deaf_to_nothing)
    wait_until_it_trains(process, long / "run")
    process.send_signal(number)
    outcome = finish(process)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == "error: interrupted; continue with --resume, what was written is in run\n"
    assert json.loads((long / "run" / "manifest.json").read_text())["status"] == "interrupted"
    check_readable(long / "run")
    process = start(*arguments)
    wait_until_it_trains(process, long / "run")
    assert process.poll() is None
    other = sheaf("train", "endless.yaml", "--output", "run", "--overwrite")
    assert (other.code, other.err) == (2, "error: run: another process is working on this run\n")


@contextmanager
def disk_with_room_for(n_bytes: int):
    """Let no file grow beyond so many bytes, in this process."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_stops_a_run_that_goes_on_when_there_is_room(sheaf, folder):
    # Files of many sizes: tables up to 20 kB, a checkpoint of 5 kB, pictures of more.
    often = ("--set", "training.log_every=2", "--set", "baseline.log_every=1")
    arguments = ("train", "small.yaml", *often, "--quiet", "--resume", "--output")
    assert sheaf(*arguments, "whole").code == 0
    for room in (0, 700, 2000, 4000, 20_000, 60_000):
        run = Path(f"full at {room}")
        with disk_with_room_for(room):
            outcome = sheaf(*arguments, run)
        assert outcome.code == (2 if room == 0 else 1)
        assert re.fullmatch(rf"error: {run}.*File too large.*\n", outcome.err), outcome.err
        if room > 0:
            check_readable(run)
        assert sheaf(*arguments, run).code == 0
        assert results(run) == results(Path("whole"))
        assert len(list((run / "figures").iterdir())) == 4


def test_a_full_disk_keeps_the_last_diagnosis_and_what_is_new_is_printed(sheaf, run, read):
    assert sheaf("diagnose", run).code == 0
    before = read(run)
    with disk_with_room_for(100):
        outcome = sheaf("diagnose", run, "--data", "train", "--format", "csv")
    assert outcome.code == 1
    assert re.fullmatch(r"note: not written: run/.*File too large.*\n", outcome.err), outcome.err
    assert read(run) == before
    assert sheaf("diagnose", run, "--data", "train", "--format", "csv").out == outcome.out


@pytest.mark.parametrize("task", ["paraboloid", "saddle", "circular", "blobs"])
def test_a_step_too_large_is_found_out_and_the_advised_one_is_not(sheaf, folder, task):
    config = EXPERIMENTS / f"{task}.yaml"
    fixed = ("--set", "baseline=null", "--quiet", "--output")
    outcome = sheaf(
        "train", config, "--set", "training={dt: 1.0, steps: 1000, log_every: 50}", *fixed, "wild"
    )
    assert (outcome.code, outcome.out) == (1, "")
    found = re.fullmatch(
        r"error: training diverged at step (\d+), worst at edge (affine|activation)_\d; "
        r"dt 1 is too large here: try dt: ([0-9.e-]+), or dt: auto\n",
        outcome.err,
    )
    assert found, outcome.err
    manifest = json.loads(Path("wild/manifest.json").read_text())
    assert manifest["status"] == "diverged"
    assert manifest["message"] in outcome.err
    check_readable(Path("wild"))
    history = pd.read_csv("wild/history.csv")
    assert history["step"].max() < int(found[1])
    with np.load("wild/checkpoint.npz") as checkpoint:
        assert checkpoint["state_clock"][0] == history["step"].max()
        assert all(np.isfinite(array).all() for name, array in checkpoint.items() if name != "phase")
    tame = f"training={{dt: {found[3]}, steps: 1000, log_every: 100}}"
    assert sheaf("train", config, "--set", tame, *fixed, "tame").code == 0
    losses = pd.read_csv("tame/history.csv")["train_loss"]
    assert losses.iloc[-1] < losses.iloc[0]


@pytest.mark.parametrize(
    ("task", "options"),
    [
        ("paraboloid", "optimizer: sgd, learning_rate: 1.0e+6"),
        ("blobs", "optimizer: momentum, learning_rate: 10, precision: single"),
        ("blobs", "optimizer: sgd, learning_rate: 10, batch_size: 16"),
    ],
)
def test_a_rate_too_large_for_equilibrium_is_found_out(sheaf, folder, task, options):
    training = f"{{method: equilibrium, {options}, log_every: 2}}"
    overrides = ("--set", f"training={training}", "--set", f"task.kind={task}")
    outcome = sheaf("train", "small.yaml", "--output", "wild", *overrides)
    assert (outcome.code, outcome.out) == (1, "")
    found = re.fullmatch(
        r"error: training diverged at step (\d+), worst at edge output; choose a smaller learning_rate\n",
        outcome.err,
    )
    assert found, outcome.err
    manifest = json.loads(Path("wild/manifest.json").read_text())
    assert manifest["status"] == "diverged"
    assert manifest["message"] in outcome.err
    check_readable(Path("wild"))
    last = pd.read_csv("wild/history.csv")["step"].max()
    assert 0 < last < int(found[1]) <= last + 2
    with np.load("wild/checkpoint.npz") as checkpoint:
        assert checkpoint["state_clock"].tolist()[:2] == [last, 0]
        assert all(np.isfinite(array).all() for name, array in checkpoint.items() if name != "phase")
    again = sheaf("train", "small.yaml", "--output", "wild", "--resume", *overrides)
    assert (again.code, again.err) == (1, outcome.err)


@pytest.mark.parametrize("condition", ["seconds: 1.0e-9", "train_loss: 1.0"])
def test_a_run_that_ends_early_is_finished_and_not_resumed(sheaf, folder, read, condition):
    training = f"{{method: equilibrium, log_every: 10, stop_when: {{{condition}}}}}"
    overrides = ("--set", f"training={training}", "--set", "baseline=null")
    first = sheaf("train", "small.yaml", "--output", "run", *overrides)
    assert (first.code, first.err) == (0, "")
    manifest = json.loads(Path("run/manifest.json").read_text())
    assert (manifest["status"], manifest["message"]) == ("finished", None)
    history = pd.read_csv("run/history.csv")
    assert manifest["final"]["step"] == history["step"].iloc[-1] < 10_000
    if condition.startswith("train_loss"):
        assert history["train_loss"].iloc[-1] <= 1.0 < history["train_loss"].iloc[:-1].min()
    else:
        assert history["step"].tolist() == [0, 1]
    assert {path.name for path in Path("run/figures").iterdir()} == {"loss.png", "learned.png"}
    before = read(folder)
    again = sheaf("train", "small.yaml", "--output", "run", "--resume", *overrides)
    assert (again.code, again.out) == (0, first.out)
    assert again.err == "run: already finished; --overwrite trains it again\n"
    assert read(folder) == before


def test_a_baseline_that_diverges_is_not_taken_for_the_training(sheaf, folder):
    outcome = sheaf("train", "small.yaml", "--output", "run", "--set", "baseline.learning_rate=1000")
    assert outcome.code == 1
    assert outcome.err.startswith("error: baseline diverged at step")
    assert "learning_rate" in outcome.err
    check_readable(Path("run"))
    assert json.loads(Path("run/manifest.json").read_text())["final"]["step"] == 300


def test_more_than_the_memory_is_an_error_and_no_traceback(sheaf, folder):
    huge = ("--set", "task.n_train=10000000", "--set", "network.hidden=[65536]")
    outcome = sheaf("train", "small.yaml", "--output", "run", *huge)
    assert outcome.code == 1
    assert outcome.err.startswith("error: out of memory")
    assert json.loads(Path("run/manifest.json").read_text())["status"] == "failed"


def test_a_finished_run_is_shown_again_and_not_trained(sheaf, run, read):
    first = sheaf("train", "small.yaml", "--output", run, "--resume")
    before = read(run)
    second = sheaf("train", "small.yaml", "--output", run, "--resume")
    assert (first.code, first.out) == (second.code, second.out)
    assert second.err == "run: already finished; --overwrite trains it again\n"
    assert read(run) == before
