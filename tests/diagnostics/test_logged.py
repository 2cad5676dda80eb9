"""Tables that a run has logged: read exactly, refused where they are damaged."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheafcli.diagnostics.logged import final_discord, read_log
from sheafcli.errors import InputError
from sheafcli.runs import RunDirectory
from sheafcli.runs.files import GrowingTable

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@given(values=st.lists(NUMBERS, min_size=1, max_size=30))
def test_numbers_are_those_that_were_written(tmp_path_factory, values):
    run = RunDirectory(tmp_path_factory.mktemp("run"))
    table = GrowingTable(run / "history.csv", ("step", "loss"))
    table.begin()
    table.append({"step": step, "loss": value} for step, value in enumerate(values))
    log = read_log(run, "history.csv")
    assert log["loss"].to_numpy(np.float64).tobytes() == np.array(values).tobytes()
    assert log["step"].tolist() == list(range(len(values)))


def test_the_final_discord_is_that_of_the_last_step(tmp_path):
    run = RunDirectory(tmp_path)
    (run / "discord.csv").write_text("step,edge,discord\n0,a,1.0\n0,b,2.0\n10,a,3.0\n10,b,4.0\n")
    found = final_discord(run)
    assert found["discord"].tolist() == [3.0, 4.0]
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


def test_a_table_that_is_not_there_is_asked_for(tmp_path):
    with pytest.raises(InputError, match="train it first"):
        read_log(RunDirectory(tmp_path), "history.csv")
