"""Bad input at every door: an error on standard error that says what and where, status 2, nothing written."""

import ctypes
import os
import sys
from pathlib import Path

import numpy as np
import pytest

TASK = "task: {kind: paraboloid}\n"
NETWORK = "network: {hidden: [5]}\n"
COMMANDS = [("validate",), ("train",), ("train", "--resume"), ("train", "--overwrite")]


@pytest.fixture(params=COMMANDS, ids=" ".join)
def refuses(request, refused):
    """Check that every command that takes a configuration refuses it: refuses(arguments, words=...)."""
    command, *options = request.param
    return lambda *arguments, words: refused(command, *arguments, *options, words=words)


def given(content: str | bytes, name: str = "run.yaml") -> str:
    Path(name).write_bytes(content.encode() if isinstance(content, str) else content)
    return name


# The configuration --------------------------------------------------------------------------

CONFIGURATIONS = [
    ("task: [", 1, "not YAML"),
    (TASK + "network: {hidden: [5]\n", 3, "not YAML"),
    ("\tname: x\n", 1, "not YAML"),
    ("", 1, "is empty"),
    ("just text\n", 1, "must be keys with values"),
    ("- a\n- list\n", 1, "must be keys with values"),
    (TASK + NETWORK + "name: ÿ\n", 3, "name: given ÿ"),
    (TASK + NETWORK + "sede: 1\n", 3, "did you mean seed?"),
    (TASK + "network: {hiden: [5]}\n", 2, "did you mean hidden?"),
    (TASK + NETWORK + "training:\n  stpes: 3\n", 4, "did you mean steps?"),
    ("task: {kind: parabolid}\n" + NETWORK, 1, "did you mean paraboloid?"),
    (TASK + NETWORK + "training: {method: hat}\n", 3, "did you mean heat?"),
    (TASK, 1, "network: missing"),
    (NETWORK, 1, "task: missing"),
    (TASK + "network: {hidden: 5}\n", 2, "given 5; must be a list"),
    (TASK + "network: {hidden: [five]}\n", 2, "given five; must be an integer"),
    (TASK + "network: {hidden: [5.5]}\n", 2, "given 5.5"),
    (TASK + "network: {hidden: [0]}\n", 2, "hidden[0]: given 0; must be an integer from 1"),
    (TASK + "network: {hidden: [5, -1]}\n", 2, "hidden[1]: given -1"),
    (TASK + NETWORK + "seed: -1\n", 3, "seed: given -1"),
    (TASK + NETWORK + "seed: true\n", 3, "seed: given true"),
    (TASK + NETWORK + 'seed: "1"\n', 3, "seed: given"),
    (TASK + NETWORK + "training: {steps: 0}\n", 3, "steps: given 0"),
    (TASK + NETWORK + "training: {steps: 1e3}\n", 3, "steps: given 1e3"),
    (TASK + NETWORK + "training: {dt: -0.1}\n", 3, "dt: given -0.1"),
    (TASK + NETWORK + "training: {dt: 0}\n", 3, "dt: given 0"),
    (TASK + NETWORK + "training: {dt: .nan}\n", 3, "dt: given .nan"),
    (TASK + NETWORK + "training: {dt: .inf}\n", 3, "dt: given .inf"),
    (TASK + NETWORK + "training: {alpha: -.inf}\n", 3, "alpha: given -.inf"),
    (TASK + NETWORK + "training: {beta: 0.0}\n", 3, "beta: given 0.0"),
    (TASK + NETWORK + "training: {time: 1e999}\n", 3, "time: given 1e999"),
    (TASK + NETWORK + "training: {log_every: 0}\n", 3, "log_every: given 0"),
    (TASK + NETWORK + "training: {steps: 10, time: 1}\n", 3, "give one of the two"),
    (TASK + NETWORK + "training:\n  method: equilibrium\n  dt: 0.1\n", 5, "belongs to method heat"),
    (TASK + NETWORK + "training: {gamma: 1}\n", 3, "gamma: belongs to method equilibrium"),
    (TASK + NETWORK + "training: {epochs: 9}\n", 3, "belongs to method equilibrium or backprop"),
    (TASK + NETWORK + "training: {method: equilibrium, gamma: 0}\n", 3, "gamma: given 0"),
    (TASK + NETWORK + "training: {method: equilibrium, epochs: 1, steps: 1}\n", 3, "give one of the two"),
    (TASK + NETWORK + "training: {method: backprop, epochs: null}\n", 3, "give a number of epochs or"),
    (TASK + NETWORK + "training: {method: equilibrium, log_every: 0}\n", 3, "log_every: given 0"),
    (TASK + NETWORK + "training: {method: equilibrium, batch_size: 0}\n", 3, "batch_size: given 0"),
    (TASK + NETWORK + "training: {method: equilibrium, batch_size: 301}\n", 3, "must be at most 300"),
    (TASK + NETWORK + "diagnostics: {every: 1500}\n", 3, "multiple of training.log_every"),
    (TASK + NETWORK + "baseline:\n  stop_when: {seconds: .nan}\n", 4, "seconds: given .nan"),
    (TASK + NETWORK + "baseline: {stop_when: {train_loss: -1}}\n", 3, "train_loss: given -1"),
    (TASK + NETWORK + "baseline: {stop_when: {loss: 1}}\n", 3, "known here: train_loss, seconds"),
    (TASK + NETWORK + "baseline: {gamma: 1}\n", 3, "belongs to training, not to baseline"),
    (TASK + NETWORK + "baseline: {batch_size: 301}\n", 3, "must be at most 300"),
    (TASK + NETWORK + "baseline: {learning_rate: 0}\n", 3, "learning_rate: given 0"),
    (TASK + NETWORK + "name: a/b\n", 3, "name: given a/b"),
    (TASK + NETWORK + "name: ..\n", 3, "name: given .."),
    ("task: {kind: paraboloid, n_train: 0}\n" + NETWORK, 1, "n_train: given 0"),
    ("task: {kind: digits, test_fraction: 1.0}\n" + NETWORK, 1, "test_fraction: given 1.0"),
    ("task: {kind: csv, path: none.csv, target: y}\n" + NETWORK, 1, "none.csv"),
    ("task: {kind: npz, path: none.npz}\n" + NETWORK, 1, "none.npz"),
    (TASK + "network: {hidden: [5], start: none.npz}\n", 2, "none.npz"),
    (TASK + NETWORK + "training: {stalks: none.npz}\n", 3, "none.npz"),
    ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", 1, "anchors"),
    (TASK + NETWORK + "name: !!python/object/apply:os.system [ls]\n", 3, "tag"),
    ("x: " + "[" * 5000 + "]" * 5000 + "\n", 1, "nested"),
    (TASK + NETWORK + "name: a\x00b\n", 3, "not YAML"),
]


