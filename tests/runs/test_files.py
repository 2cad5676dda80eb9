"""Files appear whole or not at all; tables grow by whole rows, and their numbers read back exactly."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from math import isnan

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheafcli.errors import InputError
from sheafcli.runs.files import GrowingTable, csv_line, write_npz, write_text, write_whole

COLUMNS = ("step", "loss")
ROWS = [{"step": step, "loss": 1.0 / (1 + step)} for step in range(0, 50, 10)]


def table_of(path, rows=ROWS) -> GrowingTable:
    table = GrowingTable(path, COLUMNS)
    table.begin()
    table.append(rows)
    return table


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# Whole or not at all ------------------------------------------------------------------------


def test_a_file_replaces_its_predecessor(tmp_path):
    path = tmp_path / "file"
    write_text(path, "old")
    write_text(path, "new: \N{GREEK SMALL LETTER DELTA}\n")
    assert path.read_bytes() == "new: δ\n".encode()
    assert names(tmp_path) == ["file"]


def test_of_many_writers_of_a_file_each_leaves_it_whole(tmp_path):
    path = tmp_path / "file"
    texts = [letter * 5000 for letter in "abcd"]
    seen = set()

    def write(text):
        for _ in range(20):
            write_text(path, text)
            seen.add(path.read_text())

    with ThreadPoolExecutor(len(texts)) as pool:
        for done in [pool.submit(write, text) for text in texts]:
            done.result()
    assert seen <= set(texts)
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("failure", [ValueError("no"), KeyboardInterrupt(), OSError(28, "No space left")])
@pytest.mark.parametrize("existed", [True, False])
def test_a_write_that_fails_halfway_leaves_what_was_there(tmp_path, failure, existed):
    path = tmp_path / "file"
    if existed:
        path.write_text("old")

    def write(file):
        file.write(b"the first half")
        file.flush()
        raise failure

    with pytest.raises(type(failure)):
        write_whole(path, write)
    assert names(tmp_path) == (["file"] if existed else [])
    assert not existed or path.read_text() == "old"


def test_readers_see_the_old_file_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "file"
    write_text(path, "old")
    seen = []
    write_whole(path, lambda file: (file.write(b"new"), file.flush(), seen.append(path.read_text())))
    assert (seen, path.read_text()) == (["old"], "new")


def in_a_process_with_small_files(statement: str, folder, limit: int) -> str:
    """Run a statement where no file may grow beyond `limit` bytes, as on a full disk; return its error."""
    program = f"""
import resource
from sheafcli.runs.files import *
table = GrowingTable(Path("table.csv"), ("step", "loss"))
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
try:
    {statement}
except OSError as error:
    print(error.filename, error.strerror)
"""
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def test_a_disk_that_is_full_leaves_the_old_file(tmp_path):
    (tmp_path / "file").write_text("old")
    error = in_a_process_with_small_files('write_text(Path("file"), 5000 * "x")', tmp_path, 4096)
    assert error == "file File too large"
    assert names(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "old"


def test_a_disk_that_is_full_takes_no_part_of_a_batch_of_rows(tmp_path):
    table_of(tmp_path / "table.csv")
    before = (tmp_path / "table.csv").read_bytes()
    batch = '[{"step": step, "loss": 0.1} for step in range(100, 1100)]'
    error = in_a_process_with_small_files(f"table.append({batch})", tmp_path, 4096)
    assert error == "table.csv File too large"
    assert (tmp_path / "table.csv").read_bytes() == before


def test_equal_arrays_give_equal_bytes_at_any_time(tmp_path, monkeypatch):
    arrays = {"W1": np.arange(6.0).reshape(2, 3), "output": np.array("identity")}
    write_npz(tmp_path / "one.npz", arrays)
    monkeypatch.setattr(time, "time", lambda: 2e9)
    write_npz(tmp_path / "two.npz", arrays)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    with np.load(tmp_path / "two.npz", allow_pickle=False) as found:
        assert set(found) == {"W1", "output"}
        np.testing.assert_array_equal(found["W1"], arrays["W1"])


# Rows ---------------------------------------------------------------------------------------


@given(values=st.lists(st.floats(), min_size=1, max_size=20))
def test_numbers_read_back_exactly(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("numbers") / "table.csv"
    rows = [{"step": step, "loss": value} for step, value in enumerate(values)]
    table_of(path, rows)
    by_python = [float(line.split(",")[1]) for line in path.read_text().splitlines()[1:]]
    np.testing.assert_array_equal(by_python, values)
    if not any(isnan(value) for value in values):  # pandas reads nan as a missing value
        by_pandas = pd.read_csv(path)["loss"].to_numpy(np.float64)
        assert by_pandas.tobytes() == np.array(values).tobytes()


def test_numbers_of_numpy_are_written_as_those_of_python():
    assert csv_line([np.float64(0.1), np.int64(3), 0.1, 3]) == "0.1,3,0.1,3\n"


def test_what_is_not_known_is_left_empty_and_text_is_quoted_where_it_must():
    assert csv_line([1, None, 'a,"b"']) == '1,,"a,""b"""\n'


def test_a_row_has_its_columns_in_order_whatever_else_it_holds(tmp_path):
    table = table_of(tmp_path / "table.csv", [{"loss": 0.5, "energy": 9.0, "step": 1}])
    assert table.path.read_text() == "step,loss\n1,0.5\n"


def test_a_row_without_a_column_adds_nothing(tmp_path):
    table = table_of(tmp_path / "table.csv")
    before = table.path.read_bytes()
    with pytest.raises(KeyError):
        table.append([{"step": 50, "loss": 1.0}, {"step": 60}])
    assert table.path.read_bytes() == before


def test_a_table_begun_again_forgets_its_rows(tmp_path):
    table = table_of(tmp_path / "table.csv")
    table.begin()
    assert table.path.read_text() == "step,loss\n"


@pytest.mark.parametrize("step", [-1, 0, 15, 20, 40, 1000])
def test_a_table_is_cut_back_to_a_step_at_whatever_byte_its_writer_was_killed(tmp_path, step):
    path = tmp_path / "table.csv"
    table = table_of(path)
    whole = path.read_bytes()
    for end in range(len(whole) + 1):
        path.write_bytes(whole[:end])
        table.keep_until(step)
        lines = whole[:end].decode().split("\n")[1:-1]
        kept = [line for line in lines if int(line.split(",")[0]) <= step]
        assert path.read_text() == "\n".join(["step,loss", *kept]) + "\n"


def test_a_table_that_an_earlier_version_began_goes_on_with_its_columns(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("step,loss\n0,0.5\n10,0.25\n20,0.125\n")
    table = GrowingTable(path, ("step", "auc", "loss"))
    table.keep_until(10)
    table.append([{"step": 20, "loss": 1.0, "auc": 0.75}])
    assert path.read_text() == "step,loss\n0,0.5\n10,0.25\n20,1.0\n"


@pytest.mark.parametrize(
    "content",
    [
        b"loss,step\n",
        b"step,other\n",
        b"step,loss\nten,0.1\n",
        b"step,loss\n\n",
        b"step,loss\n\xff,1\n",
        b"step,loss\n0,0.1\n5,0.1x\n",
        b"step,loss\n0\n",
        b"step,loss\n0,0.1,0.2\n",
        b"step,loss\n0,\x1b[31m\n",
    ],
)
def test_a_table_damaged_by_others_is_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged") as caught:
        GrowingTable(path, COLUMNS).keep_until(10)
    assert caught.value.path == path
    assert b"\xff" in content or caught.value.line == content.count(b"\n")
    assert path.read_bytes() == content
