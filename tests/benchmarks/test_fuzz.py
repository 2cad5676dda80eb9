"""The fuzzer: its inputs depend on the seed alone, and what is at fault is told from what is not."""

import os
import signal
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module", autouse=True)
def benchmarks():
    """Let the modules of benchmarks/, which is no package, import each other."""
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture
def guarded(monkeypatch, tmp_path):
    """Run a function in the place of the command line, in a child, and name its fault."""
    import fuzz_guard

    def guarded(behaves, *, may_want_memory=False, may_find=False):
        monkeypatch.setattr(fuzz_guard, "main", behaves)
        monkeypatch.setattr(fuzz_guard, "SECONDS", 1)
        ending = fuzz_guard.call(["runs"], tmp_path, pictures=True)
        return ending.fault(may_want_memory=may_want_memory, may_find=may_find)

    return guarded


def raises():
    raise ValueError("whatever")


def ends(status, words="error: so it is\n"):
    def end():
        sys.stderr.write(words)
        sys.exit(status)

    return end


def works_for_ever():
    while True:
        pass


def test_a_good_ending_is_no_fault(guarded):
    assert guarded(lambda: None) is None
    assert guarded(ends(1)) is None
    assert guarded(ends(2)) is None
    assert guarded(ends(3), may_find=True) is None
    assert guarded(ends(1, "error: out of memory\n"), may_want_memory=True) is None


def test_every_bad_ending_is_a_fault(guarded):
    assert guarded(raises) == "traceback: ValueError: whatever"
    assert guarded(ends(3)) == "status 3"
    assert guarded(ends(1, "")) == "status 1 without a word"
    assert guarded(ends(1, "error: out of memory\n")) == "more than 1 GB wanted"
    assert guarded(lambda: os.kill(os.getpid(), signal.SIGKILL)) == "status -9"
    assert guarded(lambda: warnings.warn("so it is", UserWarning, stacklevel=1)).startswith("leaked: ")
    assert guarded(lambda: print("\x1b[31m")) == "escape codes or a traceback on a stream"
    assert guarded(lambda: np.ones(2**28)).startswith("traceback: numpy._core._exceptions._ArrayMemoryError")
    assert guarded(works_for_ever) == "over 1 seconds"
    began = time.monotonic()
    assert guarded(lambda: time.sleep(600)) == "over 1 seconds"
    assert time.monotonic() - began < 300


@pytest.mark.parametrize("kind", ["configuration", "sweep", "overrides", "pins"])
def test_texts_depend_on_the_seed_alone(kind):
    import fuzz_texts

    def drawn(seed):
        draw = np.random.default_rng(seed)
        return [repr(getattr(fuzz_texts, kind)(draw)) for _ in range(20)]

    assert drawn(0) == drawn(0)
    assert drawn(0) != drawn(1)
    assert len(set(drawn(0))) > 4


def test_tables_and_questions_depend_on_the_seed_alone():
    import fuzz_tables

    def drawn(seed):
        draw = np.random.default_rng(seed)
        found = []
        for _ in range(20):
            rows = fuzz_tables.table(draw)
            known = fuzz_tables.known_rows(draw, 9)
            found.append((fuzz_tables.text(draw, rows), fuzz_tables.task_options(draw, rows)))
            found.append((fuzz_tables.spoil(draw, known), fuzz_tables.questions(draw)))
        return [repr(item) for item in found]

    assert drawn(0) == drawn(0)
    assert drawn(0) != drawn(1)
    assert len(set(drawn(0))) > 30


def test_damage_depends_on_the_seed_alone_and_damages(tmp_path):
    import fuzz_files

    fuzz_files.make_data(tmp_path)
    for path in sorted(tmp_path.iterdir()):
        one, other = (
            [fuzz_files.damaged(np.random.default_rng(i), path) for i in range(40)] for _ in range(2)
        )
        if path.suffix == ".csv":  # archives have times in them
            assert one == other
        assert sum(content != path.read_bytes() for content in one) > 30


def test_valid_configurations_are_valid(tmp_path):
    import fuzz_texts
    import yaml

    from sheafcli.config import load_config
    from sheafcli.errors import InputError

    refused = 0
    for i in range(60):
        values = fuzz_texts.configuration(np.random.default_rng(i), small=True)
        (tmp_path / "c.yaml").write_text(yaml.safe_dump(values))
        try:
            load_config(tmp_path / "c.yaml")
        except InputError:
            refused += 1
    assert refused < 40  # what excludes another key, or is out of its bounds
