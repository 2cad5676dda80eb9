"""Tables on narrow terminals: what is shown is whole, and what is not is named."""

import io
import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from sheafcli.render.house_table import house_table
from sheafcli.render.listing import listing_table
from sheafcli.render.share_bar import ShareBar
from sheafcli.render.tables import frame_table


def printed(table, width):
    stream = io.StringIO()
    Console(file=stream, width=width).print(table)
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def table_of(rows, spare=()):
    """Return a table of names, numbers and a bar; `rows` are lists of texts, the name first."""
    table = house_table("A title of some words that may need several lines", spare)
    table.add_column("layer", overflow="fold")
    for place in range(1, len(rows[0])):
        table.add_column(f"number {place}", justify="right", no_wrap=True)
    table.add_column("")
    for row in rows:
        table.add_row(*map(Text, row), ShareBar(((1.0, ""),), 1.0))
    return table


@given(
    rows=st.integers(1, 6).flatmap(
        lambda n: st.lists(
            st.lists(st.floats(allow_nan=False).map(repr), min_size=n, max_size=n), min_size=1, max_size=4
        )
    ),
    width=st.sampled_from([30, 40, 50, 60, 80, 200]),
)
def test_a_number_is_shown_whole_or_not_at_all(rows, width):
    lines = printed(table_of([[f"name{i}", *row] for i, row in enumerate(rows)]), width)
    assert all(cell_len(line) <= width for line in lines)
    left_out = " ".join(lines).partition("No room for:")[2]
    for place in range(len(rows[0])):
        if f"number {place + 1}" in left_out:
            continue
        for i, row in enumerate(rows):
            (line,) = [line for line in lines if line.split()[:1] == [f"name{i}"]]
            assert line.split()[place + 1] == row[place]
    assert ("bars" in left_out) == (not any("█" in line for line in lines))


def test_columns_go_from_the_right_but_the_spare_ones_first():
    rows = [["one", *["0.123456789"] * 4]]
    assert printed(table_of(rows), 45)[-1] == "No room for: number 4, bars"
    spare = ("number 1", "", "number 3")
    assert printed(table_of(rows, spare), 60)[-1] == "No room for: number 1"
    assert printed(table_of(rows, spare), 45)[-1] == "No room for: number 1, bars"
    assert printed(table_of(rows, spare), 40)[-1] == "No room for: number 1, number 3, bars"
    assert not any("No room" in line for line in printed(table_of(rows), 90))


@pytest.mark.parametrize("width", [40, 50, 60])
def test_a_title_goes_on_in_the_next_line(width):
    title = "A title of some words that may need several lines"
    lines = printed(table_of([["one", "1.0"]]), width)
    end = next(i for i, line in enumerate(lines) if line.startswith("layer"))
    assert " ".join(lines[:end]) == title


@pytest.mark.parametrize("width", [40, 50, 60])
def test_a_frame_keeps_its_first_column(width):
    frame = pd.DataFrame({"mean": [1 / 3] * 2} | {f"x{i}": [1 / 7, 1e-300] for i in range(6)})
    lines = printed(frame_table(frame), width)
    assert [line.split()[0] for line in lines[2:4]] == ["0.333333"] * 2
    assert lines[-1].startswith("No room for: ")


@pytest.mark.parametrize("width", [40, 50, 60])
def test_the_list_of_runs_cuts_no_number(width):
    row = {
        "name": "a/long-name/of-a-run",
        "task": "breast_cancer",
        "method": "equilibrium",
        "status": "interrupted",
        "train_loss": 1.2345e-10,
        "validation_loss": math.nan,
        "test_loss": 12345.6,
        "test_accuracy": 0.98765,
        "when": "2026-11-23T22:05:59+00:00",
    }
    lines = printed(listing_table(pd.DataFrame([row]), "Runs", width), width)
    text = " ".join(lines)
    left_out = text.partition("No room for: ")[2]
    wholes = {
        "train loss": "1.23e-10",
        "test loss": "1.23e+04",
        "test accuracy": "98.8%",
        "when": "2026-11-23",
    }
    assert left_out
    assert all((name in left_out) != (whole in text) for name, whole in wholes.items()), lines


def test_words_are_whole_where_all_have_room():
    table = house_table()
    for header in ("first", "second"):
        table.add_column(header, overflow="fold")
    table.add_column("a number", no_wrap=True)
    table.add_row(Text("employment in words"), Text("a long sentence of short words, and more"), Text("1.25"))
    lines = printed(table, 36)
    words = " ".join(lines).split()
    assert {"employment", "sentence", "1.25"} <= set(words)
    assert not any("No room" in line for line in lines)


def test_spare_columns_go_rather_than_that_words_are_broken_but_not_in_vain():
    def lines(word, width):
        table = house_table(spare=("distance",))
        table.add_column("name", overflow="fold")
        table.add_column("gives", overflow="fold")
        table.add_column("distance", no_wrap=True)
        table.add_row(Text("a"), Text(word), Text("0.5"))
        return printed(table, width)

    assert lines("approved=yes", 24)[-1] == "No room for: distance"
    assert any("approved=yes" in line for line in lines("approved=yes", 24))
    long = lines("x" * 60, 28)
    assert any("0.5" in line for line in long)


def test_a_column_that_asks_for_a_least_width_takes_none_from_numbers():
    table = house_table()
    table.add_column("stalk", overflow="fold", min_width=20)
    table.add_column("", min_width=1)
    table.add_column("most at", no_wrap=True)
    table.add_row(Text("z" * 20), ShareBar(((1.0, ""),), 1.0), Text("0.123456789"))
    text = " ".join(printed(table, 40))
    assert ("0.123456789" in text) != ("most at" in text.partition("No room for:")[2])
    assert "z" * 20 in text


@given(
    texts=st.lists(st.integers(3, 9), min_size=3, max_size=6),
    place=st.integers(0, 5),
    width=st.integers(20, 60),
)
def test_columns_that_go_from_the_middle_leave_the_others_whole(texts, place, width):
    headers = [f"h{i}" for i in range(len(texts))]
    table = house_table(None, spare=(headers[place % len(texts)],))
    table.add_column("name", overflow="fold")
    for header in headers:
        table.add_column(header, justify="right", no_wrap=True)
    numbers = [f"{i}." + "5" * (length - 2) for i, length in enumerate(texts)]
    table.add_row(Text("a word"), *map(Text, numbers))
    lines = printed(table, width)
    dropped = {word.strip() for word in " ".join(lines).partition("No room for:")[2].split(",")}
    for header, number in zip(headers, numbers, strict=True):
        assert (header in dropped) != any(number in line.split() for line in lines)
