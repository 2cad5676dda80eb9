"""Tables that a run has logged: read exactly, refused where they are damaged."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheafcli.errors import InputError
from sheafcli.records.logged import NoRows, final_discord, has_rows, read_log
from sheafcli.runs import RunDirectory
from sheafcli.runs.files import GrowingTable

DISCORD = "step,layer,operation,edge,discord,share\n"
HISTORY = "step,seconds,train_loss,test_loss\n"
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@given(values=st.lists(NUMBERS, min_size=1, max_size=30))
def test_numbers_are_those_that_were_written(tmp_path_factory, values):
    run = RunDirectory(tmp_path_factory.mktemp("run"))
    table = GrowingTable(run / "history.csv", ("step", "seconds", "train_loss"))
    table.begin()
    table.append({"step": step, "seconds": 0.5, "train_loss": value} for step, value in enumerate(values))
    log = read_log(run, "history.csv")
    assert log["train_loss"].to_numpy(np.float64).tobytes() == np.array(values).tobytes()
    assert log["step"].tolist() == list(range(len(values)))


def test_the_final_discord_is_that_of_the_last_step(tmp_path):
    run = RunDirectory(tmp_path)
    rows = [f"{step},1,affine,affine_{i},{step + i}.0,0.5\n" for step in (0, 10) for i in (1, 2)]
    (run / "discord.csv").write_text("".join([DISCORD, *rows]))
    found = final_discord(run)
    assert found["discord"].tolist() == [11.0, 12.0]
    assert found.index.tolist() == [0, 1]


@pytest.mark.parametrize(
    "content",
    ["", "a,b\n1,2\n", "step\nnow\n", "step\n1.5\n", 'step,a\n1,"', "step,a\n1,2,3,4\n5\n6,7,8,9,10\n"],
)
def test_a_damaged_table_is_refused(tmp_path, content):
    (tmp_path / "history.csv").write_text(content)
    with pytest.raises(InputError, match="damaged") as caught:
        read_log(RunDirectory(tmp_path), "history.csv")
    assert caught.value.path == tmp_path / "history.csv"


@pytest.mark.parametrize(
    ("rows", "line", "what"),
    [
        ("0,0.1,0.5,\n1,0.2,0.4x1,\n", 3, "train_loss is no number"),
        ("0,0.1,0.5,0.5\n1,0.2,0.4\n", 3, "another number of values"),
        ("0,0.1,0.5,\n1e,0.2,0.4,\n", 3, "step is no count"),
        (f"{10**30},0.1,0.5,\n", 2, "step is no count"),
        ("-1,0.1,0.5,\n", 2, "step is no count"),
        ("10,0.1,0.5,\n5,0.2,0.4,\n", 3, "the step is before"),
        ("0,True,0.5,\n", 2, "seconds is no number"),
        ("0,0.1,0.5,\n\n1,0.2,0.4,\n", 3, "another number of values"),
    ],
)
def test_the_line_that_is_damaged_is_named(tmp_path, rows, line, what):
    (tmp_path / "history.csv").write_text(HISTORY + rows)
    with pytest.raises(InputError, match=what) as caught:
        read_log(RunDirectory(tmp_path), "history.csv")
    assert (caught.value.path, caught.value.line) == (tmp_path / "history.csv", line)


@pytest.mark.parametrize(
    "row", ["0,1,rotation,affine_1,1.0,0.5", "0,1,affine,,1.0,0.5", "0,x,affine,a,1.0,0.5"]
)
def test_a_damaged_discord_is_refused(tmp_path, row):
    (tmp_path / "discord.csv").write_text(f"{DISCORD}{row}\n")
    with pytest.raises(InputError, match="damaged") as caught:
        final_discord(RunDirectory(tmp_path))
    assert caught.value.line == 2


def test_a_last_row_that_was_cut_short_is_left_out(tmp_path):
    whole = HISTORY + "0,0.1,0.512,\n1,0.2,0.432,\n"
    for end in range(len(HISTORY) + 13, len(whole)):
        (tmp_path / "history.csv").write_text(whole[:end])
        assert read_log(RunDirectory(tmp_path), "history.csv")["train_loss"].tolist() == [0.512]


def test_a_log_without_rows_is_told_from_a_damaged_one(tmp_path):
    for content in (HISTORY, HISTORY + "0,0.1"):
        (tmp_path / "history.csv").write_text(content)
        assert not has_rows(RunDirectory(tmp_path), "history.csv")
        with pytest.raises(NoRows, match="no row of this yet"):
            read_log(RunDirectory(tmp_path), "history.csv")


def test_a_directory_in_the_place_of_a_table_is_refused(tmp_path):
    (tmp_path / "history.csv").mkdir()
    with pytest.raises(InputError, match="Is a directory"):
        read_log(RunDirectory(tmp_path), "history.csv")


def test_a_table_that_is_not_there_is_asked_for(tmp_path):
    with pytest.raises(InputError, match="train it first"):
        read_log(RunDirectory(tmp_path), "history.csv")