@pytest.mark.parametrize(("text", "line", "words"), CONFIGURATIONS)
def test_a_wrong_configuration_is_refused_at_its_line(refused, text, line, words):
    assert refused("validate", given(text), words=words).startswith(f"error: run.yaml:{line}: ")


@pytest.mark.parametrize(("text", "line", "words"), CONFIGURATIONS[::9])
def test_every_command_reads_the_configuration_alike(refuses, text, line, words):
    assert refuses(given(text), words=words).startswith(f"error: run.yaml:{line}: ")


def test_a_configuration_that_is_not_utf8_is_refused_at_its_line(refuses):
    assert "run.yaml:2: is not UTF-8" in refuses(given(TASK.encode() + b"name: \xff\n"), words="0xff")


def test_a_missing_configuration_is_refused(refuses):
    assert refuses("none.yaml", words="No such file").startswith("error: none.yaml: ")


def test_a_directory_is_no_configuration(refuses, folder):
    (folder / "dir").mkdir()
    refuses("dir", words="is not a regular file")


def test_a_device_is_no_configuration(refuses):
    refuses("/dev/zero", words="is not a regular file")


def test_a_configuration_of_a_gigabyte_is_refused_unread(sheaf, folder, monkeypatch):
    with (folder / "run.yaml").open("wb") as file:
        file.truncate(1 << 30)  # sparse: a gigabyte of nothing
    monkeypatch.setattr(Path, "open", lambda *_, **__: pytest.fail("the file was opened"))
    outcome = sheaf("train", "run.yaml")
    assert outcome.code == 2
    assert outcome.err == "error: run.yaml: has 1073741824 bytes; a configuration has at most 1048576\n"
    assert sorted(os.listdir()) == ["run.yaml", "small.yaml"]


