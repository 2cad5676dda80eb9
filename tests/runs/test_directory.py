"""The rules of the run directory: whose files may go, who may work there, and what is refused."""

import multiprocessing
import os

import numpy as np
import pytest

from sheafcli.config import dump_config
from sheafcli.errors import InputError
from sheafcli.runs import RunDirectory, conduct
from sheafcli.runs import directory as directory_module

OURS = {
    "manifest.json",
    "config.yaml",
    "history.csv",
    "baseline.csv",
    "discord.csv",
    "network.npz",
    "checkpoint.npz",
    "preprocessing.json",
}


@pytest.fixture
def run(prepare, begin, watcher) -> RunDirectory:
    experiment = prepare()
    directory = begin(experiment)
    conduct(experiment, directory, watcher())
    return directory


def refusal(call, *arguments, **options) -> InputError:
    with pytest.raises(InputError) as caught:
        call(*arguments, **options)
    return caught.value


# Making one ---------------------------------------------------------------------------------


def test_a_run_is_made_with_the_folders_above_it(tmp_path, prepare, contents):
    config = prepare().config
    directory = RunDirectory(tmp_path / "results" / "one" / "run")
    assert not directory.has_run
    directory.create(config, overwrite=False)
    assert directory.has_run
    assert set(contents(directory.path)) == {"manifest.json", "config.yaml"}
    assert directory.manifest() == {"name": "small", "status": "running"}
    assert dump_config(directory.config()) == dump_config(config)


def test_an_empty_directory_will_do(tmp_path, prepare):
    (tmp_path / "empty").mkdir()
    directory = RunDirectory(tmp_path / "empty")
    directory.create(prepare().config, overwrite=False)
    assert directory.has_run


def test_another_run_stays_unless_it_is_said_otherwise(run, prepare, contents):
    before = contents(run.path)
    error = refusal(run.create, prepare("seed=4").config, overwrite=False)
    for way_out in ("--resume", "--overwrite", "--output"):
        assert way_out in error.message
    assert error.path == run.path
    assert contents(run.path) == before


@pytest.mark.parametrize("overwrite", [False, True])
def test_files_that_are_no_run_always_stay(tmp_path, prepare, contents, overwrite):
    config = prepare().config
    folder = tmp_path / "project"
    (folder / "figures").mkdir(parents=True)
    # config.yaml is what `sheaf init` calls a user's own configuration.
    for name in ("config.yaml", "network.npz", "figures/loss.png"):
        (folder / name).write_text("mine")
    before = contents(folder)
    assert not RunDirectory(folder).has_run
    error = refusal(RunDirectory(folder).create, config, overwrite=overwrite)
    assert "no run" in error.message
    assert contents(folder) == before


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_in_the_place_stays(tmp_path, prepare, overwrite):
    config = prepare().config
    (tmp_path / "run").write_text("mine")
    error = refusal(RunDirectory(tmp_path / "run").create, config, overwrite=overwrite)
    assert "a file" in error.message
    error = refusal(RunDirectory(tmp_path / "run" / "below").create, config, overwrite=overwrite)
    assert "cannot be written" in error.message
    assert (tmp_path / "run").read_text() == "mine"


def test_overwriting_removes_what_the_run_wrote_and_nothing_else(run, prepare, contents):
    mine = ["notes.txt", "figures/mine.png", "more/network.npz", "my history.csv", ".manifest.json"]
    theirs = [
        *OURS,
        "diagnosis.csv",
        "neurons.csv",
        *(f"figures/{n}.png" for n in ("loss", "discord", "learned")),
    ]
    for name in [*mine, *theirs]:
        (run / name).parent.mkdir(exist_ok=True)
        if not (run / name).exists():
            (run / name).write_text(name)
    config = prepare("seed=4").config
    run.create(config, overwrite=True)
    after = contents(run.path)
    assert {name: after.pop(name).decode() for name in mine} == {name: name for name in mine}
    assert set(after) == {"manifest.json", "config.yaml"}
    assert dump_config(run.config()) == dump_config(config)


