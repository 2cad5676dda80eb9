"""Locks on directories, held and let go by processes that are watched, forked and killed."""

import signal
import subprocess
import sys

import pytest

from sheafcli.errors import InputError
from sheafcli.runs.lock import Busy, is_locked, locked

HOLD = """
import sys, time
from pathlib import Path
from sheafcli.runs.lock import locked
with locked(Path(sys.argv[1]), "run"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_directory_is_held_until_the_block_ends(tmp_path):
    assert not is_locked(tmp_path)
    with locked(tmp_path, "run"):
        assert is_locked(tmp_path)
        assert is_locked(tmp_path)
    assert not is_locked(tmp_path)


def test_an_error_lets_go(tmp_path):
    with pytest.raises(KeyError), locked(tmp_path, "run"):
        raise KeyError
    assert not is_locked(tmp_path)


def test_a_second_one_is_told_who_is_at_work_and_disturbs_nobody(tmp_path):
    with locked(tmp_path, "sweep"):
        with pytest.raises(Busy) as caught, locked(tmp_path, "sweep"):
            pytest.fail("both hold it")
        assert is_locked(tmp_path)
    assert isinstance(caught.value, InputError)
    assert str(caught.value) == f"{tmp_path}: another process is working on this sweep"
    with locked(tmp_path, "sweep"):
        assert is_locked(tmp_path)


def test_to_look_leaves_nothing_held_and_nothing_behind(tmp_path):
    assert not is_locked(tmp_path)
    with locked(tmp_path, "run"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_process_holds_nothing(tmp_path, number):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        assert is_locked(tmp_path)
        with pytest.raises(Busy), locked(tmp_path, "run"):
            pytest.fail("both hold it")
        process.send_signal(number)
        process.wait(timeout=120)
    assert not is_locked(tmp_path)


def test_a_child_does_not_inherit_it(tmp_path):
    with locked(tmp_path, "run"):
        child = subprocess.Popen(["sleep", "60"])
    try:
        assert child.poll() is None
        assert not is_locked(tmp_path)
    finally:
        child.kill()
        child.wait()


def test_a_directory_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        is_locked(tmp_path / "none")
