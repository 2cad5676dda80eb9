"""The table of runs, read back from what it prints."""

import io
import math
from contextlib import suppress

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len, set_cell_size
from rich.console import Console

from sheafcli.records.listing import CHOICES, COLUMNS
from sheafcli.render.listing import listing_table

PLAIN = {
    "name": "ring",
    "task": "circular",
    "method": "heat",
    "status": "finished",
    "train_loss": 0.0756123456,
    "test_loss": 0.5,
    "test_accuracy": math.nan,
    "when": "2026-11-23T22:05:59+00:00",
}
STYLES = {
    "finished": "32",
    "diverged": "1;31",
    "failed": "1;31",
    "running": "36",
    "stopped": "36",
    "interrupted": "33",
}


def printed(*rows, width=80, encoding="utf-8", colours=None):
    """Return the lines of the table of some rows, each as PLAIN but for what it says."""
    frame = pd.DataFrame([PLAIN | row for row in rows], columns=list(COLUMNS), dtype=object)
    frame = frame.astype({name: float for name in COLUMNS if name.endswith(("loss", "accuracy"))})
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors="strict")
    console = Console(file=stream, width=width, color_system=colours, force_terminal=colours is not None)
    console.print(listing_table(frame, "Runs below results", width))
    stream.flush()
    return [line.rstrip() for line in raw.getvalue().decode(encoding).splitlines()]


def columns_of(lines):
    """Return each column as text: columns are parted where all lines have two blanks in a place."""
    header, body = lines[1:3], lines[4:]
    width = max(map(len, header + body))
    padded = [line.ljust(width) for line in header + body]
    blank = [all(line[place] == " " for line in padded) for place in range(width)] + [True, True]
    columns, begin = [], 0
    for place in range(width + 1):
        if blank[place] and blank[place + 1] and not all(blank[begin:place]):
            columns.append([line[begin:place].strip() for line in padded])
            begin = place
    return columns


def test_runs_have_a_line_each_where_there_is_room():
    lines = printed(
        {}, {"name": "deep/er", "status": "diverged", "train_loss": math.inf, "test_loss": math.nan}
    )
    assert lines[0] == "Runs below results"
    assert columns_of(lines) == [
        ["", "name", "ring", "deep/er"],
        ["", "task", "circular", "circular"],
        ["", "method", "heat", "heat"],
        ["", "status", "finished", "diverged"],
        ["train", "loss", "0.07561", "inf"],
        ["test", "loss", "0.5000", "-"],
        ["", "when (UTC)", *["2026-11-23 22:05"] * 2],
    ]


def test_runs_have_two_lines_where_there_is_none():
    name = "learning_rates/of-equilibrium/0123456789abcdef/003"
    lines = printed(
        {"name": name, "task": "breast_cancer", "method": "equilibrium", "test_accuracy": 0.98765}
    )
    found = [column[:5] for column in columns_of(lines)]
    assert ["".join(columns_of(lines)[0][2:]), *found[1:]] == [
        name,
        ["task", "method", "breast_", "cancer", "equilibrium"],
        ["", "status", "finished", "", ""],
        ["train", "loss", "0.07561", "", ""],
        ["test", "loss", "0.5000", "", ""],
        ["test", "accuracy", "98.8%", "", ""],
        ["", "when (UTC)", "2026-11-23", "22:05", ""],
    ]


def test_losses_have_fewer_digits_before_anything_is_cut():
    row = {"name": "a" * 30, "task": "breast_cancer", "method": "equilibrium", "status": "interrupted"}
    row |= {"test_accuracy": 1.0}
    lines = printed(*(row | {"train_loss": loss, "test_loss": loss} for loss in (1e-4, 999.0)))
    assert all(line.endswith(("2026-11-23", "when (UTC)", "22:05")) for line in (*lines[2:3], *lines[4:6]))
    assert lines[4].split()[3:5] == ["0.000100"] * 2


def test_numbers_end_where_their_header_does():
    lines = printed({"test_accuracy": 0.5})
    assert lines[2].index("accuracy") + len("accuracy") == lines[4].index("50.0%") + len("50.0%")


def test_long_names_break_after_separators():
    lines = printed(
        {"name": "learning_rates/of-all-methods/003", "test_accuracy": 1.0, "method": "equilibrium"}
    )
    names = [line for line in columns_of(lines)[0][2:] if line]
    assert len(names) > 1
    assert all(line[-1] in "/_-" for line in names[:-1])