def test_bytes_that_are_no_text_in_a_name_are_shown_somehow(start, finish):
    outcome = finish(start("validate", os.fsdecode(b"\xff.yaml")))
    assert outcome.code == 2
    assert outcome.err == "error: \\xff.yaml: cannot be read: No such file or directory\n"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("training.dt", "must be KEY=VALUE"),
        ("=1", "must be KEY=VALUE"),
        ("training..dt=1", "must be KEY=VALUE"),
        ("training.dt=[", "not YAML"),
        ("training.dt=fast", "training.dt: given fast"),
        ("training.speed=1", "unknown key"),
        ("seed.a=1", "seed is not a section"),
        ("network.hidden=[0]", "must be an integer from 1"),
        ("network.start=none.npz", "none.npz"),
    ],
)
def test_a_wrong_override_is_refused_by_its_own_text(refuses, override, words):
    assert f"--set {override}" in refuses("small.yaml", "--set", override, words=words)


BY_BATCHES = "{method: equilibrium, batch_size: 9}"


@pytest.mark.parametrize(
    ("section", "override"),
    [
        (f"training: {BY_BATCHES}", "training.batch_size=7"),
        ("baseline: {batch_size: 9}", "baseline.batch_size=7"),
    ],
)
def test_a_batch_above_the_samples_of_a_table_is_refused(refuses, sheaf, section, override):
    rows = "".join(f"{i},{i * i % 7}.5\n" for i in range(10))  # of which two are for the test
    given(f"x,y\n{rows}", "data.csv")
    path = given(f"task: {{kind: csv, path: data.csv, target: y}}\n{NETWORK}\n{section}\n")
    key = override.partition("=")[0]
    limit = "must be at most 8, the number of training samples"
    assert refuses(path, words=limit) == f"error: run.yaml:4: {key}: given 9; {limit}\n"
    nine = override.replace("7", "9")
    assert refuses(path, "--set", nine, words=limit) == f"error: --set {nine}: {key}: given 9; {limit}\n"
    assert sheaf("validate", path, "--set", override).code == 0


def test_an_option_that_does_not_exist_is_refused(refuses):
    refuses("small.yaml", "--fast", words="No such option")


# Data ---------------------------------------------------------------------------------------

TABLES = [
    (b"x,y\n1,2.5\n,3.5\n3,1.5\n", ":3: ", "no value for 'x'"),
    (b"x,y\n1,2.5\n2,\n3,1.5\n", ":3: ", "no value for 'y'"),
    (b"x,y\n1,2.5\ntwo,3.5\n3,1.5\n", ":3: ", "two"),
    (b"x,y\n1,2.5\n2,nan\n3,1.5\n", ":3: ", "nan"),
    (b"x,y\n1,2.5\n2,inf\n3,1.5\n", ":3: ", "inf"),
    (b"x,y\n1,2.5\n2,high\n3,1.5\n", ":3: ", "high"),
    (b"x,y\n1,2.5\n2,3.5,4\n3,1.5\n", ":3: ", "3 cells"),
    (b"x,y\n1,2.5\n", ": ", "one sample"),
    (b"", ": ", "nothing"),
    (b"x,y\n1,2.5\n1,3.5\n1,1.5\n", ": ", "column 'x' is 1 in all"),
    (b"x,y\n1,2.5\n2,2.5\n3,2.5\n", ": ", "nothing to predict"),
    (b"x,y\n1,2.5\n2,3.5\n\xff,1.5\n", ":4: ", "UTF-8"),
    ("x,y\n1,2.5\n2,3.5\n".encode("utf-16"), "", "UTF-8"),
    (b"x,z\n1,2.5\n2,3.5\n3,1.5\n", "", "'y'"),
]