def test_a_name_that_no_file_system_takes_is_refused(tmp_path, prepare):
    directory = RunDirectory(tmp_path / ("x" * 300))
    assert "name too long" in refusal(directory.create, prepare().config, overwrite=False).message
    assert not directory.has_run
    assert "no such directory" in refusal(RunDirectory.existing, directory.path).message


class Killed(BaseException):
    """What a kill is to the code under way, but that temporary files are left as well."""


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("survived", [0, 1])
@pytest.mark.parametrize("leftover", [False, True])
def test_killed_while_it_is_made_a_run_can_be_made_again(
    tmp_path, prepare, begin, monkeypatch, overwrite, survived, leftover
):
    config = prepare().config
    directory = RunDirectory(tmp_path / "run")
    if overwrite:
        begin(prepare("seed=4"))
    written = []

    def write_then_die(path, text):
        if len(written) == survived:
            if leftover:
                path.with_name(f".{path.name}.tmp").write_text(text[:5])
            raise Killed
        written.append(path)
        path.write_text(text)

    with monkeypatch.context() as patched:
        patched.setattr(directory_module, "write_text", write_then_die)
        with pytest.raises(Killed):
            directory.create(config, overwrite=overwrite)
    directory.create(config, overwrite=overwrite)
    assert set(os.listdir(directory.path)) == {"manifest.json", "config.yaml"}
    assert directory.status_of(config) == "running"


# Working in one -----------------------------------------------------------------------------


def test_one_process_at_a_time(run, prepare, contents):
    before = contents(run.path)
    with run.locked():
        for call in (
            lambda: run.create(prepare("seed=4").config, overwrite=True),
            lambda: conduct(prepare(), run, None, resume=True),
        ):
            assert "another process" in refusal(call).message
    assert contents(run.path) == before
    with run.locked():
        pass


def _hold(path, held, release):
    with RunDirectory(path).locked():
        held.set()
        release.wait()


def test_the_lock_dies_with_its_process(tmp_path):
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(tmp_path, held, release))
    process.start()
    assert held.wait(120)
    with pytest.raises(InputError, match="another process"), RunDirectory(tmp_path).locked():
        pass
    process.kill()
    process.join()
    with RunDirectory(tmp_path).locked():
        pass


# Reading one --------------------------------------------------------------------------------


def test_what_is_not_a_run_is_named(tmp_path, run):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "config.yaml").touch()
    for name, words in (("nothing", "no such directory"), ("file", "this is a file"), ("folder", "no run")):
        error = refusal(RunDirectory.existing, tmp_path / name)
        assert words in error.message
        assert error.path == tmp_path / name
    assert RunDirectory.existing(run.path) == run


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[1]", b"null", b"\xff", b"[" * 100_000, b'{"a": ' * 50_000, b" " * (1 << 21) + b"{}"],
    ids=["empty", "cut", "list", "null", "not text", "deep list", "deep object", "long"],
)
def test_a_damaged_manifest_is_refused(run, content):
    (run / "manifest.json").write_bytes(content)
    error = refusal(run.manifest)
    assert "manifest cannot be read" in error.message
    assert error.path == run / "manifest.json"


def test_the_status_is_told_to_the_same_configuration_only(run, prepare):
    assert run.status_of(prepare().config) == "finished"
    assert "another configuration" in refusal(run.status_of, prepare("training.dt=0.01").config).message


def test_the_network_reads_back_as_it_was(run, prepare):
    network = run.network()
    run.write_network(network)
    again = run.network()
    assert again.output.name == network.output.name == "identity"
    for one, other in zip(network.weights + network.biases, again.weights + again.biases, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_run_without_a_network_says_what_to_do(run):
    (run / "network.npz").unlink()
    assert "train it first" in refusal(run.network).message


# What was done to the columns --------------------------------------------------------------------


def test_a_run_knows_what_was_done_to_its_columns(run, prepare):
    assert run.preprocessing() == prepare().task.preprocessing
    assert run.preprocessing().inputs == ("x1", "x2")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "older version"),
        (b"", "cannot be read"),
        (b"{}", "cannot be read"),
        (b"\xff[", "cannot be read"),
    ],
)
def test_where_that_is_gone_or_damaged_it_is_said(run, content, words):
    path = run / "preprocessing.json"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    error = refusal(run.preprocessing)
    assert words in error.message
    assert error.path == path