def test_names_are_kept_in_long_pieces_and_validation_losses_go_first():
    row = {"name": "paraboloid_equilibrium", "method": "equilibrium", "validation_loss": 0.5}
    row |= {"task": "paraboloid", "test_accuracy": 1.0}
    lines = printed(row, {"task": "csv"})
    assert lines[-1] == "No room for: validation loss"
    assert columns_of(lines[:-1])[0][2:4] == ["paraboloid_", "equilibrium"]
    text = " ".join(printed(row, width=50))
    assert "validation loss" in text.partition("No room for: ")[2]
    assert "parabolo" in text


def test_what_is_missing_is_a_dash():
    nothing = {"task": None, "method": None, "train_loss": None, "test_loss": None, "when": None}
    lines = printed({"status": "damaged"} | nothing)
    assert lines[4].split() == ["ring", "-", "-", "damaged", "-", "-", "-"]


def test_accuracies_have_a_column_if_there_are_any():
    assert "accuracy" not in printed({})[2]
    lines = printed({"test_accuracy": 0.5}, {})
    assert "accuracy" in lines[2]
    assert any("50.0%" in line for line in lines)


def test_validation_losses_have_a_column_if_there_are_any():
    assert "validation" not in "".join(printed({}))
    lines = printed({"validation_loss": 0.0625}, {})
    assert any("validation" in line for line in lines[:3])
    assert any("0.0625" in line for line in lines)


@pytest.mark.parametrize("status", CHOICES["status"])
def test_the_status_alone_has_a_colour(status):
    lines = printed({"status": status}, colours="standard")
    plain = printed({"status": status})
    assert lines[1:4] == plain[1:4]  # the header has none
    code = (STYLES | {"damaged": "1;31"}).get(status)
    coloured = plain[4] if code is None else plain[4].replace(status, f"\x1b[{code}m{status}", 1)
    assert lines[4].replace("\x1b[0m", "").split() == coloured.split()


def test_points_of_losses_are_in_line():
    losses = (0.0756, 12.5, 345.0)
    lines = printed(*({"train_loss": loss} for loss in losses))[4:]
    assert len({line.index(".") for line in lines}) == 1


def test_names_that_would_break_the_table_do_not():
    lines = printed({"name": "a\nb\x1b[31m"}, {})
    assert len(lines) == 6
    assert "a?b?[31m" in lines[4]


def test_markup_in_names_is_text():
    assert printed({"name": "[red]a[/red]"})[4].startswith("[red]a[/red]")


def test_an_encoding_without_lines_will_do():
    assert printed({"name": "a" * 100, "test_accuracy": 1.0}, encoding="ascii")


def test_a_wider_window_is_used():
    row = {"name": "a" * 20, "test_accuracy": 1.0, "method": "equilibrium"}
    assert len(printed(row)) > len(printed(row, width=100)) == 5


def lossy(draw_from):
    return st.one_of(st.none(), st.just(math.inf), draw_from)


def close(word, value):
    """Tell whether a word is a loss, to three digits."""
    if value is None:
        return word == "-"
    with suppress(ValueError):
        return math.isclose(float(word), value, rel_tol=0.005)
    return False


any_row = st.fixed_dictionaries(
    {
        "name": st.text(
            st.characters(codec="utf-8", exclude_categories=("C", "M", "Z")), min_size=1, max_size=99
        ),
        "task": st.sampled_from([None, *CHOICES["task"]]),
        "method": st.sampled_from([None, *CHOICES["method"]]),
        "status": st.sampled_from(CHOICES["status"]),
        "train_loss": lossy(st.floats(0.0, 1e300)),
        "test_loss": lossy(st.floats(1e-5, 1e5)),
        "test_accuracy": st.one_of(st.none(), st.floats(0.0, 1.0)),
        "when": st.sampled_from([None, PLAIN["when"]]),
    }
)


@given(st.lists(any_row, min_size=1, max_size=8))
def test_nothing_is_cut_at_80_columns(rows):
    lines = printed(*rows)
    assert max(map(cell_len, lines)) <= 80
    end = max(line.find("task") for line in lines[1:3])
    names = [set_cell_size(line, end) for line in lines[4:]]
    assert "".join(names).replace(" ", "") == "".join(row["name"] for row in rows)
    others = " ".join(line[len(name) :] for line, name in zip(lines[4:], names, strict=True)).split()
    for status in CHOICES["status"]:
        assert others.count(status) >= sum(row["status"] == status for row in rows)
    for loss in ("train_loss", "test_loss"):
        for value in (row[loss] for row in rows):
            assert any(close(word, value) for word in others)
    assert sum(word == "22:05" for word in others) == sum(row["when"] is not None for row in rows)