@pytest.mark.parametrize(("table", "place", "words"), TABLES)
def test_a_wrong_table_is_refused_at_its_line(refused, folder, table, place, words):
    given(table, "data.csv")
    config = given("task: {kind: csv, path: data.csv, target: y}\n" + NETWORK)
    assert f"{folder}/data.csv{place}" in refused("train", config, words=words)


ARRAYS = {
    "X_train": np.ones((4, 2)),
    "y_train": np.arange(4.0),
    "X_test": np.ones((2, 2)),
    "y_test": np.arange(2.0),
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"X_train": np.array([[None, None]] * 4)}, "never unpickled"),
        ({"y_train": np.arange(3.0)}, "they must agree"),
        ({"X_test": np.ones((2, 3))}, "they must agree"),
        ({"X_train": np.ones((4, 2, 1))}, "they must agree"),
        ({"X_train": np.ones(4)}, "samples x features"),
        ({"X_train": np.ones((0, 2)), "y_train": np.ones(0)}, "not empty"),
        ({"X_train": np.array([[1, np.nan]] * 4)}, "X_train[0, 1] is nan"),
        ({"y_test": np.array([0, np.inf])}, "y_test[1, 0] is inf"),
        ({"X_train": np.full((4, 2), "1")}, "dtype"),
    ],
)
def test_wrong_arrays_are_refused(refused, folder, change, words):
    np.savez(folder / "data.npz", **(ARRAYS | change))
    config = given("task: {kind: npz, path: data.npz}\n" + NETWORK)
    assert f"error: {folder}/data.npz: " in refused("train", config, words=words)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda content: content[:-50], "not a whole .npz file"),
        (lambda content: b"", "not a whole .npz file"),
        (lambda content: content.replace(b"\x00\x00\xf0?", b"\x00\x00\xf1?"), "not a whole .npz file"),
    ],
    ids=["cut", "empty", "flipped bits"],
)
def test_damaged_arrays_are_refused(refused, folder, damage, words):
    np.savez(folder / "data.npz", **ARRAYS)
    given(damage((folder / "data.npz").read_bytes()), "data.npz")
    refused("train", given("task: {kind: npz, path: data.npz}\n" + NETWORK), words=words)


@pytest.mark.parametrize("output", ["sigmoid", "softmax"])
def test_an_output_that_does_not_fit_the_task_is_refused(refuses, output):
    refuses("small.yaml", "--set", f"network.output={output}", words=output)


def test_start_weights_of_other_widths_are_refused(refuses, folder):
    np.savez(folder / "w.npz", W1=np.ones((7, 2)), W2=np.ones((1, 7)))
    refuses("small.yaml", "--set", "network.start=w.npz", words="[2, 7, 1]")


# Where to write -----------------------------------------------------------------------------


def test_another_run_is_not_overwritten(refused, run):
    assert f"error: {run}: another run" in refused(
        "train", "small.yaml", "--output", run, words="--overwrite"
    )


@pytest.mark.parametrize("option", [(), ("--overwrite",), ("--resume",), ("--resume", "--quiet")])
def test_files_that_are_no_run_are_never_touched(refused, folder, option):
    (folder / "small.yaml").rename(folder / "config.yaml")  # as `sheaf init` calls it
    refused("train", "config.yaml", "--output", ".", *option, words="files but no run")


def test_a_file_is_no_output(refused, folder):
    refused("train", "small.yaml", "--output", "small.yaml", words="a file")
    refused("train", "small.yaml", "--output", "small.yaml/run", words="Not a directory")


@pytest.mark.skipif(
    sys.platform != "linux",
    reason="only Linux lets the superuser give up writing everywhere, which this needs",
)
def test_where_nothing_can_be_written_nothing_is(start, finish, folder, run, read):
    def obey_permissions():
        # PR_CAPBSET_DROP of CAP_DAC_OVERRIDE: without it even the superuser may not write everywhere.
        ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)

    (folder / "made").mkdir()
    before = read(folder)
    try:
        for name in ("made", "run"):
            (folder / name).chmod(0o555)
        process = start("train", "small.yaml", "--output", "made", prepare=obey_permissions)
        diagnosis = finish(start("diagnose", "run", prepare=obey_permissions))
        outcome = finish(process)
    finally:
        for name in ("made", "run"):
            (folder / name).chmod(0o755)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("error: made: a run cannot be written here (Permission denied)")
    assert diagnosis.code == 0
    assert diagnosis.out.startswith("Pinned discord")
    assert diagnosis.err.startswith("note: not written: run/diagnosis.csv (Permission denied)")
    assert read(folder) == before


@pytest.mark.parametrize("output", ["a folder/[bold]run[/bold]", "a:b:c", "-läufe\nδ"])
def test_a_directory_is_called_what_the_user_calls_it(sheaf, folder, output):
    outcome = sheaf("train", "small.yaml", f"--output={output}")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.endswith(f"\nRun directory: {output}\n")
    assert (folder / output / "network.npz").exists()
    outcome = sheaf("diagnose", "--", output)
    assert outcome.code == 0
    assert f"\nWritten into {output}:\n  diagnosis.csv, " in outcome.out
    outcome = sheaf("train", "small.yaml", f"--output={output}")
    assert outcome.err.startswith(f"error: {output}: another run is here")


# Resuming -----------------------------------------------------------------------------------


def unfinished(run: Path) -> Path:
    path = run / "manifest.json"
    path.write_text(path.read_text().replace('"finished"', '"interrupted"'))
    return run


@pytest.mark.parametrize("done", [True, False])
def test_another_configuration_is_not_resumed(refused, run, done):
    if not done:
        unfinished(run)
    arguments = ("train", "small.yaml", "--output", run, "--resume", "--set", "training.dt=0.01")
    refused(*arguments, words="another configuration")


def test_resuming_and_overwriting_exclude_each_other(refused, run):
    refused("train", "small.yaml", "--output", run, "--resume", "--overwrite", words="give one")


@pytest.mark.parametrize(
    "damage", [lambda content: content[:200], lambda content: b"", lambda content: b"PK"]
)
def test_a_damaged_checkpoint_is_not_resumed(sheaf, run, damage):
    path = unfinished(run) / "checkpoint.npz"
    path.write_bytes(damage(path.read_bytes()))
    outcome = sheaf("train", "small.yaml", "--output", run, "--resume")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == f"error: {path}: the checkpoint is damaged; start again with --overwrite\n"
    assert sheaf("train", "small.yaml", "--output", run, "--overwrite").code == 0


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"status": "finished"}',
        '{"status": "finished", "final": 3, "baseline": {}}',
        "[" * 99999,
    ],
)
def test_a_damaged_manifest_is_not_resumed_from(refused, run, content):
    (run / "manifest.json").write_text(content)
    arguments = ("train", "small.yaml", "--output", run, "--resume")
    refused(*arguments, words=f"{run / 'manifest.json'}: ")


@pytest.mark.parametrize("content", ["", "step,layer\n", "a,b\n1,2\n", '"', "step,discord\nx,1\n"])
def test_a_damaged_table_of_a_finished_run_is_named(sheaf, run, content):
    (run / "discord.csv").write_text(content)
    outcome = sheaf("train", "small.yaml", "--output", run, "--resume")
    assert outcome.code == 2
    assert f"error: {run / 'discord.csv'}:" in outcome.err


# Diagnosing ---------------------------------------------------------------------------------


def test_what_is_no_run_is_not_diagnosed(refused, folder):
    (folder / "dir").mkdir()
    for path, words in (
        ("none", "no such directory"),
        ("small.yaml", "a file"),
        ("dir", "no run"),
        (".", "no run"),
    ):
        assert refused("diagnose", path, words=words).startswith(f"error: {path}: ")
    refused("diagnose", "x" * 300, words="no such directory")


def test_a_run_that_is_not_trained_is_not_diagnosed(refused, run):
    (run / "network.npz").unlink()
    refused("diagnose", run, words="train it first")


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        (None, "not a whole .npz file"),
        ({"W1": np.array([[{}]])}, "never unpickled"),
        ({"W1": np.ones((5, 2)), "W2": np.full((1, 5), np.nan)}, "finite"),
        ({"W1": np.ones((5, 2)) * 1j, "W2": np.ones((1, 5))}, "real numbers"),
        ({"W1": np.ones((5, 2)), "W2": np.ones((1, 4))}, "W2 takes 4 inputs"),
        ({"W1": np.ones((5, 3)), "W2": np.ones((1, 5))}, "3 inputs and 1 outputs, the run's task 2 and 1"),
        ({"W1": np.ones((5, 2)), "W2": np.ones((3, 5))}, "2 inputs and 3 outputs, the run's task 2 and 1"),
        ({"W1": np.ones((5, 2)), "output": np.array("relu")}, "unknown output"),
        ({"weights": np.ones((5, 2))}, "needs W1, W2"),
    ],
)
def test_a_damaged_network_is_not_diagnosed(refused, run, arrays, words):
    path = run / "network.npz"
    if arrays is None:
        path.write_bytes(path.read_bytes()[:-30])
    else:
        np.savez(path, **arrays)
    assert refused("diagnose", run, words=words).startswith(f"error: {path}: ")


GOOD = {"X": np.ones((3, 2)), "y": np.ones((3, 1))}


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"X": np.ones((3, 2))}, "needs the arrays X and y; found X"),
        ({}, "found nothing"),
        (GOOD | {"X": np.ones((3, 3))}, "X must be samples x 2, got shape (3, 3)"),
        (GOOD | {"X": np.ones(2)}, "X has shape (2,); it must be samples x features"),
        (GOOD | {"X": np.float64(1)}, "X has shape ()"),
        (GOOD | {"X": np.ones((0, 2)), "y": np.ones((0, 1))}, "X has shape (0, 2)"),
        (GOOD | {"y": np.ones((4, 1))}, "X has 3 samples and y has 4"),
        (GOOD | {"y": np.float64(1)}, "y has shape ()"),
        (GOOD | {"y": np.ones((3, 2))}, "y must have 1 column a sample"),
        (GOOD | {"X": np.full((3, 2), np.nan)}, "X[0, 0] is nan"),
        (GOOD | {"y": np.full(3, np.inf)}, "y[0, 0] is inf"),
        (GOOD | {"X": np.full((3, 2), "1")}, "X has dtype <U1"),
        (GOOD | {"y": np.array([{}, {}, {}])}, "never unpickled"),
    ],
)
def test_wrong_samples_are_not_diagnosed(refused, folder, run, arrays, words):
    np.savez(folder / "s.npz", **arrays)
    assert refused("diagnose", run, "--data", "s.npz", words=words).startswith("error: s.npz: ")


def test_missing_samples_are_not_diagnosed(refused, run):
    assert refused("diagnose", run, "--data", "s.npz", words="no such file").startswith("error: s.npz: ")


def test_a_table_is_not_read_as_arrays(refused, run, tmp_path):
    (tmp_path / "more.csv").write_text("a,b,y\n1,2,3\n")
    told = refused("diagnose", run, "--data", tmp_path / "more.csv", words="numpy.savez")
    assert "sheaf predict" in told


@pytest.mark.parametrize(
    "option", [("--format", "xml"), ("--limit", "0"), ("--limit", "-1"), ("--limit", "many"), ("--pin", "z1")]
)
def test_wrong_options_are_refused(refused, run, option):
    refused("diagnose", run, *option, words=option[0])


@pytest.mark.parametrize("command", ["train", "validate", "diagnose"])
def test_a_missing_argument_is_named(refused, command):
    refused(command, words="Missing argument")


def test_an_unknown_command_is_refused(refused):
    refused("trian", words="trian")


# A file to begin with -----------------------------------------------------------------------


def test_what_exists_is_not_replaced_by_a_template(refused, folder):
    refused("init", "small.yaml", words="the file exists")
    (folder / "dir").mkdir()
    refused("init", "dir", words="the file exists")


def test_a_template_needs_its_folder(refused):
    refused("init", "none/config.yaml", words="No such file or directory")


def test_a_template_of_no_task_is_refused(refused):
    refused("init", "new.yaml", "--task", "spiral", words="paraboloid, saddle")
